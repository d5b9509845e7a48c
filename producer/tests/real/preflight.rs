//! Everything that is wrong is told at once, before any document moves.

use std::time::{Duration, Instant};

use bson::doc;
use leafcutter_harness::topic;
use leafcutter_runtime::exit::Exit;
use leafcutter_runtime::report::Failure;

use crate::world::World;

async fn refused(world: &World) -> Failure {
    world.start("run").ended().await.expect_err("it is refused")
}

fn has(failure: &Failure, words: &[&str]) {
    let text = failure
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_there_are_both_told_within_seconds() {
    let mut world = World::new("nowhere", &["a"]).await;
    world.flag(
        "mongodb-uri",
        "mongodb://someone:hidden@127.0.0.1:1/?replicaSet=rs0",
    );
    world.flag("kafka-brokers", "127.0.0.1:2");
    let start = Instant::now();
    let failure = refused(&world).await;
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(failure.exit, Exit::Preflight);
    assert_eq!(failure.faults.0.len(), 2, "{failure}");
    has(
        &failure,
        &[
            "could not reach MongoDB",
            "127.0.0.1:1",
            "could not reach Kafka",
            "127.0.0.1:2",
        ],
    );
    assert!(!failure.to_string().contains("hidden"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_would_break_a_promise_are_refused_together() {
    let world = World::new("topics", &["a", "b", "c"]).await;
    let (a, b, c) = (world.topic("a"), world.topic("b"), world.topic("c"));
    let topics = [
        topic::new(&a, 8).set("max.message.bytes", "1000000"),
        topic::new(&b, 3).set("max.message.bytes", "20971520"),
        topic::new(&c, 8)
            .set("max.message.bytes", "20971520")
            .set("cleanup.policy", "compact"),
    ];
    topic::create(&world.kafka, &topics).await.unwrap();
    world
        .database
        .run_command(doc! { "create": "a", "viewOn": "z", "pipeline": [] })
        .await
        .expect("a view");
    let failure = refused(&world).await;
    assert_eq!(failure.exit, Exit::Preflight);
    assert_eq!(failure.faults.0.len(), 4, "{failure}");
    has(
        &failure,
        &[
            "1000000",
            "3 partitions",
            "--partitions 3",
            "compact",
            "a view",
        ],
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_would_lose_or_refuse_records_are_refused() {
    let mut world = World::new("held", &["a", "b"]).await;
    world.flag("retention", "2d");
    let (a, b) = (world.topic("a"), world.topic("b"));
    let topics = [
        topic::new(&a, 8)
            .set("max.message.bytes", "20971520")
            .set("retention.ms", "3600000"),
        topic::new(&b, 8)
            .set("max.message.bytes", "20971520")
            .set("min.insync.replicas", "2"),
    ];
    topic::create(&world.kafka, &topics).await.unwrap();
    let failure = refused(&world).await;
    assert_eq!(failure.exit, Exit::Preflight);
    assert_eq!(failure.faults.0.len(), 2, "{failure}");
    has(
        &failure,
        &[
            "retention.ms is 3600000",
            "retention.ms=172800000",
            "min.insync.replicas is 2",
        ],
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_name_kafka_takes_for_another_is_told_so() {
    let mut world = World::new("names", &["a_b"]).await;
    let taken = world.topic("a.b");
    topic::create(&world.kafka, &[topic::new(&taken, 1)])
        .await
        .unwrap();
    let failure = refused(&world).await;
    has(&failure, &[&taken, "differ only by `.` and `_`"]);
    // Two of one mapping are told by the settings already.
    world.map(&["a_b", "a.b"]);
    let failure = world.checked("run").expect_err("two of one name");
    has(&failure, &["differ only by `.` and `_`"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_piece_of_a_password_is_shown() {
    let mut world = World::new("password", &["a"]).await;
    world.flag("mongodb-uri", "");
    for odd in ["?", "/", "#", ":", "@", "%", "[", "]", "&", "=", " ", ";"] {
        let uri = format!("mongodb://someone:hid{odd}den@127.0.0.1:1/?replicaSet=rs0");
        world.replace_flag("mongodb-uri", &uri);
        let text = refused(&world).await.to_string();
        assert!(
            !text.contains("hid") && !text.contains("den"),
            "{odd}: {text}"
        );
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_partition_count_later_is_a_state_that_does_not_fit() {
    let mut world = World::new("count", &["a"]).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    producer.stop().await.expect("it stops");
    world.flag("partitions", "4");
    let failure = refused(&world).await;
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    has(&failure, &["--partitions 8"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_topic_that_vanished_is_not_filled_with_half_a_collection() {
    let world = World::new("vanished", &["a"]).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    producer.stop().await.expect("it stops");
    let gone = world.topic("a");
    topic::delete(&world.kafka, &[&gone]).await.unwrap();
    let failure = refused(&world).await;
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    // The refusal has to hold, or the next start would go on as if nothing had happened.
    let failure = refused(&world).await;
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    world.end().await;
}
