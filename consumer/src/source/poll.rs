//! The thread that owns the Kafka consumer. It polls always, so that the group never takes it for
//! dead, and does nothing else: it assigns and pauses in the rebalance callback, and what to read
//! from where it is told by the assembler, which has asked PostgreSQL.
//!
//! Everything goes to the assembler through one channel, in order: `Ready` follows the seek, so
//! whatever was read from a wrong place comes before it and is dropped there.

use super::Delivery;
use leafcutter_runtime::{
    budget::{Budget, Permit},
    kafka::log_error,
};
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
    types::RDKafkaRespErr,
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, mpsc as std_mpsc},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// A partition: the collection of its topic, and its number.
pub type Partition = (usize, i32);

/// What the thread tells the assembler.
#[derive(Debug)]
pub enum Event {
    /// These partitions are ours, paused.
    Assigned(Vec<Partition>),
    /// These are not any more.
    Revoked(Vec<Partition>),
    /// The partition is read from this offset, as asked under this generation.
    Ready(Partition, u64),
    /// Records, in order within each partition, and the bytes they hold of the budget.
    Deliveries(Vec<Delivery>, Permit),
    /// Kafka has no longer what is to be read.
    Lost(String),
}

/// What the assembler asks of the thread.
#[derive(Debug)]
pub enum Command {
    /// Read this partition from this offset on.
    Read {
        /// The partition.
        partition: Partition,
        /// The offset of the first record.
        offset: i64,
        /// Comes back with [`Event::Ready`].
        generation: u64,
    },
    /// Tell Kafka how far these were applied, for lag tools.
    Commit(Vec<(Partition, i64)>),
}

/// Bytes of records sent in one event.
const CHUNK_BYTES: usize = 512 * 1024;
/// Records sent in one event.
const CHUNK_RECORDS: usize = 1_000;
/// How long a full channel is waited for before the partitions are paused.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// How often Kafka is told how far records were applied. Once a batch would be hundreds of writes a
/// second into its own topic.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

struct Context {
    topics: HashMap<String, usize>,
    events: Mutex<Vec<Event>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        leafcutter_runtime::kafka::log_event(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl Context {
    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let known = |topic: &str| self.topics.get(topic).copied();
        list.elements()
            .iter()
            .filter_map(|e| Some((known(e.topic())?, e.partition())))
            .collect()
    }

    fn push(&self, event: Event) {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        // Where to read from only PostgreSQL knows. Nothing is fetched before the seek, since the
        // partitions are paused in the same breath.
        list.set_all_offsets(Offset::Offset(0))?;
        consumer.incremental_assign(list)?;
        consumer.pause(list)
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = self.partitions(list);
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let done = self.assign(consumer, list);
                self.push(Event::Assigned(partitions));
                done
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.push(Event::Revoked(partitions));
                consumer.incremental_unassign(list)
            }
            other => {
                tracing::warn!(error = ?other, "rebalance failed, the group tries again");
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            tracing::warn!(error = %error, "could not change the assignment");
        }
    }
}

/// The consumer and its channels; [`Poll::run`] is the thread's body.
pub struct Poll {
    consumer: BaseConsumer<Context>,
    names: Vec<String>,
    commands: std_mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    budget: Budget,
    seeks: Vec<(Partition, i64, u64)>,
    assigned: HashMap<Partition, bool>,
    paused: bool,
    /// Applied, and not told to Kafka yet.
    applied: HashMap<Partition, i64>,
    told: Instant,
}

impl std::fmt::Debug for Poll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poll")
            .field("topics", &self.names)
            .finish_non_exhaustive()
    }
}

impl Poll {
    /// Subscribes to the topics, whose positions in `names` are the collections.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn subscribe(
        config: &ClientConfig,
        names: Vec<String>,
        commands: std_mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        budget: Budget,
    ) -> KafkaResult<Self> {
        let topics = names.iter().cloned().zip(0..).collect();
        let context = Context {
            topics,
            events: Mutex::new(Vec::new()),
        };
        let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&wanted)?;
        Ok(Self {
            consumer,
            names,
            commands,
            events,
            budget,
            seeks: Vec::new(),
            assigned: HashMap::new(),
            paused: false,
            applied: HashMap::new(),
            told: Instant::now(),
        })
    }

    /// Polls until the assembler is gone.
    ///
    /// # Errors
    /// Never at present; errors of Kafka are waited out or told as events.
    pub fn run(mut self) -> Result<(), KafkaError> {
        loop {
            if !self.obey() {
                return Ok(());
            }
            let mut chunk = Vec::new();
            let mut bytes = 0;
            let mut wait = POLL;
            while bytes < CHUNK_BYTES && chunk.len() < CHUNK_RECORDS {
                let Some(polled) = self.consumer.poll(wait) else {
                    break;
                };
                wait = Duration::ZERO;
                match polled {
                    Ok(message) => {
                        if let Some(delivery) = self.delivery(&message) {
                            bytes += delivery.bytes();
                            chunk.push(delivery);
                        }
                    }
                    Err(error) => {
                        if !self.report(&error) {
                            return Ok(());
                        }
                    }
                }
            }
            if !self.tell() || (!chunk.is_empty() && !self.deliver(chunk, bytes)) {
                return Ok(());
            }
        }
    }

    /// Executes commands and pending seeks; false when the assembler is gone.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Read {
                    partition,
                    offset,
                    generation,
                }) => {
                    self.seeks.retain(|(p, _, _)| *p != partition);
                    self.seeks.push((partition, offset, generation));
                }
                Ok(Command::Commit(positions)) => self.applied.extend(positions),
                Err(std_mpsc::TryRecvError::Empty) => break,
                Err(std_mpsc::TryRecvError::Disconnected) => {
                    self.commit();
                    return false;
                }
            }
        }
        if self.told.elapsed() >= COMMIT_EVERY {
            self.commit();
        }
        for (partition, offset, generation) in std::mem::take(&mut self.seeks) {
            if !self.assigned.contains_key(&partition) {
                continue;
            }
            // Right after the assignment the partition may not be ready for a seek.
            if self.seek(partition, offset).is_ok() {
                self.assigned.insert(partition, true);
                if self.send(Event::Ready(partition, generation)).is_err() {
                    return false;
                }
            } else {
                self.seeks.push((partition, offset, generation));
            }
        }
        true
    }

    fn list(&self, partition: Partition) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.names[partition.0], partition.1);
        list
    }

    fn seek(&self, partition: Partition, offset: i64) -> KafkaResult<()> {
        let mut list = self.list(partition);
        list.set_all_offsets(Offset::Offset(offset))?;
        let sought = self
            .consumer
            .seek_partitions(list, Duration::from_secs(5))?;
        for element in sought.elements() {
            element.error()?;
        }
        self.consumer.resume(&self.list(partition))
    }

    /// Tells Kafka how far this is, for lag tools only; what counts is in PostgreSQL.
    fn commit(&mut self) {
        self.told = Instant::now();
        let mut list = TopicPartitionList::new();
        for ((collection, partition), offset) in self.applied.drain() {
            if self.assigned.contains_key(&(collection, partition)) {
                let name = &self.names[collection];
                let added = list.add_partition_offset(name, partition, Offset::Offset(offset));
                added.unwrap_or_default();
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(error = %error, "could not commit offsets to Kafka");
        }
    }

    fn delivery(&self, message: &BorrowedMessage<'_>) -> Option<Delivery> {
        let collection = self.names.iter().position(|name| name == message.topic())?;
        Some(Delivery {
            collection,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message
                .headers()
                .map(rdkafka::message::BorrowedHeaders::detach),
        })
    }

    /// Tells of an error; false when the assembler is gone.
    fn report(&self, error: &KafkaError) -> bool {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.send(Event::Lost(error.to_string())).is_ok()
            }
            _ => {
                log_error(error, "poll");
                true
            }
        }
    }

    /// Passes on what the rebalance callback noted; false when the assembler is gone.
    fn tell(&mut self) -> bool {
        let context = self.consumer.context();
        let events = std::mem::take(
            &mut *context
                .events
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for event in events {
            match &event {
                Event::Assigned(partitions) => {
                    self.assigned.extend(partitions.iter().map(|&p| (p, false)));
                }
                Event::Revoked(partitions) => {
                    for partition in partitions {
                        self.assigned.remove(partition);
                    }
                }
                Event::Ready(..) | Event::Deliveries(..) | Event::Lost(_) => {}
            }
            if self.send(event).is_err() {
                return false;
            }
        }
        true
    }

    fn send(&self, event: Event) -> Result<(), ()> {
        self.events.blocking_send(event).map_err(|_| ())
    }

    /// Hands records over. While there is no room the group is still served: after a while the
    /// partitions are paused, and polling brings callbacks only.
    fn deliver(&mut self, chunk: Vec<Delivery>, bytes: usize) -> bool {
        let started = Instant::now();
        let permit = loop {
            if let Some(permit) = self.budget.try_acquire(bytes) {
                break permit;
            }
            if !self.serve_while_full(started) {
                return false;
            }
        };
        let mut event = Event::Deliveries(chunk, permit);
        loop {
            match self.events.try_send(event) {
                Ok(()) => break,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(back)) => event = back,
            }
            if !self.serve_while_full(started) {
                return false;
            }
        }
        if std::mem::take(&mut self.paused) {
            self.pause_all(false);
        }
        true
    }

    fn serve_while_full(&mut self, started: Instant) -> bool {
        if started.elapsed() < PATIENCE {
            std::thread::park_timeout(Duration::from_millis(2));
            return !self.events.is_closed();
        }
        if !self.paused {
            self.paused = true;
            self.pause_all(true);
        }
        // Paused partitions bring nothing; what librdkafka had handed over before is read again
        // after the seek that the assembler asks for when it finds a gap.
        if let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(50)) {
            let lost = (
                message.topic().to_owned(),
                message.partition(),
                message.offset(),
            );
            drop(message);
            let mut list = TopicPartitionList::new();
            if list
                .add_partition_offset(&lost.0, lost.1, Offset::Offset(lost.2))
                .is_ok()
                && let Err(error) = self.consumer.seek_partitions(list, Duration::from_secs(5))
            {
                tracing::warn!(error = %error, "could not step back before a paused record");
            }
        }
        !self.events.is_closed()
    }

    /// Pauses or resumes what is being read.
    fn pause_all(&self, pause: bool) {
        let mut list = TopicPartitionList::new();
        for ((collection, partition), reading) in &self.assigned {
            if *reading {
                list.add_partition(&self.names[*collection], *partition);
            }
        }
        let done = if pause {
            self.consumer.pause(&list)
        } else {
            self.consumer.resume(&list)
        };
        if let Err(error) = done {
            tracing::warn!(error = %error, "could not pause or resume partitions");
        }
    }
}
