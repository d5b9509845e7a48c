//! `leafcutter.retained_records`: the records of all documents that want a row where the newest wins.
//!
//! The winner's is kept as well: when it loses to a newer document its record was read long ago, and
//! its rows are about to be overwritten.

use super::{KEYS, index_key, is_key};
use crate::session::Session;
use tokio_postgres::{Error, Row};

/// A document's record. `source_key` is the document's own key.
#[derive(Debug, Clone)]
pub struct RetainedRecord {
    /// The document's own key.
    pub source_key: Vec<u8>,
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp.
    pub timestamp: Option<i64>,
    /// Its key.
    pub record_key: Vec<u8>,
    /// Its value.
    pub record_value: Vec<u8>,
}

impl RetainedRecord {
    /// None where its value was not read.
    fn read(row: &Row) -> Option<Self> {
        Some(Self {
            source_key: row.get(0),
            topic: row.get(1),
            partition: row.get(2),
            offset: row.get(3),
            timestamp: row.get(4),
            record_key: row.get(5),
            record_value: row.get::<_, Option<Vec<u8>>>(6)?,
        })
    }
}

/// Records to keep, as parameters of one statement.
#[derive(Debug, Default)]
pub struct ToRetain<'a> {
    source_keys: Vec<&'a [u8]>,
    topics: Vec<&'a str>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    times: Vec<Option<i64>>,
    record_keys: Vec<&'a [u8]>,
    record_values: Vec<&'a [u8]>,
}

impl<'a> ToRetain<'a> {
    /// Adds the record of a document: where it was read, its key and its value.
    pub fn push(
        &mut self,
        source_key: &'a [u8],
        (topic, partition, offset, timestamp): (&'a str, i32, i64, Option<i64>),
        (record_key, record_value): (&'a [u8], &'a [u8]),
    ) {
        self.source_keys.push(source_key);
        self.topics.push(topic);
        self.partitions.push(partition);
        self.offsets.push(offset);
        self.times.push(timestamp);
        self.record_keys.push(record_key);
        self.record_values.push(record_value);
    }
}

/// Keeps these records; what is the same is not touched.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn write(session: &mut Session, table: &str, keep: &ToRetain<'_>) -> Result<(), Error> {
    let sql = format!(
        "insert into leafcutter.retained_records as s (table_name, source_key, topic, partition, \"offset\", \
        record_time, record_key, record_value) \
        select $1, u.* from unnest($2::bytea[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], \
        $7::bytea[], $8::bytea[]) as u \
        on conflict (table_name, {}) do update set topic = excluded.topic, \
        partition = excluded.partition, \"offset\" = excluded.\"offset\", \
        record_time = excluded.record_time, record_key = excluded.record_key, \
        record_value = excluded.record_value where s.record_value <> excluded.record_value",
        index_key("source_key")
    );
    if keep.source_keys.is_empty() {
        return Ok(());
    }
    session
        .execute(
            &sql,
            &[
                &table,
                &keep.source_keys,
                &keep.topics,
                &keep.partitions,
                &keep.offsets,
                &keep.times,
                &keep.record_keys,
                &keep.record_values,
            ],
        )
        .await
        .map(drop)
}

/// The records of these documents, no more than `room` bytes of them, but one where `first` says that none was
/// taken up before; and the keys of those that are left.
///
/// # Errors
/// As [`write`].
pub async fn of_documents(
    session: &mut Session,
    table: &str,
    sources: &[&[u8]],
    (room, first): (i64, bool),
) -> Result<(Vec<RetainedRecord>, Vec<Vec<u8>>), Error> {
    let sql = format!(
        "select s.source_key, s.topic, s.partition, s.\"offset\", s.record_time, s.record_key, \
         case when s.total <= $3::bigint or ($4::bool and s.total = octet_length(s.record_value)) \
         then s.record_value end from (select s.*, sum(octet_length(s.record_value)) \
         over (order by s.source_key rows unbounded preceding) as total from ({}) s) s",
        of_documents_sql("s.*")
    );
    let (mut records, mut left) = (Vec::new(), Vec::new());
    if sources.is_empty() {
        return Ok((records, left));
    }
    for row in session
        .query(&sql, &[&table, &sources, &room, &first])
        .await?
    {
        match RetainedRecord::read(&row) {
            Some(record) => records.push(record),
            None => left.push(row.get(0)),
        }
    }
    Ok((records, left))
}

/// A query for the records of the documents `$2` of the table `$1`, these columns of `s`.
pub(super) fn of_documents_sql(columns: &str) -> String {
    format!(
        "select {columns} from leafcutter.retained_records s join {KEYS} on s.table_name = $1 and {}",
        is_key("s.source_key", "k.k")
    )
}

/// Forgets the records of these documents.
///
/// # Errors
/// As [`write`].
pub async fn remove(session: &mut Session, table: &str, sources: &[&[u8]]) -> Result<(), Error> {
    let sql = format!(
        "delete from leafcutter.retained_records s using {KEYS} where s.table_name = $1 and {}",
        is_key("s.source_key", "k.k")
    );
    if sources.is_empty() {
        return Ok(());
    }
    session.execute(&sql, &[&table, &sources]).await.map(drop)
}
