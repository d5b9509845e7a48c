//! Indexes and foreign keys of tables that Leafcutter has made, added when the first snapshot of the table is
//! applied (docs/decisions/the-load-phase.md).
//!
//! One consumer at a time works on a table, on a session of its own, one step after the other; each step is noted,
//! so another consumer goes on where it ends. What PostgreSQL refuses is told and tried again later; the others
//! have their turn meanwhile.

use crate::control::SharedControl;
use leafcutter_runtime::{report::causes, shutdown::Shutdown};
use leafcutter_sink::{
    model::Model,
    orphan::{ControlState, Progress, has_applied},
    session::{Config, ConnectError, Session},
    sqlstate::is_passing,
    state::{
        deferred_constraints::{self, DeferredRow},
        offsets, stagings,
    },
    target::deferred::{self, Step},
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// After how long what was refused is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// How long a cancel may take.
const CANCEL: Duration = Duration::from_secs(3);
/// To build an index, or to prove a foreign key, takes as long as it takes.
const SESSION: &str =
    "set statement_timeout = 0; set lock_timeout = 0; set maintenance_work_mem = '64MB'";

#[derive(Debug, thiserror::Error)]
enum ConstraintsError {
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    #[error(transparent)]
    Refused(#[from] tokio_postgres::Error),
}

/// Adds them.
#[derive(Debug)]
pub struct ConstraintsTask {
    /// The target.
    pub config: Config,
    /// The consumer group.
    pub group: String,
    /// The mapping.
    pub model: Arc<Model>,
    /// What the control topic says.
    pub control: SharedControl,
    /// When it ends.
    pub shutdown: Shutdown,
}

impl ConstraintsTask {
    /// Runs until the shutdown; errors of PostgreSQL are waited out.
    pub async fn run(self) {
        let mut session = None;
        let mut refused: HashMap<String, Instant> = HashMap::new();
        while !self.shutdown.is_triggered() {
            let done = self.turn(&mut session, &mut refused).await;
            if let Err(error) = &done {
                tracing::debug!(
                    error = causes(error),
                    "cannot look for constraints to be added"
                );
                session = None;
            }
            if !done.is_ok_and(|did| did) {
                self.shutdown.sleep(LOOK).await;
            }
        }
    }

    /// Does one step, if one is due and nobody stops the program; whether it did. What PostgreSQL executes is
    /// cancelled by a stop: it would go on without us, and keep its locks.
    async fn turn(
        &self,
        session: &mut Option<Session>,
        refused: &mut HashMap<String, Instant>,
    ) -> Result<bool, ConstraintsError> {
        let open = match session {
            Some(open) => open,
            None => {
                let opened = Session::open(&self.config, "leafcutter constraints").await?;
                let open = session.insert(opened);
                open.batch(SESSION).await?;
                open
            }
        };
        let canceller = open.canceller();
        tokio::select! {
            biased;
            done = self.round(open, refused) => return done,
            () = self.shutdown.wait() => {}
        }
        if let Ok(Err(error)) = tokio::time::timeout(CANCEL, canceller.cancel()).await {
            tracing::warn!(
                error = causes(&error),
                "cannot cancel what PostgreSQL executes"
            );
        }
        Ok(false)
    }

    /// Does one step, if one is due; whether it did.
    async fn round(
        &self,
        open: &mut Session,
        refused: &mut HashMap<String, Instant>,
    ) -> Result<bool, ConstraintsError> {
        let rows = deferred_constraints::rows(open).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        // Read before the positions.
        let control = self.control.snapshot();
        let progress = offsets::progress(open, &self.group).await?;
        for row in rows {
            let name = format!("{} {}", row.table, row.name);
            let rests = refused
                .get(&name)
                .is_some_and(|since| since.elapsed() < AGAIN);
            if rests || !self.is_due(open, &row, &control, &progress).await? {
                continue;
            }
            if !deferred_constraints::try_lock(open, &row).await? {
                continue;
            }
            if deferred::waits_for(&self.model, &row).is_some()
                && !deferred::is_wanted(&self.model, &row)
            {
                deferred_constraints::done(open, &row.table, &row.name).await?;
                deferred_constraints::unlock(open, &row).await?;
                return Ok(true);
            }
            let begun = Instant::now();
            let done = deferred::step(open, &row).await;
            if !open.is_closed() {
                deferred_constraints::unlock(open, &row).await?;
            }
            match done {
                Ok(step) => {
                    let seconds = begun.elapsed().as_secs_f64();
                    tracing::info!(
                        table = row.table,
                        name = row.name,
                        seconds,
                        "{}",
                        told(step)
                    );
                    return Ok(true);
                }
                Err(error) if open.is_closed() => return Err(error.into()),
                // Somebody uses the table just now.
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    let why = causes(&error);
                    tracing::warn!(
                        table = row.table,
                        name = row.name,
                        why,
                        "cannot add a constraint yet"
                    );
                    deferred_constraints::failed(open, &row.table, &row.name, &why).await?;
                    refused.insert(name, Instant::now());
                }
            }
        }
        Ok(false)
    }

    /// Whether the first snapshots are applied that fill the table, and that to which it points.
    async fn is_due(
        &self,
        session: &mut Session,
        row: &DeferredRow,
        control: &ControlState,
        progress: &Progress,
    ) -> Result<bool, ConstraintsError> {
        let Some(collections) = deferred::waits_for(&self.model, row) else {
            // A table that left the mapping is not filled any more; one that a replay fills is its matter.
            let staged = stagings::rows(session).await?;
            return Ok(!staged.iter().any(|staged| row.is_in(&staged.schema)));
        };
        let applied = collections.into_iter().all(|id| {
            let topic = &self.model.collection(id).topic;
            let complete = control.first_complete.get(topic);
            complete.is_some_and(|complete| has_applied(progress, topic, &complete.offsets))
        });
        Ok(applied)
    }
}

fn told(step: Step) -> &'static str {
    match step {
        Step::Index => "index built",
        Step::Key => "foreign key added, for new rows",
        Step::Proof => "foreign key proven for all rows",
    }
}
