//! Faults between the producer and the broker, made by a proxy in the middle.
//!
//! The proxy passes bytes on in both directions. In what the broker answers it puts its own port in
//! place of the broker's, so that the client stays with it; a connection is known by the client id
//! in the first request. What it does is scripted: pass, hold back what a client sends, or cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use bson::doc;
use leafcutter_harness::{stack::Stack, topic};
use leafcutter_producer::publish::Publisher;
use leafcutter_runtime::{exit::Exit, kafka::KafkaSettings};
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::pages::Pages;
use crate::records::{assert_heartbeats, numbered};
use crate::stream::disturb;
use crate::world::{World, kill};

pub(crate) const PASS: u8 = 0;
/// What the data client sends does not arrive; control records do.
pub(crate) const HOLD_DATA: u8 = 1;
/// Nobody can connect, and nobody stays connected.
pub(crate) const CUT: u8 = 2;

/// What the data client sends arrives in pieces of some kilobytes, a hundred a second.
pub(crate) const SLOW: u8 = 3;
/// Such a piece.
const PIECE: usize = 4 << 10;
/// How often one arrives.
const TICK: Duration = Duration::from_millis(10);

/// What the proxy does, and what it has done so far.
#[derive(Debug, Default)]
struct Script {
    mode: AtomicU8,
    /// What the data client sent and was held back.
    held: AtomicU32,
    /// Connections that were refused.
    refused: AtomicU32,
}

impl Script {
    fn is(&self, mode: u8) -> bool {
        self.mode.load(Ordering::SeqCst) == mode
    }
}

pub(crate) struct Proxy {
    port: u16,
    script: Arc<Script>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let broker = Stack::from_env().unwrap().kafka_brokers;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let own = Arc::new(Script::default());
        let script = Arc::clone(&own);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if script.is(CUT) {
                    script.refused.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let Ok(server) = TcpStream::connect(&broker).await else {
                    continue;
                };
                tokio::spawn(serve(
                    client,
                    server,
                    broker.clone(),
                    port,
                    Arc::clone(&script),
                ));
            }
        });
        Self { port, script: own }
    }

    pub(crate) fn set(&self, mode: u8) {
        self.script.mode.store(mode, Ordering::SeqCst);
    }

    /// Waits until the data client has sent something that is held back.
    pub(crate) async fn until_held(&self, world: &World) {
        let held = || self.script.held.load(Ordering::SeqCst) > 0;
        world.until("something is held back", held).await;
    }

    /// Waits until somebody has tried twice more to connect.
    async fn until_refused_again(&self, world: &World) {
        let refused = || self.script.refused.load(Ordering::SeqCst);
        let before = refused();
        world
            .until("connections are refused", || refused() >= before + 2)
            .await;
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

async fn serve(
    client: TcpStream,
    server: TcpStream,
    broker: String,
    port: u16,
    script: Arc<Script>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let sent = Arc::clone(&script);
    let up = async move {
        let mut buffer = vec![0; 64 << 10];
        let mut data = None;
        loop {
            let Ok(count @ 1..) = from_client.read(&mut buffer).await else {
                return;
            };
            let data =
                *data.get_or_insert_with(|| client_id(&buffer[..count]) == "leafcutter-producer");
            if data && sent.is(HOLD_DATA) {
                sent.held.fetch_add(1, Ordering::SeqCst);
            }
            while data && sent.is(HOLD_DATA) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            for piece in buffer[..count].chunks(PIECE) {
                if data && sent.is(SLOW) {
                    tokio::time::sleep(TICK).await;
                }
                if to_server.write_all(piece).await.is_err() {
                    return;
                }
            }
        }
    };
    let theirs: u16 = broker
        .rsplit_once(':')
        .and_then(|(_, p)| p.parse().ok())
        .expect("a port");
    let down = async move {
        loop {
            // Answer by answer, so that an address is never cut in two.
            let Ok(length) = from_server.read_u32().await else {
                return;
            };
            let mut answer = vec![0; length as usize];
            if from_server.read_exact(&mut answer).await.is_err() {
                return;
            }
            redirect(&mut answer, theirs, port);
            if to_client.write_u32(length).await.is_err()
                || to_client.write_all(&answer).await.is_err()
            {
                return;
            }
        }
    };
    let cut = async {
        while !script.is(CUT) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! { () = up => {} () = down => {} () = cut => {} }
}

/// The client id of a request: length, API key, API version, correlation id, then the id.
fn client_id(request: &[u8]) -> String {
    let length = usize::from(u16::from_be_bytes([request[12], request[13]]));
    String::from_utf8_lossy(&request[14..14 + length]).into_owned()
}

/// A host is followed by its port as a 32-bit number.
fn redirect(answer: &mut [u8], from: u16, to: u16) {
    let mut pattern = b"127.0.0.1".to_vec();
    pattern.extend(u32::from(from).to_be_bytes());
    let places: Vec<_> = answer
        .windows(pattern.len())
        .enumerate()
        .filter_map(|(place, window)| (window == pattern).then_some(place))
        .collect();
    for place in places {
        answer[place + 9..place + 13].copy_from_slice(&u32::from(to).to_be_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_never_covers_what_the_broker_does_not_have() {
    let mut world = World::new("unsent", &["a"]).await;
    let proxy = Proxy::start().await;
    world.flag("kafka-brokers", &proxy.address());
    world.insert("a", numbered(50)).await;
    world.catch_up(&["a"]).await;
    // Read, sent, and never arrived.
    let producer = world.spawn("run");
    let before = world.heartbeat().expect("a heartbeat").sent_at;
    world
        .until("it works", || {
            world.heartbeat().is_some_and(|b| b.sent_at > before)
        })
        .await;
    proxy.set(HOLD_DATA);
    disturb(&world, &["a"], 60, 200, 3).await;
    proxy.until_held(&world).await;
    world.until_later_heartbeats().await;
    kill(producer);
    proxy.set(PASS);
    world.catch_up(&[]).await;
    world.assert_converged("a").await;
    assert_heartbeats(&world, &["a"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_is_done_only_when_the_broker_has_it() {
    let mut world = World::new("unsentsplit", &["a"]).await;
    let proxy = Proxy::start().await;
    world.flag("kafka-brokers", &proxy.address());
    world.flag("split-bytes", "2000");
    world.insert("a", numbered(2000)).await;
    proxy.set(HOLD_DATA);
    let producer = world.spawn("run");
    world
        .until("it works", || world.heartbeat().is_some())
        .await;
    proxy.until_held(&world).await;
    world.until_later_heartbeats().await;
    assert!(world.complete("a").is_none(), "nothing has arrived");
    kill(producer);
    proxy.set(PASS);
    let producer = world.start("run");
    world.until_complete("a").await;
    producer.stop().await.expect("it stops");
    world.assert_converged("a").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_and_comes_back_is_waited_for() {
    let mut world = World::new("outage", &["a"]).await;
    let proxy = Proxy::start().await;
    world.flag("kafka-brokers", &proxy.address());
    world.flag("memory-budget", "8MiB");
    let pages = Pages::of(&mut world).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    pages.until_ready().await;
    for round in 0..3 {
        proxy.set(CUT);
        // More than the budget holds: reading has to wait, not to fail.
        let filler = "x".repeat(100_000);
        for id in 0..150 {
            let update = doc! { "$set": { "f": &filler, "round": i64::try_from(round).unwrap() } };
            let key = doc! { "_id": id };
            world
                .collection("a")
                .update_one(key, update)
                .upsert(true)
                .await
                .unwrap();
        }
        proxy.until_refused_again(&world).await;
        pages.until_without("kafka").await;
        assert!(!producer.is_over());
        proxy.set(PASS);
        pages.until_ready().await;
        disturb(&world, &["a"], 100, 50, 7 + round).await;
    }
    world.until_caught_up().await;
    assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
    world.assert_converged("a").await;
    assert_heartbeats(&world, &["a"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_a_broker_ends_at_the_deadline() {
    let mut world = World::new("deadline", &["a"]).await;
    let proxy = Proxy::start().await;
    world.flag("kafka-brokers", &proxy.address());
    world.flag("drain", "2s");
    let producer = world.start("run");
    world.until_complete("a").await;
    // Sent, so that it has to be waited for, and never acknowledged.
    proxy.set(HOLD_DATA);
    world.insert("a", numbered(10)).await;
    proxy.until_held(&world).await;
    proxy.set(CUT);
    let start = std::time::Instant::now();
    let failure = producer.stop().await.expect_err("it cannot drain");
    assert_eq!(failure.exit, Exit::DrainDeadline, "{failure}");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    proxy.set(PASS);
    world.catch_up(&[]).await;
    world.assert_converged("a").await;
    world.end().await;
}

/// Kafka acknowledges a record at an offset that it has acknowledged before: what was written there before is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_acknowledged_at_the_offset_of_another_ends_the_run() {
    let world = World::new("repeat", &[]).await;
    let topic = format!("{}.repeat", world.prefix);
    let again = || async {
        let made = topic::create(&world.kafka, &[topic::new(&topic, 1)]).await;
        made.expect("a topic");
    };
    again().await;
    let publisher = Publisher::open(&world.kafka, "prodtest").expect("a client");
    for key in [b"1", b"2", b"3"] {
        let sent = publisher.send_and_wait(&topic, key, Some(b"value")).await;
        sent.expect("written behind the one before");
    }
    let deleted = topic::delete(&world.kafka, &[&topic]).await;
    deleted.expect("the topic is gone");
    again().await;
    let sent = publisher.send_and_wait(&topic, b"4", Some(b"value")).await;
    let error = sent.expect_err("it is the first one of another topic");
    let said = format!("{error:?}");
    assert!(said.contains("Inconsistent"), "{said}");
    world.end().await;
}

/// Of two requests on their way the broker refuses the first and takes the second; the client calls both delivered.
/// The broker is librdkafka's own (`rdkafka_mock.h`): a real one refuses at the right moment by chance only.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_acknowledged_by_its_successor_only_ends_the_run() {
    let cluster: MockCluster<'static, DefaultProducerContext> =
        MockCluster::new(1).expect("a cluster");
    cluster.create_topic("t", 1, 1).expect("a topic");
    let round_trip = Duration::from_millis(200);
    cluster.broker_round_trip_time(1, round_trip).expect("slow");
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
    let mut kafka = KafkaSettings::new(cluster.bootstrap_servers());
    let one_each = ("batch.num.messages".to_owned(), "1".to_owned());
    kafka.properties.push(one_each);
    let publisher = Publisher::open(&kafka, "prodtest").expect("a client");
    let (first, second) = tokio::join!(
        publisher.send_and_wait("t", b"1", Some(b"value")),
        publisher.send_and_wait("t", b"2", Some(b"value")),
    );
    let said = format!("{first:?} {second:?}");
    assert!(first.is_err() && said.contains("Inconsistent"), "{said}");
}
