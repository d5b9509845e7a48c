//! Deletes: lock, compare, look for rows that still point there, then delete or hold.
//!
//! A row that others point to stays, and `leafcutter.held` says so; its tombstone is written all
//! the same, because the document is gone. The row is locked before anything looks for its children,
//! in a later statement (S4), so a child that is being written at this moment is seen.
//!
//! Where the mapping has a soft delete the row stays, is marked, and needs nothing of this.
//!
//! A row that others would have to go or change with is held too, until that is certain: see
//! [`super::cascade`].
//!
//! Deletes come last in a transaction and never wait: a row that another session has locked, most likely
//! to point to it, is held too, and the settling task deletes it later. A lock that deletes a row is the
//! only one that stands in the way of those that point to it; taken by a transaction that waits for
//! nothing any more, it cannot be part of a deadlock.

use super::{
    attempt::Attempt,
    cascade::{self, CascadeHorizon},
    row_to_delete::RowToDelete,
    rows_led_to,
    stage::{copy_keys, copy_keys_and_look, documents as documents_of, documents_and_versions},
    suppressed,
};
use crate::{
    change::{Mutation, Outcome},
    error::ApplyError,
    guard::{self, Stored},
    ids::{DocumentId, TableId},
    state::{KeyVersion, cascaded_rows, dead_letters, held, tombstones},
    statement::ByTarget,
};
use std::collections::{BTreeMap, BTreeSet};

/// Applies the open deletes of one root table.
pub(crate) async fn delete_documents(t: &mut Attempt<'_>, root: TableId) -> Result<(), ApplyError> {
    let documents = t.candidates.open(root, Mutation::is_delete);
    if documents.is_empty() {
        return Ok(());
    }
    let entry = t.model.table(root);
    let rows: Vec<RowToDelete> = documents
        .iter()
        .map(|&document| RowToDelete::of(t.candidates.get(document), document))
        .collect();
    let found = look(t, root, &rows).await?;
    let alive = decide(t, root, &rows, &found).await?;
    let name = &entry.state_name;
    let all: Vec<KeyVersion<'_>> = rows.iter().map(key_version).collect();
    let deleted: Vec<KeyVersion<'_>> = rows
        .iter()
        .filter(|row| alive.contains(&row.document))
        .map(key_version)
        .collect();
    tombstones::write(t.session, name, &deleted).await?;
    if t.flags.dead_letters {
        dead_letters::supersede(t.session, name, &all).await?;
    }
    let gone = rows.iter().filter(|row| alive.contains(&row.document));
    if entry.keeps_document {
        let of_rows = newest(gone.clone());
        tombstones::write(t.session, &tombstones::of_rows(name), &of_rows).await?;
    }
    if t.flags.cascaded {
        let keys: Vec<&[u8]> = gone.map(|row| row.key.as_slice()).collect();
        cascaded_rows::remove(t.session, name, &keys).await?;
    }
    if let Some(mark) = &entry.sql.soft_delete {
        let may_suppress = suppressed::may_suppress(t, root).await?;
        write_those(t, mark, !may_suppress, &alive).await?;
        if may_suppress {
            let there = documents_and_versions(t, &entry.sql.see_deletes).await?;
            for row in rows.iter().filter(|row| alive.contains(&row.document)) {
                let stored = there.get(&row.document).copied();
                if stored.is_some_and(|stored| !guard::is_same(stored, row.version)) {
                    t.candidates.get_mut(row.document).suppress(root);
                }
            }
        }
        return Ok(());
    }
    for document in remove(t, root, &rows, &found, alive).await? {
        t.candidates.get_mut(document).decide(Outcome::Held);
    }
    Ok(())
}

fn key_version(row: &RowToDelete) -> KeyVersion<'_> {
    (row.guard_key(), row.version)
}

/// Each row's key once, with the newest of its deletes: several documents may have had it.
fn newest<'r>(rows: impl Iterator<Item = &'r RowToDelete>) -> Vec<KeyVersion<'r>> {
    let mut newest: BTreeMap<&[u8], Stored> = BTreeMap::new();
    for row in rows {
        let stored = newest.entry(&row.key).or_default();
        *stored = guard::highest(*stored, Some(row.version));
    }
    let newest = newest.into_iter();
    newest
        .filter_map(|(key, version)| Some((key, version?)))
        .collect()
}

/// Decides each delete by what is stored; gives those that are carried out.
async fn decide(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: &[RowToDelete],
    found: &Found,
) -> Result<BTreeSet<DocumentId>, ApplyError> {
    let entry = t.model.table(root);
    let deleted = if t.tombstones {
        let keys: Vec<&[u8]> = rows.iter().map(RowToDelete::guard_key).collect();
        tombstones::of_keys(t.session, &entry.state_name, &keys).await?
    } else {
        BTreeMap::new()
    };
    // A row that stays has the delete's version.
    let stays = entry.sql.soft_delete.is_some();
    let mut alive = BTreeSet::new();
    for row in rows {
        let there = found.there.get(&row.document).copied().flatten();
        let tombstone = deleted.get(row.guard_key()).copied();
        let candidate = t.candidates.get_mut(row.document);
        let again = guard::is_same(tombstone, row.version)
            && (if stays {
                guard::is_same(there, row.version)
            } else {
                there.is_none()
            });
        let outcome = if !guard::admits(guard::highest(there, tombstone), row.version) {
            Outcome::Stale
        } else if again {
            Outcome::Unchanged
        } else {
            alive.insert(row.document);
            match candidate.mutation() {
                Mutation::Delete { filtered: true } => Outcome::Filtered,
                Mutation::Delete { filtered: false } | Mutation::Upsert(_) => Outcome::Deleted,
            }
        };
        candidate.decide(outcome);
    }
    Ok(alive)
}

/// Rows to be deleted, as they were found.
pub(crate) struct Found {
    /// Those that are locked now.
    locked: BTreeSet<DocumentId>,
    /// Those that are there, and their versions.
    there: BTreeMap<DocumentId, Stored>,
}

impl Found {
    /// Those that are there and that another session has locked.
    pub(crate) fn busy(&self) -> BTreeSet<DocumentId> {
        let there = self.there.keys().copied();
        there
            .filter(|document| !self.locked.contains(document))
            .collect()
    }

    /// Whether it is locked now.
    pub(crate) fn is_locked(&self, document: DocumentId) -> bool {
        self.locked.contains(&document)
    }
}

/// Stages rows that are to be deleted, and locks them, but for those that another session works on.
pub(crate) async fn look(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: &[RowToDelete],
) -> Result<Found, ApplyError> {
    let sql = &t.model.table(root).sql;
    // The versions below the locks: FOR UPDATE gives a row as it is once it is locked (PostgreSQL manual, 13.3.2).
    let mut there = copy_keys_and_look(t, root, rows, &sql.try_lock_deletes).await?;
    let locked = there.keys().copied().collect();
    if there.len() < rows.len() {
        there = documents_and_versions(t, &sql.see_deletes).await?;
    }
    if t.model.table(root).keeps_document {
        // Where it is not known whose a row is, one delete is enough.
        let mut keys = BTreeSet::new();
        let again = rows
            .iter()
            .filter(|row| there.contains_key(&row.document) && !keys.insert(&*row.key));
        let again: BTreeSet<DocumentId> = again.map(|row| row.document).collect();
        keep(t, root, &again).await?;
        there.retain(|document, _| !again.contains(document));
    }
    Ok(Found { locked, there })
}

/// Deletes those of these rows that are `alive`, with their children. Gives those that are held: what
/// another session works on, and what other rows point to or would have to go with.
pub(crate) async fn remove(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: &[RowToDelete],
    found: &Found,
    alive: BTreeSet<DocumentId>,
) -> Result<BTreeSet<DocumentId>, ApplyError> {
    let mut held: BTreeSet<DocumentId> = found.busy().intersection(&alive).copied().collect();
    keep(t, root, &held).await?;
    let mut free: BTreeSet<DocumentId> = alive.difference(&held).copied().collect();
    if t.model.table(root).keeps_document {
        // Rows that are not there may be another document's, and so are the rows below them.
        free.retain(|document| found.there.contains_key(document));
    }
    let there = |document: &DocumentId| found.there.contains_key(document);
    let versions = free
        .iter()
        .filter_map(|d| Some((*d, (*found.there.get(d)?)?)))
        .collect();
    let more = keep_referenced(t, root, versions, CascadeHorizon::NOTHING).await?;
    held.extend(more.into_iter().filter(|d| free.contains(d) && there(d)));
    free.retain(|document| !held.contains(document));
    let marked = newest(rows.iter().filter(|row| held.contains(&row.document)));
    held::write(t.session, &t.model.table(root).state_name, &marked).await?;
    t.flags.held |= !marked.is_empty();
    for (document, table) in delete_rows(t, root, &free).await?.left {
        t.candidates.get_mut(document).suppress(table);
    }
    let locked = |row: &&RowToDelete| held.contains(&row.document) && found.is_locked(row.document);
    disown(t, root, rows.iter().filter(locked)).await?;
    Ok(held)
}

/// Frees rows that stay though their documents are gone, where rows say whose they are: another document
/// with the same key may take them over. They are locked.
pub(crate) async fn disown<'r>(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: impl Iterator<Item = &'r RowToDelete>,
) -> Result<(), ApplyError> {
    let Some(sql) = &t.model.table(root).sql.disown else {
        return Ok(());
    };
    let rows: Vec<RowToDelete> = rows.cloned().collect();
    if rows.is_empty() {
        return Ok(());
    }
    copy_keys(t, root, &rows).await?;
    let plain = !suppressed::may_suppress(t, root).await?;
    rows_led_to::write(t, sql, plain, &[]).await?;
    Ok(())
}

/// Takes the staged rows that have to stay out of those to be deleted, and gives them: other rows point
/// to them, or would have to go with them and may not yet. Keeping one row may keep another of its own
/// table that it points to, so this runs until nothing changes.
pub(crate) async fn keep_referenced(
    t: &mut Attempt<'_>,
    root: TableId,
    staged: BTreeMap<DocumentId, leafcutter_schemas::version::Version>,
    horizon: CascadeHorizon,
) -> Result<BTreeSet<DocumentId>, ApplyError> {
    let entry = t.model.table(root);
    if t.loading.keeps(root) {
        // What points to it cannot be told for certain without a foreign key.
        let kept = staged.into_keys().collect();
        keep(t, root, &kept).await?;
        return Ok(kept);
    }
    if entry.cascade.is_some() {
        let kept = cascade::plan_cascade(t, root, &staged, horizon).await?;
        keep(t, root, &kept).await?;
        return Ok(kept);
    }
    let mut kept = BTreeSet::new();
    loop {
        let mut referenced = BTreeSet::new();
        for look in &entry.sql.referenced_deletes {
            let documents = documents_of(t, look).await?;
            referenced.extend(documents.into_iter().filter(|d| staged.contains_key(d)));
        }
        referenced.retain(|document| !kept.contains(document));
        if referenced.is_empty() {
            return Ok(kept);
        }
        keep(t, root, &referenced).await?;
        kept.extend(referenced);
    }
}

/// Takes rows out of those to be deleted.
pub(crate) async fn keep(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &BTreeSet<DocumentId>,
) -> Result<(), ApplyError> {
    let sql = &t.model.table(root).sql.keep;
    if !documents.is_empty() {
        let documents: Vec<DocumentId> = documents.iter().copied().collect();
        t.session.execute(sql, &[&documents]).await?;
    }
    Ok(())
}

/// What became of rows that were to be deleted.
#[derive(Debug, Default)]
pub(crate) struct DeletedRows {
    /// How many rows of the root table, and of others with them, went.
    pub(crate) rows: u64,
    /// The documents of which the target kept rows, without an error, and in which table.
    pub(crate) left: BTreeMap<DocumentId, TableId>,
}

/// Deletes staged rows with what goes with them and the rows below.
pub(crate) async fn delete_rows(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &BTreeSet<DocumentId>,
) -> Result<DeletedRows, ApplyError> {
    let model = t.model;
    let entry = model.table(root);
    let mut deleted = DeletedRows::default();
    if documents.is_empty() {
        return Ok(deleted);
    }
    deleted.rows = cascade::run_cascade(t, root).await?;
    let all: Vec<DocumentId> = documents.iter().copied().collect();
    for &table in entry.children.iter().rev().chain([&root]) {
        let plain = !suppressed::may_suppress(t, table).await?;
        let rows = write_those(t, &model.table(table).sql.delete, plain, documents).await?;
        if table == root {
            deleted.rows += rows;
        }
        for document in suppressed::left_in(t, table, &all).await? {
            deleted.left.insert(document, table);
        }
    }
    Ok(deleted)
}

async fn write_those(
    t: &mut Attempt<'_>,
    sql: &ByTarget,
    plain: bool,
    documents: &BTreeSet<DocumentId>,
) -> Result<u64, ApplyError> {
    if documents.is_empty() {
        return Ok(0);
    }
    let documents: Vec<DocumentId> = documents.iter().copied().collect();
    rows_led_to::write(t, sql, plain, &[&documents]).await
}
