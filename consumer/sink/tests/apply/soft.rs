//! Soft deletes: the row stays and says since when its document is gone.

use crate::world::{Made, World, delete, id, put};
use bson::{Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

const PEOPLE: &str = "
version: 1
database: shop
collections:
  people:
    table: people
    where: { hidden: missing }
    delete: { soft: deleted_at }
    key: id
    columns: { id: { path: _id, type: text, convert: text }, name: text }
    children:
      - table: tags
        from: tags
        key: [id, n]
        columns: { id: { parent: id }, n: { position: true, type: integer } }
  orders:
    table: orders
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      person: { type: text, convert: text, references: { table: people } }
";

/// The version of an event in that second.
fn at(second: i64) -> i64 {
    second << 31
}

fn person(second: i64, more: Document) -> Made {
    let mut person = doc! { "_id": id(1), "name": second.to_string(), "tags": ["a"] };
    person.extend(more);
    put("people", at(second), person)
}

const STATE: &str = "select name, to_char(deleted_at at time zone 'UTC', 'HH24:MI:SS') as deleted, \
                     lc_version >> 31 as second, (select count(*) from tags) as tags from people";

#[tokio::test]
async fn a_row_stays_and_comes_back_to_life() {
    let mut world = World::with(PEOPLE).await;
    let steps = [
        (
            person(1, doc! {}),
            Outcome::Applied,
            rows![{ name: "1", deleted: null, second: 1, tags: 1 }],
        ),
        (
            delete("people", at(3661), 1),
            Outcome::Deleted,
            rows![{ name: "1", deleted: "01:01:01", second: 3661, tags: 1 }],
        ),
        (
            delete("people", at(3661), 1),
            Outcome::Unchanged,
            rows![{ name: "1", deleted: "01:01:01", second: 3661, tags: 1 }],
        ),
        (
            person(2, doc! {}),
            Outcome::Stale,
            rows![{ name: "1", deleted: "01:01:01", second: 3661, tags: 1 }],
        ),
        (
            delete("people", at(3), 1),
            Outcome::Stale,
            rows![{ name: "1", deleted: "01:01:01", second: 3661, tags: 1 }],
        ),
        // The same version as the delete: a snapshot row, read after it.
        (
            person(3661, doc! {}),
            Outcome::Applied,
            rows![{ name: "3661", deleted: null, second: 3661, tags: 1 }],
        ),
        (
            person(3662, doc! { "hidden": true }),
            Outcome::Filtered,
            rows![{ name: "3661", deleted: "01:01:02", second: 3662, tags: 1 }],
        ),
        (
            delete("people", at(3663), 1),
            Outcome::Deleted,
            rows![{ name: "3661", deleted: "01:01:03", second: 3663, tags: 1 }],
        ),
        (
            person(3664, doc! { "tags": [] }),
            Outcome::Applied,
            rows![{ name: "3664", deleted: null, second: 3664, tags: 0 }],
        ),
    ];
    for (record, outcome, state) in steps {
        assert_eq!(world.each(&[record]).await, [outcome], "{state:?}");
        assert_eq!(world.rows(STATE).await, state);
    }
    assert_eq!(world.count("leafcutter.tombstones").await, 0);
}

/// What points to it needs nothing, and what is deleted before it came stays away.
#[tokio::test]
async fn a_row_that_stays_is_never_held() {
    let mut world = World::with(PEOPLE).await;
    let order = |n: u8| put("orders", at(2), doc! { "_id": id(n), "person": id(1) });
    world.each(&[person(1, doc! {}), order(7)]).await;
    let gone = delete("people", at(4), 1);
    assert_eq!(world.each(&[gone]).await, [Outcome::Deleted]);
    assert_eq!(world.each(&[order(8)]).await, [Outcome::Applied]);
    assert_eq!(world.count("leafcutter.held").await, 0);
    assert_eq!(world.settle().await.let_go, 0);
    let mut world = World::with(PEOPLE).await;
    let outcomes = world
        .each(&[delete("people", at(4), 1), person(3, doc! {})])
        .await;
    assert_eq!(outcomes, [Outcome::Deleted, Outcome::Stale]);
    assert_eq!(world.count("people").await, 0);
}
