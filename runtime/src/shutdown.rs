//! Who asks the program to stop, and how everybody hears of it.
//!
//! It takes signals (or a call) and gives two moments: *drain* — take nothing new, finish what is
//! in hand — and *force* — leave now. The first SIGTERM or SIGINT means drain, the second means
//! force. Both latch: whoever asks late gets the answer at once, so nobody can miss it.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::report::{Failure, Fault};

/// A cheap handle on the two moments. All clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    force: CancellationToken,
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::trigger`] sets off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGTERM and SIGINT set off. Needs a tokio runtime.
    pub fn on_signals() -> Result<Self, Fault> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Fault::new(
                    "could not listen for signals",
                    "this process",
                    error.to_string(),
                    "This is a limit of the system; check the number of open files.",
                )
            })
        };
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let seen = shutdown.clone();
        // Not detached in any harmful way: it owns nothing and ends with the runtime.
        tokio::spawn(async move {
            let mut name = "SIGTERM";
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => name = "SIGINT",
                }
                if seen.is_triggered() {
                    tracing::warn!(signal = name, "second signal, leaving now");
                    seen.force();
                    return;
                }
                tracing::info!(signal = name, "draining; a second signal leaves at once");
                seen.trigger();
            }
        });
        Ok(shutdown)
    }

    /// Asks everybody to drain.
    pub fn trigger(&self) {
        self.drain.cancel();
    }

    /// Asks everybody to leave now. Implies [`Shutdown::trigger`].
    pub fn force(&self) {
        self.drain.cancel();
        self.force.cancel();
    }

    /// Whether draining has begun.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether the second signal has come.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.force.is_cancelled()
    }

    /// Returns when draining begins. Safe to drop and to call again.
    pub async fn wait(&self) {
        self.drain.cancelled().await;
    }

    /// Returns at the second signal. Safe to drop and to call again.
    pub async fn forced(&self) {
        self.force.cancelled().await;
    }

    /// Sleeps for `time`, or until draining begins. Tells whether the whole time passed.
    pub async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.wait() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Runs `work` to its end, but no longer than `deadline` after draining began, and not past
    /// the second signal. The outermost call of a program: nothing inside can then keep it alive.
    pub async fn bound<F>(&self, deadline: Duration, work: F) -> Result<Exit, Failure>
    where
        F: Future<Output = Result<Exit, Failure>>,
    {
        let overdue = async {
            self.wait().await;
            tokio::select! {
                biased;
                () = self.forced() => "a second signal came".to_owned(),
                () = tokio::time::sleep(deadline) => {
                    format!("draining took longer than {} s", deadline.as_secs_f32())
                }
            }
        };
        tokio::select! {
            biased;
            result = work => result,
            why = overdue => Err(Failure::one(Exit::DrainDeadline, Fault::new(
                "left before everything in hand was finished",
                "this process",
                why,
                "Nothing is lost: the next start goes on from the last checkpoint.",
            ))),
        }
    }
}
