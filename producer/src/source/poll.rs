//! Polls → changes, for sources without a change stream.
//!
//! A poll reads, collection after collection, the documents with a date that is not older than the
//! mark less an overlap; the mark is the time at which the poll before began. What a poll reads
//! again and has not changed is handed on once ([`super::seen`]), and after a restart bears the version
//! it had ([`super::dates`]), so nothing is written for it. The overlap stands for what no clock shows:
//! dates that were set before their documents could be read, and clocks of the application that differ.
//!
//! A poll counts when the last of its documents is acknowledged, and until then the mark of the
//! checkpoint is that of the poll before (PROTOCOL P2). Its time is what a heartbeat may claim: what
//! had happened before it began, it has read (H1, H2). Deletes are not seen.

use super::{
    Collection, Outlet,
    change_stream::settle,
    clock::Clock,
    hold::Position,
    image::{Count, Failed, Images, Stamp, tell_keyless},
    reply::read_bound,
    seen::Seen,
    snapshot::{Pace, batch},
};
use crate::{
    acknowledge::Ticket,
    error::{Error, told},
    metrics,
    progress::Progress,
    settings::Polling,
};
use bson::RawDocumentBuf;
use futures_util::StreamExt;
use leafcutter_runtime::{
    admin::Condition,
    budget::{Budget, Permit},
    retry::Backoff,
    shutdown::Shutdown,
};
use leafcutter_schemas::version::Version;
use mongodb::{
    Client, ClientSession,
    options::{ReadConcern, SelectionCriteria},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Before anything is known of a collection's documents.
const AVERAGE_BYTES_FIRST: u64 = 1 << 10;

/// What polls need to know.
pub struct Poll<O> {
    /// The source.
    pub client: Client,
    /// Its database.
    pub database: String,
    /// The mapped collections, parents first.
    pub collections: Arc<Vec<Collection>>,
    /// How often, and from when.
    pub polling: Polling,
    /// Up to which time the source was read before.
    pub mark: Version,
    /// Where to read from.
    pub reads: SelectionCriteria,
    /// Bytes aimed at in one reply.
    pub batch_bytes: u64,
    /// The limit in documents per second.
    pub pace: Option<Arc<Pace>>,
    /// The byte budget.
    pub budget: Budget,
    /// Where acknowledged polls go.
    pub progress: Arc<Progress>,
    /// Whether the source answers.
    pub answers: Condition,
    /// Where changes go.
    pub outlet: O,
}

/// How an attempt ended.
enum End {
    Finished,
    Stopped,
}

/// One poll.
struct Round<'s> {
    /// It finds documents with a date from this millisecond on.
    since: i64,
    whole: Arc<Ticket>,
    seen: &'s mut Seen,
    documents: u64,
}

impl<O: Outlet> Poll<O> {
    /// Polls until told to stop.
    ///
    /// # Errors
    /// When a change cannot be handed on.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Error> {
        let mut seen = Seen::default();
        let mut averages = vec![AVERAGE_BYTES_FIRST; self.collections.len()];
        let mut earlier = self.polling.since;
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        // The poll that was begun and could not be read to its end.
        let mut open = None;
        loop {
            let pause = match self
                .round(&mut open, earlier, (&mut averages, &mut seen), &shutdown)
                .await
            {
                Ok(End::Stopped) => return Ok(()),
                Ok(End::Finished) => {
                    earlier = None;
                    backoff.reset();
                    self.answers.set(true, "");
                    self.polling.interval
                }
                Err(Failed::Run(error)) => return Err(error),
                Err(Failed::Source(error)) => {
                    let pause = backoff.next_delay();
                    self.answers.set(false, told(&error));
                    tracing::warn!(
                        error = told(&error), retry_in = ?pause,
                        "could not read a poll to its end; reading it again as a whole"
                    );
                    pause
                }
            };
            if !shutdown.sleep(pause).await {
                return Ok(());
            }
        }
    }

    /// One poll, or the next attempt at it: its time and its place in the order stay.
    async fn round(
        &mut self,
        open: &mut Option<(Version, u64)>,
        earlier: Option<i64>,
        (averages, seen): (&mut [u64], &mut Seen),
        shutdown: &Shutdown,
    ) -> Result<End, Failed> {
        let begun = Instant::now();
        let (time, mut session) = Clock::Wall.session(&self.client).await?;
        let (past, number) = *open.get_or_insert_with(|| {
            // By time alone: there is no token.
            let position = Position {
                token: RawDocumentBuf::new(),
                complete: time.past,
            };
            (time.past, self.progress.stream_begun(position))
        });
        let progress = Arc::clone(&self.progress);
        seen.begin();
        let mut round = Round {
            since: since(self.mark, past, &self.polling, earlier),
            whole: Ticket::new(move || progress.stream_acknowledged(number)),
            seen,
            documents: 0,
        };
        for (position, average) in (0..self.collections.len()).zip(averages) {
            match self
                .read(position, average, &mut round, &mut session, shutdown)
                .await?
            {
                End::Finished => {}
                End::Stopped => return Ok(End::Stopped),
            }
        }
        round.seen.end();
        round.whole.seal();
        *open = None;
        self.mark = past;
        metrics::polled();
        let documents = round.documents;
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if earlier.is_some() {
            tracing::info!(documents, millis, "polled from `--poll-since` on");
        } else {
            tracing::debug!(documents, millis, "polled");
        }
        Ok(End::Finished)
    }

    /// Reads what one collection has of the poll.
    async fn read(
        &mut self,
        position: usize,
        average: &mut u64,
        round: &mut Round<'_>,
        session: &mut ClientSession,
        shutdown: &Shutdown,
    ) -> Result<End, Failed> {
        let collections = Arc::clone(&self.collections);
        let Some(collection) = collections.get(position) else {
            return Ok(End::Finished);
        };
        let pace = self.pace.clone();
        let (size, expected) = batch(*average, self.batch_bytes, pace.as_deref(), &self.budget);
        let Some(permit) = self.reserve(expected, shutdown).await else {
            return Ok(End::Stopped);
        };
        let mut cursor = self
            .client
            .database(&self.database)
            .collection::<RawDocumentBuf>(&collection.name)
            .find(collection.dates.not_before(round.since))
            .read_concern(ReadConcern::majority())
            .selection_criteria(self.reads.clone())
            .batch_size(size)
            .session(&mut *session)
            .batch()
            .await?;
        let mut replies = cursor.stream(session);
        let mut permit = Some(permit);
        while let (Some(mut held), Some(reply)) = (permit.take(), replies.next().await) {
            let reply = reply?;
            let bytes = reply.as_raw_document().as_bytes().len();
            settle(&mut held, &self.budget, bytes);
            let ticket = Ticket::part_of(&round.whole);
            ticket.hold(held);
            let now = Clock::Wall.now(&self.client).await?.bound;
            let images = Images {
                collection: position,
                snapshot: false,
                stamp: Stamp::Dates(&collection.dates),
                as_of: read_bound(reply.as_raw_document()).max(now),
                end: None,
            };
            let (seen, outlet) = (&mut *round.seen, &mut self.outlet);
            let count = images.publish(&reply, Some(seen), outlet, &ticket).await?;
            ticket.seal();
            drop(reply);
            round.documents += count.documents;
            tell(&collection.name, count);
            let read = count.documents + count.again;
            learn(average, read, bytes);
            let goes_on = match &pace {
                Some(pace) => pace.spend(read, shutdown).await,
                None => !shutdown.is_triggered(),
            };
            if !goes_on {
                return Ok(End::Stopped);
            }
            permit = self.reserve(expected, shutdown).await;
            if permit.is_none() {
                return Ok(End::Stopped);
            }
        }
        Ok(End::Finished)
    }

    /// Bytes for the next reply; none when the program is to stop.
    async fn reserve(&self, bytes: usize, shutdown: &Shutdown) -> Option<Permit> {
        tokio::select! {
            biased;
            () = shutdown.wait() => None,
            permit = self.budget.acquire(bytes) => Some(permit),
        }
    }
}

/// The millisecond from which on a poll that begins at `past` reads. A clock that was set back does
/// not make it read less.
fn since(mark: Version, past: Version, polling: &Polling, earlier: Option<i64>) -> i64 {
    let overlap = i64::try_from(polling.overlap.as_millis()).unwrap_or(i64::MAX);
    let since = (mark.min(past).seconds() * 1_000).saturating_sub(overlap);
    earlier.map_or(since, |earlier| earlier.min(since))
}

fn tell(collection: &str, count: Count) {
    metrics::documents_polled(collection, count.documents);
    metrics::incomplete(collection, count.undated, count.keyless);
    tell_keyless(collection, count.keyless);
}

/// Moves the average size towards what a reply has shown.
fn learn(average: &mut u64, documents: u64, bytes: usize) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    if let Some(seen) = bytes.checked_div(documents) {
        *average = (*average + seen) / 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Version {
        Version::from_i64(second << 31).unwrap()
    }

    #[test]
    fn a_poll_begins_at_the_mark_less_the_overlap_or_earlier() {
        let polling = Polling {
            interval: Duration::from_secs(10),
            overlap: Duration::from_secs(60),
            since: None,
        };
        let from = |mark, past, earlier| since(at(mark), at(past), &polling, earlier);
        assert_eq!(from(1_000, 1_010, None), 940_000);
        assert_eq!(from(1_000, 1_010, Some(5)), 5);
        assert_eq!(
            from(1_000, 1_010, Some(i64::MAX)),
            940_000,
            "it never narrows"
        );
        assert_eq!(from(1_000, 500, None), 440_000, "the clock was set back");
    }
}
