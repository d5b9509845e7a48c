//! The wiring: which stages a run has, who owns them, and in which order they stop.
//!
//! A run begins at the checkpoint and ends at a stop, at its work done (`snapshot`), or at an
//! error. After a transient error, such as a delivery that failed, the next run begins at the
//! checkpoint. The order of a stop: the readers stop between two replies; what they handed over is
//! acknowledged; the last checkpoint and the last heartbeat are written.

mod drive;
mod plan;
mod readers;

use self::readers::Changes;
use crate::{
    checkpoint::{
        Fingerprint, Stored,
        store::{self, Writer},
    },
    control::{
        Announcer,
        offsets::{EndOffsets, other_partitions},
        shorter,
    },
    error::{Error, causes},
    liveness::Liveness,
    metrics,
    preflight::{self, Prepared},
    progress::Progress,
    publish::Publisher,
    settings::{Capture, Settings, Verb},
    source::{clock::Clock, snapshot::Pace},
};
use leafcutter_runtime::{
    admin::{Condition, Health},
    budget::Budget,
    exit::Exit,
    kafka::{ClientsWatch, Reach, read_compacted},
    report::Failure,
    retry::Backoff,
    shutdown::Shutdown,
    task::TaskSet,
};
use leafcutter_schemas::{class::Class, control::Control, version::Version};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio_util::sync::DropGuard;

/// The envelope's form on the wire, part of the fingerprint.
pub(crate) const FORMAT: &str = "avro";
/// The components that beat.
const CHANGE_STREAM: &str = "change stream";
const HEARTBEAT: &str = "heartbeat";

/// Runs until stopped, or until the work is done.
///
/// # Errors
/// What cannot be mended by beginning again at the checkpoint.
pub async fn run(
    settings: Arc<Settings>,
    prepared: Arc<Prepared>,
    health: Health,
    ready: Condition,
    shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut refused = false;
    loop {
        let run = uuid::Uuid::new_v4().simple().to_string();
        let attempt = Run {
            settings: Arc::clone(&settings),
            prepared: Arc::clone(&prepared),
            health: health.clone(),
            ready: ready.clone(),
            run,
        };
        // A topic may have been the reason; whoever goes on without it loses what was in it.
        if std::mem::take(&mut refused) {
            Box::pin(preflight::check(&settings)).await?;
        }
        let error = match Box::pin(attempt.go(&shutdown)).await {
            Ok(()) => return Ok(Exit::Done),
            Err(error) => error,
        };
        if error.class() != Class::Transient || shutdown.is_triggered() {
            return Err(told_of_all(error, &settings).into_failure());
        }
        refused = matches!(error, Error::Deliver { .. });
        ready.set(false, "beginning again at the checkpoint");
        // Nothing of the run is left that could beat.
        health.retire(CHANGE_STREAM);
        health.retire(HEARTBEAT);
        metrics::run_restarted();
        let pause = backoff.next_delay();
        let cause = causes(&error);
        tracing::warn!(%error, cause, retry_in = ?pause, "the run ended; beginning again at the checkpoint");
        if !shutdown.sleep(pause).await {
            return Ok(Exit::Done);
        }
    }
}

/// Where a stream loses its history while it is read, no collection can go on.
fn told_of_all(error: Error, settings: &Settings) -> Error {
    match error {
        Error::HistoryLost {
            position,
            mut collections,
            source,
        } => {
            if collections.is_empty() {
                collections.extend(settings.collections.iter().map(|c| c.name.clone()));
            }
            Error::HistoryLost {
                position,
                collections,
                source,
            }
        }
        other => other,
    }
}

/// One run.
struct Run {
    settings: Arc<Settings>,
    prepared: Arc<Prepared>,
    health: Health,
    ready: Condition,
    run: String,
}

/// What the stages of a run share.
struct Shared {
    data: Arc<Publisher>,
    control: Arc<Publisher>,
    progress: Arc<Progress>,
    /// What is read: splits, and replies of the change stream.
    budget: Budget,
    /// What is looked up for the updates of a reply that holds its own bytes meanwhile. Taken from
    /// the same bytes it could wait for itself.
    lookups: Budget,
    /// The limit in documents per second, of snapshot and polls together.
    pace: Option<Arc<Pace>>,
}

impl Run {
    fn clock(&self) -> Clock {
        match self.settings.capture {
            Capture::Stream => Clock::Cluster,
            Capture::Poll(_) => Clock::Wall,
        }
    }

    async fn go(self, outer: &Shutdown) -> Result<(), Error> {
        let stored = self.load().await?;
        let now = self.now().await?;
        let offsets = EndOffsets::open(&self.settings.kafka, self.settings.partitions)?;
        self.check_ends(&offsets).await?;
        let lookups = self.settings.memory_budget / 4;
        let shared = Shared {
            data: Arc::new(Publisher::open(
                &self.settings.kafka,
                "leafcutter-producer",
            )?),
            control: Arc::new(Publisher::open(
                &self.settings.kafka,
                "leafcutter-producer-control",
            )?),
            progress: Arc::new(match self.settings.capture {
                Capture::Stream => Progress::default(),
                Capture::Poll(_) => Progress::polled(),
            }),
            budget: Budget::new(self.settings.memory_budget - lookups),
            lookups: Budget::new(lookups),
            pace: self
                .settings
                .max_docs_per_second
                .map(|n| Arc::new(Pace::new(n))),
        };
        // H3: an earlier run's look-ups are all before this.
        shared.progress.raise_floor(now);
        let shutdown = Shutdown::new();
        let changes = self.open_changes(&stored, now, &shared, outer).await?;
        if outer.is_triggered() {
            return Ok(());
        }
        let tasks = self.plan(&stored, now, &shared).await?;
        let announcer = self.announcer(&shared, offsets);
        if self.settings.verb == Verb::Stream {
            self.announce_none(&announcer, &stored).await?;
        }
        // The stream's position is durable before the first document is read.
        let mut writer = self.writer(&shared);
        writer.write().await?;
        let mut sources = TaskSet::new(shutdown.clone());
        self.spawn_readers(&mut sources, tasks, &shared, &shutdown);
        match changes {
            Changes::None => {}
            Changes::Stream(stream) => {
                self.spawn_stream(&mut sources, *stream, &shared, &shutdown);
            }
            Changes::Poll(polling, mark) => {
                let poll = self.poll(polling, mark, &shared);
                sources.spawn("polls", poll.run(shutdown.clone()));
            }
        }
        self.ready.set(true, "");
        tracing::info!(
            run = self.run,
            name = self.settings.name,
            database = self.settings.database,
            polled = shared.progress.is_polled(),
            collections = self.settings.collections.len(),
            "started"
        );
        // Whoever waits for a lost client waits for ever, so nothing is waited for then.
        let (watch, _ends) = self.clients_watch(&shared, &announcer);
        let lost = tokio::task::spawn_blocking(move || watch.run());
        tokio::select! {
            ended = self.drive(sources, writer, announcer, &shared, (outer, &shutdown)) => ended,
            Ok(Err(lost)) = lost => Err(Error::ClientLost(lost)),
        }
    }

    /// Looks whether the clients reach Kafka, until its second half is dropped.
    fn clients_watch(&self, shared: &Shared, announcer: &Announcer) -> (ClientsWatch, DropGuard) {
        let shutdown = Shutdown::new();
        let watch = ClientsWatch {
            kafka: self.settings.kafka.clone(),
            topic: self.prepared.control_topic.clone(),
            clients: vec![
                ("records", Arc::clone(&shared.data) as Arc<dyn Reach>),
                (
                    "control records",
                    Arc::clone(&shared.control) as Arc<dyn Reach>,
                ),
                ("end offsets", Arc::new(announcer.offsets.clone())),
            ],
            shutdown: shutdown.clone(),
        };
        (watch, shutdown.when_dropped())
    }

    async fn load(&self) -> Result<Stored, Error> {
        let kafka = self.settings.kafka.clone();
        let topic = self.prepared.checkpoints_topic.clone();
        let name = self.settings.name.clone();
        let load = tokio::task::spawn_blocking(move || store::load(&kafka, &topic, &name));
        load.await
            .unwrap_or_else(|error| Err(Error::internal("the reader of checkpoints", error)))
    }

    /// The last heartbeat knows how far each partition was. One that ends before that was deleted
    /// and created anew, or has lost records; a new one takes documents from the others.
    async fn check_ends(&self, offsets: &EndOffsets) -> Result<(), Error> {
        let kafka = self.settings.kafka.clone();
        let topic = self.prepared.control_topic.clone();
        let read = tokio::task::spawn_blocking(move || read_compacted(&kafka, &topic)).await;
        let records = match read {
            Ok(Ok(records)) => records,
            Ok(Err(error)) => return Err(Error::Unavailable(Box::new(error.into()))),
            Err(error) => return Err(Error::internal("the reader of heartbeats", error)),
        };
        let last = records
            .iter()
            .find_map(|(key, value)| match Control::read(key, value) {
                Ok(Control::Heartbeat(last)) if last.producer == self.settings.name => Some(last),
                _ => None,
            });
        let Some(last) = last else {
            return Ok(());
        };
        let topics: Vec<&str> = self
            .settings
            .collections
            .iter()
            .map(|c| c.topic.as_str())
            .collect();
        let now = offsets.ask(&topics).await?;
        for (topic, ends) in &now {
            let before = last
                .offsets
                .get(topic)
                .map(Vec::as_slice)
                .unwrap_or_default();
            if !before.is_empty() && before.len() != ends.len() {
                let fault = other_partitions(topic, ends.len(), before.len());
                return Err(Error::fault(Exit::StateMismatch, fault));
            }
            if ends.iter().zip(before).any(|(end, before)| end < before) {
                return Err(Error::fault(Exit::StateMismatch, shorter(topic)));
            }
        }
        Ok(())
    }

    async fn now(&self) -> Result<Version, Error> {
        let time = self.clock().now(&self.prepared.client).await;
        let time = time.map_err(|source| Error::Source {
            what: "read the source's time".to_owned(),
            source,
        })?;
        Ok(time.past)
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut collections: Vec<_> = self
            .settings
            .collections
            .iter()
            .map(|c| c.name.clone())
            .collect();
        collections.sort();
        Fingerprint {
            database: self.settings.database.clone(),
            collections,
            post_images: self.prepared.post_images,
            format: FORMAT.to_owned(),
            capture: self.settings.capture.tag().to_owned(),
        }
    }

    fn announcer(&self, shared: &Shared, offsets: EndOffsets) -> Announcer {
        let kafka = self.health.condition("kafka");
        kafka.set(true, "");
        Announcer {
            client: self.prepared.client.clone(),
            database: self.settings.database.clone(),
            clock: self.clock(),
            on_drop: self.settings.on_drop,
            publisher: Arc::clone(&shared.control),
            data: Arc::clone(&shared.data),
            topic: self.prepared.control_topic.clone(),
            producer: self.settings.name.clone(),
            run: self.run.clone(),
            collections: Arc::clone(&self.settings.collections),
            offsets,
            progress: Arc::clone(&shared.progress),
            budgets: [shared.budget.clone(), shared.lookups.clone()],
            liveness: Liveness::new(&self.health, HEARTBEAT, kafka),
            told: Mutex::default(),
            noted: Mutex::new((Instant::now(), 0)),
        }
    }

    async fn announce_none(&self, announcer: &Announcer, stored: &Stored) -> Result<(), Error> {
        let taken = |name: &str| stored.snapshots.get(name).is_some_and(|left| left.complete);
        let none = self.settings.collections.iter().filter(|c| !taken(&c.name));
        announcer.announce_none(&none.collect::<Vec<_>>()).await
    }

    fn writer(&self, shared: &Shared) -> Writer {
        Writer::new(
            Arc::clone(&shared.control),
            self.prepared.checkpoints_topic.clone(),
            (&self.settings.name, &self.run),
            (self.prepared.cluster.clone(), self.fingerprint()),
            Arc::clone(&shared.progress),
        )
    }
}

/// Bytes aimed at in one reply of a snapshot.
pub(crate) const BATCH_BYTES: u64 = 2 << 20;
