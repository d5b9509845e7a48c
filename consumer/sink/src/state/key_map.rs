//! `leafcutter.key_map`: which row is a document's, in tables whose key does not follow from `_id`.
//! Read and written under the table's lock, but for look-ups of generated keys.

use super::{KEYS, index_key, is_key, swept};
use crate::{guard, session::Session};
use leafcutter_schemas::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Error, Row};

/// What is known of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// The document's own key.
    pub source: Vec<u8>,
    /// The key of the row that it wants.
    pub row_key: Vec<u8>,
    /// The version of its image.
    pub version: Version,
    /// Its rank among those that want that row.
    pub rank: Vec<u8>,
    /// The row shows it.
    pub owner: bool,
}

const COLUMNS: &str = "s.source_key, s.row_key, s.version, s.rank, s.owner";

impl KeyEntry {
    fn read(row: &Row) -> Option<Self> {
        Some(Self {
            source: row.get(0),
            row_key: row.get(1),
            version: Version::from_i64(row.get(2))?,
            rank: row.get(3),
            owner: row.get(4),
        })
    }
}

/// The entries of these documents, by the documents' keys.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn of_documents(
    session: &mut Session,
    table: &str,
    sources: &[&[u8]],
) -> Result<BTreeMap<Vec<u8>, KeyEntry>, Error> {
    let sql = of_documents_sql(COLUMNS);
    let rows = session.query(&sql, &[&table, &sources]).await?;
    let entries = rows.iter().filter_map(KeyEntry::read);
    Ok(entries.map(|entry| (entry.source.clone(), entry)).collect())
}

/// A query for the entries of the documents `$2` of the table `$1`, these columns of `s`.
pub(super) fn of_documents_sql(columns: &str) -> String {
    format!(
        "select {columns} from leafcutter.key_map s join {KEYS} on s.table_name = $1 and {}",
        is_key("s.source_key", "k.k")
    )
}

/// The documents that these rows show, and with `others` the one that follows for each, beside those
/// in `apart`.
///
/// # Errors
/// As [`of_documents`].
pub async fn of_rows(
    session: &mut Session,
    table: &str,
    row_keys: &[&[u8]],
    apart: &BTreeSet<Vec<u8>>,
    others: bool,
) -> Result<Vec<KeyEntry>, Error> {
    let same = is_key("s.row_key", "k.k");
    let owners = format!(
        "select {COLUMNS} from leafcutter.key_map s join {KEYS} on s.table_name = $1 and {same} \
         where s.owner and s.source_key <> all($3)"
    );
    let next = format!(
        "select {COLUMNS} from unnest($2::bytea[]) as k(k) \
         cross join lateral (select * from leafcutter.key_map s where s.table_name = $1 \
         and {same} and not s.owner and s.source_key <> all($3) \
         order by substring(s.rank from 1 for 64) desc, s.rank desc limit 1) s"
    );
    let apart: Vec<&[u8]> = apart.iter().map(Vec::as_slice).collect();
    let mut entries = Vec::new();
    for sql in std::iter::once(owners).chain(others.then_some(next)) {
        let rows = session.query(&sql, &[&table, &row_keys, &apart]).await?;
        entries.extend(rows.iter().filter_map(KeyEntry::read));
    }
    Ok(entries)
}

/// Writes entries; what is the same is not touched. Those that do not own a row go first, since a row
/// has one owner at a time.
///
/// # Errors
/// As [`of_documents`].
pub async fn write(session: &mut Session, table: &str, entries: &[KeyEntry]) -> Result<(), Error> {
    let sql = format!(
        "insert into leafcutter.key_map as s (table_name, source_key, row_key, version, rank, owner) \
        select $1, u.s, u.r, u.v, u.k, $6 \
        from unnest($2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[]) as u(s, r, v, k) \
        on conflict (table_name, {}) do update set row_key = excluded.row_key, \
        version = excluded.version, rank = excluded.rank, owner = excluded.owner \
        where (s.row_key, s.version, s.rank, s.owner) is distinct from \
        (excluded.row_key, excluded.version, excluded.rank, excluded.owner)",
        index_key("source_key")
    );
    for owner in [false, true] {
        let own: Vec<&KeyEntry> = entries.iter().filter(|e| e.owner == owner).collect();
        if own.is_empty() {
            continue;
        }
        let sources: Vec<&[u8]> = own.iter().map(|entry| entry.source.as_slice()).collect();
        let row_keys: Vec<&[u8]> = own.iter().map(|entry| entry.row_key.as_slice()).collect();
        let versions: Vec<i64> = own.iter().map(|entry| entry.version.as_i64()).collect();
        let ranks: Vec<&[u8]> = own.iter().map(|entry| entry.rank.as_slice()).collect();
        session
            .execute(
                &sql,
                &[&table, &sources, &row_keys, &versions, &ranks, &owner],
            )
            .await?;
    }
    Ok(())
}

/// Documents whose rows do not show them any more.
///
/// # Errors
/// As [`of_documents`].
pub async fn unset_owner(
    session: &mut Session,
    table: &str,
    sources: &[&[u8]],
) -> Result<(), Error> {
    let sql = format!(
        "update leafcutter.key_map s set owner = false from {KEYS} where s.table_name = $1 and {}",
        is_key("s.source_key", "k.k")
    );
    if sources.is_empty() {
        return Ok(());
    }
    session.execute(&sql, &[&table, &sources]).await.map(drop)
}

/// Forgets these documents.
///
/// # Errors
/// As [`of_documents`].
pub async fn remove(session: &mut Session, table: &str, sources: &[&[u8]]) -> Result<(), Error> {
    let sql = format!(
        "delete from leafcutter.key_map s using {KEYS} where s.table_name = $1 and {}",
        is_key("s.source_key", "k.k")
    );
    if sources.is_empty() {
        return Ok(());
    }
    session.execute(&sql, &[&table, &sources]).await.map(drop)
}

/// Adds to what is gone: the documents of a table with entries below a version that were not seen
/// ([`super::swept`]); with `owners` only those that have their rows.
///
/// # Errors
/// As [`of_documents`].
pub async fn gone(
    session: &mut Session,
    (root, table): (i32, &str),
    below: Version,
    owners: bool,
) -> Result<(), Error> {
    let older = guard::sql::is_older("s.version", "$3");
    let sql = swept::insert_gone(
        "s.source_key, null::bytea, s.version",
        &format!(
            "leafcutter.key_map s where s.table_name = $2 and {older} and (s.owner or not $4)"
        ),
        "s.source_key",
    );
    let below = below.as_i64();
    session
        .execute(&sql, &[&root, &table, &below, &owners])
        .await
        .map(drop)
}
