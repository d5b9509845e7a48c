//! A topic of Kafka, read outside any group.

use crate::{
    failure::{Attempt, Failure, Result},
    world::Place,
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedMessage, Message},
};
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

/// How long Kafka may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long reading may stand still.
const STALL: Duration = Duration::from_secs(30);

/// A partition and an offset in it.
pub(crate) type At = (i32, i64);

/// Reads a topic up to the end it has now: all of it, or what is wanted.
///
/// # Errors
/// When Kafka fails, or sends nothing more for half a minute.
pub(crate) fn read(
    place: &Place,
    topic: &str,
    wanted: Option<&HashSet<At>>,
    mut see: impl FnMut(&BorrowedMessage<'_>, At),
) -> Result<()> {
    let config = place.stack.kafka().reader_config("leafcutter-tests");
    let mut config = config.map_err(|fault| Failure::new(fault.to_string()))?;
    let reader: BaseConsumer = config.set("auto.offset.reset", "earliest").create()?;
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
