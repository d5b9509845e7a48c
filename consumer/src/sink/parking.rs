//! Parked documents: what waits for a parent or for a unique value (`PROTOCOL.md` §3, §4).
//!
//! A parked document is part of what is stored: before a batch decides anything about a row it
//! locks what is parked for it (S2), and the guard compares with it. A batch that writes a parent
//! takes the documents that wait for it along, in the same transaction; those it cannot see, because
//! they are being parked at this moment, the settling task finds (S1).

use super::{
    ApplyError,
    keys::{self, lookup::Lookups},
    session::Session,
    work::{Obstacle, Provenance, RowId},
};
use crate::{decode::Stamp, model::Model, transform::Rows};
use leafcutter_schemas::version::Version;
use std::collections::BTreeSet;
use tokio_postgres::{Row, types::ToSql};

/// Most waiting documents that one batch takes along; the settling task does the rest.
pub const PULLED_MAX: usize = 5_000;

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
    Ok(found
        .iter()
        .filter_map(|row| Parked::read(model, row))
        .collect())
}

/// Locks and returns documents that wait for each other in a circle.
///
/// # Errors
/// When PostgreSQL is lost or another session holds the lock for too long.
pub async fn lock_circles(session: &mut Session, model: &Model) -> Result<Vec<Parked>, ApplyError> {
    let sql = format!(
        "with recursive walk (table_name, row_key, wait_table, wait_key) as (\
         select p.table_name, p.row_key, p.wait_table, p.wait_key from leafcutter.parked p \
         where p.table_name = any($1) and p.reason = 'parent' and p.state = 'waiting' \
         and p.tried_at < now() - interval '0.5 s' \
         union select w.table_name, w.row_key, q.wait_table, q.wait_key from walk w \
         join {NAMED} on k.named = w.wait_table join leafcutter.parked q \
         on q.table_name = k.state and q.row_key = w.wait_key \
         where q.reason = 'parent' and q.state = 'waiting') \
         select distinct w.table_name, w.row_key from walk w join {NAMED} \
         on k.named = w.wait_table where k.state = w.table_name and w.wait_key = w.row_key \
         order by 1, 2 limit {PULLED_MAX}"
    );
    let circular: Vec<&str> = model
        .circular
        .iter()
        .map(|&root| model.table(root).state_name.as_str())
        .collect();
    if circular.is_empty() {
        return Ok(Vec::new());
    }
    let (names, states) = named(model);
    let statement = session.prepared(&sql).await?;
    let found = session
        .client()
        .query(&statement, &[&circular, &names, &states])
        .await?;
    let rows: Vec<RowId> = found
        .iter()
        .filter_map(|row| Some((model.root_by_state_name(row.get(0))?, row.get(1))))
        .collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
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
    Ok(found
        .iter()
        .filter_map(|row| Parked::read(model, row))
        .collect())
}

/// One document to park.
#[derive(Debug)]
pub struct ToPark<'a> {
    /// Its root row.
    pub row: RowId,
    /// Version and time of its image.
    pub stamp: Stamp,
    /// What it waits for.
    pub obstacle: Obstacle,
    /// The root row among the encoded rows.
    pub encoded: usize,
    /// It is an orphan already.
    pub orphan: bool,
    /// Its record is counted already.
    pub incomplete: bool,
    /// Where its record was read.
    pub provenance: &'a Provenance,
    /// The record's key.
    pub record_key: &'a [u8],
    /// The record's value.
    pub record_value: &'a [u8],
}

/// The columns of parked rows, as parameters for one statement.
#[derive(Default)]
struct Columns<'a> {
    table: Vec<&'a str>,
    row_key: Vec<&'a [u8]>,
    version: Vec<i64>,
    as_of: Vec<i64>,
    state: Vec<&'a str>,
    reason: Vec<&'a str>,
    wait_column: Vec<Option<&'a str>>,
    wait_table: Vec<String>,
    wait_key: Vec<Vec<u8>>,
    topic: Vec<&'a str>,
    partition: Vec<i32>,
    offset: Vec<i64>,
    record_time: Vec<Option<i64>>,
    record_key: Vec<&'a [u8]>,
    record_value: Vec<&'a [u8]>,
    incomplete: Vec<bool>,
}

const WRITE: &str = "\
    insert into leafcutter.parked as p (table_name, row_key, version, as_of, state, reason, \
    wait_column, wait_table, wait_key, topic, partition, \"offset\", record_time, record_key, \
    record_value, incomplete, consumer_group) \
    select u.*, $17 from unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[], \
    $6::text[], $7::text[], $8::text[], $9::bytea[], $10::text[], $11::int[], $12::bigint[], \
    $13::bigint[], $14::bytea[], $15::bytea[], $16::bool[]) as u order by 1, 2 \
    on conflict (table_name, row_key) do update set \
    parked_at = case when p.version = excluded.version then p.parked_at else now() end, \
    state = case when p.version = excluded.version and p.state = 'orphan' then 'orphan' \
    else excluded.state end, \
    version = excluded.version, as_of = excluded.as_of, reason = excluded.reason, \
    wait_column = excluded.wait_column, wait_table = excluded.wait_table, \
    wait_key = excluded.wait_key, topic = excluded.topic, partition = excluded.partition, \
    \"offset\" = excluded.\"offset\", record_time = excluded.record_time, \
    record_key = excluded.record_key, record_value = excluded.record_value, \
    incomplete = excluded.incomplete, \
    consumer_group = excluded.consumer_group, tried_at = now() \
    where p.version <= excluded.version";

/// Parks documents. What is parked at a higher version stays.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn write(
    session: &mut Session,
    model: &Model,
    group: &str,
    (rows, lookups): (&Rows, &Lookups),
    list: &[ToPark<'_>],
) -> Result<(), ApplyError> {
    if list.is_empty() {
        return Ok(());
    }
    let mut c = Columns::default();
    for item in list {
        let entry = model.table(item.row.0);
        let (reason, wait_column, wait_table, wait_key) = match item.obstacle {
            Obstacle::Parent(_) | Obstacle::Row { .. } => {
                let (check, row) = match item.obstacle {
                    Obstacle::Row {
                        table,
                        reference,
                        row,
                    } => (&model.table(table).sql.references[reference], row),
                    Obstacle::Parent(index) | Obstacle::Unique(index) => {
                        (&entry.sql.references[index], item.encoded)
                    }
                    Obstacle::Foreign | Obstacle::Key => continue,
                };
                let wanted = lookups.wanted(rows, row, check.column);
                let key = wanted.unwrap_or_default().to_vec();
                (
                    "parent",
                    Some(check.full_name.as_str()),
                    check.parent.to_string(),
                    key,
                )
            }
            Obstacle::Foreign | Obstacle::Key => {
                let key = rows.key(item.encoded).to_vec();
                ("unique", None, entry.state_name.clone(), key)
            }
            Obstacle::Unique(index) => {
                let mut key = Vec::new();
                for &column in &entry.sql.unique[index].columns {
                    let value = rows.field(item.encoded, column).unwrap_or_default();
                    key.extend_from_slice(
                        &u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes(),
                    );
                    key.extend_from_slice(value);
                }
                let first = entry.sql.unique[index].columns.first();
                let column = first.map(|&column| entry.table.columns[column].name.as_str());
                ("unique", column, entry.state_name.clone(), key)
            }
        };
        c.table.push(&entry.state_name);
        c.row_key.push(&item.row.1);
        c.version.push(item.stamp.version.as_i64());
        c.as_of.push(item.stamp.as_of.as_i64());
        c.state.push(if item.orphan { "orphan" } else { "waiting" });
        c.reason.push(reason);
        c.wait_column.push(wait_column);
        c.wait_table.push(wait_table);
        c.wait_key.push(wait_key);
        c.topic
            .push(&model.collections[item.provenance.collection].topic);
        c.partition.push(item.provenance.partition);
        c.offset.push(item.provenance.offset);
        c.record_time.push(item.provenance.timestamp);
        c.record_key.push(item.record_key);
        c.record_value.push(item.record_value);
        c.incomplete.push(item.incomplete);
    }
    let statement = session.prepared(WRITE).await?;
    session
        .client()
        .execute(
            &statement,
            &[
                &c.table,
                &c.row_key,
                &c.version,
                &c.as_of,
                &c.state,
                &c.reason,
                &c.wait_column,
                &c.wait_table,
                &c.wait_key,
                &c.topic,
                &c.partition,
                &c.offset,
                &c.record_time,
                &c.record_key,
                &c.record_value,
                &c.incomplete,
                &group,
            ],
        )
        .await?;
    Ok(())
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

/// Forgets what is parked for these rows at or below these versions.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn remove(
    session: &mut Session,
    model: &Model,
    list: &[(&RowId, Version)],
) -> Result<(), ApplyError> {
    if list.is_empty() {
        return Ok(());
    }
    let rows: Vec<&RowId> = list.iter().map(|(row, _)| *row).collect();
    let (tables, keys) = split(model, &rows);
    let versions: Vec<i64> = list.iter().map(|(_, version)| version.as_i64()).collect();
    let statement = session
        .prepared(
            "delete from leafcutter.parked p \
             using unnest($1::text[], $2::bytea[], $3::bigint[]) as k(t, k, v) \
             where p.table_name = k.t and p.row_key = k.k and p.version <= k.v",
        )
        .await?;
    session
        .client()
        .execute(&statement, &[&tables, &keys, &versions])
        .await?;
    Ok(())
}
