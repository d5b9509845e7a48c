//! A topic is applied again from its start.

use crate::world::{Said, World, author, book};

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
