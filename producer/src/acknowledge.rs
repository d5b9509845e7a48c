//! What the broker has confirmed, batch by batch.
//!
//! A reader gives every batch a [`Ticket`] and every record of it a handle on that ticket. The
//! handle travels with the record through librdkafka and is dropped by the delivery report; when
//! the last one goes, the ticket's bytes go back to the budget, and the batch counts as
//! acknowledged, but only if the reader sealed it (all its records were sent) and no record
//! failed. A ticket that is dropped in any other way says nothing, so whatever goes wrong between
//! reading and sending can only make the low-water mark stay behind.

use leafcutter_runtime::budget::Permit;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

type Done = Box<dyn FnOnce() + Send>;

/// One batch on its way to the broker.
///
/// A ticket may belong to a larger one (a batch to its split): the larger one counts when all its
/// parts did, and fails with any of them.
pub struct Ticket {
    sealed: AtomicBool,
    failed: AtomicBool,
    done: Mutex<Option<Done>>,
    permits: Mutex<Vec<Permit>>,
    whole: Option<Arc<Ticket>>,
}

impl Ticket {
    /// A ticket that calls `done` once everything is acknowledged.
    pub fn new(done: impl FnOnce() + Send + 'static) -> Arc<Self> {
        Self::build(Some(Box::new(done)), None)
    }

    /// A part of `whole`.
    pub fn part_of(whole: &Arc<Self>) -> Arc<Self> {
        Self::build(None, Some(Arc::clone(whole)))
    }

    fn build(done: Option<Done>, whole: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            sealed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            done: Mutex::new(done),
            permits: Mutex::default(),
            whole,
        })
    }

    /// Keeps the bytes until everything is acknowledged or given up.
    pub fn hold(&self, permit: Permit) {
        self.permits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(permit);
    }

    /// All records of the batch have been handed over; the reader lets go of its own handle.
    pub fn seal(self: Arc<Self>) {
        self.sealed.store(true, Ordering::Release);
    }

    /// A record of the batch was not delivered.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.sealed.load(Ordering::Acquire) || self.failed.load(Ordering::Acquire) {
            if let Some(whole) = &self.whole {
                whole.fail();
            }
            return;
        }
        let done = self
            .done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(done) = done {
            done();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn counted() -> (Arc<Ticket>, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&count);
        let ticket = Ticket::new(move || {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        (ticket, count)
    }

    #[test]
    fn a_batch_counts_when_sealed_and_the_last_record_is_acknowledged() {
        let (ticket, count) = counted();
        let record = Arc::clone(&ticket);
        ticket.seal();
        assert_eq!(count.load(Ordering::SeqCst), 0);
        drop(record);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_unsealed_or_failed_batch_never_counts() {
        let (ticket, count) = counted();
        drop(Arc::clone(&ticket));
        drop(ticket);
        let (failing, failed) = counted();
        let record = Arc::clone(&failing);
        failing.seal();
        record.fail();
        drop(record);
        assert_eq!(
            (count.load(Ordering::SeqCst), failed.load(Ordering::SeqCst)),
            (0, 0)
        );
    }

    #[test]
    fn a_whole_counts_after_all_its_parts_and_fails_with_any() {
        let (whole, count) = counted();
        let (first, second) = (Ticket::part_of(&whole), Ticket::part_of(&whole));
        whole.seal();
        first.seal();
        assert_eq!(count.load(Ordering::SeqCst), 0);
        second.seal();
        assert_eq!(count.load(Ordering::SeqCst), 1);

        let (whole, count) = counted();
        let (first, second) = (Ticket::part_of(&whole), Ticket::part_of(&whole));
        whole.seal();
        first.seal();
        drop(second);
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}
