//! Restarts: nothing is lost, and only what was unfinished is read again.

use std::collections::BTreeSet;
use std::time::Duration;

use bson::{Document, doc};
use leafcutter_harness::{dice::Dice, topic};
use leafcutter_producer::checkpoint::{Checkpoint, store};
use leafcutter_producer::publish::Publisher;
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::version::Version;

use crate::records::{assert_heartbeats, numbered};
use crate::stream::disturb;
use crate::world::{World, kill};

fn checkpoints(world: &World) -> leafcutter_producer::checkpoint::Stored {
    let topic = leafcutter_schemas::name::checkpoints_topic(&world.prefix);
    store::load(&world.kafka, &topic, &world.producer_name()).expect("checkpoints")
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_moment_loses_nothing() {
    let mut world = World::new("kill", &["a", "b"]).await;
    world.flag("split-bytes", "4000");
    world.flag("lookup-batch", "20");
    let fat = |id: i64| doc! { "_id": id, "n": 0, "filler": "x".repeat(300) };
    world.insert("a", (0..3000).map(fat)).await;
    let mut dice = Dice::new(&[99]);
    for round in 0..8 {
        let producer = world.spawn("run");
        let writes = 100 + dice.below_u64(300);
        disturb(&world, &["a", "b"], 400, writes, 1000 + round).await;
        // No condition is waited for: that it is killed at any moment is the point.
        tokio::time::sleep(Duration::from_millis(dice.below_u64(1200))).await;
        kill(producer);
        disturb(&world, &["a", "b"], 400, 50, 2000 + round).await;
    }
    world.catch_up(&["a", "b"]).await;
    for name in ["a", "b"] {
        let records = world.assert_converged(name).await;
        let runs: BTreeSet<_> = records.iter().map(|record| record.run.as_str()).collect();
        assert!(runs.len() > 2, "several runs wrote to `{name}`");
    }
    assert_heartbeats(&world, &["a", "b"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_reads_only_unfinished_splits_with_a_new_time() {
    let mut world = World::new("splits", &["a"]).await;
    world.flag("split-bytes", "20000");
    world.flag("max-docs-per-second", "2000");
    let fat = |id: i64| doc! { "_id": id, "filler": "x".repeat(200) };
    world.insert("a", (0..3000).map(fat)).await;
    let producer = world.start("run");
    let some_done = || {
        let stored = checkpoints(&world);
        stored
            .snapshots
            .get("a")
            .is_some_and(|snapshot| snapshot.done.len() >= 5)
    };
    world.until("some splits are checkpointed", some_done).await;
    assert_eq!(producer.stop().await.expect("it drains"), Exit::Done);
    let left = checkpoints(&world).snapshots["a"].clone();
    assert!(!left.complete && left.done.len() < left.plan.split_count());
    let first: Vec<_> = world.records("a");
    let producer = world.start("run");
    world.until_complete("a").await;
    producer.stop().await.expect("it stops");
    let records = world.assert_converged("a").await;
    let read_again = records.len() - first.len();
    let unfinished = 3000 - usize::try_from(left.documents).unwrap();
    assert_eq!(read_again, unfinished, "only what was not finished");
    let newest = first.iter().map(|record| record.version).max();
    let later = records
        .iter()
        .filter(|r| !first.iter().any(|f| f.run == r.run));
    assert!(later.map(|record| record.version).min() >= newest, "P6");
    assert!(checkpoints(&world).snapshots["a"].complete);
    // And once more: nothing is read at all.
    world.catch_up(&[]).await;
    assert_eq!(world.records("a").len(), records.len());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_alone_leaves_no_gap_for_a_later_run() {
    let world = World::new("gap", &["a"]).await;
    world.insert("a", numbered(50)).await;
    assert_eq!(
        world.start("snapshot").ended().await.expect("done"),
        Exit::Done
    );
    let count = world.records("a").len();
    world.change_all("a").await;
    world
        .collection("a")
        .delete_one(doc! { "_id": 3 })
        .await
        .unwrap();
    world.catch_up(&[]).await;
    let records = world.assert_converged("a").await;
    assert_eq!(count, 50);
    assert_eq!(
        records.iter().filter(|record| record.snapshot).count(),
        50,
        "not read again"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_added_to_the_mapping_is_read_without_a_gap_in_the_others() {
    let mut world = World::new("added", &["a"]).await;
    for name in ["a", "b"] {
        world.insert(name, numbered(40)).await;
    }
    world.catch_up(&["a"]).await;
    for name in ["a", "b"] {
        world.change_all(name).await;
    }
    world.map(&["a", "b"]);
    world.catch_up(&["b"]).await;
    let a = world.assert_converged("a").await;
    world.assert_converged("b").await;
    assert_eq!(
        a.iter().filter(|record| record.snapshot).count(),
        40,
        "not read again"
    );
    world.end().await;
}

/// Changes of each kind, of which some are deletes.
async fn change(world: &World, name: &str, round: i32) {
    world.change_all(name).await;
    let collection = world.collection(name);
    let gone = collection.delete_one(doc! { "_id": round }).await;
    assert_eq!(gone.unwrap().deleted_count, 1);
    world.insert(name, [doc! { "_id": 1000 + round }]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_comes_back_into_the_mapping_misses_nothing() {
    let mut world = World::new("returns", &["a", "b"]).await;
    for name in ["a", "b"] {
        world.insert(name, numbered(40)).await;
    }
    world.catch_up(&["a", "b"]).await;
    for away in 0..2 {
        world.map(&["b"]);
        change(&world, "a", 3 * away).await;
        world.catch_up(&[]).await;
        change(&world, "a", 3 * away + 1).await;
        change(&world, "b", away).await;
        world.catch_up(&[]).await;
        world.map(&["a", "b"]);
        change(&world, "a", 3 * away + 2).await;
        world.catch_up(&[]).await;
        for name in ["a", "b"] {
            world.assert_converged(name).await;
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_of_one_name_that_follow_different_collections_miss_nothing() {
    let mut world = World::new("only", &["a", "b"]).await;
    for name in ["a", "b"] {
        world.insert(name, numbered(40)).await;
    }
    world.flag("only", "a");
    world.catch_up(&["a"]).await;
    for round in 0..3 {
        for (name, other) in [("b", "a"), ("a", "b")] {
            world.replace_flag("only", name);
            change(&world, name, 2 * round).await;
            change(&world, other, 2 * round + 1).await;
            world.catch_up(&[name]).await;
            world.assert_converged(name).await;
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_moves_on_although_nothing_happens() {
    let world = World::new("idle", &["a"]).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    world
        .until("a checkpoint", || checkpoints(&world).stream().is_some())
        .await;
    let before = checkpoints(&world).stream().expect("a checkpoint").time;
    world
        .database
        .collection::<Document>("unmapped")
        .insert_one(doc! {})
        .await
        .unwrap();
    let moved = || {
        checkpoints(&world)
            .stream()
            .is_some_and(|stream| stream.time > before)
    };
    world.until("it has moved", moved).await;
    producer.stop().await.expect("it stops");
    world.end().await;
}

/// Replaces the stream's checkpoint by a changed one.
async fn forge(
    world: &World,
    change: impl FnOnce(&mut leafcutter_producer::checkpoint::StreamCheckpoint),
) {
    let mut stream = checkpoints(world).stream().expect("a checkpoint").clone();
    change(&mut stream);
    write_over(world, stream, Checkpoint::value).await;
}

/// Writes something in a checkpoint's place.
async fn write_over(
    world: &World,
    stream: leafcutter_producer::checkpoint::StreamCheckpoint,
    value: impl FnOnce(&Checkpoint) -> serde_json::Result<Vec<u8>>,
) {
    let topic = leafcutter_schemas::name::checkpoints_topic(&world.prefix);
    let publisher = Publisher::open(&world.kafka, "prodtest").expect("a client");
    let checkpoint = Checkpoint::Stream(stream);
    let key = checkpoint.key();
    publisher
        .send_and_wait(&topic, key.as_bytes(), None)
        .await
        .expect("forgotten");
    let value = value(&checkpoint).expect("a value");
    publisher
        .send_and_wait(&topic, key.as_bytes(), Some(&value))
        .await
        .expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_history_and_foreign_state_have_codes_of_their_own() {
    let world = World::new("lost", &["a"]).await;
    world.insert("a", [doc! { "_id": 1 }]).await;
    world.catch_up(&["a"]).await;
    world.insert("a", [doc! { "_id": 2 }]).await;
    world.catch_up(&[]).await;
    let good = checkpoints(&world).stream().expect("a checkpoint").clone();

    forge(&world, |stream| {
        *stream = good.clone();
        stream.token = serde_json::json!({ "_data": "82" });
    })
    .await;
    let failure = world
        .start("run")
        .ended()
        .await
        .expect_err("a broken token");
    assert_eq!(failure.exit, Exit::HistoryLost, "{failure}");
    let said = failure.to_string();
    let said: Vec<&str> = said.split_whitespace().collect();
    let command = "leafcutter resnapshot a --lost-history";
    assert!(said.join(" ").contains(command), "{failure}");

    forge(&world, |stream| {
        *stream = good.clone();
        stream.cluster.id = Some("000000000000000000000000".into());
    })
    .await;
    let failure = world
        .start("run")
        .ended()
        .await
        .expect_err("another cluster");
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");

    forge(&world, |stream| {
        *stream = good.clone();
        stream.time = Version::from_cluster_time(bson::Timestamp {
            time: 4_000_000_000,
            increment: 1,
        });
    })
    .await;
    let failure = world
        .start("run")
        .ended()
        .await
        .expect_err("time went back");
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");

    // A restore from a backup: time went on, but what was read after the backup is not there.
    let seen = good.event.cluster_time();
    assert!(seen.time > 0, "an event was read");
    forge(&world, |stream| {
        *stream = good.clone();
        stream.event = Version::from_cluster_time(bson::Timestamp {
            increment: seen.increment + 1000,
            ..seen
        });
    })
    .await;
    let failure = world.start("run").ended().await.expect_err("a restore");
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    assert!(failure.to_string().contains("another history"), "{failure}");

    write_over(&world, good.clone(), |_| Ok(b"\xff{".to_vec())).await;
    let failure = world.start("run").ended().await.expect_err("no checkpoint");
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    let said = failure.to_string();
    assert!(said.contains("could not read a checkpoint"), "{said}");

    write_over(&world, good, Checkpoint::value).await;
    world.catch_up(&[]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_a_forgotten_checkpoint() {
    let world = World::new("anew", &["a"]).await;
    world.insert("a", numbered(100)).await;
    world.catch_up(&["a"]).await;
    // Somebody deletes the topic and creates it again, just as it was.
    let topic = world.topic("a");
    topic::delete(&world.kafka, &[&topic]).await.unwrap();
    let anew = topic::new(&topic, 8)
        .set("max.message.bytes", "20971520")
        .set("cleanup.policy", "delete");
    topic::create(&world.kafka, &[anew]).await.unwrap();
    let failure = world.start("run").ended().await.expect_err("it is seen");
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    // What a person decides then.
    store::forget(
        &world.kafka,
        &world.prefix,
        &world.producer_name(),
        &["a".to_owned()],
    )
    .await
    .expect("forgotten");
    assert!(checkpoints(&world).snapshots.is_empty());
    assert!(checkpoints(&world).stream().is_some());
    let producer = world.start("run");
    world.until_caught_up().await;
    world
        .until("it is read again", || {
            checkpoints(&world).snapshots.contains_key("a")
        })
        .await;
    world
        .until("it is complete", || {
            checkpoints(&world).snapshots["a"].complete
        })
        .await;
    producer.stop().await.expect("it stops");
    world.assert_converged("a").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_under_a_running_producer_ends_it() {
    let world = World::new("anewlive", &["a"]).await;
    world.insert("a", numbered(100)).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    world.until_later_heartbeats().await;
    let name = world.topic("a");
    topic::delete(&world.kafka, &[&name]).await.unwrap();
    let anew = topic::new(&name, 8).set("max.message.bytes", "20971520");
    topic::create(&world.kafka, &[anew]).await.unwrap();
    let failure = producer.ended().await.expect_err("it is seen");
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    // The next start sees it as well: no heartbeat has hidden it.
    let failure = world.start("run").ended().await.expect_err("it is seen");
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_end_the_producer_and_keep_it_from_starting() {
    let mut world = World::new("added", &["a"]).await;
    world.flag("partitions", "8");
    world.insert("a", numbered(100)).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    world.until_later_heartbeats().await;
    topic::add_partitions(&world.kafka, &world.topic("a"), 12)
        .await
        .unwrap();
    let failure = producer.ended().await.expect_err("it is seen");
    assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
    assert!(failure.to_string().contains("12 partitions, and had 8"));
    // Neither as before, nor with the topics as they are now.
    let letters = format!("{}.dead-letter", world.topic("a"));
    topic::add_partitions(&world.kafka, &letters, 12)
        .await
        .unwrap();
    for (partitions, why) in [("8", "should have 8"), ("12", "12 partitions, and had 8")] {
        world.replace_flag("partitions", partitions);
        let failure = world.start("run").ended().await.expect_err("it is seen");
        assert_eq!(failure.exit, Exit::StateMismatch, "{failure}");
        assert!(failure.to_string().contains(why), "{failure}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_taken_up_whole() {
    for round in 0..6 {
        let world = World::new("backlog", &["a"]).await;
        world.insert("a", numbered(50)).await;
        world.catch_up(&["a"]).await;
        disturb(&world, &["a"], 60, 200, 3 + round).await;
        world.catch_up(&[]).await;
        world.assert_converged("a").await;
        assert_heartbeats(&world, &["a"]);
        world.end().await;
    }
}
