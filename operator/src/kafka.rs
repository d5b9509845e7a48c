//! Reading topics by hand: which partitions there are, where they begin and end, and their records.
//!
//! It reads with `assign`, outside any group, and commits nothing. Calls block; the tool does one
//! thing at a time, and what must go on meanwhile runs on other threads.

use leafcutter_runtime::{
    exit::Exit,
    kafka::{KafkaSettings, LogContext, explain, metadata, unreachable},
    report::{Failure, Fault},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Headers as _, Message as _, OwnedMessage},
    metadata::Metadata,
};
use std::time::{Duration, Instant};

/// How long one question to a broker may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long reading may stand still before it is called off.
const STALL: Duration = Duration::from_secs(20);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// A reader of topics.
pub struct Topics {
    consumer: BaseConsumer<LogContext>,
    brokers: String,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics")
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub struct Read {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp, milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Read {
    fn of(message: &OwnedMessage) -> Self {
        let headers = message.headers().map(|headers| {
            headers
                .iter()
                .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                .collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        }
    }

    /// The bytes of key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// What becomes of a record that is shown to the caller of [`Topics::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    On,
    /// That was enough.
    Enough,
}

impl Topics {
    /// A client; it connects when it is first asked something.
    ///
    /// # Errors
    /// When the properties are wrong.
    pub fn open(settings: &KafkaSettings) -> Result<Self, Failure> {
        let mut config = settings
            .reader_config("leafcutter")
            .map_err(|fault| Failure::one(Exit::Settings, fault))?;
        config.set("auto.offset.reset", "earliest");
        // A person reads a little, once.
        config
            .set("fetch.queue.backoff.ms", "10")
            .set("queued.max.messages.kbytes", "32768");
        let brokers = settings.brokers.clone();
        let consumer = config
            .create_with_context(LogContext)
            .map_err(|error| failed(&brokers, "could not start a Kafka client", &error))?;
        Ok(Self { consumer, brokers })
    }

    /// How many partitions a topic has; `None` where there is no such topic.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn partitions(&self, topic: &str) -> Result<Option<i32>, Failure> {
        let metadata = self.metadata(Some(topic))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let Some(found) = found else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(i32::try_from(found.partitions().len()).ok()),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(code) => Err(self.unreachable(&KafkaError::MetadataFetch(code))),
        }
    }

    /// The topics whose name begins so, sorted.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let metadata = self.metadata(None)?;
        let names = metadata.topics().iter().map(|topic| topic.name());
        let mut names: Vec<String> = names
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The first offset there is, and one behind the last.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), Failure> {
        self.consumer
            .fetch_watermarks(topic, partition, ANSWER)
            .map_err(|error| self.unreachable(&error))
    }

    /// The offset of the first record that came at this time or later, in milliseconds since 1970; `None` where
    /// there is none (KIP-79).
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn offset_at(
        &self,
        topic: &str,
        partition: i32,
        millis: i64,
    ) -> Result<Option<i64>, Failure> {
        let mut asked = TopicPartitionList::new();
        let found = asked
            .add_partition_offset(topic, partition, Offset::Offset(millis))
            .and_then(|()| self.consumer.offsets_for_times(asked, ANSWER))
            .map_err(|error| self.unreachable(&error))?;
        let found = found.find_partition(topic, partition);
        Ok(found.and_then(|found| match found.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    /// Shows the records of a partition from `from` up to `until` to `each`, in order.
    ///
    /// # Errors
    /// When nothing comes for a while.
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        until: i64,
        each: &mut dyn FnMut(Read) -> Next,
    ) -> Result<(), Failure> {
        if from >= until {
            return Ok(());
        }
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, partition, Offset::Offset(from))
            .and_then(|()| self.consumer.assign(&assignment))
            .map_err(|error| self.unreachable(&error))?;
        let mut moved = Instant::now();
        let mut last = None;
        loop {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    moved = Instant::now();
                    let message = message.detach();
                    let offset = message.offset();
                    if offset >= until || each(Read::of(&message)) == Next::Enough {
                        break;
                    }
                    if offset + 1 >= until {
                        break;
                    }
                }
                Some(Err(error)) => last = Some(error),
                None => {}
            }
            // Compaction and transaction markers leave holes, also at the very end: where the
            // reader stands tells that they were passed.
            if self
                .position(topic, partition)
                .is_some_and(|next| next >= until)
            {
                break;
            }
            if moved.elapsed() > STALL {
                let error = last.unwrap_or(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut));
                return Err(self.unreachable(&error));
            }
        }
        self.consumer
            .unassign()
            .map_err(|error| self.unreachable(&error))
    }

    fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        let positions = self.consumer.position().ok()?;
        positions
            .find_partition(topic, partition)?
            .offset()
            .to_raw()
    }

    /// What the brokers say of a topic, or of all: the first that is asked of them.
    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, Failure> {
        let metadata = metadata(&self.consumer, topic, ANSWER);
        metadata.map_err(|error| Failure::one(Exit::Preflight, unreachable(&self.brokers, &error)))
    }

    fn unreachable(&self, error: &KafkaError) -> Failure {
        failed(&self.brokers, "could not read from Kafka", error)
    }
}

fn failed(brokers: &str, what: &str, error: &KafkaError) -> Failure {
    let next =
        "Check that the brokers run, that this user may read the topics, and --kafka-brokers.";
    Failure::one(
        Exit::Preflight,
        Fault::new(what, format!("brokers `{brokers}`"), explain(error), next),
    )
}

/// Runs a blocking question to Kafka on a thread of its own.
///
/// # Errors
/// Those of the question.
pub async fn ask<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(question)
        .await
        .unwrap_or_else(|error| {
            let fault = Fault::new(
                "could not read from Kafka",
                "this program",
                error.to_string(),
                "Please report this.",
            );
            Err(Failure::one(Exit::Bug, fault))
        })
}
