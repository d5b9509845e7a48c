//! The thread that owns the Kafka consumer. It polls always, so that the group never takes it for dead, and
//! does nothing else: what to read from where it is told by the assembler.

use super::{
    event::{Command, Event, Membership},
    position::{Positions, Seek},
    rebalance::Context,
};
use leafcutter_runtime::{
    budget::Budget,
    kafka::{Reach, log_error},
};
use leafcutter_sink::{
    change::{Delivery, Headers, RecordOrigin},
    ids::{CollectionId, Partition},
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _},
};
use std::{
    collections::HashMap,
    sync::{Arc, mpsc as std_mpsc},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Bytes of records sent in one event.
const CHUNK_BYTES: usize = 512 * 1024;
/// Records sent in one event.
const CHUNK_RECORDS: usize = 1_000;
const POLL: Duration = Duration::from_millis(20);
/// How often Kafka is told how far records were applied. Once a batch would be hundreds of writes a
/// second into its own topic.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The consumer and its channels; [`Poll::run`] is the thread's body.
pub struct Poll {
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    names: Vec<String>,
    commands: std_mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    membership: mpsc::UnboundedSender<Membership>,
    pub(super) budget: Budget,
    pub(super) seeks: Vec<Seek>,
    pub(super) positions: Positions,
    /// Reading rests, since the assembler has no room.
    pub(super) paused: bool,
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
        (events, membership): (mpsc::Sender<Event>, mpsc::UnboundedSender<Membership>),
        budget: Budget,
    ) -> KafkaResult<Self> {
        let consumer: BaseConsumer<Context> = config.create_with_context(Context::new(&names))?;
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&wanted)?;
        Ok(Self {
            consumer: Arc::new(consumer),
            names,
            commands,
            events,
            membership,
            budget,
            seeks: Vec::new(),
            positions: Positions::default(),
            paused: false,
            applied: HashMap::new(),
            told: Instant::now(),
        })
    }

    /// The client, for who looks whether it reaches Kafka.
    pub fn client(&self) -> Arc<dyn Reach> {
        Arc::clone(&self.consumer) as Arc<dyn Reach>
    }

    /// Polls until the assembler is gone.
    pub fn run(mut self) {
        while self.step() {}
    }

    /// Obeys, polls once, and hands over what came; false when the assembler is gone.
    pub(super) fn step(&mut self) -> bool {
        if !(self.obey() && self.look_at_positions() && self.seek_all()) {
            return false;
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
                        let origin = &delivery.origin;
                        self.positions.heard(origin.partition, origin.offset + 1);
                        chunk.push(delivery);
                    }
                }
                Err(error) => {
                    if !self.report(&error) {
                        return false;
                    }
                }
            }
        }
        self.tell() && (chunk.is_empty() || self.deliver(chunk, bytes))
    }

    /// Executes commands; false when the assembler is gone.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Read {
                    partition,
                    offset,
                    and_before,
                    generation,
                }) => {
                    self.seeks.retain(|seek| seek.partition != partition);
                    self.seeks.push(Seek {
                        partition,
                        offset,
                        and_before,
                        generation,
                        since: Instant::now(),
                    });
                }
                Ok(Command::Hold(partition)) => self.hold(partition),
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
        true
    }

    /// Tells Kafka how far this is, for lag tools and for [`crate::beginning`]; what counts is in PostgreSQL.
    fn commit(&mut self) {
        self.told = Instant::now();
        let mut list = TopicPartitionList::new();
        for (partition, offset) in std::mem::take(&mut self.applied) {
            if self.positions.is_assigned(partition) {
                let (name, number) = (self.name(partition), partition.number);
                let added = list.add_partition_offset(name, number, Offset::Offset(offset));
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
        let partition = Partition {
            collection: CollectionId(collection),
            number: message.partition(),
        };
        Some(Delivery {
            origin: RecordOrigin {
                partition,
                offset: message.offset(),
                timestamp: message.timestamp().to_millis(),
            },
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(headers).unwrap_or_default(),
        })
    }

    /// Tells of an error; false when the assembler is gone.
    pub(super) fn report(&mut self, error: &KafkaError) -> bool {
        match error.rdkafka_error_code() {
            // Which partition it is the error does not say.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                tracing::warn!(error = %error, "a partition does not have what is to be read");
                self.find_expired()
            }
            _ => {
                log_error(error, "poll");
                true
            }
        }
    }

    /// Passes on what the rebalance callback noted; false when the assembler is gone.
    pub(super) fn tell(&mut self) -> bool {
        for change in self.consumer.context().take() {
            match &change {
                Membership::Assigned(partitions) => self.positions.assign(partitions),
                Membership::Revoked(partitions) => self.positions.revoke(partitions),
            }
            if self.membership.send(change).is_err() {
                return false;
            }
        }
        true
    }

    /// False when the assembler is gone.
    pub(super) fn send(&self, event: Event) -> bool {
        self.events.blocking_send(event).is_ok()
    }

    /// The topic of a partition.
    pub(super) fn name(&self, partition: Partition) -> &str {
        &self.names[partition.collection.0]
    }

    /// A list of this partition alone.
    pub(super) fn list(&self, partition: Partition) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(self.name(partition), partition.number);
        list
    }
}

fn headers(headers: &BorrowedHeaders) -> Headers {
    let header = |header: Header<'_, &[u8]>| {
        let value = header.value.map(<[u8]>::to_vec);
        (header.key.to_owned(), value)
    };
    headers.iter().map(header).collect()
}
