//! Waiting documents are taken up by their bytes: however many wait, and however large they are, no transaction
//! holds more of them than its budget, and all are placed.

use crate::world::{Made, World, delete_by, put};
use bson::doc;
use leafcutter_sink::{change::Outcome, session, state::parked::TAKEN_BYTES_MAX};

const MAPPING: &str = "
version: 1
database: shop
collections:
  parents:
    table: parents
    key: id
    columns: { id: { path: _id, type: bigint } }
  kids:
    table: kids
    key: id
    columns:
      id: { path: _id, type: bigint }
      parent: { type: bigint, references: { table: parents } }
  logbooks:
    table: days
    key: day
    on_same_key: newest-wins
    columns: { day: { type: bigint, required: true }, note: text }
  nodes:
    table: nodes
    key: id
    columns:
      id: { path: _id, type: bigint }
      next: { type: bigint, references: { table: nodes } }
";

const MEBIBYTE: usize = 1024 * 1024;

fn kid(id: i64, bytes: usize) -> Made {
    put(
        "kids",
        2,
        doc! { "_id": id, "parent": 1_i64, "text": "x".repeat(bytes) },
    )
}

/// Settles until nothing is parked; gives the most bytes that a round took up.
async fn settle_all(world: &mut World) -> usize {
    let mut most = 0;
    for _ in 0..200 {
        let settled = world.settle().await;
        most = most.max(settled.bytes_max);
        if world.text("select count(*) from leafcutter.parked").await == "0" {
            return most;
        }
    }
    panic!("something is left");
}

#[tokio::test]
async fn many_large_documents_are_released_and_settled_in_parts() {
    for by_batch in [true, false] {
        let mut world = World::with(MAPPING).await;
        for ids in [0..50, 50..100, 100..150, 150..200] {
            let batch: Vec<Made> = ids.map(|id| kid(id, MEBIBYTE)).collect();
            world.apply(&batch).await.unwrap();
        }
        assert_eq!(
            world.text("select count(*) from leafcutter.parked").await,
            "200"
        );
        if by_batch {
            let parent = put("parents", 1, doc! { "_id": 1_i64 });
            let applied = world.apply(&[parent]).await.unwrap();
            assert!(
                applied.released > 0 && applied.released_bytes <= TAKEN_BYTES_MAX,
                "{applied:?}"
            );
        } else {
            world
                .execute("insert into parents (id, lc_version) values (1, 1)")
                .await;
        }
        let most = settle_all(&mut world).await;
        assert!(
            most > TAKEN_BYTES_MAX / 2 && most <= TAKEN_BYTES_MAX,
            "{most}"
        );
        assert_eq!(world.text("select count(*) from kids").await, "200");
    }
}

/// Cycles are taken up whole.
#[tokio::test]
async fn many_large_cycles_are_settled_in_parts() {
    let mut world = World::with(MAPPING).await;
    let node = |id: i64, next: i64| {
        let text = "x".repeat(MEBIBYTE);
        put("nodes", 2, doc! { "_id": id, "next": next, "text": text })
    };
    let first: Vec<Made> = (0..60).step_by(2).map(|id| node(id, id + 1)).collect();
    world.apply(&first).await.unwrap();
    // Another session works on them while the others come, so that nobody releases them.
    let other = session::connect(&world.config, "other").await.unwrap();
    let lock = "begin; select 1 from leafcutter.parked for update";
    other.batch_execute(lock).await.unwrap();
    let second: Vec<Made> = (0..60).step_by(2).map(|id| node(id + 1, id)).collect();
    world.apply(&second).await.unwrap();
    other.batch_execute("commit").await.unwrap();
    let parked = "select count(*) from leafcutter.parked";
    assert_eq!(world.text(parked).await, "60");
    let most = settle_all(&mut world).await;
    assert!(
        most > TAKEN_BYTES_MAX / 2 && most <= TAKEN_BYTES_MAX,
        "{most}"
    );
    assert_eq!(world.text("select count(*) from nodes").await, "60");
}

/// What is larger than the budget by itself is taken up alone, by the parent's batch or later.
#[tokio::test]
async fn a_document_larger_than_the_budget_is_taken_up_alone() {
    let mut world = World::with(MAPPING).await;
    let large = TAKEN_BYTES_MAX + MEBIBYTE;
    let kids = [kid(1, 10), kid(2, large), kid(3, large), kid(4, 10)];
    assert_eq!(world.each(&kids).await, [Outcome::Parked; 4]);
    world
        .execute("insert into parents (id, lc_version) values (1, 1)")
        .await;
    let most = settle_all(&mut world).await;
    assert!(most < 2 * TAKEN_BYTES_MAX, "{most}");
    assert_eq!(world.text("select count(*) from kids").await, "4");
}

/// The rows of many winners come free at once: those who follow are large, too.
#[tokio::test]
async fn many_large_followers_take_their_rows_up_in_parts() {
    let mut world = World::with(MAPPING).await;
    let entry = |version: i64, id: i64, note: &str| {
        let text = "x".repeat(MEBIBYTE);
        let entry = doc! { "_id": id, "day": id % 100, "note": note, "text": text };
        put("logbooks", version, entry)
    };
    for (version, note, ids) in [(1, "older", 0..40), (2, "newer", 100..140)] {
        let batch: Vec<Made> = ids.map(|id| entry(version, id, note)).collect();
        world.apply(&batch).await.unwrap();
    }
    let days = "select count(*), min(note), max(note) from days";
    assert_eq!(world.text(days).await, "40|newer|newer");
    let deletes: Vec<Made> = (100..140_i64)
        .map(|id| delete_by("logbooks", 3, id))
        .collect();
    let applied = world.apply(&deletes).await.unwrap();
    let counts = applied.counts.values().next().unwrap();
    assert_eq!(counts.of(Outcome::Deleted), 40);
    let bytes = applied.released_bytes;
    assert!(
        bytes > TAKEN_BYTES_MAX / 2 && bytes <= TAKEN_BYTES_MAX,
        "{bytes}"
    );
    assert!(settle_all(&mut world).await <= TAKEN_BYTES_MAX);
    assert_eq!(world.text(days).await, "40|older|older");
    let kept = "select count(*) from leafcutter.retained_records";
    assert_eq!(world.text(kept).await, "40");
}
