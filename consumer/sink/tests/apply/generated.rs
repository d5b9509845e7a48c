//! Numbers that the documents do not have: generated keys, and generated columns beside the key.

use crate::{
    orders::{accounts, forget, hurry, orders},
    world::{Made, World, delete, id, put},
};
use bson::{Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

const POSTS: &str = "
version: 1
database: nails
collections:
  posts:
    table: posts
    key: id
    columns:
      id: { path: legacy_pg_id, type: integer, generated: true, start: 100 }
      title: text
    children:
      - table: posts_colors
        from: colors
        key: [post_id, n]
        columns:
          post_id: { parent: id }
          n: { position: true, type: integer }
          color: { path: ., type: text }
        children:
          - table: posts_shades
            from: [shades]
            key: [post_id, n, m]
            columns:
              post_id: { parent: post_id }
              n: { parent: n }
              m: { position: true, type: integer }
  likes:
    table: likes
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      post: { type: integer, references: { table: posts } }
  logbooks:
    table: days
    key: day
    on_same_key: newest-wins
    columns:
      id: { type: bigint, generated: true }
      day: { type: text, required: true }
      note: text
";

fn post(version: i64, number: u8, more: Document) -> Made {
    let mut post = doc! { "_id": id(number), "title": version.to_string(), "colors": ["red"] };
    post.extend(more);
    put("posts", version, post)
}

fn legacy(version: i64, number: u8, key: i64) -> Made {
    post(version, number, doc! { "legacy_pg_id": key })
}

fn born(version: i64, number: u8) -> Made {
    post(version, number, doc! {})
}

const STATE: &str = "\
    select (select string_agg(id || ':' || title, ' ' order by id) from posts) as id_title, \
    (select string_agg(post_id || color, ' ' order by post_id) from posts_colors) as post_color, \
    (select count(*) from leafcutter.parked) as parked";

#[tokio::test]
async fn the_legacy_key_where_there_is_one_else_a_number() {
    let mut world = World::with(POSTS).await;
    let records = [
        (
            legacy(1, 1, 7),
            Outcome::Applied,
            rows![{ id_title: "7:1", post_color: "7red", parked: 0 }],
        ),
        (
            born(2, 2),
            Outcome::Applied,
            rows![{ id_title: "7:1 100:2", post_color: "7red 100red", parked: 0 }],
        ),
        // An update keeps it, and so does the same again.
        (
            born(3, 2),
            Outcome::Applied,
            rows![{ id_title: "7:1 100:3", post_color: "7red 100red", parked: 0 }],
        ),
        (
            born(3, 2),
            Outcome::Unchanged,
            rows![{ id_title: "7:1 100:3", post_color: "7red 100red", parked: 0 }],
        ),
        // The sequence goes above what documents have.
        (
            legacy(4, 3, 500),
            Outcome::Applied,
            rows![{ id_title: "7:1 100:3 500:4", post_color: "7red 100red 500red", parked: 0 }],
        ),
        (
            legacy(4, 1, 9),
            Outcome::Applied,
            rows![{ id_title: "9:4 100:3 500:4", post_color: "9red 100red 500red", parked: 0 }],
        ),
        (
            born(5, 4),
            Outcome::Applied,
            rows![{
                id_title: "9:4 100:3 500:4 501:5",
                post_color: "9red 100red 500red 501red",
                parked: 0,
            }],
        ),
        // Deleted and back, it has its number still.
        (
            delete("posts", 6, 2),
            Outcome::Deleted,
            rows![{ id_title: "9:4 500:4 501:5", post_color: "9red 500red 501red", parked: 0 }],
        ),
        (
            delete("posts", 6, 2),
            Outcome::Unchanged,
            rows![{ id_title: "9:4 500:4 501:5", post_color: "9red 500red 501red", parked: 0 }],
        ),
        (
            born(3, 2),
            Outcome::Stale,
            rows![{ id_title: "9:4 500:4 501:5", post_color: "9red 500red 501red", parked: 0 }],
        ),
        (
            born(7, 2),
            Outcome::Applied,
            rows![{
                id_title: "9:4 100:7 500:4 501:5",
                post_color: "9red 100red 500red 501red",
                parked: 0,
            }],
        ),
        (
            delete("posts", 8, 2),
            Outcome::Deleted,
            rows![{ id_title: "9:4 500:4 501:5", post_color: "9red 500red 501red", parked: 0 }],
        ),
        // It gets a key of its own, late; and loses it.
        (
            legacy(9, 4, 20),
            Outcome::Applied,
            rows![{ id_title: "9:4 20:9 500:4", post_color: "9red 20red 500red", parked: 0 }],
        ),
        (
            born(10, 4),
            Outcome::Applied,
            rows![{ id_title: "9:4 20:10 500:4", post_color: "9red 20red 500red", parked: 0 }],
        ),
        // Somebody else's.
        (
            legacy(11, 5, 9),
            Outcome::Parked,
            rows![{ id_title: "9:4 20:10 500:4", post_color: "9red 20red 500red", parked: 1 }],
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

/// A batch, a replay of it, its records in other orders: each keeps its number.
#[tokio::test]
async fn numbers_are_kept() {
    let mut world = World::with(POSTS).await;
    let shades = doc! { "colors": ["red", "blue"] };
    let records = [
        post(1, 1, shades.clone()),
        post(1, 2, shades),
        legacy(1, 3, 5),
        born(2, 1),
    ];
    world.apply(&records).await.unwrap();
    let rows = "select k, ctid::text from (\
                select id || title as k, ctid from posts union all \
                select post_id || '.' || n, ctid from posts_colors union all \
                select encode(source_key, 'hex'), ctid from leafcutter.key_map) r order by k, ctid";
    let before = world.rows(rows).await;
    assert_eq!(
        world
            .rows("select id, title from posts order by title, id")
            .await,
        rows![
            { id: 5, title: "1" },
            { id: 101, title: "1" },
            { id: 100, title: "2" },
        ]
    );
    for group in ["one by one", "at once"] {
        world.as_group(group);
        if group == "at once" {
            world.apply(&records).await.unwrap();
        } else {
            world.each(&records).await;
        }
        assert_eq!(world.rows(rows).await, before, "{group}");
    }
}

/// In whatever order a document's records come, it has one number, and no other's.
#[tokio::test]
async fn in_whatever_order_they_come() {
    let script = [
        born(1, 1),
        born(3, 1),
        born(2, 2),
        legacy(4, 2, 7),
        delete("posts", 5, 3),
    ];
    let mut world = World::with(POSTS).await;
    hurry(&world).await;
    for order in orders(script.len()) {
        let records: Vec<Made> = order.iter().map(|&at| script[at].clone()).collect();
        world.each(&records).await;
        let found = "select count(*) as posts, count(*) filter (where title = '3' and id >= 100) as generated, \
                     count(*) filter (where title = '4' and id = 7) as known, \
                     (select count(*) from posts_colors) as colors from posts";
        assert_eq!(
            world.rows(found).await,
            rows![{ posts: 2, generated: 1, known: 1, colors: 2 }],
            "{order:?}"
        );
        forget(&world).await;
    }
}

/// A row that is held keeps its number for its document, which may come back.
#[tokio::test]
async fn a_held_row_is_found_again() {
    let mut world = World::with(POSTS).await;
    let like = put("likes", 2, doc! { "_id": 1, "post": 100 });
    world.each(&[born(1, 1), like]).await;
    assert_eq!(world.each(&[delete("posts", 3, 1)]).await, [Outcome::Held]);
    assert_eq!(world.each(&[born(4, 1)]).await, [Outcome::Applied]);
    assert_eq!(
        world.rows(STATE).await,
        rows![{ id_title: "100:4", post_color: "100red", parked: 0 }]
    );
    assert_eq!(world.count("leafcutter.held").await, 0);
}

/// A row's number stays when the row becomes another document's.
#[tokio::test]
async fn a_number_beside_the_key() {
    let mut world = World::with(POSTS).await;
    let entry = |version, number: u8, day: &str| {
        let note = format!("{number}v{version}");
        put(
            "logbooks",
            version,
            doc! { "_id": id(number), "day": day, "note": note },
        )
    };
    let rows = "select id, day, note from days order by id";
    let both =
        |first: &str| rows![{ id: 1, day: "a", note: first }, { id: 2, day: "b", note: "2v2" }];
    let story = [
        (entry(1, 1, "a"), rows![{ id: 1, day: "a", note: "1v1" }]),
        (entry(2, 2, "b"), both("1v1")),
        (entry(3, 3, "a"), both("3v3")),
        (entry(4, 1, "a"), both("1v4")),
        (delete("logbooks", 5, 1), both("3v3")),
        (entry(6, 3, "b"), rows![{ id: 2, day: "b", note: "3v6" }]),
    ];
    for (record, expected) in story {
        world.each(&[record]).await;
        assert_eq!(world.rows(rows).await, expected);
    }
}

/// Tables that were there before: a key without a sequence gets one, and a column that numbers its
/// rows is added.
#[tokio::test]
async fn tables_that_were_there_before() {
    use leafcutter_sink::{session::Session, target};
    let mut world = World::with(POSTS).await;
    world
        .execute("drop table posts_shades, posts_colors, likes, posts, days cascade")
        .await;
    world
        .execute("create table public.posts (id int primary key, title text)")
        .await;
    world
        .execute("create table public.days (day text primary key)")
        .await;
    world.execute("insert into public.days values ('z')").await;
    let mut session = Session::open(&world.config, "test").await.unwrap();
    for _ in 0..2 {
        target::migrate(&mut session, &world.model, crate::database::START)
            .await
            .unwrap();
    }
    world.each(&[born(1, 1), legacy(2, 2, 7)]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{ id_title: "7:2 100:1", post_color: "7red 100red", parked: 0 }]
    );
    assert_eq!(
        world.rows("select id, day from days").await,
        rows![{ id: 1, day: "z" }]
    );
}

/// A document that has the highest number of all leaves the others theirs, also beside one in the same batch
/// whose number does move the sequence.
#[tokio::test]
async fn the_highest_number_of_all_exhausts_nothing() {
    for (pg_type, highest) in [("integer", i64::from(i32::MAX)), ("bigint", i64::MAX)] {
        let mut world = World::with(&POSTS.replace("integer", pg_type)).await;
        let batch = [
            legacy(1, 1, highest),
            legacy(1, 2, 500),
            legacy(1, 3, highest - 1),
        ];
        world.apply(&batch).await.unwrap();
        assert_eq!(
            world.each(&[born(2, 4), born(2, 5)]).await,
            [Outcome::Applied; 2]
        );
        let ids = format!("1:500 2:501 2:502 1:{} 1:{highest}", highest - 1);
        let rows = "select string_agg(title || ':' || id, ' ' order by id) from posts";
        assert_eq!(world.text(rows).await, ids);
    }
}

/// Rows that were there before, written by nobody here: their numbers are not given away, whether the table had
/// a sequence or got one.
#[tokio::test]
async fn numbers_that_rows_have_are_not_given() {
    let own = "create table posts (id integer primary key, title text); \
               insert into posts select n, 'old' from generate_series(90, 130) n; \
               insert into posts values (2147483647, 'mark')";
    let behind = own.replace(
        "id integer",
        "id integer generated by default as identity (start with 100)",
    );
    for before in [own, &behind] {
        let mut world = World::prepared(POSTS, before).await;
        assert_eq!(
            world.each(&[born(2, 1), born(2, 2)]).await,
            [Outcome::Applied; 2]
        );
        let given = "select count(*) from posts where title = '2' and id between 131 and 200";
        assert_eq!(world.text(given).await, "2", "{before}");
        let old = "select count(*) from posts where title = 'old'";
        assert_eq!(world.text(old).await, "41", "{before}");
    }
}
