//! The benchmark: how fast documents and changes become rows, how late, in how much memory.
//!
//! - [`args`]: what is asked for.
//! - [`workload`]: what is carried: documents, the writes that change them, and the rows they must become.
//! - [`population`]: which documents of a collection there are; [`commands`]: writes of many at once.
//! - [`observe`]: when positions moved in PostgreSQL; [`process`]: memory and CPU of a program;
//!   [`servers`]: what MongoDB, Kafka and PostgreSQL use.
//! - [`phases`]: what is measured of any workload; [`course`]: the workloads one after the other;
//!   [`latency`]: the phase that times single writes; [`replay`]: the topics once more;
//!   [`limit`]: what the servers need alone.
//! - [`verify`]: counts and a checksum of every row after each phase.
//! - [`figures`]: what was measured; [`table`]: the same for a person, beside the marks.
//!
//! A figure counts only for rows that are right, so a wrong row ends the run with exit code 1; a
//! slow one does not.

pub mod args;
pub mod workload;
pub mod population;
pub mod commands;
pub mod observe;
pub mod process;
pub mod servers;
pub mod migration;
pub mod replay;
pub mod limit;
pub mod latency;
pub mod phases;
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
