//! One batch, one transaction.
//!
//! 1. Move the positions under the fence. What follows is ours alone, or nothing happens.
//! 2. Lock the tables whose keys do not follow from `_id`, and what is parked for the batch's rows (S2);
//!    release what waits for them.
//! 3. Write, delete, park ([`crate::write`]).
//! 4. List what was refused in the index of dead letters; count; commit.

use crate::{
    change::{Counts, Delivery, Outcome, Prepared, Record, RecordOrigin, Refusal},
    connection::{Connection, Ending},
    error::ApplyError,
    guard,
    ids::{CollectionId, Partition, TableId},
    metrics,
    state::{
        Origins, StateFlags,
        breakers::BreakerRow,
        dead_letters::{self, Closed, ToList},
        offsets::{self, Counted, Passed},
        tombstones,
    },
    target::enforced,
    transform::Rows,
    write::{
        self,
        attempt::Attempt,
        candidate::{Candidate, CandidateSource},
        candidates::Candidates,
        failures, loading, park, release, rowless, stored, suppressed, table_lock,
    },
};
use std::collections::BTreeMap;

/// One partition's part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The partition.
    pub partition: Partition,
    /// The epoch under which it was taken over.
    pub epoch: i64,
    /// The offset of the batch's first record.
    pub expected: i64,
    /// One behind the batch's last record.
    pub next: i64,
    /// The fingerprint of that record.
    pub last: i64,
}

impl Fence {
    /// The fences of these records, which follow each other within each partition; `epochs` tells under
    /// which each partition was taken over. One that is unknown passes no fence, nor does a partition of which
    /// a record is missing between two others: it is taken over anew, and read again.
    pub fn of(records: &[Record], epochs: &BTreeMap<Partition, i64>) -> Vec<Self> {
        let mut fences: BTreeMap<Partition, (Self, &Delivery)> = BTreeMap::new();
        for Record { delivery, .. } in records {
            let RecordOrigin {
                partition, offset, ..
            } = delivery.origin;
            let (fence, last) = fences.entry(partition).or_insert_with(|| {
                let fence = Self {
                    partition,
                    epoch: epochs.get(&partition).copied().unwrap_or_default(),
                    expected: offset,
                    next: offset,
                    last: 0,
                };
                (fence, delivery)
            });
            if offset > fence.next {
                fence.epoch = 0;
            }
            fence.next = offset + 1;
            *last = delivery;
        }
        let fences = fences.into_values();
        fences
            .map(|(fence, last)| Self {
                last: last.fingerprint(),
                ..fence
            })
            .collect()
    }
}

/// What a transaction did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Outcomes of the batch's records, by partition.
    pub counts: BTreeMap<Partition, Counts>,
    /// Parked documents that were placed.
    pub released: u64,
    /// The bytes of their records, and of those that follow on rows that came free.
    pub released_bytes: usize,
    /// The collections of which records could not be applied lately.
    pub failures: BTreeMap<CollectionId, BreakerRow>,
    /// The batch was committed before, and its answer lost: the counts are unknown here.
    pub committed_before: bool,
}

/// Writes batches.
#[derive(Debug)]
pub struct BatchWriter {
    connection: Connection,
    /// Batches still to be checked for missing parents and taken values before they are written.
    precheck: u32,
    /// Batches still to be compared with what is stored before they are written.
    compares: u32,
    /// Parked documents are released with what they wait for, and documents follow on rows that come free
    /// together with the others: not after an attempt in which any took part has failed, until one succeeds
    /// without them. They may be at fault, and no record of the batch is judged by them (S5a).
    others: bool,
    /// Records in a row that open the breaker of their collection; 0: never.
    breaker: u32,
}

/// How many batches are checked row by row after one in which a parent was missing or a value was
/// taken. Where that is rare, the constraints alone tell, and cost nothing more.
const PRECHECKED_BATCHES: u32 = 20;

/// How many batches are compared with what is stored after one of which something was there already, or newer, as
/// where records are read again. Elsewhere the guard of the statement that writes is enough.
const COMPARED_BATCHES: u32 = 20;

impl BatchWriter {
    /// Writes through this connection.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            precheck: 0,
            compares: 0,
            others: true,
            breaker: 0,
        }
    }

    /// Opens the breaker of a collection after so many records in a row that cannot be applied; 0: never.
    #[must_use]
    pub fn with_breaker(mut self, limit: u32) -> Self {
        self.breaker = limit;
        self
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Applies the records, all of them or none.
    ///
    /// # Errors
    /// Why not; see [`ApplyError`]. Nothing was written then, except that after a lost connection
    /// the commit may have succeeded, which the next attempt finds out.
    pub async fn apply(
        &mut self,
        records: &[Record],
        rows: &mut Rows,
        fences: &[Fence],
    ) -> Result<Applied, ApplyError> {
        // Each turn but the last takes one way out that the next one has no more.
        loop {
            let (attempted, course) = self.attempt(records, rows, fences).await;
            let took_part = course.took_part;
            match &attempted {
                Ok(_) => {
                    self.precheck = self.precheck.saturating_sub(1);
                    self.compares = if course.found_stored {
                        COMPARED_BATCHES
                    } else {
                        self.compares.saturating_sub(1)
                    };
                    self.others = true;
                    return attempted;
                }
                Err(ApplyError::Fenced(_)) => return attempted,
                Err(ApplyError::Again(Some(_))) if self.precheck == 0 => {
                    self.precheck = PRECHECKED_BATCHES;
                }
                // The rows that were left out are those that a comparison finds. An error may be of one of them too:
                // constraints look at a row before it is known that another is there.
                Err(error) if self.precheck + self.compares == 0 && error.is_of_rows() => {
                    self.compares = COMPARED_BATCHES;
                }
                Err(error) if took_part && error.is_of_rows() => {
                    self.others = false;
                }
                Err(_) => {
                    self.others &= !took_part;
                    return attempted;
                }
            }
        }
    }

    /// One transaction, and what is to be known of it for the next.
    async fn attempt(
        &mut self,
        records: &[Record],
        rows: &mut Rows,
        fences: &[Fence],
    ) -> (Result<Applied, ApplyError>, Course) {
        let (precheck, compares, others) = (self.precheck > 0, self.compares > 0, self.others);
        let breaker = self.breaker;
        let (mut begun, mut course) = (false, Course::default());
        let steps = async |t: &mut Attempt<'_>| {
            let Some(flags) = pass(t, fences).await? else {
                return Ok(Applied {
                    committed_before: true,
                    ..Applied::default()
                });
            };
            // Counted before anything is written: who dies in the middle has said it.
            metrics::records_begun(records.len());
            begun = true;
            t.precheck = precheck || !enforced::is_enforced(t.session, t.model).await?;
            t.compares = compares;
            t.releases = others;
            t.follows_apart = !others;
            let applied = apply(t, flags, breaker).await;
            course = Course {
                took_part: others && t.records.any_of_others(),
                found_stored: t.found_stored,
            };
            applied
        };
        let transaction = self
            .connection
            .transact(records, rows, Ending::Commit, steps);
        let done = transaction.await;
        match &done {
            Ok(_) => metrics::records_committed(records.len()),
            Err(error) if begun && (error.is_of_rows() || is_too_many(error)) => {
                metrics::records_rolled_back(records.len());
            }
            // Nothing was begun, or it is in doubt: the next attempt finds out.
            Err(_) => {}
        }
        (done, course)
    }
}

/// What a transaction has come upon.
#[derive(Debug, Clone, Copy, Default)]
struct Course {
    /// Documents of other records took part in it, too.
    took_part: bool,
    /// Rows were there already in the version that was to be written, or in a newer one.
    found_stored: bool,
}

fn is_too_many(error: &ApplyError) -> bool {
    matches!(error, ApplyError::TooMany { .. })
}

/// Moves the positions, and looks at the state; none where this very batch was committed before.
async fn pass(t: &mut Attempt<'_>, fences: &[Fence]) -> Result<Option<StateFlags>, ApplyError> {
    let model = t.model;
    let named = fences.iter().map(|fence| offsets::Fence {
        topic: &model.collection(fence.partition.collection).topic,
        partition: fence.partition.number,
        epoch: fence.epoch,
        expected: fence.expected,
        next: fence.next,
        last: fence.last,
    });
    let named: Vec<_> = named.collect();
    match offsets::pass(t.session, t.group, &named).await? {
        Passed::Committed => Ok(None),
        Passed::Open {
            tombstones,
            events,
            flags,
        } => {
            t.tombstones = tombstones;
            t.snapshot_only = !tombstones && !events;
            Ok(Some(flags))
        }
        Passed::Lost(lost) => {
            let partitions = lost.into_iter().filter_map(|(topic, number)| {
                let collection = model.collection_of_topic(&topic)?;
                Some(Partition { collection, number })
            });
            Err(ApplyError::Fenced(partitions.collect()))
        }
    }
}

async fn apply(
    t: &mut Attempt<'_>,
    flags: StateFlags,
    breaker: u32,
) -> Result<Applied, ApplyError> {
    let records = t.records.batch();
    t.go_by(flags).await?;
    let mut outcomes = collect(records, &mut t.candidates);
    loading::fill(t).await?;
    look_for_cascaded(t).await?;
    table_lock::lock_for_records(t).await?;
    release::release_waiters(t).await?;
    // Listed first, so that a newer document of the same batch supersedes its dead letter.
    let refused = list_refused(t).await?;
    t.flags.dead_letters |= refused;
    rowless::close_letters(t).await?;
    write::write(t).await?;
    suppressed::refuse_released(t)?;
    if refused {
        close_superseded(t).await?;
    }
    for candidate in t.candidates.iter() {
        if let CandidateSource::Batch(record) = candidate.source() {
            note(&mut outcomes[record], candidate.outcome());
        }
    }
    let placed = t.candidates.iter().filter(|c| park::is_placed(t, c));
    let released = u64::try_from(placed.count()).unwrap_or(0);
    let failures = failures::count(t, &outcomes, breaker).await?;
    let counts = count(t, &outcomes);
    Ok(Applied {
        counts,
        failures,
        released,
        released_bytes: t.records.bytes_of_others(),
        committed_before: false,
    })
}

/// The candidates of a batch, the newest for each row; gives the outcomes that are decided already.
fn collect(records: &[Record], candidates: &mut Candidates) -> Vec<Option<Outcome>> {
    let mut outcomes = vec![None; records.len()];
    for (index, record) in records.iter().enumerate() {
        match &record.prepared {
            Prepared::Write { .. } => {}
            Prepared::Ignored => outcomes[index] = Some(Outcome::Ignored),
            Prepared::Refused(_) => outcomes[index] = Some(Outcome::DeadLettered),
        }
        for candidate in Candidate::of_record(index, record) {
            if let Some(loser) = candidates.offer(candidate)
                && let CandidateSource::Batch(record) = loser.source()
            {
                note(&mut outcomes[record], Outcome::Stale);
            }
        }
    }
    outcomes
}

/// A record has one outcome, whatever becomes of it in each table.
fn note(outcome: &mut Option<Outcome>, other: Outcome) {
    *outcome = Some(outcome.map_or(other, |outcome| outcome.stronger(other)));
}

/// Rows that go with their parents leave tombstones that their own partitions know nothing of.
async fn look_for_cascaded(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    let model = t.model;
    let mut tables: Vec<TableId> = t.candidates.rows().map(|row| row.table).collect();
    tables.dedup();
    let cascaded = tables.into_iter().map(|table| model.table(table));
    let cascaded = cascaded.filter(|entry| entry.cascaded);
    let names: Vec<&str> = cascaded.map(|entry| entry.state_name.as_str()).collect();
    if !t.tombstones && !names.is_empty() && tombstones::any(t.session, &names).await? {
        t.tombstones = true;
        t.snapshot_only = false;
    }
    Ok(())
}

/// Lists the refused records; whether there are any.
async fn list_refused(t: &mut Attempt<'_>) -> Result<bool, ApplyError> {
    let mut any = false;
    for record in t.records.batch() {
        let Prepared::Refused(refusal) = &record.prepared else {
            continue;
        };
        let Refusal {
            reason,
            key,
            version,
        } = &**refusal;
        any = true;
        let origin = &record.delivery.origin;
        let collection = t.model.collection(origin.partition.collection);
        let root = key.as_ref().map_or(collection.roots[0], |key| key.root);
        let letter = ToList {
            topic: &collection.topic,
            partition: origin.partition.number,
            offset: origin.offset,
            table: &t.model.table(root).state_name,
            row_key: key.as_ref().map(|key| &*key.key),
            record_key: &record.delivery.key,
            version: *version,
            reason,
            group: t.group,
            mapping: &t.model.mapping.hash,
            staged_in: &t.model.staged_in,
        };
        dead_letters::list(t.session, &letter).await?;
    }
    Ok(any)
}

/// Closes the dead letters of the batch's refused records for whose rows something newer is stored.
///
/// A producer that died, or only seemed to, publishes records again: one that is refused may be
/// older than what is stored for its row. The transaction that placed or deleted that row could not
/// close a dead letter that was not there yet, so the batch that lists it closes it. The row is locked
/// for the look, as it is locked by every transaction that writes it: one of the two sees the other.
async fn close_superseded(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    let model = t.model;
    let refused = t.records.batch().iter().enumerate();
    let refused: Vec<Candidate> = refused
        .filter_map(|(index, record)| Candidate::of_refused(index, record))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let stored = stored::stored(t, &refused).await?;
    let mut closed = Origins::default();
    for (candidate, stored) in refused.iter().zip(stored) {
        if !guard::admits(stored, candidate.version().version) {
            let origin = candidate.origin();
            let topic = &model.collection(origin.partition.collection).topic;
            closed.push(topic, origin.partition.number, origin.offset);
        }
    }
    dead_letters::close(t.session, &model.staged_in, &closed, Closed::Superseded).await?;
    Ok(())
}

/// The outcomes of the records, which are added to the counters of their partitions together with the commit.
fn count(t: &mut Attempt<'_>, outcomes: &[Option<Outcome>]) -> BTreeMap<Partition, Counts> {
    let model = t.model;
    let mut counted: BTreeMap<Partition, Counted> = BTreeMap::new();
    for (record, outcome) in t.records.batch().iter().zip(outcomes) {
        let entry = counted.entry(record.delivery.origin.partition).or_default();
        entry.outcomes.add(outcome.unwrap_or(Outcome::Ignored));
        if let Prepared::Write { version, changes } = &record.prepared {
            entry.events |= version.event;
            // What a filter leaves out leaves a tombstone, too.
            entry.deletes |= changes.iter().any(|change| change.mutation.is_delete());
            entry.source_time = entry.source_time.max(version.version.as_i64());
        }
    }
    let by_topic = counted.iter().map(|(partition, counted)| {
        let topic = model.collection(partition.collection).topic.as_str();
        ((topic, partition.number), *counted)
    });
    t.last = Some(offsets::count(t.group, &by_topic.collect()));
    let outcomes = counted.into_iter();
    outcomes
        .map(|(partition, counted)| (partition, counted.outcomes))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_lacks_a_record_passes_no_fence() {
        let partition = |number| Partition {
            collection: CollectionId(0),
            number,
        };
        let record = |(number, offset)| Record {
            delivery: Delivery {
                origin: RecordOrigin {
                    partition: partition(number),
                    offset,
                    timestamp: None,
                },
                key: Vec::new(),
                value: None,
                headers: Vec::new(),
            },
            prepared: Prepared::Ignored,
        };
        let epochs = BTreeMap::from([(partition(0), 7), (partition(1), 8), (partition(2), 9)]);
        let records = [
            (0, 3),
            (1, 0),
            (0, 4),
            (1, 2),
            (2, 5),
            (2, 6),
            (2, 5),
            (2, 6),
        ];
        let records: Vec<Record> = records.map(record).into();
        let fences = Fence::of(&records, &epochs);
        let told = fences.iter().map(|f| (f.epoch, f.expected, f.next));
        assert_eq!(told.collect::<Vec<_>>(), [(7, 3, 5), (0, 0, 3), (9, 5, 7)]);
    }
}
