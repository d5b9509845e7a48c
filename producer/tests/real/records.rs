//! What is in the topics, and what a consumer that follows PROTOCOL §3 makes of it.

use std::collections::{BTreeMap, HashMap};

use bson::{Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use leafcutter_harness::topic;
use leafcutter_schemas::codec::avro;
use leafcutter_schemas::key::DocumentKey;
use leafcutter_schemas::operation::Operation;
use leafcutter_schemas::version::Version;
use rdkafka::message::{Headers, Message};

use crate::world::World;

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) operation: Operation,
    pub(crate) document: Option<Vec<u8>>,
    pub(crate) version: Version,
    pub(crate) as_of: Version,
    pub(crate) snapshot: bool,
    pub(crate) transaction: Option<String>,
    pub(crate) run: String,
}

/// A record as it lies in the topic.
pub(crate) struct Raw {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl World {
    /// Everything in a topic, partition by partition, in order.
    pub(crate) fn raw(&self, topic: &str) -> Vec<Raw> {
        let mut found = Vec::new();
        let read = topic::read(&self.kafka, topic, None, |message, (partition, offset)| {
            let headers = message.headers().map(|headers| {
                let texts = headers.iter().map(|header| {
                    let value = header.value.unwrap_or_default();
                    let text = String::from_utf8_lossy(value).into_owned();
                    (header.key.to_owned(), text)
                });
                texts.collect()
            });
            found.push(Raw {
                partition,
                offset,
                key: message.key().unwrap_or_default().to_vec(),
                value: message.payload().map(<[u8]>::to_vec),
                headers: headers.unwrap_or_default(),
            });
        });
        read.unwrap();
        found.sort_by_key(|record| (record.partition, record.offset));
        found
    }

    /// The envelopes of a collection's topic.
    pub(crate) fn records(&self, collection: &str) -> Vec<Record> {
        let decode = |raw: Raw| {
            let value = raw.value.expect("an envelope");
            let envelope = avro::decode(&value).expect("it decodes");
            let key = RawDocumentBuf::from_bytes(envelope.key.to_vec()).expect("a document");
            let text = DocumentKey::of_document(&key).expect("an _id");
            assert_eq!(
                text.as_str().as_bytes(),
                raw.key,
                "the record's key is the document's"
            );
            assert_eq!(envelope.source.collection, collection);
            assert!(envelope.as_of >= envelope.version);
            assert_eq!(
                envelope.document.is_none(),
                envelope.operation == Operation::Delete
            );
            Record {
                partition: raw.partition,
                offset: raw.offset,
                key: text.as_str().to_owned(),
                operation: envelope.operation,
                document: envelope.document.map(<[u8]>::to_vec),
                version: envelope.version,
                as_of: envelope.as_of,
                snapshot: envelope.source.snapshot,
                transaction: envelope.source.transaction.map(str::to_owned),
                run: envelope.run.to_owned(),
            }
        };
        self.raw(&self.topic(collection))
            .into_iter()
            .map(decode)
            .collect()
    }

    /// What the source holds now.
    pub(crate) async fn source(&self, collection: &str) -> BTreeMap<String, Vec<u8>> {
        let documents: Vec<RawDocumentBuf> = self
            .database
            .collection(collection)
            .find(doc! {})
            .await
            .expect("a cursor")
            .try_collect()
            .await
            .expect("documents");
        let keyed = documents.into_iter().map(|document| {
            let key = DocumentKey::of_document(&document).expect("an _id");
            (key.as_str().to_owned(), document.into_bytes())
        });
        keyed.collect()
    }

    /// Asserts that a consumer of the topic arrives at the source's state, and that the records
    /// keep the producer's promises.
    pub(crate) async fn assert_converged(&self, collection: &str) -> Vec<Record> {
        let records = self.records(collection);
        keeps_promises(&records);
        let target = apply(&records);
        let source = self.source(collection).await;
        let missing: Vec<_> = source
            .keys()
            .filter(|key| !target.contains_key(*key))
            .collect();
        let extra: Vec<_> = target
            .keys()
            .filter(|key| !source.contains_key(*key))
            .collect();
        let differing: Vec<_> = source
            .iter()
            .filter(|(key, d)| target.get(*key).is_some_and(|t| t != *d))
            .collect();
        let suspects = missing
            .iter()
            .chain(&extra)
            .copied()
            .chain(differing.iter().map(|(k, _)| *k));
        let suspect = suspects.into_iter().next();
        let history: Vec<String> = records
            .iter()
            .filter(|record| Some(&record.key) == suspect)
            .map(|record| {
                format!(
                    "{} {} {} as of {} at {}/{} by {}",
                    record.key,
                    record.operation,
                    record.version,
                    record.as_of,
                    record.partition,
                    record.offset,
                    record.run,
                )
            })
            .collect();
        assert!(
            missing.is_empty() && extra.is_empty() && differing.is_empty(),
            "missing {:?}, extra {:?}, differing {}; the first one's records: {history:#?}",
            missing.iter().take(5).collect::<Vec<_>>(),
            extra.iter().take(5).collect::<Vec<_>>(),
            differing.len(),
        );
        records
    }
}

/// Asserts that no heartbeat ever claimed what was not so: of each document the newest event at or
/// before its time lies below its offsets, in any heartbeat that the control topic still holds. Not
/// every event: updates that came as one record may come one by one when they are published again
/// (P5), and then the earlier ones lie behind what a heartbeat rightly said.
pub(crate) fn assert_heartbeats(world: &World, collections: &[&str]) {
    let beats = world.heartbeats();
    assert!(
        beats.iter().any(|beat| beat.time > Version::ZERO),
        "none claims anything"
    );
    for name in collections {
        let mut changes: HashMap<String, Vec<(Version, usize, i64)>> = HashMap::new();
        for record in world
            .records(name)
            .into_iter()
            .filter(|record| !record.snapshot)
        {
            let partition = usize::try_from(record.partition).unwrap();
            let of_key = changes.entry(record.key).or_default();
            of_key.push((record.version, partition, record.offset));
        }
        for beat in &beats {
            let Some(ends) = beat.offsets.get(&world.topic(name)) else {
                continue;
            };
            for (key, changes) in &changes {
                let claimed = changes.iter().filter(|change| change.0 <= beat.time);
                let below = claimed
                    .clone()
                    .filter(|(_, partition, offset)| *offset < ends[*partition]);
                let (claimed, below) = (claimed.map(|c| c.0).max(), below.map(|c| c.0).max());
                assert!(
                    claimed == below,
                    "H {} claims {key} {claimed:?}, and below its offsets lies {below:?}",
                    beat.time,
                );
            }
        }
    }
}

/// The guard of PROTOCOL §3: applied when `version >= stored`, tombstones included.
pub(crate) fn apply(records: &[Record]) -> BTreeMap<String, Vec<u8>> {
    let mut stored: HashMap<&str, (Version, Option<&Vec<u8>>)> = HashMap::new();
    for record in records {
        let entry = stored.entry(&record.key).or_default();
        if record.version >= entry.0 {
            *entry = (record.version, record.document.as_ref());
        }
    }
    let rows = stored.into_iter();
    rows.filter_map(|(key, (_, document))| Some((key.to_owned(), document?.clone())))
        .collect()
}

/// P3 and the order within a run: per key, one partition, versions of events that rise; of one key
/// and cluster time never two different operations.
fn keeps_promises(records: &[Record]) {
    let mut partitions: HashMap<&str, i32> = HashMap::new();
    let mut last: HashMap<(&str, &str), Version> = HashMap::new();
    let mut kinds: HashMap<(&str, Version), Operation> = HashMap::new();
    for record in records {
        let partition = *partitions.entry(&record.key).or_insert(record.partition);
        assert_eq!(
            partition, record.partition,
            "{} lies in two partitions",
            record.key
        );
        if record.snapshot {
            continue;
        }
        let kind = *kinds
            .entry((&record.key, record.version))
            .or_insert(record.operation);
        assert_eq!(
            kind, record.operation,
            "two records for {} {}",
            record.key, record.version
        );
        if let Some(before) = last.insert((&record.run, &record.key), record.version) {
            assert!(before <= record.version, "{} goes back in time", record.key);
        }
    }
}

pub(crate) fn numbered(count: i64) -> Vec<Document> {
    (0..count)
        .map(|number| doc! { "_id": number, "n": 0 })
        .collect()
}
