//! Clients that have lost their brokers for good, or have given themselves up.
//!
//! Where going on could break an order, or another consumer has taken its place, librdkafka gives a client up: every
//! call fails from then on (`rd_kafka_fatal_error`), whatever Kafka does. Its owner begins anew.
//!
//! A broker that has just started may answer a metadata request with topics and no brokers. librdkafka 2.12 and
//! 2.13 then drop every broker they know, and look for none again (librdkafka issue 5301): the client waits for
//! ever, while Kafka is there. No property keeps it from that, and nothing that the client says tells it from
//! an outage. So each client is asked whether it reaches Kafka. Where one does not, a new client is asked the
//! same, and where that one does, several times in a row, the first is lost, and its owner begins anew. In an
//! outage the new one does not reach Kafka either, and nobody is lost.

use super::{context::LogContext, settings::KafkaSettings};
use crate::shutdown::Shutdown;
use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::RDKafkaErrorCode,
    producer::{
        FutureProducer, Producer, ProducerContext, ThreadedProducer,
        future_producer::FutureProducerContext,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// How long Kafka may take to answer a client that is connected.
const ANSWER: Duration = Duration::from_secs(2);
/// How long it may take to answer a new one.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// Looks in a row at which a client does not reach Kafka and a new one does: 20 s at least from the first to the
/// last. librdkafka waits for 10 s at most between two attempts to connect.
const MISSED_MAX: u32 = 3;

/// Why librdkafka has given a client up.
pub type GivenUp = (RDKafkaErrorCode, String);

/// A client that can be asked whether it reaches Kafka.
pub trait Reach: Send + Sync {
    /// Whether Kafka answers it.
    fn reaches(&self, topic: &str, answer: Duration) -> bool;

    /// Why it is of no use any more, whether or not Kafka answers it.
    fn given_up(&self) -> Option<GivenUp>;
}

impl<C: ConsumerContext> Reach for BaseConsumer<C> {
    fn reaches(&self, topic: &str, answer: Duration) -> bool {
        self.fetch_metadata(Some(topic), answer).is_ok()
    }

    fn given_up(&self) -> Option<GivenUp> {
        self.client().fatal_error()
    }
}

impl<C: ProducerContext + 'static> Reach for ThreadedProducer<C> {
    fn reaches(&self, topic: &str, answer: Duration) -> bool {
        self.client().fetch_metadata(Some(topic), answer).is_ok()
    }

    fn given_up(&self) -> Option<GivenUp> {
        self.client().fatal_error()
    }
}

impl<C: ClientContext + 'static> Reach for FutureProducer<C>
where
    FutureProducerContext<C>: ProducerContext,
{
    fn reaches(&self, topic: &str, answer: Duration) -> bool {
        self.client().fetch_metadata(Some(topic), answer).is_ok()
    }

    fn given_up(&self) -> Option<GivenUp> {
        self.client().fatal_error()
    }
}

/// A client is lost, though Kafka is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientLost {
    /// It does not reach what others reach.
    #[error("the Kafka client of the {0} has lost its brokers, though Kafka answers")]
    Brokers(&'static str),
    /// librdkafka has given it up.
    #[error("the Kafka client of the {of} is of no use any more: {why}")]
    GivenUp {
        /// What it is of.
        of: &'static str,
        /// The error.
        code: RDKafkaErrorCode,
        /// In librdkafka's words.
        why: String,
    },
}

impl ClientLost {
    /// Whether another consumer has its `group.instance.id` (KIP-345): a new client would take its place in turn.
    pub fn is_replaced(&self) -> bool {
        let replaced = RDKafkaErrorCode::FencedInstanceId;
        matches!(self, Self::GivenUp { code, .. } if *code == replaced)
    }
}

/// The watch over the clients of a program; [`ClientsWatch::run`] is the body of a thread.
pub struct ClientsWatch {
    /// Where Kafka is.
    pub kafka: KafkaSettings,
    /// A topic to ask for.
    pub topic: String,
    /// The clients, and what each is of.
    pub clients: Vec<(&'static str, Arc<dyn Reach>)>,
    /// When it ends.
    pub shutdown: Shutdown,
}

impl ClientsWatch {
    /// Looks until the shutdown.
    ///
    /// # Errors
    /// When a client is lost.
    pub fn run(self) -> Result<(), ClientLost> {
        let mut missed = vec![0; self.clients.len()];
        while self.pause() {
            if let Some(lost) = self.given_up() {
                return Err(lost);
            }
            // A stop does not wait until each of them has been asked in vain.
            let reaches = |client: &Arc<dyn Reach>| {
                self.shutdown.is_triggered() || client.reaches(&self.topic, ANSWER)
            };
            let reached: Vec<bool> = self.clients.iter().map(|(_, c)| reaches(c)).collect();
            let is_there = reached.iter().all(|reached| *reached) || self.is_there();
            if let Some(lost) = count(&mut missed, &reached, is_there) {
                return Err(ClientLost::Brokers(self.clients[lost].0));
            }
        }
        Ok(())
    }

    fn given_up(&self) -> Option<ClientLost> {
        self.clients.iter().find_map(|&(of, ref client)| {
            let (code, why) = client.given_up()?;
            Some(ClientLost::GivenUp { of, code, why })
        })
    }

    /// Whether Kafka answers a new client.
    fn is_there(&self) -> bool {
        let config = self.kafka.reader_config("leafcutter-probe").ok();
        let probe = config.and_then(|config| config.create_with_context(LogContext).ok());
        probe
            .is_some_and(|probe: BaseConsumer<LogContext>| probe.reaches(&self.topic, FIRST_ANSWER))
    }

    /// False where the shutdown has come.
    fn pause(&self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < EVERY && !self.shutdown.is_triggered() {
            std::thread::park_timeout(Duration::from_millis(200));
        }
        !self.shutdown.is_triggered()
    }
}

/// Counts one look; gives a client that is lost.
fn count(missed: &mut [u32], reached: &[bool], is_there: bool) -> Option<usize> {
    for (missed, reached) in missed.iter_mut().zip(reached) {
        *missed = if *reached || !is_there {
            0
        } else {
            *missed + 1
        };
    }
    missed.iter().position(|missed| *missed >= MISSED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::{
        config::ClientConfig,
        mocking::MockCluster,
        producer::{BaseRecord, DefaultProducerContext},
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    #[test]
    fn a_client_is_lost_that_never_reaches_what_others_reach() {
        let mut missed = [0; 2];
        let mut look = |reached: [bool; 2], is_there| count(&mut missed, &reached, is_there);
        for _ in 1..MISSED_MAX {
            assert_eq!(look([true, false], true), None);
        }
        // An outage.
        assert_eq!(look([false, false], false), None);
        for _ in 1..MISSED_MAX {
            assert_eq!(look([true, false], true), None);
        }
        // It has come back by itself.
        assert_eq!(look([true, true], true), None);
        for _ in 1..MISSED_MAX {
            assert_eq!(look([true, false], true), None);
        }
        assert_eq!(look([true, false], true), Some(1));
    }

    /// Kafka has another's records where this client's should be: it cannot know what is there.
    #[test]
    fn a_client_that_has_given_itself_up_is_lost() {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let kafka = KafkaSettings::new(cluster.bootstrap_servers());
        let config = kafka.producer_config("test").expect("a config");
        let producer: ThreadedProducer<DefaultProducerContext> =
            config.create().expect("a producer");
        let producer = Arc::new(producer);
        let watch = ClientsWatch {
            kafka,
            topic: "t".to_owned(),
            clients: vec![("records", Arc::clone(&producer) as Arc<dyn Reach>)],
            shutdown: Shutdown::new(),
        };
        assert_eq!(watch.given_up(), None);
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        let record = BaseRecord::<(), str>::to("t").payload("x");
        producer.send(record).expect("room in the queue");
        let started = Instant::now();
        while watch.given_up().is_none() {
            assert!(started.elapsed() < Duration::from_secs(30), "not given up");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        assert!(producer.reaches("t", FIRST_ANSWER));
        let lost = watch.run().expect_err("lost");
        assert!(!lost.is_replaced());
        assert!(lost.to_string().contains("of no use"), "{lost}");
    }

    /// A client whose brokers are elsewhere stands for one that has lost them.
    #[test]
    fn whoever_is_lost_is_told_from_an_outage() {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let consumer = |brokers: &str| -> BaseConsumer {
            let mut config = ClientConfig::new();
            config
                .set("bootstrap.servers", brokers)
                .set("log_level", "0");
            config.create().expect("a consumer")
        };
        let (near, far) = (
            consumer(&cluster.bootstrap_servers()),
            consumer("127.0.0.1:1"),
        );
        let quick = Duration::from_millis(500);
        assert!(near.reaches("t", FIRST_ANSWER));
        assert!(!far.reaches("t", quick));
        let watch = |brokers: &str| ClientsWatch {
            kafka: KafkaSettings::new(brokers),
            topic: "t".to_owned(),
            clients: Vec::new(),
            shutdown: Shutdown::new(),
        };
        assert!(watch(&cluster.bootstrap_servers()).is_there());
        assert!(!watch("127.0.0.1:1").is_there());
    }
}
