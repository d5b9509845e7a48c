//! Generated keys: the value that a document has, or a number.
//!
//! A number is taken from the column's own sequence, which the application goes on with after the
//! cut-over, and kept in the document's entry: an update, a replay, a document that was deleted and
//! comes back find it there. A document that has to wait has no entry yet, and gets another number
//! when it is placed; no reader has seen the first. The sequence is moved above every value that a
//! document has; numbers never go back, whatever becomes of the transaction. Only values at the very end of
//! what the sequence can give ([`numbers::HIGHEST_SHARE`]) do not move it: one document with the highest number of
//! all would leave none for the others. A number that a row has already is not given, whoever wrote that row.

use super::claims::Alive;
use crate::{
    error::ApplyError,
    ids::{DocumentId, TableId},
    model::TableModel,
    names::{qualified, quote},
    state::key_map::KeyEntry,
    statement::root_columns,
    target::numbers,
    write::attempt::Attempt,
};
use leafcutter_schemas::mapping::PgType;

/// Tells of an entry whether it only remembers the number of a document that is not there.
pub(crate) fn is_memory(entry: &TableModel) -> impl Fn(&KeyEntry) -> bool {
    let generated = entry.table.generated_key().is_some();
    move |entry| generated && !entry.owner
}

/// Gives numbers to the documents that have no value.
pub(crate) async fn give(
    t: &mut Attempt<'_>,
    root: TableId,
    alive: &[Alive],
) -> Result<(), ApplyError> {
    let entry = t.model.table(root);
    let Some(column) = entry.table.generated_key() else {
        return Ok(());
    };
    let mut given = Vec::new();
    let mut without = Vec::new();
    for (document, known) in alive {
        let Some(rows) = t.candidates.get(*document).rows() else {
            continue;
        };
        match (t.rows.field(rows.root(), column), known) {
            (Some(value), _) => given.extend(number(value)),
            (None, Some(known)) => set(t, root, *document, column, &known.row_key),
            (None, None) => without.push(*document),
        }
    }
    move_above(t, entry, column, &given).await?;
    let numbers = next(t, entry, column, without.len()).await?;
    for (document, number) in without.into_iter().zip(numbers) {
        let pg_type = entry.table.columns[column].pg_type;
        let value = encoded(number, pg_type).ok_or_else(|| exhausted(entry, column))?;
        set(t, root, document, column, &value);
    }
    Ok(())
}

/// Sets the key of a document's root row and of all rows below it.
fn set(t: &mut Attempt<'_>, root: TableId, document: DocumentId, column: usize, value: &[u8]) {
    let Some(rows) = t.candidates.get(document).rows() else {
        return;
    };
    for row in rows.rows() {
        let table = t.table_of(row);
        let entry = t.model.table(table);
        let key = &entry.table.key;
        if table == root {
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

/// Most numbers drawn at once.
const DRAWN_MAX: usize = 10_000;

/// So many numbers that no row has. Where the sequence runs into numbers that rows have, ever more are drawn,
/// until it is behind them or PostgreSQL says that it has no more.
async fn next(
    t: &mut Attempt<'_>,
    entry: &TableModel,
    column: usize,
    count: usize,
) -> Result<Vec<i64>, ApplyError> {
    let (table, name) = (
        qualified(&entry.table.name),
        &entry.table.columns[column].name,
    );
    let sql = format!(
        "with drawn as materialized (select nextval(pg_get_serial_sequence($1::text, $2::text)::regclass) as n \
         from generate_series(1, $3::int)) \
         select n from drawn where not exists (select 1 from {table} x where x.{} = drawn.n)",
        quote(name)
    );
    let mut free: Vec<i64> = Vec::new();
    let mut draw = count;
    while free.len() < count {
        let drawn = i32::try_from(draw).map_err(|_| exhausted(entry, column))?;
        for row in t.session.query(&sql, &[&table, name, &drawn]).await? {
            let number: Option<i64> = row.get(0);
            free.push(number.ok_or_else(|| exhausted(entry, column))?);
        }
        draw = (draw * 2).min(DRAWN_MAX.max(count));
    }
    Ok(free)
}

async fn move_above(
    t: &mut Attempt<'_>,
    entry: &TableModel,
    column: usize,
    given: &[i64],
) -> Result<(), ApplyError> {
    if given.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "select setval(q.seqrelid::regclass, h.n) from pg_sequence q cross join lateral \
         (select max(g.n) as n from unnest($3::bigint[]) as g(n) where g.n <= {}) h \
         where q.seqrelid = pg_get_serial_sequence($1::text, $2::text)::regclass \
         and coalesce(pg_sequence_last_value(q.seqrelid), q.seqstart - 1) < h.n",
        numbers::highest_moved("q.seqmax")
    );
    let (table, name) = (
        qualified(&entry.table.name),
        &entry.table.columns[column].name,
    );
    t.session.query(&sql, &[&table, name, &given]).await?;
    Ok(())
}
