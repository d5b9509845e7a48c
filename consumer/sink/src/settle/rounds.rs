//! One round over what is parked: which scopes have their turn, and what follows what was placed.

use super::{DueDeadLetter, Pass, Scope, Settler, policy::OrphanPolicy};
use crate::{error::ApplyError, ids::RowId, state::parked};
use std::time::{Duration, Instant};

/// Passes of one round that follow what was placed, so that what is held has its turn; the next round
/// goes on.
const PASSES_MAX: usize = 50;

/// A look for cycles follows every chain of what waits in tables that can have any, so it takes a tenth
/// of the time at most; a pause up to this is not worth keeping.
const QUICK: Duration = Duration::from_millis(100);

/// A look for rows that have arrived has a tenth of the time, but one that takes up to `ARRIVED_QUICK` is had at
/// least every `ARRIVED_PAUSE_MAX`, so that nothing rests for more than two seconds.
const ARRIVED_QUICK: Duration = Duration::from_millis(500);
const ARRIVED_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What one round did.
#[derive(Debug, Default)]
pub struct Settled {
    /// Documents placed.
    pub placed: usize,
    /// Dead letters that are listed, and to be sent: of orphans, and of documents whose unique value never
    /// came free. The documents are given up when they are sent ([`Settler::give_up`]).
    pub due: Vec<DueDeadLetter>,
    /// The most bytes of records that one of its transactions has taken up.
    pub bytes_max: usize,
    /// Whether there may be more to do at once.
    pub more: bool,
    /// Why some of it could not be done. The rest was.
    pub failed: Option<ApplyError>,
}

impl Settled {
    /// What it did, if it did all.
    ///
    /// # Errors
    /// Why some of it could not be done.
    pub fn all(self) -> Result<Self, ApplyError> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    fn take(&mut self, pass: &mut Pass) {
        self.placed += pass.placed;
        self.bytes_max = self.bytes_max.max(pass.bytes);
        self.due.append(&mut pass.due);
    }
}

impl Settler {
    /// One round over what is parked.
    pub async fn settle_parked(&mut self, policy: &OrphanPolicy) -> Settled {
        let mut settled = Settled::default();
        self.round += 1;
        self.follow_arrived(policy, &mut settled).await;
        let arrived = settled.placed;
        for scope in [Scope::Cycles, Scope::Free, Scope::Rest] {
            // What was just placed may be waited for.
            if settled.placed > arrived {
                settled.more = true;
                break;
            }
            let begun = Instant::now();
            if matches!(scope, Scope::Cycles) && begun < self.cycles_after {
                continue;
            }
            let (mut pass, failed) = self.attempt(policy, scope).await;
            settled.failed = settled.failed.or(failed);
            if matches!(scope, Scope::Cycles) {
                let pause = Some(begun.elapsed() * 9).filter(|pause| *pause > QUICK);
                self.cycles_after = Instant::now() + pause.unwrap_or_default();
            }
            settled.take(&mut pass);
            settled.more |= pass.is_full(parked::TRIED_MAX);
            self.follow(policy, pass.rows, &mut settled).await;
        }
        settled
    }

    /// Tries what waits for rows that are there.
    async fn follow_arrived(&mut self, policy: &OrphanPolicy, settled: &mut Settled) {
        let begun = Instant::now();
        if begun < self.arrived_after {
            return;
        }
        let due = self.arrivals.due(&mut self.connection).await;
        let took = begun.elapsed();
        let mut pause = took * 9;
        if took <= ARRIVED_QUICK {
            pause = pause.min(ARRIVED_PAUSE_MAX);
        }
        self.arrived_after = Instant::now() + pause;
        let rows = match due {
            Ok(rows) => rows,
            Err(error) => {
                settled.failed = Some(error);
                return;
            }
        };
        if rows.is_empty() {
            return;
        }
        self.follow(policy, rows.clone(), settled).await;
        if settled.placed == 0 {
            self.arrivals.note_in_vain(rows);
        }
    }

    /// Tries what waited for these rows, and what waited for those.
    async fn follow(&mut self, policy: &OrphanPolicy, mut rows: Vec<RowId>, settled: &mut Settled) {
        for _ in 0..PASSES_MAX {
            if rows.is_empty() {
                return;
            }
            let (mut pass, failed) = self.attempt(policy, Scope::Behind(&rows)).await;
            settled.take(&mut pass);
            // More may wait for the same rows than one transaction takes.
            if !pass.is_full(parked::RELEASED_MAX) || pass.placed == 0 {
                rows.clear();
            }
            rows.extend(pass.rows);
            if failed.is_some() {
                settled.failed = failed;
                return;
            }
        }
        settled.more = true;
    }
}
