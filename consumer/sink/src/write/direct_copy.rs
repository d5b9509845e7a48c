//! Rows copied straight into their tables while only a snapshot is read.
//!
//! Where nothing but snapshot rows ever came, none is there yet, so nothing has to be compared. If one
//! is, or a parent is missing or a value taken, the constraints refuse all of them, or the target swallows
//! some, and the usual way is taken ([`super::upserts`]).

use super::attempt::Attempt;
use crate::{
    change::Outcome,
    copy::CopyBuffer,
    error::ApplyError,
    ids::{DocumentId, TableId},
    state::{dead_letters, tombstones},
};

/// Fewest documents for which a direct copy is worth its savepoint.
const DIRECT_MIN: usize = 200;

/// Copies the rows of these documents where that may serve; whether they were written.
pub(crate) async fn write_direct(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<bool, ApplyError> {
    let entry = t.model.table(root);
    let due = !(entry.shared || t.model.looks_up(root))
        && t.snapshot_only
        && !t.precheck
        && t.records.released.is_empty()
        && documents.len() >= DIRECT_MIN;
    if !due || !t.direct.attempt(root) {
        return Ok(false);
    }
    t.session.batch("savepoint direct").await?;
    let succeeded = match copy_direct(t, root, documents).await {
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
        t.session.batch("rollback to savepoint direct").await?;
        return Ok(false);
    }
    for &document in documents {
        t.candidates.get_mut(document).decide(Outcome::Applied);
    }
    if t.flags.dead_letters {
        let placed = t.candidates.keys_and_versions(documents);
        dead_letters::supersede(t.session, &entry.state_name, &placed).await?;
    }
    Ok(true)
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
