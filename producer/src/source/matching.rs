//! Documents read again on a person's word: those that match a filter; or of all, nothing but the `_id`.
//!
//! The first is read as a split is ([`super::snapshot`]): a time of the primary is taken before it, which is
//! the version of what is read, and the read is causal and of the majority, so every event at or before that
//! time is in it. Where the source is polled, a document's version is its own date.
//!
//! The second tells what is not there. Whatever was there all the time is found, since the `_id`s are read
//! through their index and never change; so what is not found was missing at some moment after the time that
//! was taken before the read. That time stays when the read has to begin again: `_id`s may come twice then.

use super::{
    Collection, Outlet,
    change_stream::settle,
    clock::Clock,
    image::{Failed, Images, Stamp},
    reply::{documents, read_bound},
    snapshot::{Pace, batch},
};
use crate::{
    acknowledge::Ticket,
    error::{Error, told},
};
use bson::{Document, RawDocumentBuf, doc};
use futures_util::StreamExt;
use leafcutter_runtime::{budget::Budget, retry::Backoff, shutdown::Shutdown};
use leafcutter_schemas::{id::key_document, version::Version};
use mongodb::{
    Client,
    options::{Hint, ReadConcern, SelectionCriteria},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// `_id`s in one reply at most.
const IDS_MAX: u32 = 10_000;

/// What a read of a part needs to know.
#[derive(Clone)]
pub struct Matching {
    /// The source.
    pub client: Client,
    /// Its database.
    pub database: String,
    /// The collection.
    pub collection: Collection,
    /// Whose time counts.
    pub clock: Clock,
    /// Where to read from.
    pub reads: SelectionCriteria,
    /// Bytes aimed at in one reply.
    pub batch_bytes: u64,
    /// Bytes of an average document.
    pub average: u64,
    /// The limit in documents per second.
    pub pace: Option<Arc<Pace>>,
    /// The one byte budget.
    pub budget: Budget,
}

/// Between attempts.
fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(15))
}

impl Matching {
    /// Hands on the documents that match, at the position `position` of the outlet; gives how many, or
    /// none when it was to stop. `read` is told of each reply.
    ///
    /// # Errors
    /// When a change cannot be handed on.
    pub async fn read<O: Outlet>(
        &self,
        filter: &Document,
        outlet: &mut O,
        read: &(dyn Fn(u64) + Sync),
        shutdown: &Shutdown,
    ) -> Result<Option<u64>, Error> {
        let mut backoff = backoff();
        loop {
            let failed = match self.attempt(filter, outlet, read, shutdown).await {
                Ok(done) => return Ok(done),
                Err(Failed::Run(error)) => return Err(error),
                Err(Failed::Source(error)) => error,
            };
            self.filter_fits(filter, &failed)?;
            let pause = backoff.next_delay();
            tracing::warn!(error = told(&failed), retry_in = ?pause, "could not read documents; reading them again");
            if !shutdown.sleep(pause).await {
                return Ok(None);
            }
        }
    }

    /// A filter that the server does not understand will not be understood later.
    ///
    /// # Errors
    /// That it is so.
    pub fn filter_fits(
        &self,
        filter: &Document,
        error: &mongodb::error::Error,
    ) -> Result<(), Error> {
        /// `BadValue`, `FailedToParse`, `TypeMismatch`, and an unknown operator or expression.
        const REFUSED: [i32; 6] = [2, 9, 14, 168, 40324, 51270];
        let code = crate::error::server_code(error);
        if code.is_none_or(|code| !REFUSED.contains(&code)) {
            return Ok(());
        }
        let fault = leafcutter_runtime::report::Fault::new(
            "could not read documents",
            format!("`{}`, {filter}", self.collection.name),
            told(error),
            "Correct the filter: it is a query document of MongoDB, in Extended JSON.",
        );
        Err(Error::fault(leafcutter_runtime::exit::Exit::Usage, fault))
    }

    async fn attempt<O: Outlet>(
        &self,
        filter: &Document,
        outlet: &mut O,
        read: &(dyn Fn(u64) + Sync),
        shutdown: &Shutdown,
    ) -> Result<Option<u64>, Failed> {
        let pace = self.pace.as_deref();
        let (size, expected) = batch(self.average, self.batch_bytes, pace, &self.budget);
        let (time, mut session) = self.clock.session(&self.client).await?;
        let time = time.past;
        let whole = Ticket::new(|| ());
        let mut cursor = self
            .client
            .database(&self.database)
            .collection::<RawDocumentBuf>(&self.collection.name)
            .find(filter.clone())
            .read_concern(ReadConcern::majority())
            .selection_criteria(self.reads.clone())
            .batch_size(size)
            .session(&mut session)
            .batch()
            .await?;
        let mut replies = cursor.stream(&mut session);
        let mut total = 0;
        loop {
            let mut permit = tokio::select! {
                biased;
                () = shutdown.wait() => return Ok(None),
                permit = self.budget.acquire(expected) => permit,
            };
            let Some(reply) = replies.next().await else {
                return Ok(Some(total));
            };
            let reply = reply?;
            let bytes = reply.as_raw_document().as_bytes().len();
            settle(&mut permit, &self.budget, bytes);
            let ticket = Ticket::part_of(&whole);
            ticket.hold(permit);
            let bound = read_bound(reply.as_raw_document()).max(time);
            let (stamp, as_of) = match self.clock {
                Clock::Cluster => (Stamp::Time(time), bound),
                Clock::Wall => {
                    let now = self.clock.now(&self.client).await?.bound;
                    (Stamp::Dates(&self.collection.dates), bound.max(now))
                }
            };
            let images = Images {
                collection: 0,
                snapshot: true,
                stamp,
                as_of,
                end: None,
            };
            let count = images.publish(&reply, None, outlet, &ticket).await?;
            ticket.seal();
            total += count.documents;
            read(count.documents);
            if let Some(pace) = pace
                && !pace.spend(count.documents, shutdown).await
            {
                return Ok(None);
            }
        }
    }

    /// Sends `{ _id: … }` of every document, some at a time; gives a time before the read, or none when it
    /// was to stop or nobody takes them. `sorted` where there is an index on `_id`.
    pub async fn ids(
        &self,
        sorted: bool,
        ids: &mpsc::Sender<Vec<RawDocumentBuf>>,
        shutdown: &Shutdown,
    ) -> Option<Version> {
        let mut backoff = backoff();
        let mut begun = None;
        loop {
            match self.ids_once(sorted, &mut begun, ids, shutdown).await {
                Ok(true) => return begun,
                Ok(false) => return None,
                Err(error) => {
                    let pause = backoff.next_delay();
                    tracing::warn!(error = told(&error), retry_in = ?pause, "could not read the `_id`s; reading them again");
                    if !shutdown.sleep(pause).await {
                        return None;
                    }
                }
            }
        }
    }

    async fn ids_once(
        &self,
        sorted: bool,
        begun: &mut Option<Version>,
        ids: &mpsc::Sender<Vec<RawDocumentBuf>>,
        shutdown: &Shutdown,
    ) -> mongodb::error::Result<bool> {
        let (time, mut session) = self.clock.session(&self.client).await?;
        begun.get_or_insert(time.past);
        let database = self.client.database(&self.database);
        let collection = database.collection::<RawDocumentBuf>(&self.collection.name);
        let mut find = collection
            .find(doc! {})
            .projection(doc! { "_id": 1 })
            .read_concern(ReadConcern::majority())
            .selection_criteria(self.reads.clone())
            .batch_size(IDS_MAX);
        if sorted {
            find = find.hint(Hint::Keys(doc! { "_id": 1 }));
        }
        let mut cursor = find.session(&mut session).batch().await?;
        let mut replies = cursor.stream(&mut session);
        while let Some(reply) = replies.next().await {
            let reply = reply?;
            let keys = documents(&reply)?.into_iter().filter_map(key_document);
            let keys: Vec<RawDocumentBuf> = keys.collect();
            let sent = tokio::select! {
                biased;
                () = shutdown.wait() => false,
                sent = ids.send(keys) => sent.is_ok(),
            };
            if !sent {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
