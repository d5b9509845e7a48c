//! A delivery becomes a prepared record: decoded, and its document turned into rows.
//!
//! Everything that can be decided without the database is decided here. What cannot be decoded or
//! does not fit its columns is definite, and becomes a refused record; it never stops the batch.

use crate::{
    model::Model,
    sink::work::Wish,
    source::Delivery,
    transform::{Rows, TableId, TablePlan},
};
use bson::RawDocument;
use leafcutter_schemas::{
    codec::avro,
    dead_letter::{Reason, Stage},
    key::DocumentKey,
    operation::Operation,
    version::Version,
};

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
    /// Its document's rows are to be brought to what it says.
    Write {
        /// Version and time of the image or event.
        stamp: Stamp,
        /// For each root table of its collection what is to be done; never empty.
        parts: Vec<Part>,
    },
    /// A record without a value: nothing to do.
    Ignored,
    /// It can never be applied.
    Refused {
        /// Why. Seldom there, so it lies elsewhere: a batch is thousands of these.
        reason: Box<Reason>,
        /// The root row's key, where it could be told.
        key: Option<Vec<u8>>,
        /// Its version, where it could be told.
        version: Option<Version>,
    },
}

/// What is to be done in one root table and those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The root table.
    pub root: TableId,
    /// Whose it is: the root row's key, or the document's own where the row's does not follow from it.
    pub key: Vec<u8>,
    /// What is to be done.
    pub wish: Wish,
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

/// The bytes of a document's own key.
fn document_key(id: &RawDocument) -> Result<Vec<u8>, Reason> {
    let key = DocumentKey::of_document(id);
    let key = key.ok_or_else(|| malformed("the document key has no `_id`".to_owned()))?;
    Ok(key.as_str().as_bytes().to_vec())
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
        reason: Box::new(reason),
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
    let id = RawDocument::from_bytes(envelope.key)
        .map_err(|error| malformed(format!("the document key is no BSON: {error}")));
    let part = |table: &TablePlan, wish| {
        let id = id.clone()?;
        let key = if model.table(table.id).natural_key {
            document_key(id)?
        } else {
            plan.root_key(table, id)?
        };
        Ok(Part {
            root: table.id,
            key,
            wish,
        })
    };
    let gone = |filtered| {
        let parts = plan
            .roots()
            .map(|table| part(table, Wish::Delete { filtered }));
        parts.collect::<Result<Vec<_>, Reason>>()
    };
    // A dead letter is listed under the row of the first table.
    let key = || Some(gone(false).ok()?.swap_remove(0).key);
    match (envelope.operation, envelope.document) {
        (Operation::Delete, _) => match gone(false) {
            Ok(parts) => Prepared::Write { stamp, parts },
            Err(reason) => refused(reason, None, Some(stamp.version)),
        },
        (_, None) => {
            let reason = malformed(format!(
                "operation {} without a document",
                envelope.operation
            ));
            refused(reason, key(), Some(stamp.version))
        }
        (_, Some(document)) => {
            let made = RawDocument::from_bytes(document)
                .map_err(|error| malformed(format!("the document is no BSON: {error}")))
                .and_then(|document| plan.transform(document, rows));
            let parts = made.and_then(|made| {
                let parts = plan
                    .roots()
                    .zip(made)
                    .map(|(table, (root, made))| match made {
                        Some(range) if model.table(root).natural_key => {
                            part(table, Wish::Upsert(range))
                        }
                        Some(range) => Ok(Part {
                            root,
                            key: rows.key(range.start).to_vec(),
                            wish: Wish::Upsert(range),
                        }),
                        None => part(table, Wish::Delete { filtered: true }),
                    });
                parts.collect::<Result<Vec<_>, Reason>>()
            });
            match parts {
                Ok(parts) => Prepared::Write { stamp, parts },
                Err(reason) => refused(reason, key(), Some(stamp.version)),
            }
        }
    }
}
