//! The documents of one reply → changes.
//!
//! Both readers of whole documents, the snapshot and the poll, hand them on here. It takes a reply
//! and what is known of its time, and gives a change for each document and the count of those of
//! which something has to be said.

use super::{Change, Outlet, dates::Dates, reply::documents, seen::Seen};
use crate::{acknowledge::Ticket, error::Error};
use bson::{RawDocument, RawDocumentBuf};
use leafcutter_schemas::{
    id::key_document, key::DocumentKey, operation::Operation, version::Version,
};
use mongodb::raw_batch_cursor::RawBatch;
use std::sync::Arc;

/// What makes the version of a document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stamp<'a> {
    /// A time before it was read.
    Time(Version),
    /// Its own dates.
    Dates(&'a Dates),
}

/// Where documents come from and what is known of all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Images<'a> {
    /// The position of their collection.
    pub(super) collection: usize,
    /// Read by a snapshot, not by a poll.
    pub(super) snapshot: bool,
    /// What makes their versions.
    pub(super) stamp: Stamp<'a>,
    /// They were read at this time at the latest.
    pub(super) as_of: Version,
    /// The last document of the split.
    pub(super) end: Option<&'a DocumentKey>,
}

/// What became of a reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Documents handed on.
    pub(super) documents: u64,
    /// Documents that the poll before has handed on just so.
    pub(super) again: u64,
    /// Of these, documents without any of the dates they are polled by.
    pub(super) undated: u64,
    /// Documents of a time series without an `_id`, which nothing can be told of.
    pub(super) keyless: u64,
    /// The last document of the split was among them.
    pub(super) at_end: bool,
}

/// Why a reader's attempt failed.
pub(super) enum Failed {
    /// Read it again.
    Source(mongodb::error::Error),
    /// The run has ended.
    Run(Error),
}

impl From<mongodb::error::Error> for Failed {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Source(error)
    }
}

impl Images<'_> {
    /// Hands a reply's documents on, but for those that were seen.
    pub(super) async fn publish<O: Outlet>(
        self,
        batch: &RawBatch,
        mut seen: Option<&mut Seen>,
        outlet: &mut O,
        ticket: &Arc<Ticket>,
    ) -> Result<Count, Failed> {
        let mut count = Count::default();
        for document in documents(batch)? {
            if let Some(seen) = &mut seen
                && !seen.is_new(self.collection, document.as_bytes())
            {
                count.again += 1;
                continue;
            }
            let identified = identify(document);
            if identified.is_none() && matches!(self.stamp, Stamp::Dates(_)) {
                count.keyless += 1;
                continue;
            }
            // The consumer refuses it: of a damaged collection, all but what is damaged arrives.
            let (key, key_bson) =
                identified.unwrap_or_else(|| (DocumentKey::missing(), RawDocumentBuf::new()));
            let version = match self.stamp {
                Stamp::Time(version) => version,
                Stamp::Dates(dates) => {
                    let dated = dates.version(document, self.as_of);
                    count.undated += u64::from(dated.undated);
                    dated.version
                }
            };
            let change = Change {
                operation: if self.snapshot {
                    Operation::Read
                } else {
                    Operation::Update
                },
                key: &key,
                key_bson: key_bson.as_bytes(),
                document: Some(document.as_bytes()),
                version,
                as_of: self.as_of.max(version),
                wall_time: None,
                snapshot: self.snapshot,
                transaction: None,
            };
            outlet
                .put(self.collection, change, ticket)
                .await
                .map_err(Failed::Run)?;
            count.documents += 1;
            if self.end == Some(&key) {
                count.at_end = true;
                break;
            }
        }
        Ok(count)
    }
}

fn identify(document: &RawDocument) -> Option<(DocumentKey, RawDocumentBuf)> {
    let id = key_document(document)?;
    Some((DocumentKey::of_document(&id)?, id))
}

/// Says of documents without an `_id` that they are not carried.
pub(super) fn tell_keyless(collection: &str, count: u64) {
    if count > 0 {
        tracing::error!(
            collection,
            documents = count,
            error = "documents without an `_id`",
            "documents of a time series are left out: nothing tells them apart"
        );
    }
}
