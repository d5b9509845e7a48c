//! The end offset of every partition, asked from the broker in one question.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leafcutter_runtime::exit::Exit;
use leafcutter_runtime::kafka::{KafkaSettings, LogContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::Error;

const ANSWER: Duration = Duration::from_secs(10);

/// Asks for end offsets. The consumer inside joins no group and reads nothing.
#[derive(Clone)]
pub struct EndOffsets {
    client: Arc<BaseConsumer<LogContext>>,
    partitions: i32,
}

impl EndOffsets {
    /// For topics of that many partitions.
    ///
    /// # Errors
    /// When the properties are refused.
    pub fn open(settings: &KafkaSettings, partitions: i32) -> Result<Self, Error> {
        let config = settings
            .reader_config("leafcutter-producer-offsets")
            .map_err(|fault| Error::fault(Exit::Settings, fault))?;
        let client = config.create_with_context(LogContext).map_err(failed)?;
        Ok(Self {
            client: Arc::new(client),
            partitions,
        })
    }

    /// The end offsets of these topics, per partition.
    ///
    /// # Errors
    /// When the broker does not answer for every partition.
    pub async fn ask(&self, topics: &[&str]) -> Result<BTreeMap<String, Vec<i64>>, Error> {
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..self.partitions {
                // As a point in time, "end" is the latest: librdkafka sends the number as it is.
                list.add_partition_offset(topic, partition, Offset::End)
                    .map_err(failed)?;
            }
        }
        let client = Arc::clone(&self.client);
        let answer = tokio::task::spawn_blocking(move || client.offsets_for_times(list, ANSWER));
        let found = match answer.await {
            Ok(found) => found.map_err(failed)?,
            Err(_) => return Err(failed(KafkaError::Canceled)),
        };
        let mut offsets: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(failed)?;
            let Offset::Offset(end) = element.offset() else {
                return Err(failed(KafkaError::NoMessageReceived));
            };
            offsets
                .entry(element.topic().to_owned())
                .or_default()
                .push(end);
        }
        Ok(offsets)
    }
}

fn failed(source: KafkaError) -> Error {
    Error::Broker {
        what: "ask the broker for end offsets".to_owned(),
        source,
    }
}
