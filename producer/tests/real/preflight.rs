//! Everything that is wrong is told at once, before any document moves.

use std::time::{Duration, Instant};

use bson::doc;
use leafcutter_runtime::exit::Exit;
use leafcutter_runtime::kafka::LogContext;
use leafcutter_runtime::report::Failure;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};

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
    let admin: AdminClient<LogContext> = world
        .kafka
        .admin_config("prodtest")
        .unwrap()
        .create_with_context(LogContext)
        .unwrap();
    let (a, b, c) = (world.topic("a"), world.topic("b"), world.topic("c"));
    let fixed = TopicReplication::Fixed;
    let topics = [
        NewTopic::new(&a, 8, fixed(1)).set("max.message.bytes", "1000000"),
        NewTopic::new(&b, 3, fixed(1)).set("max.message.bytes", "20971520"),
        NewTopic::new(&c, 8, fixed(1))
            .set("max.message.bytes", "20971520")
            .set("cleanup.policy", "compact"),
    ];
    let created = admin
        .create_topics(&topics, &AdminOptions::new())
        .await
        .expect("topics");
    assert!(created.iter().all(Result::is_ok), "{created:?}");
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
    let topics: Vec<&str> = [&a, &b, &c].map(String::as_str).into();
    admin
        .delete_topics(&topics, &AdminOptions::new())
        .await
        .expect("deleted");
    world.database.drop().await.expect("dropped");
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
    let admin: AdminClient<LogContext> = world
        .kafka
        .admin_config("prodtest")
        .unwrap()
        .create_with_context(LogContext)
        .unwrap();
    admin
        .delete_topics(&[&world.topic("a")], &AdminOptions::new())
        .await
        .expect("deleted");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let failure = refused(&world).await;
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    // The refusal has to hold, or the next start would go on as if nothing had happened.
    let failure = refused(&world).await;
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    world.end().await;
}
