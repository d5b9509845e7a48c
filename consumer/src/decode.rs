//! A delivery becomes a prepared record: decoded, and its document turned into rows.
//!
//! Everything that can be decided without the database is decided here. What cannot be decoded or
//! does not fit its columns is definite, and becomes a refused record; it never stops the batch.

use crate::{model::Model, source::Delivery, transform::Rows};
use bson::RawDocument;
use leafcutter_schemas::{
    codec::avro,
    dead_letter::{Reason, Stage},
    operation::Operation,
    version::Version,
};
use std::ops::Range;

/// A delivery and what became of it.
#[derive(Debug)]
pub struct Record {
    /// As it was read.
    pub delivery: Delivery,
    /// What is to be done.
    pub prepared: Prepared,
}

/// What is to be done with a record.
#[derive(Debug)]
pub enum Prepared {
    /// Its document's rows are to be written.
    Upsert {
        /// The root row's key.
        key: Vec<u8>,
        /// Version and time of the image.
        stamp: Stamp,
        /// The rows, the root's first.
        rows: Range<usize>,
    },
    /// Its document's rows are to be deleted.
    Delete {
        /// The root row's key.
        key: Vec<u8>,
        /// Version and time of the event.
        stamp: Stamp,
    },
    /// Its document does not match the table's filter: its rows are to be deleted, if there are
    /// any.
    Filtered {
        /// The root row's key.
        key: Vec<u8>,
        /// Version and time of the image.
        stamp: Stamp,
    },
    /// A record without a value: nothing to do.
    Ignored,
    /// It can never be applied.
    Refused {
        /// Why.
        reason: Reason,
        /// The root row's key, where it could be told.
        key: Option<Vec<u8>>,
        /// Its version, where it could be told.
        version: Option<Version>,
    },
}

/// When a record's document was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The source version.
    pub version: Version,
    /// The latest cluster time at which the document was read.
    pub as_of: Version,
    /// It comes from the change stream, not from a snapshot.
    pub event: bool,
}

fn malformed(message: String) -> Reason {
    Reason {
        stage: Stage::Decode,
        code: "malformed",
        message,
        table: None,
        column: None,
        path: None,
        sqlstate: None,
    }
}

/// Prepares the record whose value is `value`; rows are appended to `rows`.
pub fn prepare(
    model: &Model,
    collection: usize,
    value: Option<&[u8]>,
    rows: &mut Rows,
) -> Prepared {
    let Some(value) = value else {
        return Prepared::Ignored;
    };
    let refused = |reason, key, version| Prepared::Refused {
        reason,
        key,
        version,
    };
    let envelope = match avro::decode(value) {
        Ok(envelope) => envelope,
        Err(error) => return refused(malformed(error.to_string()), None, None),
    };
    let plan = &model.collections[collection].plan;
    let stamp = Stamp {
        version: envelope.version,
        as_of: envelope.as_of.max(envelope.version),
        event: !envelope.source.snapshot,
    };
    let key = RawDocument::from_bytes(envelope.key)
        .map_err(|error| malformed(format!("the document key is no BSON: {error}")))
        .and_then(|key| plan.root_key(key));
    match (envelope.operation, envelope.document) {
        (Operation::Delete, _) => match key {
            Ok(key) => Prepared::Delete { key, stamp },
            Err(reason) => refused(reason, None, Some(stamp.version)),
        },
        (_, None) => {
            let reason = malformed(format!(
                "operation {} without a document",
                envelope.operation
            ));
            refused(reason, key.ok(), Some(stamp.version))
        }
        (_, Some(document)) => {
            let start = rows.len();
            let made = RawDocument::from_bytes(document)
                .map_err(|error| malformed(format!("the document is no BSON: {error}")))
                .and_then(|document| plan.transform(document, rows));
            match made {
                Ok(true) => Prepared::Upsert {
                    key: rows.key(start).to_vec(),
                    stamp,
                    rows: start..rows.len(),
                },
                Ok(false) => match key {
                    Ok(key) => Prepared::Filtered { key, stamp },
                    Err(reason) => refused(reason, None, Some(stamp.version)),
                },
                Err(reason) => refused(reason, key.ok(), Some(stamp.version)),
            }
        }
    }
}
