//! What is measured while the demo runs.

use leafcutter_finlit::Collection;
use leafcutter_harness::{
    failure::Result,
    fault::{again::Again, course::Struck},
    watch::Seen,
    world::Place,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What was measured on the way.
#[derive(Debug, Default)]
pub struct Measured {
    /// When the programs were started.
    pub start: Option<Instant>,
    /// Per collection: when its first record was applied, when its snapshot was, its documents.
    snapshots: BTreeMap<Collection, (Instant, Option<Instant>, u64)>,
    /// The most memory of each program, in KiB.
    pub peaks: Vec<(String, u64)>,
    /// Steps of the traffic.
    pub writes: u64,
    /// Those of several writes.
    pub transactions: u64,
    /// How long the traffic went on.
    pub traffic: Duration,
    /// How long the comparison took.
    pub comparison: Duration,
    /// What was killed, where that was asked for, and what was done again for it.
    pub faults: Option<Faults>,
}

/// What was killed, and what was done again for it.
#[derive(Debug)]
pub struct Faults {
    /// What the plan was made from.
    pub seed: u64,
    /// The kills.
    pub struck: Vec<Struck>,
    /// What was done more than once.
    pub again: Again,
}

impl Measured {
    /// Takes in how far the migration is.
    pub(super) fn see(&mut self, place: &Place, seen: &Seen) -> Result<()> {
        let now = Instant::now();
        for collection in Collection::ALL {
            let topic = place.topic(collection.name())?;
            if seen.applied(&topic) == 0 {
                continue;
            }
            let (_, done, documents) = self.snapshots.entry(collection).or_insert((now, None, 0));
            if done.is_none() && seen.is_snapshot_applied(&topic) {
                *done = Some(now);
                *documents = seen
                    .said
                    .complete
                    .get(&topic)
                    .map_or(0, |complete| complete.documents);
            }
        }
        Ok(())
    }

    /// Seconds from the programs' start until the snapshot of a collection was applied, and its
    /// documents per second from the first one on.
    pub fn snapshot(&self, collection: Collection) -> Option<(f64, u64)> {
        let (first, done, documents) = self.snapshots.get(&collection)?;
        let done = (*done)?;
        Some((
            (done - self.start?).as_secs_f64(),
            per_second(*documents, done - *first),
        ))
    }

    /// The same for all, from the programs' start.
    pub fn whole_snapshot(&self) -> (f64, u64) {
        let last = self
            .snapshots
            .values()
            .filter_map(|(_, done, _)| *done)
            .max();
        let documents = self
            .snapshots
            .values()
            .map(|(_, _, documents)| documents)
            .sum();
        match (self.start, last) {
            (Some(start), Some(last)) => (
                (last - start).as_secs_f64(),
                per_second(documents, last - start),
            ),
            _ => (0.0, 0),
        }
    }
}

fn per_second(documents: u64, took: Duration) -> u64 {
    // Progress is looked at a few times a second: less than that cannot be told from nothing.
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(250);
    documents * 1000 / millis
}
