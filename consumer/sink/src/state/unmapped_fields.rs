//! `leafcutter.unmapped_fields`: fields of documents that no column takes.
//!
//! Counted beside the batches, not in them: a record that is applied again counts again, and what a consumer
//! counted in its last seconds may be lost with it. So the numbers are near, and a field that is there is
//! named all the same.

use crate::session::Session;
use tokio_postgres::{Error, Row};

/// A field that no column takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmappedField {
    /// The topic of its collection.
    pub topic: String,
    /// Where it is: `address.zip`, in the elements of an array `orders[].note`.
    pub path: String,
    /// The BSON types that were seen, by name.
    pub types: Vec<String>,
    /// About how many documents or elements had it.
    pub documents: i64,
}

/// A field, and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmappedFieldRow {
    /// The field.
    pub field: UnmappedField,
    /// When it was first seen, as `2026-01-31 12:00:00 UTC`.
    pub first_at: String,
    /// When it was last seen.
    pub last_at: String,
}

impl UnmappedFieldRow {
    fn read(row: &Row) -> Self {
        let types: String = row.get(2);
        Self {
            field: UnmappedField {
                topic: row.get(0),
                path: row.get(1),
                types: types.split(',').map(str::to_owned).collect(),
                documents: row.get(3),
            },
            first_at: row.get(4),
            last_at: row.get(5),
        }
    }
}

/// Adds to what is counted.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn add(
    session: &mut Session,
    group: &str,
    fields: &[UnmappedField],
) -> Result<(), Error> {
    // In the order of the key, as every consumer adds.
    const ADD: &str = "\
        insert into leafcutter.unmapped_fields as f (consumer_group, topic, path, types, documents) \
        select $1, u.* from unnest($2::text[], $3::text[], $4::text[], $5::bigint[]) as u order by 1, 2, 3 \
        on conflict (consumer_group, topic, path) do update set \
        types = (select string_agg(distinct t, ',' order by t) \
        from unnest(string_to_array(f.types || ',' || excluded.types, ',')) as t), \
        documents = f.documents + excluded.documents, last_at = now()";
    let topics: Vec<&str> = fields.iter().map(|field| &*field.topic).collect();
    let paths: Vec<&str> = fields.iter().map(|field| &*field.path).collect();
    let types: Vec<String> = fields.iter().map(|field| field.types.join(",")).collect();
    let documents: Vec<i64> = fields.iter().map(|field| field.documents).collect();
    session
        .execute(ADD, &[&group, &topics, &paths, &types, &documents])
        .await
        .map(drop)
}

/// The fields of a group, those of most documents first.
///
/// # Errors
/// As [`add`].
pub async fn rows(session: &mut Session, group: &str) -> Result<Vec<UnmappedFieldRow>, Error> {
    const ROWS: &str = "\
        select topic, path, types, documents, \
        to_char(first_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), \
        to_char(last_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"') \
        from leafcutter.unmapped_fields where consumer_group = $1 order by topic, documents desc, path";
    let rows = session.query(ROWS, &[&group]).await?;
    Ok(rows.iter().map(UnmappedFieldRow::read).collect())
}

/// Forgets what was counted of these topics; gives how many fields.
///
/// # Errors
/// As [`add`].
pub async fn forget(session: &mut Session, group: &str, topics: &[String]) -> Result<u64, Error> {
    const FORGET: &str = "\
        delete from leafcutter.unmapped_fields where consumer_group = $1 and topic = any($2)";
    session.execute(FORGET, &[&group, &topics]).await
}
