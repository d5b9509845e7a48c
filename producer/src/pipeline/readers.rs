//! What reads the source: splits of a snapshot, and what finds changes. All of it hands over to a route of
//! its own, and stops between two replies.

use super::{BATCH_BYTES, CHANGE_STREAM, Run, Shared};
use crate::{
    checkpoint::{Stored, resume},
    encode::Encoder,
    error::Error,
    liveness::Liveness,
    progress::Progress,
    publish::Route,
    settings::{Capture, Polling, Verb},
    source::{
        change_stream::{ChangeStream, Query, Start},
        hold::Position,
        poll::Poll,
        reply_size::ReplySize,
        snapshot::{Snapshot, Task},
        stream::{Relay, Stream},
    },
};
use leafcutter_runtime::{admin::Condition, shutdown::Shutdown, task::TaskSet};
use leafcutter_schemas::version::Version;
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, mpsc};

/// Replies read ahead of the one in work.
const REPLIES_AHEAD: usize = 1;

/// What finds changes, ready to go.
pub(super) enum Changes {
    /// Nothing: only the snapshot is taken.
    None,
    /// The change stream.
    Stream(Box<ChangeStream>),
    /// Polls that begin behind this time.
    Poll(Polling, Version),
}

impl Run {
    /// Fixes where changes begin before anything is read. For `snapshot` alone the position is only
    /// kept, so that a later `run` or `stream` goes on without a gap.
    pub(super) async fn open_changes(
        &self,
        stored: &Stored,
        now: Version,
        shared: &Shared,
        outer: &Shutdown,
    ) -> Result<Changes, Error> {
        let (cluster, print) = (&self.prepared.cluster, self.fingerprint());
        let left = stored;
        let only_snapshot = self.settings.verb == Verb::Snapshot;
        match self.settings.capture {
            Capture::Poll(polling) => {
                let mark = resume::poll_mark(left, cluster, &print)?;
                if mark.is_none() {
                    keep_position(&shared.progress, now);
                }
                if only_snapshot {
                    return Ok(Changes::None);
                }
                Ok(Changes::Poll(polling, mark.unwrap_or(now)))
            }
            Capture::Stream => {
                let start = resume::stream_start(left, cluster, &print, now)?;
                if start == Start::Now {
                    keep_position(&shared.progress, now);
                }
                if only_snapshot {
                    return Ok(Changes::None);
                }
                let event = stored.last_event();
                shared.progress.event_read(event);
                let stream = match self.open_stream(start, event, outer).await {
                    Err(Error::HistoryLost {
                        position, source, ..
                    }) => {
                        let collections = self.without_history(stored).await;
                        return Err(Error::HistoryLost {
                            position,
                            collections,
                            source,
                        });
                    }
                    other => other?,
                };
                Ok(stream.map_or(Changes::None, |stream| Changes::Stream(Box::new(stream))))
            }
        }
    }

    async fn open_stream(
        &self,
        start: Start,
        event: Version,
        outer: &Shutdown,
    ) -> Result<Option<ChangeStream>, Error> {
        tracing::debug!(%start, "opening the change stream");
        let names = self.settings.collections.iter().map(|c| c.name.clone());
        let query = Query {
            database: self.settings.database.clone(),
            collections: names.collect(),
            post_images: self.prepared.post_images,
            size: ReplySize::new(self.settings.lookup_batch),
            event,
        };
        let (client, sharded) = (&self.prepared.client, self.prepared.sharded);
        ChangeStream::open(
            client,
            query,
            start,
            sharded,
            &self.stream_liveness(),
            outer,
        )
        .await
    }

    /// Whether the source answers: it does, until a reader says otherwise.
    pub(super) fn answers(&self) -> Condition {
        let answers = self.health.condition("mongodb");
        answers.set(true, "");
        answers
    }

    fn stream_liveness(&self) -> Liveness {
        Liveness::new(&self.health, CHANGE_STREAM, self.answers())
    }

    fn route(&self, shared: &Shared) -> Route {
        Route::new(
            Arc::clone(&shared.data),
            Arc::clone(&self.settings.collections),
            Arc::clone(&self.prepared.addresses),
            Encoder::new(&self.settings.database, &self.run),
            &self.settings.mapping_hash,
        )
    }

    pub(super) fn spawn_readers(
        &self,
        sources: &mut TaskSet<Error>,
        tasks: Vec<Task>,
        shared: &Shared,
        shutdown: &Shutdown,
    ) {
        let settings = &self.settings;
        let count = settings.snapshot_threads.min(tasks.len());
        let snapshot = Arc::new(Snapshot {
            client: self.prepared.client.clone(),
            database: settings.database.clone(),
            collections: Arc::clone(&settings.collections),
            tasks: Mutex::new(tasks.into()),
            clock: self.clock(),
            reads: settings.reads.clone(),
            batch_bytes: BATCH_BYTES,
            pace: shared.pace.clone(),
            alone: Semaphore::new(1),
            budget: shared.budget.clone(),
            progress: Arc::clone(&shared.progress),
        });
        for number in 0..count {
            let reader = Arc::clone(&snapshot);
            let work = reader.read(self.route(shared), shutdown.clone());
            sources.spawn(format!("snapshot {number}"), work);
        }
    }

    pub(super) fn poll(&self, polling: Polling, mark: Version, shared: &Shared) -> Poll<Route> {
        let settings = &self.settings;
        Poll {
            client: self.prepared.client.clone(),
            database: settings.database.clone(),
            collections: Arc::clone(&settings.collections),
            polling,
            mark,
            reads: settings.reads.clone(),
            batch_bytes: BATCH_BYTES,
            pace: shared.pace.clone(),
            budget: shared.budget.clone(),
            progress: Arc::clone(&shared.progress),
            answers: self.answers(),
            outlet: self.route(shared),
        }
    }

    pub(super) fn spawn_stream(
        &self,
        sources: &mut TaskSet<Error>,
        stream: ChangeStream,
        shared: &Shared,
        shutdown: &Shutdown,
    ) {
        let (send, receive) = mpsc::channel(REPLIES_AHEAD);
        let liveness = self.stream_liveness();
        let budget = shared.budget.clone();
        sources.spawn(
            "change stream",
            stream.read(
                budget,
                send,
                self.settings.on_drop,
                liveness,
                shutdown.clone(),
            ),
        );
        let relay = Relay::new(Stream {
            client: self.prepared.client.clone(),
            database: self.settings.database.clone(),
            collections: Arc::clone(&self.settings.collections),
            lookup_batch: usize::try_from(self.settings.lookup_batch).unwrap_or(usize::MAX),
            on_drop: self.settings.on_drop,
            lookups: shared.lookups.clone(),
            progress: Arc::clone(&shared.progress),
            outlet: self.route(shared),
        });
        sources.spawn("changes", relay.run(receive, shutdown.clone()));
    }
}

/// A position by time: whoever goes on from here sees everything after this moment. Without it a
/// run that dies before its first position would leave snapshots behind and none, and the next one
/// would not see what was deleted in between.
fn keep_position(progress: &Progress, now: Version) {
    let number = progress.stream_begun(Position {
        token: bson::RawDocumentBuf::new(),
        complete: now,
    });
    progress.stream_acknowledged(number);
}
