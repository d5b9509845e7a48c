//! How late single writes are: from the acknowledgement of a majority write in MongoDB to the
//! commit of its row in PostgreSQL.
//!
//! Writes are sent at fixed times whatever becomes of the earlier ones, each to a learner of its
//! own, so each is one record. When a write is acknowledged the clock is read. When its record's
//! position is seen to have moved, its row is committed ([`super::observe`]); which position that
//! is, the topic says afterwards. One clock, one machine. The result is never too small: the
//! acknowledgement is taken by the writer as it arrives, and the commit as seen by the next look,
//! whose spacing is told with the figures. A record's own timestamp, in milliseconds, tells when
//! the producer handed it to its Kafka client.

use super::{
    figures::{Latency, Spread},
    learner::{id, number_of_key},
    migration::Migration,
    observe::{Observer, Seen},
    population::{COLLECTION, Population},
    process,
};
use bson::{RawDocumentBuf, doc};
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
struct Write {
    number: u32,
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
pub async fn measure(
    plan: Plan,
    world: &World,
    watch: &Watch,
    population: &mut Population,
    migration: &mut Migration,
) -> Result<Latency> {
    let topic = world.place.topic(COLLECTION)?;
    let count = plan.rate * plan.seconds;
    if u64::from(count) > u64::try_from(population.count())? {
        return Err(Failure::new(
            "each write needs a learner of its own: more --documents",
        ));
    }
    let begin = watch.look().await?.next.remove(&topic).unwrap_or_default();
    let load = process::load();
    migration.begin_phase()?;
    let observer = Observer::start(&world.place.stack, &world.group, &topic, LOOK).await?;
    // The same moment on both clocks.
    let (clock, wall) = (Instant::now(), SystemTime::now());
    let writes = write(&world.place.stack, world.source.name(), plan, population).await?;
    let until = now(&world.source).await?;
    migration
        .until_applied(world, watch, until, plan.deadline)
        .await?;
    let seen = observer.finish().await?;
    let used = migration.used()?;
    let stack = world.place.stack.clone();
    let read = move || read_topic(&stack, &topic, &begin, usize::try_from(count)?);
    let places = tokio::task::spawn_blocking(read)
        .await
        .attempt("read the topic")??;
    let wall = i64::try_from(wall.duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut latency = judge(&writes, &places, &seen, (clock, wall))?;
    (latency.rate, latency.load, latency.used) = (plan.rate, load, used);
    Ok(latency)
}

/// Sends the writes at their times.
async fn write(
    stack: &Stack,
    database: &str,
    plan: Plan,
    population: &mut Population,
) -> Result<Vec<Write>> {
    let mut options = mongodb::options::ClientOptions::parse(&stack.mongodb_uri)
        .await
        .attempt("read LEAFCUTTER_MONGODB_URI")?;
    options.max_pool_size = Some(CONNECTIONS);
    options.min_pool_size = Some(CONNECTIONS / 4);
    let client = mongodb::Client::with_options(options).attempt("connect to MongoDB")?;
    let collection: Collection<RawDocumentBuf> = client.database(database).collection(COLLECTION);
    let count = plan.rate * plan.seconds;
    let (mut tasks, begin) = (JoinSet::new(), Instant::now());
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut sent = 0;
    while sent < count {
        tick.tick().await;
        let due = begin.elapsed().as_micros() * u128::from(plan.rate) / 1_000_000;
        while sent < count && u128::from(sent) < due {
            let (number, learner) = population.next_update();
            let collection = collection.clone();
            tasks.spawn(async move {
                let sent = Instant::now();
                let update = collection
                    .update_one(doc! { "_id": id(number) }, learner.update())
                    .write_concern(WriteConcern::majority());
                let done = update.await.attempt("update a learner")?;
                let acknowledged = Instant::now();
                if done.modified_count == 1 {
                    Ok(Write {
                        number,
                        sent,
                        acknowledged,
                    })
                } else {
                    Err(Failure::new(format!(
                        "learner {number} was not there to be updated"
                    )))
                }
            });
            sent += 1;
        }
    }
    tasks.join_all().await.into_iter().collect()
}

/// Where the records of the writes are: everything from `begin` on.
fn read_topic(
    stack: &Stack,
    topic: &str,
    begin: &HashMap<i32, i64>,
    count: usize,
) -> Result<HashMap<u32, Place>> {
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
        if let Some(number) = message.key().and_then(number_of_key) {
            places.insert(
                number,
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
    writes: &[Write],
    places: &HashMap<u32, Place>,
    seen: &Seen,
    (clock, wall): (Instant, i64),
) -> Result<Latency> {
    let histogram = || Histogram::<u64>::new(3);
    let (mut whole, mut acknowledge) = (histogram()?, histogram()?);
    let (mut to_kafka, mut from_kafka) = (histogram()?, histogram()?);
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    for write in writes {
        let missing = || {
            Failure::new(format!(
                "the record of learner {} was not found",
                write.number
            ))
        };
        let place = places.get(&write.number).ok_or_else(missing)?;
        let applied = seen
            .applied(place.partition, place.offset)
            .ok_or_else(missing)?;
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
    })
}
