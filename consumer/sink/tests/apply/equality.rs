//! What PostgreSQL finds equal and the source does not: collations that are not deterministic, `citext`,
//! nulls, numbers within `jsonb`.

use crate::world::{Made, World, delete_by, put};
use bson::{Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::{
    change::Outcome,
    session::Session,
    target::compare::{self, Kind},
};

const COLLATION: &str = "create collation ci (provider = icu, locale = 'und-u-ks-level2', \
                         deterministic = false);";

const MAPPING: &str = "
version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: integer }
      nick: { type: text, unique: true }
      more: jsonb
    children:
      - table: tags
        from: tags
        key: [id, tag]
        columns:
          id: { parent: id }
          tag: { path: name, type: text, required: true }
          note: text
";

/// Text that two spellings are equal in.
const FOLDING: [(&str, &str); 2] = [
    (COLLATION, "text collate ci"),
    ("create extension citext;", "citext"),
];

fn before((extra, text): (&str, &str)) -> String {
    format!(
        "{extra}
         create table people (id integer primary key, nick {text} unique, more jsonb,
           lc_version bigint not null default 0);
         create table tags (id integer references people, tag {text}, note {text}, primary key (id, tag));"
    )
}

fn person(version: i64, id: i32, more: Document) -> Made {
    let mut person = doc! { "_id": id };
    person.extend(more);
    put("people", version, person)
}

const STATE: &str = "select p.id, p.nick::text, p.more::text, (select string_agg(tag::text || note::text, ',') \
                     from tags t where t.id = p.id) as tag_note from people p order by 1";

/// What the type does not see is written all the same: at a higher version, at the same one, in child rows
/// and in their keys.
#[tokio::test]
async fn another_spelling_is_written() {
    for folding in FOLDING {
        let mut world = World::prepared(MAPPING, &before(folding)).await;
        let of = |nick: &str, tag: &str, note: &str, n: bson::Bson| {
            doc! { "nick": nick, "more": { "n": n }, "tags": [{ "name": tag, "note": note }] }
        };
        let steps = [
            (
                1,
                of("ada", "a", "x", 1.into()),
                rows![{ id: 1, nick: "ada", more: "{\"n\": 1}", tag_note: "ax" }],
            ),
            (
                2,
                of("Ada", "A", "X", 1.5.into()),
                rows![{ id: 1, nick: "Ada", more: "{\"n\": 1.5}", tag_note: "AX" }],
            ),
            (
                2,
                of("ADA", "a", "x", 1.5.into()),
                rows![{ id: 1, nick: "ADA", more: "{\"n\": 1.5}", tag_note: "ax" }],
            ),
            (
                3,
                of("ADA", "a", "X", 1.5.into()),
                rows![{ id: 1, nick: "ADA", more: "{\"n\": 1.5}", tag_note: "aX" }],
            ),
        ];
        for (version, fields, state) in steps {
            let applied = world.each(&[person(version, 1, fields)]).await;
            assert_eq!(applied, [Outcome::Applied], "{}: {state:?}", folding.1);
            assert_eq!(world.rows(STATE).await, state, "{}", folding.1);
        }
    }
}

/// The two zeros: in a row, in child rows, in arrays, and in a child row's key.
#[tokio::test]
async fn the_other_zero_is_written() {
    const POINTS: &str = "
version: 1
database: shop
collections:
  tracks:
    table: tracks
    key: id
    columns: { id: { path: _id, type: integer }, start: double precision }
    children:
      - table: points
        from: points
        key: [id, x]
        columns:
          id: { parent: id }
          x: { type: double precision, required: true }
          y: real
          parts: double precision array
";
    let mut world = World::with(POINTS).await;
    let track = |version, [start, x, y, part]: [f64; 4]| {
        let point = doc! { "x": x, "y": y, "parts": [part] };
        put(
            "tracks",
            version,
            doc! { "_id": 1, "start": start, "points": [point] },
        )
    };
    let state =
        "select concat_ws(' ', start, x, y, parts) as zeros from tracks join points using (id)";
    let steps = [
        ([0.0, 0.0, 0.0, 0.0], "0 0 0 {0}"),
        ([-0.0, 0.0, 0.0, 0.0], "-0 0 0 {0}"),
        ([-0.0, -0.0, 0.0, 0.0], "-0 -0 0 {0}"),
        ([-0.0, -0.0, -0.0, 0.0], "-0 -0 -0 {0}"),
        ([-0.0, -0.0, -0.0, -0.0], "-0 -0 -0 {-0}"),
        ([0.0, 0.0, 0.0, 0.0], "0 0 0 {0}"),
    ];
    for (version, (values, zeros)) in (1..).zip(steps) {
        world.write(&[track(version, values)]).await;
        assert_eq!(world.rows(state).await, rows![{ zeros: zeros }]);
    }
}

/// Two spellings of one unique value: the second waits, and is placed when the first is gone; in one batch,
/// too.
#[tokio::test]
async fn another_spelling_of_a_unique_value_waits() {
    for folding in FOLDING {
        let nick = |version, id, nick: &str| person(version, id, doc! { "nick": nick });
        let mut world = World::prepared(MAPPING, &before(folding)).await;
        let apart = [nick(1, 1, "ada"), nick(1, 2, "Ada")];
        assert_eq!(
            world.each(&apart).await,
            [Outcome::Applied, Outcome::Parked]
        );
        let together = [nick(1, 3, "bob"), nick(2, 4, "BOB"), nick(2, 5, "eve")];
        world.apply(&together).await.unwrap();
        let there = "select string_agg(nick::text, ',' order by id) as nicks from people";
        assert_eq!(
            world.rows(there).await,
            rows![{ nicks: "ada,bob,eve" }],
            "{}",
            folding.1
        );
        world
            .each(&[delete_by("people", 3, 1), delete_by("people", 3, 3)])
            .await;
        world.settle().await;
        assert_eq!(
            world.rows(there).await,
            rows![{ nicks: "Ada,BOB,eve" }],
            "{}",
            folding.1
        );
        // They exchange their values.
        let exchanged = [nick(4, 2, "bob"), nick(4, 4, "ada")];
        world.apply(&exchanged).await.unwrap();
        while world.settle().await.placed > 0 {}
        assert_eq!(
            world.rows(there).await,
            rows![{ nicks: "bob,ada,eve" }],
            "{}",
            folding.1
        );
    }
}

/// A unique key that finds nulls equal: one document without a value, and the next one waits.
#[tokio::test]
async fn nulls_that_are_equal_wait() {
    let before = "create table people (id integer primary key, nick text, more jsonb,
                    lc_version bigint not null default 0);
                  create unique index on people (nick) nulls not distinct";
    let mut world = World::prepared(MAPPING, before).await;
    let none = |version, id| person(version, id, doc! {});
    assert_eq!(
        world.each(&[none(1, 1), none(1, 2)]).await,
        [Outcome::Applied, Outcome::Parked]
    );
    let together = [
        person(2, 1, doc! { "nick": "a" }),
        person(2, 3, doc! { "nick": "b" }),
    ];
    world.apply(&together).await.unwrap();
    world.settle().await;
    let there =
        "select string_agg(id || coalesce(nick, '-'), ',' order by id) as nicks from people";
    assert_eq!(world.rows(there).await, rows![{ nicks: "1a,2-,3b" }]);
    world.apply(&[none(3, 3), none(3, 1)]).await.unwrap();
    assert_eq!(world.rows(there).await, rows![{ nicks: "1a,2-,3b" }]);
    let waiting = "leafcutter.parked where reason = 'unique'";
    assert_eq!(world.count(waiting).await, 2);
}

/// A key under which two texts are one is a fault, and told with what mends it.
#[tokio::test]
async fn a_key_that_folds_is_refused() {
    const USERS: &str = "
version: 1
database: shop
collections:
  users:
    table: users
    key: name
    columns: { name: { path: _id, type: text }, n: integer }
";
    let before = format!(
        "{COLLATION} create table users (name text collate ci primary key, n integer, \
         lc_version bigint not null default 0)"
    );
    let world = World::prepared(USERS, &before).await;
    let look = async || {
        let mut session = Session::open(&world.config, "test").await.unwrap();
        compare::look(&mut session, &world.model).await.unwrap()
    };
    let found = look().await;
    let told = found
        .iter()
        .map(|d| (d.kind, d.place(), d.postgres.clone()));
    let collation = "collation ci, which is not deterministic";
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(Kind::Type, "users.name".to_owned(), collation.to_owned())]
    );
    for sql in &found[0].sql {
        world.execute_all(sql).await;
    }
    assert!(look().await.is_empty());
}
