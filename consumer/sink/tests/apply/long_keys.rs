//! Keys that no B-tree entry has room for: a record with one is applied, waits or becomes a dead letter as
//! any other, and the indexes of our own tables never are what refuses it.

use crate::world::{Made, World, delete_by, put};
use bson::{Bson, Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

const LONG: &str = "
version: 1
database: long
collections:
  tokens:
    table: tokens
    key: id
    where: { gone: missing }
    columns: { id: { path: _id, type: text }, n: integer }
  uses:
    table: uses
    key: id
    columns:
      id: { path: _id, type: integer }
      token: { type: text, references: { table: tokens } }
  blobs:
    table: blobs
    key: id
    columns: { id: { path: _id, type: bytea }, n: integer }
  pairs:
    table: pairs
    key: [a, b]
    columns: { a: { path: _id.a, type: text }, b: { path: _id.b, type: integer }, n: integer }
  files:
    table: files
    key: id
    columns: { id: { path: _id, type: uuid, convert: uuid-v5 }, n: integer }
  posts:
    table: posts
    key: id
    columns: { id: { path: number, type: bigint, generated: true }, n: integer }
  likes:
    table: likes
    key: id
    columns:
      id: { path: _id, type: integer }
      post: { type: bigint, references: { table: posts, by: _id } }
  days:
    table: days
    key: day
    on_same_key: newest-wins
    columns: { day: { type: text, required: true }, n: integer }
  mails:
    table: mails
    key: id
    columns: { id: { path: _id, type: integer }, mail: { type: text, unique: true } }
";

/// Six thousand letters and digits, without a pattern that could be compressed.
fn long(mut seed: u64) -> String {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(
            b"abcdefghijklmnopqrstuvwxyz0123456789"[usize::try_from(seed >> 33).unwrap() % 36],
        )
    };
    (0..6_000).map(|_| next()).collect()
}

/// Ids of every kind that can be long, each with its collection and a document for it.
fn ids() -> Vec<(&'static str, Bson)> {
    let bytes = bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: long(2).into_bytes(),
    };
    vec![
        ("tokens", long(1).into()),
        ("blobs", bytes.into()),
        ("pairs", doc! { "a": long(3), "b": 1 }.into()),
    ]
}

fn with_id(collection: &'static str, version: i64, id: &Bson, more: Document) -> Made {
    let mut document = doc! { "_id": id.clone() };
    document.extend(more);
    put(collection, version, document)
}

const LETTERS: &str = "select version, sqlstate, state from leafcutter.dead_letters order by 1, 2";

#[tokio::test]
async fn row_whose_key_is_too_long_is_a_dead_letter_and_harms_no_other() {
    for (collection, long_id) in ids() {
        let mut world = World::with(LONG).await;
        let short: Bson = match collection {
            "tokens" => "a".into(),
            "pairs" => doc! { "a": "a", "b": 1 }.into(),
            _ => bson::Binary {
                subtype: bson::spec::BinarySubtype::Generic,
                bytes: vec![7],
            }
            .into(),
        };
        let records = [
            with_id(collection, 1, &short, doc! { "n": 1 }),
            with_id(collection, 2, &long_id, doc! { "n": 2 }),
            with_id(collection, 3, &short, doc! { "n": 3 }),
        ];
        let (counts, _) = world.isolated(&records).await;
        assert_eq!(counts.of(Outcome::DeadLettered), 1, "{collection}");
        assert_eq!(counts.total(), 3, "{collection}");
        let rows = format!("select n from {collection}");
        assert_eq!(world.rows(&rows).await, rows![{ n: 3 }], "{collection}");
        assert_eq!(
            world.rows(LETTERS).await,
            rows![{ version: 2, sqlstate: "54000", state: "open" }],
            "{collection}"
        );
        // Its next change is one more, and its delete closes them.
        let next = with_id(collection, 4, &long_id, doc! { "n": 4 });
        world.isolated(&[next]).await;
        assert_eq!(
            world.rows(LETTERS).await,
            rows![
                { version: 2, sqlstate: "54000", state: "open" },
                { version: 4, sqlstate: "54000", state: "open" },
            ]
        );
        let gone = delete_by(collection, 5, long_id);
        assert_eq!(
            world.each(&[gone]).await,
            [Outcome::Deleted],
            "{collection}"
        );
        let closed = rows![
            { version: 2, sqlstate: "54000", state: "superseded" },
            { version: 4, sqlstate: "54000", state: "superseded" },
        ];
        assert_eq!(world.rows(LETTERS).await, closed, "{collection}");
    }
}

/// A delete leaves a tombstone, and so does a document that the conditions leave out.
#[tokio::test]
async fn long_keys_have_tombstones_that_older_records_do_not_pass() {
    let mut world = World::with(LONG).await;
    let token = Bson::from(long(1));
    let steps = [
        (delete_by("tokens", 5, token.clone()), Outcome::Deleted),
        (delete_by("tokens", 4, token.clone()), Outcome::Stale),
        (
            with_id("tokens", 3, &token, doc! { "n": 1 }),
            Outcome::Stale,
        ),
        (
            with_id("tokens", 6, &token, doc! { "gone": true }),
            Outcome::Filtered,
        ),
        (delete_by("tokens", 5, token.clone()), Outcome::Stale),
    ];
    for (number, (record, outcome)) in steps.into_iter().enumerate() {
        assert_eq!(world.each(&[record]).await, [outcome], "step {number}");
    }
    // Another long key, as long and with the same beginning, is another document.
    let other = Bson::from(format!("{}x", &long(1)[..5_999]));
    assert_eq!(
        world.each(&[delete_by("tokens", 1, other)]).await,
        [Outcome::Deleted]
    );
    let tombstones =
        "select version, length(row_key) as length from leafcutter.tombstones order by 1";
    assert_eq!(
        world.rows(tombstones).await,
        rows![
            { version: 1, length: 6000 },
            { version: 6, length: 6000 },
        ]
    );
}

/// The parent can never be there, so the child is an orphan in the end; its delete ends the wait.
#[tokio::test]
async fn document_that_waits_for_a_long_key_waits_as_any_other() {
    let mut world = World::with(LONG).await;
    // The index on the reference refuses it, too.
    let child = |version| put("uses", version, doc! { "_id": 1, "token": long(1) });
    let (counts, _) = world.isolated(&[child(0)]).await;
    assert_eq!(counts.of(Outcome::DeadLettered), 1);
    // After one that has no parent, parents are looked for before a row is written.
    let orphan = put("uses", 1, doc! { "_id": 2, "token": "none" });
    assert_eq!(world.each(&[orphan]).await, [Outcome::Parked]);
    // It takes the place of the one before, and its dead letter is superseded.
    assert_eq!(world.each(&[child(1)]).await, [Outcome::Parked]);
    let (counts, _) = world
        .isolated(&[with_id("tokens", 2, &long(1).into(), doc! {}), child(3)])
        .await;
    assert_eq!(counts.of(Outcome::DeadLettered), 1);
    world.settle_at_once().await;
    let open = "select reason, count(*) from leafcutter.dead_letters where state = 'open' group by 1 order by 1";
    assert_eq!(
        world.rows(open).await,
        rows![
            { reason: "orphan", count: 2 },
            { reason: "refused", count: 1 },
        ]
    );
    world
        .each(&[delete_by("uses", 4, 1), delete_by("uses", 4, 2)])
        .await;
    assert_eq!(
        world.rows(open).await,
        rows![{ reason: "refused", count: 1 }]
    );
    assert_eq!(world.count("leafcutter.parked").await, 0);
}

/// The row's own key is short where it is made of a long `_id`, or has nothing to do with it.
#[tokio::test]
async fn long_ids_with_short_row_keys_are_rows() {
    let mut world = World::with(LONG).await;
    let (one, two) = (Bson::from(long(1)), Bson::from(long(2)));
    let day = |version, id: &Bson, n| with_id("days", version, id, doc! { "day": "mon", "n": n });
    let like =
        |version, post: &Bson| put("likes", version, doc! { "_id": 1, "post": post.clone() });
    let steps = [
        (with_id("files", 1, &one, doc! { "n": 1 }), Outcome::Applied),
        (like(1, &one), Outcome::Parked),
        (with_id("posts", 1, &one, doc! { "n": 1 }), Outcome::Applied),
        (with_id("posts", 1, &two, doc! { "n": 2 }), Outcome::Applied),
        (day(1, &one, 1), Outcome::Applied),
        (day(2, &two, 2), Outcome::Applied),
        (like(2, &two), Outcome::Applied),
    ];
    for (number, (record, outcome)) in steps.into_iter().enumerate() {
        assert_eq!(world.each(&[record]).await, [outcome], "step {number}");
    }
    let state = "select (select string_agg(n::text, ' ') from files) as files, \
        (select string_agg(n::text, ' ' order by n) from posts) as posts, \
        (select string_agg(p.n::text, ' ') from likes l join posts p on p.id = l.post) as liked, \
        (select string_agg(n::text, ' ') from days) as days";
    assert_eq!(
        world.rows(state).await,
        rows![{ files: "1", posts: "1 2", liked: "2", days: "2" }]
    );
    // The newest goes and the other follows; a post to which a like points is held until that goes.
    world
        .each(&[
            delete_by("days", 3, two.clone()),
            delete_by("files", 3, one.clone()),
        ])
        .await;
    assert_eq!(
        world.each(&[delete_by("posts", 3, two.clone())]).await,
        [Outcome::Held]
    );
    assert_eq!(
        world.rows(state).await,
        rows![{ files: null, posts: "1 2", liked: "2", days: "1" }]
    );
    world.each(&[delete_by("likes", 4, 1)]).await;
    world.settle().await;
    assert_eq!(
        world.rows(state).await,
        rows![{ files: null, posts: "1", liked: null, days: "1" }]
    );
}

/// A value that fits its index may still be longer than an entry of ours: it compresses.
#[tokio::test]
async fn long_unique_values_wait_where_they_fit_and_are_refused_where_not() {
    let mut world = World::with(LONG).await;
    let mail = |version, number: i32, mail: &str| {
        put("mails", version, doc! { "_id": number, "mail": mail })
    };
    let even = "a".repeat(6_000);
    let steps = [
        (mail(1, 1, &even), Outcome::Applied),
        (mail(1, 2, &even), Outcome::Parked),
        (delete_by("mails", 2, 1), Outcome::Deleted),
    ];
    for (record, outcome) in steps {
        assert_eq!(world.each(&[record]).await, [outcome]);
    }
    world.settle_at_once().await;
    assert_eq!(
        world.rows("select id, length(mail) from mails").await,
        rows![{ id: 2, length: 6000 }]
    );
    let (counts, _) = world
        .isolated(&[mail(3, 3, &long(3)), mail(3, 4, "b")])
        .await;
    assert_eq!(counts.of(Outcome::DeadLettered), 1);
    assert_eq!(
        world.rows(LETTERS).await,
        rows![{ version: 3, sqlstate: "54000", state: "open" }]
    );
    assert_eq!(
        world.rows("select id from mails order by 1").await,
        rows![{ id: 2 }, { id: 4 }]
    );
}

/// The look-ups by keys use the indexes, or every batch would read the whole table.
#[tokio::test]
async fn look_ups_use_the_indexes_of_keys_of_every_length() {
    let world = World::with(LONG).await;
    let fill = "insert into leafcutter.tombstones \
        select 'tokens', convert_to(n || repeat('x', n % 200), 'UTF8'), 1 from generate_series(1, 20000) n";
    assert_eq!(world.execute(fill).await, 20_000);
    world.execute("analyze leafcutter.tombstones").await;
    let plan = "explain select s.version from (select distinct k from \
        unnest(array['\\x01', '\\x02']::bytea[]) as k(k)) k join leafcutter.tombstones s \
        on s.table_name = 'tokens' and leafcutter.index_key(s.row_key) = leafcutter.index_key(k.k) \
        and s.row_key = k.k";
    let plan = world.rows(plan).await.values().join("\n");
    assert!(plan.contains("Index Scan using tombstones_key"), "{plan}");
}

/// A hash never stands for a key that is as long as a hash itself.
#[tokio::test]
async fn what_stands_for_a_key_stands_for_no_other() {
    let world = World::new().await;
    let same = "select bool_or(leafcutter.index_key(b) = leafcutter.index_key(a)) as same from \
        (select convert_to(repeat('a', n), 'UTF8') a from generate_series(0, 3000) n) a, \
        lateral (values (leafcutter.index_key(a)), (sha512(a)), (a || 'b'::bytea)) b(b) where a <> b";
    assert_eq!(world.rows(same).await, rows![{ same: false }]);
    let longest = "select max(length(leafcutter.index_key(convert_to(repeat('a', n), 'UTF8')))) as longest \
        from generate_series(0, 3000) n";
    assert_eq!(world.rows(longest).await, rows![{ longest: 64 }]);
}
