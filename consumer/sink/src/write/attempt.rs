//! What the steps of one transaction work on.

use super::{
    candidates::Candidates,
    copy_backoff::DirectCopies,
    known_parents::{KnownParents, Loading},
    parent_keys::ParentKeys,
    records::CandidateRecords,
    row_to_delete::RowToDelete,
};
use crate::{
    ids::{RowIndex, TableId},
    model::Model,
    session::{Bound, Session},
    state::{StateFlags, deferred_constraints},
    transform::Rows,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

/// One transaction: what is to be done, and what its steps have found out.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) session: &'a mut Session,
    pub(crate) model: &'a Model,
    pub(crate) group: &'a str,
    /// Where the candidates come from.
    pub(crate) records: CandidateRecords<'a>,
    pub(crate) rows: &'a mut Rows,
    pub(crate) candidates: Candidates,
    /// Tables whose lock this transaction has.
    pub(crate) table_locks: BTreeSet<TableId>,
    /// Parents' keys that were looked up.
    pub(crate) parent_keys: ParentKeys,
    /// Rows whose documents were deleted, in tables whose key does not follow from `_id`.
    pub(crate) unowned: BTreeMap<TableId, Vec<RowToDelete>>,
    pub(crate) flags: StateFlags,
    /// Tombstones may exist for these rows.
    pub(crate) tombstones: bool,
    /// Nothing but snapshot rows were ever applied from these partitions.
    pub(crate) snapshot_only: bool,
    /// Look for missing parents and taken values before writing; otherwise the constraints tell.
    pub(crate) precheck: bool,
    /// Compare rows with what is stored before they are written; otherwise the count of those that were written tells
    /// whether any was newer or the same.
    pub(crate) compares: bool,
    /// A comparison has found rows that are stale or the same.
    pub(crate) found_stored: bool,
    /// Release what waits for the rows that are written; otherwise the settling task does.
    pub(crate) releases: bool,
    /// Documents that follow on rows that come free are written one by one, each of them taken back alone
    /// where PostgreSQL refuses it; otherwise together with the others.
    pub(crate) follows_apart: bool,
    /// Parents that are missing are left out wherever a column may be null: to find out what is wrong with
    /// a document apart from them. Nothing of it is committed.
    pub(crate) probes: bool,
    /// The tables that may swallow rows, once it was asked.
    pub(crate) suppressing: Option<BTreeSet<TableId>>,
    pub(crate) direct: &'a mut DirectCopies,
    /// References whose foreign keys are not there yet.
    pub(crate) loading: Loading,
    /// Of the documents that are being written, the parents by those references are known to be there.
    pub(crate) parents_known: bool,
    /// The parents that are known to be there.
    pub(crate) known: &'a mut KnownParents,
    /// What is executed together with the commit.
    pub(crate) last: Option<Bound>,
}

impl<'a> Attempt<'a> {
    /// One that assumes nothing: tombstones may exist, and what blocks is looked for first.
    pub(crate) fn new(
        session: &'a mut Session,
        model: &'a Model,
        group: &'a str,
        records: CandidateRecords<'a>,
        rows: &'a mut Rows,
        (direct, known): (&'a mut DirectCopies, &'a mut KnownParents),
    ) -> Self {
        Self {
            session,
            model,
            group,
            records,
            rows,
            candidates: Candidates::default(),
            table_locks: BTreeSet::new(),
            parent_keys: ParentKeys::default(),
            unowned: BTreeMap::new(),
            flags: StateFlags::default(),
            tombstones: true,
            snapshot_only: false,
            precheck: true,
            compares: true,
            found_stored: false,
            releases: true,
            follows_apart: true,
            probes: false,
            suppressing: None,
            direct,
            loading: Loading::default(),
            parents_known: false,
            known,
            last: None,
        }
    }

    /// Looks which of the rarely used tables of the state hold anything, and which foreign keys are not there yet.
    pub(crate) async fn look_at_state(&mut self) -> Result<(), Error> {
        let flags = StateFlags::read(self.session).await?;
        self.go_by(flags).await
    }

    /// Goes by what was seen of the state.
    pub(crate) async fn go_by(&mut self, flags: StateFlags) -> Result<(), Error> {
        self.flags = flags;
        if flags.deferred {
            let rows = deferred_constraints::rows(self.session).await?;
            self.loading = Loading::of(self.model, &rows);
        }
        Ok(())
    }

    /// The table of a row.
    pub(crate) fn table_of(&self, row: RowIndex) -> TableId {
        self.rows.row(row).table
    }
}
