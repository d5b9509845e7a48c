//! What was tried in vain is left alone for a while, twice as long each time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What rests, until when, and how long.
#[derive(Debug)]
pub(super) struct Rests<K>(BTreeMap<K, (Instant, Duration)>);

impl<K> Default for Rests<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Rests<K> {
    /// Whether it may be tried.
    pub(super) fn is_due(&self, what: &K) -> bool {
        let known = self.0.get(what);
        known.is_none_or(|(until, _)| *until <= Instant::now())
    }

    /// It was tried in vain: it rests so long at first, and no longer than the most; whether for the first time.
    pub(super) fn note(&mut self, what: K, (first, most): (Duration, Duration)) -> bool {
        let known = self.0.get(&what).map(|(_, pause)| (*pause * 2).min(most));
        let pause = known.unwrap_or(first);
        self.0.insert(what, (Instant::now() + pause, pause));
        known.is_none()
    }

    /// Forgets what was due and was not noted again.
    pub(super) fn forget(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, (until, pause)| *until + *pause > now);
    }
}
