//! Parked documents written, given up, and removed.

use super::super::{Origins, columns, index_key, is_key, key_map, retained_records};
use crate::{change::SourceVersion, guard::sql, session::Session};
use leafcutter_schemas::version::Version;
use tokio_postgres::Error;

/// What a document waits for.
#[derive(Debug, Clone)]
pub struct WaitsFor<'a> {
    /// For a unique value, not for a parent.
    pub unique: bool,
    /// The column: the reference's, or the first of the unique key; none for the row's own key.
    pub column: Option<&'a str>,
    /// The table of the parent, or the document's own.
    pub table: String,
    /// The parent's key, or the value.
    pub key: Vec<u8>,
}

/// One document to park.
#[derive(Debug)]
pub struct ToPark<'a> {
    /// Its root table, as the state names it.
    pub table: &'a str,
    /// The root row's key, as the guard knows it.
    pub key: &'a [u8],
    /// The row's own key, where that is another one.
    pub wanted_key: Option<&'a [u8]>,
    /// Version and time of its image.
    pub version: SourceVersion,
    /// What it waits for.
    pub waits_for: WaitsFor<'a>,
    /// It was given up already.
    pub orphan: bool,
    /// Only child rows of it wait: its record is counted already.
    pub incomplete: bool,
    /// Where its record was read: topic, partition, offset, timestamp.
    pub origin: (&'a str, i32, i64, Option<i64>),
    /// The record's key.
    pub record_key: &'a [u8],
    /// The record's value.
    pub record_value: &'a [u8],
}

/// Parks documents. What is parked at a higher version stays; a document that was given up and waits
/// at the same version stays given up.
///
/// # Errors
/// When PostgreSQL refuses or is lost; so for all of these.
pub async fn write(session: &mut Session, group: &str, list: &[ToPark<'_>]) -> Result<(), Error> {
    if list.is_empty() {
        return Ok(());
    }
    let same = sql::is_same("p.version", "excluded.version");
    let sql = format!(
        "insert into leafcutter.parked as p (table_name, row_key, version, as_of, state, reason, \
         wait_column, wait_table, wait_key, topic, partition, \"offset\", record_time, record_key, \
         record_value, incomplete, wanted_key, consumer_group) \
         select u.*, $18 from unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[], \
         $6::text[], $7::text[], $8::text[], $9::bytea[], $10::text[], $11::int[], $12::bigint[], \
         $13::bigint[], $14::bytea[], $15::bytea[], $16::bool[], $17::bytea[]) as u order by 1, 2 \
         on conflict (table_name, {}) do update set \
         parked_at = case when {same} then p.parked_at else now() end, \
         state = case when {same} and p.state = 'orphan' then 'orphan' else excluded.state end, \
         version = excluded.version, as_of = excluded.as_of, reason = excluded.reason, \
         wait_column = excluded.wait_column, wait_table = excluded.wait_table, \
         wait_key = excluded.wait_key, topic = excluded.topic, partition = excluded.partition, \
         \"offset\" = excluded.\"offset\", record_time = excluded.record_time, \
         record_key = excluded.record_key, record_value = excluded.record_value, \
         incomplete = excluded.incomplete, wanted_key = excluded.wanted_key, \
         consumer_group = excluded.consumer_group, tried_at = now() \
         where {}",
        index_key("row_key"),
        sql::is_settled("p.version", "excluded.version")
    );
    let column = |of: fn(&ToPark<'_>) -> i64| -> Vec<i64> { list.iter().map(of).collect() };
    let word = |of: fn(&ToPark<'_>) -> bool, yes, no| -> Vec<&str> {
        let words = list.iter().map(|item| if of(item) { yes } else { no });
        words.collect()
    };
    let tables: Vec<&str> = list.iter().map(|item| item.table).collect();
    let keys: Vec<&[u8]> = list.iter().map(|item| item.key).collect();
    let versions = column(|item| item.version.version.as_i64());
    let as_of = column(|item| item.version.as_of.as_i64());
    let states = word(|item| item.orphan, "orphan", "waiting");
    let reasons = word(|item| item.waits_for.unique, "unique", "parent");
    let wait_columns: Vec<Option<&str>> = list.iter().map(|item| item.waits_for.column).collect();
    let wait_tables: Vec<&str> = list.iter().map(|item| &*item.waits_for.table).collect();
    let wait_keys: Vec<&[u8]> = list.iter().map(|item| &*item.waits_for.key).collect();
    let topics: Vec<&str> = list.iter().map(|item| item.origin.0).collect();
    let partitions: Vec<i32> = list.iter().map(|item| item.origin.1).collect();
    let offsets = column(|item| item.origin.2);
    let times: Vec<Option<i64>> = list.iter().map(|item| item.origin.3).collect();
    let record_keys: Vec<&[u8]> = list.iter().map(|item| item.record_key).collect();
    let record_values: Vec<&[u8]> = list.iter().map(|item| item.record_value).collect();
    let incomplete: Vec<bool> = list.iter().map(|item| item.incomplete).collect();
    let wanted_keys: Vec<Option<&[u8]>> = list.iter().map(|item| item.wanted_key).collect();
    session
        .execute(
            &sql,
            &[
                &tables,
                &keys,
                &versions,
                &as_of,
                &states,
                &reasons,
                &wait_columns,
                &wait_tables,
                &wait_keys,
                &topics,
                &partitions,
                &offsets,
                &times,
                &record_keys,
                &record_values,
                &incomplete,
                &wanted_keys,
                &group,
            ],
        )
        .await
        .map(drop)
}

/// Parks documents of which only the records are kept ([`super::super::retained_records`]), for the rows that
/// they want, without reading them. What is parked for them stays.
///
/// # Errors
/// As [`write`].
pub async fn park_retained(
    session: &mut Session,
    group: &str,
    table: &str,
    sources: &[&[u8]],
) -> Result<(), Error> {
    let sql = format!(
        "insert into leafcutter.parked (table_name, row_key, version, as_of, state, reason, wait_table, \
         wait_key, topic, partition, \"offset\", record_time, record_key, record_value, incomplete, \
         wanted_key, consumer_group) \
         select $1, s.source_key, m.version, m.version, 'waiting', 'unique', $1, m.row_key, s.topic, \
         s.partition, s.\"offset\", s.record_time, s.record_key, s.record_value, true, m.row_key, $3 \
         from ({}) s join ({}) m on {} on conflict (table_name, {}) do nothing",
        retained_records::of_documents_sql("s.*"),
        key_map::of_documents_sql("s.*"),
        is_key("m.source_key", "s.source_key"),
        index_key("row_key")
    );
    if sources.is_empty() {
        return Ok(());
    }
    session
        .execute(&sql, &[&table, &sources, &group])
        .await
        .map(drop)
}

/// Removes what is parked for these rows (table, key) at or below these versions.
///
/// # Errors
/// As [`write`].
pub async fn remove(
    session: &mut Session,
    tables: &[&str],
    settled: &[(&[u8], Version)],
) -> Result<(), Error> {
    if settled.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "delete from leafcutter.parked p \
         using unnest($1::text[], $2::bytea[], $3::bigint[]) as k(t, k, v) \
         where p.table_name = k.t and {} and {}",
        is_key("p.row_key", "k.k"),
        sql::is_settled("p.version", "k.v")
    );
    let (keys, versions) = columns(settled);
    session
        .execute(&sql, &[&tables, &keys, &versions])
        .await
        .map(drop)
}

/// Notes that these documents were tried, so that the next round takes others.
///
/// # Errors
/// As [`write`].
pub async fn touch(session: &mut Session, tables: &[&str], keys: &[&[u8]]) -> Result<(), Error> {
    let sql = format!(
        "update leafcutter.parked p set tried_at = now() \
         from unnest($1::text[], $2::bytea[]) as k(t, k) where p.table_name = k.t and {}",
        is_key("p.row_key", "k.k")
    );
    session.execute(&sql, &[&tables, &keys]).await.map(drop)
}

/// Why a document is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// What it waits for never came. It is tried on.
    Orphan,
    /// PostgreSQL refuses it. It is not tried any more, but by a person.
    Refused,
}

/// Gives documents up where the same record waits still: their dead letters are written. They stay
/// parked, since they are part of what is stored. Gives how many.
///
/// # Errors
/// As [`write`].
pub async fn give_up(
    session: &mut Session,
    why: GivenUp,
    (tables, keys): (&[&str], &[&[u8]]),
    records: &Origins<'_>,
) -> Result<u64, Error> {
    let (from, state): (&[&str], &str) = match why {
        GivenUp::Orphan => (&["waiting"], "orphan"),
        GivenUp::Refused => (&["waiting", "orphan"], "refused"),
    };
    // Locked in the order in which batches lock.
    let sql = format!(
        "with sent as (select p.table_name, p.row_key from leafcutter.parked p \
        join unnest($1::text[], $2::bytea[], $3::text[], $4::int[], $5::bigint[]) as k(n, k, t, p, o) \
        on p.table_name = k.n and {} \
        and p.topic = k.t and p.partition = k.p and p.\"offset\" = k.o \
        where p.state = any($6) order by p.table_name, p.row_key for update of p) \
        update leafcutter.parked p set state = $7 from sent s \
        where p.table_name = s.table_name and {}",
        is_key("p.row_key", "k.k"),
        is_key("p.row_key", "s.row_key")
    );
    session
        .execute(
            &sql,
            &[
                &tables,
                &keys,
                &records.topics,
                &records.partitions,
                &records.offsets,
                &from,
                &state,
            ],
        )
        .await
}

/// Notes that a document is given up (O6).
///
/// # Errors
/// As [`write`].
pub async fn mark_orphan(session: &mut Session, table: &str, key: &[u8]) -> Result<(), Error> {
    let sql = format!(
        "update leafcutter.parked set state = 'orphan' \
         where table_name = $1 and {} and state = 'waiting'",
        is_key("row_key", "$2::bytea")
    );
    session.execute(&sql, &[&table, &key]).await.map(drop)
}

/// Documents of these tables that were parked under the keys of the rows they want are parked under their
/// own.
///
/// # Errors
/// As [`write`].
pub async fn adopt(session: &mut Session, tables: &[&str]) -> Result<(), Error> {
    const ADOPT: &str = "\
        update leafcutter.parked set wanted_key = row_key, row_key = record_key \
        where table_name = any($1) and wanted_key is null";
    session.execute(ADOPT, &[&tables]).await.map(drop)
}
