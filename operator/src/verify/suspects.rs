//! What differed at one look, until it is known whether it stands.
//!
//! A document's change is in its rows a moment later, so one look proves nothing. A document, or a row, is
//! looked at again, after longer and longer pauses, until its rows are right, or neither side has changed
//! over several looks and everything up to the time at which the document was first seen like this is
//! applied ([`super::covered`]): then no record on its way can mend it, and it is a difference. If either
//! side changes, it begins anew. Where nothing moves at all any more, waiting proves nothing, and after
//! the person's patience the difference is told as it stands.

use super::expected::cell::Cell;
use bson::{Bson, RawDocumentBuf};
use leafcutter_schemas::version::Version;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Looks at an unchanged difference before it counts.
const LOOKS: u32 = 3;
/// How long it has to stand still before it counts: what goes with a parent goes a second or two later.
const STILL: Duration = Duration::from_secs(3);
/// Suspects at most; reading waits while there are more.
pub const MOST: usize = 50_000;
/// Suspects of one look at most.
pub const TOGETHER: usize = 200;
/// After so long without standing still, a document is given up, and counted as such.
const RESTLESS: Duration = Duration::from_secs(300);

/// What is looked at again.
#[derive(Debug, Clone, PartialEq)]
pub enum Matter {
    /// A document, by its `_id`.
    Document(RawDocumentBuf),
    /// A row without a document: its root table, its key, its version.
    Row(usize, Vec<Cell>, Version),
}

impl Matter {
    /// The `_id` of a document.
    pub fn id(&self) -> Option<Bson> {
        match self {
            Self::Document(id) => Bson::try_from(id.get("_id").ok()??).ok(),
            Self::Row(..) => None,
        }
    }
}

/// A document or a row in doubt.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// Its collection.
    pub work: usize,
    /// What it is.
    pub matter: Matter,
    looks: u32,
    fingerprint: u64,
    /// The source's time when it was first seen as it is now.
    bound: Version,
    since: Instant,
    first: Instant,
    due: Instant,
}

/// What follows from a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It stands.
    Stands,
    /// It stands as far as one can tell: nothing moves any more.
    Unproven,
    /// It never stood still.
    Restless,
    /// It has to be looked at again.
    Again,
}

/// What is known at a look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// What was seen: the same as long as neither side changes.
    pub fingerprint: u64,
    /// The source's time behind the look.
    pub now: Version,
    /// Up to when everything was applied before it.
    pub covered: Version,
    /// How long nothing has moved.
    pub still_for: Duration,
    /// How long that may be.
    pub patience: Duration,
}

impl Suspect {
    /// Something that was seen once.
    pub fn new(work: usize, matter: Matter) -> Self {
        let now = Instant::now();
        Self {
            work,
            matter,
            looks: 0,
            fingerprint: 0,
            bound: Version::ZERO,
            since: now,
            first: now,
            due: now + Duration::from_millis(300),
        }
    }

    /// Takes in what a look has shown.
    pub fn seen(&mut self, look: &Look) -> Decision {
        let now = Instant::now();
        if self.looks == 0 || look.fingerprint != self.fingerprint {
            self.looks = 0;
            self.fingerprint = look.fingerprint;
            self.bound = look.now;
            self.since = now;
        }
        self.looks += 1;
        let still = now.duration_since(self.since);
        if self.looks >= LOOKS && still >= STILL && look.covered >= self.bound {
            return Decision::Stands;
        }
        if look.still_for >= look.patience && still >= look.patience {
            return Decision::Unproven;
        }
        if now.duration_since(self.first) >= RESTLESS.max(4 * look.patience)
            && still < look.patience
        {
            return Decision::Restless;
        }
        let pause = Duration::from_millis(500) * 2u32.pow(self.looks.min(4));
        self.due = now + pause.min(Duration::from_secs(5));
        Decision::Again
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Suspect>,
    in_hand: usize,
    closed: bool,
}

/// All that is in doubt.
#[derive(Debug, Default)]
pub struct Suspects {
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Suspects {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds some.
    pub fn add(&self, suspects: impl IntoIterator<Item = Suspect>) {
        self.queue().waiting.extend(suspects);
        self.changed.notify_waiters();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let queue = self.queue();
        queue.waiting.len() + queue.in_hand
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No more will be added.
    pub fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_waiters();
    }

    /// Takes some of one collection that are due; `None` once there is nothing left to come.
    pub async fn take(&self) -> Option<Vec<Suspect>> {
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut queue = self.queue();
                let now = Instant::now();
                let due = queue.waiting.iter().position(|suspect| suspect.due <= now);
                if let Some(first) = due {
                    let work = queue.waiting[first].work;
                    let (mut taken, mut left) = (Vec::new(), VecDeque::new());
                    for suspect in std::mem::take(&mut queue.waiting) {
                        let wanted = suspect.work == work && suspect.due <= now;
                        if wanted && taken.len() < TOGETHER {
                            taken.push(suspect);
                        } else {
                            left.push_back(suspect);
                        }
                    }
                    queue.waiting = left;
                    queue.in_hand = taken.len();
                    return Some(taken);
                }
                if queue.closed && queue.waiting.is_empty() {
                    return None;
                }
                queue.waiting.iter().map(|suspect| suspect.due).min()
            };
            let pause = next.map_or(Duration::from_secs(1), |due| {
                due.duration_since(Instant::now())
            });
            // Whatever comes first; the queue is looked at anew.
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(pause.min(Duration::from_secs(1))) => {}
            }
        }
    }

    /// Gives back those that have to be looked at again.
    pub fn give_back(&self, again: Vec<Suspect>) {
        let mut queue = self.queue();
        queue.in_hand = 0;
        queue.waiting.extend(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: i64) -> Version {
        Version::from_i64(number).unwrap()
    }

    fn look(fingerprint: u64, now: i64, covered: i64) -> Look {
        Look {
            fingerprint,
            now: at(now),
            covered: at(covered),
            still_for: Duration::ZERO,
            patience: Duration::from_secs(60),
        }
    }

    fn suspect() -> Suspect {
        Suspect::new(0, Matter::Document(bson::rawdoc! { "_id": 1 }))
    }

    /// As if it had been so for so long.
    fn age(suspect: &mut Suspect, seconds: u64) {
        let by = Duration::from_secs(seconds);
        suspect.since = suspect.since.checked_sub(by).unwrap();
        suspect.first = suspect.first.checked_sub(by).unwrap();
    }

    #[test]
    fn a_difference_counts_once_all_before_it_is_applied() {
        let mut suspect = suspect();
        for covered in [90, 99, 99] {
            assert_eq!(suspect.seen(&look(1, 100, covered)), Decision::Again);
        }
        age(&mut suspect, 4);
        // What is later on the source's side does not matter any more.
        assert_eq!(suspect.seen(&look(1, 500, 99)), Decision::Again);
        assert_eq!(suspect.seen(&look(1, 500, 100)), Decision::Stands);
    }

    #[test]
    fn it_begins_anew_when_either_side_changes() {
        let mut suspect = suspect();
        for _ in 0..3 {
            assert_eq!(suspect.seen(&look(1, 100, 90)), Decision::Again);
        }
        age(&mut suspect, 10);
        assert_eq!(suspect.seen(&look(2, 200, 150)), Decision::Again);
        age(&mut suspect, 10);
        assert_eq!(suspect.seen(&look(2, 300, 200)), Decision::Again);
        assert_eq!(suspect.seen(&look(2, 300, 200)), Decision::Stands);
    }

    #[test]
    fn patience_ends_where_nothing_moves() {
        let mut suspect = suspect();
        assert_eq!(suspect.seen(&look(1, 100, 0)), Decision::Again);
        age(&mut suspect, 61);
        assert_eq!(suspect.seen(&look(1, 100, 0)), Decision::Again);
        let dead = Look {
            still_for: Duration::from_secs(61),
            ..look(1, 100, 0)
        };
        assert_eq!(suspect.seen(&dead), Decision::Unproven);
    }

    #[test]
    fn what_never_stands_still_is_given_up() {
        let mut suspect = suspect();
        assert_eq!(suspect.seen(&look(1, 100, 0)), Decision::Again);
        age(&mut suspect, 301);
        assert_eq!(suspect.seen(&look(2, 200, 150)), Decision::Restless);
    }

    #[tokio::test]
    async fn those_of_one_collection_are_taken_together() {
        let suspects = Suspects::default();
        let due = |work| Suspect {
            work,
            due: Instant::now(),
            ..suspect()
        };
        suspects.add([due(0), due(1), due(0)]);
        let taken = suspects.take().await.unwrap();
        assert_eq!(taken.len(), 2);
        assert_eq!(suspects.len(), 3);
        suspects.give_back(Vec::new());
        assert_eq!(suspects.take().await.unwrap().len(), 1);
        suspects.give_back(Vec::new());
        suspects.close();
        assert!(suspects.take().await.is_none());
    }
}
