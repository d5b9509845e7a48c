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
    ApplyError,
    deletes::{self, Gone},
    fence::{self, Fence, Passed, Standing},
    keys::{self, Kept, lookup::Lookups, turns},
    overtaken,
    parking::{self, Flags, Parked, ToPark},
    session::Session,
    upserts,
    work::{Candidate, Counts, Fate, From, Outcome, Provenance, RowId, Wish, Work},
};
use crate::{
    decode::{self, Part, Prepared, Record, Stamp},
    model::Model,
    transform::{Rows, TableId},
};
use leafcutter_schemas::{
    dead_letter::{Origin, Reason},
    version::Version,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
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
    /// Dead letters that Kafka has confirmed, whose parked documents are not given up yet.
    pub(super) confirmed: BTreeSet<Origin>,
}

/// How many batches are checked row by row after one in which a parent was missing or a value was
/// taken. Where that is rare, the constraints alone tell, and cost nothing more.
const CAREFUL_BATCHES: u32 = 20;

/// Whether rows of a table may be copied straight into it: worth an attempt while only a snapshot
/// is read. After a failure it is left alone for a while, twice as long each time.
#[derive(Debug, Default)]
pub struct Direct {
    skip: u32,
    penalty: u32,
}

impl Direct {
    const PENALTY_MAX: u32 = 256;

    /// Whether to attempt it now.
    pub(super) fn attempt(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        true
    }

    /// Notes how the attempt ended.
    pub(super) fn note(&mut self, succeeded: bool) {
        self.penalty = if succeeded {
            0
        } else {
            (self.penalty * 2).clamp(4, Self::PENALTY_MAX)
        };
        self.skip = self.penalty;
    }
}

/// What the steps of one transaction work on.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(super) session: &'a mut Session,
    pub(super) model: &'a Model,
    pub(super) group: &'a str,
    pub(super) consumer: &'a str,
    pub(super) rows: &'a mut Rows,
    pub(super) work: Work,
    pub(super) pulled: Vec<Parked>,
    /// Documents that had lost their rows and are taken up again.
    pub(super) kept: Vec<Kept>,
    /// Tables whose turn this transaction has.
    pub(super) turns: BTreeSet<TableId>,
    /// Parents' keys that were looked up.
    pub(super) lookups: Lookups,
    /// Rows of such tables whose documents were deleted.
    pub(super) vacant: BTreeMap<TableId, Vec<Gone>>,
    pub(super) flags: Flags,
    /// Tombstones may exist for these rows.
    pub(super) tombstones: bool,
    /// Nothing but snapshot rows were ever applied from these partitions.
    pub(super) fresh: bool,
    /// Look for missing parents and taken values before writing; otherwise the constraints tell.
    pub(super) careful: bool,
    pub(super) direct: &'a mut HashMap<TableId, Direct>,
    pub(super) tombstones_written: bool,
    /// Parked documents that were overtaken by a record of this batch.
    overtaken: Vec<Parked>,
    /// The rows for which something was found parked.
    pub(super) known: BTreeSet<RowId>,
    pub(super) settled: BTreeMap<Partition, [i64; 3]>,
}

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
            confirmed: BTreeSet::new(),
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
            let refused = list_refused(t, records).await?;
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
            count(t, records, &counts).await?;
            let released = t.released();
            count_settled(t).await?;
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

    fn outcome(&self) -> Outcome {
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

impl Work {
    /// Adds a candidate unless its row has one with a higher version; of equal ones the later
    /// wins. Gives back the one that lost.
    pub(super) fn offer(&mut self, row: RowId, candidate: Candidate) -> Option<Candidate> {
        match self.by_row.get(&row) {
            None => {
                self.by_row.insert(row, self.candidates.len());
                self.candidates.push(candidate);
                None
            }
            Some(&index) if self.candidates[index].stamp.version > candidate.stamp.version => {
                Some(candidate)
            }
            Some(&index) => Some(std::mem::replace(&mut self.candidates[index], candidate)),
        }
    }
}

impl Transaction<'_> {
    /// Rows that go with their parents leave tombstones that their own partitions know nothing of.
    async fn look_for_cascaded(&mut self) -> Result<(), ApplyError> {
        let mut tables: Vec<TableId> = self.work.by_row.keys().map(|row| row.0).collect();
        tables.dedup();
        tables.retain(|&table| self.model.table(table).cascaded);
        if !self.tombstones && !tables.is_empty() && self.any_tombstone(&tables).await? {
            self.tombstones = true;
            self.fresh = false;
        }
        Ok(())
    }

    /// Whether these tables have any tombstone.
    pub(super) async fn any_tombstone(&mut self, tables: &[TableId]) -> Result<bool, ApplyError> {
        let names: Vec<&str> = tables
            .iter()
            .map(|&table| self.model.table(table).state_name.as_str())
            .collect();
        let sql = "select exists (select 1 from leafcutter.tombstones where table_name = any($1))";
        let statement = self.session.prepared(sql).await?;
        let row = self
            .session
            .client()
            .query_one(&statement, &[&names])
            .await?;
        Ok(row.get(0))
    }

    /// The open candidates of one root table.
    pub(super) fn open(&self, root: TableId, wanted: impl Fn(&Wish) -> bool) -> Vec<usize> {
        let open = |candidate: &&usize| {
            let candidate = &self.work.candidates[**candidate];
            candidate.fate == Fate::Open && wanted(&candidate.wish) && candidate.root == root
        };
        (0..self.work.candidates.len())
            .collect::<Vec<_>>()
            .iter()
            .filter(open)
            .copied()
            .collect()
    }

    /// A candidate, by its ordinal in the temporary table.
    pub(super) fn candidate(&mut self, ordinal: i32) -> Option<&mut Candidate> {
        usize::try_from(ordinal)
            .ok()
            .and_then(|index| self.work.candidates.get_mut(index))
    }

    /// Sets a candidate's fate, by its ordinal in the temporary table.
    pub(super) fn decide(&mut self, ordinal: i32, fate: Fate) {
        if let Some(candidate) = self.candidate(ordinal) {
            candidate.fate = fate;
        }
    }

    /// Empties a temporary table. Deleting is quick for a few rows; after many the file is cut, or
    /// it would grow for ever.
    pub(super) async fn empty(&mut self, table: TableId, rows: u64) -> Result<(), ApplyError> {
        let cut = self.session.filled(table.0, rows);
        let sql = &self.model.table(table).sql.empty[usize::from(cut)];
        self.session.client().batch_execute(sql).await?;
        Ok(())
    }

    /// Empties a temporary table of deletes.
    pub(super) async fn empty_deletes(
        &mut self,
        table: TableId,
        rows: u64,
    ) -> Result<(), ApplyError> {
        let cut = self.session.filled(self.model.tables.len() + table.0, rows);
        let verb = if cut { "truncate" } else { "delete from" };
        let sql = format!("{verb} pg_temp.lc_{}_deletes", table.0);
        self.session.client().batch_execute(&sql).await?;
        Ok(())
    }

    /// Compares with what is parked, and takes along what waits for the rows of the batch. What was
    /// parked may have been given a dead letter while its lock was waited for.
    pub(super) async fn pull_along(&mut self) -> Result<(), ApplyError> {
        if !self.flags.parked {
            return Ok(());
        }
        let rows: Vec<&RowId> = self.work.by_row.keys().collect();
        let own = parking::lock_own(self.session, self.model, &rows).await?;
        for parked in own {
            self.known.insert(parked.row.clone());
            self.flags.dead_letters = true;
            let Some(&index) = self.work.by_row.get(&parked.row) else {
                continue;
            };
            let candidate = &mut self.work.candidates[index];
            if parked.stamp.version > candidate.stamp.version {
                candidate.fate = Fate::Done(Outcome::Stale);
            } else {
                candidate.incomplete =
                    parked.incomplete && parked.stamp.version == candidate.stamp.version;
                self.overtaken.push(parked);
            }
        }
        let mut parents: Vec<RowId> = self.upsert_rows(self.work.by_row.keys());
        while !parents.is_empty() && self.pulled.len() < parking::PULLED_MAX {
            let wanted: Vec<&RowId> = parents.iter().collect();
            let waiting = parking::pull_waiters(self.session, self.model, &wanted).await?;
            let mut next = Vec::new();
            for parked in waiting {
                // Whose turn it is not, the settling task will find.
                let table = parked.row.0;
                if self.model.table(table).natural_key && !turns::attempt(self, table).await? {
                    continue;
                }
                // What the batch has a record for, it was compared with above.
                if self.known.insert(parked.row.clone())
                    && !self.work.by_row.contains_key(&parked.row)
                {
                    next.push(parked.row.clone());
                    self.adopt(parked, false);
                }
            }
            parents = self.upsert_rows(next.iter());
        }
        // They come from other partitions, which may have had deletes where this one had none.
        self.tombstones |= !self.pulled.is_empty();
        Ok(())
    }

    /// Of these, the rows that are to be written and that other rows may point to, by their keys; those
    /// of documents that are looked up also by the documents' keys.
    fn upsert_rows<'r>(&self, rows: impl Iterator<Item = &'r RowId>) -> Vec<RowId> {
        rows.filter(|row| !self.model.table(row.0).sql.referenced_deletes.is_empty())
            .filter_map(|row| {
                let candidate = &self.work.candidates[*self.work.by_row.get(row)?];
                let key = candidate.row_key(self.rows);
                let key = key.filter(|_| candidate.fate == Fate::Open)?;
                let told = self.model.table(row.0).natural_key.then(|| row.clone());
                Some([Some((row.0, key.to_vec())), told])
            })
            .flatten()
            .flatten()
            .collect()
    }

    /// Makes a parked document a candidate. It may have been given a dead letter while its lock was
    /// waited for.
    pub(super) fn adopt(&mut self, parked: Parked, null_missing: bool) {
        self.flags.dead_letters = true;
        let collection = parked.provenance.collection;
        let prepared = decode::prepare(
            self.model,
            collection,
            Some(&parked.record_value),
            self.rows,
        );
        let candidate = |stamp, wish, fate| Candidate {
            from: From::Parked {
                orphan: parked.orphan,
                pulled: self.pulled.len(),
            },
            provenance: parked.provenance.clone(),
            root: parked.row.0,
            key: parked.row.1.clone(),
            stamp,
            wish,
            null_missing: null_missing || (parked.orphan && !parked.unique),
            nulled: false,
            incomplete: parked.incomplete,
            lacks: None,
            fate,
        };
        let made = match prepared {
            Prepared::Write { stamp, parts } => parts
                .into_iter()
                .find(|part| part.root == parked.row.0)
                .map(|part| (stamp, part.wish)),
            Prepared::Ignored | Prepared::Refused { .. } => None,
        };
        // If it has none, it was parked under another mapping, by which it could be rows. It stays
        // parked until its topic is replayed.
        let Some((stamp, wish @ Wish::Upsert(_))) = made else {
            return;
        };
        let candidate = candidate(stamp, wish, Fate::Open);
        self.work.offer(parked.row.clone(), candidate);
        self.pulled.push(parked);
    }

    /// Steps 3 to 5.
    pub(super) async fn write(&mut self, records: &[Record]) -> Result<(), ApplyError> {
        let roots: Vec<TableId> = (0..self.model.tables.len())
            .map(TableId)
            .filter(|&id| self.model.table(id).above.is_empty())
            .collect();
        for &root in &roots {
            if self.model.table(root).natural_key {
                keys::write_documents(self, root, records).await?;
            } else {
                upserts::upsert_documents(self, root).await?;
            }
        }
        for &root in roots.iter().rev() {
            if self.model.table(root).natural_key {
                keys::delete_vacant(self, root).await?;
            } else {
                deletes::delete_documents(self, root).await?;
            }
        }
        self.settle_parked(records).await
    }

    async fn settle_parked(&mut self, records: &[Record]) -> Result<(), ApplyError> {
        let mut park = Vec::new();
        let mut remove: Vec<(RowId, Version)> = Vec::new();
        for candidate in &self.work.candidates {
            let row = (candidate.root, candidate.key.clone());
            let waits = match candidate.fate {
                Fate::Waits(obstacle) => Some(obstacle),
                Fate::Done(_) | Fate::Open => candidate.lacks,
            };
            match (candidate.fate, &candidate.wish) {
                (_, Wish::Upsert(rows)) if let Some(obstacle) = waits => {
                    let (record_key, record_value, orphan, counted) = match candidate.from {
                        From::Batch(index) => {
                            let delivery = &records[index].delivery;
                            let value = delivery.value.as_deref().unwrap_or_default();
                            (&*delivery.key, value, false, false)
                        }
                        From::Parked { pulled, orphan } => {
                            let parked = &self.pulled[pulled];
                            let (key, value) = (&*parked.record_key, &*parked.record_value);
                            (key, value, orphan, parked.incomplete)
                        }
                        From::Kept(kept) => {
                            let kept = &self.kept[kept];
                            (&*kept.record_key, &*kept.record_value, false, true)
                        }
                    };
                    park.push(ToPark {
                        row,
                        stamp: candidate.stamp,
                        obstacle,
                        encoded: rows.start,
                        orphan,
                        incomplete: counted || candidate.lacks.is_some(),
                        provenance: &candidate.provenance,
                        record_key,
                        record_value,
                    });
                }
                // An orphan that was written without its parent waits on, in case it comes.
                (Fate::Done(Outcome::Applied | Outcome::Unchanged), _) if candidate.nulled => {}
                _ if self.known.contains(&row) => remove.push((row, candidate.stamp.version)),
                _ => {}
            }
        }
        let rows = (&*self.rows, &self.lookups);
        parking::write(self.session, self.model, self.group, rows, &park).await?;
        let list: Vec<_> = remove
            .iter()
            .map(|(row, version)| (row, *version))
            .collect();
        parking::remove(self.session, self.model, &list).await?;
        self.account_settled().await
    }

    /// Moves parked records among the outcomes. A record that waits in several tables is settled when
    /// it waits in none any more.
    async fn account_settled(&mut self) -> Result<(), ApplyError> {
        let mut moved: Vec<(Provenance, usize, bool)> = Vec::new();
        for parked in self.overtaken.iter().filter(|parked| !parked.incomplete) {
            let Some(&index) = self.work.by_row.get(&parked.row) else {
                continue;
            };
            let candidate = &self.work.candidates[index];
            // Parked again under the newer record, the older one is overtaken all the same. The
            // same version again stays the orphan that it was.
            let stays = matches!(candidate.fate, Fate::Waits(_))
                && candidate.stamp.version == parked.stamp.version;
            moved.push((parked.provenance.clone(), 1, parked.orphan && !stays));
        }
        for candidate in &self.work.candidates {
            let From::Parked { orphan, pulled } = candidate.from else {
                continue;
            };
            if self.pulled[pulled].incomplete {
                continue;
            }
            let slot = match candidate.outcome() {
                Outcome::Applied | Outcome::Unchanged => 0,
                Outcome::Stale => 1,
                Outcome::Deleted
                | Outcome::Held
                | Outcome::Filtered
                | Outcome::Parked
                | Outcome::Ignored
                | Outcome::DeadLettered => continue,
            };
            moved.push((candidate.provenance.clone(), slot, orphan));
        }
        self.leave_unsettled(&mut moved).await?;
        for (provenance, slot, orphan) in moved {
            let at = (provenance.collection, provenance.partition);
            let entry = self.settled.entry(at).or_default();
            entry[slot] += 1;
            if orphan {
                entry[2] -= 1;
            }
        }
        Ok(())
    }

    /// Leaves out records that wait in another table still, and those that stand there twice.
    async fn leave_unsettled(
        &mut self,
        moved: &mut Vec<(Provenance, usize, bool)>,
    ) -> Result<(), ApplyError> {
        let model = self.model;
        let several = |p: &Provenance| model.collections[p.collection].roots.len() > 1;
        if !moved.iter().any(|(p, ..)| several(p)) {
            return Ok(());
        }
        let mut seen = BTreeSet::new();
        moved.retain(|(p, ..)| !several(p) || seen.insert((p.collection, p.partition, p.offset)));
        let origins = moved.iter().map(|(p, ..)| p).filter(|p| several(p));
        let waiting = parking::still_parked(self.session, model, origins).await?;
        moved.retain(|(p, ..)| {
            let origin = (p.collection, p.partition, p.offset);
            !several(p) || !waiting.contains(&origin)
        });
        Ok(())
    }

    fn released(&self) -> BTreeMap<Partition, i64> {
        self.settled
            .iter()
            .filter(|(_, n)| n[0] > 0)
            .map(|(p, n)| (*p, n[0]))
            .collect()
    }

    /// Notes that a parked document became a dead letter.
    pub(super) fn settled_dead_letter(&mut self, provenance: &Provenance) {
        self.settled
            .entry((provenance.collection, provenance.partition))
            .or_default()[2] += 1;
    }
}

/// Adds what became of parked records to this process's own counters.
pub(super) async fn count_settled(t: &mut Transaction<'_>) -> Result<(), ApplyError> {
    const ADD: &str = "\
        insert into leafcutter.settled as s (consumer_group, topic, partition, consumer, applied, stale, dead_lettered) \
        values ($1, $2, $3, $4, $5, $6, $7) \
        on conflict (consumer_group, topic, partition, consumer) do update set \
        applied = s.applied + excluded.applied, stale = s.stale + excluded.stale, \
        dead_lettered = s.dead_lettered + excluded.dead_lettered";
    for ((collection, partition), n) in std::mem::take(&mut t.settled) {
        let topic = &t.model.collections[collection].topic;
        let statement = t.session.prepared(ADD).await?;
        t.session
            .client()
            .execute(
                &statement,
                &[
                    &t.group,
                    topic,
                    &partition,
                    &t.consumer,
                    &n[0],
                    &n[1],
                    &n[2],
                ],
            )
            .await?;
    }
    Ok(())
}

async fn count(
    t: &mut Transaction<'_>,
    records: &[Record],
    counts: &BTreeMap<Partition, Counts>,
) -> Result<(), ApplyError> {
    const ADD: &str = "\
        update leafcutter.offsets set applied = applied + $4, unchanged = unchanged + $5, \
        stale = stale + $6, deleted = deleted + $7, held = held + $8, filtered = filtered + $9, \
        parked = parked + $10, ignored = ignored + $11, dead_lettered = dead_lettered + $12, \
        has_events = has_events or $13, has_tombstones = has_tombstones or $14, \
        source_time = greatest(source_time, $15) \
        where consumer_group = $1 and topic = $2 and partition = $3";
    let mut times: BTreeMap<Partition, (bool, bool, i64)> = BTreeMap::new();
    for record in records {
        let (stamp, delete) = match &record.prepared {
            // What a filter leaves out leaves a tombstone, too.
            Prepared::Write { stamp, parts } => {
                (stamp, parts.iter().any(|part| part.wish.is_delete()))
            }
            Prepared::Ignored | Prepared::Refused { .. } => continue,
        };
        let entry = times
            .entry((record.delivery.collection, record.delivery.partition))
            .or_default();
        entry.0 |= stamp.event;
        entry.1 |= delete;
        entry.2 = entry.2.max(stamp.version.as_i64());
    }
    let statement = t.session.prepared(ADD).await?;
    let updates = counts.iter().map(|((collection, partition), counted)| {
        let topic = &t.model.collections[*collection].topic;
        let n: Vec<i64> = Outcome::ALL
            .iter()
            .map(|&outcome| counted.of(outcome))
            .collect();
        let (events, deletes, time) = times
            .get(&(*collection, *partition))
            .copied()
            .unwrap_or_default();
        let client = t.session.client();
        let (statement, group) = (&statement, t.group);
        async move {
            client
                .execute(
                    statement,
                    &[
                        &group, topic, partition, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6],
                        &n[7], &n[8], &events, &deletes, &time,
                    ],
                )
                .await
        }
    });
    // Sent together, so that they cost one round trip.
    futures_util::future::try_join_all(updates).await?;
    Ok(())
}

/// The row of the dead letters' index, written in the transaction that moves past the record.
pub(super) const LIST_DEAD_LETTER: &str = "\
    insert into leafcutter.dead_letters as d (topic, partition, \"offset\", table_name, row_key, \
    source_key, version, stage, reason, column_name, path, sqlstate, message, consumer_group, mapping) \
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
    on conflict (topic, partition, \"offset\") do update set state = 'open', \
    reason = excluded.reason, column_name = excluded.column_name, path = excluded.path, \
    sqlstate = excluded.sqlstate, message = excluded.message, stage = excluded.stage, \
    mapping = excluded.mapping, created_at = now() \
    where d.state = 'open' and (d.mapping, d.reason, d.column_name) is distinct from \
    (excluded.mapping, excluded.reason, excluded.column_name)";

/// Lists the refused records; whether there are any.
async fn list_refused(t: &mut Transaction<'_>, records: &[Record]) -> Result<bool, ApplyError> {
    let mut any = false;
    for record in records {
        let Prepared::Refused {
            reason,
            key,
            version,
        } = &record.prepared
        else {
            continue;
        };
        any = true;
        let delivery = &record.delivery;
        let provenance = Provenance {
            collection: delivery.collection,
            partition: delivery.partition,
            offset: delivery.offset,
            timestamp: delivery.timestamp,
        };
        let root = t.model.collections[delivery.collection].roots[0];
        list_dead_letter(
            t,
            (&provenance, root),
            reason,
            key.as_deref(),
            &delivery.key,
            *version,
        )
        .await?;
    }
    Ok(any)
}

pub(super) async fn list_dead_letter(
    t: &mut Transaction<'_>,
    (provenance, root): (&Provenance, TableId),
    reason: &Reason,
    row_key: Option<&[u8]>,
    record_key: &[u8],
    version: Option<Version>,
) -> Result<(), ApplyError> {
    let collection = &t.model.collections[provenance.collection];
    let table = &t.model.table(root).state_name;
    let source_key = String::from_utf8_lossy(record_key).replace('\0', "\u{fffd}");
    let statement = t.session.prepared(LIST_DEAD_LETTER).await?;
    t.session
        .client()
        .execute(
            &statement,
            &[
                &collection.topic,
                &provenance.partition,
                &provenance.offset,
                table,
                &row_key,
                &source_key,
                &version.map(Version::as_i64),
                &reason.stage.as_str(),
                &reason.code,
                &reason.column,
                &reason.path,
                &reason.sqlstate,
                &reason.message,
                &t.group,
                &t.model.mapping.hash,
            ],
        )
        .await?;
    Ok(())
}
