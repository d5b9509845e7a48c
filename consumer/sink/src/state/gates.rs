//! `leafcutter.gates`: collections whose parents' snapshots are applied, for good.

use crate::session::Session;
use std::collections::BTreeSet;
use tokio_postgres::Error;

/// The topics whose gates are open.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn open(session: &mut Session, group: &str) -> Result<BTreeSet<String>, Error> {
    let sql = "select topic from leafcutter.gates where consumer_group = $1";
    let rows = session.query(sql, &[&group]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Opens a gate for every consumer of the group.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn latch(session: &mut Session, group: &str, topic: &str) -> Result<(), Error> {
    let sql = "insert into leafcutter.gates (consumer_group, topic) values ($1, $2) \
               on conflict do nothing";
    session.execute(sql, &[&group, &topic]).await.map(drop)
}
