//! Everything that a consumer needs in the database: Leafcutter's schema, and the application's tables.
//!
//! Consumers start while others write. So nothing is said to PostgreSQL but what is missing, and where
//! something is, and the others are in the way just so, it is tried again. The first consumer of a group puts
//! its mapping in force; once its group has taken a partition over, one whose mapping is another than the one in
//! force changes nothing.

use super::{
    catalogue::Catalogue,
    compare, ddl,
    keeping::{self, Before},
};
use crate::{
    model::Model,
    names::qualified,
    session::Session,
    state::{
        dead_letters,
        deferred_constraints::{self, DeferredRow},
        mappings::{self, MappingRow},
        offsets, parked,
        schema::{self, MigrateError},
    },
};
use tokio_postgres::{Error, error::SqlState};

/// Attempts where others stand in the way.
const ATTEMPTS: u32 = 5;

/// Who starts.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The consumer group.
    pub group: &'a str,
    /// Program and version.
    pub program: &'a str,
    /// Adds the application's missing tables, columns, indexes and constraints.
    pub create: bool,
    /// Indexes and foreign keys of tables that are made now are added when these are filled.
    pub defer: bool,
}

/// Brings Leafcutter's schema to this program's layout and adds what is missing, if that is wanted, and what
/// keeps the application's rows for a rollback. All or nothing: one transaction. Gives the mapping in force, which
/// means the same as the model's.
///
/// # Errors
/// When PostgreSQL refuses a statement, a newer Leafcutter has migrated the schema, or another mapping is in
/// force.
pub async fn migrate(
    session: &mut Session,
    model: &Model,
    start: Start<'_>,
) -> Result<MappingRow, MigrateError> {
    for _ in 1..ATTEMPTS {
        match attempt(session, model, start).await {
            Err(MigrateError::Refused(error))
                if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) =>
            {
                session.batch("rollback").await?;
            }
            done => return done,
        }
    }
    attempt(session, model, start).await
}

async fn attempt(
    session: &mut Session,
    model: &Model,
    start: Start<'_>,
) -> Result<MappingRow, MigrateError> {
    schema::begin(session).await?;
    let in_force = match in_force(session, model, start).await? {
        Ok(in_force) => in_force,
        Err(other) => {
            session.batch("rollback").await?;
            return Err(MigrateError::Mapping(other));
        }
    };
    adopt(session, model).await?;
    add_missing(session, model, (start.create, start.defer))
        .await
        .map_err(|refused| refused.error)?;
    session.batch("commit").await?;
    Ok(in_force)
}

/// A statement that PostgreSQL does not execute.
#[derive(Debug)]
pub struct Refused {
    /// Which of those that add something; none where something else was asked.
    pub statement: Option<String>,
    /// Why.
    pub error: Error,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self {
            statement: None,
            error,
        }
    }
}

/// Adds what the application's tables lack, if `create` is set, and what keeps the application's rows for a
/// rollback. Of tables that are made now, indexes and foreign keys are left for later, if `defer` is set. Within a transaction of the caller's, who holds the lock of the schema.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn add_missing(
    session: &mut Session,
    model: &Model,
    (create, defer): (bool, bool),
) -> Result<(), Refused> {
    // What stands in tables now was written by the application.
    session.batch("set local leafcutter.session = ''").await?;
    let there = compare::read(session, model).await?;
    let before = Before::look(session, model, &there).await?;
    let mut made = Vec::new();
    if create {
        for lacking in ddl::missing(model, &there) {
            if let Some(row) = lacking.deferrable.as_ref().filter(|_| defer)
                && is_new(&there, row)
            {
                deferred_constraints::defer(session, row).await?;
                continue;
            }
            let was_there = keeping::is_there(session, &lacking).await?;
            let done = session.batch(&lacking.sql).await;
            done.map_err(|error| Refused {
                statement: Some(lacking.sql.clone()),
                error,
            })?;
            made.extend((!was_there).then_some(lacking.makes));
        }
    }
    before.keep(session, model, &there, &made, create).await?;
    Ok(())
}

/// Whether the table was not there before.
fn is_new(there: &Catalogue, row: &DeferredRow) -> bool {
    let mut tables = there.tables.keys();
    !tables.any(|name| qualified(name) == row.table)
}

/// The mapping that is in force from now on, if it is this one.
async fn in_force(
    session: &mut Session,
    model: &Model,
    start: Start<'_>,
) -> Result<Result<MappingRow, Box<mappings::OtherMapping>>, Error> {
    if let Some(there) = mappings::in_force(session, start.group).await? {
        let admitted = there.admit(&model.mapping);
        if admitted.is_ok() || !offsets::progress(session, start.group).await?.is_empty() {
            return Ok(admitted);
        }
        // Nothing was ever written with it: a start has failed, and the mapping was mended.
        mappings::lock(session).await?;
    }
    let made = mappings::activate(session, start.group, &model.mapping, start.program).await?;
    Ok(Ok(made))
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
