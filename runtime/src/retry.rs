//! Growing pauses between attempts, of every program.
//!
//! A pause is twice the one before, up to a limit, and spread by a fifth to either side, so that
//! several programs that lost the same server do not come back in the same moment.
//!
//! There is no limit in attempts: an outage must never turn into lost or set-aside data. Who waits
//! does so with [`crate::shutdown::Shutdown::sleep`], which ends with the program.

use rand::{Rng, RngExt};
use std::time::Duration;

/// The spread to either side.
const JITTER: f64 = 0.2;

/// Growing delays between attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// From `initial` to `max`.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        let initial = initial.min(max);
        Self {
            initial,
            max,
            next: initial,
        }
    }

    /// The delay before the next attempt: never more than `max`.
    pub fn next_delay(&mut self) -> Duration {
        self.spread(&mut rand::rng())
    }

    fn spread(&mut self, rng: &mut impl Rng) -> Duration {
        let base = self.next;
        self.next = base.saturating_mul(2).min(self.max);
        let spread = rng.random_range(1.0 - JITTER..=1.0 + JITTER);
        // Beyond any duration it is beyond the limit too.
        Duration::try_from_secs_f64(base.as_secs_f64() * spread)
            .map_or(self.max, |delay| delay.min(self.max))
    }

    /// Starts again from `initial`, after a success.
    pub fn reset(&mut self) {
        self.next = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_within_their_spread() {
        let max = Duration::from_secs(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), max);
        let mut rng = StdRng::seed_from_u64(7);
        let mut first = Vec::new();
        for _ in 0..1000 {
            backoff.reset();
            for (attempt, base) in [100, 200, 400, 800, 1000, 1000].into_iter().enumerate() {
                let delay = backoff.spread(&mut rng);
                let millis = delay.as_millis();
                assert!(delay <= max, "{delay:?}");
                assert!(
                    (base * 8 / 10..=base * 12 / 10).contains(&millis),
                    "{delay:?}"
                );
                if attempt == 0 {
                    first.push(delay);
                }
            }
        }
        first.dedup();
        assert!(first.len() > 900, "not spread");
    }

    #[test]
    fn no_length_is_too_long() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert!((0..3).all(|_| backoff.next_delay() > Duration::ZERO));
    }
}
