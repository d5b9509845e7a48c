//! How fast documents are read: no faster than a person allows, and slower while the source is slow.
//!
//! The source's own pace is the shortest time that a batch took lately. While batches take several times
//! as long, something else needs the server, and reading waits as long as the last batch took.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A batch that takes so many times the usual is slow.
const SLOW: u32 = 4;
/// Below this a batch is never slow.
const QUICK: Duration = Duration::from_millis(50);
/// The longest single pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Inner {
    /// When the next document may be read.
    free_at: Instant,
    /// The usual time of a document of a batch.
    usual: Option<Duration>,
}

/// The pace.
#[derive(Debug)]
pub struct Pace {
    rate: Option<u32>,
    inner: Mutex<Inner>,
}

impl Pace {
    /// At most so many documents a second.
    pub fn new(rate: Option<u32>) -> Self {
        Self {
            rate,
            inner: Mutex::new(Inner {
                free_at: Instant::now(),
                usual: None,
            }),
        }
    }

    /// How long to wait after a batch of so many documents, for which the source took so long.
    fn pause(&self, documents: u32, took: Duration) -> Duration {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let each = took / documents.max(1);
        let usual = inner.usual.get_or_insert(each);
        let slow = took > QUICK && each > *usual * SLOW;
        // It follows a quicker source at once, and a slower one little by little.
        *usual = if each < *usual {
            each
        } else {
            *usual + (each - *usual) / 200
        };
        let adapted = if slow {
            took.min(PAUSE_MAX)
        } else {
            Duration::ZERO
        };
        let Some(rate) = self.rate else {
            return adapted;
        };
        let cost = Duration::from_secs(1) * documents / rate.max(1);
        let from = inner.free_at.max(now);
        inner.free_at = from + cost;
        adapted
            .max(inner.free_at.duration_since(now))
            .min(PAUSE_MAX.max(cost))
    }

    /// Waits as long as a batch of so many documents calls for.
    pub async fn wait(&self, documents: usize, took: Duration) {
        let documents = u32::try_from(documents).unwrap_or(u32::MAX);
        let pause = self.pause(documents, took);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_allowed_are_read() {
        let pace = Pace::new(Some(1_000));
        let first = pace.pause(500, Duration::from_millis(1));
        let second = pace.pause(500, Duration::from_millis(1));
        assert!(
            first > Duration::from_millis(400) && first <= Duration::from_millis(500),
            "{first:?}"
        );
        assert!(second > Duration::from_millis(900), "{second:?}");
        assert_eq!(
            Pace::new(None).pause(500, Duration::from_millis(1)),
            Duration::ZERO
        );
    }

    #[test]
    fn a_slow_source_is_given_room() {
        let pace = Pace::new(None);
        for _ in 0..5 {
            assert_eq!(pace.pause(100, Duration::from_millis(20)), Duration::ZERO);
        }
        let slow = Duration::from_millis(400);
        assert_eq!(pace.pause(100, slow), slow);
        // What lasts becomes the usual.
        let mut slow_for = 0;
        while !pace.pause(100, slow).is_zero() {
            slow_for += 1;
            assert!(slow_for < 2_000);
        }
    }
}
