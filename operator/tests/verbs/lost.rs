//! History or a topic is lost, and `resnapshot` mends it.

use crate::{
    again::{WIDER, author, converges, filled, filled_up, started, writer},
    live::Live,
};
use bson::{Document, doc};
use leafcutter_harness::topic;
use std::sync::atomic::Ordering;

/// Gives a book another title, and waits until its row has it.
async fn rename(live: &Live, title: &str) {
    let change = doc! { "$set": { "title": title } };
    let books = live.collection("books");
    books.update_one(doc! { "_id": 7 }, change).await.unwrap();
    let row = "select title from books where id = 7";
    live.wait_for(row, title).await;
}

/// Writes until the source has overwritten what was there before, while the books are followed.
async fn overwrite_history(live: &Live) {
    let filler = live.collection("filler");
    let first = async || {
        let local = filler.client().database("local");
        let oplog = local.collection::<Document>("oplog.rs");
        let first = oplog.find_one(doc! {}).sort(doc! { "$natural": 1 });
        first.await.unwrap().unwrap().get_timestamp("ts").unwrap()
    };
    let last = doc! { "ping": 1 };
    let last = live.database.run_command(last).await.unwrap();
    let last = last.get_timestamp("operationTime").unwrap();
    for round in 0..500 {
        let fat = (0..5).map(|_| doc! { "fat": "x".repeat(100_000) });
        filler.insert_many(fat).await.unwrap();
        filler.delete_many(doc! {}).await.unwrap();
        // Whoever follows the books is not left behind.
        rename(live, &format!("round-{round}")).await;
        if first().await > last {
            return;
        }
    }
    panic!("the oplog was not overwritten");
}

/// A collection was away for longer than the oplog reaches back. Others go on; it is mended, deletes of that
/// time included, while it is written to.
#[tokio::test(flavor = "multi_thread")]
async fn lost_history_of_one_collection_is_mended_while_others_go_on() {
    let live = Live::with_small_oplog().await;
    live.map(WIDER);
    filled(&live).await;
    let producer = live.producer(&[]);
    let consumer = live.consumer();
    filled_up(&live).await;
    converges(&live).await;
    producer.stop();
    let others = live.producer(&["--except", "authors"]);
    let authors = live.collection("authors");
    let gone = doc! { "_id": { "$gte": 80, "$lt": 100 } };
    authors.delete_many(gone).await.unwrap();
    let change = doc! { "$set": { "name": "changed while it was away" } };
    authors
        .update_many(doc! { "_id": { "$lt": 10 } }, change)
        .await
        .unwrap();
    authors.insert_one(author(2_000)).await.unwrap();
    overwrite_history(&live).await;
    rename(&live, "one").await;
    others.stop();
    let (exit, said) = live.producer(&[]).ended().await;
    assert_eq!(exit, leafcutter_runtime::exit::Exit::HistoryLost, "{said}");
    for words in [
        "leafcutter resnapshot authors --lost-history",
        "--except authors`",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    let others = live.producer(&["--except", "authors"]);
    rename(&live, "two").await;
    live.leafcutter(&["resnapshot", "authors", "--ids", "1", "--yes"])
        .await
        .ends_with(5)
        .says("leafcutter resnapshot authors");
    let (stop, writing) = writer(&live);
    let said = live.leafcutter(&["resnapshot", "authors", "--yes"]).await;
    said.ends_with(0)
        .says("A producer that had stopped for it can be started");
    rename(&live, "three").await;
    others.stop();
    let producer = live.producer(&[]);
    rename(&live, "four").await;
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    converges(&live).await;
    consumer.stop();
    producer.stop();
    live.end().await;
}

/// Kafka has removed records of one collection before they were applied. Others go on; it is mended.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_topic_stops_one_collection_and_is_mended() {
    let live = started(WIDER).await;
    let producer = live.producer(&[]);
    let consumer = live.consumer();
    filled_up(&live).await;
    converges(&live).await;
    consumer.stop();
    let authors = live.collection("authors");
    let gone = doc! { "_id": { "$gte": 80, "$lt": 100 } };
    authors.delete_many(gone).await.unwrap();
    let change = doc! { "$set": { "name": "changed in the gap" } };
    authors.update_many(doc! {}, change).await.unwrap();
    let ends = live.until_sent("authors", 800).await;
    live.cut_off("authors", &ends).await;
    let consumer = live.consumer();
    let problem = "select problem like '%leafcutter resnapshot authors%' from leafcutter.consumers";
    live.wait_for(problem, "t").await;
    live.leafcutter(&["status"])
        .await
        .says("leafcutter resnapshot authors");
    // Others go on.
    let change = doc! { "$set": { "title": "on" } };
    let books = live.collection("books");
    books.update_one(doc! { "_id": 7 }, change).await.unwrap();
    live.wait_for("select title from books where id = 7", "on")
        .await;
    assert_eq!(live.text("select count(*) from authors").await, "400");
    let said = live.leafcutter(&["resnapshot", "authors", "--yes"]).await;
    said.ends_with(0)
        .says("that Kafka has no more passed by")
        .says("20 gone in the source");
    converges(&live).await;
    live.wait_for(
        "select count(*) from leafcutter.consumers where problem is null",
        "1",
    )
    .await;
    let accounted = "select bool_and(next_offset = applied + unchanged + stale + deleted + held + filtered \
                     + parked + suppressed + ignored + dead_lettered) from leafcutter.offsets";
    assert_eq!(live.text(accounted).await, "t");
    consumer.stop();
    producer.stop();
    live.end().await;
}

/// Everything in Kafka is lost and read again, while the consumers are away. They do not go on in the middle of
/// other records.
#[tokio::test(flavor = "multi_thread")]
async fn topics_made_anew_are_not_read_on_in_their_middle() {
    let live = started(WIDER).await;
    let producer = live.producer(&[]);
    let consumer = live.consumer();
    filled_up(&live).await;
    converges(&live).await;
    consumer.stop();
    producer.stop();
    let (kafka, prefix) = (live.target.stack.kafka(), &live.prefix);
    topic::delete_all(&kafka, prefix).await.unwrap();
    let (authors, books) = (live.collection("authors"), live.collection("books"));
    let change = doc! { "$set": { "title": "never read" } };
    books.update_many(doc! {}, change).await.unwrap();
    let producer = live.producer(&[]);
    live.until_sent("books", 400).await;
    // Beyond where the consumers stand, in each partition.
    for (collection, field) in [(&authors, "name"), (&books, "title")] {
        let change = doc! { "$set": { field: "read" } };
        collection.update_many(doc! {}, change).await.unwrap();
    }
    live.until_sent("books", 800).await;
    let (exit, said) = live.consumer().ended().await;
    assert_eq!(exit, leafcutter_runtime::exit::Exit::HistoryLost, "{said}");
    assert!(said.contains("is not the one that was applied"), "{said}");
    let read = "select count(*) from books where title = 'read'";
    assert_eq!(live.text(read).await, "0");
    producer.stop();
    live.end().await;
}

/// What was applied may go: nobody asks for it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_goes_on_whose_last_applied_record_is_gone() {
    let live = started(WIDER).await;
    let producer = live.producer(&[]);
    let consumer = live.consumer();
    filled_up(&live).await;
    converges(&live).await;
    consumer.stop();
    for collection in ["authors", "books"] {
        let ends = live.until_sent(collection, 400).await;
        live.cut_off(collection, &ends).await;
    }
    let consumer = live.consumer();
    rename(&live, "after").await;
    converges(&live).await;
    consumer.stop();
    producer.stop();
    live.end().await;
}
