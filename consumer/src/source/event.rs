//! What the thread and the assembler tell each other.

use leafcutter_runtime::budget::Permit;
use leafcutter_sink::{change::Delivery, ids::Partition};

/// What the group takes and gives. It is told apart from the records, and also while there is no room for those: who
/// holds a lock for which the batch in hand waits may be the one whose partitions are to be taken over.
#[derive(Debug, PartialEq, Eq)]
pub enum Membership {
    /// These partitions are ours, paused.
    Assigned(Vec<Partition>),
    /// These are not any more.
    Revoked(Vec<Partition>),
}

/// What the thread tells the assembler.
#[derive(Debug)]
pub enum Event {
    /// The partition is read from this offset, as asked under this generation.
    Ready(Partition, u64),
    /// Records, in order within each partition, and the bytes they hold of the budget.
    Deliveries(Vec<Delivery>, Permit),
    /// Kafka has removed what was to be read next of a partition.
    Expired(Expired),
    /// Kafka has no longer what is to be read.
    Lost(String),
}

/// A partition whose next records were removed before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// The partition.
    pub partition: Partition,
    /// The record that should have come.
    pub next: i64,
    /// The first one that is there.
    pub first: i64,
}

/// What the assembler asks of the thread.
#[derive(Debug)]
pub enum Command {
    /// Read this partition from this offset on.
    Read {
        /// The partition.
        partition: Partition,
        /// The offset of the first record.
        offset: i64,
        /// The record before it as well, if it is there.
        and_before: bool,
        /// Comes back with [`Event::Ready`].
        generation: u64,
    },
    /// Do not read this partition until it is asked for again.
    Hold(Partition),
    /// Tell Kafka how far these were applied, for lag tools.
    Commit(Vec<(Partition, i64)>),
}
