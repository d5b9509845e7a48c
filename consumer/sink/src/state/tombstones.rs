//! `leafcutter.tombstones`: the versions that deletes leave behind, so that no older record brings a
//! row back.
//!
//! A tombstone is never lowered. It goes when its row is placed again.

use super::{KEYS, KeyVersion, columns, index_key, is_key, swept};
use crate::{
    guard::{self, sql},
    session::Session,
};
use leafcutter_schemas::version::Version;
use std::collections::BTreeMap;
use tokio_postgres::Error;

/// The name of a table's tombstones under rows' own keys, where the guard knows its rows by their documents'
/// keys: they say when a row went, and guard nothing.
pub fn of_rows(state_name: &str) -> String {
    format!("{state_name} by key")
}

/// The tombstones of these keys.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn of_keys(
    session: &mut Session,
    table: &str,
    keys: &[&[u8]],
) -> Result<BTreeMap<Vec<u8>, Version>, Error> {
    let sql = format!(
        "select s.row_key, s.version from leafcutter.tombstones s join {KEYS} \
         on s.table_name = $1 and {}",
        is_key("s.row_key", "k.k")
    );
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = session.query(&sql, &[&table, &keys]).await?;
    let versions = rows
        .iter()
        .filter_map(|row| Some((row.get(0), guard::stored(row.get(1))?)));
    Ok(versions.collect())
}

/// Whether these tables have any tombstone.
///
/// # Errors
/// As [`of_keys`].
pub async fn any(session: &mut Session, tables: &[&str]) -> Result<bool, Error> {
    let sql = "select exists (select 1 from leafcutter.tombstones where table_name = any($1))";
    Ok(session.query_one(sql, &[&tables]).await?.get(0))
}

/// Whether a tombstone is newer than what is written for its key.
///
/// # Errors
/// As [`of_keys`].
pub async fn any_newer(
    session: &mut Session,
    table: &str,
    written: &[KeyVersion<'_>],
) -> Result<bool, Error> {
    let sql = format!(
        "select exists (select 1 from unnest($2::bytea[], $3::bigint[]) as k(k, v) \
         join leafcutter.tombstones s on s.table_name = $1 and {} where {})",
        is_key("s.row_key", "k.k"),
        sql::is_stale("s.version", "k.v")
    );
    let (keys, versions) = columns(written);
    let row = session.query_one(&sql, &[&table, &keys, &versions]).await?;
    Ok(row.get(0))
}

/// The newest tombstone of a row, under any of these names.
///
/// # Errors
/// As [`of_keys`].
pub async fn newest(
    session: &mut Session,
    tables: &[String],
    key: &[u8],
) -> Result<Option<Version>, Error> {
    let sql = format!(
        "select max(version) from leafcutter.tombstones where table_name = any($1) and {}",
        is_key("row_key", "$2::bytea")
    );
    let row = session.query_one(&sql, &[&tables, &key]).await?;
    Ok(row.get::<_, Option<i64>>(0).and_then(guard::stored))
}

/// Writes tombstones; a newer one stays.
///
/// # Errors
/// As [`of_keys`].
pub async fn write(
    session: &mut Session,
    table: &str,
    deleted: &[KeyVersion<'_>],
) -> Result<(), Error> {
    if deleted.is_empty() {
        return Ok(());
    }
    let (keys, versions) = columns(deleted);
    let sql = insert(
        "$1",
        "unnest($2::bytea[], $3::bigint[]) as k(k, v)",
        ("k.k", "k.v"),
    );
    session
        .execute(&sql, &[&table, &keys, &versions])
        .await
        .map(drop)
}

/// Writes tombstones for what a query gives: `key` and `version` are expressions of its `from`.
pub(crate) fn insert(table: &str, from: &str, (key, version): (&str, &str)) -> String {
    format!(
        "insert into leafcutter.tombstones as s (table_name, row_key, version) \
         select {table}, {key}, {version} from {from} order by 2 \
         on conflict (table_name, {}) do update set version = excluded.version where {}",
        index_key("row_key"),
        sql::is_older("s.version", "excluded.version")
    )
}

/// The version of a row's tombstone, or 0, as an expression; `table` and `key` are expressions.
pub(crate) fn version_of(table: &str, key: &str) -> String {
    format!(
        "coalesce((select s.version from leafcutter.tombstones s \
         where s.table_name = {table} and {}), 0)",
        is_key("s.row_key", key)
    )
}

/// Gives a table the tombstones of another, whose documents have the same keys: those of deletes among them that
/// no record of a topic tells of.
///
/// # Errors
/// As [`of_keys`].
pub async fn copy(session: &mut Session, from: &str, to: &str) -> Result<(), Error> {
    let sql = insert(
        "$2",
        "leafcutter.tombstones o where o.table_name = $1",
        ("o.row_key", "o.version"),
    );
    session.execute(&sql, &[&from, &to]).await.map(drop)
}

/// Takes tombstones away: their rows are there.
///
/// # Errors
/// As [`of_keys`].
pub async fn remove(session: &mut Session, table: &str, keys: &[&[u8]]) -> Result<(), Error> {
    let sql = format!(
        "delete from leafcutter.tombstones s using {KEYS} where s.table_name = $1 and {}",
        is_key("s.row_key", "k.k")
    );
    if keys.is_empty() {
        return Ok(());
    }
    session.execute(&sql, &[&table, &keys]).await.map(drop)
}

/// Takes out of what is gone what has a tombstone at least as new: it is known to be deleted, and stays since
/// others refer to it, or as a row that is marked ([`super::swept`]).
///
/// # Errors
/// As [`of_keys`].
pub async fn take_known(session: &mut Session, (root, table): (i32, &str)) -> Result<(), Error> {
    let sql = format!(
        "delete from {} g using leafcutter.tombstones s where g.root = $1 and s.table_name = $2 \
         and {} and {}",
        swept::GONE,
        is_key("s.row_key", "g.key"),
        sql::is_settled("g.version", "s.version")
    );
    session.execute(&sql, &[&root, &table]).await.map(drop)
}
