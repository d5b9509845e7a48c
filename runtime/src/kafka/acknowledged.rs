//! Whether Kafka has written a record that it acknowledges.
//!
//! A client that numbers its records (KIP-98) calls one delivered in three cases in which nothing was written:
//!
//! - *Acknowledged by its successor only.* Two batches are on their way. The broker refuses the first, as one that
//!   has just become the leader does, and takes the second: of a producer that it has not seen it takes any first
//!   number. librdkafka (2.12.1) concludes that the first was written too, though its answer said that it was not
//!   (`IMPLICITACK` in its log). Met where topics had just been made (docs/decisions/what-kafka-acknowledges.md).
//! - *Taken for a repeat.* The broker has seen the numbers of a batch, writes nothing, and acknowledges what it wrote
//!   then. That is right for a batch whose answer was lost, and a loss where the client has begun to count anew
//!   (librdkafka issue 3712).
//! - *In another topic.* It was deleted and made anew: what was written before is gone.
//!
//! All of them can be seen. The first has no offset. For the others: within a partition a client's records are written
//! in the order in which they were sent, so each is acknowledged at a higher offset than all before it; one that is not
//! is one of those, or its topic is another one. A repeat of a batch whose answer was lost passes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The highest offset of each partition that was acknowledged to one client.
#[derive(Debug, Default)]
pub struct AcknowledgedOffsets(Mutex<HashMap<String, HashMap<i32, i64>>>);

impl AcknowledgedOffsets {
    /// Takes in that a record was acknowledged at this offset, negative where none is told; whether it proves that
    /// the record was written. Has to be called in the order of the acknowledgements.
    pub fn admit(&self, topic: &str, partition: i32, offset: i64) -> bool {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let partitions = match topics.get_mut(topic) {
            Some(partitions) => partitions,
            None => topics.entry(topic.to_owned()).or_default(),
        };
        let highest = partitions.entry(partition).or_insert(-1);
        let is_written = offset > *highest;
        *highest = offset.max(*highest);
        is_written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_rise_within_a_partition() {
        let offsets = AcknowledgedOffsets::default();
        assert!(offsets.admit("a", 0, 0) && offsets.admit("a", 0, 7));
        assert!(!offsets.admit("a", 0, 7), "the same one");
        assert!(!offsets.admit("a", 0, 3), "an earlier one");
        assert!(offsets.admit("a", 0, 8));
        assert!(offsets.admit("a", 1, 3) && offsets.admit("b", 0, 3));
        assert!(!offsets.admit("a", 0, -1001), "none is told");
        assert!(offsets.admit("a", 0, 9));
        assert!(!offsets.admit("c", 0, -1), "none is told of the first");
    }
}
