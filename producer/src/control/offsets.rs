//! The end offset of every partition, asked from the broker in one question.
//!
//! The partitioner spreads keys over as many partitions as there are, so a partition that is added
//! moves documents to other partitions, and their records lose their order. Hence each question
//! also looks at the partitions of one topic, in turn.

use crate::error::Error;
use leafcutter_runtime::{
    exit::Exit,
    kafka::{GivenUp, KafkaSettings, LogContext, Reach},
    report::Fault,
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const ANSWER: Duration = Duration::from_secs(10);

/// Asks for end offsets. The consumer inside joins no group and reads nothing.
#[derive(Clone)]
pub struct EndOffsets {
    client: Arc<BaseConsumer<LogContext>>,
    partitions: i32,
    /// Questions so far.
    turn: Arc<AtomicUsize>,
}

impl Reach for EndOffsets {
    fn reaches(&self, topic: &str, answer: Duration) -> bool {
        self.client.reaches(topic, answer)
    }

    fn given_up(&self) -> Option<GivenUp> {
        self.client.given_up()
    }
}

impl EndOffsets {
    /// For topics of that many partitions.
    ///
    /// # Errors
    /// When the properties are refused.
    pub fn open(settings: &KafkaSettings, partitions: i32) -> Result<Self, Error> {
        let config = settings
            .reader_config("leafcutter-producer-offsets")
            .map_err(|fault| Error::fault(Exit::Settings, fault))?;
        let client = config.create_with_context(LogContext).map_err(failed)?;
        Ok(Self {
            client: Arc::new(client),
            partitions,
            turn: Arc::default(),
        })
    }

    /// The end offsets of these topics, per partition.
    ///
    /// # Errors
    /// When the broker does not answer for every partition, or a topic has other partitions than it had.
    pub async fn ask(&self, topics: &[&str]) -> Result<BTreeMap<String, Vec<i64>>, Error> {
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..self.partitions {
                // As a point in time, "end" is the latest: librdkafka sends the number as it is.
                list.add_partition_offset(topic, partition, Offset::End)
                    .map_err(failed)?;
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % topics.len().max(1);
        let looked_at = topics.get(turn).map(|&topic| topic.to_owned());
        let client = Arc::clone(&self.client);
        let answer = tokio::task::spawn_blocking(move || {
            let partitions = match looked_at {
                Some(topic) => partitions(&client, &topic)?.map(|found| (topic, found)),
                None => None,
            };
            Ok((client.offsets_for_times(list, ANSWER)?, partitions))
        });
        let (found, partitions) = match answer.await {
            Ok(found) => found.map_err(failed)?,
            Err(error) => return Err(Error::internal("the reader of ends", error)),
        };
        let before = usize::try_from(self.partitions).unwrap_or_default();
        if let Some((topic, found)) = partitions
            && found != before
        {
            let fault = other_partitions(&topic, found, before);
            return Err(Error::fault(Exit::StateMismatch, fault));
        }
        let mut offsets: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(failed)?;
            let Offset::Offset(end) = element.offset() else {
                return Err(failed(KafkaError::NoMessageReceived));
            };
            offsets
                .entry(element.topic().to_owned())
                .or_default()
                .push(end);
        }
        Ok(offsets)
    }
}

/// How many partitions a topic has; nothing where the broker does not know it.
fn partitions(client: &BaseConsumer<LogContext>, topic: &str) -> Result<Option<usize>, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), ANSWER)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found = found.map_or(0, |found| found.partitions().len());
    Ok((found > 0).then_some(found))
}

pub(crate) fn other_partitions(topic: &str, found: usize, before: usize) -> Fault {
    Fault::new(
        "could not go on: a data topic has another number of partitions",
        format!("topic `{topic}`"),
        format!(
            "it has {found} partitions, and had {before}: documents' records are in other \
             partitions now, and lose their order"
        ),
        "Begin again: `leafcutter rollback`, then another `--prefix` (README).",
    )
}

fn failed(source: KafkaError) -> Error {
    Error::Broker {
        what: "ask the broker for end offsets".to_owned(),
        source,
    }
}
