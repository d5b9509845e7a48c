//! Upserts: the rows of a collection's documents, narrowed down to those that are to be written,
//! then written, each document with its child rows.
//!
//! The root row decides for the whole document: children are touched only below a root row that was
//! written in this transaction, and its lock keeps every other writer of the document away. What is
//! stale or the same is taken out before anything is written, so applying a record again writes
//! nothing at all. A document whose parent is missing or whose unique value is taken is taken out
//! too and parked. A value that another document of the same batch gives up is free after that one
//! is written, hence the rounds.

use super::{
    ApplyError, children,
    copy::CopyBuffer,
    direct,
    keys::lookup,
    rings,
    transaction::Transaction,
    work::{Fate, Obstacle, Outcome, Wish},
};
use crate::transform::TableId;

/// Rounds in which documents of one batch may hand unique values to each other; what is left then
/// is parked and tried again.
const ROUNDS_MAX: usize = 8;

/// Writes the open upserts of one collection.
///
/// # Errors
/// As [`super::apply`] has it.
pub async fn upsert_documents(t: &mut Transaction<'_>, root: TableId) -> Result<(), ApplyError> {
    let documents = t.open(root, |wish| matches!(wish, Wish::Upsert(_)));
    if direct::write_direct(t, root, &documents).await? {
        return Ok(());
    }
    write_rounds(t, root, documents).await
}

/// Writes these documents; each is done, or waits, afterwards.
///
/// # Errors
/// As [`super::apply`] has it.
pub(super) async fn write_rounds(
    t: &mut Transaction<'_>,
    root: TableId,
    mut documents: Vec<usize>,
) -> Result<(), ApplyError> {
    lookup::look_up(t, root, &documents).await?;
    for round in 1..=ROUNDS_MAX {
        if documents.is_empty() {
            return Ok(());
        }
        write_round(t, root, &documents).await?;
        let before = documents.len();
        documents.retain(|&document| {
            matches!(
                t.work.candidates[document].fate,
                Fate::Waits(Obstacle::Unique(_))
            )
        });
        if documents.len() == before {
            return rings::deal_anew(t, root, &documents).await;
        }
        // What is left after the last round waits.
        for &document in documents.iter().filter(|_| round < ROUNDS_MAX) {
            t.work.candidates[document].fate = Fate::Open;
        }
    }
    Ok(())
}

pub(super) fn ordinal(number: i32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Closes the dead letters of documents that were written.
pub(super) async fn supersede(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<(), ApplyError> {
    let statement = t
        .session
        .prepared(
            "update leafcutter.dead_letters d set state = 'superseded' \
             from unnest($2::bytea[], $3::bigint[]) as k(k, v) \
             where d.state = 'open' and d.table_name = $1 and d.row_key = k.k and d.version <= k.v",
        )
        .await?;
    let keys: Vec<&[u8]> = documents
        .iter()
        .map(|&d| t.work.candidates[d].key.as_slice())
        .collect();
    let versions: Vec<i64> = documents
        .iter()
        .map(|&d| t.work.candidates[d].stamp.version.as_i64())
        .collect();
    let name = &t.model.table(root).state_name;
    t.session
        .client()
        .execute(&statement, &[name, &keys, &versions])
        .await?;
    Ok(())
}

pub(super) async fn write_round(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<(), ApplyError> {
    let model = t.model;
    let entry = model.table(root);
    copy_rows(t, root, documents).await?;
    null_decided(t, root, documents).await?;
    if let Some(sql) = &entry.sql.take_foreign {
        take(t, sql, Obstacle::Foreign).await?;
    }
    let incomplete = classify(t, root).await?;
    take_unknown(t, root, documents).await?;
    if t.careful {
        take_obstructed(t, root).await?;
    }
    let written: Vec<usize> = still_open(t, documents);
    if !written.is_empty() {
        let statement = t.session.prepared(&entry.sql.upsert).await?;
        let count = t.session.client().execute(&statement, &[]).await?;
        // A row changed between the comparison and the write: compare again.
        if count != u64::try_from(written.len()).unwrap_or(u64::MAX) {
            return Err(ApplyError::Again(None));
        }
        children::write_children(t, root, &written).await?;
        after_write(t, root).await?;
        for &document in &written {
            t.work.candidates[document].fate = Fate::Done(Outcome::Applied);
        }
    }
    t.empty(root, u64::try_from(documents.len()).unwrap_or(u64::MAX))
        .await?;
    children::complete(t, root, incomplete).await
}

pub(super) async fn take_out(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<(), ApplyError> {
    if !documents.is_empty() {
        let statement = t
            .session
            .prepared(&t.model.table(root).sql.take_out)
            .await?;
        let list = ordinals(documents);
        t.session.client().execute(&statement, &[&list]).await?;
    }
    Ok(())
}

pub(super) fn ordinals(places: &[usize]) -> Vec<i32> {
    places
        .iter()
        .map(|&place| i32::try_from(place).unwrap_or(i32::MAX))
        .collect()
}

fn still_open(t: &Transaction<'_>, documents: &[usize]) -> Vec<usize> {
    documents
        .iter()
        .copied()
        .filter(|&d| t.work.candidates[d].fate == Fate::Open)
        .collect()
}

/// Copies the rows that these documents have in `table`.
pub(super) async fn copy_rows(
    t: &mut Transaction<'_>,
    table: TableId,
    documents: &[usize],
) -> Result<u64, ApplyError> {
    let entry = t.model.table(table);
    let columns = entry.table.columns.len();
    let mut copy = CopyBuffer::new();
    for &document in documents {
        let candidate = &t.work.candidates[document];
        let Wish::Upsert(rows) = &candidate.wish else {
            continue;
        };
        let version = candidate.stamp.version.as_i64();
        for row in rows.clone() {
            let left_out = !entry.above.is_empty() && t.lookups.missing(row).is_some();
            if t.rows.row(row).table == table && !left_out {
                copy.tuple(columns, t.rows.fields(row), version, &[document, row]);
            }
            // The root's row is the first one.
            if entry.above.is_empty() {
                break;
            }
        }
    }
    let count = copy.count;
    if count > 0 {
        copy.send(t.session, &entry.sql.copy).await?;
    }
    Ok(count)
}

/// Takes out what is stale or the same; gives those of the same that may lack child rows.
async fn classify(t: &mut Transaction<'_>, root: TableId) -> Result<Vec<usize>, ApplyError> {
    let sql = &t.model.table(root).sql;
    let statement = t
        .session
        .prepared(&sql.classify[usize::from(t.tombstones)])
        .await?;
    let losers = t.session.client().query(&statement, &[]).await?;
    if losers.is_empty() {
        return Ok(Vec::new());
    }
    let mut incomplete = Vec::new();
    let mut ordinals: Vec<i32> = Vec::with_capacity(losers.len());
    for row in losers {
        let outcome = if row.get(1) {
            Outcome::Stale
        } else {
            Outcome::Unchanged
        };
        t.decide(row.get(0), Fate::Done(outcome));
        let document = ordinal(row.get(0));
        if outcome == Outcome::Unchanged && t.work.candidates[document].incomplete {
            incomplete.push(document);
        }
        ordinals.push(row.get(0));
    }
    let statement = t.session.prepared(&sql.take_out).await?;
    t.session.client().execute(&statement, &[&ordinals]).await?;
    Ok(incomplete)
}

/// Sets references to null whose parent is known never to come.
pub(super) async fn null_decided(
    t: &mut Transaction<'_>,
    table: TableId,
    documents: &[usize],
) -> Result<(), ApplyError> {
    let is_root = t.model.table(table).above.is_empty();
    let decided: Vec<i32> = documents
        .iter()
        .filter(|&&d| t.work.candidates[d].leaves_out_parents(is_root))
        .map(|&d| i32::try_from(d).unwrap_or(i32::MAX))
        .collect();
    if decided.is_empty() {
        return Ok(());
    }
    let entry = t.model.table(table);
    for check in &entry.sql.references {
        let reference = entry.table.columns[check.column].reference.as_ref();
        if reference.is_some_and(|r| r.on_missing == leafcutter_schemas::mapping::OnMissing::Null) {
            let statement = t.session.prepared(&check.set_null).await?;
            for row in t.session.client().query(&statement, &[&decided]).await? {
                if let Some(candidate) = t.candidate(row.get(0)) {
                    candidate.nulled = true;
                }
            }
        }
    }
    Ok(())
}

/// Takes out what has no parent and what collides. Taking a row out may take the parent of
/// another row of the batch away, so this runs until nothing changes.
async fn take_obstructed(t: &mut Transaction<'_>, root: TableId) -> Result<(), ApplyError> {
    let sql = &t.model.table(root).sql;
    loop {
        let mut taken = false;
        for (index, check) in sql.references.iter().enumerate() {
            taken |= take(t, &check.take_missing, Obstacle::Parent(index)).await?;
        }
        for (index, check) in sql.unique.iter().enumerate() {
            taken |= take(t, &check.take_colliding, Obstacle::Unique(index)).await?;
        }
        if !taken || !sql.references.iter().any(|check| check.to_itself) {
            return Ok(());
        }
    }
}

async fn take(t: &mut Transaction<'_>, sql: &str, obstacle: Obstacle) -> Result<bool, ApplyError> {
    let statement = t.session.prepared(sql).await?;
    let rows = t.session.client().query(&statement, &[]).await?;
    for row in &rows {
        t.decide(row.get(0), Fate::Waits(obstacle));
    }
    Ok(!rows.is_empty())
}

/// Takes out the documents for which a parent has no key yet: they wait for it.
async fn take_unknown(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<(), ApplyError> {
    let mut taken = Vec::new();
    for document in still_open(t, documents) {
        let candidate = &mut t.work.candidates[document];
        if let Wish::Upsert(rows) = &candidate.wish
            && let Some(reference) = t.lookups.missing(rows.start)
        {
            candidate.fate = Fate::Waits(Obstacle::Parent(reference));
            taken.push(document);
        }
    }
    take_out(t, root, &taken).await
}

/// A placed row takes its tombstone, its hold and its dead letters away.
async fn after_write(t: &mut Transaction<'_>, root: TableId) -> Result<(), ApplyError> {
    let entry = t.model.table(root);
    let sql = &entry.sql;
    // A parent's batch that took a newer row along may have been committed since the comparison.
    if entry.cascaded {
        let statement = t.session.prepared(&sql.newer_tombstone).await?;
        let row = t.session.client().query_one(&statement, &[]).await?;
        if row.get(0) {
            return Err(ApplyError::Again(None));
        }
    }
    let due = [
        (t.tombstones, &sql.forget_tombstones),
        (t.flags.held, &sql.forget_held),
        (t.flags.dead_letters, &sql.supersede_dead_letters[0]),
        (t.flags.lost, &sql.forget_lost[0]),
    ];
    for (wanted, sql) in due {
        if wanted {
            let statement = t.session.prepared(sql).await?;
            t.session.client().execute(&statement, &[]).await?;
        }
    }
    Ok(())
}
