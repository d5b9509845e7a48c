//! Dead letters tried again, by a person (`leafcutter dead-letters retry`).
//!
//! A dead letter goes through the same steps as a batch, with three differences. It is written only where
//! its version is strictly higher than all that is stored for its row: the row, its tombstone, what
//! is parked (`docs/protocol.md`, Ties); an equal version is the same record or a newer image of it. Its
//! partition's position does not move, since it is not this transaction's to move. And its row in
//! the index is locked first and closed in the same transaction, so a second attempt, or one
//! at the same time, finds nothing to do.

use crate::{
    change::{Outcome, Prepared, Record},
    connection::{Connection, Ending},
    error::ApplyError,
    guard,
    ids::RowId,
    model::Model,
    state::{
        Origins,
        dead_letters::{self, Closed},
    },
    transform::Rows,
    write::{
        self,
        attempt::Attempt,
        candidate::{Blocker, Candidate, CandidateSource, Standing},
        release, stored, suppressed, table_lock, waiting,
    },
};
use leafcutter_schemas::dead_letter::{Reason, Stage};
use std::collections::BTreeSet;

/// What became of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// Written, or deleted: the dead letter is done with.
    Applied,
    /// Something at least as new is stored: the dead letter is done with.
    Superseded,
    /// It waits for its parent or its unique value; it stays open until it is placed.
    Waits(Reason),
    /// It cannot be applied under this mapping either; it stays open.
    Refused(Reason),
    /// It was no open dead letter any more.
    Closed,
}

/// Tries dead letters again.
#[derive(Debug)]
pub struct Retrier {
    connection: Connection,
}

impl Retrier {
    /// Tries through this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Tries the records of dead letters again, all in one transaction; gives what became of each.
    /// A dry run does the same and takes it back.
    ///
    /// # Errors
    /// As [`crate::batch::BatchWriter::apply`]; nothing was written then. After
    /// [`ApplyError::Definite`] the caller isolates the record ([`crate::isolate`]).
    pub async fn retry(
        &mut self,
        records: &[Record],
        rows: &mut Rows,
        dry_run: bool,
    ) -> Result<Vec<Retried>, ApplyError> {
        let ending = if dry_run {
            Ending::RollBack
        } else {
            Ending::Commit
        };
        let mut releases = true;
        loop {
            let mut released = false;
            let steps = async |t: &mut Attempt<'_>| {
                t.releases = releases;
                let retried = try_again(t).await;
                released = !t.records.released.is_empty();
                retried
            };
            let retried = self.connection.transact(records, rows, ending, steps);
            match retried.await {
                // What waits may be at fault: it is the settling task's matter then (S5).
                Err(error) if released && error.is_of_rows() => releases = false,
                retried => return retried,
            }
        }
    }
}

/// Where a dead letter's record was read, as its key in the index.
fn origin<'m>(model: &'m Model, record: &Record) -> (&'m str, i32, i64) {
    let origin = &record.delivery.origin;
    let topic = &model.collection(origin.partition.collection).topic;
    (topic, origin.partition.number, origin.offset)
}

async fn try_again(t: &mut Attempt<'_>) -> Result<Vec<Retried>, ApplyError> {
    let records = t.records.batch();
    table_lock::lock_for_records(t).await?;
    let open = lock_open(t).await?;
    t.look_at_state().await?;
    let mut outcomes = vec![Retried::Closed; records.len()];
    let mut candidates = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let (topic, partition, offset) = origin(t.model, record);
        if !open.contains(&(topic.to_owned(), partition, offset)) {
            continue;
        }
        match &record.prepared {
            Prepared::Refused(refusal) => {
                outcomes[index] = Retried::Refused(refusal.reason.clone());
            }
            Prepared::Ignored => outcomes[index] = Retried::Superseded,
            Prepared::Write { .. } => candidates.extend(Candidate::of_record(index, record)),
        }
    }
    offer(t, candidates, &mut outcomes).await?;
    release::release_waiters(t).await?;
    write::write(t).await?;
    suppressed::refuse_released(t)?;
    for candidate in t.candidates.iter() {
        if let CandidateSource::Batch(record) = candidate.source() {
            note(&mut outcomes[record], retried(t.model, candidate));
        }
    }
    for (record, outcome) in records.iter().zip(&outcomes) {
        close(t, record, outcome).await?;
    }
    Ok(outcomes)
}

async fn lock_open(t: &mut Attempt<'_>) -> Result<BTreeSet<(String, i32, i64)>, ApplyError> {
    let mut all = Origins::default();
    for record in t.records.batch() {
        let (topic, partition, offset) = origin(t.model, record);
        all.push(topic, partition, offset);
    }
    let open = dead_letters::lock_open(t.session, &t.model.staged_in, &all).await?;
    Ok(open.into_iter().collect())
}

/// Offers the candidates that are strictly newer than what is stored; the others are superseded.
async fn offer(
    t: &mut Attempt<'_>,
    candidates: Vec<Candidate>,
    outcomes: &mut [Retried],
) -> Result<(), ApplyError> {
    let rows: BTreeSet<RowId> = candidates.iter().map(|c| c.row().clone()).collect();
    let rows: Vec<RowId> = rows.into_iter().collect();
    let parked = release::lock_of_rows(t, &rows).await?;
    let stored = stored::stored(t, &candidates).await?;
    for (candidate, stored) in candidates.into_iter().zip(stored) {
        let version = candidate.version().version;
        let parked = parked.iter().find(|parked| parked.row == *candidate.row());
        let same = parked.is_some_and(|parked| {
            let (own, its) = (&parked.origin, candidate.origin());
            (own.partition, own.offset) == (its.partition, its.offset)
        });
        let newer_than_parked = parked.is_none_or(|parked| {
            same || guard::admits_retry(Some(parked.version.version), version)
        });
        // Child rows that its document lacks are looked for again.
        let lacks = same && parked.is_some_and(|parked| parked.incomplete);
        let newer =
            guard::admits_retry(stored, version) || (lacks && guard::is_same(stored, version));
        let loser = if newer && newer_than_parked {
            t.candidates.offer(candidate)
        } else {
            Some(candidate)
        };
        if let Some(CandidateSource::Batch(record)) = loser.map(|loser| loser.source()) {
            note(&mut outcomes[record], Retried::Superseded);
        }
    }
    Ok(())
}

/// Of a record whose document goes to several tables, what still has to be done counts.
fn note(outcome: &mut Retried, other: Retried) {
    let weight = |retried: &Retried| match retried {
        Retried::Closed => 0,
        Retried::Superseded => 1,
        Retried::Applied => 2,
        Retried::Waits(_) => 3,
        Retried::Refused(_) => 4,
    };
    if weight(&other) >= weight(outcome) {
        *outcome = other;
    }
}

fn retried(model: &Model, candidate: &Candidate) -> Retried {
    if let Some(reason) = suppressed::reason(model, candidate) {
        return Retried::Refused(reason);
    }
    match candidate.standing() {
        // Nothing is left open by the steps; what were left would not be written.
        Standing::Done(Outcome::Stale) | Standing::Open => Retried::Superseded,
        Standing::Done(_) | Standing::WithoutParent(_) => Retried::Applied,
        Standing::Waits(blocker) | Standing::LacksRows(_, blocker) => {
            Retried::Waits(waits(model, candidate, blocker))
        }
    }
}

fn waits(model: &Model, candidate: &Candidate, blocker: Blocker) -> Reason {
    let waiting = waiting::describe(model, candidate.row().table, blocker);
    let message = format!("tried again, waits {}", waiting.until());
    Reason::new(Stage::Settle, "waiting", message)
        .at(waiting.table.state_name.clone(), waiting.column)
}

/// Closes a dead letter in the index, or writes down why it stays open.
async fn close(t: &mut Attempt<'_>, record: &Record, outcome: &Retried) -> Result<(), ApplyError> {
    let origin = origin(t.model, record);
    let (reason, mapping) = match outcome {
        Retried::Closed => return Ok(()),
        Retried::Applied | Retried::Superseded => {
            let closed = if *outcome == Retried::Applied {
                Closed::Retried
            } else {
                Closed::Superseded
            };
            let mut one = Origins::default();
            one.push(origin.0, origin.1, origin.2);
            return Ok(dead_letters::close(t.session, &t.model.staged_in, &one, closed).await?);
        }
        Retried::Waits(reason) => (reason, None),
        Retried::Refused(reason) => (reason, Some(t.model.mapping.hash.as_str())),
    };
    Ok(dead_letters::give_reason(t.session, &t.model.staged_in, origin, reason, mapping).await?)
}
