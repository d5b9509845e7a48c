//! A person pauses collections, and lets them go on.

use crate::world::{World, author, book};
use leafcutter_harness::{probe, topic};
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use std::time::Duration;

const AUTHORS: &str = "select count(*) from authors";
const BOOKS: &str = "select count(*) from books";
const PAUSED: &str = "leafcutter_paused{collection=\"books\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_collection_waits_over_restarts_and_the_others_go_on() {
    let mut world = World::new().await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.complete().await;
    let running = world.run("strict.yaml");
    world.applied().await;
    world.leafcutter(&["pause", "--reason", "x"]).ends_with(2);
    world.leafcutter(&["pause", "books"]).ends_with(2);
    world
        .leafcutter(&["pause", "nobody", "--reason", "x"])
        .ends_with(2);
    let pause = ["pause", "books", "--reason", "a new index"];
    world
        .leafcutter(&pause)
        .ends_with(0)
        .says("shop.books paused since")
        .says("a new index");
    running
        .until_ready_says(503, "running: books paused by a person since")
        .await;
    running.until_metric(PAUSED, 1.0).await;
    world.send(0, &book(1, 11, "On Machines", 1)).await;
    world.send(1, &book(2, 11, "Notes", 1)).await;
    world.send(0, &author(2, 11, "Bea")).await;
    world.wait_for(AUTHORS, "2").await;
    assert_eq!(world.text(BOOKS).await, "0");
    let status = world.leafcutter(&["status"]).ends_with(0);
    status
        .says("books is paused by a person since")
        .says("a new index")
        .says("leafcutter resume");
    let status = world.leafcutter(&["status", "--json"]).whole();
    assert_eq!(status["paused"][0]["collection"], "books");
    assert_eq!(status["paused"][0]["reason"], "a new index");
    assert_eq!(status["ready"], false);

    // Another consumer, which never saw it run.
    running.stop();
    let running = world.run("strict.yaml");
    running
        .until_ready_says(503, "running: books paused by a person since")
        .await;
    world.send(0, &author(3, 12, "Cid")).await;
    world.wait_for(AUTHORS, "3").await;
    assert_eq!(world.text(BOOKS).await, "0");

    let resumed = world.leafcutter(&["resume", "books"]).ends_with(0);
    resumed.says("shop.books goes on").says("a new index");
    world.wait_for(BOOKS, "2").await;
    world.applied().await;
    running.until_ready_says(200, "").await;
    running.until_metric(PAUSED, 0.0).await;
    world
        .leafcutter(&["resume"])
        .ends_with(0)
        .says("nothing had stopped");
    running.stop();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_paused_and_resumed_as_a_whole() {
    let mut world = World::new().await;
    world.migrate().await;
    let pause = ["pause", "--all", "--reason", "restoring", "--json"];
    let paused = world.leafcutter(&pause).ends_with(0).json();
    assert_eq!(paused[0]["collection"], serde_json::Value::Null);
    assert_eq!(paused[0]["reason"], "restoring");
    world.send(0, &author(1, 10, "Ada")).await;
    world.complete().await;
    let running = world.run("strict.yaml");
    running
        .until_ready_says(503, "running: all collections paused by a person since")
        .await;
    // It holds all partitions, and for some seconds it has told nothing else.
    let held = "select count(*) from leafcutter.offsets where next_offset = 0";
    world.wait_for(held, "4").await;
    let waits = "select count(*) from leafcutter.consumers where problem like '%restoring%' \
                 and seen_at > started_at + interval '4 s'";
    world.wait_for(waits, "1").await;
    assert_eq!(world.text(AUTHORS).await, "0");
    world
        .leafcutter(&["resume", "authors"])
        .ends_with(2)
        .says("all collections are paused");
    let resumed = world.leafcutter(&["resume", "--json"]).ends_with(0).json();
    assert_eq!(resumed[0]["reason"], "restoring");
    world.wait_for(AUTHORS, "1").await;
    running.stop();
    world.end().await;
}

/// Kafka removes what nobody has applied. A person hears of it when half of the time is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_half_of_kafkas_time_is_an_alarm() {
    let mut world = World::new().await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.complete().await;
    let running = world.run("strict.yaml");
    world.applied().await;
    running.until_ready_says(200, "ready").await;
    world
        .leafcutter(&["pause", "books", "--reason", "a new index"])
        .ends_with(0);
    running
        .until_ready_says(503, "running: books paused by a person since")
        .await;
    let name = world.topic("books");
    let kept = AlterConfig::new(ResourceSpecifier::Topic(&name)).set("retention.ms", "2000");
    let admin = topic::admin(world.kafka()).unwrap();
    probe::until(
        Duration::from_secs(60),
        "the topic's new retention",
        async || {
            let altered = admin.alter_configs([&kept], &AdminOptions::new()).await;
            let is_done = altered.is_ok_and(|topics| topics.iter().all(Result::is_ok));
            Ok(is_done.then_some(()))
        },
    )
    .await
    .unwrap();
    // The topic of the authors keeps its records, and what is applied may go.
    world.send(0, &book(1, 11, "On Machines", 1)).await;
    running
        .until_ready_says(
            503,
            "records of books that are not applied yet are older than half of the 2s",
        )
        .await;
    let over = |name: &str| format!("leafcutter_retention_half_over{{collection=\"{name}\"}}");
    running.until_metric(&over("books"), 1.0).await;
    assert_eq!(running.metric(&over("authors")), 0.0);
    let told = "select bool_or(problem like '%lengthen retention.ms%') from leafcutter.consumers";
    world.wait_for(told, "t").await;
    world.leafcutter(&["status"]).says("lengthen retention.ms");
    world.leafcutter(&["resume", "books"]).ends_with(0);
    world.applied().await;
    running.until_ready_says(200, "ready").await;
    running.stop();
    world.end().await;
}
