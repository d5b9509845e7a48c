//! Which events of a batch become records (PROTOCOL P3–P5), as a function of the batch alone.
//!
//! - P3: of the events with one key and one cluster time (a transaction), only the last.
//! - P5: of several updates of one key in the batch, only the last: the look-up gives each of
//!   them the same, newest document, so the earlier ones would repeat it under a lower version.
//!   Inserts, replacements and deletes all stay, in their order.
//!
//! P4 follows from P3: the last event is chosen before the look-up, so when the look-up finds
//! nothing there is no earlier event of its group left to publish.

use super::event::Event;
use leafcutter_schemas::{operation::Operation, version::Version};
use std::collections::HashMap;

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It becomes a record.
    Publish,
    /// A later event of its transaction stands for it (P3).
    Collapsed,
    /// A later update stands for it (P5).
    Merged,
}

/// The fate of each event, in order.
pub fn fates(events: &[Event<'_>]) -> Vec<Fate> {
    let mut seen: HashMap<(usize, &str), (Version, bool)> = HashMap::with_capacity(events.len());
    let mut fates = vec![Fate::Publish; events.len()];
    for (event, fate) in events.iter().zip(&mut fates).rev() {
        let update = event.operation == Operation::Update;
        let entry = seen.entry((event.collection, event.key.as_str()));
        entry
            .and_modify(|(time, update_follows)| {
                if *time == event.time {
                    *fate = Fate::Collapsed;
                    return;
                }
                if update && *update_follows {
                    *fate = Fate::Merged;
                }
                // Also of a merged event: it was the last of its group, so the group is done.
                *time = event.time;
                *update_follows |= update;
            })
            .or_insert((event.time, update));
    }
    fates
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::RawBsonRef;
    use leafcutter_schemas::key::DocumentKey;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn event(operation: Operation, key: i32, time: i64) -> Event<'static> {
        Event {
            operation,
            collection: 0,
            key: DocumentKey::of(RawBsonRef::Int32(key)),
            id: bson::rawdoc! { "_id": key },
            document: None,
            time: Version::from_i64(time).unwrap(),
            wall_time: None,
            transaction: None,
        }
    }

    fn check(events: &[(Operation, i32, i64)], expected: &[Fate]) {
        let events: Vec<_> = events.iter().map(|&(o, k, t)| event(o, k, t)).collect();
        assert_eq!(fates(&events), expected);
    }

    use Fate::{Collapsed, Merged, Publish};
    use Operation::{Delete, Insert, Replace, Update};

    #[test]
    fn one_record_per_key_and_cluster_time() {
        check(&[(Insert, 1, 2), (Delete, 1, 2)], &[Collapsed, Publish]);
        check(&[(Delete, 1, 2), (Insert, 1, 2)], &[Collapsed, Publish]);
        check(
            &[(Insert, 1, 2), (Insert, 2, 2), (Update, 1, 2)],
            &[Collapsed, Publish, Publish],
        );
    }

    #[test]
    fn updates_merge_at_the_place_of_the_last_and_nothing_else_does() {
        check(
            &[
                (Update, 1, 1),
                (Delete, 1, 2),
                (Insert, 1, 3),
                (Update, 1, 4),
                (Update, 1, 5),
            ],
            &[Merged, Publish, Publish, Merged, Publish],
        );
        check(
            &[(Update, 1, 1), (Replace, 1, 2), (Delete, 1, 3)],
            &[Publish, Publish, Publish],
        );
        check(&[(Update, 1, 1), (Update, 2, 2)], &[Publish, Publish]);
    }

    #[test]
    fn a_merged_update_takes_its_transaction_along() {
        // The insert is not the last of its group; published, it would be a state that no reader
        // of the source ever saw.
        check(
            &[(Insert, 1, 2), (Update, 1, 2), (Update, 1, 5)],
            &[Collapsed, Merged, Publish],
        );
    }

    proptest! {
        #[test]
        fn rules_hold_for_any_batch(
            steps in prop::collection::vec((0u8..4, 0i32..4, 0i64..3), 0..60)
        ) {
            let mut time = 1;
            let events: Vec<_> = steps
                .iter()
                .map(|&(kind, key, step)| {
                    time += step;
                    event([Insert, Update, Replace, Delete][usize::from(kind)], key, time)
                })
                .collect();
            let fates = fates(&events);
            let kept: Vec<_> = events.iter().zip(&fates).filter(|(_, f)| **f == Publish).collect();
            let mut last: BTreeMap<&DocumentKey, Version> = BTreeMap::new();
            let mut updates: BTreeMap<&DocumentKey, u32> = BTreeMap::new();
            for (event, _) in &kept {
                // P3, and per key the versions rise.
                if let Some(before) = last.insert(&event.key, event.time) {
                    prop_assert!(before < event.time);
                }
                // P5.
                if event.operation == Update {
                    let count = updates.entry(&event.key).or_default();
                    *count += 1;
                    prop_assert_eq!(*count, 1);
                }
            }
            for (index, (event, fate)) in events.iter().zip(&fates).enumerate() {
                let later: Vec<_> =
                    events[index + 1..].iter().filter(|e| e.key == event.key).collect();
                // The last event of every key is always published.
                if later.is_empty() {
                    prop_assert_eq!(*fate, Publish);
                }
                // The last event of a group that is no update is always published.
                let last_of_group = later.iter().all(|e| e.time != event.time);
                if last_of_group && event.operation != Update {
                    prop_assert_eq!(*fate, Publish);
                }
                prop_assert_eq!(!last_of_group, *fate == Collapsed);
            }
        }
    }
}
