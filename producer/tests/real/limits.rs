//! Large documents and small memory.

use std::time::{Duration, Instant};

use bson::doc;
use leafcutter_harness::dice::Dice;
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::dead_letter::DeadLetter;
use leafcutter_schemas::operation::Operation;

use crate::world::{World, kill};

/// The most that a process ever held, in MiB.
pub(crate) fn peak_mebibytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux");
    line.trim()
        .trim_end_matches("kB")
        .trim()
        .parse::<u64>()
        .expect("a number")
        / 1024
}

/// Text that does not compress.
pub(crate) fn noise(bytes: usize, seed: u64) -> String {
    let mut dice = Dice::new(&[seed]);
    (0..bytes)
        .map(|_| char::from(b'!' + u8::try_from(dice.below_u64(90)).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_16_mb_pass_by_snapshot_and_stream() {
    let world = World::new("huge", &["a"]).await;
    let filler = noise((16 << 20) - 200, 1);
    for id in 0..3 {
        world.insert("a", [doc! { "_id": id, "f": &filler }]).await;
    }
    let producer = world.spawn("run");
    world.until_complete("a").await;
    world.insert("a", [doc! { "_id": 9, "f": &filler }]).await;
    world
        .collection("a")
        .update_many(doc! {}, doc! { "$set": { "n": 1 } })
        .await
        .unwrap();
    world.until_caught_up().await;
    let peak = peak_mebibytes(producer.id());
    kill(producer);
    let records = world.assert_converged("a").await;
    assert!(
        records
            .iter()
            .filter(|r| r.operation == Operation::Update)
            .count()
            >= 4
    );
    assert!(peak < 320, "{peak} MiB");
    println!("16 MB documents: {peak} MiB");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_small_with_documents_of_1_mb() {
    let world = World::new("memory", &["a", "b"]).await;
    for id in 0..150 {
        let filler = noise(1 << 20, id);
        let id = i64::try_from(id).unwrap();
        world.insert("a", [doc! { "_id": id, "f": &filler }]).await;
        world.insert("b", [doc! { "_id": id, "f": "small" }]).await;
    }
    let producer = world.spawn("run");
    world.until_complete("a").await;
    let after_snapshot = peak_mebibytes(producer.id());
    world
        .collection("a")
        .update_many(doc! {}, doc! { "$set": { "n": 1 } })
        .await
        .unwrap();
    world.until_caught_up().await;
    let peak = peak_mebibytes(producer.id());
    kill(producer);
    println!("1 MB documents: {after_snapshot} MiB after the snapshot, {peak} MiB after updates");
    world.assert_converged("a").await;
    assert!(peak < 150, "{after_snapshot} MiB, then {peak} MiB");
    world.end().await;
}

/// Nothing of a transaction goes on before all of it is there, and it is larger than the budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_larger_than_the_budget_is_not_held_in_memory() {
    let mut world = World::new("largetxn", &["a"]).await;
    world.flag("memory-budget", "8MiB");
    world.database.create_collection("a").await.unwrap();
    let producer = world.spawn("run");
    world.until_complete("a").await;
    let collection = world.collection("a");
    let mut session = world.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    // The server's own cache, which holds it too, is small.
    for part in 0..10 {
        let filler = noise(25_000, part);
        let from = i64::try_from(part).unwrap() * 200;
        let documents = (from..from + 200).map(|id| doc! { "_id": id, "f": &filler });
        collection
            .insert_many(documents)
            .session(&mut session)
            .await
            .unwrap();
    }
    let changed =
        collection.update_many(doc! { "_id": { "$lt": 500 } }, doc! { "$set": { "n": 1 } });
    changed.session(&mut session).await.unwrap();
    let gone = collection.delete_many(doc! { "_id": { "$gte": 1900 } });
    gone.session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    world.until_caught_up().await;
    let peak = peak_mebibytes(producer.id());
    kill(producer);
    println!("a transaction of 50 MB: {peak} MiB");
    let records = world.assert_converged("a").await;
    assert_eq!(records.len(), 2000, "one record for each key");
    assert!(records.iter().all(|record| record.transaction.is_some()));
    assert!(peak < 150, "{peak} MiB");
    world.end().await;
}

/// What is left of its events without their documents is more than may be held.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_keys_do_not_fit_is_a_named_stop() {
    let mut world = World::new("keystxn", &["a"]).await;
    world.flag("memory-budget", "8MiB");
    world.insert("a", [doc! { "_id": "before" }]).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    let collection = world.collection("a");
    let mut session = world.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for part in 0..10 {
        let documents = (0..100).map(|n| doc! { "_id": noise(10_000, part * 100 + n) });
        let inserted = collection.insert_many(documents).session(&mut session);
        inserted.await.unwrap();
    }
    session.commit_transaction().await.unwrap();
    let failure = producer.ended().await.expect_err("it stops by itself");
    let again = world.start("run").ended().await.expect_err("again");
    for failure in [failure, again] {
        assert_eq!(failure.exit, Exit::Stopped, "{failure}");
        assert!(failure.to_string().contains("--memory-budget"), "{failure}");
    }
    assert_eq!(world.records("a").len(), 1, "nothing of it is published");
    world.replace_flag("memory-budget", "64MiB");
    world.catch_up(&[]).await;
    world.assert_converged("a").await;
    world.end().await;
}

/// A reply that holds nearly all bytes there are still finds some for the look-up of its updates.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_as_large_as_the_budget_does_not_wait_for_itself() {
    let mut world = World::new("tight", &["a"]).await;
    world.flag("memory-budget", "8MiB");
    let producer = world.start("run");
    world.until_complete("a").await;
    producer.stop().await.expect("it stops");
    let filler = noise(60_000, 3);
    let inserted = (0..120).map(|id| doc! { "_id": id, "f": &filler });
    let collection = world.collection("a");
    collection.insert_many(inserted).await.unwrap();
    for id in 0..100 {
        let update = doc! { "$set": { "n": 1 } };
        collection
            .update_one(doc! { "_id": id }, update)
            .await
            .unwrap();
    }
    world.catch_up(&[]).await;
    world.assert_converged("a").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_the_topics_limit_goes_to_the_dead_letters() {
    let world = World::new("toolarge", &["a"]).await;
    let topic = world.topic("a");
    // A document alone always fits; only an `_id` of megabytes, which a record holds three times,
    // goes over the limit.
    let large = doc! { "_id": noise(6 << 20, 1), "f": noise(7 << 19, 2) };
    world.insert("a", [large]).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    world.insert("a", [doc! { "_id": "small" }]).await;
    world.until_caught_up().await;
    producer.stop().await.expect("it stops");
    let dead_letters = world.raw(&leafcutter_schemas::name::dead_letter_topic(&topic));
    assert_eq!(dead_letters.len(), 1);
    for dead_letter in &dead_letters {
        assert_eq!(dead_letter.key.len(), "string:".len() + (6 << 20));
        assert!(dead_letter.value.is_none(), "never the document");
        let headers = dead_letter
            .headers
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_bytes()));
        let headers = DeadLetter::read_headers(headers);
        assert_eq!(headers["reason"], "too-large");
        assert_eq!(headers["stage"], "produce");
        assert!(headers["version"].parse::<i64>().unwrap() > 0);
    }
    let keys: Vec<_> = world
        .records("a")
        .into_iter()
        .map(|record| record.key)
        .collect();
    assert_eq!(keys, ["string:small"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_ends_with_zero() {
    let world = World::new("sigterm", &["a"]).await;
    let many = (0..20_000).map(|id: i64| doc! { "_id": id, "f": "x".repeat(300) });
    world.insert("a", many).await;
    // Also a terminal that is closed. Whoever runs the tests with `nohup` has made that signal be ignored.
    let ignores = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let ignores = ignores.lines().find(|line| line.starts_with("SigIgn:"));
    let by_hand =
        ignores.is_some_and(|mask| !mask.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']));
    let signals = ["-TERM", "-HUP"].into_iter();
    for signal in signals.filter(|signal| *signal == "-TERM" || by_hand) {
        let told = world.heartbeat();
        let mut producer = world.spawn("run");
        let works = || world.heartbeat() != told;
        world.until("it works", works).await;
        std::process::Command::new("kill")
            .args([signal, &producer.id().to_string()])
            .status()
            .expect("kill");
        let start = Instant::now();
        let status = producer.wait().expect("it ends");
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(status.code(), Some(0), "{signal}");
    }
    let producer = world.start("run");
    world.until_complete("a").await;
    producer.stop().await.expect("it stops");
    world.assert_converged("a").await;
    world.end().await;
}
