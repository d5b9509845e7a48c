//! What a cluster does rarely, on librdkafka's mock of one: a partition that falls silent, and one that is
//! given up while there is no room.

use super::{
    deliver::PATIENCE,
    event::{Command, Event, Membership},
    poll::Poll,
    position::Positions,
};
use leafcutter_runtime::{budget::Budget, kafka::KafkaSettings};
use leafcutter_sink::ids::{CollectionId, Partition};
use rdkafka::{
    ClientConfig,
    consumer::Consumer as _,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use std::{
    sync::mpsc as std_mpsc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

const TOPIC: &str = "things";
const PARTITION: Partition = Partition {
    collection: CollectionId(0),
    number: 0,
};
/// Whatever is waited for has to happen within this.
const LIMIT: Duration = Duration::from_secs(60);
/// Room for all that a test brings.
const EVENTS: usize = 100;

/// The thread's body and both ends of its channels, on a cluster of its own.
struct Place {
    poll: Poll,
    commands: std_mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    membership: mpsc::UnboundedReceiver<Membership>,
    producer: BaseProducer,
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Place {
    /// A partition that is ours, with this many records, and nothing read yet.
    fn new(records: i64) -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(TOPIC, 1, 1).expect("a topic");
        let brokers = cluster.bootstrap_servers();
        let mut config = ClientConfig::new();
        let producer = config
            .set("bootstrap.servers", &brokers)
            .create()
            .expect("a producer");
        let kafka = KafkaSettings::new(brokers);
        let config = kafka.consumer_config("group", "test").expect("a config");
        let (commands, commands_out) = std_mpsc::channel();
        let (events_in, events) = mpsc::channel(EVENTS);
        let (membership_in, membership) = mpsc::unbounded_channel();
        let names = vec![TOPIC.to_owned()];
        let budget = Budget::new(1 << 20);
        let poll = Poll::subscribe(
            &config,
            names,
            commands_out,
            (events_in, membership_in),
            budget,
        );
        let mut place = Self {
            poll: poll.expect("a consumer"),
            commands,
            events,
            membership,
            producer,
            cluster,
        };
        place.produce(records);
        place.until("it is assigned", |place| {
            let change = place.membership.try_recv();
            change.is_ok_and(|change| change == Membership::Assigned(vec![PARTITION]))
        });
        place
    }

    fn produce(&self, records: i64) {
        for number in 0..records {
            let value = number.to_string();
            let record = BaseRecord::<(), str>::to(TOPIC).payload(&value);
            self.producer
                .send(record.partition(0))
                .expect("room in the queue");
        }
        self.producer.flush(LIMIT).expect("all are there");
    }

    /// The partition may bring nothing for so long.
    fn quiet(&mut self, quiet: Duration) {
        self.poll.positions = Positions::new(quiet);
        self.poll.positions.assign(&[PARTITION]);
    }

    /// Asks for the partition from this offset on, and waits until it is read.
    fn read(&mut self, offset: i64) {
        let read = Command::Read {
            partition: PARTITION,
            offset,
            and_before: false,
            generation: 1,
        };
        self.commands.send(read).expect("the poll is there");
        self.until("it is read", |place| {
            let is_ready = |event: &Event| matches!(event, Event::Ready(PARTITION, 1));
            place.events.try_recv().is_ok_and(|event| is_ready(&event))
        });
    }

    /// Steps until the records up to `end` have come, each once and in order from `next` on.
    fn expect(&mut self, mut next: i64, end: i64) {
        self.until("all have come", |place| {
            for event in place.events() {
                let Event::Deliveries(list, _) = event else {
                    continue;
                };
                for delivery in list {
                    assert_eq!(delivery.origin.offset, next, "once, and in order");
                    next += 1;
                }
            }
            next >= end
        });
        assert_eq!(next, end);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(self.poll.step(), "the assembler is there");
            assert!(started.elapsed() < LIMIT, "in vain: {what}");
        }
    }
}

/// librdkafka is told to bring nothing and we are not, which is what we see when it brings nothing by a fault.
#[test]
fn a_silent_partition_is_begun_anew_where_it_stands() {
    let mut place = Place::new(3);
    place.quiet(Duration::from_millis(100));
    place.read(0);
    place.expect(0, 3);
    let list = place.poll.list(PARTITION);
    place.poll.consumer.pause(&list).expect("paused");
    place.produce(4);
    place.expect(3, 7);
}

/// librdkafka has lost what the group gave us: every seek is refused.
#[test]
fn a_partition_that_cannot_be_sought_is_begun_anew() {
    let mut place = Place::new(3);
    place.quiet(Duration::from_millis(100));
    let list = place.poll.list(PARTITION);
    let consumer = &place.poll.consumer;
    consumer.incremental_unassign(&list).expect("taken away");
    place.read(1);
    place.expect(1, 3);
}

/// The error comes once, to whoever polls; here, to who only serves the group.
#[test]
fn a_partition_that_is_given_up_while_there_is_no_room_is_begun_anew() {
    let mut place = Place::new(3);
    place.quiet(Duration::MAX);
    place.read(0);
    place.expect(0, 3);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    place
        .cluster
        .request_errors(RDKafkaApiKey::Fetch, &[refusal]);
    // The refusal comes within the patience, after which partitions are paused and polled.
    let started = Instant::now();
    while started.elapsed() < PATIENCE + Duration::from_secs(1) {
        assert!(
            place.poll.serve_while_full(started),
            "the assembler is there"
        );
    }
    // There is room again.
    assert!(place.poll.deliver(Vec::new(), 0));
    place.produce(4);
    place.expect(3, 7);
}

/// Whoever is to be taken over may hold the lock for which the batch in hand waits.
#[test]
fn what_the_group_gives_is_told_while_there_is_no_room() {
    let mut place = Place::new(0);
    let given = || Membership::Assigned(vec![PARTITION]);
    place.poll.consumer.context().push(given());
    let started = Instant::now();
    let told = loop {
        assert!(place.poll.serve_while_full(started), "it is there");
        if let Ok(told) = place.membership.try_recv() {
            break told;
        }
        assert!(started.elapsed() < LIMIT, "in vain");
    };
    assert_eq!(told, given());
}
