//! One change event, parsed from the server's reply without copying its document.
//!
//! Every operation type is named; one that is not known stops the stream, because skipping it
//! could hide a change. Fields that are not known are ignored.

use crate::error::Error;
use bson::{RawBsonRef, RawDocument, RawDocumentBuf, spec::BinarySubtype};
use leafcutter_schemas::{
    id::key_document, key::DocumentKey, operation::Operation, version::Version,
};
use std::{collections::HashMap, fmt::Write as _};

/// What an event says.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A document of a mapped collection changed.
    Change(Event<'a>),
    /// A mapped collection, or the database, is no longer what it was; in words.
    Reshaped(String),
    /// Nothing that concerns us.
    Nothing,
}

/// A change of one document of a mapped collection.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// What happened; never [`Operation::Read`].
    pub operation: Operation,
    /// The position of its collection among the mapped ones.
    pub collection: usize,
    /// The canonical text of `_id`.
    pub key: DocumentKey,
    /// `{ _id: … }`, the form of a document key in the envelope.
    pub id: RawDocumentBuf,
    /// The document, where the event carries it.
    pub document: Option<&'a RawDocument>,
    /// Its cluster time.
    pub time: Version,
    /// The server's clock in milliseconds, from 6.0 on.
    pub wall_time: Option<i64>,
    /// `lsid:number` of its transaction.
    pub transaction: Option<String>,
}

impl Event<'_> {
    /// Whether the document has to be looked up.
    pub fn needs_lookup(&self) -> bool {
        self.operation == Operation::Update && self.document.is_none()
    }
}

/// The positions of the mapped collections by name.
pub type Positions = HashMap<String, usize>;

/// The fields of an event that we look at.
#[derive(Default)]
struct Fields<'a> {
    operation: Option<&'a str>,
    time: Option<Version>,
    wall_time: Option<i64>,
    document: Option<&'a RawDocument>,
    collection: Option<&'a str>,
    renamed_to: Option<&'a str>,
    key: Option<&'a RawDocument>,
    session: Option<&'a RawDocument>,
    number: Option<i64>,
}

fn malformed(why: impl Into<String>) -> Error {
    Error::MalformedEvent { why: why.into() }
}

impl<'a> Fields<'a> {
    fn of(event: &'a RawDocument) -> Result<Self, Error> {
        let mut fields = Self::default();
        for element in event {
            let (name, value) = element.map_err(|error| malformed(error.to_string()))?;
            match (name.as_str(), value) {
                ("operationType", RawBsonRef::String(text)) => fields.operation = Some(text),
                ("clusterTime", RawBsonRef::Timestamp(time)) => {
                    fields.time = Some(Version::from_cluster_time(time));
                }
                ("wallTime", RawBsonRef::DateTime(at)) => {
                    fields.wall_time = Some(at.timestamp_millis());
                }
                ("fullDocument", RawBsonRef::Document(document)) => {
                    fields.document = Some(document);
                }
                ("ns", RawBsonRef::Document(ns)) => fields.collection = ns.get_str("coll").ok(),
                ("to", RawBsonRef::Document(ns)) => fields.renamed_to = ns.get_str("coll").ok(),
                ("documentKey", RawBsonRef::Document(key)) => fields.key = Some(key),
                ("lsid", RawBsonRef::Document(session)) => fields.session = Some(session),
                ("txnNumber", RawBsonRef::Int64(number)) => fields.number = Some(number),
                _ => {}
            }
        }
        Ok(fields)
    }

    /// `lsid:number`; only events of a multi-document transaction carry both.
    fn transaction(&self) -> Option<String> {
        let (session, number) = (self.session?, self.number?);
        let mut text = String::with_capacity(48);
        match session.get("id") {
            Ok(Some(RawBsonRef::Binary(id))) if id.subtype == BinarySubtype::Uuid => {
                let bytes = <[u8; 16]>::try_from(id.bytes).ok()?;
                write!(text, "{}", uuid::Uuid::from_bytes(bytes)).ok()?;
            }
            _ => return Some(format!("unknown:{number}")),
        }
        write!(text, ":{number}").ok()?;
        Some(text)
    }
}

/// Cluster time of an event, and whether it belongs to a transaction: all that holding back needs.
pub(crate) fn time_and_group(event: &RawDocument) -> Result<(Version, bool), Error> {
    let time = event
        .get_timestamp("clusterTime")
        .map_err(|_| malformed("an event without `clusterTime`"))?;
    let grouped = matches!(event.get("txnNumber"), Ok(Some(_)));
    Ok((Version::from_cluster_time(time), grouped))
}

/// Parses one event.
///
/// # Errors
/// When a field that every event has is missing, or the operation type is not known.
pub fn parse<'a>(event: &'a RawDocument, positions: &Positions) -> Result<Parsed<'a>, Error> {
    let fields = Fields::of(event)?;
    let kind = fields
        .operation
        .ok_or_else(|| malformed("an event without `operationType`"))?;
    let position = |name: Option<&str>| name.and_then(|name| positions.get(name)).copied();
    let operation = match kind {
        "insert" => Operation::Insert,
        "update" => Operation::Update,
        "replace" => Operation::Replace,
        "delete" => Operation::Delete,
        "drop" | "rename" => {
            let named = fields.collection.unwrap_or_default();
            if position(fields.collection).is_some() {
                let verb = if kind == "drop" { "dropped" } else { "renamed" };
                return Ok(Parsed::Reshaped(format!("collection `{named}` was {verb}")));
            }
            return Ok(match (position(fields.renamed_to), fields.renamed_to) {
                (Some(_), Some(to)) => Parsed::Reshaped(format!(
                    "collection `{named}` was renamed to the mapped name `{to}`"
                )),
                _ => Parsed::Nothing,
            });
        }
        "dropDatabase" => return Ok(Parsed::Reshaped("the database was dropped".to_owned())),
        "invalidate" => return Ok(Parsed::Reshaped("the change stream was ended".to_owned())),
        "create"
        | "createIndexes"
        | "dropIndexes"
        | "modify"
        | "shardCollection"
        | "refineCollectionShardKey"
        | "reshardCollection"
        | "migrateChunkToNewShard"
        | "migrateLastChunkFromShard"
        | "startIndexBuild"
        | "abortIndexBuild" => {
            return Ok(Parsed::Nothing);
        }
        other => return Err(malformed(format!("the unknown operation type `{other}`"))),
    };
    let Some(collection) = position(fields.collection) else {
        return Ok(Parsed::Nothing);
    };
    let id = fields.key.and_then(key_document);
    let key = id.as_deref().and_then(DocumentKey::of_document);
    let (Some(id), Some(key)) = (id, key) else {
        let why = format!("an event `{kind}` without the `_id` of its document");
        return Err(malformed(why));
    };
    if fields.document.is_none() && matches!(operation, Operation::Insert | Operation::Replace) {
        return Err(malformed(format!("an event `{kind}` without its document")));
    }
    Ok(Parsed::Change(Event {
        operation,
        collection,
        key,
        id,
        document: fields.document.filter(|_| operation != Operation::Delete),
        time: fields
            .time
            .ok_or_else(|| malformed("an event without `clusterTime`"))?,
        wall_time: fields.wall_time,
        transaction: fields.transaction(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Binary, Timestamp, rawdoc};

    fn positions() -> Positions {
        Positions::from([("a".to_owned(), 0)])
    }

    fn time() -> Timestamp {
        Timestamp {
            time: 9,
            increment: 1,
        }
    }

    #[test]
    fn an_update_in_a_transaction_is_read_whole() {
        let session = Binary {
            subtype: BinarySubtype::Uuid,
            bytes: vec![1; 16],
        };
        let event = rawdoc! {
            "_id": { "_data": "82" }, "operationType": "update", "clusterTime": time(),
            "wallTime": bson::DateTime::from_millis(5), "ns": { "db": "d", "coll": "a" },
            "documentKey": { "shard": 1, "_id": 7 }, "txnNumber": 3i64, "lsid": { "id": session },
            "future": true,
        };
        let Parsed::Change(parsed) = parse(&event, &positions()).unwrap() else {
            panic!("a change")
        };
        assert!(parsed.needs_lookup());
        assert_eq!(parsed.key.as_str(), "number:7");
        assert_eq!(parsed.id, rawdoc! { "_id": 7 });
        let transaction = parsed.transaction.unwrap();
        assert_eq!(transaction, "01010101-0101-0101-0101-010101010101:3");
        assert_eq!(
            time_and_group(&event).unwrap(),
            (Version::from_cluster_time(time()), true)
        );
    }

    #[test]
    fn what_reshapes_a_mapped_collection_is_never_skipped() {
        let reshaped = |event: &RawDocument| {
            matches!(parse(event, &positions()).unwrap(), Parsed::Reshaped(_))
        };
        let named = |kind: &str, name: &str| {
            rawdoc! { "operationType": kind, "clusterTime": time(), "ns": { "coll": name } }
        };
        assert!(reshaped(&named("drop", "a")));
        assert!(!reshaped(&named("drop", "b")));
        assert!(reshaped(&named("rename", "a")));
        assert!(reshaped(&named("dropDatabase", "")));
        assert!(reshaped(&named("invalidate", "")));
        let onto = rawdoc! {
            "operationType": "rename", "clusterTime": time(),
            "ns": { "coll": "b" }, "to": { "coll": "a" },
        };
        assert!(reshaped(&onto));
        assert!(parse(&named("surprise", "a"), &positions()).is_err());
        assert!(parse(&named("insert", "a"), &positions()).is_err());
    }
}
