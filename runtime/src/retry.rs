//! Trying again, ever more slowly.
//!
//! [`Backoff`] gives the delays: each is `factor` times the one before, up to `max`, spread by
//! `jitter` so that many processes do not come back in the same moment. Randomness comes in as
//! an argument. [`forever`] is for what is transient: it has no limit in attempts, because an
//! outage must never turn into lost or set-aside data; its limit is the shutdown.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use rand::{Rng, RngExt};

use crate::shutdown::Shutdown;

/// Growing delays between attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    next: Duration,
}

impl Backoff {
    /// From `initial` to `max`, doubling, spread by a fifth to either side.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        let initial = initial.min(max);
        Self {
            initial,
            max,
            factor: 2.0,
            jitter: 0.2,
            next: initial,
        }
    }

    /// Another growth; less than 1 is taken as 1, since delays never shrink by themselves.
    #[must_use]
    pub fn with_factor(self, factor: f64) -> Self {
        Self {
            factor: if factor >= 1.0 { factor } else { 1.0 },
            ..self
        }
    }

    /// Another spread, from 0 (none) to 1 (anything between nothing and twice the delay).
    #[must_use]
    pub fn with_jitter(self, jitter: f64) -> Self {
        Self {
            jitter: if jitter > 0.0 { jitter.min(1.0) } else { 0.0 },
            ..self
        }
    }

    /// The delay before the next attempt: never more than `max`.
    pub fn next_delay(&mut self, rng: &mut impl Rng) -> Duration {
        let base = self.next;
        self.next = scale(base, self.factor, self.max);
        let spread = rng.random_range(-self.jitter..=self.jitter);
        scale(base, 1.0 + spread, self.max)
    }

    /// Starts again from `initial`, after a success.
    pub fn reset(&mut self) {
        self.next = self.initial;
    }
}

/// `time * by`, at most `max`, and `max` too where the product is beyond any duration.
fn scale(time: Duration, by: f64, max: Duration) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * by).map_or(max, |time| time.min(max))
}

/// Why [`forever`] ended without a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended<E> {
    /// The program was asked to stop.
    #[error("stopped while waiting to try again")]
    Shutdown,
    /// The error is not one to try again.
    #[error(transparent)]
    Refused(E),
}

/// Calls `op` until it succeeds, `should_retry` refuses its error, or `shutdown` is triggered.
///
/// An attempt that has begun is never cut off: what it does may not bear that. Each failure is
/// logged at `warn` with its `label`; the delays keep that calm.
pub async fn forever<T, E, Op, Fut>(
    policy: &Backoff,
    shutdown: &Shutdown,
    label: &str,
    mut op: Op,
    should_retry: impl Fn(&E) -> bool,
) -> Result<T, Ended<E>>
where
    E: Display,
    Op: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut backoff = policy.clone();
    backoff.reset();
    let mut attempt = 0_u64;
    loop {
        let error = match op().await {
            Ok(value) => return Ok(value),
            Err(error) if should_retry(&error) => error,
            Err(error) => return Err(Ended::Refused(error)),
        };
        attempt += 1;
        let delay = backoff.next_delay(&mut rand::rng());
        tracing::warn!(what = label, attempt, retry_in = ?delay, %error, "trying again");
        if !shutdown.sleep(delay).await {
            return Err(Ended::Shutdown);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::{Backoff, Ended, forever};
    use crate::shutdown::Shutdown;

    fn delays(mut backoff: Backoff, count: usize) -> Vec<u128> {
        let mut rng = StdRng::seed_from_u64(7);
        (0..count)
            .map(|_| backoff.next_delay(&mut rng).as_millis())
            .collect()
    }

    #[test]
    fn delays_double_up_to_the_limit() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        assert_eq!(
            delays(backoff.with_jitter(0.0), 6),
            [100, 200, 400, 800, 1000, 1000]
        );
    }

    #[test]
    fn jitter_stays_within_its_share_and_below_the_limit() {
        let max = Duration::from_secs(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), max).with_jitter(0.5);
        let mut rng = StdRng::seed_from_u64(7);
        let mut seen = Vec::new();
        for _ in 0..1000 {
            backoff.reset();
            let delay = backoff.next_delay(&mut rng);
            assert!((50..=150).contains(&delay.as_millis()), "{delay:?}");
            seen.push(delay);
            for _ in 0..5 {
                assert!(backoff.next_delay(&mut rng) <= max);
            }
        }
        seen.dedup();
        assert!(seen.len() > 900, "spread");
    }

    #[test]
    fn odd_policies_neither_panic_nor_shrink() {
        let huge = Backoff::new(Duration::MAX, Duration::MAX).with_factor(f64::INFINITY);
        assert_eq!(delays(huge.with_jitter(f64::NAN), 3).len(), 3);
        let still = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
        assert_eq!(
            delays(still.with_factor(f64::NAN).with_jitter(0.0), 2),
            [5, 5]
        );
    }

    fn quick() -> Backoff {
        Backoff::new(Duration::from_micros(10), Duration::from_micros(50))
    }

    #[tokio::test]
    async fn goes_on_until_it_succeeds() {
        let calls = Cell::new(0);
        let op = || async {
            calls.set(calls.get() + 1);
            if calls.get() < 5 {
                Err("not yet")
            } else {
                Ok("done")
            }
        };
        let result = forever(&quick(), &Shutdown::new(), "test", op, |_| true).await;
        assert_eq!((result, calls.get()), (Ok("done"), 5));
    }

    #[tokio::test]
    async fn a_refused_error_is_not_tried_again() {
        let calls = Cell::new(0);
        let op = || async {
            calls.set(calls.get() + 1);
            Err::<(), _>("wrong")
        };
        let result = forever(&quick(), &Shutdown::new(), "test", op, |_| false).await;
        assert_eq!((result, calls.get()), (Err(Ended::Refused("wrong")), 1));
    }

    #[tokio::test]
    async fn the_shutdown_ends_a_long_wait() {
        let shutdown = Shutdown::new();
        let hour = Backoff::new(Duration::from_secs(3600), Duration::from_secs(3600));
        let op = || async {
            shutdown.trigger();
            Err::<(), _>("down")
        };
        let result = forever(&hour, &shutdown, "test", op, |_| true).await;
        assert_eq!(result, Err(Ended::Shutdown));
    }
}
