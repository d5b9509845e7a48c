//! A collection's records, read from its topic.
//!
//! Of one document there may be many records, and the newest decides. All records of a document are in one
//! partition, so a partition is read twice: the first time only keys and versions are noted, as long as there
//! is room, the second time what is newest counts. It reads outside the consumer group and moves nothing.

use super::{keys::hash, look::Look, placing::Placing};
use crate::kafka::{Next, Read, Topics};
use indicatif::ProgressBar;
use leafcutter_runtime::{
    exit::Exit,
    kafka::KafkaSettings,
    report::{Failure, Fault},
};
use leafcutter_schemas::{codec::avro, version::Version};
use std::collections::HashMap;

/// Where the newest record of each document is, by the document's key.
type Newest = HashMap<u64, (Version, i64)>;

/// A part of a topic, as far as it is read.
struct Part {
    partition: i32,
    from: i64,
    until: i64,
    /// Records read at most.
    most: Option<u64>,
}

/// What was read of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// All that was ever in it.
    pub(super) whole: bool,
    /// Every record was held against others of its document.
    pub(super) newest: bool,
}

/// Where the topic's partitions begin and end.
///
/// # Errors
/// When there is no such topic, or Kafka cannot be asked.
pub(super) fn bounds(kafka: &KafkaSettings, topic: &str) -> Result<Vec<(i64, i64)>, Failure> {
    let topics = Topics::open(kafka)?;
    let partitions = topics.partitions(topic)?.unwrap_or_default();
    if partitions == 0 {
        let fault = Fault::new(
            "could not read a topic",
            format!("topic `{topic}`"),
            "it is not there",
            "Start the producer, which creates and fills it, or leave --from-topic away to read MongoDB.",
        );
        return Err(Failure::one(Exit::Preflight, fault));
    }
    (0..partitions)
        .map(|partition| topics.bounds(topic, partition))
        .collect()
}

/// Reads the records of a topic between these bounds.
///
/// # Errors
/// When Kafka cannot be read.
pub(super) fn read(
    kafka: &KafkaSettings,
    (topic, bounds): (&str, &[(i64, i64)]),
    limit: Option<u64>,
    keys_max: usize,
    bar: &ProgressBar,
    (look, placing): (&mut Look, &mut Placing),
) -> Result<Reached, Failure> {
    let topics = Topics::open(kafka)?;
    let mut reached = Reached {
        whole: bounds.iter().all(|(from, _)| *from == 0),
        newest: true,
    };
    for (partition, &(from, until)) in (0..).zip(bounds) {
        let most = limit.map(|limit| limit.saturating_sub(look.read));
        let part = Part {
            partition,
            from,
            until,
            most,
        };
        // A place in the table takes 24 bytes, a key of the sets 9.
        let newest = newest(&topics, topic, &part, keys_max / 4)?;
        reached.newest &= newest.is_some();
        let ended = each(&topics, topic, &part, &mut |record| {
            look.read += 1;
            bar.inc(1);
            let (value, key) = (record.value.as_deref(), hash(&record.key));
            let last = newest.as_ref().and_then(|newest| newest.get(&key));
            match last {
                Some((_, offset)) if *offset != record.offset => look.superseded += 1,
                _ => look.take(record.key.len(), value, placing),
            }
        })?;
        reached.whole &= ended;
    }
    Ok(reached)
}

/// The newest record of each document of a partition; none where there are too many documents.
fn newest(
    topics: &Topics,
    topic: &str,
    part: &Part,
    most: usize,
) -> Result<Option<Newest>, Failure> {
    let mut newest = Newest::new();
    each(topics, topic, part, &mut |record| {
        // What is no envelope stands for itself.
        let envelope = record.value.as_deref().map(avro::decode);
        let Some(Ok(envelope)) = envelope else { return };
        if newest.len() <= most {
            let version = (envelope.version, record.offset);
            let last = newest.entry(hash(&record.key)).or_insert(version);
            *last = version.max(*last);
        }
    })?;
    Ok(Some(newest).filter(|newest| newest.len() <= most))
}

/// Shows each record; gives whether it came to the end.
fn each(
    topics: &Topics,
    topic: &str,
    part: &Part,
    take: &mut dyn FnMut(&Read),
) -> Result<bool, Failure> {
    let (mut count, mut ended) = (0, true);
    topics.read(
        topic,
        part.partition,
        part.from,
        part.until,
        &mut |record| {
            if part.most.is_some_and(|most| count >= most) {
                ended = false;
                return Next::Enough;
            }
            count += 1;
            take(&record);
            Next::On
        },
    )?;
    Ok(ended)
}
