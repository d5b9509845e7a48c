//! `leafcutter finish`: the end of a migration, in two commands.
//!
//! The first, at the cut-over, proves that everything has arrived and makes the tables ready for the
//! application ([`course`]). All that it changes are sequences, which it moves forward only, and whether a
//! constraint is known to hold; both are no loss if the cut-over does not come. So it may be run as often as
//! one likes. What it found is noted in PostgreSQL for the second command ([`drop`]), which takes Leafcutter's
//! traces away days later: by then the source stands still and the application writes, and nobody could
//! compare both any more.

mod course;
mod counted;
mod drop;
mod markdown;
pub mod report;
pub(crate) mod settings;
mod tell;
mod wait;

pub use settings::FinishSettings;

use crate::{
    connect::State,
    show::{Show, wrap},
    status::readiness::Reason,
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
    shutdown::Shutdown,
};
use leafcutter_sink::session::Session;
use serde::Serialize;
use std::fmt::Write as _;

/// Ends a migration, or takes Leafcutter's traces away.
///
/// # Errors
/// When a server cannot be asked, there is no mapping, a file cannot be written, or nobody can confirm.
pub async fn run(settings: FinishSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Bug, fault))?;
    if settings.drop {
        Box::pin(drop::run(&settings, show, &shutdown)).await
    } else {
        Box::pin(course::run(&settings, show, &shutdown)).await
    }
}

fn no_mapping() -> Failure {
    let fault = Fault::new(
        "could not finish",
        "--mapping",
        "without the mapping nobody knows which tables are meant",
        "Give --mapping or LEAFCUTTER_MAPPING: the file that the consumers run with.",
    );
    Failure::one(Exit::Settings, fault)
}

/// Tables are read whole, and that may take its time; but nobody is to wait behind a lock of ours.
const SESSION: &str = "set statement_timeout = 0; set lock_timeout = '10s'";

/// A session for what takes long.
async fn session(state: &State) -> Result<Session, Failure> {
    let unreachable = |why: String| {
        let next = "Check that the server runs, and that it has connections left.";
        let place = state.place.clone();
        Failure::one(
            Exit::Preflight,
            Fault::new("could not connect to PostgreSQL", place, why, next),
        )
    };
    let opened = Session::open(&state.config, "leafcutter finish").await;
    let mut session = opened.map_err(|error| unreachable(causes(&error)))?;
    let set = session.batch(SESSION).await;
    set.map_err(|error| unreachable(causes(&error)))?;
    Ok(session)
}

/// That nothing was done, as `--json` says it.
#[derive(Debug, Serialize)]
struct Refusal<'a> {
    done: bool,
    because: Vec<&'a str>,
}

/// The reasons, each on a line of its own.
fn listed(reasons: &[Reason]) -> String {
    let mut out = String::new();
    for reason in reasons {
        let wrapped = wrap("    ", &reason.words);
        writeln!(out, "  - {}", wrapped.trim()).unwrap_or_default();
    }
    out
}

/// Says that nothing was done, and why.
fn refused(show: &mut Show<'_>, head: &str, reasons: &[Reason]) -> Exit {
    if show.json {
        let because = reasons.iter().map(|reason| reason.words.as_str());
        show.json(&Refusal {
            done: false,
            because: because.collect(),
        });
        return Exit::Stopped;
    }
    let head = show.paint.attention(head);
    show.line(&head);
    show.text(&listed(reasons));
    show.text(&wrap(
        "",
        "Nothing was done. Mend this, or say --force to go on all the same.",
    ));
    Exit::Stopped
}

/// Says which reasons `--force` passes over.
fn forced(show: &mut Show<'_>, reasons: &[Reason]) {
    if !show.json && !reasons.is_empty() {
        let head = show.paint.attention("Goes on by --force, although:");
        show.line(&head);
        show.text(&listed(reasons));
        show.line("");
    }
}

/// Says that a person has stopped it.
fn interrupted(show: &mut Show<'_>) -> Exit {
    if show.json {
        show.json(&Refusal {
            done: false,
            because: vec!["interrupted"],
        });
    } else {
        let text = "Interrupted: nothing was changed. Begin it again: leafcutter finish";
        show.text(&wrap("", text));
    }
    Exit::Differences
}
