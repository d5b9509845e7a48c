//! Rows that are nobody's any more.
//!
//! A row whose document has another key now goes before that document's new row is written, since
//! the two may share a unique value. A row whose document was deleted goes with the other deletes,
//! behind everything else. Neither waits: a row that somebody works on, or that others point to, is
//! held, as everywhere ([`deletes`]).
//!
//! Where a row went, a tombstone under the row's key says when: that is what an orphan's decision
//! asks for (`PROTOCOL.md` O4). It guards nothing; the guard is kept by the document.

use super::ledger;
use crate::{
    sink::{
        ApplyError,
        deletes::{self, Gone},
        transaction::Transaction,
        work::{Fate, Outcome},
    },
    transform::TableId,
};
use std::collections::BTreeSet;

/// The name under which tombstones of rows stand, beside those of documents.
pub fn of_rows(state_name: &str) -> String {
    format!("{state_name} by key")
}

/// Deletes rows or holds them; gives the documents whose rows are held.
pub(super) async fn delete(
    t: &mut Transaction<'_>,
    root: TableId,
    rows: &[Gone],
) -> Result<BTreeSet<usize>, ApplyError> {
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let look = deletes::look(t, root, rows).await?;
    let all = rows.iter().map(|(document, ..)| *document).collect();
    let held = deletes::remove(t, root, &look, all).await?;
    let name = of_rows(&t.model.table(root).state_name);
    let list: Vec<(&[u8], i64)> = rows
        .iter()
        .map(|(_, key, v)| (key.as_slice(), *v))
        .collect();
    ledger::bury(t.session, &name, &list).await?;
    Ok(held)
}

/// Deletes the rows whose documents were deleted and that no other document became.
///
/// # Errors
/// As [`crate::sink::apply`] has it.
pub async fn delete_vacant(t: &mut Transaction<'_>, root: TableId) -> Result<(), ApplyError> {
    let rows = t.vacant.remove(&root).unwrap_or_default();
    for document in delete(t, root, &rows).await? {
        if t.work.candidates[document].wish.is_delete() {
            t.work.candidates[document].fate = Fate::Done(Outcome::Held);
        }
    }
    Ok(())
}
