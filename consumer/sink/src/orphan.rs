//! When a parked document may be called an orphan (`docs/protocol.md`, O1–O4), and up to when all that
//! happened in the source is applied.
//!
//! It takes what the control topic says and how far this group has applied, and answers for one
//! document or one topic. It is pure. A yes is never final: the parked row stays and is placed if
//! its parent comes (O6).

use leafcutter_schemas::{
    control::{Control, Heartbeat, SnapshotComplete},
    version::Version,
};
use std::collections::{BTreeMap, HashMap};

/// What the control topic says, the newest of each.
#[derive(Debug, Clone, Default)]
pub struct ControlState {
    /// The heartbeat that claims most, of each producer and set of topics ([`Heartbeat::scope`]).
    pub heartbeats: HashMap<String, Heartbeat>,
    /// The first `snapshot-complete` seen of each topic, for the gate.
    pub first_complete: BTreeMap<String, SnapshotComplete>,
    /// The newest `snapshot-complete` of each topic, for orphans.
    pub complete: BTreeMap<String, SnapshotComplete>,
}

impl ControlState {
    /// Takes a control record in.
    pub fn take(&mut self, control: Control) {
        match control {
            Control::Heartbeat(heartbeat) => {
                let scope = heartbeat.scope();
                let known = self.heartbeats.get(&scope);
                // A claim stays true for ever, so the highest one is kept, whichever run made it.
                if known.is_none_or(|known| heartbeat.time >= known.time) {
                    self.heartbeats.insert(scope, heartbeat);
                }
            }
            Control::SnapshotComplete(complete) => {
                self.first_complete
                    .entry(complete.topic.clone())
                    .or_insert_with(|| complete.clone());
                self.complete.insert(complete.topic.clone(), complete);
            }
        }
    }

    fn heartbeat_for(&self, topic: &str) -> Option<&Heartbeat> {
        let told = self.heartbeats.values();
        told.filter(|h| h.offsets.contains_key(topic))
            .max_by_key(|h| h.time)
    }
}

/// How far a group has applied: the next offset of each partition of each topic.
pub type Progress = BTreeMap<String, BTreeMap<i32, i64>>;

/// Whether `progress` has applied everything below `offsets` of a topic.
pub fn has_applied(progress: &Progress, topic: &str, offsets: &[i64]) -> bool {
    let applied = progress.get(topic);
    offsets.iter().enumerate().all(|(partition, &end)| {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        end == 0
            || applied
                .and_then(|p| p.get(&partition))
                .is_some_and(|&next| next >= end)
    })
}

/// A document that waits for a parent.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// The latest cluster time at which the document was read.
    pub as_of: Version,
    /// Its own topic.
    pub topic: &'a str,
    /// Its own partition.
    pub partition: i32,
    /// The topics whose documents become rows of the parent's table.
    pub parent_topics: &'a [&'a str],
    /// The version at which the parent was deleted, as far as is known; zero where it was not.
    pub parent_tombstone: Version,
}

/// Whether the parent is known to be missing. `control` and `progress` must have been read before
/// the parent was looked for.
pub fn is_orphan(waiting: &Waiting<'_>, control: &ControlState, progress: &Progress) -> bool {
    let Some(own) = control.heartbeat_for(waiting.topic) else {
        return false;
    };
    let own_end = own.offsets.get(waiting.topic).and_then(|ends| {
        usize::try_from(waiting.partition)
            .ok()
            .and_then(|index| ends.get(index))
    });
    let Some(&own_end) = own_end else {
        return false;
    };
    let own_next = progress
        .get(waiting.topic)
        .and_then(|p| p.get(&waiting.partition))
        .copied();
    // O4: the child's own partition has applied the heartbeat's offsets.
    if own_end > own_next.unwrap_or(0) {
        return false;
    }
    // O1: the heartbeat is not older than the child's image. O4: nor than a delete of the parent,
    // which may follow one of the child that is still to come.
    let needed = waiting.as_of.max(waiting.parent_tombstone);
    let mut topics = waiting.parent_topics.iter();
    topics.all(|topic| {
        // O2 and O3.
        applied_until(topic, control, progress).is_some_and(|time| time >= needed)
    })
}

/// The newest time of the source of which it is known that everything that happened to a topic's
/// documents until then is applied: that of the heartbeat, if every partition has applied its
/// offsets (O2), and its snapshot, which ended before that (O3).
pub fn applied_until(topic: &str, control: &ControlState, progress: &Progress) -> Option<Version> {
    let heartbeat = control.heartbeat_for(topic)?;
    let ends = heartbeat.offsets.get(topic)?;
    let complete = control.complete.get(topic)?;
    let applied = has_applied(progress, topic, ends)
        && has_applied(progress, topic, &complete.offsets)
        && heartbeat.time >= complete.complete_time;
    applied.then_some(heartbeat.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(n: i64) -> Version {
        Version::from_i64(n).unwrap()
    }

    fn control(time: i64, complete_time: i64) -> ControlState {
        let mut state = ControlState::default();
        state.take(Control::SnapshotComplete(SnapshotComplete {
            producer: "p".into(),
            run: "r".into(),
            collection: "parents".into(),
            topic: "parents".into(),
            offsets: vec![3, 0],
            complete_time: version(complete_time),
            documents: 3,
            snapshot: true,
        }));
        state.take(Control::Heartbeat(Heartbeat {
            producer: "p".into(),
            run: "r".into(),
            time: version(time),
            low_water: Version::ZERO,
            sent_at: 0,
            offsets: BTreeMap::from([
                ("parents".into(), vec![5, 0]),
                ("children".into(), vec![0, 4]),
            ]),
            snapshots: BTreeMap::new(),
            polled: false,
        }));
        state
    }

    fn progress(parent: i64, child: i64) -> Progress {
        BTreeMap::from([
            ("parents".to_owned(), BTreeMap::from([(0, parent), (1, 0)])),
            ("children".to_owned(), BTreeMap::from([(1, child)])),
        ])
    }

    #[test]
    fn every_condition_is_needed() {
        let waiting = Waiting {
            as_of: version(10),
            topic: "children",
            partition: 1,
            parent_topics: &["parents"],
            parent_tombstone: Version::ZERO,
        };
        assert!(is_orphan(&waiting, &control(10, 9), &progress(5, 4)));
        assert!(!is_orphan(&waiting, &control(9, 9), &progress(5, 4)), "O1");
        assert!(!is_orphan(&waiting, &control(10, 9), &progress(4, 4)), "O2");
        assert!(
            !is_orphan(&waiting, &control(10, 11), &progress(5, 4)),
            "O3"
        );
        assert!(!is_orphan(&waiting, &control(10, 9), &progress(5, 3)), "O4");
        let deleted = |time| Waiting {
            parent_tombstone: version(time),
            ..waiting
        };
        assert!(is_orphan(&deleted(10), &control(10, 9), &progress(5, 4)));
        assert!(
            !is_orphan(&deleted(11), &control(10, 9), &progress(5, 4)),
            "O4, the parent's tombstone"
        );
        let mut silent = control(10, 9);
        silent.complete.clear();
        assert!(
            !is_orphan(&waiting, &silent, &progress(5, 4)),
            "no snapshot-complete"
        );
    }

    #[test]
    fn an_older_heartbeat_does_not_replace_a_newer_one() {
        let mut state = control(10, 9);
        let newest = state.heartbeat_for("parents").unwrap().clone();
        let mut older = newest.clone();
        older.time = version(4);
        state.take(Control::Heartbeat(older));
        assert_eq!(state.heartbeat_for("parents"), Some(&newest));
    }

    #[test]
    fn a_producer_of_the_same_name_does_not_hide_what_another_claims() {
        let mut state = control(10, 9);
        let mut other = state.heartbeat_for("parents").unwrap().clone();
        other.time = version(20);
        other.offsets = BTreeMap::from([("children".into(), vec![0, 9])]);
        state.take(Control::Heartbeat(other));
        let time = |topic: &str| state.heartbeat_for(topic).map(|h| h.time);
        assert_eq!(time("parents"), Some(version(10)));
        assert_eq!(time("children"), Some(version(20)));
    }
}
