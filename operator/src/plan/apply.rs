//! `plan --apply`: the statements run, and the mapping is put in force, in one transaction.
//!
//! The lock of DDL keeps other programs from starting or applying meanwhile; that of the mappings waits for
//! the transactions that write rows and keeps others from beginning. It is taken before any table is altered:
//! none of those transactions has a lock then that a statement could wait for, while it waits for one of ours.
//! Then the difference is looked at once more, and has to be what was shown.

use super::{
    difference::{Before, Difference},
    settings::PlanSettings,
    tell,
};
use crate::{
    confirm::{Answer, agreed, somebody},
    connect::{is_stopped, stoppable, told},
    finish::refusal::interrupted,
    show::Show,
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, Faults},
    shutdown::Shutdown,
};
use leafcutter_sink::{
    model::Model,
    session::Session,
    state::{
        mappings, older_rows,
        schema::{self, LAYOUT},
    },
    target::{self, Refused},
};
use tokio_postgres::{Error, error::SqlState};

/// Building an index takes as long as it takes; waiting for a lock does not, since everybody waits behind it.
const BEGIN: &str = "begin; set local lock_timeout = '10s'; set local statement_timeout = 0";
/// What puts a mapping in force.
const PROGRAM: &str = concat!("leafcutter ", env!("CARGO_PKG_VERSION"));

const AGAIN: &str = "leafcutter plan --apply";

/// Why nothing was changed.
enum Why {
    /// PostgreSQL is lost, or refuses.
    Error(Error),
    /// A statement is refused.
    Statement(String, Error),
    /// The difference is another one now.
    Changed(Box<Difference>),
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Refused> for Why {
    fn from(refused: Refused) -> Self {
        match refused.statement {
            Some(statement) => Self::Statement(statement, refused.error),
            None => Self::Error(refused.error),
        }
    }
}

/// Applies what was looked at.
///
/// # Errors
/// When it cannot; nothing is changed then.
pub(super) async fn run(
    settings: &PlanSettings,
    (mut session, model): (Session, &Model),
    difference: Difference,
    show: &mut Show<'_>,
) -> Result<Exit, Failure> {
    if difference.before == Before::Unknown {
        return Err(unknown(&difference));
    }
    if difference.is_nothing() {
        tell::unchanged(&difference, &nothing(&difference), show);
        return Ok(Exit::Done);
    }
    refuse_faults(&difference)?;
    if !show.json {
        show.text(&difference.sql());
    }
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Bug, fault))?;
    if !settings.yes {
        match confirmed(&difference, show, &shutdown).await? {
            Answer::Yes => {}
            Answer::No => {
                tell::unchanged(&difference, "nothing was changed", show);
                return Ok(Exit::Done);
            }
            Answer::Interrupted => return Ok(interrupted(show, AGAIN)),
        }
    }
    let canceller = session.canceller();
    let work = attempt(&mut session, model, &difference);
    let why = match stoppable(canceller, &shutdown, work).await {
        Ok(generation) => {
            tell::done(&difference, generation, show);
            return Ok(Exit::Done);
        }
        Err(why) => why,
    };
    // Where the connection is lost, so is the transaction.
    session.batch("rollback").await.unwrap_or_default();
    if let Why::Error(error) | Why::Statement(_, error) = &why
        && is_stopped(error, &shutdown)
    {
        return Ok(interrupted(show, AGAIN));
    }
    if let Why::Changed(now) = &why
        && now.is_nothing()
    {
        let words = "nothing to do: somebody else has just applied it";
        tell::unchanged(now, words, show);
        return Ok(Exit::Done);
    }
    Err(failed(&mut session, &difference, why).await)
}

fn nothing(difference: &Difference) -> String {
    match &difference.before {
        Before::InForce(row) => format!(
            "nothing to do: the mapping is in force, as generation {}, and nothing is missing",
            row.generation
        ),
        Before::Nothing | Before::Unknown => {
            "nothing to do: nothing is missing, and the first consumer puts the mapping in force"
                .to_owned()
        }
    }
}

/// Rows would be taken for those of this mapping, and nobody knows whether they are.
fn unknown(difference: &Difference) -> Failure {
    let fault = Fault::new(
        "could not put a mapping in force",
        format!("{}, group `{}`", difference.server, difference.group),
        "consumers of an earlier version have written there, and have not noted with which mapping",
        "Start a consumer of this version once, with the mapping that they had: it notes it. Then plan again.",
    );
    Failure::one(Exit::StateMismatch, fault)
}

/// Consumers would not start with it, and those that run would have stopped.
fn refuse_faults(difference: &Difference) -> Result<(), Failure> {
    let mut faults = Faults::default();
    for found in difference.disagreements.iter().filter(|found| found.fault) {
        let statements = found.sql.iter().map(|sql| format!("{sql};"));
        let statements: Vec<String> = statements.collect();
        let next = match &found.or {
            Some(or) if statements.is_empty() => or.clone(),
            Some(or) => format!("{} Or: {or}", statements.join(" ")),
            None => statements.join(" "),
        };
        faults.push(Fault::new(
            "could not put a mapping in force with which no consumer starts",
            found.place.clone(),
            format!(
                "the mapping says: {}; PostgreSQL has: {}; {}",
                found.mapping, found.postgres, found.means
            ),
            format!("Stop the consumers, run this if it is right, and apply again: {next}"),
        ));
    }
    faults.into_result(Exit::Preflight)
}

async fn confirmed(
    difference: &Difference,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<Answer, Failure> {
    let say = "Say --yes; or --postgres, which only shows it.";
    somebody(show, "could not apply", say)?;
    let question = if difference.is_of_mapping() {
        "Run this, and put the mapping in force? [y/N] "
    } else {
        "Run this? [y/N] "
    };
    Ok(agreed(show, question, shutdown).await)
}

/// The one transaction; gives the generation that it puts in force.
async fn attempt(
    session: &mut Session,
    model: &Model,
    shown: &Difference,
) -> Result<Option<i64>, Why> {
    session.batch(BEGIN).await?;
    schema::lock(session).await?;
    let layout = schema::layout(session).await?;
    if layout == LAYOUT {
        mappings::lock(session).await?;
    }
    let now = Difference::of(session, model, (&shown.server, &shown.group), layout).await?;
    if now != *shown {
        return Err(Why::Changed(Box::new(now)));
    }
    if layout == LAYOUT {
        target::add_missing(session, model, (true, false)).await?;
    } else {
        // The first consumer makes the state, and finds the tables as if the application had made them.
        for statement in &now.statements {
            let ran = session.batch(statement).await;
            ran.map_err(|error| Why::Statement(statement.clone(), error))?;
        }
    }
    let mut generation = None;
    if now.is_of_mapping() {
        let row = mappings::activate(session, &now.group, &model.mapping, PROGRAM).await?;
        for line in now
            .changes
            .iter()
            .filter(|line| line.change.effect.is_of_rows())
        {
            let (Some(topic), Some(_)) = (&line.topic, &line.command) else {
                continue;
            };
            let what = line.change.what.join("; ");
            let replay = line.change.effect == leafcutter_schemas::mapping::Effect::Roots;
            older_rows::note(session, &now.group, topic, row.generation, (&what, replay)).await?;
        }
        generation = Some(row.generation.0);
    }
    session.batch("commit").await?;
    Ok(generation)
}

async fn failed(session: &mut Session, difference: &Difference, why: Why) -> Failure {
    let server = difference.server.clone();
    let is_busy = |error: &Error| error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
    let (place, why, next) = match why {
        Why::Error(error) | Why::Statement(_, error) if is_busy(&error) => {
            let holders = mappings::in_the_way(session).await.unwrap_or_default();
            let who = match holders.as_slice() {
                [] => String::new(),
                some => format!(": {} is at it", some.join(", ")),
            };
            let why = format!("somebody has used a table for ten seconds{who}");
            (
                server,
                why,
                "Say it again while less happens, or stop the consumers first.",
            )
        }
        Why::Error(error) => (
            server,
            told(&error),
            "Run it as the user who owns the tables and schema `leafcutter`.",
        ),
        Why::Statement(statement, error) => (
            statement.split_whitespace().collect::<Vec<_>>().join(" "),
            told(&error),
            "Mend the rows or the mapping, and say it again.",
        ),
        Why::Changed(_) => (
            server,
            "what is to be done is not what was shown any more".to_owned(),
            "Say it again, and look at what it shows.",
        ),
    };
    let next = format!("Nothing was changed. {next}");
    let fault = Fault::new("could not apply the plan", place, why, next);
    Failure::one(Exit::Preflight, fault)
}
