//! Foreign keys that are added when their table is filled: until then this is what makes them hold
//! (docs/decisions/the-load-phase.md).
//!
//! Two things together make a row's parent be there, at every moment, as a foreign key does:
//!
//! - **No row goes to which such a reference points.** Whoever would delete one holds it, whatever points to it
//!   ([`keeps`](super::known_parents::Loading::keeps)); it is deleted when the foreign key is there. So a parent
//!   that was seen once stays. Foreign keys to a table whose rows change their keys are there from the start.
//! - **No row is written whose parent was not seen**: in what is known here, which is what was committed, or by
//!   a look at the database in the transaction that writes the row.

use super::{attempt::Attempt, candidate::Standing};
use crate::{
    change::Outcome,
    error::ApplyError,
    ids::{DocumentId, TableId},
};

/// Reads the keys of the tables that this transaction's references point to, where that was not done yet. Before
/// anything is written, so that only what is committed is read.
pub(crate) async fn fill(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    if t.loading.references.is_empty() {
        return Ok(());
    }
    let model = t.model;
    let mut roots: Vec<TableId> = t.candidates.rows().map(|row| row.table).collect();
    roots.dedup();
    for root in roots {
        for table in std::iter::once(&root).chain(&model.table(root).children) {
            let references = t.loading.references.get(table);
            for &(_, parent) in references.into_iter().flatten() {
                if !t.known.is_filled(parent) {
                    t.known.fill(t.session, model, parent).await?;
                }
            }
        }
    }
    Ok(())
}

/// Divides documents into those whose parents are known to be there, and the others.
pub(crate) fn divide(
    t: &Attempt<'_>,
    root: TableId,
    documents: Vec<DocumentId>,
) -> (Vec<DocumentId>, Vec<DocumentId>) {
    if !t.loading.concerns(t.model, root) {
        return (documents, Vec::new());
    }
    documents.into_iter().partition(|&document| {
        each_parent(t, document).all(|(parent, key)| t.known.knows(parent, key))
    })
}

/// The parents of a document by references without a foreign key, and their keys.
fn each_parent<'t>(
    t: &'t Attempt<'_>,
    document: DocumentId,
) -> impl Iterator<Item = (TableId, &'t [u8])> {
    let rows = t.candidates.get(document).rows();
    rows.into_iter()
        .flat_map(|rows| rows.rows())
        .flat_map(move |row| {
            let table = t.table_of(row);
            let references = t.loading.references.get(&table).into_iter().flatten();
            references.filter_map(move |&(reference, parent)| {
                let column = t.model.table(table).sql.references[reference.0].column;
                Some((parent, t.rows.field(row, column)?))
            })
        })
}

/// What was written as a whole, after its parents were looked for: all of them were there. Not of what was written
/// without a parent.
pub(crate) fn note_parents(t: &mut Attempt<'_>, documents: &[DocumentId]) {
    let mut seen = Vec::new();
    for &document in documents {
        let candidate = t.candidates.get(document);
        if candidate.standing() == Standing::Done(Outcome::Applied) {
            let parents = each_parent(t, document);
            seen.extend(parents.map(|(parent, key)| (parent, t.known.hash(key))));
        }
    }
    t.known.seen.extend(seen);
}

/// Rows of a table that points to itself are parents of those that follow.
pub(crate) fn note_written(t: &mut Attempt<'_>, root: TableId, documents: &[DocumentId]) {
    let references = t.loading.references.get(&root);
    let to_itself = references.is_some_and(|all| all.iter().any(|(_, parent)| *parent == root));
    if !to_itself {
        return;
    }
    for &document in documents {
        let candidate = t.candidates.get(document);
        if candidate.outcome() == Outcome::Applied
            && let Some(rows) = candidate.rows()
        {
            let key = t.rows.key(rows.root()).to_vec();
            t.known.see(root, &key);
        }
    }
}
