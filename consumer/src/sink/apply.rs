//! One batch, one transaction: the order of its statements.
//!
//! 1. Move the positions under the fence. What follows is ours alone, or nothing happens.
//! 2. Take the turns at tables whose keys do not follow from `_id` ([`keys`]); lock what is parked for
//!    the batch's rows (S2) and take along what waits for them.
//! 3. Upserts, referenced tables before referring ones, each document with its children.
//! 4. Deletes, referring tables before referenced ones. Their locks stand in everybody's way, so
//!    they come last.
//! 5. What waits is parked, what was placed is no longer parked, what was refused is listed.
//! 6. Counters; commit.
//!
//! Each step looks at the database in statements of their own, after the locks of the step before
//! it: under READ COMMITTED a statement sees what was committed before it began.

use super::{
    ApplyError, counters,
    direct::Direct,
    fence::{self, Fence, Passed, Standing},
    keys::{lookup::Lookups, turns},
    letters, overtaken,
    parking::Flags,
    session::Session,
    transaction::Transaction,
    work::{Candidate, Counts, Fate, From, Outcome, Provenance, Work},
};
use crate::{
    decode::{Part, Prepared, Record, Stamp},
    model::Model,
    transform::{Rows, TableId},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};
use tokio_postgres::Config;

/// A partition: its collection and number.
pub type Partition = (usize, i32);

/// What a transaction did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Outcomes of the batch's records, by partition.
    pub counts: BTreeMap<Partition, Counts>,
    /// Parked documents that were placed, by partition of their record.
    pub released: BTreeMap<Partition, i64>,
    /// The batch was committed before, and its answer lost: the counts are unknown here.
    pub committed_before: bool,
}

/// Writes batches through one session.
#[derive(Debug)]
pub struct Applier {
    config: Config,
    name: String,
    group: String,
    consumer: String,
    model: Arc<Model>,
    asynchronous: bool,
    session: Option<Session>,
    /// Batches still to be checked for missing parents and taken values before they are written.
    careful: u32,
    direct: HashMap<TableId, Direct>,
    /// Where the next round over the held rows of a table begins.
    pub(super) held_after: HashMap<TableId, Vec<u8>>,
    /// When documents that wait for each other in a circle are looked for next.
    pub(super) circles_after: Instant,
}

/// How many batches are checked row by row after one in which a parent was missing or a value was
/// taken. Where that is rare, the constraints alone tell, and cost nothing more.
const CAREFUL_BATCHES: u32 = 20;

impl Applier {
    /// Writes for `group` as `consumer`, through a session that is opened when it is needed.
    pub fn new(config: Config, name: &str, group: &str, consumer: &str, model: Arc<Model>) -> Self {
        Self {
            config,
            name: name.to_owned(),
            group: group.to_owned(),
            consumer: consumer.to_owned(),
            model,
            asynchronous: false,
            session: None,
            careful: 0,
            direct: HashMap::new(),
            held_after: HashMap::new(),
            circles_after: Instant::now(),
        }
    }

    /// Does not wait for the disk when it commits (PostgreSQL chapter 28.4). A crash of the server
    /// takes the last transactions back as a whole, rows and positions, and their records are read
    /// again: the same reason for which subscriptions of PostgreSQL commit like this.
    #[must_use]
    pub fn asynchronous(mut self) -> Self {
        self.asynchronous = true;
        self
    }

    /// The session, opened if there is none.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn session(&mut self) -> Result<&mut Session, ApplyError> {
        // A connection that the server ended is found out here, by whoever asks next.
        if self.session.as_ref().is_none_or(Session::is_closed) {
            let mut session = Session::open(&self.config, &self.name).await?;
            session.create_temporary(&self.model).await?;
            if self.asynchronous {
                let asynchronous = "set synchronous_commit = off";
                session.client().batch_execute(asynchronous).await?;
            }
            self.session = Some(session);
        }
        self.session.as_mut().ok_or(ApplyError::Again(None))
    }

    /// Takes a partition over (F4); gives its epoch and the offset to read from.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost; the session is given up then.
    pub async fn take_over(
        &mut self,
        collection: usize,
        partition: i32,
    ) -> Result<(i64, i64), ApplyError> {
        let model = Arc::clone(&self.model);
        let (group, owner) = (self.group.clone(), self.consumer.clone());
        let topic = &model.collections[collection].topic;
        let session = self.session().await?;
        let taken = fence::take_over(
            session,
            &group,
            topic,
            partition,
            &owner,
            &model.mapping.hash,
        )
        .await;
        if taken.is_err() {
            self.session = None;
        }
        taken
    }

    /// Where each partition of the group stands.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn standing(&mut self) -> Result<BTreeMap<Partition, Standing>, ApplyError> {
        let model = Arc::clone(&self.model);
        let group = self.group.clone();
        let session = self.session().await?;
        let rows = fence::standing(session, &group).await?;
        Ok(rows
            .into_iter()
            .filter_map(|(topic, partition, standing)| {
                Some(((model.collection_of_topic(&topic)?, partition), standing))
            })
            .collect())
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
        if self.careful == 0 {
            match self.attempt(records, rows, fences).await {
                Err(ApplyError::Again(Some(_))) => self.careful = CAREFUL_BATCHES,
                decided => return decided,
            }
        }
        let applied = self.attempt(records, rows, fences).await?;
        self.careful = self.careful.saturating_sub(1);
        Ok(applied)
    }

    async fn attempt(
        &mut self,
        records: &[Record],
        rows: &mut Rows,
        fences: &[Fence],
    ) -> Result<Applied, ApplyError> {
        let (work, mut outcomes) = collect(records);
        let model = Arc::clone(&self.model);
        let careful = self.careful > 0;
        let mut begun = false;
        let body = async |t: &mut Transaction<'_>| {
            match fence::pass(t.session, t.model, t.group, fences).await? {
                Passed::Committed => {
                    return Ok(Applied {
                        committed_before: true,
                        ..Applied::default()
                    });
                }
                Passed::Open { tombstones, events } => {
                    t.tombstones = tombstones;
                    t.fresh = !tombstones && !events;
                }
            }
            // Said before anything is written: whoever is killed in the middle has said it.
            tracing::debug!(records = records.len(), "writing");
            begun = true;
            t.careful = careful || !t.session.enforced(t.model).await?;
            t.flags = Flags::read(t.session).await?;
            t.work = work;
            t.look_for_cascaded().await?;
            turns::of_records(t, records).await?;
            t.pull_along().await?;
            // Listed first, so that a newer document of the same batch supersedes its letter.
            let refused = letters::list_refused(t, records).await?;
            t.flags.dead_letters |= refused;
            t.write(records).await?;
            if refused {
                overtaken::close(t, records).await?;
            }
            for candidate in &t.work.candidates {
                if let From::Batch(record) = candidate.from {
                    note(&mut outcomes[record], candidate.outcome());
                }
            }
            let mut counts: BTreeMap<Partition, Counts> = BTreeMap::new();
            for (record, outcome) in records.iter().zip(&outcomes) {
                let at = &record.delivery;
                let counted = counts.entry((at.collection, at.partition)).or_default();
                counted.add(outcome.unwrap_or(Outcome::Ignored));
            }
            counters::count(t, records, &counts).await?;
            let released = t.released();
            counters::count_settled(t).await?;
            Ok(Applied {
                counts,
                released,
                committed_before: false,
            })
        };
        let done = self.transact(rows, body, &model).await;
        if begun && matches!(done, Err(ApplyError::Again(_) | ApplyError::Definite(_))) {
            tracing::debug!(records = records.len(), "taken back");
        }
        done
    }

    /// Runs the settling task's part of one transaction: parked documents through the guard.
    pub(super) async fn transact<R>(
        &mut self,
        rows: &mut Rows,
        body: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<R, ApplyError>,
        model: &Model,
    ) -> Result<R, ApplyError> {
        self.session().await?;
        let (group, consumer) = (self.group.clone(), self.consumer.clone());
        // Taken out, so that a session whose transaction was dropped half-way is never used again.
        let Some(mut session) = self.session.take() else {
            return Err(ApplyError::Again(None));
        };
        let mark = rows.mark();
        session.client().batch_execute("begin").await?;
        let mut transaction = Transaction {
            session: &mut session,
            model,
            group: &group,
            consumer: &consumer,
            rows,
            work: Work::default(),
            pulled: Vec::new(),
            kept: Vec::new(),
            turns: BTreeSet::new(),
            lookups: Lookups::default(),
            vacant: BTreeMap::new(),
            flags: Flags::default(),
            tombstones: true,
            fresh: false,
            careful: true,
            direct: &mut self.direct,
            tombstones_written: false,
            overtaken: Vec::new(),
            known: BTreeSet::new(),
            settled: BTreeMap::new(),
        };
        let result = body(&mut transaction).await;
        rows.reset(mark);
        match result {
            Ok(done) => {
                session.client().batch_execute("commit").await?;
                self.session = Some(session);
                Ok(done)
            }
            Err(error) => {
                if session.client().batch_execute("rollback").await.is_ok() {
                    self.session = Some(session);
                }
                Err(error)
            }
        }
    }
}

impl Candidate {
    /// What the record at this place of the batch wants in one root table.
    pub(super) fn of_record(index: usize, record: &Record, stamp: Stamp, part: &Part) -> Self {
        let delivery = &record.delivery;
        Self {
            from: From::Batch(index),
            provenance: Provenance {
                collection: delivery.collection,
                partition: delivery.partition,
                offset: delivery.offset,
                timestamp: delivery.timestamp,
            },
            root: part.root,
            key: part.key.clone(),
            stamp,
            wish: part.wish.clone(),
            null_missing: false,
            nulled: false,
            incomplete: false,
            lacks: None,
            fate: Fate::Open,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self.fate {
            Fate::Done(outcome) => outcome,
            // Nothing is left open by the steps; what were left would not be lost, but parked.
            Fate::Waits(_) | Fate::Open => Outcome::Parked,
        }
    }
}

/// The candidates of a batch, the newest for each row, and the outcomes that are decided already.
fn collect(records: &[Record]) -> (Work, Vec<Option<Outcome>>) {
    let mut work = Work::default();
    let mut outcomes = vec![None; records.len()];
    for (index, record) in records.iter().enumerate() {
        let (stamp, parts) = match &record.prepared {
            Prepared::Write { stamp, parts } => (stamp, parts),
            Prepared::Ignored => {
                outcomes[index] = Some(Outcome::Ignored);
                continue;
            }
            Prepared::Refused { .. } => {
                outcomes[index] = Some(Outcome::DeadLettered);
                continue;
            }
        };
        for part in parts {
            let candidate = Candidate::of_record(index, record, *stamp, part);
            let row = (part.root, part.key.clone());
            if let Some(loser) = work.offer(row, candidate)
                && let From::Batch(record) = loser.from
            {
                note(&mut outcomes[record], Outcome::Stale);
            }
        }
    }
    (work, outcomes)
}

/// A record has one outcome, whatever becomes of it in each table.
fn note(outcome: &mut Option<Outcome>, other: Outcome) {
    *outcome = Some(outcome.map_or(other, |outcome| outcome.stronger(other)));
}
