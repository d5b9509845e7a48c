//! How far this run is: what is acknowledged, what a heartbeat may claim, what a checkpoint holds.
//!
//! Readers and delivery reports report to one [`Progress`]; checkpoint and heartbeat read it. All
//! rules of PROTOCOL §5 and §7.1 about H and W are here, as plain functions over plain state.

use crate::source::{hold::Position, plan::Plan};
use leafcutter_schemas::{control::SnapshotProgress, version::Version};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::Notify;

/// Shared by all tasks of a run.
#[derive(Debug, Default)]
pub struct Progress {
    state: Mutex<State>,
    /// Rung when something was acknowledged that a control record waits for.
    pub changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Versions are dates of the application's: a lower one may always come.
    polled: bool,
    stream: Stream,
    snapshots: BTreeMap<String, Snapshot>,
}

/// The stream's positions, in order.
#[derive(Debug, Default)]
struct Stream {
    first: u64,
    open: VecDeque<(Position, bool)>,
    acknowledged: Option<Position>,
    /// H3.
    floor: Version,
    /// The last H: stays true for ever.
    claimed: Version,
    /// What the last written checkpoint holds.
    checkpointed: Version,
    /// The newest event that was read.
    event: Version,
}

impl Stream {
    fn begun(&mut self, position: Position) -> u64 {
        self.open.push_back((position, false));
        self.first + u64::try_from(self.open.len()).unwrap_or(u64::MAX) - 1
    }

    fn acknowledge(&mut self, number: u64) {
        let index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        if let Some((_, done)) = self.open.get_mut(index) {
            *done = true;
        }
        while let Some((position, true)) = self.open.front() {
            self.acknowledged = Some(position.clone());
            self.open.pop_front();
            self.first += 1;
        }
    }

    /// H: the time complete, once it is past everything that could make it a lie (H1–H3).
    fn claim(&mut self) -> Version {
        if let Some(position) = &self.acknowledged
            && position.complete >= self.floor
        {
            self.claimed = self.claimed.max(position.complete);
        }
        self.claimed
    }
}

/// The snapshot of one collection.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its data topic.
    pub topic: String,
    /// How it was cut.
    pub plan: Plan,
    /// The state of each split.
    pub splits: Vec<SplitState>,
    /// `snapshot-complete` is acknowledged.
    pub complete: bool,
    /// When this run began with it.
    pub begun: Option<Instant>,
}

/// The state of one split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitState {
    /// Every row is acknowledged.
    pub done: bool,
    /// The written checkpoint says so.
    pub checkpointed: bool,
    /// The lowest `L` of this run's attempts; none before the first.
    pub oldest: Option<Version>,
    /// Documents read by the last attempt.
    pub documents: u64,
    /// Of these, documents without any of the dates that the collection is polled by.
    pub undated: u64,
}

impl Snapshot {
    /// A snapshot with nothing read yet.
    pub fn new(topic: &str, plan: Plan) -> Self {
        let splits = vec![SplitState::default(); plan.split_count()];
        Self {
            topic: topic.to_owned(),
            plan,
            splits,
            complete: false,
            begun: None,
        }
    }

    /// Whether every split is acknowledged.
    pub fn all_done(&self) -> bool {
        self.splits.iter().all(|split| split.done)
    }

    /// Documents read.
    pub fn documents(&self) -> u64 {
        self.splits.iter().map(|split| split.documents).sum()
    }

    /// Documents read by this run that no poll will find.
    pub fn undated(&self) -> u64 {
        self.splits.iter().map(|split| split.undated).sum()
    }

    fn shown(&self) -> SnapshotProgress {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        SnapshotProgress {
            topic: self.topic.clone(),
            documents_estimated: self.plan.estimated,
            documents_read: self.documents(),
            splits_done: count(self.splits.iter().filter(|split| split.done).count()),
            splits: count(self.splits.len()),
        }
    }
}

impl Progress {
    /// The progress of a source that is polled.
    pub fn polled() -> Self {
        let progress = Self::default();
        progress.lock().polled = true;
        progress
    }

    /// Whether the source is polled.
    pub fn is_polled(&self) -> bool {
        self.lock().polled
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position behind the next batch; counts once that batch and all before it are
    /// acknowledged.
    pub fn stream_begun(&self, position: Position) -> u64 {
        self.lock().stream.begun(position)
    }

    /// The batch of that number is acknowledged.
    pub fn stream_acknowledged(&self, number: u64) {
        self.lock().stream.acknowledge(number);
    }

    /// The position up to which everything is acknowledged.
    pub fn stream_position(&self) -> Option<Position> {
        self.lock().stream.acknowledged.clone()
    }

    /// An event of this time was read from the source's history.
    pub fn event_read(&self, time: Version) {
        let event = &mut self.lock().stream.event;
        *event = (*event).max(time);
    }

    /// The newest event that was read, by this run or one before it; zero for none.
    pub fn last_event(&self) -> Version {
        self.lock().stream.event
    }

    /// No heartbeat may claim a time below this one any more (H3).
    pub fn raise_floor(&self, to: Version) {
        let floor = &mut self.lock().stream.floor;
        *floor = (*floor).max(to);
    }

    /// What a heartbeat may claim now.
    pub fn claim(&self) -> Version {
        self.lock().stream.claim()
    }

    /// W: no record with a lower version will be written, by this run or the next.
    pub fn low_water(&self) -> Version {
        let state = self.lock();
        if state.polled {
            return Version::ZERO;
        }
        let splits = state
            .snapshots
            .values()
            .flat_map(|snapshot| &snapshot.splits);
        splits
            .filter(|split| !split.checkpointed)
            .filter_map(|split| split.oldest)
            .fold(state.stream.checkpointed, Version::min)
    }

    /// The stream's checkpoint with this time is written.
    pub fn stream_checkpointed(&self, time: Version) {
        let checkpointed = &mut self.lock().stream.checkpointed;
        *checkpointed = (*checkpointed).max(time);
    }

    /// A collection's snapshot is planned, or found as it was left.
    pub fn snapshot_planned(&self, collection: &str, snapshot: Snapshot) {
        self.lock()
            .snapshots
            .insert(collection.to_owned(), snapshot);
    }

    fn split(&self, collection: &str, split: usize, change: impl FnOnce(&mut SplitState)) {
        let mut state = self.lock();
        let snapshot = state.snapshots.get_mut(collection);
        if let Some(split) = snapshot.and_then(|snapshot| snapshot.splits.get_mut(split)) {
            change(split);
        }
    }

    /// A split is about to be read with this `L`.
    pub fn split_begun(&self, collection: &str, split: usize, time: Version) {
        if let Some(snapshot) = self.lock().snapshots.get_mut(collection) {
            snapshot.begun.get_or_insert_with(Instant::now);
        }
        self.split(collection, split, |state| {
            state.oldest = Some(state.oldest.map_or(time, |oldest| oldest.min(time)));
            state.documents = 0;
            state.undated = 0;
        });
    }

    /// Documents of a split were read.
    pub fn split_read(&self, collection: &str, split: usize, documents: u64) {
        self.split(collection, split, |state| state.documents += documents);
    }

    /// Documents without a date were read.
    pub fn undated_read(&self, collection: &str, split: usize, documents: u64) {
        self.split(collection, split, |state| state.undated += documents);
    }

    /// Every row of a split is acknowledged.
    pub fn split_acknowledged(&self, collection: &str, split: usize) {
        self.split(collection, split, |state| state.done = true);
        self.changed.notify_one();
    }

    /// The written checkpoint says that these splits are done.
    pub fn splits_checkpointed(&self, collection: &str, done: &[usize]) {
        for &split in done {
            self.split(collection, split, |state| state.checkpointed = true);
        }
    }

    /// `snapshot-complete` of the collection is acknowledged.
    pub fn snapshot_completed(&self, collection: &str) {
        if let Some(snapshot) = self.lock().snapshots.get_mut(collection) {
            snapshot.complete = true;
        }
    }

    /// All snapshots, as they are now.
    pub fn snapshots(&self) -> BTreeMap<String, Snapshot> {
        self.lock().snapshots.clone()
    }

    /// Collections whose splits are all acknowledged and whose `snapshot-complete` is not.
    pub fn snapshots_to_complete(&self) -> Vec<(String, Snapshot)> {
        let state = self.lock();
        let waiting = state.snapshots.iter();
        waiting
            .filter(|(_, snapshot)| snapshot.all_done() && !snapshot.complete)
            .map(|(name, snapshot)| (name.clone(), snapshot.clone()))
            .collect()
    }

    /// Whether every snapshot is complete.
    pub fn snapshots_complete(&self) -> bool {
        self.lock()
            .snapshots
            .values()
            .all(|snapshot| snapshot.complete)
    }

    /// How far the snapshots are, for display.
    pub fn shown(&self) -> BTreeMap<String, SnapshotProgress> {
        let state = self.lock();
        let snapshots = state.snapshots.iter();
        snapshots
            .map(|(name, snapshot)| (name.clone(), snapshot.shown()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    fn v(number: i64) -> Version {
        Version::from_i64(number).unwrap()
    }

    fn position(complete: i64) -> Position {
        Position {
            token: rawdoc! { "_data": complete.to_string() },
            complete: v(complete),
        }
    }

    #[test]
    fn only_what_is_acknowledged_without_a_gap_counts() {
        let progress = Progress::default();
        let numbers: Vec<_> = [3, 5, 7].map(|t| progress.stream_begun(position(t))).into();
        progress.stream_acknowledged(numbers[1]);
        assert_eq!(
            (progress.stream_position(), progress.claim()),
            (None, Version::ZERO)
        );
        progress.stream_acknowledged(numbers[0]);
        assert_eq!(progress.stream_position(), Some(position(5)));
        assert_eq!(progress.claim(), v(5));
        let next = progress.stream_begun(position(9));
        progress.stream_acknowledged(next);
        assert_eq!(progress.claim(), v(5));
        progress.stream_acknowledged(numbers[2]);
        assert_eq!(progress.claim(), v(9));
    }

    #[test]
    fn a_heartbeat_never_speaks_of_a_time_below_a_look_up_that_found_nothing() {
        let progress = Progress::default();
        progress.raise_floor(v(4));
        let first = progress.stream_begun(position(3));
        progress.stream_acknowledged(first);
        assert_eq!(progress.claim(), Version::ZERO, "the start of the run");
        let second = progress.stream_begun(position(6));
        progress.stream_acknowledged(second);
        assert_eq!(progress.claim(), v(6));
        progress.raise_floor(v(10));
        let third = progress.stream_begun(position(8));
        progress.stream_acknowledged(third);
        assert_eq!(progress.claim(), v(6), "an older claim stays true");
        let fourth = progress.stream_begun(position(10));
        progress.stream_acknowledged(fourth);
        assert_eq!(progress.claim(), v(10));
    }

    #[test]
    fn no_low_water_is_claimed_where_versions_are_dates() {
        let progress = Progress::polled();
        let number = progress.stream_begun(position(50));
        progress.stream_acknowledged(number);
        progress.stream_checkpointed(v(50));
        assert_eq!(
            (progress.claim(), progress.low_water()),
            (v(50), Version::ZERO)
        );
    }

    #[test]
    fn low_water_waits_for_the_checkpoint_of_every_split() {
        let progress = Progress::default();
        progress.snapshot_planned("a", Snapshot::new("t.a", Plan::whole(None, 10, 100)));
        assert_eq!(progress.low_water(), Version::ZERO);
        progress.stream_checkpointed(v(50));
        assert_eq!(progress.low_water(), v(50), "a split to come has a later L");
        progress.split_begun("a", 0, v(20));
        progress.split_begun("a", 0, v(30));
        assert_eq!(
            progress.low_water(),
            v(20),
            "the first attempt may still be in flight"
        );
        progress.split_acknowledged("a", 0);
        assert_eq!(progress.low_water(), v(20));
        assert_eq!(progress.snapshots_to_complete().len(), 1);
        progress.splits_checkpointed("a", &[0]);
        assert_eq!(progress.low_water(), v(50));
        progress.snapshot_completed("a");
        assert!(progress.snapshots_complete());
    }
}
