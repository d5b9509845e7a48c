//! `leafcutter.older_rows`: collections whose rows may have been written under an older mapping.
//!
//! A row is written in the transaction that puts the newer mapping in force, and goes when the collection was
//! read again, or its topic applied again, under that mapping. A mapping that is put in force meanwhile takes
//! the row over, so that what ran before it takes nothing away that is still to be done.

use crate::{ids::Generation, session::Session};
use serde::Serialize;
use tokio_postgres::{Error, Row};

/// A collection that has such rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OlderRow {
    /// Its topic.
    pub topic: String,
    /// The generation that changed it.
    pub generation: i64,
    /// What it changed.
    pub what: String,
    /// To apply the topic again is enough.
    pub replay: bool,
    /// Where a replay ends that was begun under this generation, by partition.
    pub ends: Option<Vec<i64>>,
}

impl OlderRow {
    fn read(row: &Row) -> Self {
        Self {
            topic: row.get(0),
            generation: row.get(1),
            what: row.get(2),
            replay: row.get(3),
            ends: row.get(4),
        }
    }

    /// Whether a replay that was begun has come to its end: it had taken the positions back, which stand there
    /// again.
    pub fn is_replayed(&self, next: impl Fn(i32) -> i64) -> bool {
        self.ends.as_ref().is_some_and(|ends| {
            let mut ends = (0..).zip(ends);
            ends.all(|(partition, end)| next(partition) >= *end)
        })
    }
}

/// Notes that the rows of a collection are of older mappings than this generation.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn note(
    session: &mut Session,
    group: &str,
    topic: &str,
    generation: Generation,
    (what, replay): (&str, bool),
) -> Result<(), Error> {
    const NOTE: &str = "\
        insert into leafcutter.older_rows as o (consumer_group, topic, generation, what, replay) \
        values ($1, $2, $3, $4, $5) on conflict (consumer_group, topic) do update \
        set generation = excluded.generation, what = left(excluded.what || '; ' || o.what, 400), \
        replay = o.replay and excluded.replay, ends = null";
    session
        .execute(NOTE, &[&group, &topic, &generation.0, &what, &replay])
        .await
        .map(drop)
}

/// The collections of a group.
///
/// # Errors
/// As [`note`].
pub async fn rows(session: &mut Session, group: &str) -> Result<Vec<OlderRow>, Error> {
    const ROWS: &str = "\
        select topic, generation, what, replay, ends from leafcutter.older_rows \
        where consumer_group = $1 order by topic";
    let rows = session.query(ROWS, &[&group]).await?;
    Ok(rows.iter().map(OlderRow::read).collect())
}

/// Notes where a replay ends. Within the transaction that takes the positions back.
///
/// # Errors
/// As [`note`].
pub async fn replay(
    session: &mut Session,
    group: &str,
    topic: &str,
    ends: &[i64],
) -> Result<(), Error> {
    const BEGUN: &str = "\
        update leafcutter.older_rows set ends = $3 \
        where consumer_group = $1 and topic = $2 and replay";
    session
        .execute(BEGUN, &[&group, &topic, &ends])
        .await
        .map(drop)
}

/// The rows of a collection were all written again under this generation.
///
/// # Errors
/// As [`note`].
pub async fn clear(
    session: &mut Session,
    group: &str,
    topic: &str,
    generation: Generation,
) -> Result<(), Error> {
    const CLEAR: &str = "\
        delete from leafcutter.older_rows \
        where consumer_group = $1 and topic = $2 and generation <= $3";
    session
        .execute(CLEAR, &[&group, &topic, &generation.0])
        .await
        .map(drop)
}
