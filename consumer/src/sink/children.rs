//! The child rows of documents whose root row was written: those that are new or differ are written,
//! those that the document no longer has are deleted. Their root row is locked, by being written or on
//! purpose, so no other writer of the document is about.

use super::{
    ApplyError,
    transaction::Transaction,
    upserts::{copy_rows, null_decided, ordinal, ordinals, take_out},
    work::{Obstacle, Wish},
};
use crate::transform::TableId;
use std::collections::BTreeSet;

/// Writes the child rows of these documents, and deletes those that they no longer have.
///
/// # Errors
/// As [`super::apply`] has it.
pub(super) async fn write_children(
    t: &mut Transaction<'_>,
    root: TableId,
    written: &[usize],
) -> Result<(), ApplyError> {
    let model = t.model;
    let children = &model.table(root).children;
    let mut counts = Vec::new();
    for &child in children {
        counts.push(copy_rows(t, child, written).await?);
    }
    lack_unknown(t, root, written);
    for (position, &child) in children.iter().enumerate() {
        if counts[position] > 0 {
            null_decided(t, child, written).await?;
        }
        if counts[position] > 0 && t.careful {
            take_rows(t, child, &children[position + 1..]).await?;
        }
    }
    for &child in children.iter().rev() {
        if let Some(sql) = &model.table(child).sql.delete_vanished {
            let statement = t.session.prepared(sql).await?;
            t.session.client().execute(&statement, &[]).await?;
        }
    }
    for (&child, count) in children.iter().zip(counts) {
        if count > 0 {
            let statement = t.session.prepared(&model.table(child).sql.upsert).await?;
            t.session.client().execute(&statement, &[]).await?;
            t.empty(child, count).await?;
        }
    }
    Ok(())
}

/// Looks again for the child rows that documents lack which are there already. Their root rows are
/// locked first, as if they were written; those that changed since are somebody else's matter.
pub(super) async fn complete(
    t: &mut Transaction<'_>,
    root: TableId,
    mut documents: Vec<usize>,
) -> Result<(), ApplyError> {
    if documents.is_empty() {
        return Ok(());
    }
    let sql = &t.model.table(root).sql;
    let count = copy_rows(t, root, &documents).await?;
    let statement = t.session.prepared(&sql.lock_same).await?;
    let rows = t.session.client().query(&statement, &[]).await?;
    let same: BTreeSet<usize> = rows.iter().map(|row| ordinal(row.get(0))).collect();
    let (same, changed): (Vec<usize>, Vec<usize>) =
        documents.drain(..).partition(|d| same.contains(d));
    take_out(t, root, &changed).await?;
    write_children(t, root, &same).await?;
    let lacking = |d: &usize| t.work.candidates[*d].lacks.is_some();
    let lacking: Vec<usize> = same.iter().copied().filter(lacking).collect();
    take_out(t, root, &lacking).await?;
    if t.flags.dead_letters {
        let statement = t.session.prepared(&sql.supersede_dead_letters[0]).await?;
        t.session.client().execute(&statement, &[]).await?;
    }
    t.empty(root, count).await
}

/// Notes the child rows that were left out since a parent has no key yet.
fn lack_unknown(t: &mut Transaction<'_>, root: TableId, written: &[usize]) {
    for &document in written.iter().filter(|_| t.model.looks_up(root)) {
        let candidate = &mut t.work.candidates[document];
        let Wish::Upsert(rows) = &candidate.wish else {
            continue;
        };
        for row in rows.clone().skip(1) {
            if let Some(reference) = t.lookups.missing(row) {
                let table = t.rows.row(row).table;
                candidate.lacks.get_or_insert(Obstacle::Row {
                    table,
                    reference,
                    row,
                });
            }
        }
    }
}

/// Takes out the rows of a child table whose parent is missing, and those below them. They wait; the
/// rest of their document does not.
async fn take_rows(
    t: &mut Transaction<'_>,
    table: TableId,
    later: &[TableId],
) -> Result<(), ApplyError> {
    let model = t.model;
    let mut taken = BTreeSet::new();
    for (reference, check) in model.table(table).sql.references.iter().enumerate() {
        let statement = t.session.prepared(&check.take_missing).await?;
        for found in t.session.client().query(&statement, &[]).await? {
            let row = ordinal(found.get(1));
            taken.insert(row);
            if let Some(candidate) = t.candidate(found.get(0)) {
                candidate.lacks.get_or_insert(Obstacle::Row {
                    table,
                    reference,
                    row,
                });
            }
        }
    }
    // A row comes after the one above it.
    let Some(&first) = taken.first() else {
        return Ok(());
    };
    for row in first..t.rows.len() {
        let above = t.rows.row(row).parent;
        if above.is_some_and(|above| taken.contains(&above)) {
            taken.insert(row);
        }
    }
    let taken: Vec<usize> = taken.into_iter().collect();
    let taken = ordinals(&taken);
    for &below in later {
        let statement = t
            .session
            .prepared(&model.table(below).sql.take_rows_out)
            .await?;
        t.session.client().execute(&statement, &[&taken]).await?;
    }
    Ok(())
}
