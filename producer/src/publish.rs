//! Record → Kafka, in order, acknowledged or failed.
//!
//! One idempotent client; what its promises rest on is set by `runtime::kafka`, the partitioner
//! among it, so that every record of one key lands in one partition. A full queue is waited for
//! with the record in hand: nothing overtakes it. A delivery that fails leaves a gap that later
//! records would hide, so it ends the run; the next one begins at the checkpoint. So does a record
//! that Kafka acknowledges and has not written ([`AcknowledgedOffsets`]). A record over
//! its topic's limit is known before it is sent, and its key, version and reason go to the topic's
//! dead letters.

use crate::{
    acknowledge::Ticket,
    encode::{Encoder, RECORD_OVERHEAD_BYTES},
    error::Error,
    metrics,
    source::{Change, Collection, Outlet},
};
use leafcutter_runtime::kafka::{AcknowledgedOffsets, GivenUp, KafkaSettings, Reach, context};
use leafcutter_schemas::{
    dead_letter::{DeadLetter, Origin, Reason, Stage},
    envelope::AGAIN,
    name::dead_letter_topic,
};
use rdkafka::{
    client::ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Message, OwnedHeaders},
    producer::{
        BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext,
        ThreadedProducer,
    },
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, oneshot};

/// A longer key is cut in a dead letter, which has to fit its own topic.
const DEAD_LETTER_KEY_BYTES_MAX: usize = 16 << 20;
/// How long a full queue is left alone.
const FULL: Duration = Duration::from_millis(2);

/// What delivery reports leave behind.
#[derive(Debug, Default)]
struct Reports {
    failure: Mutex<Option<Error>>,
    failed: Notify,
    offsets: AcknowledgedOffsets,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Reports {
    /// Whether it is the first.
    fn fail(&self, topic: &str, source: KafkaError) -> bool {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // The first is the cause; what follows are echoes of it.
        let is_first = failure.is_none();
        failure.get_or_insert_with(|| Error::Deliver {
            topic: topic.to_owned(),
            source,
        });
        self.failed.notify_one();
        is_first
    }
}

/// Turns librdkafka's callbacks into reports.
struct Context(Arc<Reports>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log_event(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::log_error(&error, reason);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.0.fail("", error);
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = Arc<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Arc<Ticket>) {
        match result {
            Ok(message) => {
                let (topic, partition, offset) =
                    (message.topic(), message.partition(), message.offset());
                if !self.0.offsets.admit(topic, partition, offset) {
                    ticket.fail();
                    let doubt = RDKafkaErrorCode::Inconsistent;
                    if self.0.fail(topic, KafkaError::MessageProduction(doubt)) {
                        tracing::warn!(
                            topic,
                            partition,
                            offset,
                            "Kafka acknowledged a record without an offset of its own: it may not have been \
                             written, or its topic was made anew"
                        );
                    }
                    return;
                }
                self.0.records.fetch_add(1, Ordering::Relaxed);
                let bytes = u64::try_from(message.payload_len()).unwrap_or_default();
                self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err((error, message)) => {
                ticket.fail();
                self.0.fail(message.topic(), error.clone());
            }
        }
    }
}

/// A Kafka client that keeps order. Cheap to share.
pub struct Publisher {
    client: ThreadedProducer<Context>,
    reports: Arc<Reports>,
}

impl Reach for Publisher {
    fn reaches(&self, topic: &str, answer: Duration) -> bool {
        self.client.reaches(topic, answer)
    }

    fn given_up(&self) -> Option<GivenUp> {
        self.client.given_up()
    }
}

impl Publisher {
    /// A client named `client_id`.
    ///
    /// # Errors
    /// When the properties are refused.
    pub fn open(settings: &KafkaSettings, client_id: &str) -> Result<Self, Error> {
        let exit = leafcutter_runtime::exit::Exit::Settings;
        let config = settings
            .producer_config(client_id)
            .map_err(|f| Error::fault(exit, f))?;
        let reports = Arc::new(Reports::default());
        let client = config
            .create_with_context(Context(Arc::clone(&reports)))
            .map_err(|source| Error::Broker {
                what: "start a Kafka producer".to_owned(),
                source,
            })?;
        Ok(Self { client, reports })
    }

    /// Hands one record to the client, waiting while its queue is full.
    ///
    /// # Errors
    /// When the client refuses it, or an earlier record could not be delivered.
    pub async fn send(
        &self,
        topic: &str,
        key: &[u8],
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
        ticket: &Arc<Ticket>,
    ) -> Result<(), Error> {
        let mut record =
            BaseRecord::<[u8], [u8], Arc<Ticket>>::with_opaque_to(topic, Arc::clone(ticket))
                .key(key);
        record.payload = value;
        record.headers = headers;
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    if let Some(error) = self.failure() {
                        return Err(error);
                    }
                    record = refused;
                    tokio::time::sleep(FULL).await;
                }
                Err((source, refused)) => {
                    refused.delivery_opaque.fail();
                    return Err(Error::Deliver {
                        topic: topic.to_owned(),
                        source,
                    });
                }
            }
        }
    }

    /// Sends one record and waits until the broker has it.
    ///
    /// # Errors
    /// When it could not be delivered.
    pub async fn send_and_wait(
        &self,
        topic: &str,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        let (done, acknowledged) = oneshot::channel();
        // The receiver is gone only when the run has ended.
        let ticket = Ticket::new(move || done.send(()).unwrap_or_default());
        self.send(topic, key, value, None, &ticket).await?;
        ticket.seal();
        match acknowledged.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().unwrap_or_else(|| Error::Deliver {
                topic: topic.to_owned(),
                source: KafkaError::Canceled,
            })),
        }
    }

    /// Returns with the error once a delivery has failed.
    pub async fn failed(&self) -> Error {
        loop {
            if let Some(error) = self.failure() {
                return error;
            }
            self.reports.failed.notified().await;
        }
    }

    /// Why the run has to end, if it has to. Taken once; later calls give a short form of it.
    fn failure(&self) -> Option<Error> {
        let failure = self
            .reports
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match failure.as_ref() {
            Some(Error::Deliver { topic, source }) => Some(Error::Deliver {
                topic: topic.clone(),
                source: source.clone(),
            }),
            _ => None,
        }
    }

    /// Records handed over and not yet reported.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.client.in_flight_count()).unwrap_or_default()
    }

    /// Passes what was acknowledged since the last call on to the metrics; gives the records.
    pub fn count(&self) -> u64 {
        let records = self.reports.records.swap(0, Ordering::Relaxed);
        let bytes = self.reports.bytes.swap(0, Ordering::Relaxed);
        metrics::records_acknowledged(records, bytes);
        records
    }
}

/// Where the changes of one collection go.
#[derive(Debug, Clone)]
pub struct Address {
    /// Its data topic.
    pub topic: String,
    /// The topic's `max.message.bytes`.
    pub limit: usize,
}

/// The outlet of a reader: encodes and sends.
pub struct Route {
    publisher: Arc<Publisher>,
    collections: Arc<Vec<Collection>>,
    addresses: Arc<Vec<Address>>,
    encoder: Encoder,
    mapping: String,
    again: bool,
}

impl Route {
    /// A route for one reader.
    pub fn new(
        publisher: Arc<Publisher>,
        collections: Arc<Vec<Collection>>,
        addresses: Arc<Vec<Address>>,
        encoder: Encoder,
        mapping: &str,
    ) -> Self {
        Self {
            publisher,
            collections,
            addresses,
            encoder,
            mapping: mapping.to_owned(),
            again: false,
        }
    }

    /// The same, of documents that a person has read again: their child rows are looked for although
    /// their own rows are the same.
    #[must_use]
    pub fn again(self) -> Self {
        Self {
            again: true,
            ..self
        }
    }
}

impl Outlet for Route {
    async fn put(
        &mut self,
        collection: usize,
        change: Change<'_>,
        ticket: &Arc<Ticket>,
    ) -> Result<(), Error> {
        let (Some(source), Some(address)) = (
            self.collections.get(collection),
            self.addresses.get(collection),
        ) else {
            let why = format!("no topic for the collection at position {collection}");
            return Err(Error::internal("the publisher", why));
        };
        let value = self.encoder.encode(&source.name, &change);
        let key = change.key.as_str().as_bytes();
        let bytes = value.len() + key.len() + RECORD_OVERHEAD_BYTES;
        if bytes <= address.limit {
            let headers = self.again.then(|| {
                OwnedHeaders::new().insert(Header {
                    key: AGAIN,
                    value: Some("1"),
                })
            });
            return self
                .publisher
                .send(&address.topic, key, Some(value), headers, ticket)
                .await;
        }
        metrics::record_too_large(&source.name);
        tracing::error!(
            collection = source.name,
            topic = address.topic,
            bytes,
            limit = address.limit,
            error = "record over the topic's limit",
            "a document goes to the dead letters without its body"
        );
        let letter = too_large(address, &change, bytes, &self.mapping);
        let topic = dead_letter_topic(&address.topic);
        let key = key.get(..DEAD_LETTER_KEY_BYTES_MAX).unwrap_or(key);
        self.publisher
            .send(&topic, key, None, Some(letter), ticket)
            .await
    }
}

fn too_large(address: &Address, change: &Change<'_>, bytes: usize, mapping: &str) -> OwnedHeaders {
    let limit = address.limit;
    let letter = DeadLetter {
        // It was never in the topic: there is no partition and no offset to name.
        origin: Origin {
            topic: address.topic.clone(),
            partition: -1,
            offset: -1,
            timestamp: None,
        },
        reason: Reason::new(
            Stage::Produce,
            "too-large",
            format!(
                "a record of {bytes} bytes does not fit the topic's max.message.bytes of {limit}"
            ),
        ),
        version: Some(change.version.as_i64()),
        attempts: 1,
        mapping: mapping.to_owned(),
        program: concat!("leafcutter-producer ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    letter
        .headers()
        .iter()
        .fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header {
                key: name,
                value: Some(value),
            })
        })
}
