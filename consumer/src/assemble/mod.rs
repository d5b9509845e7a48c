//! The assembler: deliveries into batches, and what a partition goes through before it delivers.
//!
//! A partition that is assigned is taken over in PostgreSQL (a new epoch, F4), waits at the gate of
//! its collection, is read from the offset that PostgreSQL has, and only then delivers
//! ([`partitions`]). Everything else that arrives for it is dropped here: offsets must follow each
//! other without a gap (F5).
//! A batch is whatever has arrived when the writer is free, up to a limit, so that it is small when little comes and
//! large when much does; its documents become rows here, while the writer is busy with the batch before.

mod error;
mod partitions;
#[cfg(test)]
mod tests;

use self::partitions::{Next, Partitions};
pub use self::{error::AssembleError, partitions::SharedPositions};
use crate::{
    drift::SharedDrift,
    gate::Gate,
    handover::Giver,
    metrics,
    pause::Pauses,
    source::event::{Command, Event, Membership},
};
use leafcutter_runtime::{
    admin::{Condition, Health},
    budget::Permit,
    report::causes,
    shutdown::Shutdown,
};
use leafcutter_sink::{
    ApplyError,
    change::{Delivery, Record},
    connection::Connection,
    decode,
    ids::{Generation, Partition},
    model::Model,
    state::{
        breakers::{self, BreakerRow},
        mappings,
        offsets::Position,
        schema::{self, LAYOUT},
    },
    transform::Rows,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc as std_mpsc},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// What the writer gets.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records, in order within each partition.
    pub records: Vec<Record>,
    /// Their encoded rows.
    pub rows: Rows,
    /// The epoch under which each partition was taken over.
    pub epochs: BTreeMap<Partition, i64>,
    /// The bytes they hold of the budget.
    pub permits: Vec<Permit>,
}

impl Batch {
    /// An empty one with room for as much as `like` holds, in powers of two: a batch that grew step
    /// by step would leave as much behind as it is large, and in ever new sizes.
    pub fn sized_like(like: &Self) -> Self {
        Self {
            records: Vec::with_capacity(like.records.len().next_power_of_two()),
            rows: Rows::sized_like(&like.rows),
            ..Self::default()
        }
    }
}

/// What the writer tells the assembler.
#[derive(Debug)]
pub enum WriterEvent {
    /// These positions are committed.
    Committed(Vec<(Partition, i64)>),
    /// The partition, taken over under this epoch, is another consumer's now, or its records were
    /// given up: it has to be taken over again.
    Lost(Partition, i64),
}

/// The limits of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Bytes of records and of their rows.
    pub bytes: usize,
}

/// The assembler.
pub struct Assembler {
    model: Arc<Model>,
    connection: Connection,
    gate: Gate,
    pauses: Pauses,
    partitions: Partitions,
    limits: Limits,
    commands: std_mpsc::Sender<Command>,
    drift: SharedDrift,
    ready: Condition,
    postgres: Condition,
    retained: Condition,
    /// Whether this group ever had an assignment.
    joined: bool,
    /// Whether an open breaker stops the program.
    obeys_breaker: bool,
    health: Health,
    batch: Batch,
    bytes: usize,
    checked: Instant,
}

impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembler")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// How long PostgreSQL may take to tell where partitions stand.
const ANSWER: Duration = Duration::from_secs(10);
/// How long taking a partition over may take: it may wait for a lock (`lock_timeout`), and ends then.
const TAKE_OVER: Duration = Duration::from_secs(30);
/// How often it is looked at where assigned partitions stand.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(200);
impl Assembler {
    /// An assembler that takes partitions over through `connection`.
    pub fn new(
        connection: Connection,
        gate: Gate,
        limits: Limits,
        commands: std_mpsc::Sender<Command>,
        drift: SharedDrift,
        health: &Health,
        obeys_breaker: bool,
    ) -> Self {
        let model = Arc::clone(connection.model());
        let ready = health.condition("partitions");
        ready.set(false, "waiting for the consumer group");
        // The preflight has just been there.
        let postgres = health.condition("postgres");
        postgres.set(true, "");
        let retained = health.condition("retention");
        retained.set(true, "");
        Self {
            pauses: Pauses::new(Arc::clone(&model), health),
            model,
            connection,
            gate,
            partitions: Partitions::default(),
            limits,
            commands,
            drift,
            ready,
            postgres,
            retained,
            joined: false,
            obeys_breaker,
            health: health.clone(),
            batch: Batch::default(),
            bytes: 0,
            checked: Instant::now(),
        }
    }

    /// Runs until the shutdown; `positions` has where the partitions stand at every tick.
    ///
    /// # Errors
    /// When records are lost: see [`AssembleError`].
    pub async fn run(
        mut self,
        (mut events, mut membership): (mpsc::Receiver<Event>, mpsc::UnboundedReceiver<Membership>),
        batches: Giver<Batch>,
        mut writer: mpsc::UnboundedReceiver<WriterEvent>,
        shutdown: Shutdown,
        positions: SharedPositions,
    ) -> Result<(), AssembleError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !shutdown.is_triggered() {
            let any = !self.batch.records.is_empty();
            let full = !self.has_room();
            tokio::select! {
                biased;
                () = shutdown.wait() => break,
                Some(event) = writer.recv() => self.writer_event(event),
                _ = tick.tick() => {
                    self.health.beat("assembler");
                    tokio::select! {
                        maintained = self.maintain() => maintained?,
                        // PostgreSQL may take long to answer.
                        () = shutdown.wait() => break,
                    }
                    positions.set(self.partitions.positions());
                }
                // Before the records that follow from it.
                Some(change) = membership.recv() => self.membership(change),
                // What has come goes along.
                event = events.recv(), if !full => match event {
                    Some(event) => self.event(event)?,
                    None => break,
                },
                permit = batches.time(full), if any => match permit {
                    Some(permit) => {
                        self.bytes = 0;
                        let next = Batch::sized_like(&self.batch);
                        let mut batch = std::mem::replace(&mut self.batch, next);
                        self.drift.add(batch.rows.take_unmapped());
                        permit.send(batch);
                    }
                    None => break,
                },
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.batch.records.len() < self.limits.records && self.bytes < self.limits.bytes
    }

    fn membership(&mut self, change: Membership) {
        match change {
            Membership::Assigned(list) => {
                tracing::info!(partitions = list.len(), "assigned");
                self.joined = true;
                for partition in list {
                    self.partitions.assign(partition);
                }
            }
            Membership::Revoked(list) => {
                tracing::info!(partitions = list.len(), "revoked");
                for partition in list {
                    self.partitions.revoke(partition);
                }
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), AssembleError> {
        match event {
            Event::Ready(partition, generation) => self.partitions.ready(partition, generation),
            Event::Deliveries(list, permit) => {
                let before = self.batch.records.len();
                for delivery in list {
                    self.deliver(delivery)?;
                }
                // Records of partitions that are not ours any more are nobody's, and take up nothing. A batch without
                // records is not handed over: it would hold the bytes for ever, and no more records come without them.
                if self.batch.records.len() > before {
                    self.batch.permits.push(permit);
                }
            }
            Event::Expired(expired) => {
                if self.partitions.expire(expired) {
                    let topic = &self.model.collection(expired.partition.collection).topic;
                    tracing::error!(
                        topic,
                        partition = expired.partition.number,
                        next = expired.next,
                        first = expired.first,
                        "Kafka has removed records before they were applied; leaving the partition alone"
                    );
                    self.tell_expired();
                }
            }
            Event::Lost(why) => return Err(AssembleError::Lost(why)),
        }
        Ok(())
    }

    /// Says which collections lack records.
    fn tell_expired(&self) {
        let mut lacking: BTreeMap<&str, i64> = BTreeMap::new();
        for expired in self.partitions.expired() {
            let name = &self.model.collection(expired.partition.collection).name;
            *lacking.entry(name).or_default() += expired.first - expired.next;
        }
        let each = lacking.iter().map(|(name, records)| {
            format!(
                "Kafka has removed {records} records of {name} before they were applied; read it \
                 again: leafcutter resnapshot {name}"
            )
        });
        let each: Vec<String> = each.collect();
        self.retained.set(each.is_empty(), each.join("; "));
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<(), AssembleError> {
        let (partition, offset) = (delivery.origin.partition, delivery.origin.offset);
        let epoch = match self.partitions.next(partition, offset) {
            Next::Take(epoch) => epoch,
            Next::Drop => return Ok(()),
            Next::Compare(last) if last == delivery.fingerprint() => return Ok(()),
            Next::Compare(_) => {
                return Err(AssembleError::Another {
                    topic: self.model.collection(partition.collection).topic.clone(),
                    partition: partition.number,
                    offset,
                });
            }
            Next::Missing(expected) => {
                return Err(AssembleError::Gap {
                    topic: self.model.collection(partition.collection).topic.clone(),
                    partition: partition.number,
                    expected,
                    found: offset,
                });
            }
        };
        self.batch.epochs.insert(partition, epoch);
        let value = delivery.value.as_deref();
        let rows_before = self.batch.rows.bytes();
        let prepared = decode::prepare(
            &self.model,
            partition.collection,
            value,
            &mut self.batch.rows,
        );
        // Both are assigned until the batch is committed.
        self.bytes += delivery.bytes() + self.batch.rows.bytes() - rows_before;
        self.batch.records.push(Record { delivery, prepared });
        Ok(())
    }

    fn writer_event(&mut self, event: WriterEvent) {
        match event {
            WriterEvent::Committed(positions) => {
                for &(partition, next) in &positions {
                    self.partitions.committed(partition, next);
                }
                // The thread outlives the assembler unless the program is ending.
                self.commands
                    .send(Command::Commit(positions))
                    .unwrap_or_default();
            }
            WriterEvent::Lost(partition, epoch) => self.partitions.lose(partition, epoch),
        }
    }

    /// Takes over what is unclaimed and opens gates.
    async fn maintain(&mut self) -> Result<(), AssembleError> {
        for partition in self.partitions.claimable() {
            let taken = tokio::time::timeout(TAKE_OVER, self.connection.take_over(partition));
            let taken = taken
                .await
                .unwrap_or_else(|_| Err(ApplyError::silent(TAKE_OVER)));
            match taken {
                Ok(taken) => self.partitions.taken_over(partition, taken),
                Err(ApplyError::Mapping { ours, in_force }) => {
                    return Err(AssembleError::Mapping { ours, in_force });
                }
                Err(error) => {
                    let text = causes(&error);
                    tracing::warn!(error = text, "cannot take a partition over, trying again");
                    let why = format!("cannot take partitions over in PostgreSQL: {text}");
                    self.ready.set(false, why);
                    return self.check().await;
                }
            }
        }
        self.open_gates().await;
        self.check().await
    }

    /// Finds out about partitions that another consumer took, that a person rewound, or whose last
    /// positions PostgreSQL lost in a crash: a writer learns that at its next batch, which may be
    /// far away. Also whether PostgreSQL is there, though nothing comes; whether a newer Leafcutter has
    /// migrated it, another mapping is in force, or another consumer's breaker is open.
    async fn check(&mut self) -> Result<(), AssembleError> {
        if self.checked.elapsed() < CHECK_EVERY {
            return Ok(());
        }
        self.checked = Instant::now();
        // A server that takes a question and gives no answer is away, too.
        let looked = tokio::time::timeout(ANSWER, self.look()).await;
        let looked = looked.unwrap_or_else(|_| Err(ApplyError::silent(ANSWER)));
        let (positions, layout, in_force, open) = match looked {
            Ok(found) => found,
            Err(error) => {
                let text = causes(&error);
                tracing::debug!(
                    error = text,
                    "cannot look where partitions stand, trying again"
                );
                self.postgres.set(false, text);
                return Ok(());
            }
        };
        self.postgres.set(true, "");
        if layout > LAYOUT {
            return Err(AssembleError::Layout(layout));
        }
        let ours = self.connection.generation();
        if in_force != ours {
            return Err(AssembleError::Mapping { ours, in_force });
        }
        if self.obeys_breaker && !open.is_empty() {
            return Err(AssembleError::Breaker(open));
        }
        self.partitions.compare(&positions);
        self.hold_paused();
        Ok(())
    }

    /// Stops reading what a person has paused.
    fn hold_paused(&mut self) {
        let pauses = &self.pauses;
        let held = self
            .partitions
            .hold(|partition| pauses.hold(partition.collection));
        for partition in held {
            self.commands
                .send(Command::Hold(partition))
                .unwrap_or_default();
        }
    }

    async fn look(
        &mut self,
    ) -> Result<
        (
            BTreeMap<Partition, Position>,
            usize,
            Generation,
            Vec<BreakerRow>,
        ),
        ApplyError,
    > {
        let positions = self.connection.positions().await?;
        let group = self.connection.group().to_owned();
        let session = self.connection.session().await?;
        let layout = schema::layout(session).await?;
        let in_force = mappings::generation(session, &group).await?;
        let open = breakers::open(session, &group).await?;
        self.pauses.refresh(&mut self.connection).await?;
        Ok((positions, layout, in_force, open))
    }

    async fn open_gates(&mut self) {
        if self.partitions.any_gated() {
            let looked = tokio::time::timeout(ANSWER, async {
                self.gate.refresh(&mut self.connection).await?;
                self.pauses.refresh(&mut self.connection).await
            });
            let looked = looked
                .await
                .unwrap_or_else(|_| Err(ApplyError::silent(ANSWER)));
            if let Err(error) = looked {
                let error = causes(&error);
                tracing::warn!(error, "cannot look at gates and pauses, trying again");
                return;
            }
            let (gate, pauses) = (&self.gate, &self.pauses);
            let may_go = |partition: Partition| {
                gate.is_open(partition.collection) && !pauses.hold(partition.collection)
            };
            for read in self.partitions.let_through(may_go) {
                self.commands.send(read).unwrap_or_default();
            }
        }
        self.tell_expired();
        let waiting = self.partitions.unclaimed();
        if self.joined {
            let why = format!("{waiting} partitions are not taken over yet");
            self.ready.set(waiting == 0, why);
        }
        metrics::partitions(self.partitions.len());
    }
}
