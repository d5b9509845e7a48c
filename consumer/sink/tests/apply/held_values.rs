//! Unique values of rows that are held: their documents are gone, or have other keys, so they stand in
//! nobody's way.

use crate::world::{World, delete_by, put};
use bson::{Bson, DateTime, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;
use uuid::Uuid;

/// The row under a new key needs the unique value that the old row has.
#[tokio::test]
async fn a_document_under_a_new_key_does_not_wait_for_its_own_old_row() {
    for (pg_type, value) in [
        ("text", Bson::from("a")),
        ("varchar(20)", "a".into()),
        ("bigint", 7_i64.into()),
        ("integer", 7.into()),
        ("smallint", 7.into()),
        ("uuid", Uuid::from_u128(7).to_string().into()),
        ("date", DateTime::from_millis(0).into()),
        ("timestamptz", DateTime::from_millis(0).into()),
        ("double precision", 0.5.into()),
    ] {
        let mapping = format!(
            "
version: 1
database: shop
collections:
  users:
    table: users
    key: email
    columns:
      email: {{ type: text, required: true }}
      code: {{ type: {pg_type}, required: true, unique: true }}
  comments:
    table: comments
    key: id
    columns:
      id: {{ path: _id, type: integer }}
      email: {{ type: text, references: {{ table: users }} }}
"
        );
        let mut world = World::with(&mapping).await;
        let user = |version, email: &str| {
            put(
                "users",
                version,
                doc! { "_id": 1, "email": email, "code": value.clone() },
            )
        };
        let comment =
            |version, email: &str| put("comments", version, doc! { "_id": 1, "email": email });
        world.each(&[user(1, "old"), comment(1, "old")]).await;
        let moved = world.each(&[user(2, "new"), comment(3, "new")]).await;
        assert_eq!(moved, [Outcome::Applied; 2], "{pg_type}");
        while world.settle().await.let_go > 0 {}
        let state = "select (select string_agg(email, ',') from users) as users, \
                     (select email from comments) as comment, (select count(*) from leafcutter.held) as held";
        assert_eq!(
            world.rows(state).await,
            rows![{ users: "new", comment: "new", held: 0 }],
            "{pg_type}"
        );
    }
}

const PEOPLE: &str = "
version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: integer }
      mail: { type: text, unique: true }
      code: { type: text, required: true, unique: true }
  orders:
    table: orders
    key: id
    columns:
      id: { path: _id, type: integer }
      person: { type: integer, references: { table: people } }
";

/// A deleted person is held by an order; the next one has the same values. What comes back takes them only
/// when they are free.
#[tokio::test]
async fn the_next_document_with_a_value_does_not_wait_for_a_held_row() {
    let person = |version, id: i32| {
        put(
            "people",
            version,
            doc! { "_id": id, "mail": "a@x", "code": "c" },
        )
    };
    let mut world = World::with(PEOPLE).await;
    let order = put("orders", 1, doc! { "_id": 1, "person": 1 });
    world.each(&[person(1, 1), order]).await;
    assert_eq!(
        world.each(&[delete_by("people", 2, 1)]).await,
        [Outcome::Held]
    );
    assert_eq!(world.each(&[person(3, 2)]).await, [Outcome::Applied]);
    let state = "select id, mail, code = 'c' as is_c from people order by id";
    assert_eq!(
        world.rows(state).await,
        rows![{ id: 1, mail: null, is_c: false }, { id: 2, mail: "a@x", is_c: true }]
    );
    // It comes back, and its values are another's now.
    assert_eq!(world.each(&[person(4, 1)]).await, [Outcome::Parked]);
    world.each(&[delete_by("people", 5, 2)]).await;
    world.settle().await;
    assert_eq!(
        world.rows(state).await,
        rows![{ id: 1, mail: "a@x", is_c: true }]
    );
}

/// Where another constraint forbids it, the values stay taken, and nothing else fails.
#[tokio::test]
async fn a_value_that_cannot_be_freed_stays_taken() {
    let before = "create table people (id integer primary key, mail text unique check (mail is not null), \
                  code text not null unique check (code = 'c'), \
                  lc_version bigint not null default 0)";
    let mut world = World::prepared(PEOPLE, before).await;
    let person = |version, id: i32, code: &str| {
        put(
            "people",
            version,
            doc! { "_id": id, "mail": "a@x", "code": code },
        )
    };
    let order = put("orders", 1, doc! { "_id": 1, "person": 1 });
    world.each(&[person(1, 1, "c"), order]).await;
    assert_eq!(
        world.each(&[delete_by("people", 2, 1)]).await,
        [Outcome::Held]
    );
    assert_eq!(world.each(&[person(3, 2, "c")]).await, [Outcome::Parked]);
    let other = put("orders", 4, doc! { "_id": 2 });
    assert_eq!(world.each(&[other]).await, [Outcome::Applied]);
}
