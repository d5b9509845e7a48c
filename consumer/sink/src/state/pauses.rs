//! `leafcutter.pauses`: what a person has paused, and why.
//!
//! Consumers look every second, and before they read a partition; so a pause holds over restarts, for all
//! consumers of a group, until a person resumes. No position moves by it. A breaker is another matter: it is
//! opened by the records, counted by the batches, and stops the programs ([`super::breakers`]).

use crate::session::Session;
use serde::Serialize;
use tokio_postgres::{Error, Row};

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseRow {
    /// The topic of the collection; none for all collections.
    pub topic: Option<String>,
    /// Why.
    pub reason: String,
    /// Since when, as `2026-01-31 12:00:00 UTC`.
    pub since: String,
    /// Seconds since then.
    pub paused_seconds: i64,
}

const COLUMNS: &str = "nullif(topic, ''), reason, \
    to_char(paused_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), \
    greatest(extract(epoch from clock_timestamp() - paused_at)::bigint, 0)";

impl PauseRow {
    fn read(row: &Row) -> Self {
        Self {
            topic: row.get(0),
            reason: row.get(1),
            since: row.get(2),
            paused_seconds: row.get(3),
        }
    }
}

fn read(rows: &[Row]) -> Vec<PauseRow> {
    let mut rows: Vec<PauseRow> = rows.iter().map(PauseRow::read).collect();
    rows.sort_by(|a, b| a.topic.cmp(&b.topic));
    rows
}

/// Pauses these topics; without topics, all. What is paused already keeps its time and gets this reason.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn pause(
    session: &mut Session,
    group: &str,
    topics: Option<&[String]>,
    reason: &str,
) -> Result<Vec<PauseRow>, Error> {
    let sql = format!(
        "insert into leafcutter.pauses (consumer_group, topic, reason) \
         select $1, topic, $3 from unnest(coalesce($2::text[], array[''])) as t(topic) \
         on conflict (consumer_group, topic) do update set reason = excluded.reason \
         returning {COLUMNS}"
    );
    let rows = session.query(&sql, &[&group, &topics, &reason]).await?;
    Ok(read(&rows))
}

/// What is paused in a group: all first.
///
/// # Errors
/// As [`pause`].
pub async fn rows(session: &mut Session, group: &str) -> Result<Vec<PauseRow>, Error> {
    let sql = format!("select {COLUMNS} from leafcutter.pauses where consumer_group = $1");
    let rows = session.query(&sql, &[&group]).await?;
    Ok(read(&rows))
}

/// Ends the pauses of these topics; without topics, every pause. Gives those that ended.
///
/// # Errors
/// As [`pause`].
pub async fn resume(
    session: &mut Session,
    group: &str,
    topics: Option<&[String]>,
) -> Result<Vec<PauseRow>, Error> {
    let sql = format!(
        "delete from leafcutter.pauses where consumer_group = $1 \
         and ($2::text[] is null or topic = any($2)) returning {COLUMNS}"
    );
    let rows = session.query(&sql, &[&group, &topics]).await?;
    Ok(read(&rows))
}
