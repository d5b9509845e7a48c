//! Schema `leafcutter` itself, and `leafcutter.meta`, its layout.
//!
//! The schema changes under one advisory lock, by migrations that are never edited. There is no way back
//! to an older layout: a database that a newer Leafcutter has migrated is refused.

use super::mappings::OtherMapping;
use crate::session::Session;
use tokio_postgres::Error;

/// The advisory lock under which DDL runs; consumers starting together take turns.
const LOCK: i64 = 0x6c65_6166_6375_7474;

/// Every layout from the first one on. What has been released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_state.sql"),
    include_str!("../../migrations/0002_lost.sql"),
    include_str!("../../migrations/0003_incomplete.sql"),
    include_str!("../../migrations/0004_keys.sql"),
    include_str!("../../migrations/0005_names.sql"),
    include_str!("../../migrations/0006_documents.sql"),
    include_str!("../../migrations/0007_refused.sql"),
    include_str!("../../migrations/0008_index_keys.sql"),
    include_str!("../../migrations/0009_suppressed.sql"),
    include_str!("../../migrations/0010_resnapshots.sql"),
    include_str!("../../migrations/0011_discarded.sql"),
    include_str!("../../migrations/0012_pauses.sql"),
    include_str!("../../migrations/0013_unmapped_fields.sql"),
    include_str!("../../migrations/0014_last_record.sql"),
    include_str!("../../migrations/0015_mappings.sql"),
    include_str!("../../migrations/0016_undo.sql"),
    include_str!("../../migrations/0017_stagings.sql"),
    include_str!("../../migrations/0018_deferred_constraints.sql"),
    include_str!("../../migrations/0019_kept_for_owners.sql"),
];

/// The layout of this program.
pub const LAYOUT: usize = MIGRATIONS.len();

/// Why the schema could not be brought to this program's layout.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer Leafcutter has migrated this database.
    #[error(
        "schema `leafcutter` has layout {found}, made by a newer Leafcutter; this program knows layouts up to {LAYOUT}"
    )]
    Newer {
        /// The database's layout.
        found: usize,
    },
    /// Another mapping is in force in the group.
    #[error("another mapping is in force, generation {}", .0.in_force.generation)]
    Mapping(Box<OtherMapping>),
    /// PostgreSQL refused a statement.
    #[error(transparent)]
    Refused(#[from] Error),
}

/// Begins a transaction that alone may change the schema, and brings it to this program's layout. The
/// caller commits it.
///
/// # Errors
/// When PostgreSQL refuses a statement, or the layout is newer; the transaction is then rolled back.
pub async fn begin(session: &mut Session) -> Result<(), MigrateError> {
    let done = migrate(session).await;
    if done.is_err() {
        session.batch("rollback").await?;
    }
    done
}

/// Keeps everybody else from changing the schema until the transaction ends.
///
/// # Errors
/// When PostgreSQL is lost, or somebody is at it for longer than the session waits for a lock.
pub async fn lock(session: &mut Session) -> Result<(), Error> {
    let sql = "select pg_advisory_xact_lock($1)";
    session.execute(sql, &[&LOCK]).await.map(drop)
}

async fn migrate(session: &mut Session) -> Result<(), MigrateError> {
    session
        .batch("begin; set local lock_timeout = '120s'")
        .await?;
    lock(session).await?;
    let layout = layout(session).await?;
    if layout > LAYOUT {
        return Err(MigrateError::Newer { found: layout });
    }
    let there = "select to_regnamespace('leafcutter') is not null";
    // To create a schema that is there needs the same privilege.
    if !session.query_one(there, &[]).await?.get::<_, bool>(0) {
        session.batch("create schema leafcutter").await?;
    }
    for migration in MIGRATIONS.iter().skip(layout) {
        session.batch(migration).await?;
    }
    Ok(())
}

/// The layout in the database: how many migrations have run. Zero where there is no state.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn layout(session: &mut Session) -> Result<usize, Error> {
    let there = "select to_regclass('leafcutter.meta') is not null";
    if !session.query_one(there, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let highest = "select coalesce(max(layout), 0) from leafcutter.meta";
    let layout: i32 = session.query_one(highest, &[]).await?.get(0);
    Ok(usize::try_from(layout).unwrap_or(0))
}

/// When the first consumer made the schema, milliseconds since 1970.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn created_at(session: &mut Session) -> Result<Option<i64>, Error> {
    let first = "select (extract(epoch from min(created_at)) * 1000)::bigint from leafcutter.meta";
    Ok(session.query_one(first, &[]).await?.get(0))
}
