//! Whether a consumer that finds no position of its group really is the first one.
//!
//! A group without a position in PostgreSQL begins every topic at its start. That is right on a new database.
//! It is wrong where `leafcutter finish --drop` has taken the state away, where the database was restored from
//! before, or where it is not the one that is meant: old documents would be written over the rows that are
//! there. The state that is gone cannot say so, but Kafka can: consumers tell it how far they are, and only of
//! what PostgreSQL has (F4). So a position in Kafka of a group that has none here was applied elsewhere, or is
//! lost. Where only Kafka has lost its positions, or a partition is new, the group has some here, and nothing is
//! asked.
//!
//! PostgreSQL is asked again at the end: another consumer of the group may have begun meanwhile. Nothing is
//! written before this is answered, no column either.
//!
//! Kafka forgets a group that had no member for a week (`offsets.retention.minutes`). After that it begins.

use crate::settings::RunSettings;
use leafcutter_runtime::{
    exit::Exit,
    kafka::{KafkaSettings, LogContext, explain, metadata, unreachable},
    report::{Failure, Fault, causes},
    retry::Backoff,
};
use leafcutter_sink::{
    model::Model,
    session::{Config, Session},
    state::{offsets, schema},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use std::time::{Duration, Instant};
use tokio_postgres::Error;

/// How long the brokers may take. The first question to a group of a new cluster creates Kafka's own topic.
const ANSWER: Duration = Duration::from_secs(20);

/// What is known before anything is written.
#[derive(Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The group stands somewhere, or is the first; or PostgreSQL cannot be reached, as the preflight says.
    Sound,
    /// Whether it is the first cannot be found out.
    Untold(Fault),
}

/// Where the group stands in Kafka: topic, partition, offset.
type Position = (String, i32, i64);

/// Looks whether the group may begin.
///
/// # Errors
/// When it has applied records before, and this database knows nothing of it.
pub async fn look(
    settings: &RunSettings,
    model: &Model,
    (config, place): (&Config, &str),
) -> Result<Beginning, Failure> {
    if settings.begin_anew {
        return Ok(Beginning::Sound);
    }
    let group = &settings.group;
    let Ok(mut session) = Session::open(config, "leafcutter-consumer preflight").await else {
        return Ok(Beginning::Sound);
    };
    let untold = |error: Error| {
        Beginning::Untold(Fault::new(
            "could not look whether this group has applied records before",
            place,
            causes(&error),
            "Let this user read schema `leafcutter`, and start again.",
        ))
    };
    match stands(&mut session, group).await {
        Ok(false) => {}
        Ok(true) => return Ok(Beginning::Sound),
        Err(error) => return Ok(untold(error)),
    }
    let position = match in_kafka(settings, model).await {
        Ok(Some(position)) => position,
        Ok(None) => return Ok(Beginning::Sound),
        Err(fault) => return Ok(Beginning::Untold(fault)),
    };
    match stands(&mut session, group).await {
        Ok(false) => Err(refusal(group, place, position)),
        Ok(true) => Ok(Beginning::Sound),
        Err(error) => Ok(untold(error)),
    }
}

/// Whether the group has a position here.
async fn stands(session: &mut Session, group: &str) -> Result<bool, Error> {
    Ok(schema::layout(session).await? > 0 && offsets::any(session, group).await?)
}

async fn in_kafka(settings: &RunSettings, model: &Model) -> Result<Option<Position>, Fault> {
    let (kafka, group) = (settings.kafka.clone(), settings.group.clone());
    let topics: Vec<String> = model.collections.iter().map(|c| c.topic.clone()).collect();
    let asked = tokio::task::spawn_blocking(move || ask(&kafka, &group, &topics)).await;
    asked.map_err(|error| {
        let why = error.to_string();
        Fault::new("could not ask Kafka", &settings.group, why, "Try again.")
    })?
}

/// Asks without joining the group.
fn ask(kafka: &KafkaSettings, group: &str, topics: &[String]) -> Result<Option<Position>, Fault> {
    let fault = |place: String, error: KafkaError, next: &str| {
        let what = "could not ask Kafka whether this group has applied records before";
        Fault::new(what, place, explain(&error), next)
    };
    let of_brokers = |error| unreachable(&kafka.brokers, &error);
    let config = kafka.consumer_config(group, "leafcutter-consumer-preflight")?;
    let consumer: BaseConsumer<LogContext> =
        config.create_with_context(LogContext).map_err(of_brokers)?;
    let metadata = metadata(&consumer, None, ANSWER).map_err(of_brokers)?;
    let mut list = TopicPartitionList::new();
    for topic in metadata.topics() {
        if topics.iter().any(|wanted| wanted == topic.name()) {
            for partition in topic.partitions() {
                list.add_partition(topic.name(), partition.id());
            }
        }
    }
    if list.count() == 0 {
        return Ok(None);
    }
    let committed = committed(&consumer, &list).map_err(|error| {
        let place = format!("consumer group `{group}` on {}", kafka.brokers);
        let next = "Let this user read the group, and start again.";
        fault(place, error, next)
    })?;
    let position = committed.elements().into_iter().find_map(|element| {
        let Offset::Offset(next) = element.offset() else {
            return None;
        };
        Some((element.topic().to_owned(), element.partition(), next))
    });
    Ok(position)
}

/// What the group has told Kafka.
///
/// Who coordinates a group moves, and is not there at once on a cluster that has had none: the brokers then say
/// so and mean that one asks again (Kafka protocol, error codes 14 to 16). librdkafka hands this on.
fn committed(
    consumer: &BaseConsumer<LogContext>,
    list: &TopicPartitionList,
) -> KafkaResult<TopicPartitionList> {
    let until = Instant::now() + ANSWER;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match consumer.committed_offsets(list.clone(), left.max(Duration::from_secs(1))) {
            Err(error) if is_moving(&error) && !left.is_zero() => {
                std::thread::sleep(backoff.next_delay());
            }
            answer => return answer,
        }
    }
}

fn is_moving(error: &KafkaError) -> bool {
    let moving = [
        RDKafkaErrorCode::CoordinatorLoadInProgress,
        RDKafkaErrorCode::CoordinatorNotAvailable,
        RDKafkaErrorCode::NotCoordinator,
    ];
    error
        .rdkafka_error_code()
        .is_some_and(|code| moving.contains(&code))
}

/// Why it may not begin.
fn refusal(group: &str, place: &str, (topic, partition, next): Position) -> Failure {
    let why = format!(
        "Kafka knows that this group has applied records, topic `{topic}` partition {partition} up to {next}, \
         and this database has no state of it: `leafcutter finish --drop` has ended the migration here, or \
         the database was restored from before, or another one is meant. To begin would write all documents \
         of the topics over the rows that are there"
    );
    let fault = Fault::new(
        "could not begin, since this is not the first start",
        format!("consumer group `{group}`, {place}"),
        why,
        "After `finish --drop`: never start the consumers again. If another database is meant, correct \
         --postgres-uri; a second database needs a --group of its own. To apply the topics from their start, \
         over what is there: --begin-anew, once.",
    );
    Failure::one(Exit::StateMismatch, fault)
}
