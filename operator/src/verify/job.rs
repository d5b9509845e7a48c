//! What all tasks of a verification share.

use super::{
    board::Board, covered::Covered, pace::Pace, source::Source, suspects::Suspects, work::Work,
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
    shutdown::Shutdown,
};
use leafcutter_schemas::version::Version;
use leafcutter_sink::session::Config;
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// The whole of it.
#[derive(Debug)]
pub struct Job {
    /// The collections.
    pub works: Vec<Work>,
    /// The source.
    pub source: Source,
    /// How to connect to PostgreSQL.
    pub config: Config,
    /// PostgreSQL, as it may be shown.
    pub place: String,
    /// The source's time at the start.
    pub started: Version,
    /// What is found.
    pub board: Board,
    /// What is in doubt.
    pub suspects: Suspects,
    /// How far the target is.
    pub covered: Arc<Mutex<Covered>>,
    /// How fast documents may be read.
    pub pace: Pace,
    /// How long to wait while nothing moves.
    pub patience: Duration,
    /// Whether to stop.
    pub shutdown: Shutdown,
}

impl Job {
    /// A statement failed.
    pub fn refused(&self, what: &str, error: &tokio_postgres::Error) -> Failure {
        let next = "Check that the consumers run under this mapping, `leafcutter check --postgres`, and \
                    that this user may read the tables and make temporary ones. With --resume it goes \
                    on where it was.";
        let fault = Fault::new(what, self.place.clone(), causes(error), next);
        Failure::one(Exit::Preflight, fault)
    }

    /// No session can be had.
    pub fn unreachable(&self, error: &leafcutter_sink::session::ConnectError) -> Failure {
        let fault = Fault::new(
            "could not connect to PostgreSQL",
            self.place.clone(),
            causes(error),
            "Check that the server runs, and that it has connections left: --jobs takes one each.",
        );
        Failure::one(Exit::Preflight, fault)
    }
}
