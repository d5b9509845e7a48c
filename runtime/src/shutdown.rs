//! Who asks the program to stop, and how everybody hears of it.
//!
//! It takes signals (or a call) and gives two moments: *drain* — take nothing new, finish what is
//! in hand — and *force* — leave now. The first SIGTERM or SIGINT means drain, the second means
//! force. Both latch: whoever asks late gets the answer at once, so nobody can miss it. SIGHUP, which a
//! terminal sends that is closed, means what SIGTERM does, but for a program that was started with `nohup`.

use crate::{
    exit::Exit,
    report::{Failure, Fault},
};
use std::{future::Future, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};

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

    /// One that this one sets off too, and that sets off nothing but itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            force: self.force.child_token(),
        }
    }

    /// Sets it off when it is dropped.
    #[must_use]
    pub fn when_dropped(&self) -> DropGuard {
        self.drain.clone().drop_guard()
    }

    /// A shutdown that SIGTERM, SIGINT and SIGHUP set off. Needs a tokio runtime.
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
        let mut hangup = match hangup_is_ignored() {
            Some(false) => Some(listen(SignalKind::hangup())?),
            Some(true) | None => None,
        };
        let shutdown = Self::new();
        let seen = shutdown.clone();
        // Not detached in any harmful way: it owns nothing and ends with the runtime.
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    () = heard(hangup.as_mut()) => "SIGHUP",
                };
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

/// Whether this process was started with SIGHUP ignored, as `nohup` does; none where the system does not say
/// so (proc(5), `/proc/pid/status`, SigIgn).
fn hangup_is_ignored() -> Option<bool> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    ignores_hangup(&status)
}

fn ignores_hangup(status: &str) -> Option<bool> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    // Signal 1.
    Some(mask & 1 == 1)
}

async fn heard(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Shutdown, ignores_hangup};
    use crate::exit::Exit;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn both_moments_latch_and_reach_every_clone() {
        let shutdown = Shutdown::new();
        let late = shutdown.clone();
        assert!(!late.is_triggered());
        shutdown.trigger();
        late.wait().await;
        assert!(late.is_triggered() && !late.is_forced());
        shutdown.force();
        late.forced().await;
    }

    #[tokio::test]
    async fn force_implies_drain() {
        let shutdown = Shutdown::new();
        shutdown.force();
        assert!(shutdown.is_triggered());
    }

    #[tokio::test]
    async fn a_sleep_ends_when_draining_begins() {
        let shutdown = Shutdown::new();
        assert!(shutdown.sleep(Duration::from_millis(1)).await);
        shutdown.trigger();
        assert!(!shutdown.sleep(Duration::from_secs(3600)).await);
    }

    #[tokio::test]
    async fn work_that_ignores_the_drain_is_left_at_the_deadline() {
        let shutdown = Shutdown::new();
        shutdown.trigger();
        let stuck = std::future::pending();
        let failure = shutdown
            .bound(Duration::from_millis(5), stuck)
            .await
            .unwrap_err();
        assert_eq!(failure.exit, Exit::DrainDeadline);
    }

    #[tokio::test]
    async fn work_that_ends_in_time_keeps_its_result() {
        let shutdown = Shutdown::new();
        shutdown.force();
        let work = async { Ok(Exit::Differences) };
        assert_eq!(
            shutdown.bound(Duration::ZERO, work).await,
            Ok(Exit::Differences)
        );
    }

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_forces() {
        let shutdown = Shutdown::on_signals().unwrap();
        let kill = |signal: &str| {
            let line = format!("kill -{signal} {}", std::process::id());
            assert!(
                Command::new("sh")
                    .args(["-c", &line])
                    .status()
                    .unwrap()
                    .success()
            );
        };
        kill("TERM");
        tokio::time::timeout(SOON, shutdown.wait()).await.unwrap();
        assert!(!shutdown.is_forced());
        kill("INT");
        tokio::time::timeout(SOON, shutdown.forced()).await.unwrap();
    }

    #[test]
    fn whoever_was_started_with_nohup_is_not_ended_by_its_terminal() {
        let status =
            |mask: &str| format!("Name:\tx\nSigBlk:\t0001\nSigIgn:\t{mask}\nSigCgt:\t0001\n");
        assert_eq!(ignores_hangup(&status("0000000000000001")), Some(true));
        assert_eq!(ignores_hangup(&status("0000000000001000")), Some(false));
        assert_eq!(ignores_hangup("Name:\tx\n"), None);
    }
}
