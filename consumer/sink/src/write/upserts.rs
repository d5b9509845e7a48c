//! The upserts of one root table.
//!
//! A value that another document of the same batch gives up is free after that one is written, hence the
//! rounds; documents that want each other's values are written together ([`super::unique_cycles`]).

use super::{attempt::Attempt, direct_copy, loading, look_up, round::write_round, unique_cycles};
use crate::{
    change::Outcome,
    error::ApplyError,
    guard,
    ids::{DocumentId, TableId},
    state::tombstones,
};

/// Rounds in which documents of one batch may hand unique values to each other; what is left then
/// is parked and tried again.
const ROUNDS_MAX: usize = 8;

/// Writes the open upserts of one root table, or blocks them.
pub(crate) async fn upsert_documents(t: &mut Attempt<'_>, root: TableId) -> Result<(), ApplyError> {
    let documents = t
        .candidates
        .open(root, |mutation| mutation.rows().is_some());
    let (documents, others) = loading::divide(t, root, documents);
    t.parents_known = t.loading.concerns(t.model, root);
    let left = direct_copy::write_direct(t, root, &documents).await?;
    let written = write_compared(t, root, left).await;
    t.parents_known = false;
    written?;
    loading::note_written(t, root, &documents);
    write_looking(t, root, others).await
}

/// Writes documents whose parents are looked for first, since there is no foreign key that would tell.
async fn write_looking(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: Vec<DocumentId>,
) -> Result<(), ApplyError> {
    if documents.is_empty() {
        return Ok(());
    }
    let precheck = std::mem::replace(&mut t.precheck, true);
    let written = write_compared(t, root, documents.clone()).await;
    t.precheck = precheck;
    written?;
    loading::note_parents(t, &documents);
    Ok(())
}

/// Writes these documents after a comparison with what is stored.
pub(crate) async fn write_compared(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: Vec<DocumentId>,
) -> Result<(), ApplyError> {
    let documents = without_deleted(t, root, documents).await?;
    write_rounds(t, root, documents).await
}

/// Leaves out those that a newer delete has overtaken.
async fn without_deleted(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: Vec<DocumentId>,
) -> Result<Vec<DocumentId>, ApplyError> {
    if !t.tombstones || documents.is_empty() {
        return Ok(documents);
    }
    let keys = documents.iter().map(|&d| t.candidates.get(d).key());
    let keys: Vec<&[u8]> = keys.collect();
    let name = &t.model.table(root).state_name;
    let deleted = tombstones::of_keys(t.session, name, &keys).await?;
    for &document in documents.iter().filter(|_| !deleted.is_empty()) {
        let candidate = t.candidates.get_mut(document);
        let stored = deleted.get(candidate.key()).copied();
        if !guard::admits(stored, candidate.version().version) {
            candidate.decide(Outcome::Stale);
        }
    }
    Ok(t.candidates.still_open(&documents))
}

/// Writes these documents; each is done, or waits, afterwards.
pub(crate) async fn write_rounds(
    t: &mut Attempt<'_>,
    root: TableId,
    mut documents: Vec<DocumentId>,
) -> Result<(), ApplyError> {
    look_up::look_up(t, root, &documents).await?;
    for round in 1..=ROUNDS_MAX {
        if documents.is_empty() {
            return Ok(());
        }
        write_round(t, root, &documents).await?;
        let before = documents.len();
        documents = unique_cycles::that_may_be_in_cycles(t, root, &documents);
        if documents.len() == before {
            return unique_cycles::write_cycles(t, root, &documents).await;
        }
        // What is left after the last round waits.
        for &document in documents.iter().filter(|_| round < ROUNDS_MAX) {
            t.candidates.get_mut(document).reopen();
        }
    }
    Ok(())
}
