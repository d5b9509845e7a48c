//! Dead letters tried again, by a person (`leafcutter dead-letters retry`).
//!
//! A letter goes through the same steps as a batch, with three differences. It is written only where
//! its version is strictly higher than all that is stored for its row: the row, its tombstone, what
//! is parked (`PROTOCOL.md` §3); an equal version is the same record or a newer image of it. Its
//! partition's position does not move, since it is not this transaction's to move. And its row in
//! the index is locked first and closed in the same transaction (§7.3), so a second attempt, or one
//! at the same time, finds nothing to do.

use super::{
    ApplyError,
    apply::Applier,
    copy::CopyBuffer,
    counters, decide,
    deletes::key_fields,
    keys::{self, turns},
    parking::{self, Flags, Parked},
    transaction::Transaction,
    work::{Candidate, Fate, From, Obstacle, Outcome, Provenance, RowId},
};
use crate::{
    decode::{Prepared, Record},
    model::Model,
    transform::{Rows, TableId},
};
use leafcutter_schemas::dead_letter::{Reason, Stage};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What became of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// Written, or deleted: the letter is done with.
    Applied,
    /// Something at least as new is stored: the letter is done with.
    Superseded,
    /// It waits for its parent or its unique value; it stays open until it is placed.
    Waits(Reason),
    /// It cannot be applied under this mapping either; it stays open.
    Refused(Reason),
    /// It was no open letter any more.
    Closed,
}

const LOCK: &str = "\
    select d.topic, d.partition, d.\"offset\" from leafcutter.dead_letters d \
    join unnest($1::text[], $2::int[], $3::bigint[]) as k(t, p, o) \
    on d.topic = k.t and d.partition = k.p and d.\"offset\" = k.o \
    where d.state = 'open' order by 1, 2, 3 for update of d";

const CLOSE: &str = "\
    update leafcutter.dead_letters set state = $4 \
    where topic = $1 and partition = $2 and \"offset\" = $3";

/// An open letter keeps the mapping of its first reason while it only waits.
const REASON: &str = "\
    update leafcutter.dead_letters set stage = $4, reason = $5, column_name = $6, path = $7, \
    sqlstate = $8, message = $9, mapping = coalesce($10, mapping) \
    where topic = $1 and partition = $2 and \"offset\" = $3";

impl Applier {
    /// Tries the records of dead letters again, all in one transaction; gives what became of each.
    /// A dry run does the same and takes it back.
    ///
    /// # Errors
    /// As [`Applier::apply`]; nothing was written then. After [`ApplyError::Definite`] the caller
    /// tries fewer at a time, and one alone with [`Prepared::Refused`] and that reason.
    pub async fn retry(
        &mut self,
        model: &Arc<Model>,
        records: &[Record],
        rows: &mut Rows,
        dry_run: bool,
    ) -> Result<Vec<Retried>, ApplyError> {
        let mut told = None;
        let done = self
            .transact(
                rows,
                async |t| {
                    told = Some(try_again(t, records).await?);
                    // An error is what takes a transaction back.
                    if dry_run {
                        Err(ApplyError::Again(None))
                    } else {
                        Ok(())
                    }
                },
                model,
            )
            .await;
        match (done, told) {
            (Ok(()), Some(outcomes)) => Ok(outcomes),
            (Err(ApplyError::Again(None)), Some(outcomes)) if dry_run => Ok(outcomes),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(ApplyError::Again(None)),
        }
    }
}

/// Where a letter's record was read, as its key in the index.
type Origin = (String, i32, i64);

fn origin(t: &Transaction<'_>, record: &Record) -> Origin {
    let delivery = &record.delivery;
    let topic = t.model.collections[delivery.collection].topic.clone();
    (topic, delivery.partition, delivery.offset)
}

async fn try_again(
    t: &mut Transaction<'_>,
    records: &[Record],
) -> Result<Vec<Retried>, ApplyError> {
    turns::of_records(t, records).await?;
    let open = lock_letters(t, records).await?;
    t.flags = Flags::read(t.session).await?;
    let mut outcomes = vec![Retried::Closed; records.len()];
    let mut candidates = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if !open.contains(&origin(t, record)) {
            continue;
        }
        match &record.prepared {
            Prepared::Refused { reason, .. } => {
                outcomes[index] = Retried::Refused(Reason::clone(reason));
            }
            Prepared::Ignored => outcomes[index] = Retried::Superseded,
            Prepared::Write { stamp, parts } => {
                let own = parts.iter();
                candidates.extend(own.map(|p| Candidate::of_record(index, record, *stamp, p)));
            }
        }
    }
    let parked = offer(t, candidates, &mut outcomes).await?;
    t.pull_along().await?;
    t.write(records).await?;
    let placed = tell(t, &mut outcomes);
    for (index, (record, outcome)) in records.iter().zip(&outcomes).enumerate() {
        let own = parked.get(&origin(t, record));
        let counted = if placed.contains(&index) {
            &Retried::Applied
        } else {
            outcome
        };
        account(t, record, counted, own);
        close(t, record, outcome).await?;
    }
    counters::count_settled(t).await?;
    Ok(outcomes)
}

async fn lock_letters(
    t: &mut Transaction<'_>,
    records: &[Record],
) -> Result<BTreeSet<Origin>, ApplyError> {
    let origins: Vec<Origin> = records.iter().map(|record| origin(t, record)).collect();
    let topics: Vec<&str> = origins.iter().map(|o| o.0.as_str()).collect();
    let partitions: Vec<i32> = origins.iter().map(|o| o.1).collect();
    let offsets: Vec<i64> = origins.iter().map(|o| o.2).collect();
    let statement = t.session.prepared(LOCK).await?;
    let rows = t
        .session
        .client()
        .query(&statement, &[&topics, &partitions, &offsets])
        .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}

/// Adds the candidates that are strictly newer than what is stored to the work; the others are
/// superseded. Gives the letters' own records where they are parked already.
async fn offer(
    t: &mut Transaction<'_>,
    mut candidates: Vec<Candidate>,
    outcomes: &mut [Retried],
) -> Result<BTreeMap<Origin, Parked>, ApplyError> {
    let row_of = |candidate: &Candidate| -> RowId { (candidate.root, candidate.key.clone()) };
    let rows: BTreeSet<RowId> = candidates.iter().map(row_of).collect();
    let rows: Vec<&RowId> = rows.iter().collect();
    let found = parking::lock_own(t.session, t.model, &rows).await?;
    let stored = stored(t, &candidates).await?;
    let mut own = BTreeMap::new();
    let mut index = 0;
    candidates.retain(|candidate| {
        let row = row_of(candidate);
        let parked = found.iter().find(|parked| parked.row == row);
        let same = parked.is_some_and(|parked| same_record(&parked.provenance, candidate));
        let version = candidate.stamp.version.as_i64();
        // Child rows that its document lacks are looked for again.
        let lacks = same && parked.is_some_and(|parked| parked.incomplete);
        let newer = stored[index] < version || (lacks && stored[index] == version);
        let newer =
            newer && parked.is_none_or(|p| same || p.stamp.version < candidate.stamp.version);
        index += 1;
        if let (Some(parked), true) = (parked, same) {
            let topic = t.model.collections[candidate.provenance.collection]
                .topic
                .clone();
            let origin = (
                topic,
                candidate.provenance.partition,
                candidate.provenance.offset,
            );
            own.insert(origin, parked.clone());
        }
        if let (From::Batch(record), false) = (candidate.from, newer) {
            say(&mut outcomes[record], Retried::Superseded);
        }
        newer
    });
    for candidate in candidates {
        let row = row_of(&candidate);
        if let Some(loser) = t.work.offer(row, candidate)
            && let From::Batch(record) = loser.from
        {
            say(&mut outcomes[record], Retried::Superseded);
        }
    }
    Ok(own)
}

fn same_record(provenance: &Provenance, candidate: &Candidate) -> bool {
    let own = &candidate.provenance;
    (
        provenance.collection,
        provenance.partition,
        provenance.offset,
    ) == (own.collection, own.partition, own.offset)
}

/// The highest version stored for each candidate's row, in the row itself or in its tombstone; -1
/// where there is neither. The rows are locked, so that it stays the highest.
pub(super) async fn stored(
    t: &mut Transaction<'_>,
    candidates: &[Candidate],
) -> Result<Vec<i64>, ApplyError> {
    let model = t.model;
    let mut stored = vec![-1; candidates.len()];
    let root = |candidate: &Candidate| candidate.root;
    // In the order in which batches write tables.
    let roots: BTreeSet<TableId> = candidates.iter().map(root).collect();
    for table in roots {
        let entry = model.table(table);
        if entry.natural_key {
            let (places, own): (Vec<usize>, Vec<&Candidate>) = candidates
                .iter()
                .enumerate()
                .filter(|(_, candidate)| root(candidate) == table)
                .unzip();
            for (place, version) in places.into_iter().zip(keys::stored(t, &own).await?) {
                stored[place] = version;
            }
            continue;
        }
        let columns = entry.table.key.len();
        let mut copy = CopyBuffer::new();
        for (index, candidate) in candidates.iter().enumerate() {
            if root(candidate) == table {
                let fields = key_fields(&candidate.key, columns);
                copy.tuple(columns, &fields, candidate.stamp.version.as_i64(), &[index]);
            }
        }
        let count = copy.count;
        copy.send(t.session, &entry.sql.copy_deletes).await?;
        for sql in [&entry.sql.lock_deletes, &entry.sql.tombstones_of_deletes] {
            let statement = t.session.prepared(sql).await?;
            for row in t.session.client().query(&statement, &[]).await? {
                let index = usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX);
                if let Some(highest) = stored.get_mut(index) {
                    *highest = (*highest).max(row.get(1));
                }
            }
        }
        t.empty_deletes(table, count).await?;
    }
    Ok(stored)
}

/// Of a record whose document goes to several tables, what still has to be done counts.
fn say(outcome: &mut Retried, other: Retried) {
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

/// What became of the candidates; gives those that were placed, though a child row of theirs waits.
fn tell(t: &Transaction<'_>, outcomes: &mut [Retried]) -> BTreeSet<usize> {
    let mut placed = BTreeSet::new();
    for candidate in &t.work.candidates {
        let From::Batch(record) = candidate.from else {
            continue;
        };
        let told = match candidate.fate {
            Fate::Done(Outcome::Stale) => Retried::Superseded,
            Fate::Done(_) if let Some(obstacle) = candidate.lacks => {
                if !candidate.incomplete {
                    placed.insert(record);
                }
                Retried::Waits(waiting(t, candidate, obstacle))
            }
            Fate::Done(
                Outcome::Applied
                | Outcome::Unchanged
                | Outcome::Deleted
                | Outcome::Held
                | Outcome::Filtered
                | Outcome::Parked
                | Outcome::Ignored
                | Outcome::DeadLettered,
            ) => Retried::Applied,
            Fate::Waits(obstacle) => Retried::Waits(waiting(t, candidate, obstacle)),
            // Nothing is left open by the steps; what were left would not be written.
            Fate::Open => Retried::Superseded,
        };
        say(&mut outcomes[record], told);
    }
    placed
}

fn waiting(t: &Transaction<'_>, candidate: &Candidate, obstacle: Obstacle) -> Reason {
    let root = candidate.root;
    let entry = t.model.table(root);
    let (entry, column, message) = match obstacle {
        Obstacle::Parent(_) | Obstacle::Row { .. } => {
            let (entry, check) = decide::check(t.model, root, obstacle);
            let message = format!(
                "tried again, waits for the row of `{}` that `{}` points to",
                check.parent, check.full_name
            );
            (entry, check.column_name.clone(), message)
        }
        Obstacle::Foreign => {
            let column = decide::key_names(&entry.table);
            let message = "tried again, waits until no other collection has its key".to_owned();
            (entry, column, message)
        }
        Obstacle::Key => {
            let column = decide::key_names(&entry.table);
            let message = "tried again, waits until no other document has its key".to_owned();
            (entry, column, message)
        }
        Obstacle::Unique(index) => {
            let columns = entry.sql.unique[index].columns.iter();
            let names: Vec<&str> = columns
                .map(|&c| entry.table.columns[c].name.as_str())
                .collect();
            let column = names.join(", ");
            let message = format!("tried again, waits until its value of `{column}` is free");
            (entry, column, message)
        }
    };
    Reason {
        stage: Stage::Settle,
        code: "waiting",
        message,
        table: Some(entry.state_name.clone()),
        column: Some(column),
        path: None,
        sqlstate: None,
    }
}

/// Moves a letter among what became of records: `[applied, stale, dead-lettered]`. Writing has
/// counted a letter's own parked record as overtaken already.
fn account(t: &mut Transaction<'_>, record: &Record, outcome: &Retried, own: Option<&Parked>) {
    // Of a document that is there, the record is counted as applied.
    if own.is_some_and(|parked| parked.incomplete) {
        return;
    }
    let orphan = i64::from(own.is_some_and(|parked| parked.orphan));
    let change = match (outcome, own.is_some()) {
        (Retried::Applied, true) => [1, -1, 0],
        (Retried::Applied, false) => [1, 0, -1],
        (Retried::Superseded, false) => [0, 1, -1],
        // Parked as before.
        (Retried::Waits(_), true) => [0, -1, orphan],
        (Retried::Waits(_), false) => [0, 0, -1],
        // What is parked and superseded is for the settling task to find.
        (Retried::Superseded, true) | (Retried::Refused(_) | Retried::Closed, _) => return,
    };
    let partition = (record.delivery.collection, record.delivery.partition);
    let settled = t.settled.entry(partition).or_default();
    for (counted, change) in settled.iter_mut().zip(change) {
        *counted += change;
    }
}

/// Closes a letter in the index, or writes down why it stays open.
async fn close(
    t: &mut Transaction<'_>,
    record: &Record,
    outcome: &Retried,
) -> Result<(), ApplyError> {
    let (topic, partition, offset) = origin(t, record);
    let (reason, mapping) = match outcome {
        Retried::Closed => return Ok(()),
        Retried::Applied | Retried::Superseded => {
            let state = if *outcome == Retried::Applied {
                "retried"
            } else {
                "superseded"
            };
            let statement = t.session.prepared(CLOSE).await?;
            t.session
                .client()
                .execute(&statement, &[&topic, &partition, &offset, &state])
                .await?;
            return Ok(());
        }
        Retried::Waits(reason) => (reason, None),
        Retried::Refused(reason) => (reason, Some(&t.model.mapping.hash)),
    };
    let statement = t.session.prepared(REASON).await?;
    t.session
        .client()
        .execute(
            &statement,
            &[
                &topic,
                &partition,
                &offset,
                &reason.stage.as_str(),
                &reason.code,
                &reason.column,
                &reason.path,
                &reason.sqlstate,
                &reason.message,
                &mapping,
            ],
        )
        .await?;
    Ok(())
}
