//! Keys that two `_id`s can share: a row is one document's, and no other touches it.

use crate::world::{Made, World, delete_by, put};
use bson::{Binary, Bson, DateTime, Decimal128, doc, oid::ObjectId, spec::BinarySubtype};
use leafcutter_harness::{rows, rows::Rows};
use leafcutter_sink::change::Outcome;

const DIGITS: &str = "65a1f0c2e13f4b0012345678";

/// A way of making a key, and two `_id`s that MongoDB tells apart and the key does not.
struct Shared {
    key: &'static str,
    ids: [Bson; 2],
}

fn object_id() -> Bson {
    ObjectId::parse_str(DIGITS).unwrap().into()
}

fn binary(subtype: BinarySubtype) -> Bson {
    Bson::Binary(Binary {
        subtype,
        bytes: (0..16).collect(),
    })
}

fn decimal(text: &str) -> Bson {
    text.parse::<Decimal128>().unwrap().into()
}

fn shared() -> Vec<Shared> {
    let at = |millis| Bson::from(DateTime::from_millis(millis));
    let of = |key, one: Bson, other: Bson| Shared {
        key,
        ids: [one, other],
    };
    vec![
        of(
            "{ path: _id, type: text, convert: text }",
            DIGITS.into(),
            object_id(),
        ),
        of(
            "{ path: _id, type: varchar(30), convert: text }",
            1.into(),
            "1".into(),
        ),
        of(
            "{ path: _id, type: uuid }",
            binary(BinarySubtype::Uuid),
            "00010203-0405-0607-0809-0A0B0C0D0E0F".into(),
        ),
        of(
            "{ path: _id, type: uuid }",
            binary(BinarySubtype::Uuid),
            binary(BinarySubtype::UuidOld),
        ),
        of(
            "{ path: _id, type: bytea }",
            binary(BinarySubtype::Generic),
            binary(BinarySubtype::Md5),
        ),
        of("{ path: _id, type: date }", at(86_400_000), at(86_400_001)),
        of(
            "{ path: _id, type: real }",
            0.1.into(),
            (0.1 + 1e-12).into(),
        ),
        of("{ path: _id, type: numeric }", 0.1.into(), decimal("0.1")),
        of(
            "{ path: _id, type: \"numeric(8,1)\" }",
            decimal("1.04"),
            decimal("1.02"),
        ),
        of(
            "{ path: _id, type: jsonb }",
            doc! { "a": 1, "b": 2 }.into(),
            doc! { "b": 2, "a": 1 }.into(),
        ),
        of(
            "{ path: _id.a, type: integer, required: true }",
            doc! { "a": 1, "b": 2 }.into(),
            doc! { "a": 1, "b": 3 }.into(),
        ),
        of(
            "{ path: _id, type: integer, convert: parse }",
            7.into(),
            " 7 ".into(),
        ),
        of(
            "{ path: _id, type: varchar(3), invalid: { too_long: truncate } }",
            "abcd".into(),
            "abce".into(),
        ),
        of(
            "{ path: _id, type: text, values: { a: x, b: x } }",
            "a".into(),
            "b".into(),
        ),
        of(
            "{ type: text, required: true, expression: \"id.startsWith('a') ? 'a' : 'b'\" }",
            "a1".into(),
            "a2".into(),
        ),
        of(
            "{ path: _id, type: timestamptz, convert: object-id-time }",
            object_id(),
            ObjectId::parse_str("65a1f0c2e13f4b0012345679")
                .unwrap()
                .into(),
        ),
    ]
}

/// A database with a table for each way.
struct Ways {
    world: World,
    ways: Vec<(&'static str, Shared)>,
}

impl Ways {
    async fn new() -> Self {
        let mut mapping = "version: 1\ndatabase: shop\ncollections:\n".to_owned();
        let mut ways = Vec::new();
        for (number, way) in shared().into_iter().enumerate() {
            let name: &str = format!("people{number}").leak();
            mapping.push_str(&format!(
                "  {name}:
    table: {name}
    key: id
    columns:
      id: {key}
      name: text
    children:
      - table: {name}_tags
        from: tags
        key: [id, n]
        columns: {{ id: {{ parent: id }}, n: {{ position: true, type: integer }}, tag: {{ path: ., type: text }} }}
",
                key = way.key
            ));
            ways.push((name, way));
        }
        let world = World::with(&mapping).await;
        Self { world, ways }
    }

    /// Its one row, with its child rows.
    async fn state(world: &World, name: &str) -> Rows {
        let state = format!(
            "select name, lc_version, (select string_agg(tag, ',') from {name}_tags) as tags from {name}"
        );
        world.rows(&state).await
    }
}

fn person(collection: &'static str, version: i64, id: &Bson, name: &str) -> Made {
    let person = doc! { "_id": id.clone(), "name": name, "tags": [name] };
    put(collection, version, person)
}

/// Whatever the order of two inserts and of the delete of one: the other's row is there in the end, with
/// its own child rows, and whoever waited is parked no more.
#[tokio::test]
async fn every_order_of_two_documents_with_one_row() {
    let Ways { mut world, ways } = Ways::new().await;
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        for batch in [1, 2, 3] {
            let run = |step: usize| {
                let records = ways.iter().map(|(name, Shared { ids, .. })| {
                    let [one, other] = ids;
                    // The second takes the place of the first, in one transaction of the source.
                    match step {
                        0 => person(name, 1, one, "one"),
                        1 => person(name, 5, other, "other"),
                        _ => delete_by(name, 5, one.clone()),
                    }
                });
                records.collect::<Vec<_>>()
            };
            for steps in order.chunks(batch) {
                let records: Vec<Made> = steps.iter().flat_map(|&step| run(step)).collect();
                world.apply(&records).await.unwrap();
            }
            world.settle_at_once().await;
            for (name, Shared { key, .. }) in &ways {
                let state = Ways::state(&world, name).await;
                assert_eq!(
                    state,
                    rows![{ name: "other", lc_version: 5, tags: "other" }],
                    "{key} {order:?} {batch}"
                );
            }
            let parked = world.count("leafcutter.parked").await;
            assert_eq!(parked, 0, "{order:?} {batch}");
            let tables = ways.iter().map(|(name, _)| *name);
            let tables = tables.collect::<Vec<_>>().join(", ");
            let anew = format!("truncate {tables}, leafcutter.tombstones cascade");
            world.execute_all(&anew).await;
        }
    }
}

#[tokio::test]
async fn the_first_keeps_the_row_and_the_other_follows() {
    let Ways { mut world, ways } = Ways::new().await;
    for (name, Shared { key, ids }) in &ways {
        let [one, other] = ids;
        let steps = [
            (
                person(name, 1, one, "one"),
                Outcome::Applied,
                rows![{ name: "one", lc_version: 1, tags: "one" }],
            ),
            (
                person(name, 5, other, "x5"),
                Outcome::Parked,
                rows![{ name: "one", lc_version: 1, tags: "one" }],
            ),
            (
                person(name, 3, one, "one3"),
                Outcome::Applied,
                rows![{ name: "one3", lc_version: 3, tags: "one3" }],
            ),
            (
                person(name, 2, one, "one2"),
                Outcome::Stale,
                rows![{ name: "one3", lc_version: 3, tags: "one3" }],
            ),
            (
                person(name, 4, other, "x4"),
                Outcome::Stale,
                rows![{ name: "one3", lc_version: 3, tags: "one3" }],
            ),
            (
                person(name, 7, other, "x7"),
                Outcome::Parked,
                rows![{ name: "one3", lc_version: 3, tags: "one3" }],
            ),
        ];
        for (record, outcome, state) in steps {
            assert_eq!(world.each(&[record]).await, [outcome], "{key} {state:?}");
            assert_eq!(Ways::state(&world, name).await, state, "{key}");
        }
        // A dead letter names the other.
        world.settle_at_once().await;
        let letters = "select reason, message from leafcutter.dead_letters where state = 'open'";
        let letter = world.rows(letters).await.cells().remove(0);
        let named = letter[1].starts_with("another document has the same key: `");
        assert!(letter[0] == "unique" && named, "{key}: {letter:?}");
        // Its own delete touches no row of the other, and neither do the child rows go.
        world.each(&[delete_by(name, 8, other.clone())]).await;
        assert_eq!(
            Ways::state(&world, name).await,
            rows![{ name: "one3", lc_version: 3, tags: "one3" }],
            "{key}"
        );
        assert_eq!(world.rows(letters).await, rows![], "{key}");
        let steps = [
            person(name, 9, other, "x9"),
            delete_by(name, 10, one.clone()),
        ];
        world.each(&steps).await;
        world.settle_at_once().await;
        assert_eq!(
            Ways::state(&world, name).await,
            rows![{ name: "x9", lc_version: 9, tags: "x9" }],
            "{key}"
        );
        // What is late of the first does not come back.
        let late = [person(name, 6, one, "late")];
        assert_eq!(world.each(&late).await, [Outcome::Stale], "{key}");
        assert_eq!(
            Ways::state(&world, name).await,
            rows![{ name: "x9", lc_version: 9, tags: "x9" }],
            "{key}"
        );
    }
}

const FAMILY: &str = "
version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns: { id: { path: _id, type: text, convert: text }, name: text }
  orders:
    table: orders
    key: id
    columns:
      id: { path: _id, type: integer }
      person: { type: text, convert: text, references: { table: people } }
";

/// A row that stays because others point to it is free: the document that takes the place of the deleted
/// one takes the row over, whatever their versions.
#[tokio::test]
async fn a_row_that_is_kept_is_taken_over() {
    let state = "select name, lc_version, (select count(*) from orders) as orders from people";
    for version in [2, 9] {
        let mut world = World::with(FAMILY).await;
        let text = Bson::from(DIGITS);
        let order = put("orders", 3, doc! { "_id": 1, "person": object_id() });
        world
            .each(&[person("people", 4, &text, "text"), order])
            .await;
        let gone = delete_by("people", 6, DIGITS);
        assert_eq!(
            world.each(std::slice::from_ref(&gone)).await,
            [Outcome::Held]
        );
        assert_eq!(
            world.rows(state).await,
            rows![{ name: "text", lc_version: 4, orders: 1 }]
        );
        assert_eq!(world.each(&[gone]).await, [Outcome::Held]);
        let own = [person("people", 5, &text, "late")];
        assert_eq!(world.each(&own).await, [Outcome::Stale]);
        let taken = person("people", version, &object_id(), "object id");
        assert_eq!(world.each(&[taken]).await, [Outcome::Applied]);
        let right = rows![{ name: "object id", lc_version: version, orders: 1 }];
        assert_eq!(world.rows(state).await, right);
        world.settle_at_once().await;
        assert_eq!(world.rows(state).await, right);
        assert_eq!(world.count("leafcutter.held").await, 0);
    }
}

/// A table of the application's gets the column, and its rows are the first document's that comes.
#[tokio::test]
async fn rows_that_were_there_before_are_taken_over() {
    let before = format!(
        "create table people (id text primary key, name text, lc_version bigint not null default 0);
         insert into people values ('{DIGITS}', 'before'), ('gone', 'before')"
    );
    let mut world = World::prepared(FAMILY, &before).await;
    world
        .each(&[
            put("people", 4, doc! { "_id": object_id(), "name": "new" }),
            delete_by("people", 4, "gone"),
        ])
        .await;
    let state = "select name, lc_version from people";
    assert_eq!(
        world.rows(state).await,
        rows![{ name: "new", lc_version: 4 }]
    );
    let other = put("people", 9, doc! { "_id": DIGITS, "name": "other" });
    assert_eq!(world.each(&[other]).await, [Outcome::Parked]);
    assert_eq!(
        world.rows(state).await,
        rows![{ name: "new", lc_version: 4 }]
    );
}
