//! The change stream: order, transactions, look-ups, heartbeats.

use std::time::Duration;

use bson::{Document, doc};
use leafcutter_harness::dice::Dice;
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::operation::Operation;
use leafcutter_schemas::version::Version;
use mongodb::Collection;

use crate::records::{Record, assert_heartbeats, numbered};
use crate::world::World;

/// Writes at random, one document or a transaction at a time, until told to stop.
pub(crate) async fn disturb(world: &World, names: &[&str], keys: u64, writes: u64, seed: u64) {
    let mut dice = Dice::new(&[seed]);
    let collections: Vec<Collection<Document>> =
        names.iter().map(|name| world.collection(name)).collect();
    for write in 0..writes {
        if dice.below_u64(10) == 0 {
            transaction(world, &collections, keys, &mut dice).await;
            continue;
        }
        let collection = &collections[usize::try_from(dice.below_u64(names.len() as u64)).unwrap()];
        let id = i64::try_from(dice.below_u64(keys)).unwrap();
        change(
            collection,
            None,
            id,
            i64::try_from(write).unwrap(),
            &mut dice,
        )
        .await;
    }
}

async fn change(
    collection: &Collection<Document>,
    session: Option<&mut mongodb::ClientSession>,
    id: i64,
    write: i64,
    dice: &mut Dice,
) {
    let filter = doc! { "_id": id };
    match (dice.below_u64(8), session) {
        (0, None) => {
            collection.delete_one(filter).await.expect("a write");
        }
        (0, Some(session)) => {
            collection
                .delete_one(filter)
                .session(session)
                .await
                .expect("a write");
        }
        (1, None) => {
            let whole = doc! { "w": write, "replaced": true };
            drop(
                collection
                    .replace_one(filter, whole)
                    .upsert(true)
                    .await
                    .expect("a write"),
            );
        }
        (_, None) => {
            let update = doc! { "$set": { "w": write }, "$inc": { "n": 1 } };
            drop(
                collection
                    .update_one(filter, update)
                    .upsert(true)
                    .await
                    .expect("a write"),
            );
        }
        (_, Some(session)) => {
            let update = doc! { "$set": { "w": write }, "$inc": { "n": 1 } };
            let update = collection.update_one(filter, update).upsert(true);
            drop(update.session(session).await.expect("a write"));
        }
    }
}

async fn transaction(
    world: &World,
    collections: &[Collection<Document>],
    keys: u64,
    dice: &mut Dice,
) {
    let mut session = world.client.start_session().await.expect("a session");
    session.start_transaction().await.expect("a transaction");
    for write in 0..dice.below_u64(30) {
        let at = usize::try_from(dice.below_u64(collections.len() as u64)).unwrap();
        // Few keys, so that a transaction meets them several times.
        let id = i64::try_from(dice.below_u64(keys.min(7))).unwrap();
        let write = i64::try_from(write).unwrap();
        change(&collections[at], Some(&mut session), id, write, dice).await;
    }
    session.commit_transaction().await.expect("a commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_and_stream_converge_while_people_write() {
    for (seed, batch) in [(7, "2000"), (11, "3")] {
        let mut world = World::new("converge", &["a", "b"]).await;
        world.flag("split-bytes", "2000");
        world.flag("lookup-batch", batch);
        world.insert("a", numbered(300)).await;
        let producer = world.start("run");
        disturb(&world, &["a", "b"], 400, 1500, seed).await;
        world.until_caught_up().await;
        let beat = world.heartbeat().expect("a heartbeat");
        assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
        for name in ["a", "b"] {
            let records = world.assert_converged(name).await;
            let transactional = |record: &&Record| record.transaction.is_some();
            assert!(records.iter().filter(transactional).count() > 0);
        }
        assert_heartbeats(&world, &["a", "b"]);
        assert!(beat.low_water > Version::ZERO && beat.low_water <= beat.time);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_one_record_per_key_however_it_is_cut_into_replies() {
    let mut world = World::new("transaction", &["a"]).await;
    world.flag("lookup-batch", "7");
    let producer = world.start("run");
    world.until_complete("a").await;
    let collection = world.collection("a");
    world.database.create_collection("a").await.ok();
    let mut session = world.client.start_session().await.expect("a session");
    session.start_transaction().await.expect("a transaction");
    for id in 0..50 {
        collection
            .insert_one(doc! { "_id": id, "n": 0 })
            .session(&mut session)
            .await
            .unwrap();
    }
    for id in 0..50 {
        let update = doc! { "$inc": { "n": 1 } };
        collection
            .update_one(doc! { "_id": id }, update)
            .session(&mut session)
            .await
            .unwrap();
    }
    for id in 0..10 {
        collection
            .delete_one(doc! { "_id": id })
            .session(&mut session)
            .await
            .unwrap();
    }
    session.commit_transaction().await.expect("a commit");
    // Nothing else is written: it must come without waiting for the server's next no-op.
    let start = std::time::Instant::now();
    world
        .until("the transaction is there", || {
            world.records("a").len() >= 50
        })
        .await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    world.until_caught_up().await;
    producer.stop().await.expect("it stops");
    let records = world.assert_converged("a").await;
    assert_eq!(records.len(), 50);
    let versions: std::collections::BTreeSet<_> = records.iter().map(|r| r.version).collect();
    assert_eq!(versions.len(), 1, "one cluster time");
    let count = |operation| records.iter().filter(|r| r.operation == operation).count();
    assert_eq!(
        (count(Operation::Update), count(Operation::Delete)),
        (40, 10)
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_finds_nothing_publishes_nothing_and_holds_heartbeats_back() {
    let world = World::new("gone", &["a"]).await;
    world.insert("a", numbered(200)).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    for id in 0..200 {
        let key = doc! { "_id": id };
        world
            .collection("a")
            .update_one(key.clone(), doc! { "$inc": { "n": 1 } })
            .await
            .unwrap();
        world.collection("a").delete_one(key).await.unwrap();
    }
    world.until_caught_up().await;
    producer.stop().await.expect("it stops");
    let records = world.assert_converged("a").await;
    let deletes = records
        .iter()
        .filter(|r| r.operation == Operation::Delete)
        .count();
    assert_eq!(deletes, 200, "a delete is never merged away");
    assert!(
        records
            .iter()
            .all(|r| r.document.as_ref().is_none_or(|d| d.len() > 5))
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn post_images_are_taken_from_the_event() {
    let world = World::new("images", &["a", "b"]).await;
    let images = doc! { "create": "a", "changeStreamPreAndPostImages": { "enabled": true } };
    world
        .database
        .run_command(images)
        .await
        .expect("a collection");
    for name in ["a", "b"] {
        world.insert(name, numbered(20)).await;
    }
    let producer = world.start("run");
    world.until_complete("a").await;
    world.until_complete("b").await;
    for name in ["a", "b"] {
        world.change_all(name).await;
    }
    world.until_caught_up().await;
    producer.stop().await.expect("it stops");
    let updates = |records: Vec<Record>| {
        let updates = records
            .into_iter()
            .filter(|r| r.operation == Operation::Update);
        updates.collect::<Vec<_>>()
    };
    let (a, b) = (
        world.assert_converged("a").await,
        world.assert_converged("b").await,
    );
    let (a, b) = (updates(a), updates(b));
    assert_eq!((a.len(), b.len()), (20, 20));
    assert!(
        a.iter().all(|record| record.as_of == record.version),
        "the event carries it"
    );
    assert!(
        b.iter().any(|record| record.as_of > record.version),
        "looked up"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_alone_opens_the_gates_at_once() {
    let world = World::new("alone", &["a"]).await;
    world.insert("a", numbered(5)).await;
    let producer = world.start("stream");
    let complete = world.until_complete("a").await;
    assert!(!complete.snapshot);
    world.insert("a", [doc! { "_id": 99 }]).await;
    world.until_caught_up().await;
    producer.stop().await.expect("it stops");
    let keys: Vec<_> = world
        .records("a")
        .into_iter()
        .map(|record| record.key)
        .collect();
    assert_eq!(keys, ["number:99"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reshapes_a_collection_stops_with_a_code_of_its_own() {
    for what in ["drop", "rename", "rename onto", "database"] {
        let world = World::new("reshape", &["a"]).await;
        world.insert("a", numbered(5)).await;
        world.insert("other", [doc! {}]).await;
        let producer = world.start("run");
        world.until_complete("a").await;
        world.insert("a", [doc! { "_id": 77 }]).await;
        let name = world.database.name().to_owned();
        let rename = |from: &str, to: &str| {
            doc! { "renameCollection": format!("{name}.{from}"), "to": format!("{name}.{to}"), "dropTarget": true }
        };
        let admin = world.client.database("admin");
        match what {
            "drop" => world.collection("a").drop().await.unwrap(),
            "rename" => drop(admin.run_command(rename("a", "c")).await.unwrap()),
            "rename onto" => drop(admin.run_command(rename("other", "a")).await.unwrap()),
            _ => world.database.drop().await.unwrap(),
        }
        let failure = producer.ended().await.expect_err("it stops by itself");
        assert_eq!(failure.exit, Exit::Stopped, "{what}: {failure}");
        assert!(failure.to_string().contains("next"), "{failure}");
        let last = world
            .records("a")
            .into_iter()
            .find(|record| record.key == "number:77");
        assert!(last.is_some(), "{what}: what came before is published");
        // Again: the position is still before it.
        let failure = world
            .start("run")
            .ended()
            .await
            .expect_err("it stops again");
        assert_eq!(failure.exit, Exit::Stopped, "{what}");
        let mut world = world;
        world.flag("on-drop", "ignore");
        let producer = world.start("run");
        world.until_caught_up().await;
        assert!(!producer.is_over(), "{what}");
        producer.stop().await.expect("it goes past it");
        world.end().await;
    }
}

/// The server adds up what an update changed and the document as it was then: 31 MB, which it would refuse to
/// send (10334). What changed is left out there, and the document alone always fits.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_would_be_too_large_is_sent_without_what_changed() {
    let world = World::new("large_event", &["a"]).await;
    let images = doc! { "create": "a", "changeStreamPreAndPostImages": { "enabled": true } };
    let made = world.database.run_command(images).await;
    made.expect("a collection");
    world.insert("a", numbered(2)).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    let documents = world.database.collection::<Document>("a");
    let large = doc! { "$set": { "f": "x".repeat(15_500_000) } };
    let done = documents.update_one(doc! { "_id": 0 }, large).await;
    assert_eq!(done.expect("it is taken").matched_count, 1);
    // As large as a document can be.
    let largest = doc! { "f": "y".repeat(16 * 1024 * 1024 - 60) };
    let done = documents.replace_one(doc! { "_id": 1 }, largest).await;
    assert_eq!(done.expect("it is taken").matched_count, 1);
    world.until_caught_up().await;
    producer.stop().await.expect("it stops");
    let records = world.assert_converged("a").await;
    let of = |operation| records.iter().filter(move |r| r.operation == operation);
    assert_eq!(of(Operation::Update).count(), 1);
    assert_eq!(of(Operation::Replace).count(), 1);
    world.end().await;
}
