//! What was done more than once because parts were killed.
//!
//! - **Read again.** Every snapshot record of a document beyond its first is a document that the
//!   producer read and published again. What it had read, and Kafka had not, when it was killed
//!   left no trace: it is published once.
//! - **Published again.** Within a partition the changes of one document come in the order of their
//!   versions, so a change that is not newer than one before it was published again. (Updates that
//!   were merged the first time may come one by one the second time; they are counted as well.)
//! - **Applied again.** Consumers count the records that they begin to write, once the position in
//!   PostgreSQL has proven that these are next, and those whose transaction is over. What is between
//!   the two was cut off by PostgreSQL's end, or by the consumer's: its counters are read just before
//!   it is killed, so a batch that began or ended in the moment between is missed, or one too many.

use crate::{
    failure::{Failure, Result},
    fleet::Fleet,
    topic,
    world::Place,
};
use leafcutter_schemas::{codec::avro, version::Version};
use rdkafka::message::Message as _;
use std::collections::HashMap;

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
/// When Kafka fails, or a record cannot be read.
pub fn count(place: &Place, fleet: &Fleet) -> Result<Again> {
    let mut again = Again::default();
    for collection in &place.collections {
        published(place, collection, &mut again)?;
    }
    again.applied = fleet.unfinished()?;
    Ok(again)
}

/// Counts what is in a topic more than once.
fn published(place: &Place, collection: &str, again: &mut Again) -> Result<()> {
    let topic = place.topic(collection)?;
    let mut documents: HashMap<Vec<u8>, Document> = HashMap::new();
    let mut broken = None;
    // All records of a key are in one partition, and come in its order.
    topic::read(&place.stack.kafka(), &topic, None, |record, at| {
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
