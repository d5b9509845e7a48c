//! Rows and keys on their way through the session's temporary tables. What is staged stays there until something
//! else is, in this transaction or in a later one.

use super::{attempt::Attempt, row_to_delete::RowToDelete};
use crate::{
    copy::CopyBuffer,
    error::ApplyError,
    guard::{self, Stored},
    ids::{DocumentId, TableId},
};
use std::collections::BTreeMap;
use tokio_postgres::Row;

/// Copies the rows that these documents have in `table`; gives how many. What was there before goes.
pub(crate) async fn copy_rows(
    t: &mut Attempt<'_>,
    table: TableId,
    documents: &[DocumentId],
) -> Result<u64, ApplyError> {
    let copy = rows_of(t, table, documents);
    let count = copy.count;
    let sql = &t.model.table(table).sql;
    copy.stage(t.session, &sql.temp, &sql.copy).await?;
    Ok(count)
}

/// The same, and looks at them with a statement that is sent together with them. Gives what that gives.
pub(crate) async fn copy_rows_and_look(
    t: &mut Attempt<'_>,
    table: TableId,
    documents: &[DocumentId],
    look: &str,
) -> Result<Vec<Row>, ApplyError> {
    let copy = rows_of(t, table, documents);
    let sql = &t.model.table(table).sql;
    let place = (sql.temp.as_str(), sql.copy.as_str());
    Ok(copy.stage_and_look(t.session, place, look).await?)
}

/// The same, and writes them with a statement that is sent together with them. Gives how many rows that wrote.
pub(crate) async fn copy_rows_and_write(
    t: &mut Attempt<'_>,
    table: TableId,
    documents: &[DocumentId],
    write: &str,
) -> Result<u64, ApplyError> {
    let copy = rows_of(t, table, documents);
    let sql = &t.model.table(table).sql;
    let place = (sql.temp.as_str(), sql.copy.as_str());
    Ok(copy.stage_and_write(t.session, place, write).await?)
}

fn rows_of(t: &Attempt<'_>, table: TableId, documents: &[DocumentId]) -> CopyBuffer {
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
    copy
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

/// Copies the keys of rows that are to be deleted, or looked for; what was there before goes.
pub(crate) async fn copy_keys(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: &[RowToDelete],
) -> Result<(), ApplyError> {
    let copy = keys_of(t, root, rows);
    let sql = &t.model.table(root).sql;
    let (temp, sql) = (&sql.temp_deletes, &sql.copy_deletes);
    Ok(copy.stage(t.session, temp, sql).await?)
}

/// The same, and looks at them with a statement that is sent together with them. Gives `lc_doc` and version.
pub(crate) async fn copy_keys_and_look(
    t: &mut Attempt<'_>,
    root: TableId,
    rows: &[RowToDelete],
    look: &str,
) -> Result<BTreeMap<DocumentId, Stored>, ApplyError> {
    let copy = keys_of(t, root, rows);
    let sql = &t.model.table(root).sql;
    let place = (sql.temp_deletes.as_str(), sql.copy_deletes.as_str());
    let rows = copy.stage_and_look(t.session, place, look).await?;
    Ok(versions(&rows))
}

fn keys_of(t: &Attempt<'_>, root: TableId, rows: &[RowToDelete]) -> CopyBuffer {
    let entry = t.model.table(root);
    let columns = entry.table.key.len();
    let mut copy = CopyBuffer::new();
    for row in rows {
        let owner = entry.keeps_document.then_some(row.owner.as_deref());
        copy.key((columns, &row.key), row.version, row.document, owner);
    }
    copy
}

/// What a query gives as `lc_doc` and version.
pub(crate) async fn documents_and_versions(
    t: &mut Attempt<'_>,
    sql: &str,
) -> Result<BTreeMap<DocumentId, Stored>, ApplyError> {
    let rows = t.session.query(sql, &[]).await?;
    Ok(versions(&rows))
}

fn versions(rows: &[Row]) -> BTreeMap<DocumentId, Stored> {
    rows.iter()
        .map(|row| (row.get(0), guard::stored(row.get(1))))
        .collect()
}

/// What a query gives as `lc_doc`.
pub(crate) async fn documents(
    t: &mut Attempt<'_>,
    sql: &str,
) -> Result<Vec<DocumentId>, ApplyError> {
    let rows = t.session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
