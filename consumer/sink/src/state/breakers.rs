//! `leafcutter.breakers`: how many records of a collection in a row could not be applied, and whether
//! that was too many.
//!
//! It is counted in the transaction that moves past the records, over all consumers of a group, so no
//! restart and no other consumer begins anew. Once it is open it stays open until a person resumes the
//! collection. There is a row only while there are failures: usually the table is empty.

use crate::session::Session;
use serde::Serialize;
use tokio_postgres::{Error, Row};

/// Whether any record could not be applied lately, as an expression.
pub(crate) const ANY: &str = "exists (select 1 from leafcutter.breakers)";

/// What a batch has seen of one collection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failures<'a> {
    /// A record was applied.
    pub applied: bool,
    /// Records after it, or since the batch before, that could not be.
    pub in_a_row: i64,
    /// Why not the last one.
    pub reason: Option<&'a str>,
}

/// The failures of one collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakerRow {
    /// Its topic.
    pub topic: String,
    /// Records in a row that could not be applied.
    pub failures: i64,
    /// Why not the last one.
    pub reason: Option<String>,
    /// Seconds since it was too many.
    pub open_seconds: Option<i64>,
}

const COLUMNS: &str =
    "topic, failures, reason, extract(epoch from clock_timestamp() - opened_at)::bigint";

impl BreakerRow {
    fn read(row: &Row) -> Self {
        Self {
            topic: row.get(0),
            failures: row.get(1),
            reason: row.get(2),
            open_seconds: row.get(3),
        }
    }

    /// Whether it was too many.
    pub fn is_open(&self) -> bool {
        self.open_seconds.is_some()
    }
}

/// What became of a batch's failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// There were none.
    None,
    /// They are counted.
    Row(BreakerRow),
    /// Those of others before them leave too little room, or none since the breaker is open. This is where it
    /// stood; the transaction has to be taken back.
    TooMany(BreakerRow),
}

/// Adds a batch's failures in a topic. The breaker opens at `limit` in a row.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn count(
    session: &mut Session,
    group: &str,
    topic: &str,
    seen: &Failures<'_>,
    limit: u32,
) -> Result<Counted, Error> {
    const OPEN: &str = "\
        select opened_at is not null from leafcutter.breakers \
        where consumer_group = $1 and topic = $2 for update";
    const FORGET: &str = "\
        delete from leafcutter.breakers \
        where consumer_group = $1 and topic = $2 and opened_at is null";
    if seen.applied {
        session.execute(FORGET, &[&group, &topic]).await?;
    }
    if seen.in_a_row == 0 {
        return Ok(Counted::None);
    }
    let known = session.query(OPEN, &[&group, &topic]).await?;
    let sql = format!(
        "insert into leafcutter.breakers as b (consumer_group, topic, failures, reason, opened_at) \
         values ($1, $2, $3::bigint, $4::text, case when $3 >= $5::bigint then clock_timestamp() end) \
         on conflict (consumer_group, topic) do update set failures = b.failures + excluded.failures, \
         reason = excluded.reason, opened_at = coalesce(b.opened_at, \
         case when b.failures + excluded.failures >= $5 then clock_timestamp() end) \
         returning {COLUMNS}"
    );
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [
        &group,
        &topic,
        &seen.in_a_row,
        &seen.reason,
        &i64::from(limit),
    ];
    let row = session.query_one(&sql, &parameters).await?;
    let row = BreakerRow::read(&row);
    let before = row.failures - seen.in_a_row;
    let limit = i64::from(limit);
    // A row that was not there to be looked at has come meanwhile, by another consumer.
    let was_open = known
        .first()
        .map_or(before >= limit, |known| known.get::<_, bool>(0));
    // Where the limit was lowered, one record more opens it.
    let room = (limit - before).max(1);
    if !was_open && seen.in_a_row <= room {
        return Ok(Counted::Row(row));
    }
    Ok(Counted::TooMany(BreakerRow {
        failures: before,
        open_seconds: row.open_seconds.filter(|_| was_open),
        ..row
    }))
}

/// The collections of a group of which records could not be applied lately, open ones first.
///
/// # Errors
/// As [`count`].
pub async fn rows(session: &mut Session, group: &str) -> Result<Vec<BreakerRow>, Error> {
    let sql = format!(
        "select {COLUMNS} from leafcutter.breakers where consumer_group = $1 \
         order by opened_at is null, topic"
    );
    let rows = session.query(&sql, &[&group]).await?;
    Ok(rows.iter().map(BreakerRow::read).collect())
}

/// The collections of a group whose breaker is open.
///
/// # Errors
/// As [`count`].
pub async fn open(session: &mut Session, group: &str) -> Result<Vec<BreakerRow>, Error> {
    let mut rows = rows(session, group).await?;
    rows.retain(BreakerRow::is_open);
    Ok(rows)
}

/// Forgets the failures of these topics, since a person says that they are mended; without topics those
/// of all. Gives what was open.
///
/// # Errors
/// As [`count`].
pub async fn resume(
    session: &mut Session,
    group: &str,
    topics: Option<&[String]>,
) -> Result<Vec<BreakerRow>, Error> {
    let sql = format!(
        "delete from leafcutter.breakers where consumer_group = $1 \
         and ($2::text[] is null or topic = any($2)) returning {COLUMNS}"
    );
    let rows = session.query(&sql, &[&group, &topics]).await?;
    let mut rows: Vec<BreakerRow> = rows.iter().map(BreakerRow::read).collect();
    rows.retain(BreakerRow::is_open);
    rows.sort_by(|a, b| a.topic.cmp(&b.topic));
    Ok(rows)
}
