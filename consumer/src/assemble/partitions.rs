//! The partitions that the group has given us, and where each stands, from its assignment to its loss.
//!
//! Each assignment, and each time that a partition has to be taken over again, is a generation of its own:
//! what the poll thread still says of an earlier one says nothing of this one. Only a partition that is read
//! delivers, and only the record that comes next.

use crate::source::event::{Command, Expired};
use leafcutter_sink::{
    ids::Partition,
    state::offsets::{Position, TakenOver},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a partition that another consumer took is left alone while Kafka still names us (F3).
const LOST_WAIT: Duration = Duration::from_millis(500);

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be taken over, not before this moment.
    Unclaimed(Instant),
    /// Taken over; the gate of its collection is closed.
    Gated,
    /// The poll thread was asked to read it.
    Seeking,
    /// Delivering.
    Reading,
    /// Kafka has removed what comes next: left alone until somebody moves its position.
    Expired(Expired),
}

#[derive(Debug, Clone, Copy)]
struct Assigned {
    state: State,
    generation: u64,
    epoch: i64,
    expected: i64,
    committed: i64,
    /// The fingerprint of the record before the first one that is taken (F10).
    last: Option<i64>,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is the one that comes next of a partition that was taken over under this epoch.
    Take(i64),
    /// It is not read, or was read before.
    Drop,
    /// It is the one before, and has to have this fingerprint.
    Compare(i64),
    /// This one should have come.
    Missing(i64),
}

/// All that are ours.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    assigned: BTreeMap<Partition, Assigned>,
    generation: u64,
}

/// Partitions, and the record that comes next of each that is taken over.
type Stands = Vec<(Partition, Option<i64>)>;

/// Where the partitions stand that are ours, for who only looks.
#[derive(Debug, Clone, Default)]
pub struct SharedPositions(Arc<Mutex<Stands>>);

impl SharedPositions {
    /// How many partitions are ours.
    pub fn held(&self) -> usize {
        self.lock().len()
    }

    /// The record that comes next of each that is taken over.
    pub fn get(&self) -> Vec<(Partition, i64)> {
        let all = self.lock();
        let known = all
            .iter()
            .filter_map(|&(partition, next)| Some((partition, next?)));
        known.collect()
    }

    pub(super) fn set(&self, positions: Stands) {
        *self.lock() = positions;
    }

    fn lock(&self) -> MutexGuard<'_, Stands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partitions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.assigned.len()
    }

    /// All of them, and the record that comes next of each that is taken over.
    pub(super) fn positions(&self) -> Stands {
        let next = |assigned: &Assigned| match assigned.state {
            State::Unclaimed(_) => None,
            _ => Some(assigned.expected),
        };
        let all = self.assigned.iter();
        all.map(|(&partition, assigned)| (partition, next(assigned)))
            .collect()
    }

    /// It is ours, and to be taken over.
    pub(super) fn assign(&mut self, partition: Partition) {
        self.claim(partition, Instant::now());
    }

    /// It is not ours any more.
    pub(super) fn revoke(&mut self, partition: Partition) {
        self.assigned.remove(&partition);
    }

    /// The poll thread reads it, as it was asked under this generation.
    pub(super) fn ready(&mut self, partition: Partition, generation: u64) {
        if let Some(assigned) = self.assigned.get_mut(&partition)
            && assigned.generation == generation
        {
            assigned.state = State::Reading;
        }
    }

    /// Kafka has removed what comes next; whether that is news.
    pub(super) fn expire(&mut self, expired: Expired) -> bool {
        let assigned = self.assigned.get_mut(&expired.partition);
        let read = assigned.filter(|a| matches!(a.state, State::Reading | State::Seeking));
        match read {
            // Only the record before it is gone, which was applied.
            Some(assigned) if expired.first <= assigned.expected => {
                self.assign(expired.partition);
                false
            }
            Some(assigned) => {
                assigned.state = State::Expired(expired);
                true
            }
            None => false,
        }
    }

    /// Those of which Kafka has removed records.
    pub(super) fn expired(&self) -> impl Iterator<Item = Expired> {
        self.assigned.values().filter_map(|a| match a.state {
            State::Expired(expired) => Some(expired),
            _ => None,
        })
    }

    /// A record has come. Whatever is taken must be the one that comes next (F5).
    pub(super) fn next(&mut self, partition: Partition, offset: i64) -> Next {
        let assigned = self.assigned.get_mut(&partition);
        let Some(assigned) = assigned.filter(|a| a.state == State::Reading) else {
            return Next::Drop;
        };
        let expected = assigned.expected;
        if offset > expected {
            return Next::Missing(expected);
        }
        // What is looked for is before the first one that is taken, not before a later one.
        if offset == expected {
            assigned.last = None;
            assigned.expected += 1;
            return Next::Take(assigned.epoch);
        }
        match assigned.last.take_if(|_| offset == expected - 1) {
            Some(last) => Next::Compare(last),
            None => Next::Drop,
        }
    }

    /// The writer has committed it up to `next`.
    pub(super) fn committed(&mut self, partition: Partition, next: i64) {
        if let Some(assigned) = self.assigned.get_mut(&partition)
            && assigned.state == State::Reading
        {
            assigned.committed = next;
        }
    }

    /// Taken over under this epoch, it is another consumer's now.
    pub(super) fn lose(&mut self, partition: Partition, epoch: i64) {
        let assigned = self.assigned.get(&partition);
        if assigned.is_some_and(|assigned| assigned.epoch == epoch) {
            self.claim(partition, Instant::now() + LOST_WAIT);
        }
    }

    /// Those that can be taken over now.
    pub(super) fn claimable(&self) -> Vec<Partition> {
        let now = Instant::now();
        self.which(|_, a| matches!(a.state, State::Unclaimed(at) if at <= now))
    }

    /// How many are not taken over yet.
    pub(super) fn unclaimed(&self) -> usize {
        self.which(|_, a| matches!(a.state, State::Unclaimed(_)))
            .len()
    }

    /// It is taken over.
    pub(super) fn taken_over(&mut self, partition: Partition, taken: TakenOver) {
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.epoch = taken.position.epoch;
            assigned.expected = taken.position.next;
            assigned.last = taken.last;
            assigned.state = State::Gated;
        }
    }

    /// Whether any waits at its gate.
    pub(super) fn any_gated(&self) -> bool {
        self.assigned.values().any(|a| a.state == State::Gated)
    }

    /// Those at their gates that `may_go` lets through are to be read from now on: what the poll thread is asked.
    pub(super) fn let_through(
        &mut self,
        mut may_go: impl FnMut(Partition) -> bool,
    ) -> Vec<Command> {
        let mut through = Vec::new();
        for (&partition, assigned) in &mut self.assigned {
            if assigned.state == State::Gated && may_go(partition) {
                assigned.state = State::Seeking;
                through.push(Command::Read {
                    partition,
                    offset: assigned.expected,
                    and_before: assigned.last.is_some(),
                    generation: assigned.generation,
                });
            }
        }
        through
    }

    /// Takes those again of which PostgreSQL says something else than we know. A position that was told of is
    /// committed, so a later look sees it or what follows.
    pub(super) fn compare(&mut self, positions: &BTreeMap<Partition, Position>) {
        let differs = |partition: Partition, assigned: &Assigned| {
            positions.get(&partition).is_none_or(|position| {
                position.epoch != assigned.epoch || position.next < assigned.committed
            })
        };
        let lost = self.which(|partition, assigned| {
            !matches!(assigned.state, State::Unclaimed(_)) && differs(partition, assigned)
        });
        for partition in lost {
            self.claim(partition, Instant::now() + LOST_WAIT);
        }
    }

    /// Stops reading those that `hold` names, and gives them. Taken over again, each waits as before a closed
    /// gate, and what was read and is not committed is fenced off.
    pub(super) fn hold(&mut self, mut hold: impl FnMut(Partition) -> bool) -> Vec<Partition> {
        let held = self.which(|partition, assigned| {
            matches!(assigned.state, State::Seeking | State::Reading) && hold(partition)
        });
        for &partition in &held {
            self.assign(partition);
        }
        held
    }

    fn which(&self, mut is: impl FnMut(Partition, &Assigned) -> bool) -> Vec<Partition> {
        let which = self
            .assigned
            .iter()
            .filter(|(partition, a)| is(**partition, a));
        which.map(|(&partition, _)| partition).collect()
    }

    fn claim(&mut self, partition: Partition, not_before: Instant) {
        self.generation += 1;
        let assigned = Assigned {
            state: State::Unclaimed(not_before),
            generation: self.generation,
            epoch: 0,
            expected: 0,
            committed: 0,
            last: None,
        };
        self.assigned.insert(partition, assigned);
    }
}
