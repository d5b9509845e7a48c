//! The demo: a live MongoDB becomes a PostgreSQL before one's eyes, and every row is proven.
//!
//! [`args`] says what is asked for; [`course`] does it, step by step; [`screen`] shows progress,
//! [`table`] the result and what was [`measured`]. Everything it starts ends with it.

pub mod args;
pub mod course;
pub mod measured;
pub mod screen;
pub mod table;

use crate::failure::{Attempt, Result};
use args::Settings;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the demo. True: nothing is missing, nothing is extra, nothing differs.
///
/// # Errors
/// When it cannot be carried through, or is interrupted.
pub async fn run(settings: &Settings) -> Result<bool> {
    let mut terminate = signal(SignalKind::terminate()).attempt("listen for signals")?;
    tokio::select! {
        done = course::run(settings) => done,
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
    }
}

fn interrupted() -> crate::failure::Failure {
    // Dropping the course ended the programs.
    crate::failure::Failure::new("interrupted; nothing is left running")
}
