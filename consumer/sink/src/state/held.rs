//! `leafcutter.held`: rows whose document was deleted and that stay while other rows reference them.

use super::{KEYS, KeyVersion, columns, index_key, is_key};
use crate::{
    guard::{self, sql},
    session::Session,
};
use leafcutter_schemas::version::Version;
use std::collections::BTreeMap;
use tokio_postgres::Error;

/// Whether anything is held, as an expression.
pub(crate) const ANY: &str = "exists (select 1 from leafcutter.held)";

/// Marks rows as held by these deletes.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn write(
    session: &mut Session,
    table: &str,
    deleted: &[KeyVersion<'_>],
) -> Result<(), Error> {
    if deleted.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "insert into leafcutter.held as s (table_name, row_key, version) \
         select $1, k.k, k.v from unnest($2::bytea[], $3::bigint[]) as k(k, v) order by 2 \
         on conflict (table_name, {}) do update set version = excluded.version where {}",
        index_key("row_key"),
        sql::is_older("s.version", "excluded.version")
    );
    let (keys, versions) = columns(deleted);
    session
        .execute(&sql, &[&table, &keys, &versions])
        .await
        .map(drop)
}

/// Rows are not held any more: they are there again, or gone.
///
/// # Errors
/// As [`write`].
pub async fn remove(session: &mut Session, table: &str, keys: &[&[u8]]) -> Result<(), Error> {
    let sql = format!(
        "delete from leafcutter.held s using {KEYS} where s.table_name = $1 and {}",
        is_key("s.row_key", "k.k")
    );
    if keys.is_empty() {
        return Ok(());
    }
    session.execute(&sql, &[&table, &keys]).await.map(drop)
}

/// Whether a row is held and has not come back since, as a condition; the arguments are expressions.
pub(crate) fn is_held(table: &str, key: &str, version: &str) -> String {
    format!(
        "exists (select 1 from leafcutter.held h where h.table_name = {table} \
         and {} and {})",
        is_key("h.row_key", key),
        sql::is_settled(version, "h.version")
    )
}

/// The statement that does it for the keys that an expression gives of each row of `from`.
pub(crate) fn remove_all(table: &str, from: &str, key: &str) -> String {
    format!(
        "delete from leafcutter.held s using {from} where s.table_name = {table} and {}",
        is_key("s.row_key", key)
    )
}

/// At most so many held rows of a table, those behind `after` in the order of the index.
///
/// # Errors
/// As [`write`].
pub async fn behind(
    session: &mut Session,
    table: &str,
    after: &[u8],
    most: i64,
) -> Result<Vec<(Vec<u8>, Version)>, Error> {
    let sql = format!(
        "select row_key, version from leafcutter.held where table_name = $1 and {own} > {last} \
         order by {own} limit $3",
        own = index_key("row_key"),
        last = index_key("$2::bytea"),
    );
    let rows = session.query(&sql, &[&table, &after, &most]).await?;
    let held = rows
        .iter()
        .filter_map(|row| Some((row.get(0), guard::stored(row.get(1))?)));
    Ok(held.collect())
}

/// Those of these rows that are held.
///
/// # Errors
/// As [`write`].
pub async fn of_keys(
    session: &mut Session,
    table: &str,
    keys: &[&[u8]],
) -> Result<BTreeMap<Vec<u8>, Version>, Error> {
    let sql = format!(
        "select s.row_key, s.version from leafcutter.held s join {KEYS} \
         on s.table_name = $1 and {}",
        is_key("s.row_key", "k.k")
    );
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = session.query(&sql, &[&table, &keys]).await?;
    let held = rows
        .iter()
        .filter_map(|row| Some((row.get(0), guard::stored(row.get(1))?)));
    Ok(held.collect())
}

/// Locks those of these rows that are still held and that no other session has locked.
///
/// # Errors
/// As [`write`].
pub async fn lock(
    session: &mut Session,
    table: &str,
    keys: &[&[u8]],
) -> Result<BTreeMap<Vec<u8>, Version>, Error> {
    let sql = format!(
        "select s.row_key, s.version from leafcutter.held s join {KEYS} \
         on s.table_name = $1 and {} for update of s skip locked",
        is_key("s.row_key", "k.k")
    );
    let rows = session.query(&sql, &[&table, &keys]).await?;
    let held = rows
        .iter()
        .filter_map(|row| Some((row.get(0), guard::stored(row.get(1))?)));
    Ok(held.collect())
}

/// How many rows are held, by table.
///
/// # Errors
/// As [`write`].
pub async fn count(session: &mut Session) -> Result<Vec<(String, i64)>, Error> {
    let sql = "select table_name, count(*) from leafcutter.held group by 1 order by 1";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
