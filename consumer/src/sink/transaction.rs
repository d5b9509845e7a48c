//! What the steps of one transaction work on, and the order of those that write.

use super::{
    ApplyError,
    apply::Partition,
    deletes::{self, Gone},
    direct::Direct,
    keys::{self, Kept, lookup::Lookups},
    parking::{Flags, Parked},
    session::Session,
    upserts,
    work::{Candidate, Fate, RowId, Wish, Work},
};
use crate::{
    decode::Record,
    model::Model,
    transform::{Rows, TableId},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the steps of one transaction work on.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(super) session: &'a mut Session,
    pub(super) model: &'a Model,
    pub(super) group: &'a str,
    pub(super) consumer: &'a str,
    pub(super) rows: &'a mut Rows,
    pub(super) work: Work,
    pub(super) pulled: Vec<Parked>,
    /// Documents that had lost their rows and are taken up again.
    pub(super) kept: Vec<Kept>,
    /// Tables whose turn this transaction has.
    pub(super) turns: BTreeSet<TableId>,
    /// Parents' keys that were looked up.
    pub(super) lookups: Lookups,
    /// Rows of such tables whose documents were deleted.
    pub(super) vacant: BTreeMap<TableId, Vec<Gone>>,
    pub(super) flags: Flags,
    /// Tombstones may exist for these rows.
    pub(super) tombstones: bool,
    /// Nothing but snapshot rows were ever applied from these partitions.
    pub(super) fresh: bool,
    /// Look for missing parents and taken values before writing; otherwise the constraints tell.
    pub(super) careful: bool,
    pub(super) direct: &'a mut HashMap<TableId, Direct>,
    pub(super) tombstones_written: bool,
    /// Parked documents that were overtaken by a record of this batch.
    pub(super) overtaken: Vec<Parked>,
    /// The rows for which something was found parked.
    pub(super) known: BTreeSet<RowId>,
    pub(super) settled: BTreeMap<Partition, [i64; 3]>,
}

impl Transaction<'_> {
    /// Rows that go with their parents leave tombstones that their own partitions know nothing of.
    pub(super) async fn look_for_cascaded(&mut self) -> Result<(), ApplyError> {
        let mut tables: Vec<TableId> = self.work.by_row.keys().map(|row| row.0).collect();
        tables.dedup();
        tables.retain(|&table| self.model.table(table).cascaded);
        if !self.tombstones && !tables.is_empty() && self.any_tombstone(&tables).await? {
            self.tombstones = true;
            self.fresh = false;
        }
        Ok(())
    }

    /// Whether these tables have any tombstone.
    pub(super) async fn any_tombstone(&mut self, tables: &[TableId]) -> Result<bool, ApplyError> {
        let names: Vec<&str> = tables
            .iter()
            .map(|&table| self.model.table(table).state_name.as_str())
            .collect();
        let sql = "select exists (select 1 from leafcutter.tombstones where table_name = any($1))";
        let statement = self.session.prepared(sql).await?;
        let row = self
            .session
            .client()
            .query_one(&statement, &[&names])
            .await?;
        Ok(row.get(0))
    }

    /// The open candidates of one root table.
    pub(super) fn open(&self, root: TableId, wanted: impl Fn(&Wish) -> bool) -> Vec<usize> {
        let open = |candidate: &&usize| {
            let candidate = &self.work.candidates[**candidate];
            candidate.fate == Fate::Open && wanted(&candidate.wish) && candidate.root == root
        };
        (0..self.work.candidates.len())
            .collect::<Vec<_>>()
            .iter()
            .filter(open)
            .copied()
            .collect()
    }

    /// A candidate, by its ordinal in the temporary table.
    pub(super) fn candidate(&mut self, ordinal: i32) -> Option<&mut Candidate> {
        usize::try_from(ordinal)
            .ok()
            .and_then(|index| self.work.candidates.get_mut(index))
    }

    /// Sets a candidate's fate, by its ordinal in the temporary table.
    pub(super) fn decide(&mut self, ordinal: i32, fate: Fate) {
        if let Some(candidate) = self.candidate(ordinal) {
            candidate.fate = fate;
        }
    }

    /// Empties a temporary table. Deleting is quick for a few rows; after many the file is cut, or
    /// it would grow for ever.
    pub(super) async fn empty(&mut self, table: TableId, rows: u64) -> Result<(), ApplyError> {
        let cut = self.session.filled(table.0, rows);
        let sql = &self.model.table(table).sql.empty[usize::from(cut)];
        self.session.client().batch_execute(sql).await?;
        Ok(())
    }

    /// Empties a temporary table of deletes.
    pub(super) async fn empty_deletes(
        &mut self,
        table: TableId,
        rows: u64,
    ) -> Result<(), ApplyError> {
        let cut = self.session.filled(self.model.tables.len() + table.0, rows);
        let verb = if cut { "truncate" } else { "delete from" };
        let sql = format!("{verb} pg_temp.lc_{}_deletes", table.0);
        self.session.client().batch_execute(&sql).await?;
        Ok(())
    }

    /// Steps 3 to 5.
    pub(super) async fn write(&mut self, records: &[Record]) -> Result<(), ApplyError> {
        let roots: Vec<TableId> = (0..self.model.tables.len())
            .map(TableId)
            .filter(|&id| self.model.table(id).above.is_empty())
            .collect();
        for &root in &roots {
            if self.model.table(root).natural_key {
                keys::write_documents(self, root, records).await?;
            } else {
                upserts::upsert_documents(self, root).await?;
            }
        }
        for &root in roots.iter().rev() {
            if self.model.table(root).natural_key {
                keys::delete_vacant(self, root).await?;
            } else {
                deletes::delete_documents(self, root).await?;
            }
        }
        self.settle_parked(records).await
    }
}
