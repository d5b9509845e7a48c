//! A run under way, and the order of its stop.

use super::{Run, Shared};
use crate::{
    checkpoint::store::Writer, control::Announcer, error::Error, progress::Progress, settings::Verb,
};
use leafcutter_runtime::{
    shutdown::Shutdown,
    task::{Cause, TaskSet},
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl Run {
    /// Lets everything run and stops it in order.
    pub(super) async fn drive(
        &self,
        sources: TaskSet<Error>,
        mut writer: Writer,
        announcer: Announcer,
        shared: &Shared,
        (outer, shutdown): (&Shutdown, &Shutdown),
    ) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let settings = &self.settings;
        let drain = settings.drain;
        let sources = async {
            let ended = tokio::select! {
                ended = sources.join_all(drain) => ended.map_err(|failure| match failure.cause {
                    Cause::Failed(error) => error,
                    _ => Error::Task(Box::new(failure.into_failure(Error::into_failure))),
                }),
                never = forward(outer, shutdown) => never,
                error = shared.data.failed() => Err(error),
                error = shared.control.failed() => Err(error),
            };
            let flushed = match &ended {
                Err(Error::Deliver { .. }) => Ok(()),
                _ => self.flush(shared, outer).await,
            };
            if settings.verb == Verb::Snapshot && ended.is_ok() && flushed.is_ok() {
                announced(&shared.progress, (outer, shutdown)).await;
            }
            stop.cancel();
            ended.and(flushed)
        };
        let services = async {
            let checkpoints = checkpoints(&mut writer, settings.checkpoint_interval, &stop);
            let control = announcer.run(settings.heartbeat_interval, stop.clone());
            let ended = tokio::try_join!(checkpoints, control);
            if ended.is_err() {
                shutdown.trigger();
            }
            ended.map(|_| ())
        };
        let (sources, services) = tokio::join!(sources, services);
        // What was finished in the very end.
        let last = match (&sources, &services) {
            (Err(Error::Deliver { .. }), _) | (_, Err(_)) => Ok(()),
            _ => writer.write().await,
        };
        sources.and(services).and(last)
    }

    /// Waits until everything handed over is acknowledged.
    async fn flush(&self, shared: &Shared, outer: &Shutdown) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + self.settings.drain;
        loop {
            let in_flight = shared.data.in_flight();
            if in_flight == 0 {
                return Ok(());
            }
            if outer.is_forced() || tokio::time::Instant::now() > deadline {
                return Err(Error::DrainDeadline { in_flight });
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
                error = shared.data.failed() => return Err(error),
            }
        }
    }
}

/// Passes a stop from outside on to the run's own.
async fn forward(outer: &Shutdown, shutdown: &Shutdown) -> Result<(), Error> {
    outer.wait().await;
    shutdown.trigger();
    std::future::pending().await
}

/// Waits until every snapshot is announced, or the run is to stop.
async fn announced(progress: &Progress, (outer, shutdown): (&Shutdown, &Shutdown)) {
    while !progress.snapshots_complete() && !outer.is_triggered() && !shutdown.is_triggered() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn checkpoints(
    writer: &mut Writer,
    interval: Duration,
    stop: &CancellationToken,
) -> Result<(), Error> {
    loop {
        writer.write().await?;
        tokio::select! {
            () = stop.cancelled() => return writer.write().await,
            () = tokio::time::sleep(interval) => {}
        }
    }
}
