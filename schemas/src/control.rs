//! Control records: what the producer says beside the data, on the compacted control topic.
//!
//! They are JSON, so that a person can read them; there is one key per collection and producer, so
//! that compaction leaves the newest of each. What they may claim is `docs/protocol.md`, Heartbeats: a heartbeat with
//! time H says that every event at or before H is acknowledged below its offsets, a statement that
//! stays true for ever; `snapshot-complete` carries end offsets asked from the broker.

use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Every second: how far the source is known to be in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The producer's name.
    pub producer: String,
    /// Its run.
    pub run: String,
    /// H: every event at or before it is acknowledged below `offsets`. Zero while the run cannot
    /// claim anything yet.
    pub time: Version,
    /// W: no record with a lower version will be written any more, by this run or one that resumes
    /// from a checkpoint; what a tombstone's pruning waits for.
    pub low_water: Version,
    /// The producer's clock when it was sent, milliseconds since 1970; for display only.
    pub sent_at: i64,
    /// Per data topic, the end offset of each partition.
    pub offsets: BTreeMap<String, Vec<i64>>,
    /// Per collection, how far its snapshot is; for display only.
    #[serde(default)]
    pub snapshots: BTreeMap<String, SnapshotProgress>,
    /// The source is polled: it has no change stream, and deletes are not seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub polled: bool,
}

impl Heartbeat {
    /// Who claims something, and of which topics: two producers of one name that follow different
    /// collections do not speak for each other.
    #[must_use]
    pub fn scope(&self) -> String {
        let topics = self.offsets.keys().map(String::as_str);
        [self.producer.as_str()]
            .into_iter()
            .chain(topics)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// How far the snapshot of one collection is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotProgress {
    /// Its data topic.
    pub topic: String,
    /// The server's estimate of its documents.
    pub documents_estimated: u64,
    /// Documents read so far by this run and found finished by it.
    pub documents_read: u64,
    /// Splits acknowledged.
    pub splits_done: u32,
    /// Splits in all.
    pub splits: u32,
}

/// Once per snapshot of a collection: all its rows are in the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotComplete {
    /// The producer's name.
    pub producer: String,
    /// Its run.
    pub run: String,
    /// The collection, without its database.
    pub collection: String,
    /// Its data topic.
    pub topic: String,
    /// The end offset of each partition, asked from the broker after the last acknowledgement.
    pub offsets: Vec<i64>,
    /// A cluster time read after the last split.
    pub complete_time: Version,
    /// Documents the snapshot read.
    pub documents: u64,
    /// False where no snapshot was taken (`stream`): the gate opens at once.
    pub snapshot: bool,
}

/// A control record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// See [`Heartbeat`].
    Heartbeat(Heartbeat),
    /// See [`SnapshotComplete`].
    SnapshotComplete(SnapshotComplete),
}

/// Why a record of the control topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A key of no known kind.
    #[error("control record with the unknown key `{0}`")]
    Key(String),
    /// A value that is not the JSON expected under its key.
    #[error("control record `{key}` cannot be read")]
    Value {
        /// The record's key.
        key: String,
        /// What the JSON reader says.
        source: serde_json::Error,
    },
}

const HEARTBEAT: &str = "heartbeat/";
const SNAPSHOT_COMPLETE: &str = "snapshot-complete/";

impl Control {
    /// The record's key: one per producer, or per producer and collection.
    pub fn key(&self) -> String {
        match self {
            Self::Heartbeat(heartbeat) => format!("{HEARTBEAT}{}", heartbeat.producer),
            Self::SnapshotComplete(complete) => {
                format!(
                    "{SNAPSHOT_COMPLETE}{}/{}",
                    complete.producer, complete.collection
                )
            }
        }
    }

    /// The record's value.
    ///
    /// # Errors
    /// Never for these types; the JSON writer's signature has one.
    pub fn value(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Heartbeat(heartbeat) => serde_json::to_vec(heartbeat),
            Self::SnapshotComplete(complete) => serde_json::to_vec(complete),
        }
    }

    /// Reads a record of the control topic.
    ///
    /// # Errors
    /// On an unknown key or a value that does not fit it.
    pub fn read(key: &[u8], value: &[u8]) -> Result<Self, ControlError> {
        let key = String::from_utf8_lossy(key).into_owned();
        let parsed = if key.starts_with(HEARTBEAT) {
            serde_json::from_slice(value).map(Self::Heartbeat)
        } else if key.starts_with(SNAPSHOT_COMPLETE) {
            serde_json::from_slice(value).map(Self::SnapshotComplete)
        } else {
            return Err(ControlError::Key(key));
        };
        parsed.map_err(|source| ControlError::Value { key, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_records_come_back_as_written() {
        let heartbeat = Control::Heartbeat(Heartbeat {
            producer: "lc.finlit".into(),
            run: "r".into(),
            time: Version::from_i64(7).unwrap(),
            low_water: Version::ZERO,
            sent_at: 1,
            offsets: BTreeMap::from([("lc.finlit.a".into(), vec![0, 3])]),
            snapshots: BTreeMap::new(),
            polled: false,
        });
        let complete = Control::SnapshotComplete(SnapshotComplete {
            producer: "lc.finlit".into(),
            run: "r".into(),
            collection: "a/b".into(),
            topic: "lc.finlit.a_b".into(),
            offsets: vec![1],
            complete_time: Version::from_i64(9).unwrap(),
            documents: 1,
            snapshot: true,
        });
        assert_eq!(heartbeat.key(), "heartbeat/lc.finlit");
        assert_eq!(complete.key(), "snapshot-complete/lc.finlit/a/b");
        for control in [heartbeat, complete] {
            let value = control.value().unwrap();
            assert_eq!(
                Control::read(control.key().as_bytes(), &value).unwrap(),
                control
            );
            assert!(Control::read(b"other", &value).is_err());
        }
    }
}
