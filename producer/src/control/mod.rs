//! What the producer says beside the data: `snapshot-complete` and heartbeats (PROTOCOL §5).
//!
//! Both carry end offsets asked from the broker, not counted by this run: an earlier run's records
//! lie below them too. The order of the steps is the promise: of a heartbeat, first what is
//! acknowledged is looked at, then the offsets are asked for, so that they are above every record
//! the claim covers; of `snapshot-complete`, every row is acknowledged, then the time is read and
//! the offsets are asked for.
//!
//! A collection that is dropped while it is read looks like one that ends early. So `snapshot-complete` is said only of
//! the collection that was planned, which its UUID tells; whatever is read of it before the look was there.

pub mod offsets;

use crate::{
    error::Error,
    liveness::Liveness,
    metrics,
    progress::{Progress, Snapshot},
    publish::Publisher,
    settings::OnDrop,
    source::{Collection, clock::Clock, split},
};
use leafcutter_runtime::{budget::Budget, exit::Exit, report::Fault};
use leafcutter_schemas::{
    control::{Control, Heartbeat, SnapshotComplete},
    version::Version,
};
use mongodb::Client;
use offsets::EndOffsets;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio_util::sync::CancellationToken;

/// Sends the control records of one run.
pub struct Announcer {
    /// The source, for its time.
    pub client: Client,
    /// The database.
    pub database: String,
    /// Which of its times counts.
    pub clock: Clock,
    /// What a collection is that is not the one any more that was read.
    pub on_drop: OnDrop,
    /// The client for control records, with a queue of its own.
    pub publisher: Arc<Publisher>,
    /// The client for data, for its numbers.
    pub data: Arc<Publisher>,
    /// The control topic.
    pub topic: String,
    /// The producer's name.
    pub producer: String,
    /// The run.
    pub run: String,
    /// The mapped collections.
    pub collections: Arc<Vec<Collection>>,
    /// Asks the broker.
    pub offsets: EndOffsets,
    /// What is acknowledged.
    pub progress: Arc<Progress>,
    /// The byte budgets, for the metrics.
    pub budgets: [Budget; 2],
    /// Beats once a heartbeat, and says whether Kafka answers.
    pub liveness: Liveness,
    /// The ends that the last heartbeat told, by this run or one before it.
    pub told: Mutex<BTreeMap<String, Vec<i64>>>,
    /// When the last line was logged, and the records acknowledged since.
    pub noted: Mutex<(Instant, u64)>,
}

/// How often the log says how far the source is.
const NOTE: Duration = Duration::from_secs(60);

impl Announcer {
    /// Sends a heartbeat every `interval`, and `snapshot-complete` as soon as one is due, until
    /// `stop`; once more of each then.
    ///
    /// # Errors
    /// When a record could not be delivered.
    pub async fn run(&self, interval: Duration, stop: CancellationToken) -> Result<(), Error> {
        tokio::select! {
            said = self.speak(interval, stop) => said,
            never = self.measure(interval) => match never {},
        }
    }

    async fn speak(&self, interval: Duration, stop: CancellationToken) -> Result<(), Error> {
        loop {
            // Looked at before the work, so that the last round sees everything.
            let last = stop.is_cancelled();
            self.liveness.beat();
            self.complete_snapshots().await?;
            self.heartbeat().await?;
            if last {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.progress.changed.notified() => self.complete_snapshots().await?,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// Shows the state of things, also while Kafka answers nothing.
    async fn measure(&self, interval: Duration) -> Infallible {
        loop {
            for (name, snapshot) in self.progress.shown() {
                metrics::snapshot(&name, snapshot.splits_done, snapshot.splits);
            }
            let time = self.progress.claim();
            let used = self.budgets.iter().map(Budget::in_use).sum();
            metrics::state(time, lag(time, now()), used, self.data.in_flight());
            tokio::time::sleep(interval).await;
        }
    }

    /// Says of collections without a snapshot that none is coming.
    ///
    /// # Errors
    /// When a record could not be delivered, or the source or the broker does not answer.
    pub async fn announce_none(&self, collections: &[&Collection]) -> Result<(), Error> {
        for collection in collections {
            self.announce(&collection.name, &collection.topic, 0, false)
                .await?;
        }
        Ok(())
    }

    async fn complete_snapshots(&self) -> Result<(), Error> {
        for (name, snapshot) in self.progress.snapshots_to_complete() {
            let documents = snapshot.documents();
            let announced = match self.expect_same(&name, &snapshot).await {
                Ok(()) => self.announce(&name, &snapshot.topic, documents, true).await,
                Err(error) => Err(error),
            };
            match announced {
                Ok(()) => {
                    self.progress.snapshot_completed(&name);
                    let seconds = snapshot
                        .begun
                        .map_or(0.0, |begun| begun.elapsed().as_secs_f64());
                    tracing::info!(
                        collection = name,
                        documents,
                        splits = snapshot.splits.len(),
                        seconds = (seconds * 10.0).round() / 10.0,
                        "snapshot finished"
                    );
                    if snapshot.undated() > 0 {
                        tracing::warn!(
                            collection = name,
                            documents = snapshot.undated(),
                            "documents without any of the dates in `poll_by`: no poll will find \
                             them until they have one"
                        );
                    }
                    show(&name, &snapshot);
                }
                // Asked again with the next heartbeat; nothing is lost by being late.
                Err(error @ (Error::Source { .. } | Error::Broker { .. })) => {
                    let cause = crate::error::causes(&error);
                    tracing::warn!(%error, cause, "snapshot-complete has to wait");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the collection is the one that was read, or a person has said that it may be another.
    async fn expect_same(&self, name: &str, snapshot: &Snapshot) -> Result<(), Error> {
        // What was not there when it was planned has come since, and its changes tell all of it.
        if self.on_drop == OnDrop::Ignore || snapshot.plan.uuid.is_none() {
            return Ok(());
        }
        let failed = |source| Error::Source {
            what: format!("look whether `{name}` is the collection that was read"),
            source,
        };
        let database = self.client.database(&self.database);
        let uuid = split::uuid(&database, name).await.map_err(failed)?;
        if uuid == snapshot.plan.uuid {
            return Ok(());
        }
        let time = self.clock.now(&self.client).await.map_err(failed)?.bound;
        Err(Error::Halted {
            what: format!(
                "collection `{name}` was dropped, or another one renamed to it, while it was read,"
            ),
            time,
        })
    }

    async fn announce(
        &self,
        name: &str,
        topic: &str,
        documents: u64,
        snapshot: bool,
    ) -> Result<(), Error> {
        let time = self
            .clock
            .now(&self.client)
            .await
            .map_err(|source| Error::Source {
                what: "read the source's time after a snapshot".to_owned(),
                source,
            })?;
        let mut offsets = self.offsets.ask(&[topic]).await?;
        self.send(&Control::SnapshotComplete(SnapshotComplete {
            producer: self.producer.clone(),
            run: self.run.clone(),
            collection: name.to_owned(),
            topic: topic.to_owned(),
            offsets: offsets.remove(topic).unwrap_or_default(),
            complete_time: time.bound,
            documents,
            snapshot,
        }))
        .await
    }

    async fn heartbeat(&self) -> Result<(), Error> {
        // The claim first, the offsets after it.
        let time = self.progress.claim();
        let low_water = self.progress.low_water();
        let topics: Vec<&str> = self.collections.iter().map(|c| c.topic.as_str()).collect();
        let offsets: BTreeMap<String, Vec<i64>> = match self.offsets.ask(&topics).await {
            Ok(offsets) => offsets,
            Err(error @ Error::Fault { .. }) => return Err(error),
            Err(error) => {
                let cause = crate::error::causes(&error);
                self.liveness.silent(format!("{error}: {cause}"));
                tracing::warn!(%error, cause, "a heartbeat is left out");
                return Ok(());
            }
        };
        self.check_ends(&offsets)?;
        let sent_at = now();
        self.note(time, lag(time, sent_at), self.data.count());
        self.send(&Control::Heartbeat(Heartbeat {
            producer: self.producer.clone(),
            run: self.run.clone(),
            time,
            low_water,
            sent_at,
            offsets,
            snapshots: self.progress.shown(),
            polled: self.progress.is_polled(),
        }))
        .await
    }

    /// A partition that ends before the end that was told was deleted and created anew, or has lost
    /// records. The next heartbeat would hide it.
    fn check_ends(&self, ends: &BTreeMap<String, Vec<i64>>) -> Result<(), Error> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, ends) in ends {
            let before = told.get(topic).map(Vec::as_slice).unwrap_or_default();
            if ends.iter().zip(before).any(|(end, before)| end < before) {
                return Err(Error::fault(Exit::StateMismatch, shorter(topic)));
            }
        }
        told.clone_from(ends);
        Ok(())
    }

    /// One calm line a minute.
    fn note(&self, time: Version, lag_seconds: u64, records: u64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.1 += records;
        if noted.0.elapsed() < NOTE {
            return;
        }
        tracing::info!(time = %time, lag_seconds, records = noted.1, "following");
        *noted = (Instant::now(), 0);
    }

    async fn send(&self, control: &Control) -> Result<(), Error> {
        let value = control.value().unwrap_or_default();
        let key = control.key();
        let sent = self
            .publisher
            .send_and_wait(&self.topic, key.as_bytes(), Some(&value));
        self.liveness
            .asking("the brokers do not acknowledge a heartbeat", sent)
            .await?;
        self.liveness.answers();
        Ok(())
    }
}

pub(crate) fn shorter(topic: &str) -> Fault {
    Fault::new(
        "could not go on: a data topic is shorter than it was",
        format!("topic `{topic}`"),
        "a partition ends before the offset of the last heartbeat: the topic was deleted and \
         created anew, or its broker has lost records",
        "Begin again: `leafcutter rollback`, then another `--prefix` (README).",
    )
}

fn show(name: &str, snapshot: &Snapshot) {
    let splits = u32::try_from(snapshot.splits.len()).unwrap_or(u32::MAX);
    metrics::snapshot(name, splits, splits);
}

/// Our own clock, for display only.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds from a cluster time to our own clock; nothing claimed yet is no lag.
fn lag(time: Version, now_millis: i64) -> u64 {
    if time == Version::ZERO {
        return 0;
    }
    u64::try_from(now_millis / 1000 - time.seconds()).unwrap_or_default()
}
