//! From one stage to the next: what can still grow is handed over when it is asked for, what is full as soon as there
//! is room for it, which is for one.
//!
//! In a channel with room for one, the first thing is handed over as soon as the one before is taken: a batch of one
//! record, written in a transaction of its own, while all that comes meanwhile waits for the next. So whoever gives
//! goes on collecting until the other side is free. Full ones wait in the channel, so that neither side waits for the
//! other where both are busy.

use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// The side that gives.
#[derive(Debug)]
pub struct Giver<T> {
    asked: Arc<Semaphore>,
    sender: mpsc::Sender<T>,
}

/// The side that takes.
#[derive(Debug)]
pub struct Taker<T> {
    asked: Arc<Semaphore>,
    receiver: mpsc::Receiver<T>,
}

/// Both sides.
pub fn handover<T>() -> (Giver<T>, Taker<T>) {
    let asked = Arc::new(Semaphore::new(0));
    let (sender, receiver) = mpsc::channel(1);
    let giver = Giver {
        asked: Arc::clone(&asked),
        sender,
    };
    let taker = Taker { asked, receiver };
    (giver, taker)
}

impl<T> Giver<T> {
    /// Waits until it is time to hand over what is full, or is not; none where nobody takes any more. Nothing is
    /// lost where this is not waited for to the end.
    pub async fn time(&self, full: bool) -> Option<mpsc::Permit<'_, T>> {
        if full {
            return self.sender.reserve().await.ok();
        }
        let asked = self.asked.acquire().await.ok()?;
        let permit = self.sender.reserve().await.ok()?;
        asked.forget();
        Some(permit)
    }
}

impl<T> Taker<T> {
    /// Takes what is there, or asks and waits for it; none where nobody gives any more. Nothing is lost where this is
    /// not waited for to the end.
    pub async fn take(&mut self) -> Option<T> {
        match self.try_take() {
            Some(taken) => Some(taken),
            None => self.receiver.recv().await,
        }
    }

    /// Takes what is there, or asks.
    pub fn try_take(&mut self) -> Option<T> {
        let there = self.receiver.try_recv().ok();
        // Once: what is full comes without having been asked for.
        if there.is_none() && self.asked.available_permits() == 0 {
            self.asked.add_permits(1);
        }
        there
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.asked.close();
    }
}

#[cfg(test)]
mod tests {
    use super::handover;
    use std::time::Duration;
    use tokio::time::timeout;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn nothing_is_given_before_it_is_asked_for() {
        let (giver, mut taker) = handover();
        assert!(timeout(SHORT, giver.time(false)).await.is_err());
        // Asked for several times, it is given once.
        assert_eq!(taker.try_take(), None);
        assert!(timeout(SHORT, taker.take()).await.is_err());
        giver.time(false).await.unwrap().send(1);
        assert!(timeout(SHORT, giver.time(false)).await.is_err());
        assert_eq!(taker.take().await, Some(1));
        assert!(timeout(SHORT, giver.time(false)).await.is_err());
        assert_eq!(taker.try_take(), None);
        giver.time(false).await.unwrap().send(2);
        assert_eq!(taker.try_take(), Some(2));
    }

    #[tokio::test]
    async fn one_that_is_full_is_given_unasked() {
        let (giver, mut taker) = handover();
        giver.time(true).await.unwrap().send(1);
        assert!(timeout(SHORT, giver.time(true)).await.is_err());
        assert_eq!(taker.take().await, Some(1));
        giver.time(true).await.unwrap().send(2);
        assert_eq!(taker.try_take(), Some(2));
        // Nobody has asked.
        assert!(timeout(SHORT, giver.time(false)).await.is_err());
    }

    #[tokio::test]
    async fn each_side_sees_that_the_other_is_gone() {
        let (giver, taker) = handover::<i32>();
        drop(taker);
        assert!(giver.time(false).await.is_none());
        let (giver, mut taker) = handover::<i32>();
        drop(giver);
        assert_eq!(taker.take().await, None);
        let (giver, mut taker) = handover();
        assert_eq!(taker.try_take(), None);
        giver.time(false).await.unwrap().send(3);
        drop(giver);
        // What was handed over is taken.
        assert_eq!(taker.take().await, Some(3));
        assert_eq!(taker.take().await, None);
    }
}
