//! One limit on the bytes in flight.
//!
//! It takes a number of bytes before they are read and gives a [`Permit`]; the permit gives them
//! back when it is dropped, wherever that happens. The sum of all permits never exceeds the
//! capacity, so what a program holds in flight has a limit that one number sets.
//!
//! Waiting is first come, first served: a large request is not overtaken for ever by small ones.
//! A request for more than the whole budget becomes a request for all of it: a 16 MB document
//! still passes, alone. Whoever waits for more while holding a permit can wait for himself; ask
//! for the largest amount first and [`Permit::shrink_to`] what turned out smaller.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    capacity: u32,
}

impl Budget {
    /// A budget of `bytes`: at least one, at most 4 GiB (the semaphore counts in 32 bits).
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let capacity = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        // A semaphore counts in `usize`, which holds 32 bits everywhere we run.
        Self {
            bytes: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
        }
    }

    /// Waits until `bytes` are free and takes them. Safe to drop while waiting.
    #[expect(
        clippy::expect_used,
        reason = "the semaphore is private and never closed"
    )]
    pub async fn acquire(&self, bytes: usize) -> Permit {
        let semaphore = Arc::clone(&self.bytes);
        let held = semaphore.acquire_many_owned(self.clamp(bytes)).await;
        Permit {
            held: held.expect("nobody closes the budget"),
        }
    }

    /// Takes `bytes` if they are free now and nobody waits for them already.
    #[must_use]
    pub fn try_acquire(&self, bytes: usize) -> Option<Permit> {
        let semaphore = Arc::clone(&self.bytes);
        let held = semaphore.try_acquire_many_owned(self.clamp(bytes)).ok()?;
        Some(Permit { held })
    }

    /// Bytes taken at the moment.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.capacity()
            .saturating_sub(self.bytes.available_permits())
    }

    /// Bytes there are in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    fn clamp(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity)
    }
}

/// Bytes taken from a [`Budget`], given back on drop. It may travel to another task or thread.
#[derive(Debug)]
pub struct Permit {
    held: OwnedSemaphorePermit,
}

impl Permit {
    /// Bytes held. Less than was asked for when that was more than the whole budget.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.held.num_permits()
    }

    /// Adds what `other` holds, so that both are given back together.
    ///
    /// # Panics
    ///
    /// When the two come from different budgets, which only a bug can bring about.
    pub fn merge(&mut self, other: Permit) {
        self.held.merge(other.held);
    }

    /// Takes up to `bytes` out of this permit into one of its own.
    #[must_use = "dropping the part gives its bytes back"]
    pub fn split(&mut self, bytes: usize) -> Permit {
        let part = bytes.min(self.bytes());
        #[expect(clippy::expect_used, reason = "the part is no larger than the whole")]
        Permit {
            held: self.held.split(part).expect("no more than is held"),
        }
    }

    /// Gives back all but `bytes`. Never takes more than is held.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes().saturating_sub(bytes);
        drop(self.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Budget, Permit};

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn bytes_come_back_on_drop_even_from_another_thread() {
        let budget = Budget::new(100);
        let permit = budget.acquire(60).await;
        assert_eq!((budget.in_use(), permit.bytes()), (60, 60));
        std::thread::spawn(move || drop(permit)).join().unwrap();
        assert_eq!((budget.in_use(), budget.capacity()), (0, 100));
    }

    #[tokio::test]
    async fn a_request_beyond_the_whole_passes_alone() {
        let budget = Budget::new(100);
        let small = budget.acquire(1).await;
        assert!(
            budget.try_acquire(16_000_000).is_none(),
            "not beside others"
        );
        drop(small);
        let large = tokio::time::timeout(SOON, budget.acquire(usize::MAX))
            .await
            .unwrap();
        assert_eq!((large.bytes(), budget.in_use()), (100, 100));
        assert!(budget.try_acquire(1).is_none());
    }

    #[tokio::test]
    async fn the_sum_of_all_permits_never_exceeds_the_capacity() {
        let budget = Budget::new(1000);
        let mut tasks = tokio::task::JoinSet::new();
        for bytes in 1..=200_usize {
            let budget = budget.clone();
            tasks.spawn(async move {
                let _permit = budget.acquire(bytes * 7).await;
                tokio::task::yield_now().await;
                budget.in_use()
            });
        }
        let seen = tokio::time::timeout(SOON, tasks.join_all()).await.unwrap();
        assert!(seen.iter().all(|bytes| *bytes <= 1000), "{seen:?}");
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn a_large_request_is_not_overtaken() {
        let budget = Budget::new(10);
        let held = budget.acquire(5).await;
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire(10).await }
        });
        tokio::task::yield_now().await;
        assert!(budget.try_acquire(5).is_none(), "the large one waits first");
        drop(held);
        assert_eq!(
            tokio::time::timeout(SOON, waiting)
                .await
                .unwrap()
                .unwrap()
                .bytes(),
            10
        );
    }

    #[tokio::test]
    async fn a_request_given_up_while_waiting_takes_nothing() {
        let budget = Budget::new(10);
        let held = budget.acquire(6).await;
        let waited = tokio::time::timeout(Duration::from_millis(5), budget.acquire(8)).await;
        assert!(waited.is_err());
        assert_eq!(budget.in_use(), 6);
        drop(held);
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn permits_split_merge_and_shrink_without_losing_a_byte() {
        let budget = Budget::new(100);
        let mut whole = budget.acquire(80).await;
        let mut part = whole.split(30);
        assert_eq!((whole.bytes(), part.bytes(), budget.in_use()), (50, 30, 80));
        part.shrink_to(10);
        part.shrink_to(1000);
        assert_eq!((part.bytes(), budget.in_use()), (10, 60));
        whole.merge(part);
        assert_eq!((whole.bytes(), budget.in_use()), (60, 60));
        let all: Permit = whole.split(usize::MAX);
        assert_eq!((whole.bytes(), all.bytes()), (0, 60));
        drop((whole, all));
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn the_capacity_has_a_floor_and_a_ceiling() {
        assert_eq!(Budget::new(0).capacity(), 1);
        assert_eq!(Budget::new(usize::MAX).capacity(), u32::MAX as usize);
    }
}
