//! How many events a reply of the change stream may have.
//!
//! A server fills a reply up to 16 MB (MongoDB manual, `getMore`), and several are in hand at a time: one is being
//! read, one waits, one is being published. Where documents are large the number of events is what bounds them. A
//! cursor keeps the number it was opened with, so a stream whose replies are too large is opened again behind its last
//! token, with fewer. One event alone cannot be made smaller.

/// A reply need not be larger.
const BYTES: usize = 2 << 20;

/// So many replies in a row are full of small events before there may be more of them again.
const PATIENCE: u32 = 8;

/// What growth multiplies by.
const STEP: u32 = 4;

/// The number of events that is asked for, and what replies say of it.
#[derive(Debug, Clone)]
pub struct ReplySize {
    most: u32,
    events: u32,
    full_and_small: u32,
}

impl ReplySize {
    /// As many as `most` in each reply.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            events: most,
            full_and_small: 0,
        }
    }

    /// Events in a reply at most.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// Takes a reply's size in; tells whether another number fits better.
    pub fn changes(&mut self, events: usize, bytes: usize) -> bool {
        let full = u32::try_from(events).is_ok_and(|events| events >= self.events);
        let small = bytes.saturating_mul(STEP as usize) <= BYTES;
        self.full_and_small = if full && small {
            self.full_and_small + 1
        } else {
            0
        };
        let before = self.events;
        if events > 1 && bytes > 2 * BYTES {
            let fitting = events.saturating_mul(BYTES) / bytes;
            self.events = u32::try_from(fitting).unwrap_or(u32::MAX).clamp(1, before);
        } else if self.full_and_small >= PATIENCE {
            self.events = before.saturating_mul(STEP).min(self.most);
            self.full_and_small = 0;
        }
        self.events != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_replies_are_made_smaller_at_once_and_small_ones_larger_in_time() {
        let mut size = ReplySize::new(1_000);
        assert!(!size.changes(1_000, 2 * BYTES));
        assert!(size.changes(160, 16_000_000));
        assert_eq!(size.events(), 20);
        assert!(!size.changes(20, 2_000_000));
        // Full of small events, but not often enough in a row.
        for _ in 1..PATIENCE {
            assert!(!size.changes(20, 20_000));
        }
        assert!(!size.changes(19, 20_000));
        for _ in 1..PATIENCE {
            assert!(!size.changes(20, 20_000));
        }
        assert!(size.changes(20, 20_000));
        assert_eq!(size.events(), 80);
        for _ in 0..100 {
            let events = size.events();
            size.changes(events as usize, 1_000);
        }
        assert_eq!(size.events(), 1_000);
    }

    #[test]
    fn one_event_alone_changes_nothing() {
        let mut size = ReplySize::new(1_000);
        assert!(!size.changes(1, 16_000_000));
        assert!(!size.changes(0, 300));
        assert!(size.changes(2, 16_000_000));
        assert_eq!(size.events(), 1);
    }
}
