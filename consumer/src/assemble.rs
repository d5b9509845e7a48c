//! The assembler: deliveries into batches, and the life of a partition from assignment to loss.
//!
//! A partition that is assigned is taken over in PostgreSQL (a new epoch, F4), waits at the gate of
//! its collection, is read from the offset that PostgreSQL has, and only then delivers. Everything
//! else that arrives for it is dropped here: offsets must follow each other without a gap (F5).
//! A batch is whatever has arrived, up to a limit, so that it is small when little comes and large
//! when much does; its documents become rows here, while the writer is busy with the batch before.

use crate::{
    decode::{self, Record},
    gate::Gate,
    metrics,
    model::Model,
    sink::{ApplyError, apply::Applier, fence::Fence},
    source::{
        Delivery,
        poll::{Command, Event, Partition},
    },
    transform::Rows,
};
use leafcutter_runtime::{
    admin::{Condition, Health},
    budget::Permit,
    shutdown::Shutdown,
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

    /// The fence rows of these records.
    pub fn fences(&self, records: &[Record]) -> Vec<Fence> {
        let mut fences: BTreeMap<Partition, Fence> = BTreeMap::new();
        for record in records {
            let Delivery {
                collection,
                partition,
                offset,
                ..
            } = record.delivery;
            let key = (collection, partition);
            let epoch = self.epochs.get(&key).copied().unwrap_or_default();
            fences
                .entry(key)
                .and_modify(|fence| fence.next = offset + 1)
                .or_insert(Fence {
                    collection,
                    partition,
                    epoch,
                    expected: offset,
                    next: offset + 1,
                });
        }
        fences.into_values().collect()
    }
}

/// What the writer tells the assembler.
#[derive(Debug)]
pub enum Told {
    /// These positions are committed.
    Committed(Vec<(Partition, i64)>),
    /// The partition, taken over under this epoch, is somebody else's now, or its records were
    /// given up: it has to be taken over again.
    Lost(Partition, i64),
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be taken over, not before this moment.
    Owed(Instant),
    /// Taken over; the gate of its collection is closed.
    Gated,
    /// The poll thread was asked to read it.
    Seeking,
    /// Delivering.
    Reading,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    state: State,
    generation: u64,
    epoch: i64,
    expected: i64,
    committed: i64,
}

/// The limits of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Bytes of records and of their rows.
    pub bytes: usize,
}

/// Why the assembler stops.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// Kafka no longer has what is to be read next.
    #[error("Kafka has no longer what is to be read next: {0}")]
    Lost(String),
    /// An offset is missing between two records.
    #[error(
        "topic `{topic}` partition {partition}: offset {expected} is missing, the next record is {found}"
    )]
    Gap {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset that should have come.
        expected: i64,
        /// The offset that came.
        found: i64,
    },
}

/// The assembler.
pub struct Assembler {
    model: Arc<Model>,
    applier: Applier,
    gate: Gate,
    partitions: BTreeMap<Partition, Held>,
    generation: u64,
    limits: Limits,
    commands: std_mpsc::Sender<Command>,
    ready: Condition,
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

/// How often it is looked at where held partitions stand.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(200);
/// How long a partition that somebody else took is left alone while Kafka still names us (F3).
const LOST_WAIT: Duration = Duration::from_millis(500);

impl Assembler {
    /// An assembler that takes partitions over through `applier`.
    pub fn new(
        model: Arc<Model>,
        applier: Applier,
        gate: Gate,
        limits: Limits,
        commands: std_mpsc::Sender<Command>,
        health: &Health,
    ) -> Self {
        let ready = health.condition("partitions");
        ready.set(false, "waiting for the consumer group");
        Self {
            model,
            applier,
            gate,
            partitions: BTreeMap::new(),
            generation: 0,
            limits,
            commands,
            ready,
            health: health.clone(),
            batch: Batch::default(),
            bytes: 0,
            checked: Instant::now(),
        }
    }

    /// How many partitions are held.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Runs until the shutdown. `present` is called at every tick with the number of partitions.
    ///
    /// # Errors
    /// When records are lost: see [`AssembleError`].
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        batches: mpsc::Sender<Batch>,
        mut told: mpsc::UnboundedReceiver<Told>,
        shutdown: Shutdown,
        partitions: Arc<std::sync::atomic::AtomicUsize>,
    ) -> Result<(), AssembleError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !shutdown.is_triggered() {
            let room = !self.batch.records.is_empty();
            tokio::select! {
                biased;
                () = shutdown.wait() => break,
                Some(told) = told.recv() => self.told(told),
                _ = tick.tick() => {
                    self.health.beat("assembler");
                    self.tend().await;
                    partitions.store(self.partitions.len(), std::sync::atomic::Ordering::Relaxed);
                }
                permit = batches.reserve(), if room => match permit {
                    Ok(permit) => {
                        self.bytes = 0;
                        let next = Batch::sized_like(&self.batch);
                        permit.send(std::mem::replace(&mut self.batch, next));
                    }
                    Err(_) => break,
                },
                event = events.recv(), if self.has_room() => match event {
                    Some(event) => self.event(event)?,
                    None => break,
                },
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.batch.records.len() < self.limits.records && self.bytes < self.limits.bytes
    }

    fn event(&mut self, event: Event) -> Result<(), AssembleError> {
        match event {
            Event::Assigned(list) => {
                tracing::info!(partitions = list.len(), "assigned");
                for partition in list {
                    self.owe(partition, Instant::now());
                }
            }
            Event::Revoked(list) => {
                tracing::info!(partitions = list.len(), "revoked");
                for partition in &list {
                    self.partitions.remove(partition);
                }
            }
            Event::Ready(partition, generation) => {
                if let Some(held) = self.partitions.get_mut(&partition)
                    && held.generation == generation
                {
                    held.state = State::Reading;
                }
            }
            Event::Deliveries(list, permit) => {
                for delivery in list {
                    self.deliver(delivery)?;
                }
                self.batch.permits.push(permit);
            }
            Event::Lost(why) => return Err(AssembleError::Lost(why)),
        }
        Ok(())
    }

    fn owe(&mut self, partition: Partition, not_before: Instant) {
        self.generation += 1;
        let held = Held {
            state: State::Owed(not_before),
            generation: self.generation,
            epoch: 0,
            expected: 0,
            committed: 0,
        };
        self.partitions.insert(partition, held);
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<(), AssembleError> {
        let partition = (delivery.collection, delivery.partition);
        let Some(held) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        if held.state != State::Reading || delivery.offset < held.expected {
            return Ok(());
        }
        if delivery.offset > held.expected {
            return Err(AssembleError::Gap {
                topic: self.model.collections[partition.0].topic.clone(),
                partition: partition.1,
                expected: held.expected,
                found: delivery.offset,
            });
        }
        held.expected += 1;
        self.batch.epochs.insert(partition, held.epoch);
        let value = delivery.value.as_deref();
        let rows_before = self.batch.rows.bytes();
        let prepared = decode::prepare(&self.model, partition.0, value, &mut self.batch.rows);
        // Both are held until the batch is committed.
        self.bytes += delivery.bytes() + self.batch.rows.bytes() - rows_before;
        self.batch.records.push(Record { delivery, prepared });
        Ok(())
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Committed(positions) => {
                for (partition, next) in &positions {
                    if let Some(held) = self.partitions.get_mut(partition)
                        && held.state == State::Reading
                    {
                        held.committed = *next;
                    }
                }
                // The thread outlives the assembler unless the program is ending.
                self.commands
                    .send(Command::Commit(positions))
                    .unwrap_or_default();
            }
            Told::Lost(partition, epoch) => {
                if self
                    .partitions
                    .get(&partition)
                    .is_some_and(|held| held.epoch == epoch)
                {
                    self.owe(partition, Instant::now() + LOST_WAIT);
                }
            }
        }
    }

    /// Takes over what is owed and opens gates.
    async fn tend(&mut self) {
        let now = Instant::now();
        let owed: Vec<Partition> = self
            .partitions
            .iter()
            .filter(|(_, held)| matches!(held.state, State::Owed(at) if at <= now))
            .map(|(partition, _)| *partition)
            .collect();
        for partition in owed {
            match self.applier.take_over(partition.0, partition.1).await {
                Ok((epoch, next)) => {
                    if let Some(held) = self.partitions.get_mut(&partition) {
                        held.epoch = epoch;
                        held.expected = next;
                        held.state = State::Gated;
                    }
                }
                Err(error) => {
                    self.ready
                        .set(false, "cannot take partitions over in PostgreSQL");
                    tracing::warn!(error = %describe(&error), "cannot take a partition over, trying again");
                    return;
                }
            }
        }
        self.open_gates().await;
        self.check().await;
    }

    /// Finds out about partitions that somebody else took, that a person rewound, or whose last
    /// positions PostgreSQL lost in a crash: a writer learns that at its next batch, which may be
    /// far away.
    async fn check(&mut self) {
        if self.checked.elapsed() < CHECK_EVERY {
            return;
        }
        self.checked = Instant::now();
        let standing = match self.applier.standing().await {
            Ok(standing) => standing,
            Err(error) => {
                tracing::debug!(error = %describe(&error), "cannot look where partitions stand, trying again");
                return;
            }
        };
        // A position that was told of is committed, so whoever looks later sees it or what follows.
        let lost: Vec<Partition> = self
            .partitions
            .iter()
            .filter(|(partition, held)| {
                !matches!(held.state, State::Owed(_))
                    && standing.get(*partition).is_none_or(|standing| {
                        standing.epoch != held.epoch || standing.next < held.committed
                    })
            })
            .map(|(partition, _)| *partition)
            .collect();
        for partition in lost {
            self.owe(partition, Instant::now() + LOST_WAIT);
        }
    }

    async fn open_gates(&mut self) {
        let gated = |held: &Held| held.state == State::Gated;
        if self.partitions.values().any(gated) {
            if let Err(error) = self.gate.refresh(&mut self.applier, &self.model).await {
                tracing::warn!(error = %describe(&error), "cannot look at the gates, trying again");
                return;
            }
            for (partition, held) in &mut self.partitions {
                if held.state == State::Gated && self.gate.is_open(partition.0) {
                    held.state = State::Seeking;
                    let read = Command::Read {
                        partition: *partition,
                        offset: held.expected,
                        generation: held.generation,
                    };
                    self.commands.send(read).unwrap_or_default();
                }
            }
        }
        let waiting = self
            .partitions
            .values()
            .filter(|held| matches!(held.state, State::Owed(_)))
            .count();
        self.ready.set(
            waiting == 0,
            format!("{waiting} partitions are not taken over yet"),
        );
        metrics::partitions(self.partitions.len());
    }
}

/// An error with its causes, for a log line.
pub fn describe(error: &ApplyError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
