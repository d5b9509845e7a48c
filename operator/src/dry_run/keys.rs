//! Which keys there are, each as 64 bits, and not more of them than there is room for.
//!
//! A set is asked for parents and for values that are taken. 64 bits of a good hash stand for a value: of ten
//! million keys, two fall together by chance in one of several hundred thousand runs. Where there would be
//! more keys than there is room for, the largest set is given up and said to be so; nothing is guessed from a
//! set that is not whole.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

/// The same hash in every run.
type Hash = BuildHasherDefault<DefaultHasher>;

/// One of the sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SetId(usize);

/// A key in a set.
pub(super) type Key = (SetId, u64);

/// The 64 bits that stand for a value.
pub(super) fn hash(value: &[u8]) -> u64 {
    Hash::default().hash_one(value)
}

/// All sets.
#[derive(Debug)]
pub(super) struct Keys {
    /// None: given up.
    sets: Vec<Option<HashSet<u64, Hash>>>,
    held: usize,
    most: usize,
}

impl Keys {
    /// No set yet, and room for so many keys.
    pub(super) fn new(most: usize) -> Self {
        Self {
            sets: Vec::new(),
            held: 0,
            most,
        }
    }

    /// One more set.
    pub(super) fn set(&mut self) -> SetId {
        self.sets.push(Some(HashSet::default()));
        SetId(self.sets.len() - 1)
    }

    /// Whether a set was given up.
    pub(super) fn is_given_up(&self, set: SetId) -> bool {
        self.sets[set.0].is_none()
    }

    /// Whether a key is there. In a set that was given up, nobody knows: so it says that it is not.
    pub(super) fn has(&self, (set, key): Key) -> bool {
        self.sets[set.0]
            .as_ref()
            .is_some_and(|keys| keys.contains(&key))
    }

    /// Adds a key.
    pub(super) fn add(&mut self, (set, key): Key) {
        let Some(keys) = &mut self.sets[set.0] else {
            return;
        };
        self.held += usize::from(keys.insert(key));
        if self.held > self.most {
            self.give_up_the_largest();
        }
    }

    /// Takes a key away.
    pub(super) fn remove(&mut self, (set, key): Key) {
        if let Some(keys) = &mut self.sets[set.0] {
            self.held -= usize::from(keys.remove(&key));
        }
    }

    fn give_up_the_largest(&mut self) {
        let size = |set: &Option<HashSet<u64, Hash>>| set.as_ref().map_or(0, HashSet::len);
        let largest = self.sets.iter_mut().max_by_key(|set| size(set));
        if let Some(largest) = largest {
            self.held -= size(largest);
            *largest = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_set_is_given_up_where_there_is_no_room() {
        let mut keys = Keys::new(4);
        let (small, large) = (keys.set(), keys.set());
        keys.add((small, 1));
        for key in 0..3 {
            keys.add((large, key));
            keys.add((large, key));
        }
        assert!(keys.has((large, 2)) && keys.has((small, 1)));
        keys.remove((large, 2));
        keys.add((large, 2));
        assert!(!keys.is_given_up(large));
        keys.add((small, 2));
        assert!(keys.is_given_up(large) && !keys.has((large, 2)));
        assert!(keys.has((small, 1)) && keys.has((small, 2)));
        keys.add((large, 7));
        assert!(!keys.has((large, 7)));
    }

    #[test]
    fn values_are_told_apart() {
        assert_eq!(hash(b"a"), hash(b"a"));
        assert_ne!(hash(b"a"), hash(b"b"));
    }
}
