//! Looks whether Kafka is about to remove what is not applied yet.
//!
//! Kafka removes records by their age, read or not (Kafka documentation, topic configuration `retention.ms`).
//! So it is asked which record of a partition came half of that time ago. Where one before it is not applied
//! yet, half of the time is over, and a person hears of it while there is the other half. What Kafka has
//! removed already is noticed where it should have come (F9).

use crate::{assemble::SharedPositions, metrics};
use leafcutter_runtime::{
    admin::Condition,
    kafka::{KafkaSettings, LogContext, explain},
    shutdown::Shutdown,
    units::duration_text,
};
use leafcutter_sink::{
    ids::{CollectionId, Partition},
    model::Model,
};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// How long Kafka may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The look at what Kafka removes next.
#[derive(Debug)]
pub struct RetentionWatch {
    /// Where Kafka is.
    pub kafka: KafkaSettings,
    /// The collections and their topics.
    pub model: Arc<Model>,
    /// Where our partitions stand.
    pub positions: SharedPositions,
    /// Whether all that is not applied yet is young enough.
    pub young: Condition,
    /// When it ends.
    pub shutdown: Shutdown,
}

/// What is asked of Kafka, both blocking and not.
struct Clients {
    admin: AdminClient<LogContext>,
    reader: Arc<BaseConsumer<LogContext>>,
}

impl RetentionWatch {
    /// Looks until the shutdown.
    pub async fn run(self) {
        self.young.set(true, "");
        let mut clients = None;
        let mut told = false;
        while self.shutdown.sleep(EVERY).await {
            if clients.is_none() {
                clients = self.connect().ok();
            }
            let Some(open) = &clients else { continue };
            match self.look(open).await {
                Ok(old) => {
                    told = false;
                    self.tell(&old);
                }
                // Who may not ask has no alarm; that Kafka is away is said elsewhere.
                Err(error) => {
                    clients = None;
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(
                            error = explain(&error),
                            "cannot look how old unread records are"
                        );
                    }
                }
            }
        }
    }

    fn connect(&self) -> KafkaResult<Clients> {
        let invalid =
            |fault: leafcutter_runtime::report::Fault| KafkaError::Subscription(fault.to_string());
        let id = "leafcutter-consumer-retention";
        let admin = self.kafka.admin_config(id).map_err(invalid)?;
        let reader = self.kafka.reader_config(id).map_err(invalid)?;
        Ok(Clients {
            admin: admin.create_with_context(LogContext)?,
            reader: Arc::new(reader.create_with_context(LogContext)?),
        })
    }

    /// For how long Kafka keeps the records of those collections of which half of the time is over.
    async fn look(&self, clients: &Clients) -> KafkaResult<BTreeMap<CollectionId, Duration>> {
        let mut ours: BTreeMap<CollectionId, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, next) in self.positions.get() {
            let Partition { collection, number } = partition;
            ours.entry(collection).or_default().push((number, next));
        }
        let mut old = BTreeMap::new();
        for (collection, positions) in ours {
            let topic = &self.model.collection(collection).topic;
            let Some(kept) = retention(&clients.admin, topic).await? else {
                continue;
            };
            let (reader, topic) = (Arc::clone(&clients.reader), topic.clone());
            let is_old = move || is_old(&reader, &topic, &positions, kept / 2);
            // It waits for an answer of Kafka's.
            let found = tokio::task::spawn_blocking(is_old).await;
            if found.unwrap_or(Ok(false))? {
                old.insert(collection, kept);
            }
        }
        Ok(old)
    }

    fn tell(&self, old: &BTreeMap<CollectionId, Duration>) {
        let name = |&id: &CollectionId| self.model.collection(id).name.as_str();
        for id in (0..self.model.collections.len()).map(CollectionId) {
            metrics::retention_half_over(name(&id), old.contains_key(&id));
        }
        let each = old.iter().map(|(id, &kept)| {
            format!(
                "records of {} that are not applied yet are older than half of the {} for which Kafka \
                 keeps them: find out why they wait, or lengthen retention.ms of topic `{}`",
                name(id),
                duration_text(kept),
                self.model.collection(*id).topic,
            )
        });
        let each: Vec<String> = each.collect();
        self.young.set(each.is_empty(), each.join("; "));
    }
}

/// For how long Kafka keeps records of a topic; none where it is for ever.
async fn retention(admin: &AdminClient<LogContext>, topic: &str) -> KafkaResult<Option<Duration>> {
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let topic = [ResourceSpecifier::Topic(topic)];
    let described = admin.describe_configs(&topic, &options).await?;
    let resource = match described.into_iter().next() {
        Some(Err(code)) => return Err(KafkaError::AdminOp(code)),
        Some(Ok(resource)) => Some(resource),
        None => None,
    };
    let value = resource.and_then(|resource| resource.get("retention.ms")?.value.clone());
    // -1 is for ever.
    let milliseconds = value.and_then(|value| value.parse::<u64>().ok());
    Ok(milliseconds.map(Duration::from_millis))
}

/// Whether any of these partitions has a record, at its position or behind it, that is older than this.
fn is_old(
    reader: &BaseConsumer<LogContext>,
    topic: &str,
    positions: &[(i32, i64)],
    age: Duration,
) -> KafkaResult<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = now.unwrap_or_default().saturating_sub(age);
    let then = i64::try_from(then.as_millis()).unwrap_or(i64::MAX);
    let mut times = TopicPartitionList::new();
    for &(number, _) in positions {
        times.add_partition_offset(topic, number, Offset::Offset(then))?;
    }
    let found = reader.offsets_for_times(times, ANSWER)?;
    for &(number, next) in positions {
        let Some(found) = found.find_partition(topic, number) else {
            continue;
        };
        found.error()?;
        let first_younger = match found.offset() {
            Offset::Offset(offset) => offset,
            // None is younger.
            _ => reader.fetch_watermarks(topic, number, ANSWER)?.1,
        };
        if next < first_younger {
            return Ok(true);
        }
    }
    Ok(false)
}
