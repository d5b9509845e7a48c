//! Looks at the topics while the consumer runs: whether Kafka is there, and whether they are as they were.
//!
//! A consumer to which nothing comes learns of neither. Partitions that were added are noticed against what
//! the producer's heartbeat counts, so also by a consumer that was down meanwhile: the documents' keys fall
//! into other partitions then, and what was decided about orphans and tombstones by partition is wrong.
//! That stops the program. An outage only shows.

use crate::control::SharedControl;
use leafcutter_runtime::{
    admin::Condition,
    kafka::{KafkaSettings, LogContext, explain},
    shutdown::Shutdown,
};
use rdkafka::{
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long Kafka may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two questions, each about one topic.
const EVERY: Duration = Duration::from_secs(2);
/// Questions in a row without an answer that are an outage.
const MISSED_MAX: u32 = 2;

/// Why the topics cannot be read on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TopicsError {
    /// Partitions were added.
    #[error("topic `{topic}` has {found} partitions now, and had {before}")]
    Added {
        /// The topic.
        topic: String,
        /// As many as the producer writes to.
        before: usize,
        /// As many as there are.
        found: usize,
    },
}

/// The watch over the topics; [`TopicsWatch::run`] is the body of a thread.
#[derive(Debug)]
pub struct TopicsWatch {
    /// Where Kafka is.
    pub kafka: KafkaSettings,
    /// The collections' topics.
    pub topics: Vec<String>,
    /// What the producer says.
    pub control: SharedControl,
    /// Whether Kafka answers, and has the topics.
    pub reachable: Condition,
    /// When it ends.
    pub shutdown: Shutdown,
}

impl TopicsWatch {
    /// Looks until the shutdown.
    ///
    /// # Errors
    /// When partitions were added.
    pub fn run(self) -> Result<(), TopicsError> {
        let mut reader: Option<BaseConsumer<LogContext>> = None;
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut missed = 0;
        for topic in self.topics.iter().cycle() {
            if self.shutdown.is_triggered() {
                break;
            }
            match self.partitions(&mut reader, topic) {
                Ok(0) => self
                    .reachable
                    .set(false, format!("topic `{topic}` is gone")),
                Ok(found) => {
                    missed = 0;
                    self.reachable.set(true, "");
                    let before = *seen.entry(topic.clone()).or_insert(found);
                    let before = self.partitions_of_producer(topic).unwrap_or(before);
                    if found > before {
                        return Err(TopicsError::Added {
                            topic: topic.clone(),
                            before,
                            found,
                        });
                    }
                }
                Err(error) => {
                    // A new one asks next: this one may have lost its brokers for good.
                    reader = None;
                    missed += 1;
                    if missed >= MISSED_MAX {
                        self.reachable
                            .set(false, format!("Kafka does not answer: {}", explain(&error)));
                    }
                }
            }
            self.pause();
        }
        Ok(())
    }

    /// How many partitions a topic has; none where it is gone.
    fn partitions(
        &self,
        reader: &mut Option<BaseConsumer<LogContext>>,
        topic: &str,
    ) -> Result<usize, KafkaError> {
        let open = match reader.take() {
            Some(open) => open,
            None => {
                let config = self.kafka.reader_config("leafcutter-consumer-topics");
                let config = config.map_err(|fault| KafkaError::Subscription(fault.to_string()))?;
                config.create_with_context(LogContext)?
            }
        };
        let metadata = reader.insert(open).fetch_metadata(Some(topic), ANSWER)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map_or(0, |found| found.partitions().len()))
    }

    /// As many partitions as the producer's last heartbeat counts.
    fn partitions_of_producer(&self, topic: &str) -> Option<usize> {
        let control = self.control.snapshot();
        let counts = control.heartbeats.values();
        let counts = counts.filter_map(|heartbeat| heartbeat.offsets.get(topic).map(Vec::len));
        counts.max()
    }

    fn pause(&self) {
        let begun = Instant::now();
        while begun.elapsed() < EVERY && !self.shutdown.is_triggered() {
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use leafcutter_runtime::admin::Health;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        kafka: KafkaSettings,
    }

    #[test]
    fn without_an_answer_of_kafka_it_is_not_ready() {
        // Nobody listens there.
        let flags = Flags::parse_from(["test", "--kafka-brokers", "127.0.0.1:1"]);
        let (health, shutdown) = (Health::new(Duration::from_secs(60)), Shutdown::new());
        let watch = TopicsWatch {
            kafka: flags.kafka,
            topics: vec!["t".to_owned()],
            control: SharedControl::default(),
            reachable: health.condition("kafka"),
            shutdown: shutdown.clone(),
        };
        let watching = std::thread::spawn(|| watch.run());
        let begun = Instant::now();
        while !health
            .missing()
            .iter()
            .any(|why| why.contains("does not answer"))
        {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{:?}",
                health.missing()
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
        shutdown.trigger();
        assert_eq!(watching.join().unwrap(), Ok(()));
    }
}
