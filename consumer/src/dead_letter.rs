//! Definite failures into the dead-letter topic, confirmed before the position moves.
//!
//! Key, value and headers of the original go as they came; the partition is the original's, so that
//! a letter can be traced by eye. A crash between the confirmation and the commit writes a letter
//! twice; its origin is its identity, so the index has it once.

use crate::source::Delivery;
use leafcutter_runtime::{kafka::KafkaSettings, report::Fault};
use leafcutter_schemas::{
    dead_letter::{DeadLetter, Origin, Reason},
    name::dead_letter_topic,
    version::Version,
};
use rdkafka::{
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};

/// The program that writes dead letters, for their headers.
pub const PROGRAM: &str = concat!("leafcutter-consumer ", env!("CARGO_PKG_VERSION"));

/// Writes dead letters.
#[derive(Clone)]
pub struct DeadLetters {
    producer: FutureProducer,
    mapping: String,
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetters")
            .field("mapping", &self.mapping)
            .finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// A writer under the mapping with this hash.
    ///
    /// # Errors
    /// When the Kafka client cannot be built.
    pub fn new(kafka: &KafkaSettings, client_id: &str, mapping: &str) -> Result<Self, Fault> {
        let producer =
            kafka
                .producer_config(client_id)?
                .create()
                .map_err(|error: KafkaError| {
                    Fault::new(
                        "start the writer of dead letters",
                        "Kafka client",
                        error.to_string(),
                        "check the `--kafka` properties",
                    )
                })?;
        Ok(Self {
            producer,
            mapping: mapping.to_owned(),
        })
    }

    /// Sends the letter of a delivery and waits until the broker has it.
    ///
    /// # Errors
    /// When Kafka does not take it; the caller waits and tries again.
    pub async fn send(
        &self,
        topic: &str,
        delivery: &Delivery,
        reason: &Reason,
        version: Option<Version>,
    ) -> Result<(), KafkaError> {
        let origin = Origin {
            topic: topic.to_owned(),
            partition: delivery.partition,
            offset: delivery.offset,
            timestamp: delivery.timestamp,
        };
        self.send_original(
            origin,
            reason,
            version,
            &delivery.key,
            delivery.value.as_deref(),
            delivery.headers.as_ref(),
        )
        .await
    }

    /// Sends the letter of a record given in parts and waits until the broker has it.
    ///
    /// # Errors
    /// When Kafka does not take it; the caller waits and tries again.
    pub async fn send_original(
        &self,
        origin: Origin,
        reason: &Reason,
        version: Option<Version>,
        key: &[u8],
        value: Option<&[u8]>,
        headers: Option<&OwnedHeaders>,
    ) -> Result<(), KafkaError> {
        let topic = dead_letter_topic(&origin.topic);
        let partition = origin.partition;
        let letter = DeadLetter {
            origin,
            reason: reason.clone(),
            version: version.map(Version::as_i64),
            attempts: 1,
            mapping: self.mapping.clone(),
            program: PROGRAM.to_owned(),
        };
        let mut all = headers.cloned().unwrap_or_default();
        for (name, value) in letter.headers() {
            all = all.insert(Header {
                key: &name,
                value: Some(&value),
            });
        }
        let mut record = FutureRecord::to(&topic)
            .partition(partition)
            .key(key)
            .headers(all);
        if let Some(value) = value {
            record = record.payload(value);
        }
        // The queue's own time-out is the caller's: it waits for room as long as it takes.
        self.producer
            .send(record, Timeout::Never)
            .await
            .map(|_| ())
            .map_err(|(error, _)| error)
    }
}
