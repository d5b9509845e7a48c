//! `leafcutter.stagings`: new tables that a replay fills in a schema of their own, beside those in use
//! (docs/decisions/exchanging-tables.md).
//!
//! A row is there from before the first record is applied to them until they are exchanged, or given up. It
//! says which consumer group fills them. What that group has parked and refused is not of the tables in use, so
//! who tells of those leaves it out ([`of_live`]).

use crate::session::Session;
use tokio_postgres::{Error, Row};

/// New tables that are being filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagingRow {
    /// The schema that they are in.
    pub schema: String,
    /// The group whose tables they are to replace.
    pub live_group: String,
    /// The group that fills them.
    pub group: String,
}

/// Whether a row that has this group is not of tables that are being filled, as a condition.
pub(crate) fn of_live(group: &str) -> String {
    format!("{group} not in (select s.consumer_group from leafcutter.stagings s)")
}

/// The tables that are being filled.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn rows(session: &mut Session) -> Result<Vec<StagingRow>, Error> {
    const ROWS: &str = "\
        select schema_name, live_group, consumer_group from leafcutter.stagings order by schema_name";
    let read = |row: &Row| StagingRow {
        schema: row.get(0),
        live_group: row.get(1),
        group: row.get(2),
    };
    Ok(session.query(ROWS, &[]).await?.iter().map(read).collect())
}

/// Those of a schema.
///
/// # Errors
/// As [`rows`].
pub async fn find(session: &mut Session, schema: &str) -> Result<Option<StagingRow>, Error> {
    let mut all = rows(session).await?.into_iter();
    Ok(all.find(|row| row.schema == schema))
}

/// Notes that it begins; whether nothing was noted for the schema.
///
/// # Errors
/// As [`rows`].
pub async fn begin(
    session: &mut Session,
    schema: &str,
    (live, staged): (&str, &str),
) -> Result<bool, Error> {
    const BEGIN: &str = "\
        insert into leafcutter.stagings (schema_name, live_group, consumer_group) values ($1, $2, $3) \
        on conflict (schema_name) do nothing";
    Ok(session.execute(BEGIN, &[&schema, &live, &staged]).await? > 0)
}

/// Notes that it has ended.
///
/// # Errors
/// As [`rows`].
pub async fn end(session: &mut Session, schema: &str) -> Result<(), Error> {
    const END: &str = "delete from leafcutter.stagings where schema_name = $1";
    session.execute(END, &[&schema]).await.map(drop)
}

/// Which of these topics were read again since it began: what was deleted then is told by no record.
///
/// # Errors
/// As [`rows`].
pub async fn read_again_since(
    session: &mut Session,
    schema: &str,
    topics: &[&str],
) -> Result<Vec<String>, Error> {
    let sql = format!(
        "select r.topic from {} r, leafcutter.stagings s where s.schema_name = $1 \
         and r.topic = any($2) and (r.begun_at >= s.begun_at or r.finished_at is null \
         or r.finished_at >= s.begun_at) order by 1",
        super::resnapshots::TABLE
    );
    let rows = session.query(&sql, &[&schema, &topics]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
