//! Documents that a person names: read again, or, where they are not there, said to be deleted.

use super::Reader;
use crate::{
    acknowledge::Ticket,
    error::Error,
    publish::Route,
    source::{Change, Outlet},
};
use bson::{Document, RawDocument, RawDocumentBuf, doc};
use leafcutter_runtime::{report::Failure, shutdown::Shutdown};
use leafcutter_schemas::{id::array_of, key::DocumentKey, operation::Operation, version::Version};
use std::{collections::BTreeSet, sync::Arc};

/// `_id`s looked up at once.
const IDS_MAX: usize = 500;

impl Reader {
    /// Reads these documents (`{ _id: … }`), and says of those that are not there that they were deleted.
    /// Of several in one group one document is meant: where one is there, nothing is said of the others.
    /// Gives how many were there, and how many not; none when it was to stop.
    ///
    /// # Errors
    /// When Kafka refuses a record, or the source cannot be asked.
    pub async fn documents(
        &self,
        groups: &[Vec<RawDocumentBuf>],
        shutdown: &Shutdown,
    ) -> Result<Option<(u64, u64)>, Failure> {
        let matching = self.matching_reader();
        let (mut there, mut gone) = (0, 0);
        for groups in groups.chunks(IDS_MAX) {
            let ids: Vec<&RawDocument> = groups.iter().flatten().map(AsRef::as_ref).collect();
            let among = array_of("$in", &ids).and_then(|among| Document::try_from(among).ok());
            let Some(among) = among else {
                let why = "the `_id`s to look up are too large";
                return Err(Error::internal("the look-up of documents", why).into_failure());
            };
            // Before the look-up: what is not found was missing at that time or later.
            let time = self.now().await?;
            let mut noting = Noting {
                route: self.route(),
                found: BTreeSet::new(),
            };
            let note = |read| self.note(read);
            let filter = doc! { "_id": among };
            let reading = matching.read(&filter, &mut noting, &note, shutdown);
            if self.delivered(reading, shutdown).await?.is_none() {
                return Ok(None);
            }
            for group in groups {
                let keys = group.iter().filter_map(|id| DocumentKey::of_document(id));
                let keys: Vec<DocumentKey> = keys.collect();
                if keys.iter().any(|key| noting.found.contains(key.as_str())) {
                    there += 1;
                    continue;
                }
                gone += 1;
                let deleting = self.delete(group.iter().zip(&keys), time, &mut noting.route);
                self.delivered(deleting, shutdown).await?;
            }
        }
        Ok(Some((there, gone)))
    }

    async fn delete(
        &self,
        keys: impl Iterator<Item = (&RawDocumentBuf, &DocumentKey)>,
        time: Version,
        route: &mut Route,
    ) -> Result<(), Error> {
        let ticket = Ticket::new(|| ());
        for (id, key) in keys {
            let change = Change {
                operation: Operation::Delete,
                key,
                key_bson: id.as_bytes(),
                document: None,
                version: time,
                as_of: time,
                wall_time: None,
                snapshot: false,
                transaction: None,
            };
            route.put(0, change, &ticket).await?;
        }
        ticket.seal();
        Ok(())
    }
}

/// An outlet that notes what went through it.
struct Noting {
    route: Route,
    found: BTreeSet<String>,
}

impl Outlet for Noting {
    async fn put(
        &mut self,
        collection: usize,
        change: Change<'_>,
        ticket: &Arc<Ticket>,
    ) -> Result<(), Error> {
        self.found.insert(change.key.as_str().to_owned());
        self.route.put(collection, change, ticket).await
    }
}
