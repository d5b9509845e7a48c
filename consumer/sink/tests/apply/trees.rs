//! Documents that wait for documents that wait, whose batches did not see each other.

use crate::world::{Made, World, put};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::session;
use tokio_postgres::Client;

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
  bags:
    table: bags
    key: id
    columns: { id: { path: _id, type: bigint } }
    children:
      - table: bag_nodes
        from: nodes
        key: [id, node]
        columns:
          id: { parent: id }
          node: { path: ., type: bigint, required: true, references: { table: nodes } }
  labels:
    table: labels
    key: id
    columns:
      id: { path: _id, type: bigint }
      bag: { type: bigint, references: { table: bags } }
";

/// More documents than one transaction of the settling task tries.
const DEPTH: i64 = 120;
const LEAVES: i64 = 10;

fn node(id: i64, above: i64) -> Made {
    put("nodes", 1, doc! { "_id": id, "above": above })
}

/// Hides what is parked now from batches, until this session's `rollback`: as if they had been parked by
/// batches at the same moment.
pub(crate) async fn hidden(world: &World) -> Client {
    let other = session::connect(&world.config, "test").await.unwrap();
    other
        .batch_execute("begin; select * from leafcutter.parked for update")
        .await
        .unwrap();
    other
}

const COUNTS: &str = "select (select count(*) from nodes) as nodes, (select count(*) from leaves) as leaves, \
    (select count(*) from leafcutter.parked) as parked, (select count(*) from leafcutter.dead_letters) as dead_letters";

/// All of a tree waits for its root, which somebody else has written meanwhile. It follows in one
/// round, though nothing is waited for any more, and nothing is given up that only waits for what waits.
#[tokio::test]
async fn a_tree_follows_its_root_at_once() {
    let mut world = World::with(MAPPING).await;
    let leaf = |id: i64| put("leaves", 1, doc! { "_id": id, "node": id % DEPTH });
    let leaves: Vec<Made> = (0..DEPTH * LEAVES).map(leaf).collect();
    world.apply(&leaves).await.unwrap();
    let nodes: Vec<Made> = (1..DEPTH).rev().map(|id| node(id, id - 1)).collect();
    world.apply(&nodes).await.unwrap();
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ nodes: 0, leaves: 0, parked: 1319, dead_letters: 0 }]
    );
    // As a batch that did not see them.
    world
        .execute("insert into nodes (id, lc_version) values (0, 1)")
        .await;
    let settled = world.settle_at(1_000).await;
    assert_eq!((settled.placed, settled.decided), (1_319, 0));
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ nodes: 120, leaves: 1200, parked: 0, dead_letters: 0 }]
    );
}

/// Without the root, the rest of the tree waits until it is given up itself.
#[tokio::test]
async fn nothing_is_given_up_before_what_it_waits_for() {
    let mut world = World::with(MAPPING).await;
    let leaf = put("leaves", 1, doc! { "_id": 1, "node": 2 });
    let records = [node(1, 0), node(2, 1), leaf];
    for record in records {
        world.apply(&[record]).await.unwrap();
    }
    let given_up = "select table_name, encode(row_key, 'hex') as row_key from leafcutter.parked \
                    where state = 'orphan' order by table_name desc, leafcutter.parked.row_key";
    let mut all = Vec::new();
    for _ in 0..4 {
        let settled = world.settle_at(1_000).await;
        assert_eq!(settled.more, settled.decided > 0);
        all.push(settled.decided);
    }
    assert_eq!(all, [1, 1, 1, 0]);
    let rows = rows![
        { table_name: "nodes", row_key: "0000000000000001" },
        { table_name: "nodes", row_key: "0000000000000002" },
        { table_name: "leaves", row_key: "0000000000000001" },
    ];
    assert_eq!(world.rows(given_up).await, rows);
    // The root comes after all.
    world.apply(&[node(0, 0)]).await.unwrap();
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ nodes: 3, leaves: 1, parked: 0, dead_letters: 3 }]
    );
}

/// Two batches that wrote a circle did not see each other.
#[tokio::test]
async fn a_circle_is_found() {
    let mut world = World::with(MAPPING).await;
    // More than are tried without a reason.
    let leaf = |id: i64| put("leaves", 1, doc! { "_id": id, "node": 2 });
    let leaves: Vec<Made> = (0..300).map(leaf).collect();
    world.apply(&leaves).await.unwrap();
    world.apply(&[node(1, 2)]).await.unwrap();
    let other = hidden(&world).await;
    world.apply(&[node(2, 3)]).await.unwrap();
    world.apply(&[node(3, 1)]).await.unwrap();
    other.batch_execute("rollback").await.unwrap();
    // Its letter was sent before the others came.
    world
        .execute("update leafcutter.parked set state = 'orphan' where row_key = int8send(1) and table_name = 'nodes'")
        .await;
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ nodes: 0, leaves: 0, parked: 303, dead_letters: 0 }]
    );
    let settled = world.settle_at(1_000).await;
    assert_eq!((settled.placed, settled.decided), (303, 0));
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ nodes: 3, leaves: 300, parked: 0, dead_letters: 0 }]
    );
}

/// A row is there while a newer image of it waits; who waited for that row need not wait for the image.
#[tokio::test]
async fn a_row_that_is_there_is_enough() {
    let mut world = World::with(MAPPING).await;
    let leaf = put("leaves", 1, doc! { "_id": 7, "node": 1 });
    world.apply(&[leaf]).await.unwrap();
    let other = hidden(&world).await;
    world
        .execute("insert into nodes (id, lc_version) values (1, 1)")
        .await;
    world
        .apply(&[put("nodes", 5, doc! { "_id": 1, "above": 99 })])
        .await
        .unwrap();
    other.batch_execute("rollback").await.unwrap();
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ nodes: 1, leaves: 0, parked: 2, dead_letters: 0 }]
    );
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ nodes: 1, leaves: 1, parked: 1, dead_letters: 0 }]
    );
}

/// A document that waits for rows below it is there, and others may point to it.
#[tokio::test]
async fn a_document_that_lacks_child_rows_is_enough() {
    let mut world = World::with(MAPPING).await;
    // The row that it lacks is not tried either.
    world.apply(&[node(99, 98)]).await.unwrap();
    world
        .apply(&[put("labels", 1, doc! { "_id": 5, "bag": 1 })])
        .await
        .unwrap();
    let other = hidden(&world).await;
    world
        .apply(&[put("bags", 1, doc! { "_id": 1, "nodes": [99] })])
        .await
        .unwrap();
    other.batch_execute("rollback").await.unwrap();
    // Too soon for those that are tried whatever they wait for.
    world
        .execute("update leafcutter.parked set tried_at = now() - interval '2 s'")
        .await;
    assert_eq!(world.settle_due().await.placed, 1);
    assert_eq!(
        world.rows("select (select count(*) from labels) as labels, (select count(*) from leafcutter.parked) as parked").await,
        rows![{ labels: 1, parked: 2 }]
    );
}

/// Nobody looks for the parent of what has waited an hour each second; a value may come free at any time.
#[tokio::test]
async fn what_has_waited_long_is_looked_at_less_often() {
    let mut world = World::with(MAPPING).await;
    let leaf = put("leaves", 1, doc! { "_id": 7, "node": 1 });
    world.apply(&[leaf]).await.unwrap();
    for (tried, again) in [
        ("4 min", rows![{ is_tried: false }]),
        ("6 min", rows![{ is_tried: true }]),
    ] {
        world
            .execute(&format!(
                "update leafcutter.parked set parked_at = now() - interval '1 hour', \
                 tried_at = now() - interval '{tried}'"
            ))
            .await;
        world.settle_due().await;
        let is_tried =
            "select tried_at > now() - interval '1 min' as is_tried from leafcutter.parked";
        assert_eq!(world.rows(is_tried).await, again, "{tried} ago");
    }
}

/// While a letter is sent, a newer record of its document may be parked in the place of the one that it
/// is about.
#[tokio::test]
async fn a_letter_gives_up_its_own_record_only() {
    let mut world = World::with(MAPPING).await;
    world.apply(&[node(1, 0)]).await.unwrap();
    world
        .execute_all(
            "create function newer() returns trigger language plpgsql as $$ begin \
             update leafcutter.parked set \"offset\" = new.\"offset\" + 1000 \
             where table_name = new.table_name and row_key = new.row_key; return null; end $$; \
             create trigger newer after update on leafcutter.parked \
             for each row when (pg_trigger_depth() = 0) execute function newer()",
        )
        .await;
    assert_eq!(world.settle_at(1_000).await.decided, 0);
    let state = "select state, \"offset\" >= 1000 as is_new from leafcutter.parked";
    assert_eq!(
        world.rows(state).await,
        rows![{ state: "waiting", is_new: true }]
    );
}

/// Two groups may write into one database, each into tables of its own, and a mapping may lose a table for which
/// something waits. That is not ours to try, however much of it there is.
#[tokio::test]
async fn what_waits_for_tables_of_others_takes_nobodys_turn() {
    let mut world = World::with(MAPPING).await;
    let leaf = put("leaves", 1, doc! { "_id": 7, "node": 1 });
    // All of them are due at once, and those that came first are looked at first.
    world
        .execute(
            "insert into leafcutter.parked (table_name, row_key, version, as_of, reason, wait_table, wait_key, \
             consumer_group, topic, partition, \"offset\", record_key, record_value, parked_at, tried_at) \
             select 'elsewhere', int8send(n), 1, 1, 'parent', 'nowhere', int8send(n), 'another', 't', 0, n, '', '', \
             now() - interval '1 day', now() - interval '1 day' from generate_series(1, 600) n",
        )
        .await;
    world.apply(&[leaf]).await.unwrap();
    assert_eq!(world.settle_at(1_000).await.decided, 1);
}
