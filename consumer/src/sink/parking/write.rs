//! Parked rows written, and forgotten.

use super::split;
use crate::{
    decode::Stamp,
    model::Model,
    sink::{
        ApplyError,
        keys::lookup::Lookups,
        session::Session,
        work::{Obstacle, Provenance, RowId},
    },
    transform::Rows,
};
use leafcutter_schemas::version::Version;

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
