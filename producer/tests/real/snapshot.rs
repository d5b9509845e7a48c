//! The snapshot is whole, whatever `_id`s are made of and whatever is written meanwhile.

use std::time::{Duration, Instant};

use bson::{Bson, DateTime, Decimal128, Document, Timestamp, doc, oid::ObjectId};
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::operation::Operation;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::records::numbered;
use crate::world::World;

/// Any `_id` that MongoDB accepts.
fn any_id() -> impl Strategy<Value = Bson> {
    let binary = |bytes| bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes,
    };
    let scalar = prop_oneof![
        any::<i32>().prop_map(Bson::from),
        any::<i64>().prop_map(Bson::from),
        any::<f64>().prop_map(Bson::from),
        (-1_000_000i64..1_000_000)
            .prop_map(|n| { Bson::from(format!("{n}E-3").parse::<Decimal128>().unwrap()) }),
        "[a-z]{0,3}".prop_map(Bson::from),
        any::<[u8; 12]>().prop_map(|bytes| Bson::from(ObjectId::from_bytes(bytes))),
        any::<i32>().prop_map(|millis| Bson::from(DateTime::from_millis(millis.into()))),
        any::<bool>().prop_map(Bson::from),
        any::<(u32, u32)>()
            .prop_map(|(time, increment)| { Bson::from(Timestamp { time, increment }) }),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(move |bytes| Bson::from(binary(bytes))),
        Just(Bson::Null),
        Just(Bson::MinKey),
        Just(Bson::MaxKey),
    ];
    let leaf = scalar.boxed();
    prop_oneof![
        9 => leaf.clone(),
        1 => prop::collection::vec(("[a-c]", leaf), 0..3).prop_map(|fields| {
            Bson::from(fields.into_iter().collect::<Document>())
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_cover_ids_of_every_type_once() {
    let mut world = World::new("cover", &["a", "clustered"]).await;
    world.flag("split-bytes", "600");
    let clustered =
        doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true } };
    world
        .database
        .run_command(clustered)
        .await
        .expect("a clustered collection");
    let mut runner = TestRunner::default();
    let ids: Vec<Bson> = (0..600)
        .map(|_| any_id().new_tree(&mut runner).unwrap().current())
        .collect();
    for name in ["a", "clustered"] {
        for id in [Bson::MinKey, Bson::MaxKey, Bson::Null]
            .into_iter()
            .chain(ids.iter().cloned())
        {
            // Equal keys (1 and 1.0) are refused by the server, and so are some of ours.
            world
                .collection(name)
                .insert_one(doc! { "_id": id, "v": 1 })
                .await
                .ok();
        }
    }
    assert_eq!(
        world.start("snapshot").ended().await.expect("it is done"),
        Exit::Done
    );
    for name in ["a", "clustered"] {
        let records = world.assert_converged(name).await;
        let source = world.source(name).await;
        assert_eq!(records.len(), source.len(), "each document once");
        let complete = world.complete(name).expect("snapshot-complete");
        assert_eq!(usize::try_from(complete.documents), Ok(source.len()));
        let beat = world.heartbeat().expect("a heartbeat");
        assert!(
            beat.snapshots[name].splits > 10,
            "{:?}",
            beat.snapshots[name]
        );
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_complete_covers_every_row() {
    let world = World::new("complete", &["a", "absent"]).await;
    world.insert("a", numbered(500)).await;
    let producer = world.start("run");
    let complete = world.until_complete("a").await;
    let empty = world.until_complete("absent").await;
    producer.stop().await.expect("it stops");
    assert!(complete.snapshot && empty.snapshot);
    assert_eq!((complete.documents, empty.documents), (500, 0));
    assert_eq!(complete.offsets.len(), 8);
    for record in world.records("a") {
        assert_eq!(record.operation, Operation::Read);
        assert!(record.offset < complete.offsets[usize::try_from(record.partition).unwrap()]);
        assert!(record.as_of <= complete.complete_time, "H5");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_split_ends_although_writers_go_on() {
    let mut world = World::new("endless", &["a"]).await;
    world.flag("max-docs-per-second", "400");
    let filler = "x".repeat(20_000);
    let fat = |n: i64| doc! { "_id": n, "filler": &filler };
    world.insert("a", (0..400).map(fat)).await;
    let producer = world.start("run");
    let collection = world.collection("a");
    let writer = tokio::spawn(async move {
        for number in 1_000_000.. {
            collection
                .insert_one(doc! { "_id": number })
                .await
                .expect("a write");
        }
    });
    let complete = world.until_complete("a").await;
    writer.abort();
    assert!(complete.documents < 2000, "{}", complete.documents);
    world.until_caught_up().await;
    producer.stop().await.expect("it stops");
    world.assert_converged("a").await;
    world.end().await;
}

/// In the middle of the snapshot. What is read behind it is of no collection that there was.
#[tokio::test(flavor = "multi_thread")]
async fn what_reshapes_a_collection_that_is_being_read_is_a_stop() {
    for what in ["drop", "rename", "made anew"] {
        let mut world = World::new("midway", &["a"]).await;
        world.flag("split-bytes", "2000");
        // The rest would take minutes.
        world.flag("max-docs-per-second", "100");
        let filler = "x".repeat(100);
        let documents = (0..20_000).map(|id: i64| doc! { "_id": id, "f": &filler });
        world.insert("a", documents).await;
        let producer = world.start("run");
        let read = |world: &World| world.heartbeat()?.snapshots.get("a").cloned();
        world
            .until("some splits are read", || {
                read(&world).is_some_and(|read| read.splits_done >= 3)
            })
            .await;
        let name = world.database.name();
        let rename = doc! { "renameCollection": format!("{name}.a"), "to": format!("{name}.b") };
        match what {
            "rename" => drop(
                world
                    .client
                    .database("admin")
                    .run_command(rename)
                    .await
                    .unwrap(),
            ),
            _ => world.collection("a").drop().await.unwrap(),
        }
        if what == "made anew" {
            world.insert("a", [doc! { "_id": "new" }]).await;
        }
        let failure = producer.ended().await.expect_err("it stops by itself");
        let again = world.start("run").ended().await.expect_err("again");
        for failure in [failure, again] {
            assert_eq!(failure.exit, Exit::Stopped, "{what}: {failure}");
        }
        assert!(world.complete("a").is_none(), "{what}");
        let records = world.records("a");
        assert!(!records.is_empty() && records.len() < 20_000);
        assert!(
            records.iter().all(|r| r.operation == Operation::Read),
            "{what}"
        );
        // Who decides that this may be goes on with what there is now.
        world.flag("on-drop", "ignore");
        world.replace_flag("max-docs-per-second", "1000000");
        let producer = world.start("run");
        world.until_complete("a").await;
        world.until_caught_up().await;
        assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
        if what == "made anew" {
            assert!(world.records("a").iter().any(|r| r.key == "string:new"));
        }
        world.end().await;
    }
}

/// No event says so, or it comes late: what is left of it is read quickly, and looks like an early end.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_gone_before_its_end_is_never_called_complete() {
    let mut world = World::new("gone", &["a"]).await;
    world.flag("split-bytes", "2000");
    world.flag("max-docs-per-second", "100");
    let filler = "x".repeat(100);
    let documents = (0..20_000).map(|id: i64| doc! { "_id": id, "f": &filler });
    world.insert("a", documents).await;
    let producer = world.start("snapshot");
    let some_read = || {
        let read = world.heartbeat()?.snapshots.get("a").cloned();
        Some(read?.splits_done >= 3)
    };
    let begun = || some_read().unwrap_or_default();
    world.until("some splits are read", begun).await;
    world.collection("a").drop().await.unwrap();
    let failure = producer.ended().await.expect_err("it stops by itself");
    assert_eq!(failure.exit, Exit::Stopped, "{failure}");
    assert!(world.complete("a").is_none());
    world.end().await;
}

/// Small collections are one reply each, and the last reply of every split is one of them.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_where_every_split_is_one_reply() {
    let names = ["a", "b", "c"];
    let mut world = World::new("limited", &names).await;
    world.flag("max-docs-per-second", "100");
    for name in names {
        let collection = world.collection(name);
        let inserted = collection.insert_many(numbered(300)).await;
        inserted.expect("documents");
    }
    let begun = Instant::now();
    let producer = world.start("run");
    for name in names {
        world.until_complete(name).await;
    }
    let took = begun.elapsed();
    producer.stop().await.expect("it stops");
    assert!(took >= Duration::from_secs(8), "900 documents in {took:?}");
    world.end().await;
}
