//! Child tables from several arrays, from maps, from arrays in arrays, and keys that are derived.

use crate::world::{World, id, put};
use bson::{Bson, Document, doc};
use leafcutter_harness::{rows, rows::Rows};
use leafcutter_schemas::dead_letter::Reason;
use leafcutter_sink::{
    change::{Outcome, Prepared},
    decode,
};
use uuid::Uuid;

const USERS: &str = "
version: 1
database: diet
collections:
  users:
    table: users
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
    children:
      # Several arrays, told apart by a constant.
      - table: goals
        from:
          - { path: targets, set: { kind: target, weight: 2 } }
          - { path: profile.wishes, set: { kind: wish, weight: 1 } }
        key: [id, kind, name]
        columns:
          id: { parent: id }
          kind: { set: true, type: varchar(10) }
          weight: { set: true, type: integer }
          name: { type: text, required: true }
          note: text
      # A map with free keys, and a map of maps.
      - table: scores
        from: { map: scores }
        key: [id, game]
        columns:
          id: { parent: id }
          game: { map_key: true, type: varchar(8) }
          points: { path: ., type: integer }
      - table: weeks
        from: { map: weeks }
        key: [id, week]
        columns: { id: { parent: id }, week: { map_key: true, type: text } }
        children:
          - table: days
            from: { map: . }
            key: [id, week, day]
            columns:
              id: { parent: id }
              week: { parent: week }
              day: { map_key: true, type: text }
              minutes: { type: integer }
      # Arrays in an array, and what stands where in them.
      - table: tracks
        from: tracks
        key: [id, track]
        columns:
          id: { parent: id }
          track: { position: true, type: integer }
          first: { path: '0.x', type: integer }
        children:
          - table: points
            from: .
            key: [id, track, point]
            columns:
              id: { parent: id }
              track: { parent: track }
              point: { position: true, type: integer }
              x: integer
      # A key derived from others, and one that holds it.
      - table: meals
        from: meals
        key: meal
        columns:
          id: { parent: id }
          day: { type: date, required: true }
          name: { type: text, required: true }
          place: { position: true, type: integer }
          meal: { derive: [id, day, name], type: uuid }
        children:
          - table: dishes
            from: dishes
            key: [meal, n]
            columns:
              user: { parent: id }
              meal: { parent: meal }
              n: { position: true, type: integer }
              dish: { path: ., type: text }
";

fn user(version: i64, fields: Document) -> crate::world::Made {
    let mut user = doc! { "_id": id(1) };
    user.extend(fields);
    put("users", version, user)
}

/// Why the document cannot be rows.
fn refusal(world: &World, fields: Document) -> Reason {
    let made = user(1, fields);
    let collection = world.collection("users");
    let mut rows = Default::default();
    match decode::prepare(&world.model, collection, Some(&made.value), &mut rows) {
        Prepared::Refused(refusal) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

/// Which transactions wrote the rows.
async fn writers(world: &World, rows: &str) -> Rows {
    world
        .rows(&format!("select xmin::text as x from {rows} order by 1"))
        .await
}

#[tokio::test]
async fn several_arrays_are_one_table() {
    let mut world = World::with(USERS).await;
    let goals = "select kind, weight, name, note from goals order by 1, 3";
    let first = doc! {
        "targets": [{ "name": "a", "note": "x" }, { "name": "b" }],
        "profile": { "wishes": [{ "name": "a" }] },
    };
    world.each(&[user(1, first)]).await;
    let rows = rows![
        { kind: "target", weight: 2, name: "a", note: "x" },
        { kind: "target", weight: 2, name: "b", note: null },
        { kind: "wish", weight: 1, name: "a", note: null },
    ];
    assert_eq!(world.rows(goals).await, rows);
    // One moves from array to array, one goes.
    let second = doc! { "profile": { "wishes": [{ "name": "b" }, { "name": "a" }] } };
    world.each(&[user(2, second)]).await;
    assert_eq!(
        world.rows(goals).await,
        rows![
            { kind: "wish", weight: 1, name: "a", note: null },
            { kind: "wish", weight: 1, name: "b", note: null },
        ]
    );
}

/// Equal elements are one row; those that differ cannot be, and neither is chosen.
#[tokio::test]
async fn elements_with_one_key() {
    let mut world = World::with(USERS).await;
    let twice = doc! { "name": "a", "note": "x" };
    let equal = doc! { "targets": [twice.clone(), { "name": "b" }, twice] };
    assert_eq!(world.each(&[user(1, equal)]).await, [Outcome::Applied]);
    assert_eq!(
        world.rows("select name from goals order by 1").await,
        rows![{ name: "a" }, { name: "b" }]
    );
    let differ =
        doc! { "targets": [{ "name": "a" }, { "name": "b" }, { "name": "a", "note": "x" }] };
    let reason = refusal(&world, differ);
    assert_eq!(reason.code, "duplicate");
    assert_eq!(
        reason.message,
        "two elements that differ have one key, `id, kind, name`"
    );
    assert_eq!(reason.table.as_deref(), Some("goals"));
    assert_eq!(reason.path.as_deref(), Some("targets.2"));
    // Below equal elements, too: the dishes of one meal, told twice in different ways.
    let day = bson::DateTime::from_millis(86_400_000);
    let meal = |dishes: &[&str]| doc! { "day": day, "name": "lunch", "dishes": dishes };
    let reason = refusal(
        &world,
        doc! { "meals": [meal(&["soup"]), meal(&["bread"])] },
    );
    assert_eq!(reason.code, "duplicate");
}

#[tokio::test]
async fn maps_have_a_row_for_each_field() {
    let mut world = World::with(USERS).await;
    let scores = "select game, points from scores order by 1";
    let days = "select week, day, minutes from days order by 1, 2";
    let first = doc! {
        "scores": { "chess": 3, "go": Bson::Null, "a.b": 1 },
        "weeks": { "1": { "mo": { "minutes": 5 }, "tu": { "minutes": 6 } }, "2": {} },
    };
    world.each(&[user(1, first)]).await;
    assert_eq!(
        world.rows(scores).await,
        rows![
            { game: "a.b", points: 1 },
            { game: "chess", points: 3 },
            { game: "go", points: null },
        ]
    );
    assert_eq!(
        world.rows(days).await,
        rows![
            { week: "1", day: "mo", minutes: 5 },
            { week: "1", day: "tu", minutes: 6 },
        ]
    );
    assert_eq!(
        world.rows("select week from weeks order by 1").await,
        rows![{ week: "1" }, { week: "2" }]
    );
    let chess = "scores where game = 'chess'";
    let before = writers(&world, chess).await;
    let second =
        doc! { "scores": { "chess": 3, "go": 2 }, "weeks": { "2": { "mo": { "minutes": 7 } } } };
    world.each(&[user(2, second)]).await;
    assert_eq!(
        world.rows(scores).await,
        rows![
            { game: "chess", points: 3 },
            { game: "go", points: 2 },
        ]
    );
    assert_eq!(
        world.rows(days).await,
        rows![{ week: "2", day: "mo", minutes: 7 }]
    );
    // What did not change was not written.
    assert_eq!(writers(&world, chess).await, before);
    let reason = refusal(&world, doc! { "scores": [1] });
    assert_eq!(
        reason.message,
        "a value of type array where the rows of `scores` should be a document"
    );
    let reason = refusal(&world, doc! { "scores": { "too long a name": 1 } });
    assert_eq!(reason.code, "too-long");
}

/// The document is refused as a whole: its rows stay, the older elements too, until it is mended.
#[tokio::test]
async fn what_is_no_array_any_more_leaves_the_older_rows_until_it_is_mended() {
    let mut world = World::with(USERS).await;
    let first = doc! {
        "targets": [{ "name": "a" }, { "name": "b" }], "scores": { "chess": 3 },
        "tracks": [[{ "x": 1 }, { "x": 2 }]],
    };
    world.each(&[user(1, first)]).await;
    let goals = rows![{ name: "a" }, { name: "b" }];
    let letter = "select path, reason, state from leafcutter.dead_letters \
                  order by \"offset\" desc limit 1";
    let others = [
        ("targets|wrong-type", doc! { "targets": "a, b" }),
        ("targets|wrong-type", doc! { "targets": { "name": "a" } }),
        (
            "targets.1.name|missing",
            doc! { "targets": [{ "name": "c" }, 7] },
        ),
        ("scores|wrong-type", doc! { "scores": [3] }),
        ("tracks.0|wrong-type", doc! { "tracks": [{ "x": 1 }] }),
    ];
    for (version, (why, mut fields)) in (2..).zip(others) {
        // Neither does a part of it come that could.
        if !why.starts_with("targets") {
            fields.insert("targets", [doc! { "name": "c" }].as_slice());
        }
        let outcome = world.each(&[user(version, fields)]).await;
        assert_eq!(outcome, [Outcome::DeadLettered], "{why}");
        let found = world.rows("select name from goals order by 1").await;
        assert_eq!(found, goals, "{why}");
        let rest = "select count(*), (select count(*) from points) from scores";
        assert_eq!(world.text(rest).await, "1|2", "{why}");
        let last = world.text(letter).await;
        assert!(last.ends_with(&format!("{why}|open")), "{last}");
    }
    // Gone, or null, is none; that is not something else.
    let mended = doc! { "targets": [{ "name": "d" }], "scores": Bson::Null };
    assert_eq!(world.each(&[user(7, mended)]).await, [Outcome::Applied]);
    let found = world.rows("select name from goals").await;
    assert_eq!(found, rows![{ name: "d" }]);
    let rest = "select count(*), (select count(*) from points) from scores";
    assert_eq!(world.text(rest).await, "0|0");
    let open = "select count(*) from leafcutter.dead_letters where state = 'open'";
    assert_eq!(world.text(open).await, "0");
}

#[tokio::test]
async fn arrays_in_arrays() {
    let mut world = World::with(USERS).await;
    let points = "select track, point, x from points order by 1, 2";
    let track = |xs: &[i32]| -> Bson {
        xs.iter()
            .map(|x| doc! { "x": x })
            .collect::<Vec<_>>()
            .into()
    };
    let first = doc! { "tracks": [track(&[1, 2]), track(&[]), track(&[3])] };
    world.each(&[user(1, first)]).await;
    assert_eq!(
        world.rows(points).await,
        rows![
            { track: 0, point: 0, x: 1 },
            { track: 0, point: 1, x: 2 },
            { track: 2, point: 0, x: 3 },
        ]
    );
    assert_eq!(
        world
            .rows("select track, first from tracks order by 1")
            .await,
        rows![
            { track: 0, first: 1 },
            { track: 1, first: null },
            { track: 2, first: 3 },
        ]
    );
    world
        .each(&[user(2, doc! { "tracks": [track(&[1, 4])] })])
        .await;
    assert_eq!(
        world.rows(points).await,
        rows![
            { track: 0, point: 0, x: 1 },
            { track: 0, point: 1, x: 4 },
        ]
    );
    let reason = refusal(&world, doc! { "tracks": [[], 7] });
    assert_eq!(
        reason.message,
        "a value of type int where the rows of `points` should be an array"
    );
}

#[tokio::test]
async fn derived_keys_are_what_postgresql_would_make_of_the_columns() {
    let mut world = World::with(USERS).await;
    let day = |day: i64| bson::DateTime::from_millis(day * 86_400_000);
    let meal =
        |d: i64, name: &str| doc! { "day": day(d), "name": name, "dishes": ["soup", "bread"] };
    let odd = "a \"b\" \\ \u{1}\n/ä";
    let first = doc! { "meals": [meal(20_000, "lunch"), meal(-800_000, odd)] };
    world.each(&[user(1, first.clone())]).await;
    let meals = world
        .rows("select meal, to_json(array[id::text, day::text, name::text])::text as texts from meals order by place")
        .await;
    let [one, two] = [("2024-10-04", "lunch"), ("0222-09-04 BC", odd)].map(|(day, name)| {
        let texts = [id(1).to_hex(), day.to_owned(), name.to_owned()];
        let json = serde_json::to_string(&texts).unwrap();
        (Uuid::new_v5(&Uuid::NAMESPACE_OID, json.as_bytes()), json)
    });
    assert_eq!(
        meals,
        rows![{ meal: (one.0), texts: (one.1) }, { meal: (two.0), texts: (two.1) }]
    );
    assert_eq!(world.count("dishes").await, 4);
    // The same again writes nothing; a meal that goes takes its dishes along.
    let both = "(select xmin::text::xid as xmin from meals union all select xmin::text::xid from dishes) both_tables";
    let before = writers(&world, both).await;
    world.each(&[user(2, first)]).await;
    assert_eq!(writers(&world, both).await, before);
    world
        .each(&[user(3, doc! { "meals": [meal(20_000, "lunch")] })])
        .await;
    assert_eq!(world.count("dishes").await, 2);
    world.each(&[crate::world::delete("users", 4, 1)]).await;
    assert_eq!(world.count("meals").await, 0);
}

/// A root's key may be derived as well, as long as a delete can tell it.
#[tokio::test]
async fn a_derived_key_of_a_collections_own_table() {
    let mapping = "
version: 1
database: diet
collections:
  days:
    table: days
    key: id
    columns:
      user: { path: _id.user, type: text }
      day: { path: _id.day, type: integer }
      id: { derive: [user, day], type: uuid }
";
    let mut world = World::with(mapping).await;
    let key = doc! { "user": "u", "day": 7 };
    world
        .each(&[put("days", 1, doc! { "_id": key.clone() })])
        .await;
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, br#"["u","7"]"#);
    assert_eq!(world.rows("select id from days").await, rows![{ id: uuid }]);
    let gone = crate::world::delete_by("days", 2, key);
    assert_eq!(world.each(&[gone]).await, [Outcome::Deleted]);
    assert_eq!(world.count("days").await, 0);
}
