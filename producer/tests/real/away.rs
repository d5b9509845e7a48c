//! Kafka is away for long, or slow, and under load: what the producer holds then, and how it ends.

use std::process::Command;
use std::time::{Duration, Instant};

use bson::doc;
use leafcutter_harness::probe;

use crate::broker::{CUT, HOLD_DATA, PASS, Proxy, SLOW};
use crate::limits::{noise, peak_mebibytes};
use crate::pages::Pages;
use crate::records::numbered;
use crate::world::World;

const MIB: f64 = 1_048_576.0;

/// The client's queue takes 32 MiB and the budget 48 MiB, so the queue is full before the budget is.
#[tokio::test(flavor = "multi_thread")]
async fn its_memory_is_bounded_and_the_full_queue_keeps_the_order() {
    const BYTES: usize = 100_000;
    let mut world = World::new("full", &["a"]).await;
    world.flag("log", "info,leafcutter_producer::source=debug");
    let proxy = Proxy::start().await;
    world.flag("kafka-brokers", &proxy.address());
    let pages = Pages::of(&mut world).await;
    world.insert("a", numbered(100)).await;
    let producer = world.spawn("run");
    world.until_complete("a").await;
    pages.until_ready().await;
    proxy.set(CUT);
    // Four times what it may hold, of the same keys again and again.
    let filler = "x".repeat(BYTES);
    let collection = world.collection("a");
    for round in 0..20 {
        for id in 0..100 {
            let document = doc! { "n": round, "f": &filler };
            let replaced = collection.replace_one(doc! { "_id": id }, document);
            replaced.await.expect("a write");
        }
    }
    pages.until_without("kafka").await;
    let full = probe::until(Duration::from_secs(60), "a full queue", async || {
        let metric = async |name| pages.metric(name).await.unwrap_or_default();
        let held = metric("leafcutter_producer_budget_used_bytes").await / MIB;
        let queued = metric("leafcutter_producer_records_in_flight").await * BYTES as f64 / MIB;
        Ok((queued >= 31.5 && held >= queued).then_some((held, queued)))
    });
    let (held, queued) = full.await.unwrap();
    let peak = peak_mebibytes(producer.id());
    println!("{held:.1} MiB in hand, {queued:.1} MiB in the queue, {peak} MiB of memory");
    assert!(queued <= 32.0, "{queued} MiB are in the queue");
    assert!(peak < 150, "{peak} MiB");

    proxy.set(PASS);
    world.until_caught_up().await;
    pages.until_ready().await;
    // Replies are in hand then, another one is being read, and the queue is full.
    let peak = peak_mebibytes(producer.id());
    println!("{peak} MiB of memory afterwards");
    assert!(peak < 170, "{peak} MiB");
    assert!(
        world.has_logged("again for replies that fit"),
        "replies of 16 MB"
    );
    crate::world::kill(producer);
    assert!(
        !world.has_logged("beginning again"),
        "it went on with the same records"
    );
    let records = world.assert_converged("a").await;
    let changes = records.iter().filter(|record| !record.snapshot).count();
    assert_eq!(changes, 2_000, "each once");
    world.end().await;
}

/// Kafka takes less than is written: the source is read more slowly, nothing is given up or sent twice, and the lag
/// can be seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_broker_is_lag_and_nothing_else() {
    let mut world = World::new("slowbroker", &["a"]).await;
    let proxy = Proxy::start().await;
    world.flag("kafka-brokers", &proxy.address());
    world.flag("memory-budget", "8MiB");
    let pages = Pages::of(&mut world).await;
    let producer = world.spawn("run");
    world.until_complete("a").await;
    proxy.set(SLOW);
    // More than the budget holds, and nothing that compresses.
    for id in 0..150 {
        let filler = noise(100_000, id);
        let id = i64::try_from(id).unwrap();
        world.insert("a", [doc! { "_id": id, "f": filler }]).await;
    }
    let lags = probe::until(Duration::from_secs(60), "the lag to be seen", async || {
        let lag = pages.metric("leafcutter_producer_source_lag_seconds").await;
        Ok(lag.filter(|lag| *lag >= 5.0))
    });
    lags.await.unwrap();
    pages.until_ready().await;
    proxy.set(PASS);
    world.until_caught_up().await;
    crate::world::kill(producer);
    assert!(!world.has_logged("beginning again"));
    let records = world.assert_converged("a").await;
    assert_eq!(records.len(), 150, "each once");
    world.end().await;
}

/// It cannot drain, and has a minute for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let mut world = World::new("second", &["a"]).await;
    let proxy = Proxy::start().await;
    world.flag("kafka-brokers", &proxy.address());
    world.flag("drain", "60s");
    let mut producer = world.spawn("run");
    world.until_complete("a").await;
    proxy.set(HOLD_DATA);
    world.insert("a", numbered(5_000)).await;
    proxy.until_held(&world).await;
    let signal = |id: u32| {
        let sent = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status();
        assert!(sent.expect("kill").success());
    };
    signal(producer.id());
    let draining = || world.has_logged("draining");
    world.until("it drains", draining).await;
    assert!(producer.try_wait().expect("it is ours").is_none());
    let start = Instant::now();
    signal(producer.id());
    let status = producer.wait().expect("it ends");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(status.code(), Some(8));
    proxy.set(PASS);
    world.catch_up(&[]).await;
    world.assert_converged("a").await;
    world.end().await;
}
