//! A topic is applied again from its start.

use crate::world::{Said, World, author, book};
use std::time::{SystemTime, UNIX_EPOCH};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Consumers that get on.
const RUNNING: &str = "select count(*) from leafcutter.consumers where problem is null";
const AUTHORS: &str = "select id, name, lc_version >> 31 from authors order by 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_replayed_from_its_start_while_consumers_run() {
    let mut world = World::new().await;
    for id in 1..=4 {
        world
            .send(i32::from(id % 2 == 0), &author(id, 10, "before"))
            .await;
    }
    world.send(0, &book(1, 12, "Kept", 1)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world
        .text("update authors set name = 'edited by hand' where id < 3")
        .await;

    world
        .leafcutter(&["replay", "authors"])
        .ends_with(2)
        .says("--yes");
    let dry = world
        .leafcutter(&["replay", "authors", "--dry-run"])
        .ends_with(0);
    dry.says("to apply again").says("nothing was changed");
    world
        .leafcutter(&["replay", "nobody", "--yes"])
        .ends_with(2);
    assert_eq!(
        world
            .text("select sum(next_offset) from leafcutter.offsets")
            .await,
        "5"
    );

    world
        .leafcutter(&["replay", "authors", "--yes", "--no-wait"])
        .ends_with(0)
        .says("goes on");
    // Owners notice at their next record, at the latest.
    world.send(0, &author(5, 20, "after")).await;
    world.send(1, &author(6, 20, "after")).await;
    world.applied().await;
    let expected = "1|before|10 2|before|10 3|before|10 4|before|10 5|after|20 6|after|20";
    assert_eq!(world.text(AUTHORS).await, expected);
    let counters = "select sum(applied), sum(unchanged), sum(next_offset) from leafcutter.offsets \
                    where topic like '%authors'";
    assert_eq!(world.text(counters).await, "4|2|6");
    world.heartbeat(20).await;
    world.wait_for(RUNNING, "1").await;
    let status = world.leafcutter(&["status", "--json"]).ends_with(0).whole();
    assert_eq!(status["accounting"]["broken"], serde_json::json!([]));
    assert_eq!(status["accounting"]["consumed"], 7);

    // Without a consumer it begins when one starts; the program waits for the end.
    world.stop();
    let mut waiting = world.leafcutter_started(&["replay", "--all", "--yes", "--json"]);
    let positions = "select sum(next_offset) from leafcutter.offsets";
    world.wait_for(positions, "0").await;
    assert_eq!(waiting.try_wait().unwrap(), None, "it did not wait");
    let consumer = world.run("strict.yaml");
    let told = Said::of(waiting.wait_with_output().unwrap());
    consumer.stop();
    let told = told.ends_with(0).whole();
    assert_eq!(
        (&told["done"], &told["outcomes"]["unchanged"]),
        (&true.into(), &7.into())
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_refused_when_the_first_records_are_gone() {
    let mut world = World::new().await;
    for id in 1..=4 {
        world.send(0, &author(id, 10, "x")).await;
    }
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.cut_off("authors", 0, 2).await;
    let refused = world
        .leafcutter(&["replay", "authors", "--yes"])
        .ends_with(5);
    refused.says("begins at 2");
    assert_eq!(
        world
            .text("select sum(next_offset) from leafcutter.offsets")
            .await,
        "4"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_replayed_from_a_time_or_an_offset() {
    let mut world = World::new().await;
    for id in 1..=4 {
        world.send(0, &author(id, 10, "before")).await;
    }
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    let moment = rfc3339_now().await;
    // What comes after this moment has a later time in Kafka.
    world.send(0, &author(5, 11, "after")).await;
    world.send(1, &author(6, 11, "after")).await;
    world.applied().await;
    world
        .text("update authors set name = 'edited by hand'")
        .await;

    let told = world
        .leafcutter(&["replay", "authors", "--since", &moment, "--yes", "--json"])
        .ends_with(0)
        .whole();
    assert_eq!(told["parts"][0]["records"], 2);
    assert_eq!(told["outcomes"]["applied"], 2);
    assert_eq!(told["outcomes"]["stale"], 0);
    let edited =
        "select string_agg(id::text, ' ' order by id) from authors where name like 'edited%'";
    assert_eq!(world.text(edited).await, "1 2 3 4");

    let words = ["replay", "authors", "--offset", "0:2", "--yes", "--json"];
    let told = world.leafcutter(&words).ends_with(0).whole();
    assert_eq!(told["parts"][0]["records"], 3);
    assert_eq!(world.text(edited).await, "1 2");
    // The counters still add up to the position: what is passed by is older than what is there.
    let counters = "select partition, next_offset, stale, applied + unchanged from leafcutter.offsets \
                    where topic like '%authors' order by 1";
    assert_eq!(world.text(counters).await, "0|5|2|3 1|1|0|1");
    let status = world.leafcutter(&["status", "--json"]).ends_with(0).whole();
    assert_eq!(status["accounting"]["broken"], serde_json::json!([]));

    for (words, told) in [
        (
            &["replay", "authors", "--offset", "0:6", "--yes"][..],
            "not applied yet",
        ),
        (
            &["replay", "authors", "--offset", "7:0", "--yes"],
            "no position in this partition",
        ),
        (
            &["replay", "authors", "books", "--offset", "0:1", "--yes"],
            "Name one collection",
        ),
    ] {
        world.leafcutter(words).ends_with(2).says(told);
    }
    world.end().await;
}

/// A moment that is over: what comes from now on has a later time in Kafka, whose clock is this machine's.
async fn rfc3339_now() -> String {
    let millis = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap()
    };
    let now = millis();
    while millis() <= now {
        tokio::task::yield_now().await;
    }
    let seconds = OffsetDateTime::from_unix_timestamp(now / 1_000).unwrap();
    let now = seconds + time::Duration::milliseconds(now % 1_000 + 1);
    now.format(&Rfc3339).unwrap()
}
