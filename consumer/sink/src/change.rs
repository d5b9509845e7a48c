//! What a record says of its document, and what became of it.
//!
//! A delivery is what Kafka holds. Decoded, it is a record: for each root table of its collection one
//! change, all at one source version. Every record gets exactly one outcome.

use crate::ids::{Partition, RowRange, TableId};
use leafcutter_schemas::{
    dead_letter::{Reason, Stage},
    envelope::AGAIN,
    version::Version,
};
use sha2::{Digest as _, Sha256};

/// A record's headers, in their order.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Where a record was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOrigin {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp, milliseconds since 1970.
    pub timestamp: Option<i64>,
}

/// A record as it was read, before anything is made of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where it was read.
    pub origin: RecordOrigin,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value; none for a tombstone of Kafka's.
    pub value: Option<Vec<u8>>,
    /// The record's headers.
    pub headers: Headers,
}

impl Delivery {
    /// Bytes that it holds in memory.
    pub fn bytes(&self) -> usize {
        let header = |(name, value): &(String, Option<Vec<u8>>)| {
            name.len() + value.as_ref().map_or(0, Vec::len) + size_of::<(String, Option<Vec<u8>>)>()
        };
        self.key.len()
            + self.value.as_ref().map_or(0, Vec::len)
            + self.headers.iter().map(header).sum::<usize>()
            + size_of::<Self>()
    }

    /// What tells it from any other record: 64 bits of a hash of key and value.
    pub fn fingerprint(&self) -> i64 {
        let mut hash = Sha256::new();
        hash.update(self.key.len().to_le_bytes());
        hash.update(&self.key);
        hash.update(self.value.as_deref().unwrap_or_default());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        i64::from_le_bytes(first)
    }

    /// Whether a person had its document read again.
    pub fn is_again(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == AGAIN)
    }
}

/// A delivery and what is to be done with it.
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
        version: SourceVersion,
        /// For each root table of its collection in which its document can have a row, what is to be done.
        changes: Vec<TableChange>,
    },
    /// A record without a value: nothing to do.
    Ignored,
    /// It can never be applied. Seldom there, so it lies elsewhere: a batch is thousands of these.
    Refused(Box<Refusal>),
}

/// Why a record can never be applied, and whose it is.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Whose it is in the first table that could have a row of it, where that could be told.
    pub key: Option<ChangeKey>,
    /// Its version, where it could be told.
    pub version: Option<Version>,
}

impl Record {
    /// Makes a record that PostgreSQL does not take a refused one. Without a reason the target changed
    /// under every attempt.
    pub fn refuse(&mut self, reason: Option<Box<Reason>>) {
        let (key, version) = match &self.prepared {
            Prepared::Write { version, changes } => (
                changes.first().map(|change| ChangeKey {
                    root: change.root,
                    key: change.key.clone(),
                    row_key: change.row_key.clone(),
                }),
                Some(version.version),
            ),
            Prepared::Refused(_) | Prepared::Ignored => return,
        };
        let reason = reason.unwrap_or_else(|| {
            let message = "the target changes under every attempt";
            Box::new(Reason::new(Stage::Apply, "refused", message))
        });
        self.prepared = Prepared::Refused(Box::new(Refusal {
            reason: *reason,
            key,
            version,
        }));
    }
}

/// Whose a change is: see [`TableChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeKey {
    /// [`TableChange::root`].
    pub root: TableId,
    /// [`TableChange::key`].
    pub key: Vec<u8>,
    /// [`TableChange::row_key`].
    pub row_key: Option<Vec<u8>>,
}

/// When a record's document was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceVersion {
    /// The version that the guard compares.
    pub version: Version,
    /// The latest cluster time at which the document was read.
    pub as_of: Version,
    /// It comes from the change stream, not from a snapshot.
    pub event: bool,
}

/// What is to be done in one root table and those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// The root table.
    pub root: TableId,
    /// Whose it is, as the guard knows it ([`crate::ids::RowId`]).
    pub key: Vec<u8>,
    /// The row's key, in a table whose rows say whose they are: `key` is the document's there.
    pub row_key: Option<Vec<u8>>,
    /// What is to be done.
    pub mutation: Mutation,
}

/// What is to become of a document's rows in one root table and those below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// These rows, the root's first.
    Upsert(RowRange),
    /// The row and its children gone.
    Delete {
        /// The document exists, but the table's filter leaves it out.
        filtered: bool,
    },
}

impl Mutation {
    /// The rows to be written; none for a delete.
    pub fn rows(self) -> Option<RowRange> {
        match self {
            Self::Upsert(rows) => Some(rows),
            Self::Delete { .. } => None,
        }
    }

    /// Whether the row is to go.
    pub fn is_delete(self) -> bool {
        matches!(self, Self::Delete { .. })
    }
}

/// What became of a record: every record gets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Written.
    Applied,
    /// The same as what is there.
    Unchanged,
    /// Older than what is there, or than another record of its batch.
    Stale,
    /// Its rows were deleted, and a tombstone says so.
    Deleted,
    /// Deleted in the source; the row stays while others reference it.
    Held,
    /// It does not match the table's filter.
    Filtered,
    /// It waits for its parent or for a unique value.
    Parked,
    /// The target swallowed some of its rows, or kept some that were to go: a trigger or a rule did, without
    /// an error.
    Suppressed,
    /// Nothing to do.
    Ignored,
    /// It can never be applied.
    DeadLettered,
}

impl Outcome {
    /// All outcomes, in the order of the counters' columns in `leafcutter.offsets`.
    pub const ALL: [Self; 10] = [
        Self::Applied,
        Self::Unchanged,
        Self::Stale,
        Self::Deleted,
        Self::Held,
        Self::Filtered,
        Self::Parked,
        Self::Suppressed,
        Self::Ignored,
        Self::DeadLettered,
    ];

    /// The counter's column in `leafcutter.offsets`, and its label in metrics.
    pub fn column(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Stale => "stale",
            Self::Deleted => "deleted",
            Self::Held => "held",
            Self::Filtered => "filtered",
            Self::Parked => "parked",
            Self::Suppressed => "suppressed",
            Self::Ignored => "ignored",
            Self::DeadLettered => "dead_lettered",
        }
    }

    /// What a person reads of records with this outcome, behind their number.
    pub fn words(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "the same as what is there",
            Self::Stale => "older than what is there",
            Self::Deleted => "deleted",
            Self::Held => "deleted but kept: still referenced",
            Self::Filtered => "outside the filter",
            Self::Parked => "had to wait first",
            Self::Suppressed => "suppressed by the target",
            Self::Ignored => "without anything to do",
            Self::DeadLettered => "to the dead letters",
        }
    }

    /// Of a record whose document goes to several tables, the outcome that counts: the one that asks
    /// most of the person who looks after it.
    #[must_use]
    pub fn stronger(self, other: Self) -> Self {
        if other.strength() > self.strength() {
            other
        } else {
            self
        }
    }

    fn strength(self) -> u8 {
        match self {
            Self::DeadLettered => 9,
            Self::Suppressed => 8,
            Self::Parked => 7,
            Self::Applied => 6,
            Self::Held => 5,
            Self::Deleted => 4,
            Self::Unchanged => 3,
            Self::Stale => 2,
            Self::Filtered => 1,
            Self::Ignored => 0,
        }
    }
}

/// How many records had which outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([i64; Outcome::ALL.len()]);

impl Counts {
    /// Counts one.
    pub fn add(&mut self, outcome: Outcome) {
        self.add_many(outcome, 1);
    }

    /// Counts so many.
    pub fn add_many(&mut self, outcome: Outcome, records: i64) {
        self.0[outcome as usize] += records;
    }

    /// How many had this outcome.
    pub fn of(&self, outcome: Outcome) -> i64 {
        self.0[outcome as usize]
    }

    /// How many there are in all.
    pub fn total(&self) -> i64 {
        self.0.iter().sum()
    }

    /// Adds another's numbers.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}
