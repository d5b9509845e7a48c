//! `leafcutter.keys`: the line of each document, read and written under the turn.

use crate::sink::{ApplyError, session::Session};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;

/// A document's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The document's own key.
    pub source: Vec<u8>,
    /// The key of the row that it wants.
    pub row_key: Vec<u8>,
    /// The version of its image.
    pub version: i64,
    /// Its rank among those that want that row.
    pub rank: Vec<u8>,
    /// The row shows it.
    pub owner: bool,
}

impl Line {
    fn read(row: &Row) -> Self {
        Self {
            source: row.get(0),
            row_key: row.get(1),
            version: row.get(2),
            rank: row.get(3),
            owner: row.get(4),
        }
    }
}

/// The lines of these documents.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn of_documents(
    session: &mut Session,
    table: &str,
    sources: &[&[u8]],
) -> Result<BTreeMap<Vec<u8>, Line>, ApplyError> {
    let sql = "select source_key, row_key, version, rank, owner from leafcutter.keys \
               where table_name = $1 and source_key = any($2)";
    let statement = session.prepared(sql).await?;
    let rows = session
        .client()
        .query(&statement, &[&table, &sources])
        .await?;
    let lines = rows.iter().map(Line::read);
    Ok(lines.map(|line| (line.source.clone(), line)).collect())
}

/// The documents that these rows show, and with `others` the one that follows for each, beside those
/// in `apart`.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn of_rows(
    session: &mut Session,
    table: &str,
    row_keys: &[&[u8]],
    apart: &BTreeSet<Vec<u8>>,
    others: bool,
) -> Result<Vec<Line>, ApplyError> {
    const OWNERS: &str = "\
        select source_key, row_key, version, rank, owner from leafcutter.keys \
        where table_name = $1 and row_key = any($2) and owner and source_key <> all($3)";
    const OTHERS: &str = "\
        select o.source_key, o.row_key, o.version, o.rank, o.owner from unnest($2::bytea[]) as k(k) \
        cross join lateral (select * from leafcutter.keys s where s.table_name = $1 \
        and s.row_key = k.k and not s.owner and s.source_key <> all($3) \
        order by s.rank desc limit 1) o";
    let apart: Vec<&[u8]> = apart.iter().map(Vec::as_slice).collect();
    let mut lines = Vec::new();
    for sql in [Some(OWNERS), others.then_some(OTHERS)]
        .into_iter()
        .flatten()
    {
        let statement = session.prepared(sql).await?;
        let rows = session
            .client()
            .query(&statement, &[&table, &row_keys, &apart])
            .await?;
        lines.extend(rows.iter().map(Line::read));
    }
    Ok(lines)
}

/// Writes lines; what is the same is not touched. Those without a row go first, since a row has one
/// owner at a time.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn write(session: &mut Session, table: &str, lines: &[Line]) -> Result<(), ApplyError> {
    const WRITE: &str = "\
        insert into leafcutter.keys as s (table_name, source_key, row_key, version, rank, owner) \
        select $1, u.s, u.r, u.v, u.k, $6 \
        from unnest($2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[]) as u(s, r, v, k) \
        on conflict (table_name, source_key) do update set row_key = excluded.row_key, \
        version = excluded.version, rank = excluded.rank, owner = excluded.owner \
        where (s.row_key, s.version, s.rank, s.owner) is distinct from \
        (excluded.row_key, excluded.version, excluded.rank, excluded.owner)";
    for owner in [false, true] {
        let own: Vec<&Line> = lines.iter().filter(|line| line.owner == owner).collect();
        if own.is_empty() {
            continue;
        }
        let sources: Vec<&[u8]> = own.iter().map(|line| line.source.as_slice()).collect();
        let row_keys: Vec<&[u8]> = own.iter().map(|line| line.row_key.as_slice()).collect();
        let versions: Vec<i64> = own.iter().map(|line| line.version).collect();
        let ranks: Vec<&[u8]> = own.iter().map(|line| line.rank.as_slice()).collect();
        let statement = session.prepared(WRITE).await?;
        session
            .client()
            .execute(
                &statement,
                &[&table, &sources, &row_keys, &versions, &ranks, &owner],
            )
            .await?;
    }
    Ok(())
}

/// Forgets what is kept of these documents: their lines and images.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn forget(
    session: &mut Session,
    table: &str,
    sources: &[&[u8]],
) -> Result<(), ApplyError> {
    const FORGET: [&str; 2] = [
        "delete from leafcutter.keys where table_name = $1 and source_key = any($2)",
        "delete from leafcutter.contenders where table_name = $1 and source_key = any($2)",
    ];
    if sources.is_empty() {
        return Ok(());
    }
    for sql in FORGET {
        let statement = session.prepared(sql).await?;
        session
            .client()
            .execute(&statement, &[&table, &sources])
            .await?;
    }
    Ok(())
}

/// The tombstones of these documents.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn tombstones(
    session: &mut Session,
    table: &str,
    sources: &[&[u8]],
) -> Result<BTreeMap<Vec<u8>, i64>, ApplyError> {
    let sql = "select row_key, version from leafcutter.tombstones \
               where table_name = $1 and row_key = any($2)";
    let statement = session.prepared(sql).await?;
    let rows = session
        .client()
        .query(&statement, &[&table, &sources])
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Writes tombstones.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn bury(
    session: &mut Session,
    table: &str,
    list: &[(&[u8], i64)],
) -> Result<(), ApplyError> {
    const BURY: &str = "\
        insert into leafcutter.tombstones as s (table_name, row_key, version) \
        select $1, u.k, u.v from unnest($2::bytea[], $3::bigint[]) as u(k, v) order by 2 \
        on conflict (table_name, row_key) do update set version = excluded.version \
        where s.version < excluded.version";
    keys_and_versions(session, BURY, table, list).await
}

/// Takes tombstones away.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn unbury(session: &mut Session, table: &str, keys: &[&[u8]]) -> Result<(), ApplyError> {
    const UNBURY: &str =
        "delete from leafcutter.tombstones where table_name = $1 and row_key = any($2)";
    if keys.is_empty() {
        return Ok(());
    }
    let statement = session.prepared(UNBURY).await?;
    session
        .client()
        .execute(&statement, &[&table, &keys])
        .await?;
    Ok(())
}

/// Closes the open dead letters of these documents at or below these versions.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn supersede(
    session: &mut Session,
    table: &str,
    list: &[(&[u8], i64)],
) -> Result<(), ApplyError> {
    const SUPERSEDE: &str = "\
        update leafcutter.dead_letters d set state = 'superseded' \
        from unnest($2::bytea[], $3::bigint[]) as u(k, v) \
        where d.state = 'open' and d.table_name = $1 and d.row_key = u.k and d.version <= u.v";
    keys_and_versions(session, SUPERSEDE, table, list).await
}

async fn keys_and_versions(
    session: &mut Session,
    sql: &str,
    table: &str,
    list: &[(&[u8], i64)],
) -> Result<(), ApplyError> {
    if list.is_empty() {
        return Ok(());
    }
    let (keys, versions): (Vec<&[u8]>, Vec<i64>) = list.iter().copied().unzip();
    let statement = session.prepared(sql).await?;
    session
        .client()
        .execute(&statement, &[&table, &keys, &versions])
        .await?;
    Ok(())
}
