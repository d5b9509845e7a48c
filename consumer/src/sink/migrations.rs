//! Leafcutter's own schema, and the target's missing tables, under one advisory lock.
//!
//! Consumers start while others write. So nothing is said to PostgreSQL but what is missing, and where
//! something is, and the others are in the way just so, it is tried again.

use super::{ddl, existing, session::Session};
use crate::model::Model;
use tokio_postgres::error::SqlState;

/// The advisory lock under which DDL runs; consumers starting together take turns.
const LOCK: i64 = 0x6c65_6166_6375_7474;

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_state.sql"),
    include_str!("../../migrations/0002_lost.sql"),
    include_str!("../../migrations/0003_incomplete.sql"),
    include_str!("../../migrations/0004_keys.sql"),
];

/// Attempts where others stand in the way.
const ATTEMPTS: u32 = 5;

/// Brings Leafcutter's schema to this program's layout and, if `create` is set, adds the target's
/// missing tables, columns, indexes and constraints. All or nothing: one transaction.
///
/// # Errors
/// When PostgreSQL refuses a statement.
pub async fn migrate(
    session: &mut Session,
    model: &Model,
    create: bool,
) -> Result<(), tokio_postgres::Error> {
    for _ in 1..ATTEMPTS {
        match attempt(session, model, create).await {
            Err(error) if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) => {
                session.client().batch_execute("rollback").await?;
            }
            done => return done,
        }
    }
    attempt(session, model, create).await
}

async fn attempt(
    session: &Session,
    model: &Model,
    create: bool,
) -> Result<(), tokio_postgres::Error> {
    let client = session.client();
    client
        .batch_execute("begin; set local lock_timeout = '120s'")
        .await?;
    client
        .execute("select pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    client
        .batch_execute("create schema if not exists leafcutter")
        .await?;
    let layout = layout(session).await?;
    for migration in MIGRATIONS.iter().skip(layout) {
        client.batch_execute(migration).await?;
    }
    if create {
        let there = existing::read(client, model).await?;
        for statement in ddl::missing(model, &there) {
            client.batch_execute(&statement).await?;
        }
    }
    client.batch_execute("commit").await
}

/// The layout in the database: how many migrations have run.
async fn layout(session: &Session) -> Result<usize, tokio_postgres::Error> {
    let client = session.client();
    let row = client
        .query_one("select to_regclass('leafcutter.meta') is not null", &[])
        .await?;
    if !row.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client
        .query_one("select max(layout) from leafcutter.meta", &[])
        .await?;
    Ok(row
        .get::<_, Option<i32>>(0)
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(0))
}
