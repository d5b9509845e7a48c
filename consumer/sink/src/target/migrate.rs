//! Everything that a consumer needs in the database: Leafcutter's schema, and the application's tables.
//!
//! Consumers start while others write. So nothing is said to PostgreSQL but what is missing, and where
//! something is, and the others are in the way just so, it is tried again.

use super::{compare, ddl};
use crate::{
    model::Model,
    session::Session,
    state::{
        dead_letters, parked,
        schema::{self, MigrateError},
    },
};
use tokio_postgres::error::SqlState;

/// Attempts where others stand in the way.
const ATTEMPTS: u32 = 5;

/// Brings Leafcutter's schema to this program's layout and, if `create` is set, adds the application's
/// missing tables, columns, indexes and constraints. All or nothing: one transaction.
///
/// # Errors
/// When PostgreSQL refuses a statement, or a newer Leafcutter has migrated the schema.
pub async fn migrate(
    session: &mut Session,
    model: &Model,
    create: bool,
) -> Result<(), MigrateError> {
    for _ in 1..ATTEMPTS {
        match attempt(session, model, create).await {
            Err(MigrateError::Refused(error))
                if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) =>
            {
                session.batch("rollback").await?;
            }
            done => return done,
        }
    }
    attempt(session, model, create).await
}

async fn attempt(session: &mut Session, model: &Model, create: bool) -> Result<(), MigrateError> {
    schema::begin(session).await?;
    adopt(session, model).await?;
    if create {
        let there = compare::read(session, model).await?;
        for statement in ddl::missing(model, &there) {
            session.batch(&statement).await?;
        }
    }
    Ok(session.batch("commit").await?)
}

/// Brings what earlier versions parked and listed under the keys of rows under those of documents, in tables
/// where two documents may have one row.
async fn adopt(session: &mut Session, model: &Model) -> Result<(), MigrateError> {
    let tables = model.tables.iter().filter(|entry| entry.keeps_document);
    let names: Vec<&str> = tables.map(|entry| entry.state_name.as_str()).collect();
    if !names.is_empty() {
        parked::adopt(session, &names).await?;
        dead_letters::adopt(session, &names).await?;
    }
    Ok(())
}
