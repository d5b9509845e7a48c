//! What waits for a row that is there is found in the next round, however long it has waited, whatever kind of
//! key it waits for, and whoever has missed it.

use crate::{
    trees::hidden,
    world::{Made, World, put},
};
use bson::{Binary, Bson, DateTime, Document, doc, spec::BinarySubtype};
use leafcutter_harness::rows;

const MAPPING: &str = "
version: 1
database: shop
collections:
  nodes:
    table: nodes
    key: id
    columns:
      id: { path: _id, type: text }
      above: { type: text, references: { table: nodes } }
  leaves:
    table: leaves
    key: id
    columns:
      id: { path: _id, type: bigint }
      node: { type: text, required: true, references: { table: nodes } }
  bags:
    table: bags
    key: id
    columns: { id: { path: _id, type: bigint } }
    children:
      - table: bag_nodes
        from: nodes
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          node: { path: ., type: text, required: true, references: { table: nodes } }
  days:
    table: days
    key: day
    columns: { day: { path: _id, type: date } }
  visits:
    table: visits
    key: id
    columns:
      id: { path: _id, type: bigint }
      day: { type: date, references: { table: days } }
  users:
    table: users
    key: id
    columns: { id: { path: _id, type: uuid } }
  logins:
    table: logins
    key: id
    columns:
      id: { path: _id, type: bigint }
      user: { type: uuid, references: { table: users } }
  posts:
    table: posts
    key: id
    columns:
      id: { path: number, type: bigint, generated: true, start: 100 }
      title: text
  likes:
    table: likes
    key: id
    columns:
      id: { path: _id, type: bigint }
      post: { type: bigint, references: { table: posts, by: _id } }
  codes:
    table: codes
    key: code
    columns: { code: { type: text, required: true } }
  uses:
    table: uses
    key: id
    columns:
      id: { path: _id, type: bigint }
      code: { type: text, references: { table: codes } }
";

fn uuid() -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Uuid,
        bytes: vec![7; 16],
    })
}

/// Those who wait, and those who are waited for.
fn families() -> [(Made, Made); 7] {
    let day = DateTime::from_millis(1_736_899_200_000);
    let of = |child: &'static str, id: i64, fields: Document| {
        let mut document = doc! { "_id": id };
        document.extend(fields);
        put(child, 1, document)
    };
    [
        (
            of("leaves", 1, doc! { "node": "a" }),
            put("nodes", 2, doc! { "_id": "a" }),
        ),
        (
            of("bags", 1, doc! { "nodes": ["b"] }),
            put("nodes", 2, doc! { "_id": "b" }),
        ),
        (
            of("visits", 1, doc! { "day": day }),
            put("days", 2, doc! { "_id": day }),
        ),
        (
            of("logins", 1, doc! { "user": uuid() }),
            put("users", 2, doc! { "_id": uuid() }),
        ),
        (
            of("likes", 1, doc! { "post": "p" }),
            put("posts", 2, doc! { "_id": "p", "title": "t" }),
        ),
        (
            of("uses", 1, doc! { "code": "c" }),
            put("codes", 2, doc! { "_id": 1, "code": "c" }),
        ),
        (
            put("nodes", 1, doc! { "_id": "d", "above": "e" }),
            put("nodes", 2, doc! { "_id": "e" }),
        ),
    ]
}

const AGE: &str = "\
    update leafcutter.parked set parked_at = now() - interval '1 day', tried_at = now()";
const PARKED: &str = "leafcutter.parked";

#[tokio::test]
async fn what_its_parents_batch_has_missed_is_found_in_the_next_round() {
    for state in ["waiting", "orphan"] {
        let mut world = World::with(MAPPING).await;
        let (waiting, parents): (Vec<Made>, Vec<Made>) = families().into_iter().unzip();
        for record in waiting {
            world.write(&[record]).await;
        }
        assert_eq!(world.count(PARKED).await, 7);
        world.execute(AGE).await;
        world
            .execute(&format!("update leafcutter.parked set state = '{state}'"))
            .await;
        // Nobody finds what another session has locked.
        let other = hidden(&world).await;
        for record in parents {
            world.write(&[record]).await;
        }
        assert_eq!(world.count(PARKED).await, 7);
        other.batch_execute("rollback").await.unwrap();
        assert_eq!(world.settle_due().await.placed, 7, "{state}");
        assert_eq!(world.count(PARKED).await, 0);
    }
}

/// Parked under another mapping, it waits for what is no key of that table.
#[tokio::test]
async fn a_key_that_is_none_hides_no_other() {
    let mut world = World::with(MAPPING).await;
    let (waiting, parents): (Vec<Made>, Vec<Made>) = families().into_iter().unzip();
    let stray = put(
        "visits",
        1,
        doc! { "_id": 2_i64, "day": DateTime::from_millis(0) },
    );
    world.write(&[stray]).await;
    world
        .execute("update leafcutter.parked set wait_key = '\\x00'")
        .await;
    world.write(&waiting[2..3]).await;
    world.execute(AGE).await;
    let other = hidden(&world).await;
    world.write(&parents[2..3]).await;
    other.batch_execute("rollback").await.unwrap();
    assert_eq!(world.settle_due().await.placed, 1);
    assert_eq!(world.rows("select id from visits").await, rows![{ id: 1 }]);
}

/// A row is there while a newer image of it waits, and its key is longer than any that is looked for.
#[tokio::test]
async fn what_waits_for_a_very_long_key_is_tried_with_the_rest() {
    let mut world = World::with(MAPPING).await;
    let long = "a".repeat(9_000);
    world
        .write(&[put("leaves", 1, doc! { "_id": 7_i64, "node": &long })])
        .await;
    let other = hidden(&world).await;
    world
        .execute("insert into nodes (id, lc_version) values (repeat('a', 9000), 1)")
        .await;
    world
        .write(&[put("nodes", 5, doc! { "_id": &long, "above": "never" })])
        .await;
    other.batch_execute("rollback").await.unwrap();
    assert_eq!(world.count(PARKED).await, 2);
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(world.count("leaves").await, 1);
}
