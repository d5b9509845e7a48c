//! Rows and keys on their way through the session's temporary tables.

use super::{attempt::Attempt, row_to_delete::RowToDelete};
use crate::{
    copy::CopyBuffer,
    error::ApplyError,
    guard::{self, Stored},
    ids::{DocumentId, TableId},
};
use std::collections::BTreeMap;

/// Copies the rows that these documents have in `table`; gives how many.
pub(crate) async fn copy_rows(
    t: &mut Attempt<'_>,
    table: TableId,
    documents: &[DocumentId],
) -> Result<u64, ApplyError> {
    let entry = t.model.table(table);
    let columns = entry.table.columns.len();
    let mut copy = CopyBuffer::new();
    for &document in documents {
        let candidate = t.candidates.get(document);
        let Some(range) = candidate.rows() else {
            continue;
        };
        let version = candidate.version().version;
        if entry.above.is_empty() {
            let row = range.root();
            let owner = entry.keeps_document.then(|| candidate.key());
            let fields = (columns, t.rows.fields(row));
            copy.row(fields, version, document, row, owner);
            continue;
        }
        for row in range.below_root() {
            if t.table_of(row) == table && t.parent_keys.missing(row).is_none() {
                let fields = (columns, t.rows.fields(row));
                copy.row(fields, version, document, row, None);
            }
        }
    }
    let count = copy.count;
    if count > 0 {
        copy.send(t.session, &entry.sql.copy).await?;
    }
    Ok(count)
}

/// Takes documents out of a root's temporary table.
pub(crate) async fn take_out(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    if !documents.is_empty() {
        let sql = &t.model.table(root).sql.take_out;
        t.session.execute(sql, &[&documents]).await?;
    }
    Ok(())
}

/// Empties a temporary table through which so many rows went.
pub(crate) async fn empty(
    t: &mut Attempt<'_>,
    table: TableId,
    rows: u64,
) -> Result<(), ApplyError> {
    let temp = &t.model.table(table).sql.temp;
    Ok(t.session.empty(temp, rows).await?)
}

/// Copies the keys of rows that are to be deleted, or looked for; gives how many.
pub(crate) async fn copy_keys(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: &[RowToDelete],
) -> Result<u64, ApplyError> {
    let entry = t.model.table(root);
    let columns = entry.table.key.len();
    let mut copy = CopyBuffer::new();
    for row in rows {
        let owner = entry.keeps_document.then_some(row.owner.as_deref());
        copy.key((columns, &row.key), row.version, row.document, owner);
    }
    let count = copy.count;
    copy.send(t.session, &entry.sql.copy_deletes).await?;
    Ok(count)
}

/// Empties a temporary table of keys.
pub(crate) async fn empty_keys(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: u64,
) -> Result<(), ApplyError> {
    let temp = &t.model.table(root).sql.temp_deletes;
    Ok(t.session.empty(temp, rows).await?)
}

/// What a query gives as `lc_doc` and version.
pub(crate) async fn documents_and_versions(
    t: &mut Attempt<'_>,
    sql: &str,
) -> Result<BTreeMap<DocumentId, Stored>, ApplyError> {
    let rows = t.session.query(sql, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), guard::stored(row.get(1))))
        .collect())
}

/// What a query gives as `lc_doc`.
pub(crate) async fn documents(
    t: &mut Attempt<'_>,
    sql: &str,
) -> Result<Vec<DocumentId>, ApplyError> {
    let rows = t.session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
