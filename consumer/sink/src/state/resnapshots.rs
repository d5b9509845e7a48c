//! `leafcutter.resnapshots`: collections that a person reads again whole.
//!
//! A row is written before anything is passed by for good, such as a lost piece of history, and says when
//! everything of it was mended. So what was broken off is not forgotten: `leafcutter status` tells it until
//! the collection is read again to the end.

use crate::session::Session;
use leafcutter_schemas::version::Version;
use serde::Serialize;
use tokio_postgres::{Error, Row};

/// The table.
pub(super) const TABLE: &str = "leafcutter.resnapshots";

/// A collection that was begun, and is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnfinishedRow {
    /// Its topic.
    pub topic: String,
    /// Seconds since it was begun.
    pub seconds: i64,
    /// Whether somebody is at it now.
    pub running: bool,
}

/// The number of a topic's lock, an advisory one of a session.
const LOCK: &str = "hashtextextended('resnapshot ' || topic, 0)";

/// Keeps others from reading this collection again while this session lives; whether it could.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn try_lock(session: &mut Session, topic: &str) -> Result<bool, Error> {
    let sql = format!("select pg_try_advisory_lock({LOCK}) from (select $1::text as topic) t");
    Ok(session.query_one(&sql, &[&topic]).await?.get(0))
}

/// Notes that a collection is begun.
///
/// # Errors
/// As [`try_lock`].
pub async fn begin(session: &mut Session, topic: &str, version: Version) -> Result<(), Error> {
    const BEGIN: &str = "\
        insert into leafcutter.resnapshots (topic, version) values ($1, $2) \
        on conflict (topic) do update set version = excluded.version, begun_at = now(), \
        finished_at = null";
    let version = version.as_i64();
    session.execute(BEGIN, &[&topic, &version]).await.map(drop)
}

/// Notes that a collection is finished.
///
/// # Errors
/// As [`try_lock`].
pub async fn finish(session: &mut Session, topic: &str) -> Result<(), Error> {
    const FINISH: &str = "update leafcutter.resnapshots set finished_at = now() where topic = $1";
    session.execute(FINISH, &[&topic]).await.map(drop)
}

/// The collections that are not finished.
///
/// # Errors
/// As [`try_lock`].
pub async fn unfinished(session: &mut Session) -> Result<Vec<UnfinishedRow>, Error> {
    let sql = format!(
        "select topic, extract(epoch from now() - begun_at)::bigint, exists (select 1 from pg_locks l \
         where l.locktype = 'advisory' and l.database = (select oid from pg_database \
         where datname = current_database()) and l.objsubid = 1 \
         and (l.classid::bigint << 32) | l.objid::bigint = {LOCK}) \
         from leafcutter.resnapshots where finished_at is null order by topic"
    );
    let read = |row: &Row| UnfinishedRow {
        topic: row.get(0),
        seconds: row.get(1),
        running: row.get(2),
    };
    Ok(session.query(&sql, &[]).await?.iter().map(read).collect())
}
