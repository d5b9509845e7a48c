//! The demo: a live MongoDB becomes a PostgreSQL before one's eyes, and every row is proven.
//!
//! [`args`] says what is asked for; [`course`] does it, step by step; [`screen`] shows progress,
//! [`table`] the result and what was [`measured`]. Everything it starts ends with it. [`apart`] has
//! its parts one by one, for programs that somebody else starts.

pub mod args;
pub mod course;
pub mod measured;
pub mod screen;
pub mod table;
pub mod apart;

use args::{Command, Settings};
use leafcutter_harness::failure::{Attempt, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Does what was asked for. True: nothing is missing, nothing is extra, nothing differs.
///
/// # Errors
/// When it cannot be carried through, or is interrupted.
pub async fn command(command: &Command) -> Result<bool> {
    match command {
        Command::Run(settings) => Box::pin(run(settings)).await,
        Command::Load(settings) => unless_interrupted(apart::load(settings)).await,
        Command::Compare(settings) => unless_interrupted(apart::compare(settings)).await,
        // Here Ctrl-C has a meaning of its own.
        Command::Trial(settings) => unless_terminated(apart::trial(settings)).await,
    }
}

/// Runs the demo. True: nothing is missing, nothing is extra, nothing differs.
///
/// # Errors
/// When it cannot be carried through, or is interrupted.
pub async fn run(settings: &Settings) -> Result<bool> {
    unless_interrupted(Box::pin(course::run(settings))).await
}

async fn unless_interrupted(work: impl Future<Output = Result<bool>>) -> Result<bool> {
    tokio::select! {
        done = unless_terminated(work) => done,
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
    }
}

/// The first process of a container, as this may be, ends by a signal only if it listens for it.
async fn unless_terminated(work: impl Future<Output = Result<bool>>) -> Result<bool> {
    let mut terminate = signal(SignalKind::terminate()).attempt("listen for signals")?;
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => Err(interrupted()),
    }
}

fn interrupted() -> leafcutter_harness::failure::Failure {
    // Dropping the course ended the programs.
    leafcutter_harness::failure::Failure::new("interrupted; nothing is left running")
}
