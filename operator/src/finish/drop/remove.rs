//! The one transaction in which everything goes.
//!
//! Its locks are tried for a few seconds: while it waits for one, everybody who wants the table waits behind
//! it. The first two keep consumers away: one that starts waits for the lock of DDL, one that runs for the
//! table in which it says so.

use super::{plan::Plan, reasons::still_runs};
use crate::connect::{State, is_stopped, stoppable, told};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use leafcutter_sink::{
    model::Model,
    session::Session,
    state::{consumers, schema},
};
use tokio_postgres::{Error, error::SqlState};

const BEGIN: &str = "begin; set local lock_timeout = '5s'; set local statement_timeout = '60s'";

/// Why nothing went.
enum Why {
    /// PostgreSQL refused.
    Refused(Error),
    /// A consumer has come.
    Runs(String),
    /// What would go is not what was shown.
    Changed,
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Takes everything away that the plan names; whether it has, or a person has stopped it before.
///
/// # Errors
/// When it cannot; then nothing is gone.
pub(super) async fn remove(
    state: &mut State,
    model: &Model,
    plan: &Plan,
    force: bool,
    shutdown: &Shutdown,
) -> Result<bool, Failure> {
    let canceller = state.session.canceller();
    let work = attempt(&mut state.session, model, plan, force);
    let Err(why) = stoppable(canceller, shutdown, work).await else {
        return Ok(true);
    };
    // Where the connection is lost, so is the transaction.
    state.session.batch("rollback").await.unwrap_or_default();
    let (why, next) = match why {
        Why::Refused(error) if is_stopped(&error, shutdown) => return Ok(false),
        Why::Refused(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => (
            "somebody has used one of the tables for five seconds".to_owned(),
            "Nothing was changed. Say it again while less happens.",
        ),
        Why::Refused(error) => (
            told(&error),
            "Nothing was changed. Run it as the user who owns the tables and the schema.",
        ),
        Why::Runs(consumer) => (
            consumer,
            "Nothing was changed. Stop it first, and for good.",
        ),
        Why::Changed => (
            "what would go is not what was shown any more".to_owned(),
            "Nothing was changed. Say it again, and look at what it shows.",
        ),
    };
    let what = "could not drop what is Leafcutter's";
    let fault = Fault::new(what, state.place.clone(), why, next);
    Err(Failure::one(Exit::Preflight, fault))
}

async fn attempt(
    session: &mut Session,
    model: &Model,
    plan: &Plan,
    force: bool,
) -> Result<(), Why> {
    session.batch(BEGIN).await?;
    schema::lock(session).await?;
    consumers::lock(session).await?;
    let alive = consumers::alive_of_all_groups(session).await?;
    if let Some(consumer) = alive.first().filter(|_| !force) {
        return Err(Why::Runs(still_runs(consumer).words));
    }
    if Plan::of(session, model).await? != *plan {
        return Err(Why::Changed);
    }
    for statement in plan.statements() {
        session.batch(&statement).await?;
    }
    Ok(session.batch("commit").await?)
}
