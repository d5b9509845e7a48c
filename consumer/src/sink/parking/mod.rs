//! Parked documents: what waits for a parent or for a unique value (`PROTOCOL.md` §3, §4).
//!
//! A parked document is part of what is stored: before a batch decides anything about a row it
//! locks what is parked for it (S2), and the guard compares with it. A batch that writes a parent
//! takes the documents that wait for it along, in the same transaction; those it cannot see, because
//! they are being parked at this moment, the settling task finds (S1).

mod pick;
mod write;

pub use pick::{PULLED_MAX, TRIED_MAX, lock_circles, lock_free, lock_own, lock_rest, pull_waiters};
pub use write::{ToPark, remove, write};

use super::{
    ApplyError, keys,
    session::Session,
    work::{Provenance, RowId},
};
use crate::{decode::Stamp, model::Model};
use leafcutter_schemas::version::Version;
use std::collections::BTreeSet;
use tokio_postgres::Row;

/// Which of the rarely used tables hold anything, as this transaction sees it. A row that another
/// transaction is taking away is still seen, so "nothing" is safe to act on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// Something is parked.
    pub parked: bool,
    /// Something is held.
    pub held: bool,
    /// There are open dead letters.
    pub dead_letters: bool,
    /// Rows are listed as lost.
    pub lost: bool,
}

impl Flags {
    /// Asks for them.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn read(session: &mut Session) -> Result<Self, ApplyError> {
        let statement = session
            .prepared(
                "select exists (select 1 from leafcutter.parked), \
                 exists (select 1 from leafcutter.held), \
                 exists (select 1 from leafcutter.dead_letters where state = 'open'), \
                 exists (select 1 from leafcutter.lost)",
            )
            .await?;
        let row = session.client().query_one(&statement, &[]).await?;
        Ok(Self {
            parked: row.get(0),
            held: row.get(1),
            dead_letters: row.get(2),
            lost: row.get(3),
        })
    }
}

/// A parked document as it was found.
#[derive(Debug, Clone)]
pub struct Parked {
    /// The root row it is parked for.
    pub row: RowId,
    /// Version and time of its image.
    pub stamp: Stamp,
    /// It was called an orphan.
    pub orphan: bool,
    /// It waits for a unique value, not for a parent.
    pub unique: bool,
    /// Where its record was read.
    pub provenance: Provenance,
    /// The record's key.
    pub record_key: Vec<u8>,
    /// The record's value.
    pub record_value: Vec<u8>,
    /// Seconds since it was parked.
    pub age_seconds: f64,
    /// The column that points to the missing parent.
    pub wait_column: Option<String>,
    /// The table it waits for.
    pub wait_table: String,
    /// The version of the tombstone of the row it waits for; zero where there is none.
    pub wait_tombstone: Version,
    /// It is there, but for child rows; its record is counted as applied.
    pub incomplete: bool,
}

/// The columns that [`Parked::read`] expects, of `leafcutter.parked p`.
const COLUMNS: &str = "p.table_name, p.row_key, p.version, p.as_of, p.state, p.reason, \
    p.topic, p.partition, p.\"offset\", p.record_time, p.record_key, p.record_value, \
    extract(epoch from now() - p.parked_at)::float8, p.wait_column, p.wait_table, \
    coalesce((select s.version from leafcutter.tombstones s \
    where s.table_name = p.wait_table and s.row_key = p.wait_key), 0), \
    p.incomplete";

impl Parked {
    /// Reads a row; `None` where its table or topic is none of this mapping.
    pub fn read(model: &Model, row: &Row) -> Option<Self> {
        let table = model.root_by_state_name(row.get(0))?;
        let stamp = Stamp {
            version: Version::from_i64(row.get(2))?,
            as_of: Version::from_i64(row.get(3))?,
            event: true,
        };
        Some(Self {
            row: (table, row.get(1)),
            stamp,
            orphan: row.get::<_, &str>(4) == "orphan",
            unique: row.get::<_, &str>(5) == "unique",
            provenance: Provenance {
                collection: model.collection_of_topic(row.get(6))?,
                partition: row.get(7),
                offset: row.get(8),
                timestamp: row.get(9),
            },
            record_key: row.get(10),
            record_value: row.get(11),
            age_seconds: row.get(12),
            wait_column: row.get(13),
            wait_table: row.get(14),
            wait_tombstone: Version::from_i64(row.get(15))?,
            incomplete: row.get(16),
        })
    }
}

fn split<'a>(model: &'a Model, rows: &[&'a RowId]) -> (Vec<&'a str>, Vec<&'a [u8]>) {
    rows.iter()
        .map(|(table, key)| (model.table(*table).state_name.as_str(), key.as_slice()))
        .unzip()
}

/// Those of these records (collection, partition, offset) that something is parked of, beside what
/// only lacks child rows.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn still_parked<'p>(
    session: &mut Session,
    model: &Model,
    records: impl Iterator<Item = &'p Provenance>,
) -> Result<BTreeSet<(usize, i32, i64)>, ApplyError> {
    let mut topics = Vec::new();
    let mut partitions = Vec::new();
    let mut offsets = Vec::new();
    for record in records {
        topics.push(model.collections[record.collection].topic.as_str());
        partitions.push(record.partition);
        offsets.push(record.offset);
    }
    let sql = "select distinct p.topic, p.partition, p.\"offset\" from leafcutter.parked p \
               join unnest($1::text[], $2::int[], $3::bigint[]) as k(t, p, o) \
               on p.topic = k.t and p.partition = k.p and p.\"offset\" = k.o \
               where not p.incomplete";
    let statement = session.prepared(sql).await?;
    let found = session
        .client()
        .query(&statement, &[&topics, &partitions, &offsets])
        .await?;
    Ok(found
        .iter()
        .filter_map(|row| {
            Some((
                model.collection_of_topic(row.get(0))?,
                row.get(1),
                row.get(2),
            ))
        })
        .collect())
}

/// Looks for the tombstones of the row that a document waits for where they do not stand under the
/// table's own name: where several collections fill it, each has its own; where a document's key is
/// not the row's, those of rows stand apart.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn look_for_tombstones(
    session: &mut Session,
    model: &Model,
    parked: &mut Parked,
) -> Result<(), ApplyError> {
    let filled = model.tables.iter().filter(|entry| {
        (entry.shared || entry.natural_key)
            && !parked.unique
            && entry.table.name.to_string() == parked.wait_table
    });
    let names: Vec<String> = filled
        .map(|entry| {
            if entry.natural_key {
                keys::tombstones_of_rows(&entry.state_name)
            } else {
                entry.state_name.clone()
            }
        })
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let sql = "select max(s.version) from leafcutter.parked p join leafcutter.tombstones s \
               on s.table_name = any($3) and s.row_key = p.wait_key \
               where p.table_name = $1 and p.row_key = $2";
    let statement = session.prepared(sql).await?;
    let own = &model.table(parked.row.0).state_name;
    let row = session
        .client()
        .query_one(&statement, &[own, &parked.row.1, &names])
        .await?;
    if let Some(newest) = row.get::<_, Option<i64>>(0).and_then(Version::from_i64) {
        parked.wait_tombstone = parked.wait_tombstone.max(newest);
    }
    Ok(())
}
