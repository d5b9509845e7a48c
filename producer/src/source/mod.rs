//! The source: what both readers yield, and the order they promise.
//!
//! [`snapshot`] reads what is there, [`change_stream`] what happens, and [`poll`] stands for it
//! where a source has no change stream; all give [`Change`]s. The stream keeps the order of events
//! per document; the others promise no order, and need none, because every change carries its
//! version (PROTOCOL §1–§3). Modules in the order a collection meets them: its reply is read, its
//! splits are cut and read, its events are parsed, merged, looked up and handed on; or it is read
//! again by its dates.

pub mod reply;
pub mod clock;
pub mod dates;
pub mod image;
pub mod plan;
pub mod split;
pub mod snapshot;
pub mod matching;
mod proof;
pub mod reply_size;
pub mod change_stream;
pub mod event;
pub mod held;
pub mod hold;
pub mod merge;
pub mod lookup;
pub mod stream;
mod seen;
pub mod poll;

use crate::{acknowledge::Ticket, error::Error};
use leafcutter_schemas::{key::DocumentKey, operation::Operation, version::Version};
use std::{future::Future, sync::Arc};

/// One document, or one change of it, borrowed from the reply it came in.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What happened.
    pub operation: Operation,
    /// The canonical text of `_id`.
    pub key: &'a DocumentKey,
    /// `{ _id: … }` as BSON bytes.
    pub key_bson: &'a [u8],
    /// The whole document as BSON bytes; `None` for a delete.
    pub document: Option<&'a [u8]>,
    /// Decides which of two states wins.
    pub version: Version,
    /// An upper bound of the cluster time at which `document` was read.
    pub as_of: Version,
    /// The source's clock in milliseconds since 1970, where the server sends it.
    pub wall_time: Option<i64>,
    /// Read by a snapshot.
    pub snapshot: bool,
    /// `lsid:number` of the event's transaction.
    pub transaction: Option<&'a str>,
}

/// One collection of the mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its name, without the database.
    pub name: String,
    /// Its data topic.
    pub topic: String,
    /// Its place in the order of references: parents are read first.
    pub tier: usize,
    /// What it can be polled by.
    pub dates: dates::Dates,
}

/// Where changes go. The source knows no more of what comes after it.
pub trait Outlet: Send {
    /// Hands on one change of the collection at that position. What was handed on earlier for the
    /// same key comes before it. The ticket is told when the broker has it, or has refused it.
    fn put(
        &mut self,
        collection: usize,
        change: Change<'_>,
        ticket: &Arc<Ticket>,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
