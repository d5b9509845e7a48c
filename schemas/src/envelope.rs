//! The envelope: what crosses Kafka for one document or one change of it.
//!
//! The documents inside stay raw BSON, borrowed from whatever buffer they came in: the producer
//! fills an [`Envelope`] from the socket's batch and the consumer reads one from the Kafka record,
//! and neither copies a document to do so. The wire form is `avro/envelope.avsc`, written and read
//! by [`crate::codec`].

use crate::{operation::Operation, version::Version};

/// One document, or one change of it, with where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What happened.
    pub operation: Operation,
    /// The document key as BSON bytes: `{ _id: … }`.
    pub key: &'a [u8],
    /// The whole document as BSON bytes; `None` for a delete.
    pub document: Option<&'a [u8]>,
    /// Decides which of two states wins: of an event its cluster time, of a snapshot row the
    /// cluster time just before its split was read.
    pub version: Version,
    /// An upper bound of the cluster time at which `document` was read; never below `version`.
    pub as_of: Version,
    /// Where it comes from.
    pub source: Source<'a>,
    /// The producer's run that wrote it.
    pub run: &'a str,
}

/// Where a document or an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// The database.
    pub database: &'a str,
    /// The collection.
    pub collection: &'a str,
    /// The event's own cluster time; of a snapshot row, the same as its version.
    pub cluster_time: Version,
    /// The source's clock in milliseconds since 1970, where the server sends it (6.0 and later).
    pub wall_time: Option<i64>,
    /// Read by a snapshot, not by the change stream.
    pub snapshot: bool,
    /// `lsid:number` of the transaction that an event belongs to.
    pub transaction: Option<&'a str>,
}

/// The header of records of which a person has had the document read again: its child rows are looked for
/// although its own row is there in the same version.
pub const AGAIN: &str = "leafcutter-again";
