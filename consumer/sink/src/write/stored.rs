//! What is stored for documents, with their rows locked, so that it stays the highest.

use super::{
    attempt::Attempt, by_document, candidate::Candidate, row_to_delete::RowToDelete, stage,
};
use crate::{
    error::ApplyError,
    guard::{self, Stored},
    ids::{DocumentId, TableId},
    state::tombstones,
};
use std::collections::BTreeSet;

/// The highest version stored for each candidate's row, in the row itself or in its tombstone.
pub(crate) async fn stored(
    t: &mut Attempt<'_>,
    candidates: &[Candidate],
) -> Result<Vec<Stored>, ApplyError> {
    let mut stored = vec![None; candidates.len()];
    // In the order in which batches write tables.
    let roots: BTreeSet<TableId> = candidates.iter().map(|c| c.row().table).collect();
    for root in roots {
        let own: Vec<(usize, &Candidate)> = candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.row().table == root)
            .collect();
        let versions = if t.model.table(root).natural_key {
            let sources: Vec<&[u8]> = own.iter().map(|(_, c)| c.key()).collect();
            by_document::stored(t, root, &sources).await?
        } else {
            of_rows(t, root, &own).await?
        };
        for ((place, _), version) in own.into_iter().zip(versions) {
            stored[place] = version;
        }
    }
    Ok(stored)
}

async fn of_rows(
    t: &mut Attempt<'_>,
    root: TableId,
    candidates: &[(usize, &Candidate)],
) -> Result<Vec<Stored>, ApplyError> {
    let entry = t.model.table(root);
    let rows: Vec<RowToDelete> = candidates
        .iter()
        .enumerate()
        .map(|(index, (_, candidate))| RowToDelete::of(candidate, DocumentId::new(index)))
        .collect();
    stage::copy_keys(t, root, &rows).await?;
    let there = stage::documents_and_versions(t, &entry.sql.lock_deletes).await?;
    let keys: Vec<&[u8]> = rows.iter().map(RowToDelete::guard_key).collect();
    let tombstones = tombstones::of_keys(t.session, &entry.state_name, &keys).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let there = there.get(&row.document).copied().flatten();
            guard::highest(there, tombstones.get(row.guard_key()).copied())
        })
        .collect())
}
