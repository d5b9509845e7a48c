//! Keys that do not follow from `_id`: which row is a document's.

use crate::{
    orders::{accounts, forget, hurry, orders},
    world::{Made, World, delete, delete_by, id, put},
};
use bson::{Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

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
    select (select string_agg(concat_ws(',', mail, name, lc_version), ' ' order by mail) from people) as mail_name_version, \
    (select string_agg(mail || pet, ' ' order by mail, n) from pets) as mail_pet, \
    (select string_agg(right(convert_from(source_key, 'utf8'), 1) || ':' || version || \
    case when owner then '' else '-' end, ' ' order by source_key) from leafcutter.key_map where table_name = 'people') as key_version, \
    (select count(*) from leafcutter.parked) as parked";

#[tokio::test]
async fn a_document_is_found_by_its_id() {
    let mut world = World::with(PEOPLE).await;
    let pets = |pets: &[&str]| doc! { "pets": pets };
    let records = [
        (
            person(1, 1, "a", pets(&["x", "y"])),
            Outcome::Applied,
            rows![{ mail_name_version: "a,1,1", mail_pet: "ax ay", key_version: "1:1", parked: 0 }],
        ),
        (
            person(1, 1, "a", pets(&["x", "y"])),
            Outcome::Unchanged,
            rows![{ mail_name_version: "a,1,1", mail_pet: "ax ay", key_version: "1:1", parked: 0 }],
        ),
        (
            person(3, 1, "a", pets(&["x"])),
            Outcome::Applied,
            rows![{ mail_name_version: "a,3,3", mail_pet: "ax", key_version: "1:3", parked: 0 }],
        ),
        (
            person(2, 1, "z", pets(&["z"])),
            Outcome::Stale,
            rows![{ mail_name_version: "a,3,3", mail_pet: "ax", key_version: "1:3", parked: 0 }],
        ),
        // Another key: the row goes, and there is another one.
        (
            person(4, 1, "b", pets(&["x"])),
            Outcome::Applied,
            rows![{ mail_name_version: "b,4,4", mail_pet: "bx", key_version: "1:4", parked: 0 }],
        ),
        (
            person(3, 1, "a", pets(&["x"])),
            Outcome::Stale,
            rows![{ mail_name_version: "b,4,4", mail_pet: "bx", key_version: "1:4", parked: 0 }],
        ),
        (
            person(5, 2, "a", doc! {}),
            Outcome::Applied,
            rows![{
                mail_name_version: "a,5,5 b,4,4",
                mail_pet: "bx",
                key_version: "1:4 2:5",
                parked: 0,
            }],
        ),
        // All that a delete tells is its `_id`.
        (
            delete("people", 6, 1),
            Outcome::Deleted,
            rows![{ mail_name_version: "a,5,5", mail_pet: null, key_version: "2:5", parked: 0 }],
        ),
        (
            delete("people", 6, 1),
            Outcome::Unchanged,
            rows![{ mail_name_version: "a,5,5", mail_pet: null, key_version: "2:5", parked: 0 }],
        ),
        (
            person(5, 1, "b", doc! {}),
            Outcome::Stale,
            rows![{ mail_name_version: "a,5,5", mail_pet: null, key_version: "2:5", parked: 0 }],
        ),
        (
            person(7, 1, "b", doc! {}),
            Outcome::Applied,
            rows![{
                mail_name_version: "a,5,5 b,7,7",
                mail_pet: null,
                key_version: "1:7 2:5",
                parked: 0,
            }],
        ),
        (
            delete("people", 6, 1),
            Outcome::Stale,
            rows![{
                mail_name_version: "a,5,5 b,7,7",
                mail_pet: null,
                key_version: "1:7 2:5",
                parked: 0,
            }],
        ),
        // Left out by the filter, and back.
        (
            person(8, 1, "b", doc! { "out": 1 }),
            Outcome::Filtered,
            rows![{ mail_name_version: "a,5,5", mail_pet: null, key_version: "2:5", parked: 0 }],
        ),
        (
            person(7, 1, "b", doc! {}),
            Outcome::Stale,
            rows![{ mail_name_version: "a,5,5", mail_pet: null, key_version: "2:5", parked: 0 }],
        ),
        (
            person(9, 1, "c", doc! {}),
            Outcome::Applied,
            rows![{
                mail_name_version: "a,5,5 c,9,9",
                mail_pet: null,
                key_version: "1:9 2:5",
                parked: 0,
            }],
        ),
        (
            delete("people", 1, 7),
            Outcome::Deleted,
            rows![{
                mail_name_version: "a,5,5 c,9,9",
                mail_pet: null,
                key_version: "1:9 2:5",
                parked: 0,
            }],
        ),
    ];
    for (record, outcome, state) in records {
        assert_eq!(world.each(&[record]).await, [outcome], "before {state:?}");
        assert_eq!(world.rows(STATE).await, state);
    }
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
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
    assert_eq!(
        world.rows(STATE).await,
        rows![{ mail_name_version: "b,2,2", mail_pet: "bx by", key_version: "1:2", parked: 0 }]
    );
    world.apply(&[with(3, "c"), with(4, "d")]).await.unwrap();
    assert_eq!(
        world.rows(STATE).await,
        rows![{ mail_name_version: "d,4,4", mail_pet: "dx dy", key_version: "1:4", parked: 0 }]
    );
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
    let rows = "select k, ctid::text from (\
                select mail as k, ctid from people union all select mail || n, ctid from pets \
                union all select encode(source_key, 'hex'), ctid from leafcutter.key_map) r order by k, ctid";
    let before = world.rows(rows).await;
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
        assert_eq!(world.rows(rows).await, before, "{group}");
    }
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
        world.rows(letters).await,
        rows![{ row_key: key, column_name: "mail", reason: "missing", state: "open" }]
    );
    assert_eq!(
        world.rows(STATE).await,
        rows![{ mail_name_version: "a,1,1", mail_pet: null, key_version: "1:1", parked: 0 }]
    );
    // Mended, it is closed; and one that comes late is closed at once.
    world.each(&[person(3, 1, "b", doc! {}), without(2)]).await;
    assert_eq!(
        world.rows(letters).await,
        rows![
            { row_key: key, column_name: "mail", reason: "missing", state: "superseded" },
            { row_key: key, column_name: "mail", reason: "missing", state: "superseded" },
        ]
    );
    world.each(&[without(4)]).await;
    let open = "leafcutter.dead_letters where state = 'open'";
    assert_eq!(world.count(&format!("{open} and version = 4")).await, 1);
    world.each(&[delete("people", 5, 1)]).await;
    assert_eq!(world.count(open).await, 0);
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
    assert_eq!(
        world.rows(STATE).await,
        rows![{ mail_name_version: "a,2,2", mail_pet: null, key_version: "1:2", parked: 1 }]
    );
    assert_eq!(world.settle().await.placed, 0);
    world.settle_at_once().await;
    let letters = "select reason, column_name, state from leafcutter.dead_letters";
    assert_eq!(
        world.rows(letters).await,
        rows![{ reason: "unique", column_name: "site, mail", state: "open" }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
    // The first one gets another key, and the other its row.
    world.each(&[person(4, 1, "b", doc! {})]).await;
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            mail_name_version: "a,3,3 b,4,4",
            mail_pet: null,
            key_version: "1:4 2:3",
            parked: 0,
        }]
    );
    assert_eq!(
        world.rows(letters).await,
        rows![{ reason: "unique", column_name: "site, mail", state: "superseded" }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
    // In one batch the one that was changed first.
    let batch = [person(9, 3, "c", doc! {}), person(8, 4, "c", doc! {})];
    world.apply(&batch).await.unwrap();
    assert_eq!(
        world
            .rows("select lc_version from people where mail = 'c'")
            .await,
        rows![{ lc_version: 8 }]
    );
    // A delete of what waits is the end of it.
    world.each(&[delete("people", 10, 3)]).await;
    assert_eq!(world.count("leafcutter.parked").await, 0);
}

/// Whichever comes first, and in one batch.
#[tokio::test]
async fn keys_are_exchanged() {
    let owners = "select convert_from(source_key, 'utf8') as source_key from leafcutter.key_map \
                  order by row_key";
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
            assert_eq!(world.count("leafcutter.parked").await, 0);
        } else {
            world.each(&then).await;
            world.settle().await;
        }
        assert_eq!(
            world.rows(STATE).await,
            rows![{
                mail_name_version: "a,5,5 b,5,5",
                mail_pet: null,
                key_version: "1:5 2:5",
                parked: 0,
            }],
            "order {order}"
        );
        assert_eq!(
            world.rows(owners).await,
            rows![
                { source_key: (format!("objectId:{}", id(2))) },
                { source_key: (format!("objectId:{}", id(1))) },
            ],
        );
    }
}

/// A document that waits for its parent has given its old key up, as the source has.
#[tokio::test]
async fn a_key_that_was_given_up_is_free_at_once() {
    let mut world = World::with(PEOPLE).await;
    let waiting = person(2, 1, "b", doc! { "friend": "t" });
    world.each(&[person(1, 1, "a", doc! {}), waiting]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{ mail_name_version: null, mail_pet: null, key_version: null, parked: 1 }]
    );
    let outcomes = world.each(&[person(3, 2, "a", doc! {})]).await;
    assert_eq!(outcomes, [Outcome::Applied]);
    // With the same key the older image stays until the newer one is placed.
    world
        .each(&[person(4, 2, "a", doc! { "friend": "t", "name": "new" })])
        .await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{ mail_name_version: "a,3,3", mail_pet: null, key_version: "2:3", parked: 2 }]
    );
    let token = put("tokens", 5, doc! { "_id": 1, "token": "t" });
    world.each(&[token]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            mail_name_version: "a,new,4 b,2,2",
            mail_pet: null,
            key_version: "1:2 2:4",
            parked: 0,
        }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
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
    let rows = "select (select string_agg(token || lc_version, ' ' order by token) from tokens) as token_version, \
                (select string_agg(token, ' ' order by id) from uses) as uses, \
                (select count(*) from leafcutter.parked) as parked, (select count(*) from leafcutter.held) as held";
    assert_eq!(world.each(&[used(1, 1, "t")]).await, [Outcome::Parked]);
    world.each(&[token(2, 1, "t")]).await;
    assert_eq!(
        world.rows(rows).await,
        rows![{ token_version: "t2", uses: "t", parked: 0, held: 0 }]
    );
    // Deleted, it is held; another document takes the row over, though its version is lower.
    let outcomes = world.each(&[delete_by("tokens", 3, 1)]).await;
    assert_eq!(outcomes, [Outcome::Held]);
    assert_eq!(
        world.rows(rows).await,
        rows![{ token_version: "t2", uses: "t", parked: 0, held: 1 }]
    );
    assert_eq!(world.each(&[token(1, 2, "t")]).await, [Outcome::Applied]);
    assert_eq!(
        world.rows(rows).await,
        rows![{ token_version: "t1", uses: "t", parked: 0, held: 0 }]
    );
    world.each(&[token(4, 2, "t")]).await;
    assert_eq!(
        world.rows(rows).await,
        rows![{ token_version: "t4", uses: "t", parked: 0, held: 0 }]
    );
    // With another key too, until the last reference goes.
    assert_eq!(world.each(&[token(5, 2, "u")]).await, [Outcome::Applied]);
    assert_eq!(
        world.rows(rows).await,
        rows![{ token_version: "t4 u5", uses: "t", parked: 0, held: 1 }]
    );
    world.each(&[used(6, 1, "u")]).await;
    assert_eq!(world.settle().await.let_go, 1);
    assert_eq!(
        world.rows(rows).await,
        rows![{ token_version: "u5", uses: "u", parked: 0, held: 0 }]
    );
    // A batch that deletes both.
    world
        .apply(&[delete_by("tokens", 7, 2), delete("uses", 7, 1)])
        .await
        .unwrap();
    assert_eq!(
        world.rows(rows).await,
        rows![{ token_version: null, uses: null, parked: 0, held: 0 }]
    );
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
            world.rows(STATE).await,
            rows![{
                mail_name_version: "a,4,4 b,3,3",
                mail_pet: "az by",
                key_version: "1:3 2:4",
                parked: 0,
            }],
            "{order:?}"
        );
        assert_eq!(
            accounts(&world).await,
            rows![{ counted_once: true, parked_counted: true }],
            "{order:?}"
        );
        forget(&world).await;
    }
}
