//! A collection read again by a person's tool, beside the producer that follows it.
//!
//! It takes a collection and gives its documents to the collection's topic, as a snapshot does, in this
//! process. Nothing of it is in the producer's checkpoints, so neither knows of the other. That is safe for
//! the same reason as any repetition: every record has its version, and the highest wins
//! (docs/decisions/reading-a-collection-again.md).
//!
//! How the collection is followed, and by whom, its checkpoint says ([`followed`]). Where the oplog no longer
//! has what comes after it, [`Reader::cover`] writes another, under which a producer goes on from a time that
//! was taken before the read.

mod followed;
mod history;
mod named;

pub use crate::settings::again::{AgainOptions, Place, date};
pub use followed::{Followed, followed};

use crate::{
    checkpoint::StreamCheckpoint,
    control::offsets::EndOffsets,
    encode::Encoder,
    error::Error,
    pipeline::BATCH_BYTES,
    preflight::{self, Prepared},
    progress::{Progress, Snapshot as SnapshotState},
    publish::{Publisher, Route},
    settings::{Capture, Settings},
    source::{
        clock::Clock,
        matching::Matching,
        snapshot::{Pace, Snapshot, Task},
        split,
    },
};
use bson::{Document, RawDocumentBuf};
use leafcutter_runtime::{
    budget::Budget,
    exit::Exit,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use leafcutter_schemas::version::Version;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

/// Reads one collection again.
pub struct Reader {
    settings: Settings,
    prepared: Prepared,
    followed: StreamCheckpoint,
    data: Arc<Publisher>,
    offsets: EndOffsets,
    progress: Arc<Progress>,
    budget: Budget,
    pace: Option<Arc<Pace>>,
    run: String,
    /// Documents read of a part.
    read: AtomicU64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("collection", &self.name())
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Looks at both servers as a producer does at its start.
    ///
    /// # Errors
    /// Every fault of both, or that this is not the source that is followed.
    pub async fn open(settings: Settings, followed: StreamCheckpoint) -> Result<Self, Failure> {
        let prepared = Box::pin(preflight::check(&settings)).await?;
        if !followed.cluster.may_be(&prepared.cluster) {
            let (then, now) = (&followed.cluster.set, &prepared.cluster.set);
            let fault = Fault::new(
                "could not read the collection again: it was read from another MongoDB cluster",
                "the checkpoints topic and `--mongodb-uri`",
                format!("replica set `{then}` then, `{now}` now: versions cannot be compared"),
                "Check --mongodb-uri and --prefix.",
            );
            return Err(Failure::one(Exit::StateMismatch, fault));
        }
        let opened = || {
            Ok::<_, Error>((
                Publisher::open(&settings.kafka, "leafcutter-again")?,
                EndOffsets::open(&settings.kafka, settings.partitions)?,
            ))
        };
        let (data, offsets) = opened().map_err(Error::into_failure)?;
        let progress = match settings.capture {
            Capture::Stream => Progress::default(),
            Capture::Poll(_) => Progress::polled(),
        };
        Ok(Self {
            data: Arc::new(data),
            offsets,
            progress: Arc::new(progress),
            budget: Budget::new(settings.memory_budget),
            pace: settings
                .max_docs_per_second
                .map(|limit| Arc::new(Pace::new(limit))),
            run: uuid::Uuid::new_v4().simple().to_string(),
            read: AtomicU64::new(0),
            settings,
            prepared,
            followed,
        })
    }

    fn name(&self) -> &str {
        let collection = self.settings.collections.first();
        collection.map_or("", |collection| collection.name.as_str())
    }

    fn topic(&self) -> &str {
        let collection = self.settings.collections.first();
        collection.map_or("", |collection| collection.topic.as_str())
    }

    fn clock(&self) -> Clock {
        match self.settings.capture {
            Capture::Stream => Clock::Cluster,
            Capture::Poll(_) => Clock::Wall,
        }
    }

    /// Whether its versions are dates.
    pub fn is_polled(&self) -> bool {
        self.progress.is_polled()
    }

    /// Whether it is a time series, whose `_id`s have no index.
    pub fn is_series(&self) -> bool {
        self.prepared
            .time_series
            .iter()
            .any(|name| name == self.name())
    }

    fn failed(&self, what: &str, source: mongodb::error::Error) -> Failure {
        let what = format!("{what} `{}`", self.name());
        Error::Source { what, source }.into_failure()
    }

    /// The source's time.
    ///
    /// # Errors
    /// When the source cannot be asked.
    pub async fn now(&self) -> Result<Version, Failure> {
        let time = self.clock().now(&self.prepared.client).await;
        let time = time.map_err(|error| self.failed("read the source's time for", error))?;
        Ok(time.past)
    }

    /// How many documents there are, about; exactly, where there is a filter.
    ///
    /// # Errors
    /// When the source cannot be asked.
    pub async fn count(&self, filter: Option<&Document>) -> Result<u64, Failure> {
        let database = self.prepared.client.database(&self.settings.database);
        let collection = database.collection::<RawDocumentBuf>(self.name());
        let counted = match filter {
            None => collection.estimated_document_count().await,
            Some(filter) => collection.count_documents(filter.clone()).await,
        };
        counted.map_err(|error| {
            let filter = filter.cloned().unwrap_or_default();
            match self.matching_reader().filter_fits(&filter, &error) {
                Ok(()) => self.failed("count the documents of", error),
                Err(refused) => refused.into_failure(),
            }
        })
    }

    /// The filter of documents with a date of `poll_by` that is not before this one, in milliseconds since
    /// 1970; none where the mapping names no dates.
    pub fn since(&self, millis: i64) -> Option<Document> {
        let dates = &self.settings.collections.first()?.dates;
        dates.fields().next()?;
        Some(dates.not_before(millis))
    }

    /// Documents read so far, and about how many there are, of [`Reader::whole`].
    pub fn progress(&self) -> (u64, u64) {
        let shown = self.progress.shown();
        let whole = shown.values().next();
        let part = self.read.load(Ordering::Relaxed);
        whole.map_or((part, 0), |w| {
            (w.documents_read + part, w.documents_estimated)
        })
    }

    fn route(&self) -> Route {
        Route::new(
            Arc::clone(&self.data),
            Arc::clone(&self.settings.collections),
            Arc::clone(&self.prepared.addresses),
            Encoder::new(&self.settings.database, &self.run),
            &self.settings.mapping_hash,
        )
        .again()
    }

    /// Reads every document; whether it came to the end.
    ///
    /// # Errors
    /// When Kafka refuses a record, or the source cannot be asked how to be cut.
    pub async fn whole(&self, shutdown: &Shutdown) -> Result<bool, Failure> {
        let database = self.prepared.client.database(&self.settings.database);
        let plan = if self.is_series() {
            split::plan_series(&database, self.name()).await
        } else {
            let reads = self.settings.reads.clone();
            split::plan(&database, self.name(), self.settings.split_bytes, reads).await
        };
        let plan = plan.map_err(|error| self.failed("plan the read of", error))?;
        let tasks = (0..plan.split_count()).filter_map(|number| {
            Some(Task {
                collection: 0,
                number,
                split: plan.split(number)?,
                average: plan.average,
                scan: self.is_series(),
            })
        });
        let tasks: std::collections::VecDeque<Task> = tasks.collect();
        let readers = self.settings.snapshot_threads.min(tasks.len());
        let state = SnapshotState::new(self.topic(), plan);
        self.progress.snapshot_planned(self.name(), state);
        let snapshot = Arc::new(Snapshot {
            client: self.prepared.client.clone(),
            database: self.settings.database.clone(),
            collections: Arc::clone(&self.settings.collections),
            tasks: Mutex::new(tasks),
            clock: self.clock(),
            reads: self.settings.reads.clone(),
            batch_bytes: BATCH_BYTES,
            pace: self.pace.clone(),
            alone: Semaphore::new(1),
            budget: self.budget.clone(),
            progress: Arc::clone(&self.progress),
        });
        let reading = (0..readers).map(|_| {
            let reader = Arc::clone(&snapshot);
            reader.read(self.route(), shutdown.clone())
        });
        let reading = futures_util::future::try_join_all(reading);
        self.delivered(async { reading.await.map(|_| ()) }, shutdown)
            .await?;
        Ok(!shutdown.is_triggered())
    }

    /// Reads the documents that match; how many, or none when it was to stop.
    ///
    /// # Errors
    /// When Kafka refuses a record, or the source the filter.
    pub async fn matching(
        &self,
        filter: &Document,
        shutdown: &Shutdown,
    ) -> Result<Option<u64>, Failure> {
        let matching = self.matching_reader();
        let note = |read| self.note(read);
        let mut route = self.route();
        let reading = matching.read(filter, &mut route, &note, shutdown);
        self.delivered(reading, shutdown).await
    }

    /// Sends `{ _id: … }` of every document; gives a time before the read, or none when it was to stop.
    pub async fn ids(
        &self,
        ids: &mpsc::Sender<Vec<RawDocumentBuf>>,
        shutdown: &Shutdown,
    ) -> Option<Version> {
        let matching = self.matching_reader();
        matching.ids(!self.is_series(), ids, shutdown).await
    }

    fn note(&self, read: u64) {
        self.read.fetch_add(read, Ordering::Relaxed);
    }

    fn matching_reader(&self) -> Matching {
        Matching {
            client: self.prepared.client.clone(),
            database: self.settings.database.clone(),
            collection: self
                .settings
                .collections
                .first()
                .cloned()
                .unwrap_or_else(|| crate::source::Collection {
                    name: String::new(),
                    topic: String::new(),
                    tier: 0,
                    dates: crate::source::dates::Dates::default(),
                }),
            clock: self.clock(),
            reads: self.settings.reads.clone(),
            batch_bytes: BATCH_BYTES,
            average: AVERAGE_BYTES,
            pace: self.pace.clone(),
            budget: self.budget.clone(),
        }
    }

    /// What a read gives, once Kafka has all that it handed over.
    async fn delivered<T>(
        &self,
        reading: impl Future<Output = Result<T, Error>>,
        shutdown: &Shutdown,
    ) -> Result<T, Failure> {
        let all = async {
            let read = reading.await?;
            while self.data.in_flight() > 0 && !shutdown.is_forced() {
                tokio::time::sleep(FLUSH_LOOK).await;
            }
            Ok(read)
        };
        let done = tokio::select! {
            error = self.data.failed() => Err(error),
            done = all => done,
        };
        done.map_err(Error::into_failure)
    }

    /// Where each partition of the topic ends.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn ends(&self) -> Result<Vec<i64>, Failure> {
        let topic = self.topic().to_owned();
        let asked = self.offsets.ask(&[&topic]).await;
        let mut asked = asked.map_err(Error::into_failure)?;
        Ok(asked.remove(&topic).unwrap_or_default())
    }
}

/// Bytes of an average document, where the server was not asked.
const AVERAGE_BYTES: u64 = 4 << 10;
/// How often it is looked whether Kafka has everything.
const FLUSH_LOOK: Duration = Duration::from_millis(10);
