//! Numbers that the documents do not have: generated keys, and generated columns beside the key.

use crate::{
    natural::{accounts, forget, hurry, orders},
    world::{Made, World, delete, id, put},
};
use bson::{Document, doc};
use leafcutter_consumer::sink::work::Outcome;

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
    select (select string_agg(id || ':' || title, ' ' order by id) from posts), \
    (select string_agg(post_id || color, ' ' order by post_id) from posts_colors), \
    (select count(*) from leafcutter.parked)";

#[tokio::test]
async fn the_legacy_key_where_there_is_one_else_a_number() {
    let mut world = World::with(POSTS).await;
    let records = [
        (legacy(1, 1, 7), Outcome::Applied, "7:1|7red|0"),
        (born(2, 2), Outcome::Applied, "7:1 100:2|7red 100red|0"),
        // An update keeps it, and so does the same again.
        (born(3, 2), Outcome::Applied, "7:1 100:3|7red 100red|0"),
        (born(3, 2), Outcome::Unchanged, "7:1 100:3|7red 100red|0"),
        // The sequence goes above what documents have.
        (
            legacy(4, 3, 500),
            Outcome::Applied,
            "7:1 100:3 500:4|7red 100red 500red|0",
        ),
        (
            legacy(4, 1, 9),
            Outcome::Applied,
            "9:4 100:3 500:4|9red 100red 500red|0",
        ),
        (
            born(5, 4),
            Outcome::Applied,
            "9:4 100:3 500:4 501:5|9red 100red 500red 501red|0",
        ),
        // Deleted and back, it has its number still.
        (
            delete("posts", 6, 2),
            Outcome::Deleted,
            "9:4 500:4 501:5|9red 500red 501red|0",
        ),
        (
            delete("posts", 6, 2),
            Outcome::Unchanged,
            "9:4 500:4 501:5|9red 500red 501red|0",
        ),
        (
            born(3, 2),
            Outcome::Stale,
            "9:4 500:4 501:5|9red 500red 501red|0",
        ),
        (
            born(7, 2),
            Outcome::Applied,
            "9:4 100:7 500:4 501:5|9red 100red 500red 501red|0",
        ),
        (
            delete("posts", 8, 2),
            Outcome::Deleted,
            "9:4 500:4 501:5|9red 500red 501red|0",
        ),
        // It gets a key of its own, late; and loses it.
        (
            legacy(9, 4, 20),
            Outcome::Applied,
            "9:4 20:9 500:4|9red 20red 500red|0",
        ),
        (
            born(10, 4),
            Outcome::Applied,
            "9:4 20:10 500:4|9red 20red 500red|0",
        ),
        // Somebody else's.
        (
            legacy(11, 5, 9),
            Outcome::Parked,
            "9:4 20:10 500:4|9red 20red 500red|1",
        ),
    ];
    for (record, outcome, state) in records {
        assert_eq!(world.each(&[record]).await, [outcome], "before {state}");
        assert_eq!(world.text(STATE).await, state);
    }
    assert_eq!(accounts(&world).await, "t|t");
    world.end().await;
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
    let rows = "select string_agg(k || ctid::text, ' ' order by k) from (\
                select id || title as k, ctid from posts union all \
                select post_id || '.' || n, ctid from posts_colors union all \
                select encode(source_key, 'hex'), ctid from leafcutter.keys) r";
    let before = world.text(rows).await;
    assert_eq!(
        world
            .text("select string_agg(id || ':' || title, ' ' order by title, id) from posts")
            .await,
        "5:1 101:1 100:2"
    );
    for group in ["one by one", "at once"] {
        world.as_group(group);
        if group == "at once" {
            world.apply(&records).await.unwrap();
        } else {
            world.each(&records).await;
        }
        assert_eq!(world.text(rows).await, before, "{group}");
    }
    world.end().await;
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
        let found = "select count(*), count(*) filter (where title = '3' and id >= 100), \
                     count(*) filter (where title = '4' and id = 7), \
                     (select count(*) from posts_colors) from posts";
        assert_eq!(world.text(found).await, "2|1|1|2", "{order:?}");
        forget(&world).await;
    }
    world.end().await;
}

/// A row that is held keeps its number for its document, which may come back.
#[tokio::test]
async fn a_held_row_is_found_again() {
    let mut world = World::with(POSTS).await;
    let like = put("likes", 2, doc! { "_id": 1, "post": 100 });
    world.each(&[born(1, 1), like]).await;
    assert_eq!(world.each(&[delete("posts", 3, 1)]).await, [Outcome::Held]);
    assert_eq!(world.each(&[born(4, 1)]).await, [Outcome::Applied]);
    assert_eq!(world.text(STATE).await, "100:4|100red|0");
    assert_eq!(
        world.text("select count(*) from leafcutter.held").await,
        "0"
    );
    world.end().await;
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
    let rows = "select string_agg(concat_ws(',', id, day, note), ' ' order by id) from days";
    let story = [
        (entry(1, 1, "a"), "1,a,1v1"),
        (entry(2, 2, "b"), "1,a,1v1 2,b,2v2"),
        (entry(3, 3, "a"), "1,a,3v3 2,b,2v2"),
        (entry(4, 1, "a"), "1,a,1v4 2,b,2v2"),
        (delete("logbooks", 5, 1), "1,a,3v3 2,b,2v2"),
        (entry(6, 3, "b"), "2,b,3v6"),
    ];
    for (record, expected) in story {
        world.each(&[record]).await;
        assert_eq!(world.text(rows).await, expected);
    }
    world.end().await;
}

/// Tables that were there before: a key without a sequence gets one, and a column that numbers its
/// rows is added.
#[tokio::test]
async fn tables_that_were_there_before() {
    use leafcutter_consumer::sink::{migrations, session::Session};
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
        migrations::migrate(&mut session, &world.model, true)
            .await
            .unwrap();
    }
    world.each(&[born(1, 1), legacy(2, 2, 7)]).await;
    assert_eq!(world.text(STATE).await, "7:2 100:1|7red 100red|0");
    assert_eq!(world.text("select id, day from days").await, "1|z");
    world.end().await;
}
