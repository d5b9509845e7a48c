//! Definite failures into the dead-letter topic, confirmed before the position moves.
//!
//! Key, value and headers of the original go as they came; the partition is the original's, so that
//! a dead letter can be traced by eye. A crash between the confirmation and the commit writes it
//! twice; its origin is its identity, so the index has it once.

use crate::metrics;
use futures_util::future::join_all;
use leafcutter_runtime::{
    kafka::{KafkaSettings, LogContext, Reach},
    report::Fault,
};
use leafcutter_schemas::{
    dead_letter::{DeadLetter, Origin, Reason},
    name::dead_letter_topic,
    version::Version,
};
use leafcutter_sink::{
    change::{Delivery, Headers, Prepared, Record, RecordOrigin},
    ids::Partition,
    model::Model,
    settle::DueDeadLetter,
};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The program that writes dead letters, for their headers.
pub const PROGRAM: &str = concat!("leafcutter-consumer ", env!("CARGO_PKG_VERSION"));

/// Writes dead letters.
#[derive(Clone)]
pub struct DeadLetters {
    producer: FutureProducer<LogContext>,
    mapping: String,
}

/// The records of which Kafka has the dead letters, so that later attempts and halves send none again.
#[derive(Debug, Default)]
pub struct Acknowledged(Mutex<HashSet<(Partition, i64)>>);

impl Acknowledged {
    /// Forgets them: their batch is done.
    pub fn clear(&mut self) {
        self.lock().clear();
    }

    fn has(&self, origin: &RecordOrigin) -> bool {
        self.lock().contains(&(origin.partition, origin.offset))
    }

    fn add(&self, origin: &RecordOrigin) {
        self.lock().insert((origin.partition, origin.offset));
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(Partition, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let producer = kafka
            .producer_config(client_id)?
            .create_with_context(LogContext)
            .map_err(|error: KafkaError| {
                Fault::new(
                    "could not start the writer of dead letters",
                    "Kafka client",
                    error.to_string(),
                    "Check the `--kafka` properties.",
                )
            })?;
        Ok(Self {
            producer,
            mapping: mapping.to_owned(),
        })
    }

    /// The client, for who looks whether it reaches Kafka.
    pub fn client(&self) -> Arc<dyn Reach> {
        Arc::new(self.producer.clone())
    }

    /// Sends the dead letters of the refused ones of these records and waits until the broker has them,
    /// but for those that it has `acknowledged`, and adds to these.
    ///
    /// # Errors
    /// When Kafka does not take one; the caller waits and tries again.
    pub async fn send_refused(
        &self,
        model: &Model,
        records: &[Record],
        acknowledged: &Acknowledged,
    ) -> Result<(), KafkaError> {
        let due = records.iter().filter_map(|record| match &record.prepared {
            Prepared::Refused(refusal) if !acknowledged.has(&record.delivery.origin) => {
                Some((&record.delivery, &refusal.reason, refusal.version))
            }
            Prepared::Refused(_) | Prepared::Write { .. } | Prepared::Ignored => None,
        });
        let sends = due.map(async |(delivery, reason, version)| {
            let topic = &model.collection(delivery.origin.partition.collection).topic;
            self.send(topic, delivery, reason, version).await?;
            metrics::dead_letter_written(reason.stage.as_str(), reason.code);
            acknowledged.add(&delivery.origin);
            Ok(())
        });
        // All of them are waited for, so that none is sent a second time because another failed.
        let sent: Vec<Result<(), KafkaError>> = join_all(sends).await;
        sent.into_iter().collect()
    }

    async fn send(
        &self,
        topic: &str,
        delivery: &Delivery,
        reason: &Reason,
        version: Option<Version>,
    ) -> Result<(), KafkaError> {
        let origin = Origin {
            topic: topic.to_owned(),
            partition: delivery.origin.partition.number,
            offset: delivery.origin.offset,
            timestamp: delivery.origin.timestamp,
        };
        let record = (&*delivery.key, delivery.value.as_deref(), &delivery.headers);
        self.send_original(origin, reason, version, record).await
    }

    /// Sends the dead letter of a document that was given up and waits until the broker has it.
    ///
    /// # Errors
    /// As [`DeadLetters::send`].
    pub async fn send_due(&self, due: &DueDeadLetter) -> Result<(), KafkaError> {
        let headers = Headers::new();
        let record = (&*due.record_key, Some(&*due.record_value), &headers);
        let version = Some(due.version);
        self.send_original(due.origin.clone(), &due.reason, version, record)
            .await
    }

    async fn send_original(
        &self,
        origin: Origin,
        reason: &Reason,
        version: Option<Version>,
        (key, value, headers): (&[u8], Option<&[u8]>, &Headers),
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
        let mut all = OwnedHeaders::new_with_capacity(headers.len() + 16);
        for (name, value) in headers {
            all = all.insert(Header {
                key: name,
                value: value.as_ref(),
            });
        }
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
        let sent = self.producer.send(record, Timeout::Never).await;
        let written = sent.map_err(|(error, _)| error)?;
        // Without an offset it was acknowledged by its successor only, and may not be there
        // (`runtime::kafka::acknowledged`). Sent twice it is one dead letter.
        if written.offset < 0 {
            let doubt = RDKafkaErrorCode::Inconsistent;
            return Err(KafkaError::MessageProduction(doubt));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leafcutter_schemas::dead_letter::Stage;
    use rdkafka::{
        mocking::MockCluster,
        producer::DefaultProducerContext,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };
    use std::time::Duration;

    /// Of two requests on their way the broker refuses the first and takes the second; the client calls both
    /// delivered. The broker is librdkafka's own.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_only_its_successor_acknowledged_is_not_taken_for_sent() {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        cluster.create_topic("t.dead-letter", 1, 1).unwrap();
        let round_trip = Duration::from_millis(200);
        cluster.broker_round_trip_time(1, round_trip).unwrap();
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
        let mut kafka = KafkaSettings::new(cluster.bootstrap_servers());
        let one_each = ("batch.num.messages".to_owned(), "1".to_owned());
        kafka.properties.push(one_each);
        let letters = DeadLetters::new(&kafka, "test", "hash").unwrap();
        let reason = Reason::new(Stage::Apply, "refused", "no");
        let headers = Headers::new();
        let send = async |offset| {
            let origin = Origin {
                topic: "t".to_owned(),
                partition: 0,
                offset,
                timestamp: None,
            };
            let record = (&b"key"[..], None, &headers);
            letters.send_original(origin, &reason, None, record).await
        };
        let (first, second) = tokio::join!(send(1), send(2));
        assert!(first.is_err() && second.is_ok(), "{first:?} {second:?}");
        assert!(send(1).await.is_ok());
    }
}
