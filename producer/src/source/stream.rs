//! Replies of the change stream → changes, in order, with the documents of updates looked up.
//!
//! Per reply: what is whole goes on ([`super::hold`]), each event's fate is decided
//! ([`super::merge`]), the updates that remain are looked up a window at a time
//! ([`super::lookup`]), and the changes are handed to the outlet in the order of their events.
//! The position behind the reply counts only when all of them are acknowledged.

use super::{
    Change, Collection, Outlet,
    change_stream::{Feed, Reply},
    event::{self, Event, Parsed, Positions},
    held::Limits,
    hold::{self, HoldBack},
    lookup,
    merge::{Fate, fates},
    reply::{documents, post_batch_token},
};
use crate::{
    acknowledge::Ticket,
    error::{Error, told},
    metrics,
    progress::Progress,
    settings::OnDrop,
};
use bson::{RawDocument, RawDocumentBuf};
use leafcutter_runtime::{budget::Budget, retry::Backoff, shutdown::Shutdown};
use leafcutter_schemas::{key::DocumentKey, operation::Operation, version::Version};
use mongodb::Client;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// What the stream needs to know.
pub struct Stream<O> {
    /// The source.
    pub client: Client,
    /// Its database.
    pub database: String,
    /// The mapped collections.
    pub collections: Arc<Vec<Collection>>,
    /// Documents asked for in one look-up at most.
    pub lookup_batch: usize,
    /// What a dropped or renamed collection leads to.
    pub on_drop: OnDrop,
    /// The bytes for documents that are looked up. None of them are held by replies, which hold
    /// theirs until all their updates have been looked up and acknowledged.
    pub lookups: Budget,
    /// Where acknowledged positions go.
    pub progress: Arc<Progress>,
    /// Where changes go.
    pub outlet: O,
}

/// A stream at work.
pub struct Relay<O> {
    stream: Stream<O>,
    handles: Vec<mongodb::Collection<RawDocumentBuf>>,
    positions: Positions,
    hold: HoldBack,
    /// Bytes of an average looked-up document, per collection.
    average: Vec<usize>,
}

/// What came of a window's look-up.
enum LookedUp {
    /// The replies, with the positions of their collections.
    Found(Vec<(usize, lookup::Reply)>),
    /// The window was too large.
    TooMuch,
    /// The program is to stop.
    Stopped,
}

/// Before anything is known of a collection's documents.
const AVERAGE_BYTES_FIRST: usize = 4 << 10;

/// By collection and key: the document, and the bound of the time it was read at.
type Found<'a> = HashMap<usize, HashMap<DocumentKey, (&'a RawDocument, Version)>>;

impl<O: Outlet> Relay<O> {
    /// A relay that has seen nothing yet.
    pub fn new(stream: Stream<O>) -> Self {
        let database = stream.client.database(&stream.database);
        // The budget of look-ups is a quarter of all.
        let lookups = stream.lookups.capacity();
        let limits = Limits {
            documents: lookups / 2,
            bytes: lookups.saturating_mul(4),
        };
        let names = || stream.collections.iter().map(|c| c.name.as_str());
        Self {
            handles: names().map(|name| database.collection(name)).collect(),
            positions: names().map(str::to_owned).zip(0..).collect(),
            hold: HoldBack::new(limits),
            average: vec![AVERAGE_BYTES_FIRST; stream.collections.len()],
            stream,
        }
    }

    /// Takes replies until there are no more.
    ///
    /// # Errors
    /// When an event cannot be understood or handed on, or a policy says stop.
    pub async fn run(
        mut self,
        mut feed: mpsc::Receiver<Feed>,
        shutdown: Shutdown,
    ) -> Result<(), Error> {
        while let Some(next) = feed.recv().await {
            match next {
                Feed::Reply(reply) => {
                    if !self.take(reply, &shutdown).await? {
                        break;
                    }
                }
                Feed::Ended(time) => {
                    let what = "the change stream ended without an error";
                    return Err(Error::Halted {
                        what: what.to_owned(),
                        time,
                    });
                }
            }
        }
        Ok(())
    }

    /// Handles one reply; tells whether to go on.
    async fn take(&mut self, reply: Reply, shutdown: &Shutdown) -> Result<bool, Error> {
        let events = documents(&reply.batch).map_err(|source| Error::Source {
            what: "read a reply of the change stream".to_owned(),
            source,
        })?;
        let token = post_batch_token(reply.batch.as_raw_document());
        let proves_end = reply.proves_end;
        let first = reply.first.as_ref().map(Option::as_deref);
        let known = hold::Reply {
            token,
            proves_end,
            first,
        };
        let step = self.hold.step(&events, known)?;
        let ready = events.get(..step.ready).unwrap_or_default();
        let released = step.released.iter().map(AsRef::as_ref);
        let (parsed, reshaped) = self.parse(released.chain(ready.iter().copied()))?;
        if let Some(last) = parsed.last() {
            self.stream.progress.event_read(last.time);
        }
        let Some(position) = step.position else {
            return Ok(true);
        };
        let progress = Arc::clone(&self.stream.progress);
        let number = progress.stream_begun(position);
        let ticket = Ticket::new(move || progress.stream_acknowledged(number));
        ticket.hold(reply.permit);
        if !self.publish(&parsed, &ticket, shutdown).await? {
            return Ok(false);
        }
        match reshaped {
            // Unsealed: the position behind it is never reached, and the next start sees it again.
            Some(halted) => Err(halted),
            None => {
                ticket.seal();
                Ok(true)
            }
        }
    }

    /// Parses events up to the first that stops the stream.
    fn parse<'a>(
        &self,
        events: impl Iterator<Item = &'a RawDocument>,
    ) -> Result<(Vec<Event<'a>>, Option<Error>), Error> {
        let mut changes = Vec::new();
        for event in events {
            match event::parse(event, &self.positions)? {
                Parsed::Change(change) => changes.push(change),
                Parsed::Nothing => {}
                Parsed::Reshaped(what) => match self.stream.on_drop {
                    OnDrop::Halt => {
                        let time = event::time_and_group(event)?.0;
                        return Ok((changes, Some(Error::Halted { what, time })));
                    }
                    OnDrop::Ignore => tracing::warn!(what, "going past it, as `--on-drop` says"),
                },
            }
        }
        Ok((changes, None))
    }

    /// Hands the events on, a window at a time; tells whether all of them went.
    async fn publish(
        &mut self,
        events: &[Event<'_>],
        ticket: &Arc<Ticket>,
        shutdown: &Shutdown,
    ) -> Result<bool, Error> {
        let Some(last) = events.last().map(|event| event.time) else {
            return Ok(true);
        };
        let fates = fates(events);
        count(events, &fates);
        let kept = events.iter().zip(&fates);
        let kept: Vec<&Event<'_>> = kept
            .filter_map(|(event, fate)| (*fate == Fate::Publish).then_some(event))
            .collect();
        let mut rest = kept.as_slice();
        while !rest.is_empty() {
            let (size, bytes) = self.window(rest);
            let (window, after) = rest.split_at(size);
            let permit = if bytes > 0 {
                let budget = &self.stream.lookups;
                Some(budget.acquire(bytes.min(self.window_bytes())).await)
            } else {
                None
            };
            match self.look_up(window, last, shutdown).await {
                LookedUp::Stopped => return Ok(false),
                LookedUp::TooMuch => continue,
                LookedUp::Found(replies) => {
                    // Bytes of a window go back with the window: those of a whole batch may be
                    // more than there are.
                    let part = Ticket::part_of(ticket);
                    if let Some(permit) = permit {
                        part.hold(permit);
                    }
                    self.publish_window(window, &replies, last, &part).await?;
                    part.seal();
                }
            }
            rest = after;
        }
        Ok(true)
    }

    /// Bytes of one look-up: while it is acknowledged the next one can be read.
    fn window_bytes(&self) -> usize {
        self.stream.lookups.capacity() / 2
    }

    /// How many of the events fit one look-up, and the bytes it is expected to bring.
    fn window(&self, events: &[&Event<'_>]) -> (usize, usize) {
        let limit = self.window_bytes();
        let (mut lookups, mut bytes) = (0, 0);
        for (index, event) in events.iter().enumerate() {
            if !event.needs_lookup() {
                continue;
            }
            let next = self
                .average
                .get(event.collection)
                .copied()
                .unwrap_or_default();
            if lookups > 0 && (lookups == self.stream.lookup_batch || bytes + next > limit) {
                return (index, bytes);
            }
            lookups += 1;
            bytes += next;
        }
        (events.len(), bytes)
    }

    async fn publish_window(
        &mut self,
        events: &[&Event<'_>],
        replies: &[(usize, lookup::Reply)],
        last: Version,
        ticket: &Arc<Ticket>,
    ) -> Result<(), Error> {
        let found = index(replies);
        self.learn(&found);
        let gone_at = replies
            .iter()
            .map(|(_, reply)| reply.read)
            .max()
            .unwrap_or_default();
        let mut gone = 0_u64;
        for event in events {
            let (document, as_of) = if event.needs_lookup() {
                let documents = found.get(&event.collection);
                let Some(&(document, read)) = documents.and_then(|d| d.get(&event.key)) else {
                    gone += 1;
                    continue;
                };
                (Some(document), read)
            } else {
                (event.document, event.time)
            };
            let change = Change {
                operation: event.operation,
                key: &event.key,
                key_bson: event.id.as_bytes(),
                document: document.map(RawDocument::as_bytes),
                version: event.time,
                as_of,
                wall_time: event.wall_time,
                snapshot: false,
                transaction: event.transaction.as_deref(),
            };
            self.stream
                .outlet
                .put(event.collection, change, ticket)
                .await?;
        }
        if gone > 0 {
            // H3: no heartbeat may speak of a time before this.
            self.stream.progress.raise_floor(gone_at.max(last));
            metrics::lookups_gone(gone);
        }
        Ok(())
    }

    /// Looks the window's updates up, one read per collection, until it succeeds.
    async fn look_up(
        &mut self,
        events: &[&Event<'_>],
        last: Version,
        shutdown: &Shutdown,
    ) -> LookedUp {
        let mut wanted: HashMap<usize, Vec<&RawDocument>> = HashMap::new();
        for event in events.iter().filter(|event| event.needs_lookup()) {
            wanted.entry(event.collection).or_default().push(&event.id);
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            let limit = self.window_bytes();
            let reads = wanted.iter().filter_map(|(&position, ids)| {
                let collection = self.handles.get(position)?;
                let read = lookup::read(collection, ids, last, limit);
                Some(async move { read.await.map(|found| (position, found)) })
            });
            match futures_util::future::try_join_all(reads).await {
                Ok(found) => return self.gather(found),
                Err(error) => {
                    let pause = backoff.next_delay();
                    tracing::warn!(error = told(&error), retry_in = ?pause, "could not look documents up");
                    if !shutdown.sleep(pause).await {
                        return LookedUp::Stopped;
                    }
                }
            }
        }
    }

    /// Puts the answers of all collections together. An answer that was too much raises the
    /// average, at least twofold, so that the next window is smaller.
    fn gather(&mut self, found: Vec<(usize, lookup::Found)>) -> LookedUp {
        let mut all = Vec::new();
        let mut too_much = false;
        for (position, found) in found {
            match found {
                lookup::Found::All(replies) => {
                    all.extend(replies.into_iter().map(|reply| (position, reply)));
                }
                lookup::Found::TooMuch { average } => {
                    too_much = true;
                    if let Some(known) = self.average.get_mut(position) {
                        *known = average.max(*known * 2);
                    }
                }
            }
        }
        if too_much {
            LookedUp::TooMuch
        } else {
            LookedUp::Found(all)
        }
    }

    /// Moves the average size of each collection's documents towards what was found.
    fn learn(&mut self, found: &Found<'_>) {
        for (position, documents) in found {
            let Some(average) = self.average.get_mut(*position) else {
                continue;
            };
            for (document, _) in documents.values() {
                *average = (*average * 15 + document.as_bytes().len()) / 16;
            }
        }
    }
}

/// The documents of the replies by collection and key.
fn index(replies: &[(usize, lookup::Reply)]) -> Found<'_> {
    let mut found: Found<'_> = HashMap::new();
    for (position, reply) in replies {
        let known = found.entry(*position).or_default();
        // Read once before, by `lookup::read`.
        for document in documents(&reply.batch).unwrap_or_default() {
            if let Some(key) = DocumentKey::of_document(document) {
                known.insert(key, (document, reply.read));
            }
        }
    }
    found
}

fn count(events: &[Event<'_>], fates: &[Fate]) {
    let mut operations = [0_u64; Operation::ALL.len()];
    for event in events {
        if let Some(count) = operations.get_mut(usize::from(event.operation.index())) {
            *count += 1;
        }
    }
    for (operation, count) in Operation::ALL.into_iter().zip(operations) {
        metrics::events_read(operation, count);
    }
    let with = |wanted| fates.iter().filter(|fate| **fate == wanted).count();
    metrics::events_merged(with(Fate::Merged), with(Fate::Collapsed));
}
