//! What documents have and no column takes, written to PostgreSQL every few seconds, beside the batches.

use crate::metrics;
use leafcutter_runtime::shutdown::Shutdown;
use leafcutter_sink::{
    drift::Drift,
    model::Model,
    session::{Config, ConnectError, Session},
    state::unmapped_fields::{self, UnmappedField},
    transform::Unmapped,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What was noted, for the assembler, which adds, and the task, which writes.
#[derive(Debug, Clone)]
pub struct SharedDrift(Arc<Mutex<Drift>>);

impl SharedDrift {
    /// Nothing was seen yet.
    pub fn new(model: Arc<Model>) -> Self {
        Self(Arc::new(Mutex::new(Drift::new(model))))
    }

    /// Adds what a batch noted.
    pub fn add(&self, unmapped: Unmapped) {
        self.lock().add(unmapped);
    }

    fn lock(&self) -> MutexGuard<'_, Drift> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, thiserror::Error)]
enum DriftError {
    #[error(transparent)]
    Unreachable(#[from] ConnectError),
    #[error(transparent)]
    Refused(#[from] tokio_postgres::Error),
}

/// Writes what was noted.
#[derive(Debug)]
pub struct DriftTask {
    /// The target.
    pub config: Config,
    /// The consumer group.
    pub group: String,
    /// What was noted.
    pub drift: SharedDrift,
    /// When it ends.
    pub shutdown: Shutdown,
}

impl DriftTask {
    const EVERY: Duration = Duration::from_secs(2);
    const END: Duration = Duration::from_secs(5);

    /// Runs until the shutdown, and writes what is left then.
    pub async fn run(self) {
        let mut session = None;
        while !self.shutdown.is_triggered() {
            self.shutdown.sleep(Self::EVERY).await;
            if tokio::time::timeout(Self::END, self.write(&mut session))
                .await
                .is_err()
            {
                session = None;
            }
        }
    }

    /// What cannot be written has its turn later.
    async fn write(&self, session: &mut Option<Session>) {
        let fields = self.drift.lock().take();
        for (collection, fields) in self.drift.lock().fields() {
            metrics::unmapped_fields(collection, fields);
        }
        if fields.is_empty() {
            return;
        }
        if let Err(error) = self.add(session, &fields).await {
            tracing::debug!(error = %error, "could not count fields that no column takes");
            *session = None;
            self.drift.lock().put_back(fields);
        }
    }

    async fn add(
        &self,
        session: &mut Option<Session>,
        fields: &[UnmappedField],
    ) -> Result<(), DriftError> {
        let open = match session {
            Some(open) => open,
            None => session.insert(Session::open(&self.config, "leafcutter drift").await?),
        };
        Ok(unmapped_fields::add(open, &self.group, fields).await?)
    }
}
