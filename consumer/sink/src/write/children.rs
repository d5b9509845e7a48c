//! The child rows of documents whose root row was written: those that are new or differ are written,
//! those that the document no longer has are deleted. Their root row is locked, by being written or on
//! purpose, so no other writer of the document is about.

use super::{
    attempt::Attempt,
    missing_parents::set_null,
    rows_led_to,
    stage::{copy_rows, take_out},
    suppressed,
    waiting::Blocker,
};
use crate::{
    error::ApplyError,
    ids::{DocumentId, ReferenceId, RowIndex, TableId, UniqueId},
    state::dead_letters,
};
use std::collections::BTreeSet;

/// Writes the child rows of these documents, and deletes those that they no longer have.
pub(crate) async fn write_children(
    t: &mut Attempt<'_>,
    root: TableId,
    written: &[DocumentId],
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
            set_null(t, child, written).await?;
        }
        if counts[position] > 0 && t.precheck {
            take_rows(t, child, &children[position + 1..]).await?;
        }
    }
    for &child in children.iter().rev() {
        suppressed::delete_vanished(t, child).await?;
    }
    for (position, &child) in children.iter().enumerate() {
        let sql = &model.table(child).sql;
        if counts[position] > 0 && !sql.unique.is_empty() {
            let plain = sql.delete_changed.is_empty() || !suppressed::any_may_suppress(t).await?;
            for delete in &sql.delete_changed {
                rows_led_to::write(t, delete, plain, &[]).await?;
            }
            if t.precheck {
                take_taken(t, child, &children[position + 1..]).await?;
            }
        }
    }
    for (&child, count) in children.iter().zip(counts) {
        if count > 0 {
            suppressed::upsert_children(t, child).await?;
        }
    }
    Ok(())
}

/// Looks again for the child rows that documents lack which are there already. Their root rows are
/// locked first, as if they were written; those that changed since are another transaction's matter.
pub(crate) async fn complete(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: Vec<DocumentId>,
) -> Result<(), ApplyError> {
    if documents.is_empty() {
        return Ok(());
    }
    let entry = t.model.table(root);
    copy_rows(t, root, &documents).await?;
    let rows = t.session.query(&entry.sql.lock_same, &[]).await?;
    let same: BTreeSet<DocumentId> = rows.iter().map(|row| row.get(0)).collect();
    let (same, changed): (Vec<DocumentId>, Vec<DocumentId>) =
        documents.into_iter().partition(|d| same.contains(d));
    take_out(t, root, &changed).await?;
    write_children(t, root, &same).await?;
    if t.flags.dead_letters {
        let complete = same
            .iter()
            .filter(|&&document| !t.candidates.get(document).lacks_rows());
        let placed = t.candidates.keys_and_done(complete);
        dead_letters::supersede(t.session, &entry.state_name, &placed).await?;
    }
    Ok(())
}

/// Notes the child rows that were left out since a parent has no key yet.
fn lack_unknown(t: &mut Attempt<'_>, root: TableId, written: &[DocumentId]) {
    for &document in written.iter().filter(|_| t.model.looks_up(root)) {
        let candidate = t.candidates.get_mut(document);
        let rows = candidate.rows();
        for row in rows.into_iter().flat_map(|rows| rows.below_root()) {
            if let Some(reference) = t.parent_keys.missing(row) {
                let table = t.rows.row(row).table;
                candidate.lack_row(Blocker::ChildRow {
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
    t: &mut Attempt<'_>,
    table: TableId,
    later: &[TableId],
) -> Result<(), ApplyError> {
    let model = t.model;
    let mut taken: BTreeSet<RowIndex> = BTreeSet::new();
    for (index, check) in model.table(table).sql.references.iter().enumerate() {
        let reference = ReferenceId(index);
        if t.parents_known && t.loading.has(table, reference) {
            continue;
        }
        let lacks = |row| Blocker::ChildRow {
            table,
            reference,
            row,
        };
        take(t, &check.take_missing, lacks, &mut taken).await?;
    }
    take_below(t, taken, later).await
}

/// Takes out the rows of a child table whose unique values other rows have, and those below them. They
/// wait; the rest of their document does not.
async fn take_taken(
    t: &mut Attempt<'_>,
    table: TableId,
    later: &[TableId],
) -> Result<(), ApplyError> {
    let model = t.model;
    let mut taken: BTreeSet<RowIndex> = BTreeSet::new();
    for (index, check) in model.table(table).sql.unique.iter().enumerate() {
        let unique = UniqueId(index);
        let lacks = |row| Blocker::ChildUnique { table, unique, row };
        take(t, &check.take_colliding, lacks, &mut taken).await?;
    }
    take_below(t, taken, later).await
}

/// Takes rows out; their documents lack them.
async fn take(
    t: &mut Attempt<'_>,
    sql: &str,
    lacks: impl Fn(RowIndex) -> Blocker,
    taken: &mut BTreeSet<RowIndex>,
) -> Result<(), ApplyError> {
    for found in t.session.query(sql, &[]).await? {
        let (document, row) = (found.get(0), found.get(1));
        taken.insert(row);
        t.candidates.get_mut(document).lack_row(lacks(row));
    }
    Ok(())
}

/// Takes the rows below these out of the tables below theirs.
async fn take_below(
    t: &mut Attempt<'_>,
    mut taken: BTreeSet<RowIndex>,
    later: &[TableId],
) -> Result<(), ApplyError> {
    let model = t.model;
    // A row comes after the one above it.
    let Some(&first) = taken.first() else {
        return Ok(());
    };
    for row in t.rows.from(first) {
        let above = t.rows.row(row).parent;
        if above.is_some_and(|above| taken.contains(&above)) {
            taken.insert(row);
        }
    }
    let taken: Vec<RowIndex> = taken.into_iter().collect();
    for &below in later {
        let sql = &model.table(below).sql.take_rows_out;
        t.session.execute(sql, &[&taken]).await?;
    }
    Ok(())
}
