//! Reading a small compacted topic whole: checkpoints and control.
//!
//! It takes a topic of one partition and gives the last value of each key. The end is asked for
//! before the first record is read, so whatever was written before the call is in the answer;
//! [`CompactedReader`] goes on after that. It reads with `assign`, outside any group, commits
//! nothing, and blocks: call it from a thread.
//!
//! When is the end reached? Compaction leaves holes, and a transaction's marker is an offset
//! without a record, so waiting for the record at `end - 1` could wait for ever. Reached is: the
//! next offset is the end, or the broker says that there is nothing more (end of partition) and
//! has not taken that back for a second. The second is for a leader just elected, which may not
//! know yet how far its partition is committed.

use super::{context::LogContext, settings::KafkaSettings, unreached::explain};
use crate::report::Fault;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long one question to a broker may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long reading may stand still before it is called off.
const STALL: Duration = Duration::from_secs(30);
/// How long the end of the partition must stand.
const SETTLED: Duration = Duration::from_secs(1);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// The only partition of such a topic.
const PARTITION: i32 = 0;

/// Why a compacted topic could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such topic: nothing was ever written, or another program writes these topics.
    #[error("topic `{0}` does not exist")]
    Missing(String),
    /// Anything else.
    #[error(transparent)]
    Failed(Fault),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Missing(topic) => fault(
                &format!("topic `{topic}`"),
                "the topic does not exist",
                "Start the producer once: its preflight creates the topics.",
            ),
            ReadError::Failed(fault) => fault,
        }
    }
}

/// The last value of each key, up to the end the topic had when this was called.
pub fn read_compacted(
    settings: &KafkaSettings,
    topic: &str,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReadError> {
    let mut reader = CompactedReader::open(settings, topic)?;
    let mut values = BTreeMap::new();
    let mut moved = Instant::now();
    while !reader.caught_up() {
        match reader.poll(POLL) {
            Some((key, Some(value))) => {
                values.insert(key, value);
                moved = Instant::now();
            }
            Some((key, None)) => {
                values.remove(&key);
                moved = Instant::now();
            }
            None if moved.elapsed() > STALL => {
                let why = reader
                    .last_error
                    .as_deref()
                    .unwrap_or("the broker sent nothing");
                return Err(ReadError::Failed(fault(&reader.place, why, RETRY)));
            }
            None => {}
        }
    }
    Ok(values)
}

const RETRY: &str = "Check that the brokers are up and that this user may read the topic.";

/// Reads a compacted topic from its beginning and goes on.
pub struct CompactedReader {
    consumer: BaseConsumer<LogContext>,
    /// The topic and its brokers, for messages.
    place: String,
    /// The end when the reader was opened.
    end: i64,
    next: i64,
    /// Since when the broker has said that there is nothing more.
    at_end: Option<Instant>,
    caught_up: bool,
    last_error: Option<String>,
}

impl CompactedReader {
    /// Asks for the topic's end and starts reading at its beginning.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<Self, ReadError> {
        let mut config = settings
            .reader_config("leafcutter-reader")
            .map_err(ReadError::Failed)?;
        // Everything there is, is wanted: if the log's start moves on meanwhile, go on from there.
        config
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true");
        let place = format!("topic `{topic}` on {}", settings.brokers);
        let failed = |error: KafkaError| ReadError::Failed(fault(&place, &explain(&error), RETRY));
        let consumer: BaseConsumer<LogContext> =
            config.create_with_context(LogContext).map_err(failed)?;
        check_partitions(&consumer, topic, &place)?;
        let (start, end) = watermarks(&consumer, topic).map_err(failed)?;
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, PARTITION, Offset::Offset(start))
            .and_then(|()| consumer.assign(&assignment))
            .map_err(failed)?;
        Ok(Self {
            consumer,
            place,
            end,
            next: start,
            at_end: None,
            caught_up: start >= end,
            last_error: None,
        })
    }

    /// The next record: its key, and its value unless it is a tombstone. Nothing when none came
    /// within `timeout`, or the broker could not be reached; that mends itself and is logged.
    pub fn poll(&mut self, timeout: Duration) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let record = match self.consumer.poll(timeout)? {
            Ok(message) => {
                self.next = message.offset() + 1;
                self.at_end = None;
                let key = message.key().unwrap_or_default().to_vec();
                Some((key, message.payload().map(<[u8]>::to_vec)))
            }
            Err(KafkaError::PartitionEOF(_)) => {
                self.at_end = Some(Instant::now());
                None
            }
            Err(error) => {
                tracing::warn!(
                    place = self.place,
                    error = explain(&error),
                    "reading goes on when this is mended"
                );
                self.last_error = Some(explain(&error));
                None
            }
        };
        self.caught_up |= self.next >= self.end;
        record
    }

    /// Whether everything that was there when the reader was opened has been read. Latched.
    pub fn caught_up(&mut self) -> bool {
        self.caught_up |= self.at_end.is_some_and(|since| since.elapsed() >= SETTLED);
        self.caught_up
    }
}

/// A topic that was created a moment ago has no leader yet; that mends itself.
fn watermarks(consumer: &BaseConsumer<LogContext>, topic: &str) -> Result<(i64, i64), KafkaError> {
    let began = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, PARTITION, ANSWER) {
            Err(error)
                if began.elapsed() < ANSWER
                    && matches!(
                        error.rdkafka_error_code(),
                        Some(
                            RDKafkaErrorCode::NotLeaderForPartition
                                | RDKafkaErrorCode::LeaderNotAvailable
                                | RDKafkaErrorCode::UnknownTopicOrPartition
                        )
                    ) =>
            {
                std::thread::sleep(POLL);
            }
            settled => return settled,
        }
    }
}

/// One partition is what gives "the last value of a key" a meaning without looking at versions.
fn check_partitions(
    consumer: &BaseConsumer<LogContext>,
    topic: &str,
    place: &str,
) -> Result<(), ReadError> {
    let failed = |why: &str| ReadError::Failed(fault(place, why, RETRY));
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER);
    let metadata = metadata.map_err(|error| failed(&explain(&error)))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Err(ReadError::Missing(topic.to_owned()));
    };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            return Err(ReadError::Missing(topic.to_owned()));
        }
        Some(code) => return Err(failed(&code.to_string())),
        None => {}
    }
    if found.partitions().len() == 1 {
        return Ok(());
    }
    let why = format!(
        "it has {} partitions instead of one",
        found.partitions().len()
    );
    Err(ReadError::Failed(fault(
        place,
        &why,
        "Such a topic is created by the producer's preflight; delete it if it is empty.",
    )))
}

fn fault(place: &str, why: &str, next: &str) -> Fault {
    Fault::new("could not read a compacted topic", place, why, next)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

    use super::{ANSWER, CompactedReader, KafkaSettings, POLL, ReadError, STALL, read_compacted};

    const TOPIC: &str = "leafcutter.control";

    type Cluster = MockCluster<'static, DefaultProducerContext>;

    fn cluster(partitions: i32) -> (Cluster, KafkaSettings) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, partitions, 1).unwrap();
        let settings = KafkaSettings::new(cluster.bootstrap_servers());
        (cluster, settings)
    }

    fn write(settings: &KafkaSettings, records: &[(&str, Option<&str>)]) {
        let producer: BaseProducer = settings.producer_config("t").unwrap().create().unwrap();
        for (key, value) in records {
            let mut record = BaseRecord::to(TOPIC).key(*key);
            record.payload = *value;
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(ANSWER).unwrap();
    }

    fn next(reader: &mut CompactedReader) -> (String, Option<String>) {
        let begun = Instant::now();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        while begun.elapsed() < STALL {
            if let Some((key, value)) = reader.poll(POLL) {
                return (text(key), value.map(text));
            }
        }
        panic!("no record");
    }

    #[test]
    fn the_last_value_of_each_key_remains_and_tombstones_remove() {
        let (_cluster, settings) = cluster(1);
        write(
            &settings,
            &[
                ("a", Some("1")),
                ("b", Some("1")),
                ("a", Some("2")),
                ("b", None),
            ],
        );
        let values = read_compacted(&settings, TOPIC).unwrap();
        assert_eq!(
            values.into_iter().collect::<Vec<_>>(),
            [(b"a".to_vec(), b"2".to_vec())]
        );
    }

    #[test]
    fn an_empty_topic_is_read_at_once() {
        let (_cluster, settings) = cluster(1);
        assert!(read_compacted(&settings, TOPIC).unwrap().is_empty());
    }

    #[test]
    fn the_reader_goes_on_after_it_has_caught_up() {
        let (_cluster, settings) = cluster(1);
        write(&settings, &[("a", Some("1"))]);
        let mut reader = CompactedReader::open(&settings, TOPIC).unwrap();
        assert!(!reader.caught_up());
        assert_eq!(next(&mut reader), ("a".to_owned(), Some("1".to_owned())));
        assert!(reader.caught_up());
        write(&settings, &[("b", Some("2")), ("a", None)]);
        assert_eq!(next(&mut reader), ("b".to_owned(), Some("2".to_owned())));
        assert_eq!(next(&mut reader), ("a".to_owned(), None));
    }

    /// The marker of a transaction is an offset without a record; nothing will ever come for it.
    #[test]
    fn an_offset_without_a_record_at_the_end_does_not_wait_for_ever() {
        let (_cluster, settings) = cluster(1);
        write(&settings, &[("a", Some("1"))]);
        let mut reader = CompactedReader::open(&settings, TOPIC).unwrap();
        reader.end += 1;
        assert_eq!(next(&mut reader).0, "a");
        assert!(!reader.caught_up());
        let begun = Instant::now();
        while !reader.caught_up() {
            assert!(reader.poll(POLL).is_none());
            assert!(begun.elapsed() < STALL);
        }
    }

    #[test]
    fn several_partitions_are_refused() {
        let (_cluster, settings) = cluster(3);
        let Err(ReadError::Failed(fault)) = read_compacted(&settings, TOPIC) else {
            panic!("read");
        };
        assert!(fault.why.contains("3 partitions"), "{fault}");
    }

    #[test]
    fn a_missing_topic_is_told_from_a_broken_one() {
        let (cluster, settings) = cluster(1);
        let missing = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        cluster.topic_error("gone", missing).unwrap();
        let error = read_compacted(&settings, "gone").unwrap_err();
        assert_eq!(error, ReadError::Missing("gone".to_owned()));
    }
}
