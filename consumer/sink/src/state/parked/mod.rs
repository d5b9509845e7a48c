//! `leafcutter.parked`: documents that wait for a parent or for a unique value (`docs/protocol.md`,
//! Parking).
//!
//! A parked document is part of what is stored: before a batch decides anything about a row it
//! locks what is parked for it (S2), and the guard compares with it. A batch that writes a parent
//! releases the documents that wait for it, in the same transaction; those it cannot see, because
//! they are being parked at this moment, the settling task finds (S1).

mod cycles;
mod gone;
mod select;
mod write;

pub use cycles::lock_cycles;
pub use gone::gone;
pub use select::{
    AwaitedKey, RELEASED_MAX, TAKEN_BYTES_MAX, TRIED_MAX, WaitTables, awaited, lock_free,
    lock_holders, lock_of_rows, lock_rest, lock_these, lock_waiters,
};
pub use write::{
    GivenUp, ToPark, WaitsFor, adopt, give_up, mark_orphan, park_retained, remove, touch, write,
};

use super::{stagings, tombstones};
use crate::session::Session;
use leafcutter_schemas::version::Version;
use tokio_postgres::{Error, Row};

/// Whether anything is parked, as an expression.
pub(crate) const ANY: &str = "exists (select 1 from leafcutter.parked)";

/// A parked document as it was found.
#[derive(Debug, Clone)]
pub struct ParkedRow {
    /// Its root table, as the state names it.
    pub table: String,
    /// The root row's key.
    pub key: Vec<u8>,
    /// The version of its image.
    pub version: Version,
    /// The latest time at which the image was read.
    pub as_of: Version,
    /// Its parent is known to be missing, or its value never came free: it has a dead letter.
    pub orphan: bool,
    /// It waits for a unique value, not for a parent.
    pub unique: bool,
    /// Its record's topic.
    pub topic: String,
    /// Its record's partition.
    pub partition: i32,
    /// Its record's offset.
    pub offset: i64,
    /// The broker's timestamp.
    pub timestamp: Option<i64>,
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
    /// The key of the row it waits for.
    pub wait_key: Vec<u8>,
    /// The version of the tombstone of the row it waits for; zero where there is none.
    pub wait_tombstone: Version,
    /// Only child rows of it wait: the document itself is there, and its record counted as applied.
    pub incomplete: bool,
}

/// The columns that [`ParkedRow::read`] expects, of `leafcutter.parked p`.
fn columns() -> String {
    columns_with("p.record_value")
}

/// The same, with this in place of the record's value.
fn columns_with(value: &str) -> String {
    format!(
        "p.table_name, p.row_key, p.version, p.as_of, p.state = 'orphan', p.reason = 'unique', \
         p.topic, p.partition, p.\"offset\", p.record_time, p.record_key, {value}, \
         extract(epoch from now() - p.parked_at)::float8, p.wait_column, p.wait_table, p.wait_key, \
         {}, p.incomplete",
        tombstones::version_of("p.wait_table", "p.wait_key")
    )
}

impl ParkedRow {
    fn read(row: &Row) -> Option<Self> {
        Some(Self {
            table: row.get(0),
            key: row.get(1),
            version: Version::from_i64(row.get(2))?,
            as_of: Version::from_i64(row.get(3))?,
            orphan: row.get(4),
            unique: row.get(5),
            topic: row.get(6),
            partition: row.get(7),
            offset: row.get(8),
            timestamp: row.get(9),
            record_key: row.get(10),
            record_value: row.get(11),
            age_seconds: row.get(12),
            wait_column: row.get(13),
            wait_table: row.get(14),
            wait_key: row.get(15),
            wait_tombstone: Version::from_i64(row.get(16))?,
            incomplete: row.get(17),
        })
    }
}

/// Documents of one topic that wait for the same thing.
#[derive(Debug, Clone)]
pub struct WaitingDocuments {
    /// Their topic.
    pub topic: String,
    /// For a unique value, not for a parent.
    pub unique: bool,
    /// Given up already.
    pub orphan: bool,
    /// The table whose row is missing.
    pub wait_table: String,
    /// How many.
    pub documents: i64,
}

/// A parked document, without its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedDocument {
    /// The key of its record.
    pub record_key: Vec<u8>,
    /// The version of its image.
    pub version: i64,
    /// `waiting`, `orphan` or `refused`.
    pub state: String,
    /// It waits for a unique value, not for a parent.
    pub unique: bool,
    /// The table whose row it waits for.
    pub wait_table: String,
    /// Only child rows of it wait.
    pub incomplete: bool,
}

/// What is parked of these documents of a topic, by the keys of their records.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn of_documents(
    session: &mut Session,
    topic: &str,
    record_keys: &[&[u8]],
) -> Result<Vec<ParkedDocument>, Error> {
    let sql = format!(
        "select record_key, version, state, reason = 'unique', wait_table, incomplete \
         from leafcutter.parked where topic = $1 and record_key = any($2) and {}",
        stagings::of_live("consumer_group")
    );
    if record_keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.query(&sql, &[&topic, &record_keys]).await?;
    let read = |row: &Row| ParkedDocument {
        record_key: row.get(0),
        version: row.get(1),
        state: row.get(2),
        unique: row.get(3),
        wait_table: row.get(4),
        incomplete: row.get(5),
    };
    Ok(rows.iter().map(read).collect())
}

/// How many documents wait, and for what. What was refused waits for a person, and is a dead letter.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn count(session: &mut Session) -> Result<Vec<WaitingDocuments>, Error> {
    let sql = format!(
        "select topic, reason = 'unique', state = 'orphan', wait_table, count(*) \
         from leafcutter.parked where state <> 'refused' and {} group by 1, 2, 3, 4 order by 1, 2, 3, 4",
        stagings::of_live("consumer_group")
    );
    let rows = session.query(&sql, &[]).await?;
    let read = |row: &Row| WaitingDocuments {
        topic: row.get(0),
        unique: row.get(1),
        orphan: row.get(2),
        wait_table: row.get(3),
        documents: row.get(4),
    };
    Ok(rows.iter().map(read).collect())
}

/// How many documents wait that a group has parked.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn of_group(session: &mut Session, group: &str) -> Result<i64, Error> {
    const COUNT: &str = "\
        select count(*) from leafcutter.parked where state = 'waiting' and consumer_group = $1";
    Ok(session.query_one(COUNT, &[&group]).await?.get(0))
}
