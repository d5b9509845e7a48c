//! Generated keys: the value that a document has, or a number.
//!
//! A number is taken from the column's own sequence, which the application goes on with after the
//! cut-over, and kept in the document's line: an update, a replay, a document that was deleted and
//! comes back find it there. A document that has to wait has no line yet, and gets another number
//! when it is placed; nobody has seen the first. The sequence is moved above every value that a
//! document has; numbers never go back, whatever becomes of the transaction.

use super::{ledger::Line, write::Alive};
use crate::{
    model::TableModel,
    sink::{
        ApplyError,
        statement::{qualified, root_columns},
        transaction::Transaction,
        work::Wish,
    },
    transform::TableId,
};
use leafcutter_schemas::mapping::PgType;

/// Tells of a line whether it only remembers the number of a document that is not there.
pub(super) fn is_memory(entry: &TableModel) -> impl Fn(&Line) -> bool {
    let generated = entry.table.generated_key().is_some();
    move |line| generated && !line.owner
}

/// Gives numbers to the documents that have no value.
pub(super) async fn give(
    t: &mut Transaction<'_>,
    root: TableId,
    alive: &[Alive],
) -> Result<(), ApplyError> {
    let entry = t.model.table(root);
    let Some(column) = entry.table.generated_key() else {
        return Ok(());
    };
    let mut highest = None;
    let mut without = Vec::new();
    for (document, line) in alive {
        let Wish::Upsert(rows) = &t.work.candidates[*document].wish else {
            continue;
        };
        match (t.rows.field(rows.start, column), line) {
            (Some(value), _) => highest = highest.max(number(value)),
            (None, Some(line)) => {
                let known = line.row_key.clone();
                set(t, root, *document, column, &known);
            }
            (None, None) => without.push(*document),
        }
    }
    if let Some(highest) = highest {
        move_above(t, entry, column, highest).await?;
    }
    for (document, number) in without
        .iter()
        .zip(next(t, entry, column, without.len()).await?)
    {
        let pg_type = entry.table.columns[column].pg_type;
        let value = encoded(number, pg_type).ok_or_else(|| exhausted(entry, column))?;
        set(t, root, *document, column, &value);
    }
    Ok(())
}

/// Sets the key of a document's root row and of all rows below it.
fn set(t: &mut Transaction<'_>, root: TableId, document: usize, column: usize, value: &[u8]) {
    let Wish::Upsert(rows) = &t.work.candidates[document].wish else {
        return;
    };
    for row in rows.clone() {
        let entry = t.model.table(t.rows.row(row).table);
        let key = &entry.table.key;
        if t.rows.row(row).table == root {
            t.rows.set_field(row, column, Some(value), key);
            continue;
        }
        let above: Vec<_> = entry
            .above
            .iter()
            .map(|&id| (&*t.model.table(id).table, id))
            .collect();
        for (own, of_root) in root_columns(&entry.table, &above) {
            if of_root == column {
                t.rows.set_field(row, own, Some(value), key);
            }
        }
    }
}

/// A whole number in PostgreSQL's binary form.
fn number(value: &[u8]) -> Option<i64> {
    match value.len() {
        2 => Some(i64::from(i16::from_be_bytes(value.try_into().ok()?))),
        4 => Some(i64::from(i32::from_be_bytes(value.try_into().ok()?))),
        8 => Some(i64::from_be_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

fn encoded(number: i64, pg_type: PgType) -> Option<Vec<u8>> {
    match pg_type {
        PgType::Int2 => Some(i16::try_from(number).ok()?.to_be_bytes().to_vec()),
        PgType::Int4 => Some(i32::try_from(number).ok()?.to_be_bytes().to_vec()),
        _ => Some(number.to_be_bytes().to_vec()),
    }
}

fn exhausted(entry: &TableModel, column: usize) -> ApplyError {
    let name = &entry.table.columns[column].name;
    ApplyError::Transient {
        what: format!("`{}.{name}` has no number to give", entry.table.name),
        source: "the column needs an identity or a sequence of its own".into(),
    }
}

async fn next(
    t: &mut Transaction<'_>,
    entry: &TableModel,
    column: usize,
    count: usize,
) -> Result<Vec<i64>, ApplyError> {
    const NEXT: &str = "\
        select nextval(pg_get_serial_sequence($1::text, $2::text)::regclass) \
        from generate_series(1, $3::int)";
    if count == 0 {
        return Ok(Vec::new());
    }
    let (table, name) = (
        qualified(&entry.table.name),
        &entry.table.columns[column].name,
    );
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let statement = t.session.prepared(NEXT).await?;
    let rows = t
        .session
        .client()
        .query(&statement, &[&table, name, &count])
        .await?;
    let numbers: Option<Vec<i64>> = rows.iter().map(|row| row.get(0)).collect();
    numbers.ok_or_else(|| exhausted(entry, column))
}

async fn move_above(
    t: &mut Transaction<'_>,
    entry: &TableModel,
    column: usize,
    highest: i64,
) -> Result<(), ApplyError> {
    const MOVE: &str = "\
        select setval(q.seqrelid::regclass, $3::bigint) from pg_sequence q \
        where q.seqrelid = pg_get_serial_sequence($1::text, $2::text)::regclass \
        and coalesce(pg_sequence_last_value(q.seqrelid), q.seqstart - 1) < $3 and $3 <= q.seqmax";
    let (table, name) = (
        qualified(&entry.table.name),
        &entry.table.columns[column].name,
    );
    let statement = t.session.prepared(MOVE).await?;
    t.session
        .client()
        .query(&statement, &[&table, name, &highest])
        .await?;
    Ok(())
}
