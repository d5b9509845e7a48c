//! The one transaction of a rollback.
//!
//! The first two locks keep consumers away, as at `finish --drop`: one that starts waits for the lock of DDL, one
//! that runs for the table in which it says so. Then nobody writes to the tables until the end. Each lock is
//! tried for a few seconds: while it waits for one, everybody who wants the table waits behind it.
//!
//! Foreign keys of Leafcutter's go before rows do, everything else of it after them: as long as the columns are
//! there, they say whose a row is.

use super::{
    look::Looked,
    settings::{RollbackSettings, WHAT},
};
use crate::{
    connect::{State, is_stopped, stoppable, told},
    finish::drop::{Plan, still_runs},
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use leafcutter_sink::{
    ids::CollectionId,
    model::Model,
    rollback::{
        self, Done,
        apart::{self, Created, SequenceBack},
    },
    session::Session,
    state::{consumers, forget, schema, undo},
    target::own_columns::Dependent,
};
use tokio_postgres::{Error, error::SqlState};

const BEGIN: &str = "begin; set local lock_timeout = '5s'; set local statement_timeout = 0";

/// What was done.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) rows: Done,
    pub(super) created: Created,
    pub(super) sequences: Vec<SequenceBack>,
}

/// Why nothing was done.
enum Why {
    /// PostgreSQL refused.
    Refused(Error),
    /// A consumer has come.
    Runs(String),
    /// It is not what was shown.
    Changed,
    /// Something of others needs a column that would go.
    Needed(Dependent),
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Does it; nothing where a person has stopped it.
///
/// # Errors
/// When it cannot; then nothing is changed.
pub(super) async fn roll_back(
    settings: &RollbackSettings,
    state: &mut State,
    model: &Model,
    chosen: Option<&[CollectionId]>,
    looked: &Looked,
    shutdown: &Shutdown,
) -> Result<Option<Outcome>, Failure> {
    let canceller = state.session.canceller();
    let work = attempt(settings, &mut state.session, model, chosen, looked);
    let why = match stoppable(canceller, shutdown, work).await {
        Ok(outcome) => return Ok(Some(outcome)),
        Err(why) => why,
    };
    // Where the connection is lost, so is the transaction.
    state.session.batch("rollback").await.unwrap_or_default();
    let mut place = state.place.clone();
    let (why, next) = match why {
        Why::Refused(error) if is_stopped(&error, shutdown) => return Ok(None),
        Why::Refused(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => (
            "somebody has used one of the tables for five seconds".to_owned(),
            "Nothing was changed. Say it again while less happens.",
        ),
        Why::Refused(error) => (
            told(&error),
            "Nothing was changed. Mend what it names; or run it as the user who owns the tables and the schema.",
        ),
        Why::Runs(consumer) => (consumer, "Nothing was changed. Stop it first."),
        Why::Changed => (
            "what would be done is not what was shown any more".to_owned(),
            "Nothing was changed. Say it again, and look at what it shows.",
        ),
        Why::Needed(dependent) => {
            place = dependent.object;
            (
                format!(
                    "it needs {}, a column that Leafcutter has added",
                    dependent.needs
                ),
                "Nothing was changed. Change it or drop it first: nothing of others is dropped along.",
            )
        }
    };
    Err(Failure::one(
        Exit::Preflight,
        Fault::new(WHAT, place, why, next),
    ))
}

async fn attempt(
    settings: &RollbackSettings,
    session: &mut Session,
    model: &Model,
    chosen: Option<&[CollectionId]>,
    looked: &Looked,
) -> Result<Outcome, Why> {
    session.batch(BEGIN).await?;
    schema::lock(session).await?;
    consumers::lock(session).await?;
    let alive = consumers::alive_of_all_groups(session).await?;
    if let Some(consumer) = alive.first() {
        return Err(Why::Runs(still_runs(consumer).words));
    }
    let prepared = rollback::prepare(session, model, chosen, true).await?;
    let plan = match chosen {
        None => Some(Plan::of(session, model).await?),
        Some(_) => None,
    };
    if !looked.is_same(&prepared, plan.as_ref()) {
        return Err(Why::Changed);
    }
    let places = &prepared.places;
    let mut dropped = Vec::new();
    if plan.is_some() {
        apart::keys(session, places).await?;
        if settings.drop_tables {
            dropped = apart::whole(session, &prepared).await?;
        }
    }
    let rows = rollback::put_back(session, &prepared, &dropped).await?;
    let sequences = apart::sequences(session, places).await?;
    let mut created = Created::default();
    if plan.is_some() {
        if let Some(dependent) = apart::made(session, places).await?.pop() {
            return Err(Why::Needed(dependent));
        }
        // Of the tables that are still there.
        let plan = Plan::of(session, model).await?;
        for statement in plan.column_statements() {
            session.batch(&statement).await?;
        }
        created = apart::created(session, &prepared, &dropped, settings.drop_tables).await?;
        for statement in plan.schema_statements() {
            session.batch(&statement).await?;
        }
    } else if let Some(chosen) = chosen {
        begin_anew(session, model, chosen, &prepared).await?;
    }
    session.batch("commit").await?;
    Ok(Outcome {
        rows,
        created,
        sequences,
    })
}

/// Forgets what is known of these collections, so that their records are applied from the first one on. How
/// their tables were found stays known, and what a later run takes is kept again.
async fn begin_anew(
    session: &mut Session,
    model: &Model,
    chosen: &[CollectionId],
    prepared: &rollback::Prepared,
) -> Result<(), Error> {
    let topics = chosen.iter().map(|&id| model.collection(id).topic.as_str());
    let topics: Vec<&str> = topics.collect();
    let tables = model.tables.iter();
    let tables = tables.filter(|entry| chosen.contains(&entry.collection));
    let names: Vec<&str> = tables.map(|entry| entry.state_name.as_str()).collect();
    forget::forget(session, &topics, &names).await?;
    let targets = prepared.places.iter().map(|place| place.target.clone());
    let targets: Vec<String> = targets.collect();
    undo::forget(session, &targets).await
}
