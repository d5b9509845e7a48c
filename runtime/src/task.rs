//! Named tasks that live and fall together.
//!
//! It takes futures and threads with names and gives the first failure with the name of whoever
//! failed. A task that ends well just ends; the first that fails or panics sets off the shutdown,
//! so that the others drain, and what it said is what the program ends with: later failures are
//! mostly echoes of it. Nothing is detached: [`TaskSet::join_all`] returns only when every task
//! has ended, or the deadline after the shutdown has passed and those left are named.

use crate::{
    exit::Exit,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use std::{
    any::Any,
    collections::HashMap,
    fmt::Display,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    task::{Id, JoinError, JoinSet},
};

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
        let late = async {
            shutdown.wait().await;
            tokio::select! {
                () = shutdown.forced() => {}
                () = tokio::time::sleep(deadline) => {}
            }
        };
        tokio::pin!(late);
        loop {
            // Biased, so that a task that ended in time is never called late.
            let ended = tokio::select! {
                biased;
                ended = self.tasks.join_next_with_id() => ended,
                () = &mut late => return Err(self.overdue(first)),
            };
            let Some(ended) = ended else { break };
            if let Some(failure) = self.failure_of(ended) {
                self.shutdown.trigger();
                first.get_or_insert(failure);
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
                    "draining took longer than allowed, or a second signal cut it short",
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cause, TaskFailure, TaskSet};
    use crate::exit::Exit;
    use crate::report::Failure;
    use crate::shutdown::Shutdown;

    const LONG: Duration = Duration::from_secs(15);
    const SHORT: Duration = Duration::from_millis(20);

    fn set() -> (Shutdown, TaskSet<String>) {
        let shutdown = Shutdown::new();
        (shutdown.clone(), TaskSet::new(shutdown))
    }

    /// The failure of a set whose tasks all drain; a set that does not tell them to is caught.
    async fn failure<E: Send + 'static>(tasks: TaskSet<E>, deadline: Duration) -> TaskFailure<E> {
        let joined = tokio::time::timeout(2 * LONG, tasks.join_all(deadline)).await;
        joined
            .expect("a failure has to drain the others")
            .expect_err("a failure")
    }

    fn drains(shutdown: &Shutdown) -> impl Future<Output = Result<(), String>> + 'static {
        let shutdown = shutdown.clone();
        async move {
            shutdown.wait().await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn tasks_that_end_well_stop_nobody() {
        let (shutdown, mut tasks) = set();
        tasks.spawn("one", async { Ok(()) });
        tasks.spawn_blocking_thread("two", || Ok(()));
        assert_eq!(tasks.running(), ["one", "two"]);
        assert_eq!(tasks.join_all(LONG).await, Ok(()));
        assert!(!shutdown.is_triggered());
    }

    #[tokio::test]
    async fn the_first_failure_drains_the_others_and_is_the_one_told() {
        let (shutdown, mut tasks) = set();
        tasks.spawn("reader", drains(&shutdown));
        let echo = shutdown.clone();
        tasks.spawn("echo", async move {
            echo.wait().await;
            Err("an echo".to_owned())
        });
        tasks.spawn("writer", async { Err("the disk is full".to_owned()) });
        let failure = self::failure(tasks, LONG).await;
        assert_eq!(failure.task, "writer");
        assert_eq!(failure.cause, Cause::Failed("the disk is full".to_owned()));
        assert!(failure.unfinished.is_empty() && shutdown.is_triggered());
    }

    #[tokio::test]
    async fn a_panic_in_a_task_or_a_thread_is_a_failure_with_its_name() {
        for thread in [false, true] {
            let (shutdown, mut tasks) = set();
            tasks.spawn("other", drains(&shutdown));
            if thread {
                tasks.spawn_blocking_thread("bad", || panic!("one is {}", 2));
            } else {
                tasks.spawn("bad", async { panic!("one is {}", 2) });
            }
            let failure = self::failure(tasks, LONG).await;
            assert_eq!(failure.task, "bad");
            assert_eq!(failure.cause, Cause::Panicked("one is 2".to_owned()));
            assert_eq!(failure.into_failure(|_| unreachable!()).exit, Exit::Bug);
        }
    }

    #[tokio::test]
    async fn a_thread_bears_its_name_and_reports_its_failure() {
        let (_, mut tasks) = set();
        tasks.spawn_blocking_thread("kafka-poll", || {
            Err(std::thread::current().name().unwrap_or_default().to_owned())
        });
        let failure = self::failure(tasks, LONG).await;
        assert_eq!(failure.cause, Cause::Failed("kafka-poll".to_owned()));
    }

    #[tokio::test]
    async fn who_ignores_the_drain_is_named_at_the_deadline() {
        let (shutdown, mut tasks) = set();
        tasks.spawn("stuck", std::future::pending());
        tasks.spawn("good", drains(&shutdown));
        shutdown.trigger();
        let failure = self::failure(tasks, SHORT).await;
        assert_eq!(
            (failure.task.as_str(), &failure.cause),
            ("stuck", &Cause::Overdue)
        );
        assert_eq!(failure.unfinished, ["stuck"]);
        assert_eq!(
            failure.into_failure(|_| unreachable!()).exit,
            Exit::DrainDeadline
        );
    }

    #[tokio::test]
    async fn the_first_failure_is_told_even_when_another_task_hangs() {
        let (_, mut tasks) = set();
        tasks.spawn("stuck", std::future::pending());
        tasks.spawn("writer", async { Err("broken".to_owned()) });
        let failure = self::failure(tasks, SHORT).await;
        assert_eq!(
            (failure.task.as_str(), failure.unfinished),
            ("writer", vec!["stuck".to_owned()])
        );
    }

    #[tokio::test]
    async fn a_forced_shutdown_does_not_wait_for_the_deadline() {
        let (shutdown, mut tasks) = set();
        tasks.spawn("stuck", std::future::pending());
        shutdown.force();
        let failure = tokio::time::timeout(LONG, tasks.join_all(Duration::MAX))
            .await
            .unwrap();
        assert_eq!(failure.unwrap_err().cause, Cause::Overdue);
    }

    #[tokio::test]
    async fn a_tasks_own_failure_is_what_the_program_ends_with() {
        let mut tasks = TaskSet::new(Shutdown::new());
        let fault = crate::report::Fault::new("a", "b", "c", "d");
        let own = Failure::one(Exit::HistoryLost, fault);
        let said = own.clone();
        tasks.spawn("stream", async move { Err(said) });
        assert_eq!(Failure::from(failure(tasks, LONG).await), own);
    }
}
