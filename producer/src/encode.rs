//! Change → record: the bytes that cross Kafka.
//!
//! It takes a change with its document still in the socket's buffer and gives the record's value
//! in a buffer of its own, reused from change to change: one copy, no allocation per document.
//! The record's key is the canonical text of `_id`, so that everything about one document lands
//! in one partition.

use crate::source::Change;
use leafcutter_schemas::{
    codec::avro,
    envelope::{Envelope, Source},
};

/// Bytes a record takes beside its key and value: headers of the record and of its batch.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 512;

/// Encodes changes of one database for one run.
#[derive(Debug)]
pub struct Encoder {
    database: String,
    run: String,
    buffer: Vec<u8>,
}

impl Encoder {
    /// The buffer is given back when it grew beyond this: one large document must not be kept.
    const KEEP_BYTES_MAX: usize = 1 << 20;

    /// An encoder for `database` in `run`.
    pub fn new(database: &str, run: &str) -> Self {
        Self {
            database: database.to_owned(),
            run: run.to_owned(),
            buffer: Vec::new(),
        }
    }

    /// The record's value.
    pub fn encode(&mut self, collection: &str, change: &Change<'_>) -> &[u8] {
        if self.buffer.capacity() > Self::KEEP_BYTES_MAX {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        let envelope = Envelope {
            operation: change.operation,
            key: change.key_bson,
            document: change.document,
            version: change.version,
            as_of: change.as_of.max(change.version),
            source: Source {
                database: &self.database,
                collection,
                cluster_time: change.version,
                wall_time: change.wall_time,
                snapshot: change.snapshot,
                transaction: change.transaction,
            },
            run: &self.run,
        };
        avro::encode(&envelope, &mut self.buffer);
        &self.buffer
    }
}
