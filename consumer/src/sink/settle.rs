//! The settling task: what batches cannot see of each other (`PROTOCOL.md` §4, S1; §5).
//!
//! A batch that writes a parent does not see a child that is being parked at that moment, and the
//! child's batch does not see the parent. So every consumer looks again, in transactions of its own:
//! it locks parked documents (leaving out those that somebody works on), then tries them through
//! the same steps as a batch; what is held is the matter of [`super::held`].
//!
//! A document whose parent is parked itself can only be placed after it, and is not given up before
//! it. So a round tries those that wait for nothing parked, and then, wave after wave, those that
//! waited for what it has placed: a whole tree follows its root at once, however much else waits.
//! Documents that wait for each other in a circle are looked for, and tried together.

use super::{
    ApplyError,
    apply::Applier,
    counters,
    decide::{self, Letter, decides_null},
    keys::turns,
    parking::{self, Flags},
    transaction::Transaction,
    work::{Fate, From, RowId},
};
use crate::{
    dead_letter::DeadLetters,
    model::Model,
    orphan::{ControlState, Progress},
    transform::Rows,
};
use futures_util::future::join_all;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Waves of one round, so that what is held has its turn; the next round goes on.
const WAVES_MAX: usize = 50;

/// A look for circles follows every chain of what waits in tables that can have any, so it takes a tenth
/// of the time at most; of a pause up to this nobody speaks.
const QUICK: Duration = Duration::from_millis(100);

/// What one round did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settled {
    /// Documents placed.
    pub placed: usize,
    /// Documents called orphans, or whose unique value never came free.
    pub decided: usize,
    /// Held rows deleted.
    pub let_go: u64,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// When a waiting document is given up.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How long a document waits at least.
    pub orphan_after: Duration,
    /// What the control topic said before this round.
    pub control: ControlState,
    /// How far the group had applied before this round.
    pub progress: Progress,
}

/// Which parked documents a transaction tries.
#[derive(Debug, Clone, Copy)]
enum Pick<'r> {
    /// Those that wait for nothing that is parked.
    Free,
    /// Those that wait for these rows, which have been placed.
    Behind(&'r [RowId]),
    /// Those that wait for each other in a circle.
    Circles,
    /// Those that were not tried for long, whatever they wait for.
    Rest,
}

/// What one transaction did.
#[derive(Debug, Default)]
struct Pass {
    tried: usize,
    placed: usize,
    /// Rows that others may wait for.
    rows: Vec<RowId>,
    /// Dead letters to be sent.
    letters: Vec<Letter>,
}

impl Applier {
    /// One round over what is parked.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost. A dead letter that cannot be written is owed.
    pub async fn settle_parked(
        &mut self,
        model: &Arc<Model>,
        patience: &Patience,
        letters: &DeadLetters,
    ) -> Result<Settled, ApplyError> {
        let mut settled = Settled::default();
        let mut owed = Vec::new();
        for pick in [Pick::Circles, Pick::Free, Pick::Rest] {
            // What was just placed may be waited for.
            if settled.placed > 0 {
                settled.more = true;
                break;
            }
            let begun = Instant::now();
            if matches!(pick, Pick::Circles) && begun < self.circles_after {
                continue;
            }
            let pass = self.pass(model, patience, pick).await?;
            if matches!(pick, Pick::Circles) {
                let pause = Some(begun.elapsed() * 9).filter(|pause| *pause > QUICK);
                self.circles_after = Instant::now() + pause.unwrap_or_default();
            }
            settled.placed += pass.placed;
            settled.more |= pass.tried >= parking::TRIED_MAX;
            owed.extend(pass.letters);
            self.follow(model, patience, pass.rows, &mut settled)
                .await?;
        }
        settled.decided = self.send(model, letters, owed).await?;
        // Whoever waits for those has its own turn now.
        settled.more |= settled.decided > 0;
        Ok(settled)
    }

    /// Tries what waited for these rows, and what waited for those.
    async fn follow(
        &mut self,
        model: &Arc<Model>,
        patience: &Patience,
        mut rows: Vec<RowId>,
        settled: &mut Settled,
    ) -> Result<(), ApplyError> {
        for _ in 0..WAVES_MAX {
            if rows.is_empty() {
                return Ok(());
            }
            let wave = self.pass(model, patience, Pick::Behind(&rows)).await?;
            settled.placed += wave.placed;
            // More may wait for the same rows than one transaction takes.
            if wave.tried < parking::PULLED_MAX || wave.placed == 0 {
                rows.clear();
            }
            rows.extend(wave.rows);
        }
        settled.more = true;
        Ok(())
    }

    /// Tries some documents, in one transaction.
    async fn pass(
        &mut self,
        model: &Arc<Model>,
        patience: &Patience,
        pick: Pick<'_>,
    ) -> Result<Pass, ApplyError> {
        let mut rows = Rows::default();
        let body = async |t: &mut Transaction<'_>| {
            let mut pass = Pass::default();
            t.flags = Flags::read(t.session).await?;
            if !t.flags.parked {
                return Ok(pass);
            }
            let busy = turns::attempt_all(t).await?;
            let found = match pick {
                Pick::Free => parking::lock_free(t.session, t.model, &busy).await?,
                Pick::Circles => parking::lock_circles(t.session, t.model).await?,
                Pick::Rest => parking::lock_rest(t.session, t.model, &busy).await?,
                Pick::Behind(rows) => {
                    t.pull_behind(rows.to_vec()).await?;
                    Vec::new()
                }
            };
            pass.tried = found.len() + t.pulled.len();
            for mut parked in found {
                if busy.contains(&t.model.table(parked.row.0).state_name) {
                    continue;
                }
                parking::look_for_tombstones(t.session, t.model, &mut parked).await?;
                let null = pick.decides() && decides_null(t.model, &parked, patience);
                t.known.insert(parked.row.clone());
                t.adopt(parked, null);
            }
            touch(t).await?;
            t.write(&[]).await?;
            for index in 0..t.work.candidates.len() {
                let candidate = t.work.candidates[index].clone();
                let waits = match candidate.fate {
                    Fate::Done(_) => {
                        // What was there already has not moved while it lacks rows, or its parent.
                        let orphan = matches!(candidate.from, From::Parked { orphan: true, .. });
                        let waits_on = (candidate.incomplete && candidate.lacks.is_some())
                            || (candidate.nulled && orphan);
                        let parked = matches!(candidate.from, From::Parked { .. });
                        pass.placed += usize::from(parked && !waits_on);
                        // What still lacks a row is given up for that, with a dead letter.
                        if candidate.nulled && candidate.lacks.is_none() {
                            decide::mark_orphan(t, &(candidate.root, candidate.key.clone()))
                                .await?;
                        }
                        candidate.lacks
                    }
                    Fate::Waits(obstacle) => Some(obstacle),
                    Fate::Open => None,
                };
                if let Some(obstacle) = waits
                    && pick.decides()
                {
                    let letter = decide::decide(t, &candidate, obstacle, patience).await?;
                    pass.letters.extend(letter);
                }
            }
            pass.rows = t.pointed_to(t.work.by_row.keys(), |fate| matches!(fate, Fate::Done(_)));
            counters::count_settled(t).await?;
            Ok(pass)
        };
        self.transact(&mut rows, body, model).await
    }

    /// Sends listed letters, and gives up the documents of those that Kafka has. No lock is held while
    /// it is waited for. Gives how many.
    async fn send(
        &mut self,
        model: &Arc<Model>,
        letters: &DeadLetters,
        owed: Vec<Letter>,
    ) -> Result<usize, ApplyError> {
        if owed.is_empty() {
            return Ok(0);
        }
        let confirmed = join_all(owed.iter().map(|letter| letter.send(letters))).await;
        let sent = owed.into_iter().zip(confirmed);
        let sent: Vec<Letter> = sent
            .filter_map(|(letter, confirmed)| confirmed.then_some(letter))
            .collect();
        let body = async |t: &mut Transaction<'_>| {
            let given_up = decide::give_up(t, &sent).await?;
            counters::count_settled(t).await?;
            Ok(given_up)
        };
        self.transact(&mut Rows::default(), body, model).await
    }
}

impl Pick<'_> {
    /// Whether documents may be given up that still wait: not where what they wait for may be parked.
    fn decides(self) -> bool {
        match self {
            Self::Free | Self::Circles => true,
            Self::Behind(_) | Self::Rest => false,
        }
    }
}

/// Notes that these documents were tried, so that the next round takes others.
async fn touch(t: &mut Transaction<'_>) -> Result<(), ApplyError> {
    let (tables, keys): (Vec<&str>, Vec<&[u8]>) = t
        .known
        .iter()
        .map(|(table, key)| (t.model.table(*table).state_name.as_str(), key.as_slice()))
        .unzip();
    let statement = t
        .session
        .prepared(
            "update leafcutter.parked p set tried_at = now() \
             from unnest($1::text[], $2::bytea[]) as k(t, k) \
             where p.table_name = k.t and p.row_key = k.k",
        )
        .await?;
    t.session
        .client()
        .execute(&statement, &[&tables, &keys])
        .await?;
    Ok(())
}
