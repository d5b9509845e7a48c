//! Keys that do not follow from `_id`: which row is a document's.

use crate::world::{Made, World, delete, delete_by, id, put};
use bson::{Document, doc};
use leafcutter_consumer::sink::work::Outcome;

pub(crate) const PEOPLE: &str = "
version: 1
database: shop
collections:
  people:
    table: people
    where: { out: missing }
    key: [site, mail]
    columns:
      site: { type: bigint, required: true }
      mail: { type: text, required: true }
      name: text
      phone: { type: text, unique: true }
      friend: { type: text, references: { table: tokens } }
    children:
      - table: pets
        from: pets
        key: [site, mail, n]
        columns:
          site: { parent: site }
          mail: { parent: mail }
          n: { position: true, type: integer }
          pet: { path: ., type: text }
  tokens:
    table: tokens
    key: token
    columns:
      token: { type: text, required: true }
  uses:
    table: uses
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      token: { type: text, references: { table: tokens } }
";

pub(crate) fn person(version: i64, number: u8, mail: &str, more: Document) -> Made {
    let mut person =
        doc! { "_id": id(number), "site": 1, "mail": mail, "name": version.to_string() };
    person.extend(more);
    put("people", version, person)
}

/// Rows, their children, and what is kept of them.
const STATE: &str = "\
    select (select string_agg(concat_ws(',', mail, name, lc_version), ' ' order by mail) from people), \
    (select string_agg(mail || pet, ' ' order by mail, n) from pets), \
    (select string_agg(right(convert_from(source_key, 'utf8'), 1) || ':' || version || \
    case when owner then '' else '-' end, ' ' order by source_key) from leafcutter.keys where table_name = 'people'), \
    (select count(*) from leafcutter.parked)";

/// Records are counted once each, and what waits by the counters is what is parked.
pub(crate) async fn accounts(world: &World) -> String {
    world
        .text(
            "select sum(next_offset) = sum(applied + unchanged + stale + deleted + held + filtered \
             + parked + ignored + dead_lettered), \
             sum(parked) - (select coalesce(sum(applied + stale), 0) from leafcutter.settled) \
             = (select count(*) from leafcutter.parked where not incomplete) \
             from leafcutter.offsets",
        )
        .await
}

#[tokio::test]
async fn a_document_is_found_by_its_id() {
    let mut world = World::with(PEOPLE).await;
    let pets = |pets: &[&str]| doc! { "pets": pets };
    let records = [
        (
            person(1, 1, "a", pets(&["x", "y"])),
            Outcome::Applied,
            "a,1,1|ax ay|1:1|0",
        ),
        (
            person(1, 1, "a", pets(&["x", "y"])),
            Outcome::Unchanged,
            "a,1,1|ax ay|1:1|0",
        ),
        (
            person(3, 1, "a", pets(&["x"])),
            Outcome::Applied,
            "a,3,3|ax|1:3|0",
        ),
        (
            person(2, 1, "z", pets(&["z"])),
            Outcome::Stale,
            "a,3,3|ax|1:3|0",
        ),
        // Another key: the row goes, and there is another one.
        (
            person(4, 1, "b", pets(&["x"])),
            Outcome::Applied,
            "b,4,4|bx|1:4|0",
        ),
        (
            person(3, 1, "a", pets(&["x"])),
            Outcome::Stale,
            "b,4,4|bx|1:4|0",
        ),
        (
            person(5, 2, "a", doc! {}),
            Outcome::Applied,
            "a,5,5 b,4,4|bx|1:4 2:5|0",
        ),
        // All that a delete tells is its `_id`.
        (delete("people", 6, 1), Outcome::Deleted, "a,5,5|null|2:5|0"),
        (
            delete("people", 6, 1),
            Outcome::Unchanged,
            "a,5,5|null|2:5|0",
        ),
        (
            person(5, 1, "b", doc! {}),
            Outcome::Stale,
            "a,5,5|null|2:5|0",
        ),
        (
            person(7, 1, "b", doc! {}),
            Outcome::Applied,
            "a,5,5 b,7,7|null|1:7 2:5|0",
        ),
        (
            delete("people", 6, 1),
            Outcome::Stale,
            "a,5,5 b,7,7|null|1:7 2:5|0",
        ),
        // Left out by the filter, and back.
        (
            person(8, 1, "b", doc! { "out": 1 }),
            Outcome::Filtered,
            "a,5,5|null|2:5|0",
        ),
        (
            person(7, 1, "b", doc! {}),
            Outcome::Stale,
            "a,5,5|null|2:5|0",
        ),
        (
            person(9, 1, "c", doc! {}),
            Outcome::Applied,
            "a,5,5 c,9,9|null|1:9 2:5|0",
        ),
        (
            delete("people", 1, 7),
            Outcome::Deleted,
            "a,5,5 c,9,9|null|1:9 2:5|0",
        ),
    ];
    for (record, outcome, state) in records {
        assert_eq!(world.each(&[record]).await, [outcome], "before {state}");
        assert_eq!(world.text(STATE).await, state);
    }
    assert_eq!(accounts(&world).await, "t|t");
    world.end().await;
}

/// The old row and the new one share a unique value, so the old one has to go first; and all of it
/// in one batch.
#[tokio::test]
async fn a_changed_key_takes_everything_along() {
    let mut world = World::with(PEOPLE).await;
    let with =
        |version, mail: &str| person(version, 1, mail, doc! { "phone": "7", "pets": ["x", "y"] });
    world.each(&[with(1, "a")]).await;
    assert_eq!(world.each(&[with(2, "b")]).await, [Outcome::Applied]);
    assert_eq!(world.text(STATE).await, "b,2,2|bx by|1:2|0");
    world.apply(&[with(3, "c"), with(4, "d")]).await.unwrap();
    assert_eq!(world.text(STATE).await, "d,4,4|dx dy|1:4|0");
    world.end().await;
}

#[tokio::test]
async fn a_replay_writes_nothing() {
    let mut world = World::with(PEOPLE).await;
    let records = [
        person(1, 1, "a", doc! { "pets": ["x"] }),
        person(2, 2, "b", doc! {}),
        person(3, 1, "c", doc! { "pets": ["x"] }),
        person(4, 3, "a", doc! {}),
        person(5, 4, "d", doc! {}),
        delete("people", 6, 4),
    ];
    world.each(&records).await;
    let rows = "select string_agg(k || ctid::text, ' ' order by k) from (\
                select mail as k, ctid from people union all select mail || n, ctid from pets \
                union all select encode(source_key, 'hex'), ctid from leafcutter.keys) r";
    let before = world.text(rows).await;
    for group in ["one by one", "at once"] {
        world.as_group(group);
        if group == "at once" {
            world.apply(&records).await.unwrap();
        } else {
            let outcomes = world.each(&records).await;
            let stale = Outcome::Stale;
            let same = Outcome::Unchanged;
            assert_eq!(outcomes, [stale, same, same, same, stale, same]);
        }
        assert_eq!(world.text(rows).await, before, "{group}");
    }
    world.end().await;
}

#[tokio::test]
async fn without_its_key_a_document_is_a_dead_letter() {
    let mut world = World::with(PEOPLE).await;
    world.each(&[person(1, 1, "a", doc! {})]).await;
    let without = |version| person(version, 1, "a", doc! { "mail": null });
    assert_eq!(world.each(&[without(2)]).await, [Outcome::DeadLettered]);
    let letters = "select row_key, column_name, reason, state from leafcutter.dead_letters \
                   order by version";
    let key = format!("\\x{}", hex(&format!("objectId:{}", id(1))));
    assert_eq!(
        world.text(letters).await,
        format!("{key}|mail|missing|open")
    );
    assert_eq!(world.text(STATE).await, "a,1,1|null|1:1|0");
    // Mended, it is closed; and one that comes late is closed at once.
    world.each(&[person(3, 1, "b", doc! {}), without(2)]).await;
    assert_eq!(
        world.text(letters).await,
        format!("{key}|mail|missing|superseded {key}|mail|missing|superseded")
    );
    world.each(&[without(4)]).await;
    assert!(world.text(letters).await.ends_with("open"));
    world.each(&[delete("people", 5, 1)]).await;
    assert!(!world.text(letters).await.contains("open"));
    world.end().await;
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// As with any unique value: the first stays, the other waits, and is placed when the key is free.
#[tokio::test]
async fn two_documents_with_one_key() {
    let mut world = World::with(PEOPLE).await;
    world.each(&[person(2, 1, "a", doc! {})]).await;
    let other = |version| person(version, 2, "a", doc! {});
    assert_eq!(world.each(&[other(1)]).await, [Outcome::Parked]);
    assert_eq!(world.each(&[other(3)]).await, [Outcome::Parked]);
    assert_eq!(world.text(STATE).await, "a,2,2|null|1:2|1");
    assert_eq!(world.settle().await.placed, 0);
    world.settle_at_once().await;
    let letters = "select reason, column_name, state from leafcutter.dead_letters";
    assert_eq!(world.text(letters).await, "unique|site, mail|open");
    assert_eq!(accounts(&world).await, "t|t");
    // The first one gets another key, and the other its row.
    world.each(&[person(4, 1, "b", doc! {})]).await;
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(world.text(STATE).await, "a,3,3 b,4,4|null|1:4 2:3|0");
    assert_eq!(world.text(letters).await, "unique|site, mail|superseded");
    assert_eq!(accounts(&world).await, "t|t");
    // In one batch the one that was changed first.
    let batch = [person(9, 3, "c", doc! {}), person(8, 4, "c", doc! {})];
    world.apply(&batch).await.unwrap();
    assert_eq!(
        world
            .text("select lc_version from people where mail = 'c'")
            .await,
        "8"
    );
    // A delete of what waits is the end of it.
    world.each(&[delete("people", 10, 3)]).await;
    assert_eq!(
        world.text("select count(*) from leafcutter.parked").await,
        "0"
    );
    world.end().await;
}

/// Whichever comes first, and in one batch.
#[tokio::test]
async fn keys_are_exchanged() {
    for order in 0..4 {
        let mut world = World::with(PEOPLE).await;
        let first = [person(1, 1, "a", doc! {}), person(2, 2, "b", doc! {})];
        world.apply(&first).await.unwrap();
        let mut then = [person(5, 1, "b", doc! {}), person(5, 2, "a", doc! {})];
        if order % 2 == 1 {
            then.reverse();
        }
        if order < 2 {
            world.apply(&then).await.unwrap();
            assert_eq!(
                world.text("select count(*) from leafcutter.parked").await,
                "0"
            );
        } else {
            world.each(&then).await;
            world.settle().await;
        }
        assert_eq!(
            world.text(STATE).await,
            "a,5,5 b,5,5|null|1:5 2:5|0",
            "order {order}"
        );
        assert_eq!(
            world
                .text(
                    "select convert_from(source_key, 'utf8') from leafcutter.keys order by row_key"
                )
                .await,
            format!("objectId:{} objectId:{}", id(2), id(1)),
        );
        world.end().await;
    }
}

/// A document that waits for its parent has given its old key up, as the source has.
#[tokio::test]
async fn a_key_that_was_given_up_is_free_at_once() {
    let mut world = World::with(PEOPLE).await;
    let waiting = person(2, 1, "b", doc! { "friend": "t" });
    world.each(&[person(1, 1, "a", doc! {}), waiting]).await;
    assert_eq!(world.text(STATE).await, "null|null|null|1");
    let outcomes = world.each(&[person(3, 2, "a", doc! {})]).await;
    assert_eq!(outcomes, [Outcome::Applied]);
    // With the same key the older image stays until the newer one is placed.
    world
        .each(&[person(4, 2, "a", doc! { "friend": "t", "name": "new" })])
        .await;
    assert_eq!(world.text(STATE).await, "a,3,3|null|2:3|2");
    let token = put("tokens", 5, doc! { "_id": 1, "token": "t" });
    world.each(&[token]).await;
    assert_eq!(world.text(STATE).await, "a,new,4 b,2,2|null|1:2 2:4|0");
    assert_eq!(accounts(&world).await, "t|t");
    world.end().await;
}

/// What points to a row by its key waits for whichever document has it, and holds it.
#[tokio::test]
async fn rows_that_others_point_to() {
    let mut world = World::with(PEOPLE).await;
    let token = |version, number: i32, token: &str| {
        put("tokens", version, doc! { "_id": number, "token": token })
    };
    let used = |version, number: u8, token: &str| {
        put("uses", version, doc! { "_id": id(number), "token": token })
    };
    let rows = "select (select string_agg(token || lc_version, ' ' order by token) from tokens), \
                (select string_agg(token, ' ' order by id) from uses), \
                (select count(*) from leafcutter.parked), (select count(*) from leafcutter.held)";
    assert_eq!(world.each(&[used(1, 1, "t")]).await, [Outcome::Parked]);
    world.each(&[token(2, 1, "t")]).await;
    assert_eq!(world.text(rows).await, "t2|t|0|0");
    // Deleted, it is held; another document takes the row over.
    let outcomes = world.each(&[delete_by("tokens", 3, 1)]).await;
    assert_eq!(outcomes, [Outcome::Held]);
    assert_eq!(world.text(rows).await, "t2|t|0|1");
    world.each(&[token(4, 2, "t")]).await;
    assert_eq!(world.text(rows).await, "t4|t|0|0");
    // With another key too, until the last reference goes.
    assert_eq!(world.each(&[token(5, 2, "u")]).await, [Outcome::Applied]);
    assert_eq!(world.text(rows).await, "t4 u5|t|0|1");
    world.each(&[used(6, 1, "u")]).await;
    assert_eq!(world.settle().await.let_go, 1);
    assert_eq!(world.text(rows).await, "u5|u|0|0");
    // A batch that deletes both.
    world
        .apply(&[delete_by("tokens", 7, 2), delete("uses", 7, 1)])
        .await
        .unwrap();
    assert_eq!(world.text(rows).await, "null|null|0|0");
    world.end().await;
}

/// Every order in which the records of a few documents can come, one by one: the same rows.
#[tokio::test]
async fn in_whatever_order_they_come() {
    let script = [
        person(1, 1, "a", doc! { "pets": ["x"] }),
        person(3, 1, "b", doc! { "pets": ["y"] }),
        person(4, 2, "a", doc! { "pets": ["z"] }),
        delete("people", 5, 3),
        person(2, 3, "b", doc! {}),
    ];
    let mut world = World::with(PEOPLE).await;
    hurry(&world).await;
    for order in orders(script.len()) {
        let records: Vec<Made> = order.iter().map(|&at| script[at].clone()).collect();
        world.each(&records).await;
        world.settle().await;
        assert_eq!(
            world.text(STATE).await,
            "a,4,4 b,3,3|az by|1:3 2:4|0",
            "{order:?}"
        );
        assert_eq!(accounts(&world).await, "t|t", "{order:?}");
        forget(&world).await;
    }
    world.end().await;
}

/// Every order of so many things.
pub(crate) fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for number in 0..count {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, number);
                    longer
                })
            })
            .collect();
    }
    all
}

/// Commits without waiting for the disk: what these tests are about does not hang on it.
pub(crate) async fn hurry(world: &World) {
    world
        .execute(
            "do $$ begin execute format('alter database %I set synchronous_commit = off', \
             current_database()); end $$",
        )
        .await;
}

/// Empties the tables and all that is kept, but for positions and counters.
pub(crate) async fn forget(world: &World) {
    let tables = world
        .text("select quote_ident(tablename) from pg_tables where schemaname = 'public'")
        .await;
    let mut names: Vec<String> = tables.split(' ').map(str::to_owned).collect();
    let state = ["keys", "contenders", "tombstones", "parked", "held"];
    names.extend(state.map(|name| format!("leafcutter.{name}")));
    world
        .execute(&format!("truncate {} cascade", names.join(", ")))
        .await;
}
