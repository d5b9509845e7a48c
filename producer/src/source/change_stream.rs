//! The change stream: one database-scoped cursor, read reply by reply, reopened when it breaks.
//!
//! It is opened as a plain aggregate and read in raw batches: that shows the ends of replies and
//! the post-batch token in each, and copies no document. It lives in one task that is never
//! cancelled inside a call; a flag is looked at between calls, which `AWAIT` keeps short. Whatever
//! breaks is mended by reopening after the last token received, without a limit in attempts,
//! except for what cannot be mended: history that is gone, an event too large to send.

use super::{
    proof,
    reply::{documents, post_batch_token, token_time},
    reply_size::ReplySize,
};
use crate::{
    error::{Error, server_code, told},
    liveness::Liveness,
    metrics,
    settings::OnDrop,
};
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::StreamExt;
use leafcutter_runtime::{
    budget::{Budget, Permit},
    retry::Backoff,
    shutdown::Shutdown,
};
use leafcutter_schemas::version::Version;
use mongodb::{
    Client,
    options::ReadConcern,
    raw_batch_cursor::{RawBatch, RawBatchCursor},
};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the server may wait for events before it sends an empty reply. It bounds the wait for
/// a stop, and for the end of a transaction on a quiet source.
const AWAIT: Duration = Duration::from_millis(250);

/// Between attempts to reopen.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The server's own classes: history lost, position lost, shard removed (docs/decisions/when-the-change-stream-cannot-go-on.md).
const HISTORY_LOST: [i32; 4] = [286, 280, 136, 464];
/// A token that cannot be decoded, which only opening can prove of the stored one: the two codes
/// meant for it, and those of its text (`BadValue`, `FailedToParse`, `TypeMismatch`, `Overflow`).
const TOKEN_REFUSED: [i32; 6] = [260, 50811, 2, 9, 14, 15];
/// `BSONObjectTooLarge`.
const EVENT_TOO_LARGE: i32 = 10334;

/// Where a stream begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// With what happens next.
    Now,
    /// Behind a token of the same stream.
    After(RawDocumentBuf),
    /// With everything at or after a cluster time: another stream's token would be refused.
    At(Version),
}

impl Start {
    fn token(&self) -> Option<RawDocumentBuf> {
        match self {
            Self::After(token) => Some(token.clone()),
            Self::Now | Self::At(_) => None,
        }
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::After(token) => match token_time(token) {
                Some(time) => write!(f, "{time}"),
                None => f.write_str("the stored token"),
            },
            Self::At(time) => write!(f, "{time}"),
        }
    }
}

/// What a stream is asked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// The database.
    pub database: String,
    /// The mapped collections.
    pub collections: Vec<String>,
    /// Ask for post-images; only where a collection keeps them, since it costs a read per event.
    pub post_images: bool,
    /// Events in a reply.
    pub size: ReplySize,
    /// The newest event that was read from the source so far; zero for none. A source without it has
    /// another history ([`proof`]).
    pub event: Version,
}

impl Query {
    fn pipeline(&self, start: &Start) -> Vec<Document> {
        let mut stage = doc! {};
        if self.post_images {
            stage.insert("fullDocument", "whenAvailable");
        }
        match start {
            Start::Now => {}
            Start::After(token) => {
                stage.insert(
                    "startAfter",
                    Bson::try_from(bson::RawBson::from(token.clone())).unwrap_or_default(),
                );
            }
            Start::At(time) => {
                stage.insert("startAtOperationTime", time.cluster_time());
            }
        }
        // What ends or renames a collection has to pass, and `invalidate` bears no collection.
        let mapped = &self.collections;
        vec![
            doc! { "$changeStream": stage },
            doc! { "$match": { "$or": [
                { "ns.coll": { "$in": mapped } },
                { "to.coll": { "$in": mapped } },
                { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
            ] } },
            doc! { "$project": { "updateDescription": 0 } },
        ]
    }
}

/// One reply of the server.
pub struct Reply {
    /// Its events and tokens.
    pub batch: RawBatch,
    /// It answers a `getMore` of a replica set: empty, it proves the end of the oplog.
    pub proves_end: bool,
    /// It is the first since the stream was opened; with the token it was opened behind, if any.
    pub first: Option<Option<RawDocumentBuf>>,
    /// Its bytes.
    pub permit: Permit,
}

/// What the reader feeds on.
pub enum Feed {
    /// The next reply.
    Reply(Reply),
    /// The server ended the stream without an error, at this time or later: as after a dropped
    /// database, when a filter hides the event that says so.
    Ended(Version),
}

/// The open stream.
pub struct ChangeStream {
    client: Client,
    query: Query,
    cursor: RawBatchCursor,
    /// Where to reopen.
    resume: Start,
    /// The next reply is the first since opening.
    fresh: bool,
    /// The token it was opened behind.
    behind: Option<RawDocumentBuf>,
    /// A mongos merges several oplogs: an empty reply proves nothing.
    sharded: bool,
    /// Bytes expected in the next reply.
    expected: usize,
    /// Replies are to have another number of events than it was opened with.
    resized: bool,
}

impl ChangeStream {
    /// Opens the stream. Tries again while the source cannot be reached.
    ///
    /// # Errors
    /// When the history from `start` on is gone, or is another than before.
    pub async fn open(
        client: &Client,
        query: Query,
        start: Start,
        sharded: bool,
        liveness: &Liveness,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, Error> {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            match aggregate(client, &query, &start).await {
                Ok(None) => return Err(Error::HistoryReplaced { event: query.event }),
                Ok(Some(cursor)) => {
                    liveness.answers();
                    return Ok(Some(Self {
                        client: client.clone(),
                        query,
                        cursor,
                        behind: start.token(),
                        resume: start,
                        fresh: true,
                        sharded,
                        expected: Self::EXPECTED_BYTES_MIN,
                        resized: false,
                    }));
                }
                Err(error) => {
                    let error = classify(error, &start, true)?;
                    let pause = backoff.next_delay();
                    liveness.silent(told(&error));
                    tracing::warn!(error = told(&error), retry_in = ?pause, "could not open the change stream");
                    if !shutdown.sleep(pause).await {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The smallest and the largest reservation for one reply.
    const EXPECTED_BYTES_MIN: usize = 256 << 10;
    const EXPECTED_BYTES_MAX: usize = 8 << 20;

    /// Reads until the shutdown, feeding on every reply, empty ones too, in order.
    ///
    /// # Errors
    /// When its history is gone, or an event cannot be sent.
    pub async fn read(
        mut self,
        budget: Budget,
        feed: mpsc::Sender<Feed>,
        on_drop: OnDrop,
        liveness: Liveness,
        shutdown: Shutdown,
    ) -> Result<(), Error> {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        while !shutdown.is_triggered() {
            let reserve = self.expected.min(budget.capacity() / 6);
            let permit = tokio::select! {
                permit = liveness.beating(budget.acquire(reserve)) => permit,
                () = shutdown.wait() => break,
            };
            liveness.beat();
            match self.next(permit, &budget).await {
                Ok(Some(reply)) => {
                    backoff.reset();
                    liveness.answers();
                    let fed = liveness.beating(feed.send(Feed::Reply(reply)));
                    if fed.await.is_err() {
                        break;
                    }
                    if self.resized {
                        let events = self.query.size.events();
                        tracing::debug!(
                            events,
                            "opening the change stream again for replies that fit"
                        );
                        if !self.open_again(&liveness, &shutdown).await? {
                            break;
                        }
                    }
                }
                // What the events before the end say is told first, if it stops us at all.
                Ok(None) if on_drop == OnDrop::Halt => {
                    feed.send(Feed::Ended(self.reached())).await.ok();
                    break;
                }
                Ok(None) => {
                    tracing::warn!("the change stream ended; going on behind its end");
                    let pause = backoff.next_delay();
                    if !self.reopen(pause, &liveness, &shutdown).await? {
                        break;
                    }
                }
                Err(error) => {
                    let error = classify(error, &self.resume, false)?;
                    let pause = backoff.next_delay();
                    liveness.silent(told(&error));
                    tracing::warn!(error = told(&error), retry_in = ?pause, "reopening the change stream");
                    if !self.reopen(pause, &liveness, &shutdown).await? {
                        break;
                    }
                }
            }
        }
        liveness.retire();
        Ok(())
    }

    /// Opens the stream again behind the last token received; tells whether to go on.
    async fn reopen(
        &mut self,
        pause: Duration,
        liveness: &Liveness,
        shutdown: &Shutdown,
    ) -> Result<bool, Error> {
        metrics::stream_reopened();
        if !shutdown.sleep(pause).await {
            return Ok(false);
        }
        self.open_again(liveness, shutdown).await
    }

    async fn open_again(
        &mut self,
        liveness: &Liveness,
        shutdown: &Shutdown,
    ) -> Result<bool, Error> {
        let (query, start) = (self.query.clone(), self.resume.clone());
        let (client, sharded) = (&self.client, self.sharded);
        let opened = Self::open(client, query, start, sharded, liveness, shutdown).await?;
        let Some(stream) = opened else {
            return Ok(false);
        };
        *self = stream;
        Ok(true)
    }

    fn reached(&self) -> Version {
        match &self.resume {
            Start::After(token) => token_time(token).unwrap_or_default(),
            Start::At(time) => *time,
            Start::Now => Version::ZERO,
        }
    }

    async fn next(
        &mut self,
        mut permit: Permit,
        budget: &Budget,
    ) -> mongodb::error::Result<Option<Reply>> {
        let Some(batch) = self.cursor.next().await.transpose()? else {
            return Ok(None);
        };
        let reply = batch.as_raw_document();
        let bytes = reply.as_bytes().len();
        settle(&mut permit, budget, bytes);
        // Twice the last reply: growth is slow against the rhythm of replies.
        self.expected = (bytes * 2).clamp(Self::EXPECTED_BYTES_MIN, Self::EXPECTED_BYTES_MAX);
        // One that cannot be read is for the relay to tell.
        let events = documents(&batch).unwrap_or_default();
        let last = events.last();
        let last_token = || last?.get_document("_id").ok();
        if let Some(token) = post_batch_token(reply).or_else(last_token) {
            self.resume = Start::After(token.to_owned());
        }
        if let Some(time) = last.and_then(|last| last.get_timestamp("clusterTime").ok()) {
            self.query.event = Version::from_cluster_time(time);
        }
        self.resized = self.query.size.changes(events.len(), bytes);
        let proves_end = !self.fresh && !self.sharded;
        let first = std::mem::take(&mut self.fresh).then(|| self.behind.take());
        Ok(Some(Reply {
            batch,
            proves_end,
            first,
            permit,
        }))
    }
}

/// Makes a permit fit what has really come: gives back what is too much, takes what is missing if
/// it is free. What is not free is not waited for: the bytes are there already.
pub(crate) fn settle(permit: &mut Permit, budget: &Budget, bytes: usize) {
    if permit.bytes() >= bytes {
        permit.shrink_to(bytes);
    } else if let Some(more) = budget.try_acquire(bytes - permit.bytes()) {
        permit.merge(more);
    }
}

/// Opens the cursor; none where the history is another than before.
async fn aggregate(
    client: &Client,
    query: &Query,
    start: &Start,
) -> mongodb::error::Result<Option<RawBatchCursor>> {
    let same = match proof::holds(client, &query.database, query.event).await {
        // Overwritten meanwhile, which proves nothing.
        Err(error) if server_code(&error).is_some_and(|code| HISTORY_LOST.contains(&code)) => true,
        other => other?,
    };
    if !same {
        return Ok(None);
    }
    let cursor = client
        .database(&query.database)
        .aggregate(query.pipeline(start))
        .read_concern(ReadConcern::majority())
        .batch_size(query.size.events())
        .max_await_time(AWAIT)
        .batch()
        .await?;
    Ok(Some(cursor))
}

/// Whether the source still has everything that happened in a database after this time.
///
/// # Errors
/// What the driver says; nothing is known then.
pub(crate) async fn reaches_back(
    client: &Client,
    database: &str,
    time: Version,
) -> mongodb::error::Result<bool> {
    let stage = doc! { "$changeStream": { "startAtOperationTime": time.cluster_time() } };
    let opened = client
        .database(database)
        .aggregate([stage])
        .read_concern(ReadConcern::majority())
        .max_await_time(AWAIT)
        .batch()
        .await;
    match opened {
        Ok(_) => Ok(true),
        Err(error) if server_code(&error).is_some_and(|code| HISTORY_LOST.contains(&code)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// What cannot be mended becomes our error, everything else stays the driver's.
fn classify(
    error: mongodb::error::Error,
    start: &Start,
    opening: bool,
) -> Result<mongodb::error::Error, Error> {
    match server_code(&error) {
        Some(code) if HISTORY_LOST.contains(&code) => {}
        Some(code)
            if opening && matches!(start, Start::After(_)) && TOKEN_REFUSED.contains(&code) => {}
        Some(EVENT_TOO_LARGE) => return Err(Error::EventTooLarge { source: error }),
        _ => return Ok(error),
    }
    Err(Error::HistoryLost {
        position: start.to_string(),
        collections: Vec::new(),
        source: error,
    })
}
