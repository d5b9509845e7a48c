//! Which parked documents are locked and tried, and by whom: a batch its own and those behind its rows, the
//! settling task what can be placed by now ([`super::super::settle`]).

use super::{COLUMNS, Parked, split};
use crate::{
    model::Model,
    sink::{ApplyError, session::Session, work::RowId},
};
use tokio_postgres::{Row, types::ToSql};

/// Most waiting documents that one batch takes along; the settling task does the rest.
pub const PULLED_MAX: usize = 5_000;

/// Parked documents that the settling task tries in one transaction.
pub const TRIED_MAX: usize = 500;

/// How long a document is left alone after it was tried. A parent's own batch takes along what waits for
/// it, so looking again is for those that both missed, and they were parked a moment ago: the longer one
/// has waited the less there is to see, however many wait. A value that comes free is only seen here.
const PAUSE: &str = "greatest(\
    case when p.state = 'waiting' then interval '0.5 s' else interval '10 s' end, \
    case when p.reason = 'parent' then least((now() - p.parked_at) / 10, interval '5 min') end)";

/// Which tables' rows `wait_table` names: `$2` there, `$3` in `table_name`, which differ where several
/// collections fill a table.
const NAMED: &str = "unnest($2::text[], $3::text[]) as k(named, state)";

fn named(model: &Model) -> (Vec<String>, Vec<&str>) {
    let roots = model.tables.iter().filter(|entry| entry.above.is_empty());
    roots
        .map(|entry| (entry.table.name.to_string(), entry.state_name.as_str()))
        .unzip()
}

/// Locks and returns documents that wait for nothing that is parked: what they wait for is there by
/// now, or missing. Those that were not tried for longest, since more may wait than one round holds.
/// Not those of the tables `busy`.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn lock_free(
    session: &mut Session,
    model: &Model,
    busy: &[String],
) -> Result<Vec<Parked>, ApplyError> {
    let condition = format!(
        "p.tried_at < now() - {PAUSE} \
         and not (p.reason = 'parent' and exists (select 1 from {NAMED} join leafcutter.parked q \
         on q.table_name = k.state and q.row_key = p.wait_key \
         and q.state = 'waiting' and not q.incomplete where k.named = p.wait_table \
         and (q.table_name, q.row_key) <> (p.table_name, p.row_key)))"
    );
    let (names, states) = named(model);
    lock_some(
        session,
        model,
        &condition,
        TRIED_MAX,
        &[&busy, &names, &states],
    )
    .await
}

/// Locks and returns documents that were not tried for long, whatever they wait for: a row may be there
/// already of which a newer image is parked.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn lock_rest(
    session: &mut Session,
    model: &Model,
    busy: &[String],
) -> Result<Vec<Parked>, ApplyError> {
    let condition = format!("p.tried_at < now() - greatest({PAUSE}, interval '10 s')");
    lock_some(session, model, &condition, TRIED_MAX / 5, &[&busy]).await
}

async fn lock_some(
    session: &mut Session,
    model: &Model,
    condition: &str,
    most: usize,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Parked>, ApplyError> {
    let sql = format!(
        "select {COLUMNS} from (select * from leafcutter.parked p \
         where p.table_name <> all($1) and {condition} \
         order by p.tried_at limit {most} for update skip locked) p"
    );
    let statement = session.prepared(&sql).await?;
    let found = session.client().query(&statement, parameters).await?;
    Ok(read(model, &found))
}

/// Locks and returns documents that wait for each other in a circle, some of them given up perhaps. All of
/// them, if one is due: apart they cannot be placed.
///
/// # Errors
/// When PostgreSQL is lost or another session holds the lock for too long.
pub async fn lock_circles(session: &mut Session, model: &Model) -> Result<Vec<Parked>, ApplyError> {
    if model.circular.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "with recursive walk (table_name, row_key, wait_table, wait_key) as (\
         select p.table_name, p.row_key, p.wait_table, p.wait_key from leafcutter.parked p \
         where p.table_name = any($1) and p.reason = 'parent' \
         union select w.table_name, w.row_key, q.wait_table, q.wait_key from walk w \
         join {NAMED} on k.named = w.wait_table join leafcutter.parked q \
         on q.table_name = k.state and q.row_key = w.wait_key \
         where q.reason = 'parent') \
         select p.table_name, p.row_key, p.tried_at < now() - {PAUSE} from leafcutter.parked p \
         where (p.table_name, p.row_key) in (select w.table_name, w.row_key from walk w join {NAMED} \
         on k.named = w.wait_table where k.state = w.table_name and w.wait_key = w.row_key) \
         order by 1, 2 limit {PULLED_MAX}"
    );
    let circular = model.circular.iter();
    let circular: Vec<&str> = circular
        .map(|&root| model.table(root).state_name.as_str())
        .collect();
    let (names, states) = named(model);
    let statement = session.prepared(&sql).await?;
    let found = session
        .client()
        .query(&statement, &[&circular, &names, &states])
        .await?;
    if !found.iter().any(|row| row.get(2)) {
        return Ok(Vec::new());
    }
    let rows: Vec<RowId> = found
        .iter()
        .filter_map(|row| Some((model.root_by_state_name(row.get(0))?, row.get(1))))
        .collect();
    let rows: Vec<&RowId> = rows.iter().collect();
    lock_own(session, model, &rows).await
}

/// Locks and returns what is parked for these rows (S2).
///
/// # Errors
/// When PostgreSQL is lost or another session holds the lock for too long.
pub async fn lock_own(
    session: &mut Session,
    model: &Model,
    rows: &[&RowId],
) -> Result<Vec<Parked>, ApplyError> {
    let sql = format!(
        "select {COLUMNS} from leafcutter.parked p \
         join unnest($1::text[], $2::bytea[]) as k(t, k) on p.table_name = k.t and p.row_key = k.k \
         order by p.table_name, p.row_key for update of p"
    );
    let tables = rows.iter().map(|row| model.table(row.0).state_name.clone());
    query(session, model, &sql, rows, tables.collect()).await
}

/// Locks and returns what waits for these rows to be there, but for what somebody else works on:
/// two batches that wait for each other's documents would be a deadlock, and the settling task sees
/// what is left.
///
/// # Errors
/// When PostgreSQL is lost or another session holds the lock for too long.
pub async fn pull_waiters(
    session: &mut Session,
    model: &Model,
    rows: &[&RowId],
) -> Result<Vec<Parked>, ApplyError> {
    let sql = format!(
        "select {COLUMNS} from leafcutter.parked p \
         join unnest($1::text[], $2::bytea[]) as k(t, k) on p.wait_table = k.t and p.wait_key = k.k \
         where p.reason = 'parent' \
         order by p.table_name, p.row_key limit {PULLED_MAX} for update of p skip locked"
    );
    let tables = rows
        .iter()
        .map(|row| model.table(row.0).table.name.to_string());
    query(session, model, &sql, rows, tables.collect()).await
}

async fn query(
    session: &mut Session,
    model: &Model,
    sql: &str,
    rows: &[&RowId],
    tables: Vec<String>,
) -> Result<Vec<Parked>, ApplyError> {
    let (_, keys) = split(model, rows);
    let statement = session.prepared(sql).await?;
    let found = session
        .client()
        .query(&statement, &[&tables, &keys])
        .await?;
    Ok(read(model, &found))
}

fn read(model: &Model, found: &[Row]) -> Vec<Parked> {
    let read = found.iter().filter_map(|row| Parked::read(model, row));
    read.collect()
}
