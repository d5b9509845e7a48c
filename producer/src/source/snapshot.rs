//! The snapshot: splits → changes, several splits at once.
//!
//! Why a split may be read while people write to it: `L` is a cluster time of the primary, taken
//! *before* the split (PROTOCOL P1), and the read is a majority read in a causal session advanced
//! to `L`, so every event at or before `L` is in what is read; every later event comes through
//! the change stream, which was opened before, under a higher version than `L`. What a reply
//! holds may be newer than `L`; how new at most is its `as_of`.
//!
//! A split is read with `min`, `max` and the `_id` index as hint: pure index bounds, which cover
//! every BSON type, where comparisons in a filter would stay within one. A split that fails is
//! read again as a whole, with a new `L` (P6). The last split has no upper bound; it ends at the
//! largest `_id` that was there when it began, or writers could keep it going for ever: what comes
//! behind that came after `L`, through the stream.
//!
//! Where the source is polled, a document's version is its own date ([`super::dates`]), as in every
//! later poll, and a read waits for nothing but what the server has. A time series, whose `_id` has
//! no index, is one split that is scanned.

use super::{
    Collection, Outlet,
    change_stream::settle,
    clock::Clock,
    image::{Count, Failed, Images, Stamp, tell_keyless},
    plan::Split,
    reply::read_bound,
};
use crate::{
    acknowledge::Ticket,
    error::{Error, told},
    metrics,
    progress::Progress,
};
use bson::{Bson, RawDocumentBuf, doc};
use futures_util::StreamExt;
use leafcutter_runtime::{
    budget::{Budget, Permit},
    retry::Backoff,
    shutdown::Shutdown,
};
use leafcutter_schemas::{key::DocumentKey, version::Version};
use mongodb::{
    Client, ClientSession,
    options::{Hint, ReadConcern, SelectionCriteria},
    raw_batch_cursor::{RawBatch, SessionRawBatchCursor},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// The canonical text of MaxKey.
const MAX_KEY: &str = "maxKey:";
/// Documents per reply at most, however small they are.
const BATCH_DOCUMENTS_MAX: u64 = 20_000;

/// One split to be read.
#[derive(Debug, Clone)]
pub struct Task {
    /// The position of its collection.
    pub collection: usize,
    /// Its number in the collection's plan.
    pub number: usize,
    /// Its range.
    pub split: Split,
    /// Bytes of an average document.
    pub average: u64,
    /// It is a time series: read from its beginning to its end.
    pub scan: bool,
}

/// What the readers of a snapshot share.
pub struct Snapshot {
    /// The source.
    pub client: Client,
    /// Its database.
    pub database: String,
    /// The mapped collections.
    pub collections: Arc<Vec<Collection>>,
    /// Splits not yet begun, in the order they are to be read.
    pub tasks: Mutex<VecDeque<Task>>,
    /// Whose time counts: the wall's where the source is polled.
    pub clock: Clock,
    /// Where to read from.
    pub reads: SelectionCriteria,
    /// Bytes aimed at in one reply.
    pub batch_bytes: u64,
    /// The limit in documents per second.
    pub pace: Option<Arc<Pace>>,
    /// One split at a time where a reply may take more than a quarter of the budget.
    pub alone: Semaphore,
    /// The one byte budget.
    pub budget: Budget,
    /// Where finished splits go.
    pub progress: Arc<Progress>,
}

/// How an attempt at a split ended.
enum End {
    Finished,
    Stopped,
}

impl Snapshot {
    /// Reads splits until none is left.
    ///
    /// # Errors
    /// When a change cannot be handed on.
    pub async fn read<O: Outlet>(
        self: Arc<Self>,
        mut outlet: O,
        shutdown: Shutdown,
    ) -> Result<(), Error> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        while let Some(task) = self.next_task() {
            loop {
                match self.read_split(&task, &mut outlet, &shutdown).await {
                    Ok(End::Finished) => break,
                    Ok(End::Stopped) => return Ok(()),
                    Err(Failed::Run(error)) => return Err(error),
                    Err(Failed::Source(error)) => {
                        let collection = self.name(task.collection);
                        let pause = backoff.next_delay();
                        metrics::split_failed(collection);
                        tracing::warn!(
                            collection, split = task.number, error = told(&error), retry_in = ?pause,
                            "could not read a split; reading it again as a whole"
                        );
                        if !shutdown.sleep(pause).await {
                            return Ok(());
                        }
                    }
                }
            }
            backoff.reset();
        }
        Ok(())
    }

    fn next_task(&self) -> Option<Task> {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    fn name(&self, collection: usize) -> &str {
        self.collections
            .get(collection)
            .map_or("", |collection| collection.name.as_str())
    }

    /// The first statement about a split is its `L`; everything else comes after.
    async fn read_split<O: Outlet>(
        &self,
        task: &Task,
        outlet: &mut O,
        shutdown: &Shutdown,
    ) -> Result<End, Failed> {
        let name = self.name(task.collection);
        let pace = self.pace.as_deref();
        let (size, expected) = batch(task.average, self.batch_bytes, pace, &self.budget);
        let large = usize::try_from(task.average).unwrap_or(usize::MAX);
        let _alone = if large.saturating_mul(2) > self.budget.capacity() / 4 {
            self.alone.acquire().await.ok()
        } else {
            None
        };
        let (time, mut session) = self.clock.session(&self.client).await?;
        let time = time.past;
        self.progress.split_begun(name, task.number, time);
        let end = match task.split.upper {
            Some(_) => None,
            None if task.scan => None,
            None => self.largest(name, &mut session).await?,
        };
        let Some(permit) = self.reserve(expected, shutdown).await else {
            return Ok(End::Stopped);
        };
        let mut cursor = self.open(name, task, size, &mut session).await?;
        let mut replies = cursor.stream(&mut session);
        let progress = Arc::clone(&self.progress);
        let (collection, number) = (name.to_owned(), task.number);
        let whole = Ticket::new(move || progress.split_acknowledged(&collection, number));
        let (mut permit, mut reached) = (Some(permit), false);
        while let (Some(mut held), Some(batch)) = (permit.take(), replies.next().await) {
            let batch = batch?;
            settle(
                &mut held,
                &self.budget,
                batch.as_raw_document().as_bytes().len(),
            );
            let ticket = Ticket::part_of(&whole);
            ticket.hold(held);
            let sent = self
                .publish(task, &batch, time, end.as_ref(), outlet, &ticket)
                .await;
            let count = sent?;
            ticket.seal();
            drop(batch);
            reached = count.at_end;
            // A split's last reply costs as much as any other: it may be its only one.
            let goes_on = match &self.pace {
                Some(pace) => pace.spend(count.documents, shutdown).await,
                None => true,
            };
            if reached {
                break;
            }
            if !goes_on {
                return Ok(End::Stopped);
            }
            permit = self.reserve(expected, shutdown).await;
            if permit.is_none() {
                return Ok(End::Stopped);
            }
        }
        drop(replies);
        if !reached && end.as_ref().is_some_and(|end| end.as_str() == MAX_KEY) {
            let ticket = Ticket::part_of(&whole);
            self.read_max_key(task, (time, outlet), &ticket, &mut session)
                .await?;
            ticket.seal();
        }
        whole.seal();
        Ok(End::Finished)
    }

    /// The one document that a range without an upper bound misses in a clustered collection
    /// (6.0.5), where MaxKey itself lies beyond the end.
    async fn read_max_key<O: Outlet>(
        &self,
        task: &Task,
        (time, outlet): (Version, &mut O),
        ticket: &Arc<Ticket>,
        session: &mut ClientSession,
    ) -> Result<(), Failed> {
        let name = self.name(task.collection);
        let collection = self
            .client
            .database(&self.database)
            .collection::<RawDocumentBuf>(name);
        let find = collection.find(doc! { "_id": Bson::MaxKey });
        let find = find
            .read_concern(ReadConcern::majority())
            .selection_criteria(self.reads.clone());
        let mut cursor = find.session(&mut *session).batch().await?;
        let mut replies = cursor.stream(session);
        while let Some(batch) = replies.next().await {
            self.publish(task, &batch?, time, None, outlet, ticket)
                .await?;
        }
        Ok(())
    }

    /// Bytes for the next reply; none when the program is to stop.
    async fn reserve(&self, bytes: usize, shutdown: &Shutdown) -> Option<Permit> {
        tokio::select! {
            biased;
            () = shutdown.wait() => None,
            permit = self.budget.acquire(bytes) => Some(permit),
        }
    }

    async fn open(
        &self,
        name: &str,
        task: &Task,
        size: u32,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<SessionRawBatchCursor> {
        let collection = self
            .client
            .database(&self.database)
            .collection::<RawDocumentBuf>(name);
        let mut find = collection
            .find(doc! {})
            .read_concern(ReadConcern::majority())
            .selection_criteria(self.reads.clone())
            .batch_size(size);
        if !task.scan {
            find = find.hint(Hint::Keys(doc! { "_id": 1 }));
        }
        if let Some(lower) = &task.split.lower {
            find = find.min(lower.clone());
        }
        if let Some(upper) = &task.split.upper {
            find = find.max(upper.clone());
        }
        find.session(session).batch().await
    }

    /// The largest `_id` there is now.
    async fn largest(
        &self,
        name: &str,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Option<DocumentKey>> {
        let collection = self
            .client
            .database(&self.database)
            .collection::<RawDocumentBuf>(name);
        let found = collection
            .find_one(doc! {})
            .projection(doc! { "_id": 1 })
            .sort(doc! { "_id": -1 })
            .hint(Hint::Keys(doc! { "_id": 1 }))
            .read_concern(ReadConcern::majority())
            .selection_criteria(self.reads.clone())
            .session(session)
            .await?;
        Ok(found.and_then(|document| DocumentKey::of_document(&document)))
    }

    /// Hands a reply's documents on.
    async fn publish<O: Outlet>(
        &self,
        task: &Task,
        batch: &RawBatch,
        version: Version,
        end: Option<&DocumentKey>,
        outlet: &mut O,
        ticket: &Arc<Ticket>,
    ) -> Result<Count, Failed> {
        let name = self.name(task.collection);
        let of_reply = read_bound(batch.as_raw_document()).max(version);
        let dates = self.collections.get(task.collection).map(|c| &c.dates);
        let (stamp, as_of) = match (self.clock, dates) {
            (Clock::Wall, Some(dates)) => {
                let now = self.clock.now(&self.client).await?.bound;
                (Stamp::Dates(dates), of_reply.max(now))
            }
            _ => (Stamp::Time(version), of_reply),
        };
        let images = Images {
            collection: task.collection,
            snapshot: true,
            stamp,
            as_of,
            end,
        };
        let count = images.publish(batch, None, outlet, ticket).await?;
        self.progress.split_read(name, task.number, count.documents);
        self.progress.undated_read(name, task.number, count.undated);
        metrics::documents_read(name, count.documents);
        metrics::incomplete(name, count.undated, count.keyless);
        tell_keyless(name, count.keyless);
        Ok(count)
    }
}

/// Documents per reply of about so many bytes, and the bytes expected of one. Under a limit, not
/// more at once than may be read in a second.
pub(super) fn batch(
    average: u64,
    batch_bytes: u64,
    pace: Option<&Pace>,
    budget: &Budget,
) -> (u32, usize) {
    let average = average.max(64);
    let most = pace.map_or(BATCH_DOCUMENTS_MAX, |pace| {
        BATCH_DOCUMENTS_MAX.min(pace.per_second.into())
    });
    let documents = (batch_bytes / average).clamp(1, most);
    let bytes = usize::try_from(documents * average * 5 / 4).unwrap_or(usize::MAX);
    (
        u32::try_from(documents).unwrap_or(1),
        bytes.min(budget.capacity() / 4),
    )
}

/// A limit in documents per second, shared by all readers.
#[derive(Debug)]
pub struct Pace {
    per_second: u32,
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    /// At most that many documents a second.
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.max(1),
            free_at: Mutex::new(None),
        }
    }

    /// Waits as long as the documents just read should have taken; tells whether to go on.
    pub(super) async fn spend(&self, documents: u64, shutdown: &Shutdown) -> bool {
        let wait = self.owed(documents, Instant::now());
        wait.is_zero() || shutdown.sleep(wait).await
    }

    fn owed(&self, documents: u64, now: Instant) -> Duration {
        let cost = Duration::from_secs(documents) / self.per_second;
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = free_at.map_or(now, |at| at.max(now)) + cost;
        *free_at = Some(next);
        next.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_one_pace() {
        let pace = Pace::new(1000);
        let now = Instant::now();
        assert_eq!(pace.owed(500, now), Duration::from_millis(500));
        assert_eq!(pace.owed(500, now), Duration::from_secs(1));
        let later = now + Duration::from_secs(5);
        assert_eq!(pace.owed(1, later), Duration::from_millis(1));
    }
}
