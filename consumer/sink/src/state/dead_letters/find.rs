//! Which dead letters are listed: by what they have in common, one by one, and how many.

use crate::session::Session;
use leafcutter_schemas::dead_letter::Origin;
use serde::Serialize;
use tokio_postgres::{Error, Row, types::ToSql};

/// A row of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterRow {
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The root table of its collection.
    pub table: String,
    /// The document key.
    pub document_key: Option<String>,
    /// Its version.
    pub version: Option<i64>,
    /// Where it was refused.
    pub stage: String,
    /// Why, in a word.
    pub reason: String,
    /// The column concerned.
    pub column: Option<String>,
    /// The path concerned.
    pub path: Option<String>,
    /// What PostgreSQL answered.
    pub sqlstate: Option<String>,
    /// Why, in a sentence.
    pub message: String,
    /// `open`, `superseded`, `retried` or `discarded`.
    pub state: String,
    /// The mapping under which it was refused.
    pub mapping: String,
    /// Seconds since then.
    pub age_seconds: i64,
    /// Why a person has given it up.
    pub discard_reason: Option<String>,
    /// When, seconds since 1970.
    pub discarded_at: Option<i64>,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of this topic.
    pub topic: Option<String>,
    /// Those with this reason.
    pub reason: Option<String>,
    /// Those in this state.
    pub state: Option<&'static str>,
    /// Those of this root table.
    pub table: Option<String>,
    /// Those of this column.
    pub column: Option<String>,
    /// Those to which PostgreSQL answered this.
    pub sqlstate: Option<String>,
    /// Those listed at this moment or later: seconds since 1970, or before now where it is negative.
    pub since: Option<f64>,
    /// Those listed before this moment.
    pub before: Option<f64>,
    /// These only.
    pub ids: Option<Vec<Origin>>,
}

/// What the filter's conditions look at, by its parameters `$1` to `$11`: dead letters of the tables in use.
pub(super) const FILTER: &str = "\
    staged_in = '' and ($1::text is null or topic = $1) and ($2::text is null or reason = $2) \
    and ($3::text is null or state = $3) and ($4::text[] is null or exists \
    (select 1 from unnest($4, $5::int[], $6::bigint[]) as k(t, p, o) \
    where k.t = d.topic and k.p = d.partition and k.o = d.\"offset\")) \
    and ($7::text is null or table_name = $7) and ($8::text is null or column_name = $8) \
    and ($9::text is null or sqlstate = $9) \
    and ($10::float8 is null or created_at >= case when $10 < 0 \
    then now() + make_interval(secs => $10) else to_timestamp($10) end) \
    and ($11::float8 is null or created_at < case when $11 < 0 \
    then now() + make_interval(secs => $11) else to_timestamp($11) end)";

/// A filter's ids, as the statement takes them.
#[derive(Debug)]
pub(super) struct Ids<'f> {
    topics: Option<Vec<&'f str>>,
    partitions: Option<Vec<i32>>,
    offsets: Option<Vec<i64>>,
}

impl Filter {
    pub(super) fn ids(&self) -> Ids<'_> {
        let ids = self.ids.as_deref();
        Ids {
            topics: ids.map(|ids| ids.iter().map(|id| id.topic.as_str()).collect()),
            partitions: ids.map(|ids| ids.iter().map(|id| id.partition).collect()),
            offsets: ids.map(|ids| ids.iter().map(|id| id.offset).collect()),
        }
    }

    /// The values of `$1` to `$11`.
    pub(super) fn values<'f>(&'f self, ids: &'f Ids<'f>) -> Vec<&'f (dyn ToSql + Sync)> {
        vec![
            &self.topic,
            &self.reason,
            &self.state,
            &ids.topics,
            &ids.partitions,
            &ids.offsets,
            &self.table,
            &self.column,
            &self.sqlstate,
            &self.since,
            &self.before,
        ]
    }
}

/// The dead letters of a filter, the newest first; without a limit all of them.
///
/// # Errors
/// As [`list`](super::list).
pub async fn find(
    session: &mut Session,
    filter: &Filter,
    limit: Option<u32>,
) -> Result<Vec<DeadLetterRow>, Error> {
    let sql = format!(
        "select {COLUMNS} from leafcutter.dead_letters d where {FILTER} \
         order by created_at desc, topic, partition, \"offset\" limit $12"
    );
    let ids = filter.ids();
    let limit = limit.map(i64::from);
    let mut values = filter.values(&ids);
    values.push(&limit);
    let rows = session.query(&sql, &values).await?;
    Ok(rows.iter().map(DeadLetterRow::read).collect())
}

const COLUMNS: &str = "topic, partition, \"offset\", table_name, source_key, version, stage, reason, \
    column_name, path, sqlstate, message, state, mapping, \
    greatest(extract(epoch from now() - created_at)::bigint, 0), discard_reason, \
    extract(epoch from discarded_at)::bigint";

impl DeadLetterRow {
    fn read(row: &Row) -> Self {
        Self {
            topic: row.get(0),
            partition: row.get(1),
            offset: row.get(2),
            table: row.get(3),
            document_key: row.get(4),
            version: row.get(5),
            stage: row.get(6),
            reason: row.get(7),
            column: row.get(8),
            path: row.get(9),
            sqlstate: row.get(10),
            message: row.get(11),
            state: row.get(12),
            mapping: row.get(13),
            age_seconds: row.get(14),
            discard_reason: row.get(15),
            discarded_at: row.get(16),
        }
    }
}

/// Dead letters of one cause.
#[derive(Debug, Clone, Serialize)]
pub struct Cause {
    /// How many.
    pub dead_letters: i64,
    /// The newest one. All of a cause have its topic, table, column, reason and SQLSTATE.
    pub example: DeadLetterRow,
}

/// How many dead letters of a filter have each cause, the most first.
///
/// # Errors
/// As [`list`](super::list).
pub async fn causes(session: &mut Session, filter: &Filter) -> Result<Vec<Cause>, Error> {
    let sql = format!(
        "select {COLUMNS}, n from (select d.*, \
         count(*) over cause as n, row_number() over (cause order by created_at desc, partition, \
         \"offset\") as place from leafcutter.dead_letters d where {FILTER} \
         window cause as (partition by topic, table_name, column_name, reason, sqlstate)) d \
         where place = 1 order by n desc, topic, table_name, column_name, reason"
    );
    let ids = filter.ids();
    let rows = session.query(&sql, &filter.values(&ids)).await?;
    let read = |row: &Row| Cause {
        dead_letters: row.get(17),
        example: DeadLetterRow::read(row),
    };
    Ok(rows.iter().map(read).collect())
}

/// How many dead letters a filter has.
///
/// # Errors
/// As [`list`](super::list).
pub async fn count(session: &mut Session, filter: &Filter) -> Result<i64, Error> {
    let sql = format!("select count(*) from leafcutter.dead_letters d where {FILTER}");
    let ids = filter.ids();
    let row = session.query_one(&sql, &filter.values(&ids)).await?;
    Ok(row.get(0))
}

/// Open dead letters of one topic and reason.
#[derive(Debug, Clone)]
pub struct CountedDeadLetters {
    /// Their topic.
    pub topic: String,
    /// Their reason.
    pub reason: String,
    /// How many.
    pub dead_letters: i64,
}

/// How many dead letters are in these states, by topic and reason, the most first.
///
/// # Errors
/// As [`list`](super::list).
pub async fn count_by_reason(
    session: &mut Session,
    states: &[&str],
) -> Result<Vec<CountedDeadLetters>, Error> {
    const COUNT: &str = "\
        select topic, reason, count(*) from leafcutter.dead_letters where state = any($1) and staged_in = '' \
        group by 1, 2 order by 3 desc, 1, 2";
    let rows = session.query(COUNT, &[&states]).await?;
    let read = |row: &Row| CountedDeadLetters {
        topic: row.get(0),
        reason: row.get(1),
        dead_letters: row.get(2),
    };
    Ok(rows.iter().map(read).collect())
}

/// The topics that anything is listed of.
///
/// # Errors
/// As [`list`](super::list).
pub async fn topics(session: &mut Session) -> Result<Vec<String>, Error> {
    let sql = "select distinct topic from leafcutter.dead_letters order by 1";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
