//! One round of upserts: the rows of some documents, narrowed down to those that are to be written, then
//! written, each document with its child rows.
//!
//! The root row decides for the whole document: children are touched only below a root row that was
//! written in this transaction, and its lock keeps every other writer of the document away. What is
//! stale or the same is taken out before anything is written, so applying a record again writes
//! nothing at all. A document whose parent is missing or whose unique value is taken is taken out
//! too, to be parked.
//!
//! To look for what is stale or the same costs as much as to write, and mostly there is none. So a batch is written at
//! once, and only where the statement's guard has left rows out it is compared, in another transaction.

use super::{
    attempt::Attempt,
    candidate::Blocker,
    children,
    missing_parents::{set_null, to_set_null},
    stage::{
        copy_rows, copy_rows_and_look, copy_rows_and_write, documents as documents_of, take_out,
    },
    suppressed,
};
use crate::{
    change::Outcome,
    error::ApplyError,
    ids::{DocumentId, ReferenceId, TableId, UniqueId},
    state::{KeyVersion, cascaded_rows, dead_letters, held, tombstones},
    statement::UniqueCheck,
};
use tokio_postgres::Row;

/// Writes these documents of one root table, or blocks them.
pub(crate) async fn write_round(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let compares = t.precheck || t.compares || !goes_at_once(t, root, documents).await?;
    let (written, incomplete) = if compares {
        let incomplete = narrow_down(t, root, documents).await?;
        let left = t.candidates.still_open(documents);
        let written = if left.is_empty() {
            left
        } else {
            suppressed::upsert_roots(t, root, left).await?
        };
        (written, incomplete)
    } else {
        write_at_once(t, root, documents).await?;
        (documents.to_vec(), Vec::new())
    };
    if !written.is_empty() {
        children::write_children(t, root, &written).await?;
        after_write(t, root, &written).await?;
        for &document in &written {
            t.candidates.get_mut(document).decide(Outcome::Applied);
        }
    }
    children::complete(t, root, incomplete).await
}

/// Whether rows of this table can be written without a comparison before: the count of those that were written says
/// whether all were.
async fn goes_at_once(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<bool, ApplyError> {
    let entry = t.model.table(root);
    let plain = !entry.natural_key
        && entry.sql.take_foreign.is_none()
        && !t.model.looks_up(root)
        && to_set_null(t, root, documents).is_empty();
    Ok(plain && !suppressed::may_suppress(t, root).await?)
}

/// Writes rows with nothing but the guard of the statement itself. What is stale or the same it leaves out: then
/// nothing of this transaction stays, and the next one compares ([`crate::batch`]).
async fn write_at_once(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let sql = &t.model.table(root).sql;
    let count = copy_rows_and_write(t, root, documents, &sql.upsert).await?;
    if usize::try_from(count) == Ok(documents.len()) {
        Ok(())
    } else {
        Err(ApplyError::Again(None))
    }
}

/// Stages the rows, and takes out what is not to be written; gives the documents that are there in this very version
/// and may lack child rows.
async fn narrow_down(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<Vec<DocumentId>, ApplyError> {
    let model = t.model;
    let sql = &model.table(root).sql;
    let found = if sql.take_foreign.is_none() && to_set_null(t, root, documents).is_empty() {
        copy_rows_and_look(t, root, documents, &sql.classify).await?
    } else {
        copy_rows(t, root, documents).await?;
        set_null(t, root, documents).await?;
        if let Some(take_foreign) = &sql.take_foreign {
            let blocker = if model.table(root).keeps_document {
                Blocker::OtherDocument
            } else {
                Blocker::OtherCollection
            };
            take(t, take_foreign, blocker).await?;
        }
        t.session.query(&sql.classify, &[]).await?
    };
    let incomplete = classify(t, root, found).await?;
    take_unknown(t, root, documents).await?;
    if t.precheck {
        take_blocked(t, root).await?;
    }
    Ok(incomplete)
}

/// Takes out what was found to be stale or the same; gives those of the same that may lack child rows.
async fn classify(
    t: &mut Attempt<'_>,
    root: TableId,
    found: Vec<Row>,
) -> Result<Vec<DocumentId>, ApplyError> {
    t.found_stored |= !found.is_empty();
    let mut incomplete = Vec::new();
    let mut taken = Vec::new();
    for row in found {
        let document: DocumentId = row.get(0);
        let candidate = t.candidates.get_mut(document);
        let stale: bool = row.get(1);
        candidate.decide(if stale {
            Outcome::Stale
        } else {
            Outcome::Unchanged
        });
        if !stale && candidate.looks_again() {
            incomplete.push(document);
        }
        taken.push(document);
    }
    take_out(t, root, &taken).await?;
    Ok(incomplete)
}

/// Takes out what has no parent and what collides. Taking a row out may take the parent of
/// another row of the batch away, so this runs until nothing changes.
async fn take_blocked(t: &mut Attempt<'_>, root: TableId) -> Result<(), ApplyError> {
    let sql = &t.model.table(root).sql;
    loop {
        let mut taken = false;
        for (index, check) in sql.references.iter().enumerate() {
            let blocker = Blocker::Parent(ReferenceId(index));
            if t.parents_known && t.loading.has(root, ReferenceId(index)) {
                continue;
            }
            taken |= take(t, &check.take_missing, blocker).await?;
        }
        for (index, check) in sql.unique.iter().enumerate() {
            free_held(t, check).await?;
            let blocker = Blocker::Unique(UniqueId(index));
            taken |= take(t, &check.take_colliding, blocker).await?;
        }
        if !taken || !sql.references.iter().any(|check| check.to_itself) {
            return Ok(());
        }
    }
}

/// Takes values away from rows that are held only because others point to them. Where another constraint
/// forbids that, the values stay taken.
async fn free_held(t: &mut Attempt<'_>, check: &UniqueCheck) -> Result<(), ApplyError> {
    let Some(sql) = check.free_held.as_ref().filter(|_| t.flags.held) else {
        return Ok(());
    };
    t.session.batch("savepoint held").await?;
    match t.session.execute(sql, &[]).await.map_err(ApplyError::from) {
        Ok(_) => Ok(t.session.batch("release savepoint held").await?),
        Err(error) if error.is_of_rows() => Ok(t.session.roll_back_to("held").await?),
        Err(error) => Err(error),
    }
}

async fn take(t: &mut Attempt<'_>, sql: &str, blocker: Blocker) -> Result<bool, ApplyError> {
    let documents = documents_of(t, sql).await?;
    for &document in &documents {
        t.candidates.get_mut(document).block(blocker);
    }
    Ok(!documents.is_empty())
}

/// Takes out the documents for which a parent has no key yet: they wait for it.
async fn take_unknown(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let mut taken = Vec::new();
    for document in t.candidates.still_open(documents) {
        let candidate = t.candidates.get_mut(document);
        let row = candidate.rows().map(|rows| rows.root());
        if let Some(reference) = row.and_then(|row| t.parent_keys.missing(row)) {
            candidate.block(Blocker::Parent(reference));
            taken.push(document);
        }
    }
    take_out(t, root, &taken).await
}

/// What was written is not deleted, held or gone with a parent any more, and its dead letters are closed.
pub(super) async fn after_write(
    t: &mut Attempt<'_>,
    root: TableId,
    written: &[DocumentId],
) -> Result<(), ApplyError> {
    let entry = t.model.table(root);
    let name = &entry.state_name;
    let placed: Vec<KeyVersion<'_>> = t.candidates.keys_and_versions(written);
    // A parent's batch that took a newer row along may have been committed since the comparison.
    if entry.cascaded && tombstones::any_newer(t.session, name, &placed).await? {
        return Err(ApplyError::Again(None));
    }
    // Where the key does not follow from `_id`, the state has both keys: the document's in the guard's
    // tables, which `by_document` writes, and the row's in those of rows.
    if !entry.natural_key {
        if t.tombstones {
            let keys: Vec<&[u8]> = placed.iter().map(|(key, _)| *key).collect();
            tombstones::remove(t.session, name, &keys).await?;
        }
        if t.flags.dead_letters {
            let done = t.candidates.keys_and_done(written);
            dead_letters::supersede(t.session, name, &done).await?;
        }
    }
    let rows = &*t.rows;
    let keys = written
        .iter()
        .filter_map(|&document| t.candidates.get(document).row_key(rows));
    let keys: Vec<&[u8]> = keys.collect();
    if entry.keeps_document && t.tombstones {
        tombstones::remove(t.session, &tombstones::of_rows(name), &keys).await?;
    }
    if t.flags.held || t.flags.cascaded {
        held::remove(t.session, name, &keys).await?;
        cascaded_rows::remove(t.session, name, &keys).await?;
    }
    Ok(())
}
