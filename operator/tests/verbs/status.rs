//! How far everything is, what is in a topic, and what is said of wrong settings.

use crate::world::{EXAMPLES, STRICT, World, author};

/// Consumers that get on.
const RUNNING: &str = "select count(*) from leafcutter.consumers where problem is null";

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_is_missing_and_when_to_cut_over() {
    let mut world = World::new().await;
    let none = world.leafcutter(&["status"]).ends_with(4);
    none.says("no schema `leafcutter`")
        .says("Start leafcutter-consumer once");
    world.migrate().await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.heartbeat(11).await;
    let early = world.leafcutter(&["status"]).ends_with(0);
    early
        .says("not ready to cut over")
        .says("no consumer is running")
        .says("authors: snapshot 25 % read")
        .says("waiting for parents: authors 0 %");

    world.send(1, &author(2, 10, 5)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.wait_for(RUNNING, "1").await;
    let status = world.leafcutter(&["status", "--json"]).ends_with(0).whole();
    assert_eq!(status["ready"], false);
    let why = serde_json::json!(["1 dead letter open: leafcutter dead-letters list"]);
    assert_eq!(status["not_ready_because"], why, "{status:#}");
    assert_eq!(status["collections"][0]["snapshot"], "complete");

    world.send(1, &author(2, 20, "Grace")).await;
    world.applied().await;
    world.complete().await;
    let ready = world.leafcutter(&["status"]).ends_with(0);
    ready
        .says("\nready to cut over\n")
        .says("each accounted for: 2 applied");
    let watched = world.watch_until("ready to cut over");
    assert!(watched.contains("ready to cut over"), "{watched}");

    world
        .text("update leafcutter.offsets set applied = applied + 1 where partition = 0")
        .await;
    let broken = world.leafcutter(&["status"]).ends_with(1);
    broken
        .says("THE ACCOUNTING IS BROKEN")
        .says("partition 0: 1 record");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peek_shows_records_and_documents_only_when_asked_for() {
    let mut world = World::new().await;
    for second in 0..30 {
        world
            .send(
                i32::from(second % 2 == 1),
                &author(second, 10 + second, "secret"),
            )
            .await;
    }
    world.complete().await;
    let newest = world
        .leafcutter(&["peek", "authors", "--limit", "2"])
        .ends_with(0);
    let newest = newest
        .says("0/14")
        .says("1/14")
        .says("number:29")
        .says("version 39.0");
    newest.says_nothing_of("secret").says_nothing_of("1/13");
    let words = [
        "peek",
        "authors",
        "--partition",
        "1",
        "--offset",
        "3",
        "--limit",
        "1",
    ];
    world
        .leafcutter(&words)
        .ends_with(0)
        .says("1/3 ")
        .says("number:7")
        .says_nothing_of("1/4 ");
    let mut with: Vec<&str> = words.to_vec();
    with.extend(["--documents", "--json"]);
    let json = world.leafcutter(&with).ends_with(0).json();
    assert_eq!(json[0]["envelope"]["document"]["name"], "secret");
    assert_eq!(json[0]["envelope"]["version_number"], 17i64 << 31);
    let control = world.leafcutter(&["peek", "control"]).ends_with(0);
    control.says("heartbeat/p").says("\"complete_time\"");
    world
        .leafcutter(&["peek", "authors", "--partition", "2"])
        .ends_with(2)
        .says("has 2");
    let unknown = world.leafcutter(&["peek", "nobody"]).ends_with(2);
    unknown.says(&world.topic("authors"));
    let nothing = world.leafcutter(&["peek", "books"]).ends_with(0);
    nothing.says("no records there");

    world.start("strict.yaml");
    world.send(0, &author(99, 99, 7_654_321)).await;
    world.applied().await;
    let topic = format!("{}.dead-letter", world.topic("authors"));
    let dead = world.leafcutter(&["peek", &topic]).ends_with(0);
    dead.says("wrong-type")
        .says("from ")
        .says("number:99")
        .says_nothing_of("7654321");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_told_without_secrets_and_with_their_code() {
    let world = World::new().await;
    let nowhere = "postgres://user:hunter2@127.0.0.1:1/none";
    let said = world
        .leafcutter(&["status", "--postgres-uri", nowhere])
        .ends_with(4);
    said.says("could not connect to PostgreSQL")
        .says_nothing_of("hunter2");
    world
        .leafcutter(&["status", "--postgres-uri", "nonsense"])
        .ends_with(3);
    world.migrate().await;
    let said = world
        .leafcutter(&["status", "--kafka-brokers", "127.0.0.1:1"])
        .ends_with(4);
    said.says("Kafka cannot be asked").says("could not read");
    world
        .leafcutter(&["peek", "authors", "--kafka-brokers", "127.0.0.1:1"])
        .ends_with(4);
    world.leafcutter(&["no-such-verb"]).ends_with(2);
    let sound = world.leafcutter(&["check"]).ends_with(0);
    sound
        .says("2 collections, 2 tables, 1 reference")
        .says("books → authors");
    for system in std::fs::read_dir(EXAMPLES).unwrap() {
        let file = system.unwrap().path().join("mapping.yaml");
        world.leafcutter_with(&file, &["check"]).ends_with(0);
    }
    let file = world.file("broken.yaml");
    let broken = STRICT
        .replace("bigint", "bigin")
        .replace("authors }", "nobody }");
    std::fs::write(&file, broken).unwrap();
    let faults = world.leafcutter_with(&file, &["check"]).ends_with(3);
    faults
        .says("broken.yaml:8:")
        .says("broken.yaml:16:")
        .says("did you mean");
    let json = world
        .leafcutter_with(&file, &["check", "--json"])
        .ends_with(3)
        .json();
    assert_eq!(json[0]["line"], 8);
    world
        .leafcutter_with(&world.file("missing.yaml"), &["check"])
        .ends_with(3);
    world.end().await;
}
