//! Several collections into one table.

use crate::world::{Made, World, delete, id, put};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

const PEOPLE: &str = "
version: 1
database: shop
collections:
  customers:
    table: people
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      name: text
      kind: { constant: customer, type: text }
      boss: { type: text, convert: text, references: { table: people } }
  staff:
    table: people
    key: id
    columns:
      kind: { constant: staff, type: text }
      id: { path: _id, type: text, convert: text }
      boss: { path: chief, type: text, convert: text, references: { table: people } }
      name: { path: names.first, type: text }
  orders:
    table: orders
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      person: { type: text, convert: text, references: { table: people } }
";

fn customer(version: i64, number: u8) -> Made {
    let name = format!("c{version}");
    put(
        "customers",
        version,
        doc! { "_id": id(number), "name": name },
    )
}

fn staff(version: i64, number: u8) -> Made {
    let name = format!("s{version}");
    put(
        "staff",
        version,
        doc! { "_id": id(number), "names": { "first": name } },
    )
}

const STATE: &str =
    "select right(id, 1) as id, kind, name, lc_version, lc_source from people order by 1";

#[tokio::test]
async fn documents_of_both_are_rows_and_each_deletes_its_own() {
    let mut world = World::with(PEOPLE).await;
    // Whoever comes first, what waits for a person finds it.
    let order = |n: u8| put("orders", 3, doc! { "_id": id(n), "person": id(n) });
    assert_eq!(
        world.each(&[order(1), order(2)]).await,
        [Outcome::Parked; 2]
    );
    let applied = world.apply(&[customer(1, 1), staff(1, 2)]).await.unwrap();
    assert_eq!(applied.released, 2);
    let both = rows![
        { id: "1", kind: "customer", name: "c1", lc_version: 1, lc_source: "shop.customers" },
        { id: "2", kind: "staff", name: "s1", lc_version: 1, lc_source: "shop.staff" },
    ];
    assert_eq!(world.rows(STATE).await, both);
    // Neither can take the other's away.
    let strangers = [delete("staff", 9, 1), delete("customers", 9, 2)];
    assert_eq!(world.each(&strangers).await, [Outcome::Deleted; 2]);
    assert_eq!(world.rows(STATE).await, both);
    world
        .each(&[delete("orders", 4, 1), delete("orders", 4, 2)])
        .await;
    world.each(&[delete("customers", 2, 1), staff(2, 2)]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{ id: "2", kind: "staff", name: "s2", lc_version: 2, lc_source: "shop.staff" }]
    );
}

/// One key from both is a collision: the row that is there stays, and nothing goes back and forth.
#[tokio::test]
async fn the_same_key_from_both_waits_until_it_is_free() {
    let mut world = World::with(PEOPLE).await;
    let steps = [
        (
            customer(1, 1),
            Outcome::Applied,
            rows![{
                id: "1",
                kind: "customer",
                name: "c1",
                lc_version: 1,
                lc_source: "shop.customers",
            }],
        ),
        (
            staff(5, 1),
            Outcome::Parked,
            rows![{
                id: "1",
                kind: "customer",
                name: "c1",
                lc_version: 1,
                lc_source: "shop.customers",
            }],
        ),
        (
            customer(3, 1),
            Outcome::Applied,
            rows![{
                id: "1",
                kind: "customer",
                name: "c3",
                lc_version: 3,
                lc_source: "shop.customers",
            }],
        ),
        (
            customer(2, 1),
            Outcome::Stale,
            rows![{
                id: "1",
                kind: "customer",
                name: "c3",
                lc_version: 3,
                lc_source: "shop.customers",
            }],
        ),
        (
            staff(4, 1),
            Outcome::Stale,
            rows![{
                id: "1",
                kind: "customer",
                name: "c3",
                lc_version: 3,
                lc_source: "shop.customers",
            }],
        ),
        (
            staff(6, 1),
            Outcome::Parked,
            rows![{
                id: "1",
                kind: "customer",
                name: "c3",
                lc_version: 3,
                lc_source: "shop.customers",
            }],
        ),
    ];
    for (record, outcome, state) in steps {
        assert_eq!(world.each(&[record]).await, [outcome], "{state:?}");
        assert_eq!(world.rows(STATE).await, state);
    }
    let parked = "select table_name, reason, version from leafcutter.parked";
    assert_eq!(
        world.rows(parked).await,
        rows![{ table_name: "people from shop.staff", reason: "unique", version: 6 }]
    );
    assert_eq!(world.settle().await.placed, 0);
    world.settle_at_once().await;
    let letters = "select table_name, column_name, reason, message from leafcutter.dead_letters";
    let letter = rows![{
        table_name: "people from shop.staff",
        column_name: "id",
        reason: "unique",
        message: "another document has the same key: `objectId:000000000000000000000001` of `shop.customers`",
    }];
    assert_eq!(world.rows(letters).await, letter);
    // The other goes: its own delete, and the key is free.
    world.each(&[delete("customers", 7, 1)]).await;
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(
        world.rows(STATE).await,
        rows![{ id: "1", kind: "staff", name: "s6", lc_version: 6, lc_source: "shop.staff" }]
    );
    assert_eq!(world.count("leafcutter.parked").await, 0);
    // In one batch, too.
    world.apply(&[customer(8, 3), staff(8, 3)]).await.unwrap();
    let waiting = "select table_name from leafcutter.parked";
    assert_eq!(
        world.rows(waiting).await,
        rows![{ table_name: "people from shop.staff" }]
    );
}

/// No orphan is called while the delete of its parent, by either collection, is not behind us.
#[tokio::test]
async fn tombstones_of_either_collection_count() {
    let mut world = World::with(PEOPLE).await;
    let order = put("orders", 3, doc! { "_id": id(1), "person": id(2) });
    world.each(&[delete("staff", 6, 2), order]).await;
    for (time, decided) in [(5, 0), (6, 1)] {
        assert_eq!(world.settle_at(time).await.decided, decided, "at {time}");
    }
}
