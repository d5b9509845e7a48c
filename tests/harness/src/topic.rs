//! Topics of Kafka: made, listed, deleted, and read outside any group.

use crate::{
    failure::{Attempt, Failure, Result},
    probe,
};
use leafcutter_runtime::kafka::KafkaSettings;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
    message::{BorrowedMessage, Message},
};
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

/// What the tests call themselves.
const CLIENT: &str = "leafcutter-tests";
/// How long Kafka may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long reading may stand still.
const STALL: Duration = Duration::from_secs(30);
/// How long a topic may take to come or go.
const CHANGE: Duration = Duration::from_secs(30);

/// A topic that is to be made, on one broker.
pub fn new(name: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

/// Makes topics, and waits until they are there. Of those that are being deleted it waits for the
/// end.
///
/// # Errors
/// When Kafka refuses one, or it does not come.
pub async fn create(kafka: &KafkaSettings, topics: &[NewTopic<'_>]) -> Result<()> {
    let admin = admin(kafka)?;
    for topic in topics {
        probe::until(
            CHANGE,
            &format!("`{}` to be made", topic.name),
            async || {
                let made = admin.create_topics([topic], &AdminOptions::new()).await?;
                match made.into_iter().next() {
                    Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(None),
                    Some(Err((name, code))) => Err(Failure::new(format!("make `{name}`: {code}"))),
                    Some(Ok(_)) | None => Ok(Some(())),
                }
            },
        )
        .await?;
    }
    let reader = reader(kafka)?;
    for topic in topics {
        probe::until(
            CHANGE,
            &format!("`{}` to be there", topic.name),
            async || Ok(is_there(&reader, topic.name)?.then_some(())),
        )
        .await?;
    }
    Ok(())
}

/// Gives a topic more partitions, so that it has this many.
///
/// # Errors
/// When Kafka refuses.
pub async fn add_partitions(kafka: &KafkaSettings, topic: &str, partitions: usize) -> Result<()> {
    let admin = admin(kafka)?;
    let more = NewPartitions::new(topic, partitions);
    let added = admin.create_partitions(&[more], &AdminOptions::new()).await;
    match added.attempt("add partitions")?.into_iter().next() {
        Some(Err((name, code))) => Err(Failure::new(format!("add to `{name}`: {code}"))),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Deletes topics, and waits until they are gone. One that is not there is gone.
///
/// # Errors
/// When Kafka fails, or one stays.
pub async fn delete(kafka: &KafkaSettings, topics: &[&str]) -> Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    // Kept until the answer is there: without its client nothing would bring the answer.
    let admin = admin(kafka)?;
    let gone = admin.delete_topics(topics, &AdminOptions::new()).await;
    gone.attempt("delete topics")?;
    let reader = reader(kafka)?;
    for topic in topics {
        probe::until(CHANGE, &format!("`{topic}` to be gone"), async || {
            Ok((!is_there(&reader, topic)?).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Deletes all topics of a prefix.
///
/// # Errors
/// As [`delete`].
pub async fn delete_all(kafka: &KafkaSettings, prefix: &str) -> Result<()> {
    let names = list(&reader(kafka)?, prefix)?;
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    delete(kafka, &names).await
}

/// The topics of a prefix.
///
/// # Errors
/// When Kafka does not answer.
pub fn list(reader: &BaseConsumer, prefix: &str) -> Result<Vec<String>> {
    let own = format!("{prefix}.");
    let metadata = reader
        .fetch_metadata(None, ANSWER)
        .attempt("list the topics")?;
    let names = metadata
        .topics()
        .iter()
        .map(|topic| topic.name().to_owned());
    Ok(names.filter(|name| name.starts_with(&own)).collect())
}

fn is_there(reader: &BaseConsumer, topic: &str) -> Result<bool> {
    let metadata = reader
        .fetch_metadata(None, ANSWER)
        .attempt("list the topics")?;
    Ok(metadata.topics().iter().any(|found| found.name() == topic))
}

/// A reader that belongs to no group.
///
/// # Errors
/// When its settings have faults.
pub fn reader(kafka: &KafkaSettings) -> Result<BaseConsumer> {
    let config = kafka.reader_config(CLIENT);
    let mut config = config.map_err(|fault| Failure::new(fault.to_string()))?;
    Ok(config.set("auto.offset.reset", "earliest").create()?)
}

/// A client for what else there is to be done to topics.
///
/// # Errors
/// When its settings have faults.
pub fn admin(kafka: &KafkaSettings) -> Result<AdminClient<DefaultClientContext>> {
    let config = kafka.admin_config(CLIENT);
    Ok(config
        .map_err(|fault| Failure::new(fault.to_string()))?
        .create()?)
}

/// A partition and an offset in it.
pub type At = (i32, i64);

/// Reads a topic up to the end it has now: all of it, or what is wanted.
///
/// # Errors
/// When Kafka fails, or sends nothing more for half a minute.
pub fn read(
    kafka: &KafkaSettings,
    topic: &str,
    wanted: Option<&HashSet<At>>,
    mut see: impl FnMut(&BorrowedMessage<'_>, At),
) -> Result<()> {
    let reader = reader(kafka)?;
    let metadata = reader
        .fetch_metadata(Some(topic), ANSWER)
        .attempt("look for a topic")?;
    let partitions = metadata
        .topics()
        .first()
        .map_or(0, |topic| topic.partitions().len());
    let mut assignment = TopicPartitionList::new();
    let mut ends = HashMap::new();
    for partition in 0..i32::try_from(partitions)? {
        let (low, high) = reader.fetch_watermarks(topic, partition, ANSWER)?;
        let of_partition = |places: &HashSet<At>| -> Vec<i64> {
            places
                .iter()
                .filter(|(of, _)| *of == partition)
                .map(|(_, offset)| *offset)
                .collect()
        };
        let offsets = wanted.map(of_partition);
        let start = offsets
            .as_ref()
            .map_or(Some(low), |offsets| offsets.iter().min().copied());
        let end = offsets
            .as_ref()
            .map_or(Some(high), |offsets| offsets.iter().max().map(|o| o + 1));
        if let (Some(start), Some(end)) = (start, end.map(|end| end.min(high)))
            && start < end
        {
            assignment.add_partition_offset(topic, partition, Offset::Offset(start))?;
            ends.insert(partition, end);
        }
    }
    reader.assign(&assignment).attempt("read a topic")?;
    let mut moved = Instant::now();
    while !ends.is_empty() {
        let Some(message) = reader.poll(Duration::from_millis(100)) else {
            if moved.elapsed() > STALL {
                return Err(Failure::new(format!(
                    "Kafka sends nothing more of `{topic}`"
                )));
            }
            continue;
        };
        let message = message.attempt(&format!("read `{topic}`"))?;
        moved = Instant::now();
        let at = (message.partition(), message.offset());
        if wanted.is_none_or(|wanted| wanted.contains(&at)) {
            see(&message, at);
        }
        if ends.get(&at.0).is_some_and(|end| at.1 + 1 >= *end) {
            ends.remove(&at.0);
        }
    }
    Ok(())
}
