//! Faults of the source, made by the server's own `failCommand` (it needs `enableTestCommands`).
//!
//! The fail point is one per server and is aimed at one test by the application's name, so these
//! tests take turns.

use bson::{Bson, Document, doc};
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::operation::Operation;
use leafcutter_schemas::version::Version;
use tokio::sync::Mutex;

use crate::pages::Pages;
use crate::records::{assert_heartbeats, numbered};
use crate::stream::disturb;
use crate::world::World;

static TURN: Mutex<()> = Mutex::const_new(());

/// A world whose producer bears the world's own name towards the server.
async fn named_world(test: &str, collections: &[&str]) -> World {
    let mut world = World::new(test, collections).await;
    let uri = world.stack.mongodb_uri.clone();
    let separator = if uri.contains('?') { '&' } else { '?' };
    let name = world.database.name().to_owned();
    world.flag("mongodb-uri", &format!("{uri}{separator}appName={name}"));
    world
}

/// Makes the next `times` of these commands fail with `code`.
async fn fail(world: &World, commands: &[&str], code: i32, times: i32) {
    let data =
        doc! { "failCommands": commands, "errorCode": code, "appName": world.database.name() };
    aim(world, doc! { "times": times }, data).await;
}

/// Cuts the connection of the next `times` of these commands.
async fn cut(world: &World, commands: &[&str], times: i32) {
    let data = doc! { "failCommands": commands, "closeConnection": true, "appName": world.database.name() };
    aim(world, doc! { "times": times }, data).await;
}

async fn aim(world: &World, mode: impl Into<Bson>, data: Document) {
    let command = doc! { "configureFailPoint": "failCommand", "mode": mode.into(), "data": data };
    world
        .client
        .database("admin")
        .run_command(command)
        .await
        .expect("a fail point");
}

async fn heal(world: &World) {
    let command = doc! { "configureFailPoint": "failCommand", "mode": "off" };
    world
        .client
        .database("admin")
        .run_command(command)
        .await
        .expect("no fail point");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_reads_are_mended_without_a_gap() {
    let _turn = TURN.lock().await;
    let mut world = named_world("mended", &["a", "b"]).await;
    world.flag("split-bytes", "20000");
    world.flag("lookup-batch", "20");
    let fat = |id: i64| doc! { "_id": id, "n": 0, "filler": "x".repeat(500) };
    world.insert("a", (0..2000).map(fat)).await;
    fail(&world, &["find", "getMore"], 43, 6).await;
    let producer = world.start("run");
    for round in 0..8 {
        match round % 4 {
            0 => fail(&world, &["getMore"], 43, 2).await,
            1 => cut(&world, &["getMore", "find"], 3).await,
            2 => fail(&world, &["find", "aggregate", "getMore"], 11602, 4).await,
            _ => fail(&world, &["aggregate", "getMore"], 10107, 3).await,
        }
        disturb(&world, &["a", "b"], 300, 60, 50 + round).await;
    }
    heal(&world).await;
    world.until_complete("a").await;
    world.until_caught_up().await;
    assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
    world.assert_converged("a").await;
    world.assert_converged("b").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_whose_source_is_away_is_alive_and_not_ready() {
    let _turn = TURN.lock().await;
    let mut world = named_world("away", &["a"]).await;
    let pages = Pages::of(&mut world).await;
    world.insert("a", numbered(10)).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    pages.until_ready().await;
    let name = world.database.name();
    let data = doc! {
        "failCommands": ["aggregate", "getMore"], "closeConnection": true, "appName": name,
    };
    aim(&world, "alwaysOn", data).await;
    pages.until_without("mongodb").await;
    heal(&world).await;
    pages.until_ready().await;
    world.change_all("a").await;
    world.until_caught_up().await;
    assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
    world.assert_converged("a").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_history_stops_with_a_code_of_its_own_and_stays_lost() {
    let _turn = TURN.lock().await;
    for (commands, code) in [("getMore", 286), ("getMore", 280), ("aggregate", 286)] {
        let world = named_world("oplog", &["a"]).await;
        world.insert("a", numbered(10)).await;
        let producer = world.start("run");
        world.until_complete("a").await;
        if commands == "aggregate" {
            // Lost while the producer was away.
            producer.stop().await.expect("it stops");
            fail(&world, &["aggregate"], code, 2).await;
            let failure = world
                .start("run")
                .ended()
                .await
                .expect_err("the preflight meets it");
            assert!(
                [Exit::Preflight, Exit::HistoryLost].contains(&failure.exit),
                "{failure}"
            );
        } else {
            fail(&world, &[commands], code, 1).await;
            let failure = producer.ended().await.expect_err("it stops by itself");
            assert_eq!(failure.exit, Exit::HistoryLost, "{failure}");
            let said = failure.to_string();
            let said: Vec<&str> = said.split_whitespace().collect();
            let command = "leafcutter resnapshot a";
            assert!(said.join(" ").contains(command), "{failure}");
        }
        heal(&world).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_too_large_to_send_is_a_named_stop() {
    let _turn = TURN.lock().await;
    let world = named_world("toolargeevent", &["a"]).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    fail(&world, &["getMore"], 10334, 1).await;
    let failure = producer.ended().await.expect_err("it stops by itself");
    assert_eq!(failure.exit, Exit::Stopped, "{failure}");
    heal(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_fails_is_not_a_document_that_is_gone() {
    let _turn = TURN.lock().await;
    let world = named_world("lookupfails", &["a"]).await;
    world.insert("a", numbered(100)).await;
    let producer = world.start("run");
    world.until_complete("a").await;
    fail(&world, &["find"], 11602, 5).await;
    world.change_all("a").await;
    world.until_caught_up().await;
    heal(&world).await;
    producer.stop().await.expect("it stops");
    let records = world.assert_converged("a").await;
    assert_eq!(
        records
            .iter()
            .filter(|r| r.operation == Operation::Update)
            .count(),
        100
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_heartbeat_speaks_of_a_document_that_a_look_up_missed() {
    let _turn = TURN.lock().await;
    let world = named_world("missed", &["a"]).await;
    world
        .database
        .create_collection("a")
        .await
        .expect("a collection");
    let producer = world.start("run");
    world.until_complete("a").await;
    // Look-ups are slow, so that the delete is there before them.
    let data = doc! {
        "failCommands": ["find"], "blockConnection": true, "blockTimeMS": 60,
        "appName": world.database.name(),
    };
    let collection = world.collection("a");
    let mut lives = Vec::new();
    for id in 0..60 {
        aim(&world, doc! { "times": 1 }, data.clone()).await;
        let mut session = world.client.start_session().await.expect("a session");
        session.start_transaction().await.expect("a transaction");
        collection
            .insert_one(doc! { "_id": id })
            .session(&mut session)
            .await
            .unwrap();
        let (key, change) = (doc! { "_id": id }, doc! { "$set": { "n": 1 } });
        collection
            .update_one(key.clone(), change)
            .session(&mut session)
            .await
            .unwrap();
        session.commit_transaction().await.expect("a commit");
        let born = session.operation_time().expect("a time");
        // Lives of some length, with pauses between them, so that heartbeats may fall into each.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        collection
            .delete_one(key)
            .session(&mut session)
            .await
            .unwrap();
        let died = session.operation_time().expect("a time");
        lives.push((
            Version::from_cluster_time(born),
            Version::from_cluster_time(died),
        ));
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    }
    heal(&world).await;
    world.until_caught_up().await;
    producer.stop().await.expect("it stops");
    let records = world.assert_converged("a").await;
    let missed = lives
        .iter()
        .filter(|(born, _)| records.iter().all(|r| r.version != *born));
    let missed: Vec<_> = missed.collect();
    assert!(missed.len() > 20, "{} look-ups found nothing", missed.len());
    for beat in world.heartbeats() {
        for (born, died) in &missed {
            assert!(
                beat.time < *born || beat.time >= *died,
                "H3: {} lies in the life of a document never published, {born} to {died}",
                beat.time,
            );
        }
    }
    assert_heartbeats(&world, &["a"]);
    world.end().await;
}
