//! The benchmark: how fast documents and changes become rows, how late, in how much memory.
//!
//! - [`args`]: what is asked for.
//! - [`learner`]: documents of 540 bytes, and the rows they must become, as functions of a number.
//! - [`population`]: which learners there are, and the writes that change them.
//! - [`observe`]: when positions moved in PostgreSQL; [`process`]: memory and CPU of a program.
//! - [`course`]: the phases one after the other; [`latency`]: the one that times single writes.
//! - [`verify`]: counts and a checksum of every row after each phase.
//! - [`figures`]: what was measured; [`table`]: the same for a person, beside the marks.
//!
//! A figure counts only for rows that are right, so a wrong row ends the run with exit code 1; a
//! slow one does not.

pub mod args;
pub mod learner;
pub mod mapping;
pub mod population;
pub mod observe;
pub mod process;
pub mod migration;
pub mod latency;
pub mod course;
pub mod verify;
pub mod figures;
pub mod table;

use args::Settings;
use leafcutter_harness::failure::{Attempt, Failure, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the benchmark. True: every row was right after every phase.
///
/// # Errors
/// When it cannot be carried through, or is interrupted.
pub async fn run(settings: &Settings) -> Result<bool> {
    let mut terminate = signal(SignalKind::terminate()).attempt("listen for signals")?;
    let interrupted = || Failure::new("interrupted; nothing is left running");
    tokio::select! {
        done = Box::pin(course::run(settings)) => done,
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
    }
}
