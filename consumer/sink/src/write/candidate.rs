//! One document that a transaction is to bring to its state, and where it stands.
//!
//! A candidate is open until a step decides it. It is then done, with an outcome, or it waits. A document
//! that is written may lack child rows, which wait alone, and may have been written without a parent that
//! is known never to come: [`Standing`] is the one answer to where it stands in the end.

pub(crate) use super::waiting::Blocker;
use crate::{
    change::{Mutation, Outcome, Prepared, Record, RecordOrigin, SourceVersion, TableChange},
    ids::{RowId, RowRange, TableId},
    transform::Rows,
};
use leafcutter_schemas::version::Version;

/// Where a candidate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CandidateSource {
    /// A record of the batch: its position there.
    Batch(usize),
    /// A parked document: its position among the released ones.
    Parked(usize),
    /// A document that had lost its row to another one: its position among the retained ones.
    Retained(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Open,
    Done(Outcome),
    Waits(Blocker),
}

/// Where a candidate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing has decided it.
    Open,
    /// Nothing of it is written, and it is to be parked.
    Waits(Blocker),
    /// It is there, but for child rows: they are to be parked.
    LacksRows(Outcome, Blocker),
    /// It is there, without a parent that is known never to come: it waits on, in case it does.
    WithoutParent(Outcome),
    /// It has this outcome, and nothing of it waits.
    Done(Outcome),
}

/// What was known of a document before it was tried.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Earlier {
    /// Its parent is known never to come, and its reference may be set to null.
    pub(crate) parent_never_comes: bool,
    /// At this very version it may be there without some of its child rows.
    pub(crate) incomplete: bool,
}

/// One document that this transaction is to bring to its state.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    source: CandidateSource,
    origin: RecordOrigin,
    row: RowId,
    /// The key of its row where that of `row` is its document's and says nothing of it.
    row_key: Option<Vec<u8>>,
    version: SourceVersion,
    mutation: Mutation,
    earlier: Earlier,
    decision: Decision,
    /// A reference was set to null since its parent never comes.
    nulled: bool,
    /// What a child row of it waits for.
    lacks: Option<Blocker>,
    /// The target swallowed some of its rows, or kept some that were to go: in this table.
    suppressed: Option<TableId>,
    /// A person had its document read again: its child rows are looked for though its own row is the same.
    again: bool,
}

impl Candidate {
    /// An open one.
    pub(crate) fn new(
        source: CandidateSource,
        origin: RecordOrigin,
        row: RowId,
        version: SourceVersion,
        mutation: Mutation,
    ) -> Self {
        Self {
            source,
            origin,
            row,
            row_key: None,
            version,
            mutation,
            earlier: Earlier::default(),
            decision: Decision::Open,
            nulled: false,
            lacks: None,
            suppressed: None,
            again: false,
        }
    }

    /// What a record of the batch wants in each root table.
    pub(crate) fn of_record(index: usize, record: &Record) -> impl Iterator<Item = Self> {
        let written = match &record.prepared {
            Prepared::Write { version, changes } => Some((*version, changes)),
            Prepared::Refused(_) | Prepared::Ignored => None,
        };
        let candidate = move |version, change: &TableChange| {
            let row = RowId {
                table: change.root,
                key: change.key.clone(),
            };
            let origin = record.delivery.origin.clone();
            let source = CandidateSource::Batch(index);
            let candidate = Self::new(source, origin, row, version, change.mutation);
            Self {
                again: record.delivery.is_again(),
                ..candidate.in_row(change.row_key.clone())
            }
        };
        written.into_iter().flat_map(move |(version, changes)| {
            changes.iter().map(move |change| candidate(version, change))
        })
    }

    /// A refused record of which is known whose it is and how old, to be compared with what is stored.
    pub(crate) fn of_refused(index: usize, record: &Record) -> Option<Self> {
        let Prepared::Refused(refusal) = &record.prepared else {
            return None;
        };
        let (key, version) = (refusal.key.as_ref()?, refusal.version?);
        let version = SourceVersion {
            version,
            as_of: version,
            event: false,
        };
        let row = RowId {
            table: key.root,
            key: key.key.clone(),
        };
        let origin = record.delivery.origin.clone();
        let mutation = Mutation::Delete { filtered: false };
        let source = CandidateSource::Batch(index);
        let candidate = Self::new(source, origin, row, version, mutation);
        Some(candidate.in_row(key.row_key.clone()))
    }

    /// The same, with the key of its row where its document's key does not tell it.
    pub(crate) fn in_row(mut self, row_key: Option<Vec<u8>>) -> Self {
        self.row_key = row_key;
        self
    }

    /// The same, of which something was known before.
    pub(crate) fn with(mut self, earlier: Earlier) -> Self {
        self.earlier = earlier;
        self
    }

    /// Where it comes from.
    pub(crate) fn source(&self) -> CandidateSource {
        self.source
    }

    /// Where its record was read.
    pub(crate) fn origin(&self) -> &RecordOrigin {
        &self.origin
    }

    /// The root row, as the guard knows it.
    pub(crate) fn row(&self) -> &RowId {
        &self.row
    }

    /// The key of [`Candidate::row`].
    pub(crate) fn key(&self) -> &[u8] {
        &self.row.key
    }

    /// Its version and the time of its image.
    pub(crate) fn version(&self) -> SourceVersion {
        self.version
    }

    /// What is to be done.
    pub(crate) fn mutation(&self) -> Mutation {
        self.mutation
    }

    /// The rows to be written; none for a delete.
    pub(crate) fn rows(&self) -> Option<RowRange> {
        self.mutation.rows()
    }

    /// The key of its row as it was told, and whether [`Candidate::key`] is another one.
    pub(crate) fn told_row_key(&self) -> (&[u8], bool) {
        let told = self.row_key.as_ref();
        (told.unwrap_or(&self.row.key), told.is_some())
    }

    /// The key of the row that it wants; none for a delete.
    pub(crate) fn row_key<'r>(&self, rows: &'r Rows) -> Option<&'r [u8]> {
        self.rows().map(|range| rows.key(range.root()))
    }

    /// Whether, at this very version, it may be there without some of its child rows.
    pub(crate) fn may_be_incomplete(&self) -> bool {
        self.earlier.incomplete
    }

    /// Whether its child rows are to be looked for though its own row is the same.
    pub(crate) fn looks_again(&self) -> bool {
        self.again || self.earlier.incomplete
    }

    /// What is parked for its row is the same version, with child rows missing.
    pub(crate) fn set_incomplete(&mut self) {
        self.earlier.incomplete = true;
    }

    /// Whether its parents that are known never to come are to be left out, in its root row or in the
    /// rows below. Of a document that only lacks rows of its child tables its own row is decided.
    pub(crate) fn leaves_out_parents(&self, root: bool) -> bool {
        self.earlier.parent_never_comes || (root && self.earlier.incomplete)
    }

    /// Whether nothing has decided it.
    pub(crate) fn is_open(&self) -> bool {
        self.decision == Decision::Open
    }

    /// Whether it is to be parked.
    pub(crate) fn blocker(&self) -> Option<Blocker> {
        match self.decision {
            Decision::Waits(blocker) => Some(blocker),
            Decision::Open | Decision::Done(_) => None,
        }
    }

    /// Its outcome; none while it is open or waits.
    pub(crate) fn done(&self) -> Option<Outcome> {
        match self.decision {
            Decision::Done(outcome) => Some(outcome),
            Decision::Open | Decision::Waits(_) => None,
        }
    }

    /// It has this outcome.
    pub(crate) fn decide(&mut self, outcome: Outcome) {
        self.decision = Decision::Done(outcome);
    }

    /// The target swallowed some of its rows in this table, or kept some there that were to go.
    pub(crate) fn suppress(&mut self, table: TableId) {
        self.suppressed.get_or_insert(table);
    }

    /// The table in which the target did so.
    pub(crate) fn suppressed_in(&self) -> Option<TableId> {
        self.suppressed
    }

    /// Nothing up to this version is left to do for its document: of what the target suppressed, the dead letter
    /// stays, and what is parked.
    pub(crate) fn done_up_to(&self) -> Version {
        match self.suppressed {
            Some(_) => self.version.version.previous(),
            None => self.version.version,
        }
    }

    /// It waits.
    pub(crate) fn block(&mut self, blocker: Blocker) {
        self.decision = Decision::Waits(blocker);
    }

    /// It is to be tried again.
    pub(crate) fn reopen(&mut self) {
        self.decision = Decision::Open;
    }

    /// A child row of it waits; the first one counts.
    pub(crate) fn lack_row(&mut self, blocker: Blocker) {
        self.lacks.get_or_insert(blocker);
    }

    /// Whether a child row of it waits.
    pub(crate) fn lacks_rows(&self) -> bool {
        self.lacks.is_some()
    }

    /// A reference was set to null.
    pub(crate) fn set_nulled(&mut self) {
        self.nulled = true;
    }

    /// Whether a reference was set to null.
    pub(crate) fn is_nulled(&self) -> bool {
        self.nulled
    }

    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        match (self.decision, self.lacks) {
            (Decision::Waits(blocker), _) => Standing::Waits(blocker),
            (Decision::Done(outcome), Some(blocker)) => Standing::LacksRows(outcome, blocker),
            (Decision::Open, _) => Standing::Open,
            (Decision::Done(outcome @ (Outcome::Applied | Outcome::Unchanged)), None)
                if self.nulled =>
            {
                Standing::WithoutParent(outcome)
            }
            (Decision::Done(outcome), None) => Standing::Done(outcome),
        }
    }

    /// The outcome of its record in this table. Of a record of the batch nothing is left open by the steps.
    pub(crate) fn outcome(&self) -> Outcome {
        let outcome = self.done().unwrap_or(Outcome::Parked);
        if self.suppressed.is_some() {
            outcome.stronger(Outcome::Suppressed)
        } else {
            outcome
        }
    }
}
