//! What goes with deleted rows, or changes with them: `on_delete: cascade` and `set-null`.
//!
//! A delete takes nothing along in its own batch. A row that points to a deleted one may have been
//! given another parent before, by a record of another partition that is applied only later, or the
//! deleted document may have come back; what went with it would be missing then, and all that
//! pointed to that. So the deleted row is held, and the settling task takes the others along when
//! everything that happened in the source up to the delete, and up to the newest of their versions,
//! is applied ([`Along`], [`crate::orphan::applied_until`]): what points there then, points there in
//! the source.
//!
//! [`clear_way`] finds, for each delete, all that would go with it and takes the locks; a delete is
//! held where a row points to any of this with `hold`, where it may not take anything along yet, or
//! where somebody works on a row that would go or change. [`carry_out`] then does it. A row that
//! goes with its parent leaves a tombstone at its own version, so that only what is older stays
//! away: its document still exists, and its row comes back with its next record that finds a parent.
//! Until then it is listed in `leafcutter.lost`.
//!
//! Like deletes this waits for nobody (see [`super::deletes`]).

use super::{ApplyError, gone::GoneSql, transaction::Transaction};
use crate::{
    model::Model,
    orphan::{self, ControlState, Progress},
    transform::TableId,
};
use leafcutter_schemas::version::Version;
use std::collections::{BTreeMap, BTreeSet};

/// Up to when deletes of one root table may take rows along.
#[derive(Debug, Clone, Copy)]
pub struct Along(Option<Version>);

impl Along {
    /// Nothing: what has to take something along is held.
    pub const NOTHING: Self = Self(None);

    /// What was so in the source when everything of that table, and of all that may go or change
    /// with its rows, was last known to be applied.
    pub fn with(model: &Model, root: TableId, control: &ControlState, progress: &Progress) -> Self {
        let reaches = model.table(root).gone.iter().flat_map(|sql| &sql.reaches);
        let sqls = reaches.filter_map(|&id| model.table(id).gone.as_ref());
        let takes: BTreeSet<TableId> = sqls.flat_map(|sql| &sql.takes).copied().collect();
        let concerned = model.collections.iter().filter(|collection| {
            let mut roots = collection.roots.iter();
            roots.any(|id| *id == root || takes.contains(id))
        });
        let applied = concerned.map(|c| orphan::applied_until(&c.topic, control, progress));
        // One of which nothing is known is less than all times.
        Self(applied.min().flatten())
    }

    fn covers(self, version: i64) -> bool {
        self.0.is_some_and(|until| version <= until.as_i64())
    }
}

/// Collects what goes with these deletes of one root table, each with its version, and locks it;
/// gives those that must be held. The deleted rows stand in the table's temporary table of deletes
/// and are locked.
///
/// # Errors
/// As [`super::apply`] has it.
pub async fn clear_way(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &BTreeMap<usize, i64>,
    along: Along,
) -> Result<BTreeSet<usize>, ApplyError> {
    let mut held = BTreeSet::new();
    let tables = tables(t, root);
    let Some((first, _)) = tables.iter().find(|(_, id)| *id == root) else {
        return Ok(held);
    };
    let seeds = ordinals(documents.keys());
    let statement = t.session.prepared(&first.seed).await?;
    t.session.client().execute(&statement, &[&seeds]).await?;
    let covered = |document: &usize| documents.get(document).is_some_and(|v| along.covers(*v));
    loop {
        reach(t, &tables).await?;
        let mut obstructed = BTreeSet::new();
        let mut counts = Vec::new();
        for (sql, id) in &tables {
            for holder in &sql.holders {
                obstructed.extend(documents_of(t, holder).await?);
            }
            // The deleted row itself is one of those that go.
            let own = i64::from(*id == root);
            let changes = sql.changes.iter().map(|c| (&c.count, &c.lock, 0));
            for (count, lock, own) in std::iter::once((&sql.count, &sql.lock, own)).chain(changes) {
                let rows = count_rows(t, count).await?;
                let early = rows.iter().filter(|(document, (count, newest))| {
                    *count > own && !(covered(document) && along.covers(*newest))
                });
                obstructed.extend(early.map(|(document, _)| *document));
                counts.push((lock, rows));
            }
        }
        // Only what will go or change is locked.
        if obstructed.is_empty() {
            for (lock, rows) in counts {
                obstructed.extend(busy(t, lock, rows).await?);
            }
        }
        if obstructed.is_empty() {
            return Ok(held);
        }
        // What they had taken along may go with another delete, or hold it.
        for (sql, _) in &tables {
            let statement = t.session.prepared(&sql.leave).await?;
            let list = ordinals(&obstructed);
            t.session.client().execute(&statement, &[&list]).await?;
        }
        held.extend(obstructed);
    }
}

/// Deletes and changes what [`clear_way`] has found; gives how many rows of the root table went.
///
/// # Errors
/// As [`super::apply`] has it.
pub async fn carry_out(t: &mut Transaction<'_>, root: TableId) -> Result<u64, ApplyError> {
    let tables = tables(t, root);
    let mut went = 0;
    for (sql, _) in &tables {
        for list in &sql.list {
            execute(t, list).await?;
        }
        for change in &sql.changes {
            execute(t, &change.list).await?;
        }
    }
    for (sql, _) in &tables {
        for change in &sql.changes {
            for write in &change.write {
                execute(t, write).await?;
            }
        }
        execute(t, &sql.tombstones).await?;
        execute(t, &sql.forget_held).await?;
    }
    for (sql, id) in &tables {
        for delete in &sql.delete {
            let deleted = execute(t, delete).await?;
            if *id == root {
                went = deleted;
            }
        }
    }
    for (sql, _) in &tables {
        execute(t, &sql.empty).await?;
    }
    Ok(went)
}

/// The tables whose rows may go with those of `root`, itself among them, referring ones first.
fn tables<'m>(t: &Transaction<'m>, root: TableId) -> Vec<(&'m GoneSql, TableId)> {
    let model = t.model;
    let reaches = model.table(root).gone.iter().flat_map(|sql| &sql.reaches);
    reaches
        .filter_map(|&id| Some((model.table(id).gone.as_ref()?, id)))
        .collect()
}

async fn reach(t: &mut Transaction<'_>, tables: &[(&GoneSql, TableId)]) -> Result<(), ApplyError> {
    loop {
        let mut added = 0;
        for sql in tables.iter().flat_map(|(sql, _)| &sql.reach) {
            added += execute(t, sql).await?;
        }
        if added == 0 {
            return Ok(());
        }
    }
}

/// How many rows there are of each delete, and their newest version.
async fn count_rows(
    t: &mut Transaction<'_>,
    sql: &str,
) -> Result<BTreeMap<usize, (i64, i64)>, ApplyError> {
    let statement = t.session.prepared(sql).await?;
    let rows = t.session.client().query(&statement, &[]).await?;
    let counted = rows
        .iter()
        .map(|row| (ordinal(row.get(0)), (row.get(1), row.get(2))));
    Ok(counted.collect())
}

/// The deletes of which some row could not be locked.
async fn busy(
    t: &mut Transaction<'_>,
    lock: &str,
    mut left: BTreeMap<usize, (i64, i64)>,
) -> Result<BTreeSet<usize>, ApplyError> {
    if left.is_empty() {
        return Ok(BTreeSet::new());
    }
    let statement = t.session.prepared(lock).await?;
    for row in t.session.client().query(&statement, &[]).await? {
        if let Some((count, _)) = left.get_mut(&ordinal(row.get(0))) {
            *count -= 1;
        }
    }
    left.retain(|_, (count, _)| *count > 0);
    Ok(left.into_keys().collect())
}

async fn documents_of(t: &mut Transaction<'_>, sql: &str) -> Result<Vec<usize>, ApplyError> {
    let statement = t.session.prepared(sql).await?;
    let rows = t.session.client().query(&statement, &[]).await?;
    Ok(rows.iter().map(|row| ordinal(row.get(0))).collect())
}

async fn execute(t: &mut Transaction<'_>, sql: &str) -> Result<u64, ApplyError> {
    let statement = t.session.prepared(sql).await?;
    Ok(t.session.client().execute(&statement, &[]).await?)
}

fn ordinal(number: i32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn ordinals<'d>(documents: impl IntoIterator<Item = &'d usize>) -> Vec<i32> {
    documents
        .into_iter()
        .map(|&d| i32::try_from(d).unwrap_or(i32::MAX))
        .collect()
}
