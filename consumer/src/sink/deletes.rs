//! Deletes: lock, compare, look for rows that still point there, then delete or hold.
//!
//! A row that others point to stays, and `leafcutter.held` says so; its tombstone is written all
//! the same, because the document is gone. The row is locked before anything looks for its children,
//! in a later statement (S4), so a child that is being written at this moment is seen.
//!
//! Where the mapping has a soft delete the row stays, is marked, and needs nothing of this.
//!
//! A row that others would have to go or change with is held too, until that is certain: see
//! [`cascade`].
//!
//! Deletes come last in a transaction and never wait: a row that somebody has locked, most likely to
//! point to it, is held too, and the settling task lets it go. A lock that deletes a row is the only
//! one that stands in the way of those that point to it; taken by those who wait for nothing any
//! more, it cannot be part of a deadlock.

use super::{
    ApplyError,
    cascade::{self, Along},
    copy::CopyBuffer,
    transaction::Transaction,
    work::{Fate, Outcome, Wish},
};
use crate::transform::TableId;
use std::collections::{BTreeMap, BTreeSet};

/// Applies the open deletes of one root table.
///
/// # Errors
/// As [`super::apply`] has it.
pub async fn delete_documents(t: &mut Transaction<'_>, root: TableId) -> Result<(), ApplyError> {
    let documents = t.open(root, Wish::is_delete);
    if documents.is_empty() {
        return Ok(());
    }
    let model = t.model;
    let entry = model.table(root);
    let sql = &entry.sql;
    let rows: Vec<Gone> = documents
        .iter()
        .map(|&document| {
            let candidate = &t.work.candidates[document];
            (
                document,
                candidate.key.clone(),
                candidate.stamp.version.as_i64(),
            )
        })
        .collect();
    let look = look(t, root, &rows).await?;
    let there = &look.there;
    let tombstones = if t.tombstones {
        ordinals_and_versions(t, &sql.tombstones_of_deletes).await?
    } else {
        BTreeMap::new()
    };
    // A row that stays has the delete's version.
    let marked = sql.soft_delete.is_some();
    let mut alive = BTreeSet::new();
    for &document in &documents {
        let version = t.work.candidates[document].stamp.version.as_i64();
        let stored = there
            .get(&document)
            .max(tombstones.get(&document))
            .copied()
            .unwrap_or(-1);
        let fate = if stored > version {
            Fate::Done(Outcome::Stale)
        } else if tombstones.get(&document) == Some(&version)
            && there.get(&document).copied() == marked.then_some(version)
        {
            Fate::Done(Outcome::Unchanged)
        } else {
            alive.insert(document);
            let filtered = t.work.candidates[document].wish == Wish::Delete { filtered: true };
            Fate::Done(if filtered {
                Outcome::Filtered
            } else {
                Outcome::Deleted
            })
        };
        t.work.candidates[document].fate = fate;
    }
    t.tombstones_written |= !alive.is_empty();
    execute(t, &sql.write_tombstones, &alive).await?;
    if t.flags.dead_letters {
        execute_plain(t, &sql.supersede_dead_letters[1]).await?;
    }
    if t.flags.lost {
        execute(t, &sql.forget_lost[1], &alive).await?;
    }
    if let Some(mark) = &sql.soft_delete {
        execute(t, mark, &alive).await?;
        return t.empty_deletes(root, look.count).await;
    }
    for document in remove(t, root, &look, alive).await? {
        t.work.candidates[document].fate = Fate::Done(Outcome::Held);
    }
    Ok(())
}

/// A row to be deleted: the document, the row's key, the version of the delete.
pub(super) type Gone = (usize, Vec<u8>, i64);

/// Rows to be deleted, as they were found.
pub(super) struct Look {
    /// Those that are locked now, and their versions.
    locked: BTreeMap<usize, i64>,
    /// Those that are there.
    there: BTreeMap<usize, i64>,
    count: u64,
}

/// Locks rows that are to be deleted, but for those that somebody works on.
pub(super) async fn look(
    t: &mut Transaction<'_>,
    root: TableId,
    rows: &[Gone],
) -> Result<Look, ApplyError> {
    let entry = t.model.table(root);
    let columns = entry.table.key.len();
    let mut copy = CopyBuffer::new();
    for (document, key, version) in rows {
        copy.tuple(columns, &key_fields(key, columns), *version, &[*document]);
    }
    let count = copy.count;
    copy.send(t.session, &entry.sql.copy_deletes).await?;
    let locked = ordinals_and_versions(t, &entry.sql.try_lock_deletes).await?;
    // Versions are read again below the locks.
    let there = ordinals_and_versions(t, &entry.sql.see_deletes).await?;
    Ok(Look {
        locked,
        there,
        count,
    })
}

/// Deletes those rows that are `alive`, with their children and what goes with them. Gives those
/// that are held.
pub(super) async fn remove(
    t: &mut Transaction<'_>,
    root: TableId,
    look: &Look,
    mut alive: BTreeSet<usize>,
) -> Result<BTreeSet<usize>, ApplyError> {
    let model = t.model;
    let entry = model.table(root);
    let Look { locked, there, .. } = look;
    let alive = &mut alive;
    let mut held = alive
        .iter()
        .copied()
        .filter(|document| there.contains_key(document) && !locked.contains_key(document))
        .collect();
    hold(t, root, &held, alive).await?;
    if entry.gone.is_some() {
        let here = there
            .iter()
            .filter(|(document, _)| alive.contains(document));
        let here = here.map(|(document, version)| (*document, *version));
        let more = cascade::clear_way(t, root, &here.collect(), Along::NOTHING).await?;
        hold(t, root, &more, alive).await?;
        held.extend(more);
        cascade::carry_out(t, root).await?;
    } else {
        hold_referenced(t, root, there, alive, &mut held).await?;
    }
    for &child in entry.children.iter().rev() {
        execute(t, &model.table(child).sql.delete, alive).await?;
    }
    execute(t, &entry.sql.delete, alive).await?;
    t.empty_deletes(root, look.count).await?;
    Ok(held)
}

/// Takes the rows that others point to out of `alive` and marks them as held. Holding one row may
/// make it hold another of its own table, so this runs until nothing changes.
async fn hold_referenced(
    t: &mut Transaction<'_>,
    root: TableId,
    there: &BTreeMap<usize, i64>,
    alive: &mut BTreeSet<usize>,
    held: &mut BTreeSet<usize>,
) -> Result<(), ApplyError> {
    let sql = &t.model.table(root).sql;
    loop {
        let mut referenced = BTreeSet::new();
        for look in &sql.referenced_deletes {
            let statement = t.session.prepared(look).await?;
            for row in t.session.client().query(&statement, &[]).await? {
                let document = ordinal(row.get(0));
                if alive.contains(&document) && there.contains_key(&document) {
                    referenced.insert(document);
                }
            }
        }
        if referenced.is_empty() {
            return Ok(());
        }
        hold(t, root, &referenced, alive).await?;
        held.extend(referenced);
    }
}

/// Marks rows as held and takes them out.
async fn hold(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &BTreeSet<usize>,
    alive: &mut BTreeSet<usize>,
) -> Result<(), ApplyError> {
    let leave = format!(
        "delete from pg_temp.lc_{}_deletes where lc_doc = any($1)",
        root.0
    );
    execute(t, &t.model.table(root).sql.hold, documents).await?;
    execute(t, &leave, documents).await?;
    for document in documents {
        alive.remove(document);
    }
    Ok(())
}

/// A row key as fields for COPY.
pub fn key_fields(key: &[u8], columns: usize) -> Vec<u8> {
    if columns > 1 {
        return key.to_vec();
    }
    let mut fields = Vec::with_capacity(key.len() + 4);
    fields.extend_from_slice(&i32::try_from(key.len()).unwrap_or(i32::MAX).to_be_bytes());
    fields.extend_from_slice(key);
    fields
}

fn ordinal(number: i32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

async fn ordinals_and_versions(
    t: &mut Transaction<'_>,
    sql: &str,
) -> Result<BTreeMap<usize, i64>, ApplyError> {
    let statement = t.session.prepared(sql).await?;
    let rows = t.session.client().query(&statement, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| (ordinal(row.get(0)), row.get(1)))
        .collect())
}

async fn execute_plain(t: &mut Transaction<'_>, sql: &str) -> Result<(), ApplyError> {
    let statement = t.session.prepared(sql).await?;
    t.session.client().execute(&statement, &[]).await?;
    Ok(())
}

async fn execute(
    t: &mut Transaction<'_>,
    sql: &str,
    documents: &BTreeSet<usize>,
) -> Result<(), ApplyError> {
    if documents.is_empty() {
        return Ok(());
    }
    let ordinals: Vec<i32> = documents
        .iter()
        .map(|&d| i32::try_from(d).unwrap_or(i32::MAX))
        .collect();
    let statement = t.session.prepared(sql).await?;
    t.session.client().execute(&statement, &[&ordinals]).await?;
    Ok(())
}
