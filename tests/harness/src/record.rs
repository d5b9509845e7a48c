//! Records made by hand, as a producer writes them: changes of documents, and what it says of itself.

use bson::{Bson, Document, RawDocumentBuf, doc};
use leafcutter_schemas::{
    codec::avro,
    control::{Heartbeat, SnapshotComplete},
    envelope::{Envelope, Source},
    key::DocumentKey,
    operation::Operation,
    version::Version,
};
use std::collections::BTreeMap;

/// A change of a document of a collection.
#[derive(Debug, Clone)]
pub struct Made {
    /// The collection.
    pub collection: &'static str,
    /// The record's key.
    pub key: DocumentKey,
    /// The envelope.
    pub value: Vec<u8>,
}

/// A version by its number.
///
/// # Panics
/// When it is negative.
pub fn version(number: i64) -> Version {
    Version::from_i64(number).expect("a version is not negative")
}

/// The document as it is after a change. It has an `_id`.
pub fn put(collection: &'static str, version: i64, document: Document) -> Made {
    changed(collection, Operation::Replace, version, document)
}

/// The document as a snapshot reads it. It has an `_id`.
pub fn read(collection: &'static str, version: i64, document: Document) -> Made {
    changed(collection, Operation::Read, version, document)
}

/// The end of the document with this `_id`.
pub fn delete(collection: &'static str, version: i64, id: impl Into<Bson>) -> Made {
    made(collection, Operation::Delete, version, id.into(), None)
}

/// The document after this operation. It has an `_id`.
///
/// # Panics
/// When it has none.
pub fn changed(
    collection: &'static str,
    operation: Operation,
    version: i64,
    document: Document,
) -> Made {
    let id = document
        .get("_id")
        .expect("a document has an `_id`")
        .clone();
    made(collection, operation, version, id, Some(&document))
}

fn made(
    collection: &'static str,
    operation: Operation,
    number: i64,
    id: Bson,
    document: Option<&Document>,
) -> Made {
    let raw = |document: &Document| {
        RawDocumentBuf::try_from(document).expect("names of a document made by hand have no NUL")
    };
    let key = raw(&doc! { "_id": id });
    let document = document.map(raw);
    let version = version(number);
    let envelope = Envelope {
        operation,
        key: key.as_bytes(),
        document: document.as_ref().map(|document| document.as_bytes()),
        version,
        as_of: version,
        source: Source {
            database: "by hand",
            collection,
            cluster_time: version,
            wall_time: None,
            snapshot: operation == Operation::Read,
            transaction: None,
        },
        run: "test",
    };
    let mut value = Vec::new();
    avro::encode(&envelope, &mut value);
    Made {
        collection,
        key: DocumentKey::of_document(&key).expect("the document of a key has an `_id`"),
        value,
    }
}

/// A producer's heartbeat: everything up to this time is in topics of which it says nothing yet.
pub fn heartbeat(time: Version) -> Heartbeat {
    Heartbeat {
        producer: "p".to_owned(),
        run: "r".to_owned(),
        time,
        low_water: Version::ZERO,
        sent_at: 0,
        offsets: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        polled: false,
    }
}

/// The same producer's word that the snapshot of a collection is in its topic, below these offsets.
pub fn snapshot_complete(collection: &str, topic: &str, offsets: Vec<i64>) -> SnapshotComplete {
    SnapshotComplete {
        producer: "p".to_owned(),
        run: "r".to_owned(),
        collection: collection.to_owned(),
        topic: topic.to_owned(),
        offsets,
        complete_time: Version::ZERO,
        documents: 0,
        snapshot: true,
    }
}
