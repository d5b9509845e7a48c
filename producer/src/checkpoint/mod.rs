//! Checkpoints: what a run leaves behind for the next one.
//!
//! Two kinds of records on the compacted topic `<prefix>.leafcutter.checkpoints`, as JSON: one per
//! producer and set of collections for the stream, one per collection for its snapshot. They hold only
//! what Kafka has acknowledged (PROTOCOL P2). Of several records under one key the one that is furthest
//! counts, not the last: a process that was frozen may write an older one late, and can then only cause
//! repetition.
//!
//! A stream's checkpoint speaks of the collections that it names and of no other (PROTOCOL P8). So each
//! set of collections has a key of its own: one that leaves the mapping stays covered up to the time at
//! which it left, whatever is written for those that stay, and two producers of one name that follow
//! different collections do not hide each other's.

pub mod store;
pub mod resume;

use crate::{progress::Snapshot, source::plan::Plan};
use bson::{Bson, RawDocumentBuf};
use leafcutter_schemas::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Where the stream is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCheckpoint {
    /// The producer's name.
    pub producer: String,
    /// The run that wrote it.
    pub run: String,
    /// The cluster it belongs to.
    pub cluster: Cluster,
    /// What the token is good for; see [`Fingerprint`].
    pub fingerprint: Fingerprint,
    /// The resume token, as Extended JSON.
    pub token: serde_json::Value,
    /// Every event at or before this time is acknowledged.
    pub time: Version,
    /// The newest event that was read: the source has to have it still, or its history is another.
    /// Zero where none was.
    #[serde(default)]
    pub event: Version,
}

/// The identity of a MongoDB cluster. Cluster times of different ones cannot be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The name of the replica set; empty behind a mongos.
    pub set: String,
    /// Its unique id, where this user may read it.
    pub id: Option<String>,
}

impl Cluster {
    /// Whether both may be the same cluster, as far as is known.
    pub fn may_be(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => self.set == other.set,
        }
    }
}

/// What has to be the same for a token to be used; otherwise the stream is reopened by time, which
/// may repeat events and misses none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The database.
    pub database: String,
    /// The collections, sorted.
    pub collections: Vec<String>,
    /// Whether post-images are asked for.
    pub post_images: bool,
    /// The envelope's form on the wire.
    pub format: String,
    /// What versions are: empty for cluster times, `poll` for dates.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub capture: String,
}

/// Where the snapshot of one collection is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotCheckpoint {
    /// The producer's name.
    pub producer: String,
    /// The run that wrote it.
    pub run: String,
    /// The collection.
    pub collection: String,
    /// How it was cut. Without bounds once it is complete.
    pub plan: Plan,
    /// Finished splits: number → documents.
    pub done: BTreeMap<usize, u64>,
    /// `snapshot-complete` is in the control topic.
    pub complete: bool,
    /// Documents read by the finished splits.
    pub documents: u64,
}

impl SnapshotCheckpoint {
    /// What is known of a snapshot now.
    pub fn of(producer: &str, run: &str, collection: &str, snapshot: &Snapshot) -> Self {
        let done = snapshot
            .splits
            .iter()
            .enumerate()
            .filter(|(_, split)| split.done);
        let done: BTreeMap<_, _> = done
            .map(|(number, split)| (number, split.documents))
            .collect();
        let mut checkpoint = Self {
            producer: producer.to_owned(),
            run: run.to_owned(),
            collection: collection.to_owned(),
            plan: snapshot.plan.clone(),
            documents: done.values().sum(),
            done,
            complete: snapshot.complete,
        };
        if checkpoint.complete {
            checkpoint.plan.bounds.clear();
            checkpoint.done = BTreeMap::from([(0, checkpoint.documents)]);
        }
        checkpoint
    }

    /// The larger one is further.
    fn rank(&self) -> (Version, bool, usize) {
        (self.plan.planned_at, self.complete, self.done.len())
    }
}

/// A checkpoint of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkpoint {
    /// See [`StreamCheckpoint`].
    Stream(StreamCheckpoint),
    /// See [`SnapshotCheckpoint`].
    Snapshot(SnapshotCheckpoint),
}

/// All that one producer left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The streams', by the keys of their records.
    pub streams: BTreeMap<String, StreamCheckpoint>,
    /// The snapshots', by collection.
    pub snapshots: BTreeMap<String, SnapshotCheckpoint>,
}

fn stream_key(producer: &str, collections: &[String]) -> String {
    let set = Uuid::new_v5(&Uuid::NAMESPACE_OID, collections.join("\0").as_bytes());
    format!("stream/{producer}/{}", set.simple())
}

/// Whether a stream's checkpoint of this producer has this key. Earlier versions wrote one, without a
/// set.
fn is_stream_key(producer: &str, key: &str) -> bool {
    let rest = key.strip_prefix("stream/");
    let rest = rest.and_then(|rest| rest.strip_prefix(producer));
    rest.is_some_and(|set| set.is_empty() || set.starts_with('/'))
}

pub(crate) fn snapshot_key(producer: &str, collection: &str) -> String {
    format!("snapshot/{producer}/{collection}")
}

impl Checkpoint {
    /// The record's key.
    pub fn key(&self) -> String {
        match self {
            Self::Stream(stream) => stream_key(&stream.producer, &stream.fingerprint.collections),
            Self::Snapshot(snapshot) => snapshot_key(&snapshot.producer, &snapshot.collection),
        }
    }

    /// The record's value.
    ///
    /// # Errors
    /// Never for these types; the JSON writer's signature has one.
    pub fn value(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Stream(stream) => serde_json::to_vec(stream),
            Self::Snapshot(snapshot) => serde_json::to_vec(snapshot),
        }
    }
}

impl Stored {
    /// Takes one record of the topic, in the order of the topic. Other producers' are passed over;
    /// no value means that a person had it forgotten.
    ///
    /// # Errors
    /// When a value of ours cannot be read.
    pub fn take(
        &mut self,
        producer: &str,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), serde_json::Error> {
        let key = String::from_utf8_lossy(key);
        if is_stream_key(producer, &key) {
            let Some(value) = value else {
                self.streams.remove(&*key);
                return Ok(());
            };
            let read: StreamCheckpoint = serde_json::from_slice(value)?;
            let known = self.streams.get(&*key);
            if known.is_none_or(|known| known.time <= read.time) {
                self.streams.insert(key.into_owned(), read);
            }
        } else if let Some(collection) = key.strip_prefix(&*snapshot_key(producer, "")) {
            let Some(value) = value else {
                self.snapshots.remove(collection);
                return Ok(());
            };
            let read: SnapshotCheckpoint = serde_json::from_slice(value)?;
            if self
                .snapshots
                .get(collection)
                .is_none_or(|known| known.rank() <= read.rank())
            {
                self.snapshots.insert(collection.to_owned(), read);
            }
        }
        Ok(())
    }
}

impl Stored {
    /// The furthest of the streams' checkpoints.
    pub fn stream(&self) -> Option<&StreamCheckpoint> {
        self.streams.values().max_by_key(|stream| stream.time)
    }

    /// The newest event that was read from the source.
    pub fn last_event(&self) -> Version {
        let events = self.streams.values().map(|stream| stream.event);
        events.max().unwrap_or_default()
    }

    /// Up to which time everything that happened to a collection is known to be in Kafka (P8): that of
    /// the furthest checkpoint that names it. Where none does, although its snapshot was begun by
    /// somebody who followed changes, that is all that is sure: changes before the snapshot do not
    /// matter to it.
    pub fn covered(&self, collection: &str) -> Option<Version> {
        let names = |stream: &&StreamCheckpoint| {
            let names = &stream.fingerprint.collections;
            names.iter().any(|name| name == collection)
        };
        let named = self.streams.values().filter(names);
        let begun = || Some(self.snapshots.get(collection)?.plan.planned_at);
        self.stream()?;
        named.map(|stream| stream.time).max().or_else(begun)
    }

    /// Up to which time all of these collections are covered, but for those that are new; none where
    /// all of them are.
    pub fn all_covered(&self, collections: &[String]) -> Option<Version> {
        let covered = collections.iter().filter_map(|name| self.covered(name));
        covered.min()
    }
}

/// A token for JSON.
pub(crate) fn token_to_json(token: &RawDocumentBuf) -> serde_json::Value {
    let bson = Bson::try_from(bson::RawBson::from(token.clone()));
    bson.map_or(serde_json::Value::Null, Bson::into_canonical_extjson)
}

/// A token from JSON.
pub(crate) fn token_from_json(json: &serde_json::Value) -> Option<RawDocumentBuf> {
    let bson = Bson::try_from(json.clone()).ok()?;
    RawDocumentBuf::try_from(bson.as_document()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    fn stream(time: i64, run: &str) -> StreamCheckpoint {
        StreamCheckpoint {
            producer: "lc.d".into(),
            run: run.into(),
            cluster: Cluster::default(),
            fingerprint: Fingerprint::default(),
            token: token_to_json(&rawdoc! { "_data": "82AA" }),
            time: Version::from_i64(time).unwrap(),
            event: Version::ZERO,
        }
    }

    fn snapshot(planned_at: i64, done: usize, complete: bool) -> SnapshotCheckpoint {
        let planned_at = Version::from_i64(planned_at).unwrap();
        SnapshotCheckpoint {
            producer: "lc.d".into(),
            run: "r".into(),
            collection: "a/b".into(),
            plan: Plan {
                planned_at,
                ..Plan::default()
            },
            done: (0..done).map(|number| (number, 1)).collect(),
            complete,
            documents: 0,
        }
    }

    fn load(records: &[(Checkpoint, bool)]) -> Stored {
        let mut stored = Stored::default();
        for (checkpoint, present) in records {
            let value = checkpoint.value().unwrap();
            let value = present.then_some(value.as_slice());
            stored
                .take("lc.d", checkpoint.key().as_bytes(), value)
                .unwrap();
        }
        stored
    }

    #[test]
    fn the_furthest_checkpoint_counts_and_not_a_zombies_late_one() {
        let stored = load(&[
            (Checkpoint::Stream(stream(5, "new")), true),
            (Checkpoint::Stream(stream(3, "zombie")), true),
            (Checkpoint::Snapshot(snapshot(1, 2, false)), true),
            (Checkpoint::Snapshot(snapshot(1, 1, false)), true),
        ]);
        assert_eq!(stored.stream().unwrap().run, "new");
        assert_eq!(stored.snapshots["a/b"].done.len(), 2);
        let again = load(&[
            (Checkpoint::Snapshot(snapshot(1, 9, true)), true),
            (Checkpoint::Snapshot(snapshot(2, 0, false)), true),
        ]);
        assert!(
            !again.snapshots["a/b"].complete,
            "a later plan replaces an earlier one"
        );
    }

    #[test]
    fn what_a_person_had_forgotten_is_gone() {
        let stored = load(&[
            (Checkpoint::Stream(stream(5, "r")), true),
            (Checkpoint::Stream(stream(5, "r")), false),
            (Checkpoint::Snapshot(snapshot(1, 2, false)), true),
            (Checkpoint::Snapshot(snapshot(1, 2, false)), false),
        ]);
        assert_eq!(stored, Stored::default());
    }

    #[test]
    fn a_producer_sees_only_its_own() {
        let mut stored = Stored::default();
        let other = StreamCheckpoint {
            producer: "lc.d2".into(),
            ..stream(5, "r")
        };
        let other = Checkpoint::Stream(other);
        stored
            .take(
                "lc.d",
                other.key().as_bytes(),
                Some(&other.value().unwrap()),
            )
            .unwrap();
        assert_eq!(stored, Stored::default());
    }

    #[test]
    fn a_token_survives_json() {
        let token = rawdoc! { "_data": "82AA", "_typeBits": bson::Binary {
            subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2],
        } };
        assert_eq!(token_from_json(&token_to_json(&token)), Some(token));
    }

    /// What versions of the program have left behind: `golden/checkpoints-<n>.jsonl`, one for each form. A form that
    /// is new gets a file of its own; those that are there stay as they are.
    #[test]
    fn checkpoints_of_older_versions_are_read() {
        #[derive(Deserialize)]
        struct Line {
            key: String,
            value: serde_json::Value,
        }
        let golden = [
            include_str!("../../golden/checkpoints-1.jsonl"),
            include_str!("../../golden/checkpoints-2.jsonl"),
            include_str!("../../golden/checkpoints-3.jsonl"),
        ];
        let lines = |text: &'static str| {
            let lines = text.lines().map(serde_json::from_str);
            lines.collect::<Result<Vec<Line>, _>>().unwrap()
        };
        let read = golden.map(|text| {
            let mut stored = Stored::default();
            for Line { key, value } in lines(text) {
                let value = value.to_string();
                let taken = stored.take("lc.shop", key.as_bytes(), Some(value.as_bytes()));
                taken.unwrap();
            }
            stored
        });
        let [first, second, third] = &read;
        let (time, planned) = ((1_733_337_536 << 31) + 1, (1_733_337_500 << 31) + 3);
        for stored in &read {
            let stream = stored.stream().unwrap();
            assert_eq!(stream.time.as_i64(), time);
            assert!(token_from_json(&stream.token).is_some());
            for collection in ["orders", "people"] {
                assert_eq!(stored.covered(collection).unwrap().as_i64(), time);
                let plan = &stored.snapshots[collection].plan;
                assert_eq!(plan.planned_at.as_i64(), planned);
            }
            let orders = &stored.snapshots["orders"];
            assert_eq!((orders.plan.split_count(), orders.done.len()), (2, 1));
            assert!(!orders.complete && stored.snapshots["people"].complete);
        }
        let capture = |stored: &Stored| stored.stream().unwrap().fingerprint.capture.clone();
        assert_eq!([first, second, third].map(capture), ["", "poll", ""]);
        assert_eq!(first.last_event(), Version::ZERO);
        assert_eq!(third.last_event().as_i64(), (1_733_337_535 << 31) + 7);

        let streams = third.streams.values().cloned().map(Checkpoint::Stream);
        let snapshots = third.snapshots.values().cloned();
        let written = streams.chain(snapshots.map(Checkpoint::Snapshot));
        for (checkpoint, Line { key, value }) in written.zip(lines(golden[2])) {
            let again = String::from_utf8(checkpoint.value().unwrap()).unwrap();
            assert_eq!((checkpoint.key(), again), (key, value.to_string()));
        }
    }
}
