//! What was done more than once because parts were killed, counted exactly.
//!
//! - **Read again.** Every snapshot record of a document beyond its first is a document that the
//!   producer read and published again. What it had read, and Kafka had not, when it was killed
//!   left no trace: it is published once.
//! - **Published again.** Within a partition the changes of one document come in the order of their
//!   versions, so a change that is not newer than one before it was published again. (Updates that
//!   were merged the first time may come one by one the second time; they are counted as well.)
//! - **Applied again.** Consumers say how many records they begin to write, once the position in
//!   PostgreSQL has proven that these are next, and say it of all or nothing of them when they take
//!   a batch back to cut it smaller. Every record that PostgreSQL's positions have passed was
//!   committed once; what was begun beyond that was cut off by a kill, rolled back, and begun
//!   again.

use crate::{
    failure::{Attempt, Failure, Result},
    finlit::Collection,
    fleet::Fleet,
    program, topic,
    world::Place,
};
use leafcutter_schemas::{codec::avro, version::Version};
use rdkafka::message::Message as _;
use std::collections::HashMap;
use tokio_postgres::Client;

/// What was done more than once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Again {
    /// All records in the data topics.
    pub records: u64,
    /// Documents that were read and published again.
    pub read: u64,
    /// Changes that were published again.
    pub changes: u64,
    /// Records whose transaction was cut off and done again.
    pub applied: u64,
}

/// What of a document was seen so far.
#[derive(Default)]
struct Document {
    read: bool,
    change: Option<Version>,
}

/// Counts. The consumers have ended.
///
/// # Errors
/// When a server or a log fails.
pub async fn count(place: &Place, fleet: &Fleet, target: &Client, group: &str) -> Result<Again> {
    let mut again = Again::default();
    for collection in Collection::ALL {
        published(place, collection, &mut again)?;
    }
    let consumed = "select coalesce(sum(next_offset), 0)::bigint from leafcutter.offsets \
                    where consumer_group = $1";
    let consumed: i64 = target.query_one(consumed, &[&group]).await?.get(0);
    let mut begun = 0;
    for log in fleet.consumer_logs() {
        let log = std::fs::read(&log).attempt(&format!("read {}", log.display()))?;
        begun += begun_in(&log);
    }
    again.applied = u64::try_from(begun - consumed).map_err(|_| {
        Failure::new(format!(
            "{consumed} records are applied, and only {begun} were begun"
        ))
    })?;
    Ok(again)
}

/// Counts what is in a topic more than once.
fn published(place: &Place, collection: Collection, again: &mut Again) -> Result<()> {
    let topic = place.topic(collection.name())?;
    let mut documents: HashMap<Vec<u8>, Document> = HashMap::new();
    let mut broken = None;
    // All records of a key are in one partition, and come in its order.
    topic::read(place, &topic, None, |record, at| {
        again.records += 1;
        let Ok(envelope) = avro::decode(record.payload().unwrap_or_default()) else {
            broken = Some(at);
            return;
        };
        let key = record.key().unwrap_or_default();
        if !documents.contains_key(key) {
            documents.insert(key.to_vec(), Document::default());
        }
        let Some(document) = documents.get_mut(key) else {
            return;
        };
        if envelope.source.snapshot {
            again.read += u64::from(document.read);
            document.read = true;
        } else {
            again.changes += u64::from(document.change >= Some(envelope.version));
            document.change = document.change.max(Some(envelope.version));
        }
    })?;
    match broken {
        None => Ok(()),
        Some((partition, offset)) => Err(Failure::new(format!(
            "the record at partition {partition} offset {offset} of `{topic}` cannot be read"
        ))),
    }
}

/// Records that a consumer began to write and did not take back of its own accord.
fn begun_in(log: &[u8]) -> i64 {
    let records = |event: &serde_json::Value| {
        let count = event.get("records").and_then(serde_json::Value::as_i64);
        count.unwrap_or(0)
    };
    let signed = |event: serde_json::Value| match event.get("message")?.as_str()? {
        "writing" => Some(records(&event)),
        "taken back" => Some(-records(&event)),
        _ => None,
    };
    program::events(log).into_iter().filter_map(signed).sum()
}

#[cfg(test)]
mod tests {
    use super::begun_in;

    #[test]
    fn what_a_consumer_takes_back_itself_was_not_begun() {
        let log = br#"{"level":"INFO","message":"started"}
{"level":"DEBUG","records":10,"message":"writing"}
{"level":"DEBUG","records":10,"message":"taken back"}
{"level":"DEBUG","records":5,"message":"writing"}
{"level":"DEBUG","records":5,"message":"writing"}
thread 'main' says something else
{"level":"DEBUG","records":7,"mess"#;
        assert_eq!(begun_in(log), 10);
    }
}
