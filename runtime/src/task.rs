//! Named tasks that live and fall together.
//!
//! It takes futures and threads with names and gives the first failure with the name of whoever
//! failed. A task that ends well just ends; the first that fails or panics sets off the shutdown,
//! so that the others drain, and what it said is what the program ends with: later failures are
//! mostly echoes of it. Nothing is detached: [`TaskSet::join_all`] returns only when every task
//! has ended, or the deadline after the shutdown has passed and those left are named.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::exit::Exit;
use crate::report::{Failure, Fault};
use crate::shutdown::Shutdown;

/// How a task can fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause<E> {
    /// It said so.
    Failed(E),
    /// It panicked with this message: a bug.
    Panicked(String),
    /// It had not ended when the deadline passed.
    Overdue,
}

/// The first failure of a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task `{task}` ended early")]
pub struct TaskFailure<E> {
    /// Who failed.
    pub task: String,
    /// How.
    pub cause: Cause<E>,
    /// Who had not ended when the deadline passed, sorted.
    pub unfinished: Vec<String>,
}

/// The set. `E` is what its tasks fail with.
#[derive(Debug)]
pub struct TaskSet<E> {
    shutdown: Shutdown,
    tasks: JoinSet<Result<(), Cause<E>>>,
    names: HashMap<Id, String>,
}

impl<E: Send + 'static> TaskSet<E> {
    /// An empty set whose first failure triggers `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            tasks: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Starts an async task.
    pub fn spawn<F>(&mut self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let handle = self
            .tasks
            .spawn(async move { future.await.map_err(Cause::Failed) });
        self.names.insert(handle.id(), name.into());
    }

    /// Starts an OS thread that bears the name, for work that blocks (a Kafka client's poll loop).
    /// It has to watch the shutdown by itself: a thread cannot be aborted, only left behind.
    pub fn spawn_blocking_thread<F>(&mut self, name: impl Into<String>, work: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let name = name.into();
        let (report, result) = oneshot::channel();
        let started = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let end = match catch_unwind(AssertUnwindSafe(work)) {
                    Ok(end) => end.map_err(Cause::Failed),
                    Err(panic) => Err(Cause::Panicked(panic_message(panic.as_ref()))),
                };
                // The set is gone only when the program is already ending without us.
                report.send(end).ok();
            });
        let handle = self.tasks.spawn(async move {
            if let Err(error) = started {
                return Err(Cause::Panicked(format!(
                    "could not start a thread: {error}"
                )));
            }
            result
                .await
                .unwrap_or_else(|_| Err(Cause::Panicked("the thread vanished".into())))
        });
        self.names.insert(handle.id(), name);
    }

    /// Names of the tasks that have not been seen to end.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.values().cloned().collect();
        names.sort();
        names
    }

    /// Waits for all tasks; at most `deadline` once the shutdown is triggered, by a failure or
    /// from outside, and not past a forced one.
    pub async fn join_all(mut self, deadline: Duration) -> Result<(), TaskFailure<E>> {
        let shutdown = self.shutdown.clone();
        let mut first: Option<TaskFailure<E>> = None;
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                ended = self.tasks.join_next_with_id() => {
                    let Some(ended) = ended else { break };
                    if let Some(failure) = self.failure_of(ended) {
                        self.shutdown.trigger();
                        first.get_or_insert(failure);
                    }
                }
                () = shutdown.wait(), if due.is_none() => due = Some(Instant::now() + deadline),
                () = shutdown.forced() => return Err(self.overdue(first)),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    return Err(self.overdue(first));
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn failure_of(
        &mut self,
        ended: Result<(Id, Result<(), Cause<E>>), JoinError>,
    ) -> Option<TaskFailure<E>> {
        let (id, cause) = match ended {
            Ok((id, Ok(()))) => {
                self.names.remove(&id);
                return None;
            }
            Ok((id, Err(cause))) => (id, cause),
            Err(error) => {
                let id = error.id();
                let message = match error.try_into_panic() {
                    Ok(panic) => panic_message(panic.as_ref()),
                    Err(error) => error.to_string(),
                };
                (id, Cause::Panicked(message))
            }
        };
        let task = self.names.remove(&id).unwrap_or_default();
        Some(TaskFailure {
            task,
            cause,
            unfinished: Vec::new(),
        })
    }

    /// The deadline passed: the first failure, or the first of those left, and who is left.
    fn overdue(mut self, first: Option<TaskFailure<E>>) -> TaskFailure<E> {
        self.tasks.abort_all();
        let unfinished = self.running();
        let task = unfinished.first().cloned().unwrap_or_default();
        let failure = first.unwrap_or(TaskFailure {
            task,
            cause: Cause::Overdue,
            unfinished: vec![],
        });
        TaskFailure {
            unfinished,
            ..failure
        }
    }
}

/// What a panic said. Only texts can be read back.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

impl<E> TaskFailure<E> {
    /// The failure the program ends with; `with` words what a task said itself.
    pub fn into_failure(self, with: impl FnOnce(E) -> Failure) -> Failure {
        let place = format!("task `{}`", self.task);
        match self.cause {
            Cause::Failed(error) => with(error),
            Cause::Panicked(message) => Failure::one(
                Exit::Bug,
                Fault::new(
                    "stopped because an invariant of ours broke",
                    place,
                    message,
                    "This is a bug; please report it with the log above. Nothing is lost: the \
                     next start goes on from the last checkpoint.",
                ),
            ),
            Cause::Overdue => Failure::one(
                Exit::DrainDeadline,
                Fault::new(
                    "left before everything in hand was finished",
                    self.unfinished
                        .iter()
                        .map(|name| format!("`{name}`"))
                        .collect::<Vec<_>>()
                        .join(", "),
                    "draining took longer than allowed",
                    "Nothing is lost: the next start goes on from the last checkpoint.",
                ),
            ),
        }
    }
}

impl From<TaskFailure<Failure>> for Failure {
    fn from(failure: TaskFailure<Failure>) -> Self {
        failure.into_failure(|failure| failure)
    }
}

impl<E: Display> Display for Cause<E> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(out),
            Self::Panicked(message) => write!(out, "panicked: {message}"),
            Self::Overdue => out.write_str("had not ended at the deadline"),
        }
    }
}
