//! Polls: what has newer dates is carried, what has not changed bears the version it had, and
//! nothing is missed by a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bson::{DateTime, Document, RawDocument, doc};
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::operation::Operation;
use leafcutter_schemas::version::Version;

use crate::records::{Record, apply};
use crate::world::{World, kill};

const BY: &str = "[made, sub.changed]";

/// A day before anything here happens.
fn yesterday() -> DateTime {
    DateTime::from_millis(DateTime::now().timestamp_millis() - 86_400_000)
}

fn of<'r>(records: &'r [Record], key: &str) -> Vec<&'r Record> {
    records.iter().filter(|record| record.key == key).collect()
}

/// Waits until the clock has left a date behind by more than an overlap of a second, so that a poll
/// that begins now does not reach it.
async fn until_behind_the_overlap(world: &World, date: DateTime) {
    let end = date.timestamp_millis() + 2_000;
    let is_past = || DateTime::now().timestamp_millis() > end;
    world.until("the overlap is over", is_past).await;
}

/// The number of the last record of a key.
fn last_n(world: &World, key: &str) -> Option<i32> {
    let records = world.records("a");
    let last = of(&records, key).pop()?;
    let document = RawDocument::from_bytes(last.document.as_ref()?).ok()?;
    document.get_i32("n").ok()
}

async fn set(world: &World, id: i32, change: Document) {
    let updated = world
        .collection("a")
        .update_one(doc! { "_id": id }, doc! { "$set": change })
        .await;
    assert_eq!(updated.expect("an update").modified_count, 1);
}

/// One document, one version, however often it was read.
fn assert_versions_follow_from_documents(records: &[Record]) {
    let mut versions: BTreeMap<(&str, &[u8]), BTreeSet<Version>> = BTreeMap::new();
    for record in records {
        let document = record.document.as_deref().expect("no deletes");
        let known = versions.entry((&record.key, document)).or_default();
        known.insert(record.version);
    }
    for ((key, _), versions) in versions {
        assert_eq!(versions.len(), 1, "{key} has {versions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_newer_dates_is_carried_and_what_has_not_changed_keeps_its_version() {
    let world = World::polled("dates", &["a"], BY).await;
    let documents = [
        doc! { "_id": 1, "n": 0, "made": yesterday() },
        doc! { "_id": 2, "n": 0, "sub": { "changed": DateTime::now() } },
        doc! { "_id": 3, "n": 0, "made": "no date" },
        doc! { "_id": 5, "n": 0, "made": yesterday() },
    ];
    let inserted = world.collection("a").insert_many(documents).await;
    inserted.expect("documents");
    let producer = world.start("run");
    let complete = world.until_complete("a").await;
    assert_eq!((complete.documents, complete.snapshot), (4, true));
    world.until_polled().await;
    let new = doc! { "_id": 4, "n": 0, "made": DateTime::now() };
    world.insert("a", [new]).await;
    set(
        &world,
        1,
        doc! { "n": 1, "sub": { "changed": DateTime::now() } },
    )
    .await;
    world.until_polled().await;
    // It is gone, and nothing says so.
    let gone = world.collection("a").delete_one(doc! { "_id": 5 }).await;
    assert_eq!(gone.expect("a delete").deleted_count, 1);
    world.until_polled().await;
    producer.stop().await.expect("it stops");
    // Another run knows nothing of what was handed on, and the overlap holds all of it.
    let producer = world.start("run");
    world.until_polled().await;
    world.until_polled().await;
    producer.stop().await.expect("it stops");

    let records = world.records("a");
    assert_versions_follow_from_documents(&records);
    assert_eq!(
        of(&records, "number:3").len(),
        1,
        "only the snapshot sees it"
    );
    assert_eq!(of(&records, "number:3")[0].version.as_i64(), 1);
    assert_eq!(of(&records, "number:5").len(), 1, "nothing newer");
    let again = of(&records, "number:2");
    assert_eq!(
        again.len(),
        3,
        "one snapshot, one poll of each run, although many read it"
    );
    for record in again {
        let is = (record.operation, record.snapshot);
        assert!([(Operation::Read, true), (Operation::Update, false)].contains(&is));
    }
    assert!(records.iter().all(|r| r.as_of >= r.version));
    let mut source = world.source("a").await;
    let target = apply(&records);
    source.insert("number:5".to_owned(), target["number:5"].clone());
    assert_eq!(target, source);
    for beat in world.heartbeats() {
        assert!(beat.polled);
        assert_eq!(
            beat.low_water,
            Version::ZERO,
            "a lower date may always come"
        );
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_at_its_mark_and_an_earlier_date_widens_the_first_poll() {
    let mut world = World::polled("mark", &["a"], BY).await;
    world.flag("poll-overlap", "1s");
    let old = yesterday();
    let documents = (1..=3).map(|id| doc! { "_id": id, "n": 0, "made": old });
    let inserted = world.collection("a").insert_many(documents).await;
    inserted.expect("documents");
    let producer = world.start("run");
    world.until_complete("a").await;
    world.until_polled().await;
    producer.stop().await.expect("it stops");

    // While nobody looks: one change with a date, one without.
    set(
        &world,
        1,
        doc! { "n": 1, "sub": { "changed": DateTime::now() } },
    )
    .await;
    set(&world, 2, doc! { "n": 1 }).await;
    until_behind_the_overlap(&world, DateTime::now()).await;
    let producer = world.start("run");
    world
        .until("the change arrives", || {
            last_n(&world, "number:1") == Some(1)
        })
        .await;
    world.until_polled().await;
    producer.stop().await.expect("it stops");
    assert_eq!(last_n(&world, "number:2"), Some(0), "its dates are older");

    let back = DateTime::from_millis(old.timestamp_millis() - 1_000);
    let back = back.try_to_rfc3339_string().expect("a date");
    world.flag("poll-since", &back);
    let producer = world.start("run");
    world
        .until("it arrives too", || last_n(&world, "number:2") == Some(1))
        .await;
    world.until_polled().await;
    producer.stop().await.expect("it stops");
    let records = world.records("a");
    let third = of(&records, "number:3");
    assert_eq!(third.len(), 2, "one snapshot, one wider poll, no other");
    let second: BTreeSet<_> = of(&records, "number:2").iter().map(|r| r.version).collect();
    assert_eq!(second.len(), 1, "the same date, so the same version");
    assert_eq!(apply(&records), world.source("a").await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_killed_misses_nothing() {
    let mut world = World::polled("killed", &["a"], "made").await;
    world.flag("poll-overlap", "2s");
    world.flag("max-docs-per-second", "3000");
    let collection = world.collection("a");
    let writer = tokio::spawn(async move {
        for number in 0..4_000 {
            let set = doc! { "$set": { "n": number, "made": DateTime::now() } };
            let id = doc! { "_id": number % 700 };
            let written = collection.update_one(id, set).upsert(true).await;
            written.expect("a write");
        }
    });
    let mut killed = 0_u64;
    while !writer.is_finished() {
        let producer = world.spawn("run");
        killed += 1;
        let millis = 900 + 170 * (killed * 7 % 11);
        // No condition is waited for: that it is killed at any moment is the point.
        tokio::time::sleep(Duration::from_millis(millis)).await;
        kill(producer);
    }
    writer.await.expect("it wrote");
    let producer = world.start("run");
    world.until_complete("a").await;
    world.until_polled().await;
    producer.stop().await.expect("it stops");
    let records = world.records("a");
    let runs: BTreeSet<_> = records.iter().map(|r| r.run.as_str()).collect();
    assert!(runs.len() > 1, "{killed} killed, {runs:?}");
    assert_eq!(apply(&records), world.source("a").await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_was_cut_off_is_read_again_as_a_whole() {
    let mut world = World::polled("cut", &["a"], "made").await;
    world.flag("poll-overlap", "1s");
    world.flag("max-docs-per-second", "150");
    let producer = world.start("run");
    world.until_complete("a").await;
    producer.stop().await.expect("it stops");
    let new = (0..600).map(|id| doc! { "_id": id, "n": 0, "made": DateTime::now() });
    let inserted = world.collection("a").insert_many(new).await;
    inserted.expect("documents");
    until_behind_the_overlap(&world, DateTime::now()).await;
    let producer = world.spawn("run");
    world
        .until("some arrive", || world.records("a").len() >= 150)
        .await;
    kill(producer);
    let some = world.records("a").len();
    assert!(some < 600, "the poll was over before its end");
    let producer = world.start("run");
    world.until_polled().await;
    producer.stop().await.expect("it stops");
    assert_eq!(apply(&world.records("a")), world.source("a").await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_series_is_read_whole_and_then_by_its_time() {
    let mut world = World::polled("series", &["a"], "at").await;
    world.flag("split-bytes", "200");
    let create = doc! { "create": "a", "timeseries": { "timeField": "at", "metaField": "of" } };
    world.database.run_command(create).await.expect("a series");
    let old = yesterday();
    let documents = (0..300).map(|id| doc! { "_id": id, "n": 0, "of": id % 3, "at": old });
    let inserted = world.collection("a").insert_many(documents).await;
    inserted.expect("documents");
    // A driver gives each an `_id`; a command does not have to.
    let keyless = doc! { "insert": "a", "documents": [{ "at": old, "of": 1 }] };
    world.database.run_command(keyless).await.expect("a write");
    let producer = world.start("run");
    let complete = world.until_complete("a").await;
    assert_eq!(complete.documents, 300, "what has no `_id` is no document");
    let new = doc! { "_id": 1_000, "n": 7, "of": 1, "at": DateTime::now() };
    world.insert("a", [new]).await;
    world
        .until("it arrives", || last_n(&world, "number:1000") == Some(7))
        .await;
    world.until_polled().await;
    producer.stop().await.expect("it stops");
    let records = world.records("a");
    assert_versions_follow_from_documents(&records);
    assert_eq!(records.iter().filter(|r| r.snapshot).count(), 300);
    assert_eq!(apply(&records).len(), 301);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_is_left_to_a_second_producer() {
    let mut world = World::polled("shared", &["a", "b"], "at").await;
    let create = doc! { "create": "b", "timeseries": { "timeField": "at" } };
    world.database.run_command(create).await.expect("a series");
    let document = || doc! { "_id": 1, "at": DateTime::now() };
    for name in ["a", "b"] {
        let inserted = world.collection(name).insert_one(document()).await;
        inserted.expect("a write");
    }
    world.flag("only", "b");
    let polls = world.start("run");
    world.until_complete("b").await;
    world.replace_flag("capture", "stream");
    world.replace_flag("only", "a,b");
    let refused = world.start("run").ended().await.expect_err("it is refused");
    assert_eq!(refused.exit, Exit::Preflight);
    assert!(refused.to_string().contains("--except"), "{refused}");
    world.replace_flag("only", "a");
    let streams = world.start("run");
    world.until_complete("a").await;
    let producers: BTreeSet<_> = world.heartbeats().into_iter().map(|b| b.producer).collect();
    assert_eq!(producers.len(), 2, "{producers:?}");
    streams.stop().await.expect("it stops");
    polls.stop().await.expect("it stops");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_wrong_with_a_choice_is_told_at_once() {
    let mut world = World::new("choice", &["a", "b", "c"]).await;
    world.flag("capture", "poll");
    world.flag("poll-interval", "1ms");
    world.flag("except", "c,d");
    let failure = world.checked("run").expect_err("it is refused");
    assert_eq!(failure.exit, Exit::Settings);
    let text = failure.to_string();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(failure.faults.0.len(), 4, "{text}");
    for words in [
        "--poll-interval",
        "`--except d`",
        ".yaml:4:3",
        ".yaml:9:3",
        "poll_by: [",
    ] {
        assert!(text.contains(words), "no {words} in: {text}");
    }
    world.replace_flag("capture", "stream");
    world.flag("poll-since", "2024-01-01");
    let failure = world.checked("run").expect_err("it is refused");
    assert!(failure.to_string().contains("--poll-since"), "{failure}");
}
