//! A consumer that finds no state: after the drop it changes nothing, and where nobody has been it begins.

use super::{RUNNING, TABLES, finish, running};
use crate::live::Live;
use bson::doc;
use leafcutter_harness::{probe, topic};
use leafcutter_runtime::exit::Exit;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::AdminOptions,
    consumer::{BaseConsumer, Consumer as _},
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(20);

const THINGS: &str = "
  things:
    table: things
    key: id
    columns:
      id: { path: _id, type: bigint }
      name: { type: text }
";

/// Waits until Kafka knows how far the group is.
async fn until_kafka_knows(live: &Live, group: &str, collection: &str) {
    let config = live.target.stack.kafka().consumer_config(group, "test");
    let consumer: BaseConsumer = config.unwrap().create().unwrap();
    let topic = live.topic(collection);
    let known = probe::until(PATIENCE, "positions of the group in Kafka", async || {
        let mut list = TopicPartitionList::new();
        for partition in 0..2 {
            list.add_partition(&topic, partition);
        }
        let committed = consumer.committed_offsets(list, ANSWER)?;
        let is_known = |offset: Offset| matches!(offset, Offset::Offset(_));
        let mut elements = committed.elements().into_iter();
        Ok(elements
            .any(|element| is_known(element.offset()))
            .then_some(()))
    });
    known.await.unwrap();
}

/// Has Kafka forget the group, as it does by itself when nobody was in it for a week.
async fn forget_the_group(live: &Live, group: &str) {
    let admin = topic::admin(&live.target.stack.kafka()).unwrap();
    let forgotten = probe::until(PATIENCE, "the group to be empty", async || {
        let results = admin.delete_groups(&[group], &AdminOptions::new()).await?;
        Ok(results.into_iter().all(|one| one.is_ok()).then_some(()))
    });
    forgotten.await.unwrap();
}

async fn refused(live: &Live, group: &str) {
    let (exit, said) = live.consumer_of(group, &[]).ended().await;
    assert_eq!(exit, Exit::StateMismatch, "{said}");
    for words in [
        "Kafka knows that this group has applied records",
        "`leafcutter finish --drop` has ended the migration here",
        "never start the consumers again",
        "--begin-anew",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_started_after_the_drop_changes_nothing() {
    let plain = Live::new().await;
    plain.text(TABLES).await;
    let wanted = super::dropped::dump(&plain);
    plain.end().await;
    let (live, producer, consumer) = running(5).await;
    finish(&live, &[]).await.ends_with(0).says("\nclean\n");
    until_kafka_knows(&live, "g", "authors").await;
    consumer.stop();
    producer.stop();
    let dropped = live.leafcutter(&["finish", "--drop", "--yes"]).await;
    dropped.ends_with(0);
    live.text("update authors set name = 'mine' where id = 1")
        .await;

    refused(&live, "g").await;
    assert_eq!(super::dropped::dump(&live), wanted);
    let name = "select name from authors where id = 1";
    assert_eq!(live.text(name).await, "mine");

    // Who says so has it.
    let anew = live.consumer_of("g", &["--begin-anew"]);
    live.wait_for(name, "author 1").await;
    anew.stop();
    let as_ever = live.consumer();
    live.wait_for(RUNNING, "1").await;
    as_ever.stop();
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_begins_where_nobody_has_been_and_goes_on_where_kafka_forgot() {
    let mut live = Live::new().await;
    // Of its own: other tests are in the usual one.
    let group = live.prefix.clone();
    live.map(THINGS);
    // Tables with rows of the application's are no sign of anything.
    live.text("create table things (id bigint primary key, name text); insert into things values (0, 'mine')")
        .await;
    let things = (1..=20).map(|n| doc! { "_id": n, "name": "new" });
    live.collection("things").insert_many(things).await.unwrap();
    let (producer, consumer) = (live.producer(&[]), live.consumer_of(&group, &[]));
    let rows = "select count(*) from things";
    live.wait_for(rows, "21").await;
    until_kafka_knows(&live, &group, "things").await;
    consumer.stop();

    forget_the_group(&live, &group).await;
    let consumer = live.consumer_of(&group, &[]);
    live.wait_for(RUNNING, "1").await;
    until_kafka_knows_again(&live, &group).await;
    consumer.stop();
    // A partition that the group has never had.
    live.text("delete from leafcutter.offsets where partition = 0")
        .await;
    let consumer = live.consumer_of(&group, &[]);
    live.wait_for("select count(*) from leafcutter.offsets", "2")
        .await;
    consumer.stop();
    producer.stop();

    // Another database, or an earlier one: nothing is there, and Kafka knows the group.
    live.text("drop schema leafcutter cascade; drop table things")
        .await;
    refused(&live, &group).await;
    let schema = "select count(*) from pg_namespace where nspname = 'leafcutter'";
    assert_eq!(live.text(schema).await, "0");
    let table = "select to_regclass('things') is null";
    assert_eq!(live.text(table).await, "t");
    // What the README says of beginning again.
    live.prefix = format!("{}.second", live.prefix);
    let (producer, consumer) = (live.producer(&[]), live.consumer_of(&group, &[]));
    live.wait_for(rows, "21").await;
    consumer.stop();
    producer.stop();
    live.end().await;
}

/// One more record, so that the group has something to tell.
async fn until_kafka_knows_again(live: &Live, group: &str) {
    let more = doc! { "_id": 100, "name": "new" };
    live.collection("things").insert_one(more).await.unwrap();
    live.wait_for("select count(*) from things where id = 100", "1")
        .await;
    until_kafka_knows(live, group, "things").await;
}
