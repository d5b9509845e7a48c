//! Rows that show no document any more.
//!
//! A row whose document has another key now goes before that document's new row is written, since
//! the two may share a unique value. A row whose document was deleted goes with the other deletes,
//! behind everything else. Neither waits: a row that another session works on, or that others point to,
//! is held, as everywhere ([`deletes`]).
//!
//! Where a row went, a tombstone under the row's key says when: that is what an orphan's decision
//! asks for (`docs/protocol.md`, O4). It guards nothing; the guard is kept by the document.

use crate::{
    change::Outcome,
    error::ApplyError,
    ids::{DocumentId, TableId},
    state::{KeyVersion, tombstones},
    write::{attempt::Attempt, deletes, row_to_delete::RowToDelete},
};
use std::collections::BTreeSet;

/// Deletes rows or holds them; gives the documents whose rows are held.
pub(crate) async fn delete(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: &[RowToDelete],
) -> Result<BTreeSet<DocumentId>, ApplyError> {
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let found = deletes::look(t, root, rows).await?;
    let all = rows.iter().map(|row| row.document).collect();
    let held = deletes::remove(t, root, rows, &found, all).await?;
    let name = tombstones::of_rows(&t.model.table(root).state_name);
    let list: Vec<KeyVersion<'_>> = rows
        .iter()
        .map(|row| (row.key.as_slice(), row.version))
        .collect();
    tombstones::write(t.session, &name, &list).await?;
    Ok(held)
}

/// Deletes the rows whose documents were deleted and that no other document became.
pub(crate) async fn delete_unowned(t: &mut Attempt<'_>, root: TableId) -> Result<(), ApplyError> {
    let rows = t.unowned.remove(&root).unwrap_or_default();
    for document in delete(t, root, &rows).await? {
        let candidate = t.candidates.get_mut(document);
        if candidate.mutation().is_delete() {
            candidate.decide(Outcome::Held);
        }
    }
    Ok(())
}
