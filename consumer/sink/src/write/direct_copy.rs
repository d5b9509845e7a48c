//! Rows of a snapshot copied straight into their tables.
//!
//! Where nothing but snapshot rows ever came, none is there yet, and nothing has to be compared. Where events
//! came too, the rows that are there already are looked for by their keys and left to the usual way
//! ([`super::upserts`]), and what a newer delete has overtaken with them. If a row comes in between, or a parent
//! is missing or a value taken, the constraints refuse all of them, or the target swallows some, and the usual
//! way is taken for all.

use super::{
    attempt::Attempt,
    round::after_write,
    row_to_delete::RowToDelete,
    stage::{copy_keys, documents_and_versions},
};
use crate::{
    change::Outcome,
    copy::CopyBuffer,
    error::ApplyError,
    ids::{DocumentId, ReferenceId, TableId},
    state::tombstones,
};
use std::collections::BTreeMap;

/// Fewest documents for which a direct copy is worth its savepoint.
const DIRECT_MIN: usize = 200;

/// Copies the rows of these documents where that may serve; gives those that are left.
pub(crate) async fn write_direct(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<Vec<DocumentId>, ApplyError> {
    let entry = t.model.table(root);
    // Where constraints have to be looked at first, they are where there is one.
    let constraints_tell = !t.precheck || is_free(t, root);
    let due = !(entry.shared || t.model.looks_up(root))
        && constraints_tell
        && t.records.released.is_empty()
        && documents.len() >= DIRECT_MIN;
    if !due || !t.direct.attempt(root) {
        return Ok(documents.to_vec());
    }
    let (documents, left) = if t.snapshot_only {
        (documents.to_vec(), Vec::new())
    } else {
        new_ones(t, root, documents).await?
    };
    if documents.len() < DIRECT_MIN {
        // Rows are written again: looking for them costs more than it gains.
        t.direct.note(root, false);
        return Ok([documents, left].concat());
    }
    t.session.batch("savepoint direct").await?;
    let succeeded = match copy_direct(t, root, &documents).await {
        Ok(false) => false,
        Ok(true) => {
            let name = entry.state_name.as_str();
            // A parent's delete in another batch may have taken one of these rows along.
            !(entry.cascaded && tombstones::any(t.session, &[name]).await?)
        }
        Err(error) if error.is_of_rows() => false,
        Err(error) => return Err(error),
    };
    t.direct.note(root, succeeded);
    if !succeeded {
        t.session.roll_back_to("direct").await?;
        return Ok([documents, left].concat());
    }
    after_write(t, root, &documents).await?;
    for &document in &documents {
        t.candidates.get_mut(document).decide(Outcome::Applied);
    }
    Ok(left)
}

/// Whether nothing but their keys, and parents that are known to be there, can be in the way of rows of this root
/// table and below it.
fn is_free(t: &Attempt<'_>, root: TableId) -> bool {
    let mut tables = std::iter::once(&root).chain(&t.model.table(root).children);
    tables.all(|&table| {
        let sql = &t.model.table(table).sql;
        let references = 0..sql.references.len();
        let mut references = references.map(ReferenceId);
        sql.unique.is_empty()
            && references.all(|reference| t.parents_known && t.loading.has(table, reference))
    })
}

/// Divides documents into those of snapshot rows that are not there yet, and the others.
async fn new_ones(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(Vec<DocumentId>, Vec<DocumentId>), ApplyError> {
    let is_event = |&document: &DocumentId| t.candidates.get(document).version().event;
    let (events, rows): (Vec<DocumentId>, Vec<DocumentId>) =
        documents.iter().partition(|document| is_event(document));
    if rows.len() < DIRECT_MIN {
        return Ok((rows, events));
    }
    let staged = rows
        .iter()
        .map(|&document| RowToDelete::of(t.candidates.get(document), document));
    let staged: Vec<RowToDelete> = staged.collect();
    copy_keys(t, root, &staged).await?;
    let see = &t.model.table(root).sql.see_deletes;
    let there = documents_and_versions(t, see).await?;
    let mut deleted = BTreeMap::new();
    if t.tombstones {
        let keys: Vec<&[u8]> = staged.iter().map(RowToDelete::guard_key).collect();
        let name = &t.model.table(root).state_name;
        deleted = tombstones::of_keys(t.session, name, &keys).await?;
    }
    let is_new = |document: &DocumentId| {
        !there.contains_key(document) && !deleted.contains_key(t.candidates.get(*document).key())
    };
    let (new, old): (Vec<DocumentId>, Vec<DocumentId>) = rows.into_iter().partition(is_new);
    Ok((new, [events, old].concat()))
}

/// Copies them; whether all were written.
async fn copy_direct(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<bool, ApplyError> {
    let model = t.model;
    let children = &model.table(root).children;
    // In the order of keys, as every transaction writes.
    let mut sorted = documents.to_vec();
    sorted.sort_unstable_by(|&a, &b| t.candidates.get(a).key().cmp(t.candidates.get(b).key()));
    for &table in std::iter::once(&root).chain(children) {
        let entry = model.table(table);
        let columns = entry.table.columns.len();
        let mut copy = CopyBuffer::new();
        for &document in &sorted {
            let candidate = t.candidates.get(document);
            let Some(range) = candidate.rows() else {
                continue;
            };
            if entry.above.is_empty() {
                let version = candidate.version().version;
                let owner = entry.keeps_document.then(|| candidate.key());
                let fields = (columns, t.rows.fields(range.root()));
                copy.plain(fields, Some(version), owner);
                continue;
            }
            for row in range.below_root() {
                if t.rows.row(row).table == table {
                    copy.plain((columns, t.rows.fields(row)), None, None);
                }
            }
        }
        let rows = copy.count;
        if rows > 0 && copy.send(t.session, &entry.sql.copy_direct).await? != rows {
            return Ok(false);
        }
    }
    Ok(true)
}
