//! Documents that wait for documents that wait, whose batches did not see each other.

use crate::world::{Made, World, put};
use bson::doc;
use leafcutter_consumer::sink::session;

const MAPPING: &str = "
version: 1
database: shop
collections:
  nodes:
    table: nodes
    key: id
    columns:
      id: { path: _id, type: bigint }
      above: { type: bigint, references: { table: nodes } }
  leaves:
    table: leaves
    key: id
    columns:
      id: { path: _id, type: bigint }
      node: { type: bigint, required: true, references: { table: nodes } }
";

/// More documents than one transaction of the settling task tries.
const DEPTH: i64 = 120;
const LEAVES: i64 = 10;

fn node(id: i64, above: i64) -> Made {
    put("nodes", 1, doc! { "_id": id, "above": above })
}

const COUNTS: &str = "select (select count(*) from nodes), (select count(*) from leaves), \
    (select count(*) from leafcutter.parked), (select count(*) from leafcutter.dead_letters)";

/// All of a tree waits for its root, which somebody else has written meanwhile. It follows in one
/// round, though nothing is waited for any more, and nothing is given up that only waits for what waits.
#[tokio::test]
async fn a_tree_follows_its_root_at_once() {
    let mut world = World::with(MAPPING).await;
    world.create_dead_letter_topics().await;
    let leaf = |id: i64| put("leaves", 1, doc! { "_id": id, "node": id % DEPTH });
    let leaves: Vec<Made> = (0..DEPTH * LEAVES).map(leaf).collect();
    world.apply(&leaves).await.unwrap();
    let nodes: Vec<Made> = (1..DEPTH).rev().map(|id| node(id, id - 1)).collect();
    world.apply(&nodes).await.unwrap();
    assert_eq!(world.text(COUNTS).await, "0|0|1319|0");
    // As a batch that did not see them.
    world
        .execute("insert into nodes (id, lc_version) values (0, 1)")
        .await;
    let settled = world.settle_at(1_000).await;
    assert_eq!((settled.placed, settled.decided), (1_319, 0));
    assert_eq!(world.text(COUNTS).await, "120|1200|0|0");
    world.end().await;
}

/// Without the root, the rest of the tree waits until it is given up itself.
#[tokio::test]
async fn nothing_is_given_up_before_what_it_waits_for() {
    let mut world = World::with(MAPPING).await;
    world.create_dead_letter_topics().await;
    let leaf = put("leaves", 1, doc! { "_id": 1, "node": 2 });
    let records = [node(1, 0), node(2, 1), leaf];
    for record in records {
        world.apply(&[record]).await.unwrap();
    }
    let given_up = "select string_agg(table_name || ' ' || encode(row_key, 'hex'), ', ' order by table_name desc, row_key) \
                    from leafcutter.parked where state = 'orphan'";
    let mut all = Vec::new();
    for _ in 0..4 {
        let settled = world.settle_at(1_000).await;
        assert_eq!(settled.more, settled.decided > 0);
        all.push(settled.decided);
    }
    assert_eq!(all, [1, 1, 1, 0]);
    let rows = "public.nodes 0000000000000001, public.nodes 0000000000000002, public.leaves 0000000000000001";
    let rows = rows.replace("public.", "");
    assert_eq!(world.text(given_up).await, rows);
    // The root comes after all.
    world.apply(&[node(0, 0)]).await.unwrap();
    assert_eq!(world.text(COUNTS).await, "3|1|0|3");
    world.end().await;
}

/// Two batches that wrote a circle did not see each other.
#[tokio::test]
async fn a_circle_is_found() {
    let mut world = World::with(MAPPING).await;
    world.create_dead_letter_topics().await;
    // More than are tried without a reason.
    let leaf = |id: i64| put("leaves", 1, doc! { "_id": id, "node": 2 });
    let leaves: Vec<Made> = (0..300).map(leaf).collect();
    world.apply(&leaves).await.unwrap();
    world.apply(&[node(1, 2)]).await.unwrap();
    let other = session::connect(&world.config, "test").await.unwrap();
    other
        .batch_execute("begin; select * from leafcutter.parked for update")
        .await
        .unwrap();
    world.apply(&[node(2, 3)]).await.unwrap();
    world.apply(&[node(3, 1)]).await.unwrap();
    other.batch_execute("rollback").await.unwrap();
    assert_eq!(world.text(COUNTS).await, "0|0|303|0");
    let settled = world.settle_at(1_000).await;
    assert_eq!((settled.placed, settled.decided), (303, 0));
    assert_eq!(world.text(COUNTS).await, "3|300|0|0");
    world.end().await;
}

/// A row is there while a newer image of it waits; who waited for that row need not wait for the image.
#[tokio::test]
async fn a_row_that_is_there_is_enough() {
    let mut world = World::with(MAPPING).await;
    world.create_dead_letter_topics().await;
    let leaf = put("leaves", 1, doc! { "_id": 7, "node": 1 });
    world.apply(&[leaf]).await.unwrap();
    let other = session::connect(&world.config, "test").await.unwrap();
    other
        .batch_execute("begin; select * from leafcutter.parked for update")
        .await
        .unwrap();
    world
        .execute("insert into nodes (id, lc_version) values (1, 1)")
        .await;
    world
        .apply(&[put("nodes", 5, doc! { "_id": 1, "above": 99 })])
        .await
        .unwrap();
    other.batch_execute("rollback").await.unwrap();
    assert_eq!(world.text(COUNTS).await, "1|0|2|0");
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(world.text(COUNTS).await, "1|1|1|0");
    world.end().await;
}
