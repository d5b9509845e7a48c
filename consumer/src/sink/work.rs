//! What one transaction is to do: the candidates, one per row of a root table, and what became of
//! each.

use crate::{
    decode::Stamp,
    transform::{Rows, TableId},
};
use std::{collections::BTreeMap, ops::Range};

/// What became of a record: every record gets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Written.
    Applied,
    /// The same as what is there.
    Unchanged,
    /// Older than what is there, or overtaken within its batch.
    Stale,
    /// Its rows were deleted, and a tombstone says so.
    Deleted,
    /// Deleted in the source; the row stays while others point to it.
    Held,
    /// It does not match the table's filter.
    Filtered,
    /// It waits for its parent or for a unique value.
    Parked,
    /// Nothing to do.
    Ignored,
    /// It can never be applied.
    DeadLettered,
}

impl Outcome {
    /// All outcomes, in the order of the counters' columns.
    pub const ALL: [Self; 9] = [
        Self::Applied,
        Self::Unchanged,
        Self::Stale,
        Self::Deleted,
        Self::Held,
        Self::Filtered,
        Self::Parked,
        Self::Ignored,
        Self::DeadLettered,
    ];

    /// The counter's column in `leafcutter.offsets`.
    pub fn column(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Stale => "stale",
            Self::Deleted => "deleted",
            Self::Held => "held",
            Self::Filtered => "filtered",
            Self::Parked => "parked",
            Self::Ignored => "ignored",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

impl Outcome {
    /// Of a record whose document goes to several tables, the outcome that counts: the one that asks
    /// most of whoever looks after it.
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
            Self::DeadLettered => 8,
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

/// How many records of a partition had which outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([i64; 9]);

impl Counts {
    /// Counts one.
    pub fn add(&mut self, outcome: Outcome) {
        self.0[outcome as usize] += 1;
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

/// Where a candidate's record was read, and the record itself: what parking keeps.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// Its collection.
    pub collection: usize,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp.
    pub timestamp: Option<i64>,
}

/// Where a candidate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// A record of the batch: its position there.
    Batch(usize),
    /// A parked document, in its state before.
    Parked {
        /// It was called an orphan already.
        orphan: bool,
        /// Its position among the pulled ones.
        pulled: usize,
    },
    /// A document that had lost its row to another one: its position among the kept ones.
    Kept(usize),
}

/// What a candidate wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// These rows, the root's first.
    Upsert(Range<usize>),
    /// The row and its children gone.
    Delete {
        /// The document exists, but the table's filter leaves it out.
        filtered: bool,
    },
}

impl Wish {
    /// Whether the row is to go.
    pub fn is_delete(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }
}

/// What keeps a candidate from being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The parent of this reference (a position among the table's) is not there.
    Parent(usize),
    /// The value of this unique key (a position among the table's) is taken.
    Unique(usize),
    /// The row's key is another collection's.
    Foreign,
    /// The row's key is another document's.
    Key,
    /// The parent of a child row is not there. The document does not wait, but this row does.
    Row {
        /// The child table.
        table: TableId,
        /// The reference: a position among that table's.
        reference: usize,
        /// The row among the encoded ones.
        row: usize,
    },
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not decided yet.
    Open,
    /// Decided.
    Done(Outcome),
    /// To be parked.
    Waits(Obstacle),
}

/// One document that this transaction is to bring to its state.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where it comes from.
    pub from: From,
    /// Where its record was read.
    pub provenance: Provenance,
    /// The root table.
    pub root: TableId,
    /// The root row's key; the document's own where the row's does not follow from it.
    pub key: Vec<u8>,
    /// Its version and the time of its image.
    pub stamp: Stamp,
    /// What it wants.
    pub wish: Wish,
    /// Its parent is known never to come, and its reference's policy is null.
    pub null_missing: bool,
    /// A reference was set to null for that reason.
    pub nulled: bool,
    /// At this very version its document may be there without some of its child rows.
    pub incomplete: bool,
    /// What a child row of it waits for, now.
    pub lacks: Option<Obstacle>,
    /// What became of it.
    pub fate: Fate,
}

impl Candidate {
    /// Whether its parents that are known never to come are to be left out, in its root row or in the
    /// rows below. Of a document that only lacks rows of its child tables its own row is decided.
    pub fn leaves_out_parents(&self, root: bool) -> bool {
        self.null_missing || (root && self.incomplete)
    }

    /// The key of the row that it wants; none for a delete.
    pub fn row_key<'r>(&self, rows: &'r Rows) -> Option<&'r [u8]> {
        match &self.wish {
            Wish::Upsert(range) => Some(rows.key(range.start)),
            Wish::Delete { .. } => None,
        }
    }
}

/// What the guard compares for: a root row by its key, or a document by its own where the row's
/// does not follow from it.
pub type RowId = (crate::transform::TableId, Vec<u8>);

/// Candidates by root row: at most one for each.
#[derive(Debug, Default)]
pub struct Work {
    /// The candidates.
    pub candidates: Vec<Candidate>,
    /// Where to find one.
    pub by_row: BTreeMap<RowId, usize>,
}

impl Work {
    /// Adds a candidate unless its row has one with a higher version; of equal ones the later
    /// wins. Gives back the one that lost.
    pub(super) fn offer(&mut self, row: RowId, candidate: Candidate) -> Option<Candidate> {
        match self.by_row.get(&row) {
            None => {
                self.by_row.insert(row, self.candidates.len());
                self.candidates.push(candidate);
                None
            }
            Some(&index) if self.candidates[index].stamp.version > candidate.stamp.version => {
                Some(candidate)
            }
            Some(&index) => Some(std::mem::replace(&mut self.candidates[index], candidate)),
        }
    }
}
