//! How late single writes are: from the acknowledgement of a majority write in MongoDB to the
//! commit of its row in PostgreSQL.
//!
//! Writes are sent at fixed times whatever becomes of the earlier ones, each to a document of its
//! own, so each is one record. When a write is acknowledged the clock is read. When its record's
//! position is seen to have moved, its row is committed ([`super::observe`]); which position that
//! is, the topic says afterwards. One clock, one machine. The result is never too small: the
//! acknowledgement is taken by the writer as it arrives, and the commit as seen by the next look,
//! whose spacing is told with the figures. A record's own timestamp, in milliseconds, tells when
//! the producer handed it to its Kafka client.

use super::{
    figures::{Latency, Spread},
    migration::Migration,
    observe::{Observer, Seen},
    process,
    servers::Meter,
    workload::{Workload, Write},
};
use bson::{RawDocumentBuf, doc, oid::ObjectId};
use hdrhistogram::Histogram;
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    source::now,
    stack::Stack,
    watch::Watch,
    world::World,
};
use mongodb::{Collection, options::WriteConcern};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;

/// Between two looks at the positions.
const LOOK: Duration = Duration::from_millis(1);
/// Connections of the writer.
const CONNECTIONS: u32 = 128;
/// How long Kafka may stand still while the topic is read.
const KAFKA: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Writes a second.
    pub rate: u32,
    /// For so many seconds.
    pub seconds: u32,
    /// How long it may take until all is applied.
    pub deadline: Duration,
}

/// An acknowledged write.
#[derive(Debug, Clone, Copy)]
struct Done {
    id: ObjectId,
    sent: Instant,
    acknowledged: Instant,
}

/// Where a record is, and when the producer made it, milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Place {
    partition: i32,
    offset: i64,
    made: i64,
}

/// Measures.
///
/// # Errors
/// When a write fails or is not found in the topic, or a program ends.
pub async fn measure<W: Workload>(
    plan: Plan,
    world: &World,
    watch: &Watch,
    workload: &mut W,
    migration: &mut Migration,
) -> Result<Latency> {
    let topic = world.place.topic(workload.written())?;
    let topics = [topic.clone()];
    // Each write needs a document of its own.
    let most = u32::try_from(workload.writes_max()).unwrap_or(u32::MAX);
    let count = (plan.rate * plan.seconds).min(most);
    let begin = watch.look().await?.next.remove(&topic).unwrap_or_default();
    let load = process::load();
    migration.begin_phase()?;
    let meter = Meter::start(world).await?;
    let observer = Observer::start(&world.place.stack, &world.group, &topics, LOOK).await?;
    // The same moment on both clocks.
    let (clock, wall) = (Instant::now(), SystemTime::now());
    let writes = write(world, plan.rate, count, workload).await?;
    let until = now(&world.source).await?;
    migration
        .until_applied(&topics, watch, until, plan.deadline)
        .await?;
    let seen = observer.finish().await?;
    let (used, spent) = (migration.used()?, meter.spent(world).await?);
    let stack = world.place.stack.clone();
    let name = topic.clone();
    let read = move || read_topic(&stack, &name, &begin, usize::try_from(count)?);
    let places = tokio::task::spawn_blocking(read)
        .await
        .attempt("read the topic")??;
    let wall = i64::try_from(wall.duration_since(UNIX_EPOCH)?.as_millis())?;
    let judged = judge(&writes, &places, (&topic, &seen), (clock, wall))?;
    Ok(Latency {
        rate: plan.rate,
        load,
        used,
        servers: spent.servers,
        ..judged
    })
}

/// Sends the writes at their times.
async fn write<W: Workload>(
    world: &World,
    rate: u32,
    count: u32,
    workload: &mut W,
) -> Result<Vec<Done>> {
    let mut options = mongodb::options::ClientOptions::parse(&world.place.stack.mongodb_uri)
        .await
        .attempt("read LEAFCUTTER_MONGODB_URI")?;
    options.max_pool_size = Some(CONNECTIONS);
    options.min_pool_size = Some(CONNECTIONS / 4);
    let client = mongodb::Client::with_options(options).attempt("connect to MongoDB")?;
    let database = client.database(world.source.name());
    let collection: Collection<RawDocumentBuf> = database.collection(workload.written());
    let (mut tasks, begin) = (JoinSet::new(), Instant::now());
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut sent = 0;
    while sent < count {
        tick.tick().await;
        let due = begin.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        while sent < count && u128::from(sent) < due {
            let next = workload.next_write();
            tasks.spawn(send(collection.clone(), next));
            sent += 1;
        }
    }
    tasks.join_all().await.into_iter().collect()
}

async fn send(collection: Collection<RawDocumentBuf>, write: Write) -> Result<Done> {
    let id = write.id;
    let sent = Instant::now();
    let update = collection
        .update_one(doc! { "_id": id }, write.update)
        .write_concern(WriteConcern::majority());
    let done = update.await.attempt("update a document")?;
    let acknowledged = Instant::now();
    if done.modified_count == 1 {
        return Ok(Done {
            id,
            sent,
            acknowledged,
        });
    }
    Err(Failure::new(format!(
        "document {id} was not there to be changed"
    )))
}

/// The `_id` in the canonical text of it, a record's key.
fn id_of_key(key: &[u8]) -> Option<ObjectId> {
    let hex = std::str::from_utf8(key).ok()?.strip_prefix("objectId:")?;
    ObjectId::parse_str(hex).ok()
}

/// Where the records of the writes are: everything from `begin` on.
fn read_topic(
    stack: &Stack,
    topic: &str,
    begin: &HashMap<i32, i64>,
    count: usize,
) -> Result<HashMap<ObjectId, Place>> {
    let config = stack.kafka().reader_config("leafcutter-bench");
    let reader: BaseConsumer = config
        .map_err(|fault| Failure::new(fault.to_string()))?
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for (partition, offset) in begin {
        assignment.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    reader.assign(&assignment).attempt("read the topic")?;
    let (mut places, mut moved) = (HashMap::new(), Instant::now());
    while places.len() < count && moved.elapsed() < KAFKA {
        let Some(message) = reader.poll(POLL) else {
            continue;
        };
        let message = message.attempt("read the topic")?;
        moved = Instant::now();
        if let Some(id) = message.key().and_then(id_of_key) {
            places.insert(
                id,
                Place {
                    partition: message.partition(),
                    offset: message.offset(),
                    made: message.timestamp().to_millis().unwrap_or_default(),
                },
            );
        }
    }
    Ok(places)
}

fn judge(
    writes: &[Done],
    places: &HashMap<ObjectId, Place>,
    (topic, seen): (&str, &Seen),
    (clock, wall): (Instant, i64),
) -> Result<Latency> {
    let histogram = || Histogram::<u64>::new(3);
    let (mut whole, mut acknowledge) = (histogram()?, histogram()?);
    let (mut to_kafka, mut from_kafka) = (histogram()?, histogram()?);
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    for write in writes {
        let missing = || {
            let id = write.id;
            Failure::new(format!("the record of document {id} was not found"))
        };
        let place = places.get(&write.id).ok_or_else(missing)?;
        let partition = (topic.to_owned(), place.partition);
        let applied = seen.applied(&partition, place.offset);
        let applied = applied.ok_or_else(missing)?;
        let made =
            clock + Duration::from_millis(u64::try_from(place.made - wall).unwrap_or_default());
        whole.record(micros(
            applied.saturating_duration_since(write.acknowledged),
        ))?;
        acknowledge.record(micros(write.acknowledged - write.sent))?;
        to_kafka.record(micros(made.saturating_duration_since(write.acknowledged)))?;
        from_kafka.record(micros(applied.saturating_duration_since(made)))?;
    }
    let first = writes.iter().map(|write| write.sent).min();
    let last = writes.iter().map(|write| write.acknowledged).max();
    let took = first
        .zip(last)
        .map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    Ok(Latency {
        writes: whole.len(),
        rate: 0,
        rate_reached: whole.len() as f64 / took.max(0.001),
        whole: Spread::of(&whole),
        to_kafka: Spread::of(&to_kafka),
        from_kafka: Spread::of(&from_kafka),
        acknowledge: Spread::of(&acknowledge),
        looks: Spread::of(&seen.rounds),
        load: None,
        used: Vec::new(),
        servers: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::id_of_key;
    use crate::population::id;

    #[test]
    fn the_id_is_read_back_from_a_records_key() {
        let key = format!("objectId:{}", id(77_000_123).to_hex());
        assert_eq!(id_of_key(key.as_bytes()), Some(id(77_000_123)));
        assert_eq!(id_of_key(b"string:x"), None);
    }
}
