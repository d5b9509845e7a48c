//! From Kafka: bytes with their coordinates.

pub mod poll;

use rdkafka::message::OwnedHeaders;

/// A record as it was read, before anything is made of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The collection whose topic it was read from: a position in the model.
    pub collection: usize,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The broker's timestamp, milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value; none for a tombstone of Kafka's.
    pub value: Option<Vec<u8>>,
    /// The record's headers.
    pub headers: Option<OwnedHeaders>,
}

impl Delivery {
    /// Bytes that it holds in memory.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + size_of::<Self>()
    }
}
