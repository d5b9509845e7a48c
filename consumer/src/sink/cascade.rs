//! What goes with deleted rows, or changes with them: `on_delete: cascade` and `set-null`.
//!
//! [`clear_way`] finds, for each delete, all that would go with it and takes the locks; a delete is
//! held where a row points to any of this with `hold`, or where somebody works on a row that would
//! go or change. [`carry_out`] then does it. A row that goes with its parent leaves a tombstone at
//! its own version, so that only what is older stays away: its document still exists, and its row
//! comes back with its next record that finds a parent. Until then it is listed in
//! `leafcutter.lost`.
//!
//! Like deletes this waits for nobody (see [`super::deletes`]).

use super::{ApplyError, apply::Transaction, gone::GoneSql};
use crate::transform::TableId;
use std::collections::{BTreeMap, BTreeSet};

/// Collects what goes with these deletes of one root table and locks it; gives those that must be
/// held. The deleted rows stand in the table's temporary table of deletes and are locked.
///
/// # Errors
/// As [`super::apply`] has it.
pub async fn clear_way(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &BTreeSet<usize>,
) -> Result<BTreeSet<usize>, ApplyError> {
    let mut held = BTreeSet::new();
    let tables = tables(t, root);
    let Some((first, _)) = tables.iter().find(|(_, id)| *id == root) else {
        return Ok(held);
    };
    let seeds = ordinals(documents);
    let statement = t.session.prepared(&first.seed).await?;
    t.session.client().execute(&statement, &[&seeds]).await?;
    loop {
        reach(t, &tables).await?;
        let mut obstructed = BTreeSet::new();
        for (sql, _) in &tables {
            for holder in &sql.holders {
                obstructed.extend(documents_of(t, holder).await?);
            }
            obstructed.extend(busy(t, &sql.count, &sql.lock).await?);
            for change in &sql.changes {
                obstructed.extend(busy(t, &change.count, &change.lock).await?);
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

/// The deletes of which some row could not be locked.
async fn busy(
    t: &mut Transaction<'_>,
    count: &str,
    lock: &str,
) -> Result<BTreeSet<usize>, ApplyError> {
    let statement = t.session.prepared(count).await?;
    let rows = t.session.client().query(&statement, &[]).await?;
    let mut left: BTreeMap<usize, i64> = rows
        .iter()
        .map(|row| (ordinal(row.get(0)), row.get(1)))
        .collect();
    if left.is_empty() {
        return Ok(BTreeSet::new());
    }
    let statement = t.session.prepared(lock).await?;
    for row in t.session.client().query(&statement, &[]).await? {
        if let Some(count) = left.get_mut(&ordinal(row.get(0))) {
            *count -= 1;
        }
    }
    left.retain(|_, count| *count > 0);
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

fn ordinals(documents: &BTreeSet<usize>) -> Vec<i32> {
    documents
        .iter()
        .map(|&d| i32::try_from(d).unwrap_or(i32::MAX))
        .collect()
}
