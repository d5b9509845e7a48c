//! What the last poll has handed on, so that the next one, which reads some of it again, does not.
//!
//! It knows images, not keys: a document that has changed is another one, also under the same
//! dates. Only what was handed on by the poll before is known, and no more than there is room for;
//! whatever is not known is handed on again, and the consumer finds it the same. Without it a
//! document that is refused would become a dead letter with each poll of the overlap.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

/// 16 bytes each, in two sets: about 10 MB.
const IMAGES_MAX: usize = 200_000;

/// The images of two polls.
#[derive(Debug, Default)]
pub(super) struct Seen {
    before: HashSet<u128>,
    now: HashSet<u128>,
    /// Two of 64 bits: two documents of one hash do not occur.
    hashers: (RandomState, RandomState),
}

impl Seen {
    /// A poll begins, or an attempt at it.
    pub(super) fn begin(&mut self) {
        self.now.clear();
    }

    /// The poll is handed on as a whole.
    pub(super) fn end(&mut self) {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
    }

    /// Whether an image has to be handed on.
    pub(super) fn is_new(&mut self, collection: usize, document: &[u8]) -> bool {
        let of = |hasher: &RandomState| u128::from(hasher.hash_one((collection, document)));
        let image = (of(&self.hashers.0) << 64) | of(&self.hashers.1);
        if self.now.len() < IMAGES_MAX && !self.now.insert(image) {
            return false;
        }
        !self.before.contains(&image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_handed_on_once_while_polls_read_it_again() {
        let mut seen = Seen::default();
        seen.begin();
        assert!(seen.is_new(0, b"a"));
        assert!(!seen.is_new(0, b"a"), "twice in one poll");
        assert!(seen.is_new(1, b"a"), "of another collection");
        // The attempt failed, and nothing of it counts.
        seen.begin();
        assert!(seen.is_new(0, b"a"));
        seen.end();
        seen.begin();
        assert!(!seen.is_new(0, b"a"));
        assert!(seen.is_new(0, b"b"), "it has changed");
        seen.end();
        seen.begin();
        assert!(!seen.is_new(0, b"a") && !seen.is_new(0, b"b"));
        seen.end();
        seen.begin();
        seen.end();
        seen.begin();
        assert!(seen.is_new(0, b"a"), "the poll before did not read it");
    }
}
