//! Children wait unread until their parents are there, also where the parents wait for each other.

use crate::live::Live;
use bson::{Document, doc};

const MAPPING: &str = "
  authors:
    table: authors
    key: id
    columns:
      id: { path: _id, type: bigint }
      mentor_id: { type: bigint, references: { table: authors } }
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: bigint }
      author_id: { type: bigint, references: { table: authors } }
";

/// More than the transaction that writes the root takes up, so that the settling task has to place the rest.
const AUTHORS: i64 = 14_000;

/// The author of whom all others are told last, and to whom all others lead.
const ROOT: i64 = AUTHORS + 1;

#[tokio::test(flavor = "multi_thread")]
async fn children_are_read_when_a_tree_of_parents_is_placed() {
    let live = Live::new().await;
    live.map(MAPPING);
    let authors = (1..=AUTHORS).map(|id| doc! { "_id": id, "mentor_id": ROOT });
    let authors: Vec<Document> = authors.chain([doc! { "_id": ROOT }]).collect();
    live.collection("authors")
        .insert_many(authors)
        .await
        .unwrap();
    let books = (1..=AUTHORS).map(|id| doc! { "_id": id, "author_id": id });
    let books: Vec<Document> = books.collect();
    live.collection("books").insert_many(books).await.unwrap();
    let (producer, consumer) = (live.producer(&[]), live.consumer());
    live.wait_for("select count(*) from books", &AUTHORS.to_string())
        .await;
    let parked = "select bool_or(parked > 5000), sum(parked) filter (where topic like '%.books') \
                  from leafcutter.offsets";
    assert_eq!(live.text(parked).await, "t|0");
    consumer.stop();
    producer.stop();
    live.end().await;
}
