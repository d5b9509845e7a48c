//! References by `_id` to tables whose key is generated.

use crate::{
    orders::{accounts, forget, hurry, orders},
    world::{Made, World, delete, id, put},
};
use bson::{Bson, Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

const NAILS: &str = "
version: 1
database: nails
collections:
  posts:
    table: posts
    key: id
    columns:
      id: { path: legacy_pg_id, type: bigint, generated: true, start: 100 }
      title: text
  tryons:
    table: tryons
    key: id
    columns:
      id: { path: legacy_pg_id, type: bigint, generated: true, start: 500 }
      post_id: { path: post, type: bigint, convert: object-id, required: true, references: { table: posts, by: _id } }
  albums:
    table: albums
    key: id
    columns: { id: { path: legacy_pg_id, type: bigint, generated: true, start: 900 } }
    children:
      - table: album_posts
        from: posts
        key: [album_id, post_id]
        columns:
          album_id: { parent: id }
          post_id: { path: ., type: bigint, required: true, references: { table: posts, by: _id } }
  lists:
    table: lists
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      name: text
      cover_id: { path: cover, type: bigint, references: { table: posts, by: _id, on_missing: null } }
    children:
      - table: list_posts
        from: posts
        key: [list_id, post_id]
        columns:
          list_id: { parent: id }
          post_id: { path: ., type: bigint, convert: object-id, required: true, references: { table: posts, by: _id } }
";

fn post(version: i64, number: u8, more: Document) -> Made {
    let mut post = doc! { "_id": id(number), "title": version.to_string() };
    post.extend(more);
    put("posts", version, post)
}

/// As text, as that application writes it.
fn hex(number: u8) -> String {
    id(number).to_hex()
}

fn tryon(version: i64, number: u8, post: impl Into<Bson>) -> Made {
    put(
        "tryons",
        version,
        doc! { "_id": id(number), "post": post.into() },
    )
}

fn list(version: i64, number: u8, posts: &[u8], cover: Option<u8>) -> Made {
    let posts: Vec<String> = posts.iter().map(|post| hex(*post)).collect();
    let list = doc! { "_id": id(number), "name": version.to_string(), "posts": posts, "cover": cover.map(id) };
    put("lists", version, list)
}

const STATE: &str = "\
    select (select string_agg(id || ':' || title, ' ' order by id) from posts) as id_title, \
    (select string_agg(id || '>' || post_id, ' ' order by id) from tryons) as tryon_post, \
    (select string_agg(name || '^' || coalesce(cover_id::text, '-'), ' ' order by id) from lists) as name_cover, \
    (select string_agg(right(list_id, 2) || '>' || post_id, ' ' order by list_id, post_id) from list_posts) as list_post, \
    (select count(*) from leafcutter.parked) as parked";

#[tokio::test]
async fn the_key_of_the_document_with_that_id() {
    let mut world = World::with(NAILS).await;
    let story = [
        (post(1, 1, doc! { "legacy_pg_id": 7 }), Outcome::Applied),
        (post(2, 2, doc! {}), Outcome::Applied),
        (tryon(3, 11, hex(1)), Outcome::Applied),
        (tryon(3, 12, id(2)), Outcome::Applied),
        (list(3, 21, &[2, 1, 2], Some(1)), Outcome::Applied),
    ];
    for (record, outcome) in &story {
        let applied = world.each(std::slice::from_ref(record)).await;
        assert_eq!(applied, [*outcome]);
    }
    let state = rows![{
        id_title: "7:1 100:2",
        tryon_post: "500>7 501>100",
        name_cover: "3^7",
        list_post: "15>7 15>100",
        parked: 0,
    }];
    assert_eq!(world.rows(STATE).await, state);
    // Once more, by another group: no row is written.
    let places = "select string_agg(ctid::text, '' order by ctid) as places from tryons union all \
                  select string_agg(ctid::text, '' order by ctid) from lists union all \
                  select string_agg(ctid::text, '' order by ctid) from list_posts";
    let before = world.rows(places).await;
    world.as_group("again");
    for (record, _) in &story {
        let applied = world.each(std::slice::from_ref(record)).await;
        assert_eq!(applied, [Outcome::Unchanged]);
    }
    assert_eq!(world.rows(places).await, before);
    // From one to another, and less.
    world
        .each(&[tryon(4, 11, hex(2)), list(4, 21, &[1], Some(2))])
        .await;
    let state = rows![{
        id_title: "7:1 100:2",
        tryon_post: "500>100 501>100",
        name_cover: "4^100",
        list_post: "15>7",
        parked: 0,
    }];
    assert_eq!(world.rows(STATE).await, state);
}

#[tokio::test]
async fn what_is_not_there_yet_is_waited_for() {
    let mut world = World::with(NAILS).await;
    assert_eq!(
        world
            .each(&[tryon(3, 11, hex(1)), list(3, 21, &[1, 2], Some(2))])
            .await,
        [Outcome::Parked, Outcome::Parked]
    );
    let parked = "select table_name, wait_column, wait_table, convert_from(wait_key, 'UTF8') as wait_key \
                  from leafcutter.parked order by 1";
    assert_eq!(
        world.rows(parked).await,
        rows![
            { table_name: "lists", wait_column: "cover_id", wait_table: "posts", wait_key: (format!("objectId:{}", hex(2))) },
            { table_name: "tryons", wait_column: "post_id", wait_table: "posts", wait_key: (format!("objectId:{}", hex(1))) },
        ]
    );
    // Whoever places the document takes along what waits for it.
    world.each(&[post(4, 2, doc! {})]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            id_title: "100:4",
            tryon_post: null,
            name_cover: "3^100",
            list_post: "15>100",
            parked: 2,
        }]
    );
    // An older one than what waits changes nothing.
    assert_eq!(world.each(&[tryon(2, 11, hex(2))]).await, [Outcome::Stale]);
    world.each(&[post(4, 1, doc! {})]).await;
    // The number that it would have had at first is left out.
    let all = rows![{
        id_title: "100:4 101:4",
        tryon_post: "501>101",
        name_cover: "3^100",
        list_post: "15>100 15>101",
        parked: 0,
    }];
    assert_eq!(world.rows(STATE).await, all);
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
}

#[tokio::test]
async fn what_never_comes() {
    let mut world = World::with(NAILS).await;
    world.each(&[post(1, 1, doc! {})]).await;
    world
        .each(&[tryon(3, 11, hex(9)), list(3, 21, &[1, 9], Some(9))])
        .await;
    let album = doc! { "_id": id(31), "posts": [id(1), id(9)] };
    world.each(&[put("albums", 3, album)]).await;
    world.settle_at_once().await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            id_title: "100:1",
            tryon_post: null,
            name_cover: "3^-",
            list_post: "15>100",
            parked: 3,
        }]
    );
    let album = "select album_id, post_id from album_posts order by post_id";
    assert_eq!(
        world.rows(album).await,
        rows![{ album_id: 900, post_id: 100 }]
    );
    let letters = "select table_name, reason, column_name from leafcutter.dead_letters \
                   where state = 'open' order by 1, 3";
    assert_eq!(
        world.rows(letters).await,
        rows![
            { table_name: "albums", reason: "orphan", column_name: "post_id" },
            { table_name: "lists", reason: "orphan", column_name: "post_id" },
            { table_name: "tryons", reason: "orphan", column_name: "post_id" },
        ]
    );
    // It does come.
    world.each(&[post(5, 9, doc! {})]).await;
    world.settle_at_once().await;
    let without_numbers = STATE.replace("id || '>' || post_id", "'>' || post_id");
    assert_eq!(
        world.rows(&without_numbers).await,
        rows![{
            id_title: "100:1 101:5",
            tryon_post: ">101",
            name_cover: "3^101",
            list_post: "15>100 15>101",
            parked: 0,
        }]
    );
    let both = rows![{ album_id: 900, post_id: 100 }, { album_id: 900, post_id: 101 }];
    assert_eq!(world.rows(album).await, both);
    assert_eq!(world.rows(letters).await, rows![]);
}

#[tokio::test]
async fn a_deleted_document_is_held_and_found_again() {
    let mut world = World::with(NAILS).await;
    world
        .each(&[post(1, 1, doc! {}), list(2, 21, &[1], None)])
        .await;
    assert_eq!(world.each(&[delete("posts", 3, 1)]).await, [Outcome::Held]);
    assert_eq!(world.settle_at(3).await.let_go, 0);
    // What is told of it is still its row, while that is there.
    assert_eq!(
        world.each(&[list(4, 21, &[1], Some(1))]).await,
        [Outcome::Applied]
    );
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            id_title: "100:1",
            tryon_post: null,
            name_cover: "4^100",
            list_post: "15>100",
            parked: 0,
        }]
    );
    world.each(&[list(5, 21, &[], None)]).await;
    assert_eq!(world.settle_at(5).await.let_go, 1);
    assert_eq!(
        world.rows(STATE).await,
        rows![{ id_title: null, tryon_post: null, name_cover: "5^-", list_post: null, parked: 0 }]
    );
    // Gone for good it is waited for like any other, and comes back under its number.
    assert_eq!(world.each(&[tryon(6, 11, id(1))]).await, [Outcome::Parked]);
    world.each(&[post(7, 1, doc! {})]).await;
    let tryon = "select post_id from tryons";
    assert_eq!(world.rows(tryon).await, rows![{ post_id: 100 }]);
}

#[tokio::test]
async fn what_cannot_be_an_id() {
    let mut world = World::with(NAILS).await;
    for (post, reason) in [
        (Bson::from("no id"), "wrong-type"),
        (Bson::from(7), "wrong-type"),
        (Bson::Null, "missing"),
    ] {
        let refused = world.each(&[tryon(3, 11, post)]).await;
        assert_eq!(refused, [Outcome::DeadLettered]);
        let last = "select reason, column_name from leafcutter.dead_letters \
                    order by \"offset\" desc limit 1";
        assert_eq!(
            world.rows(last).await,
            rows![{ reason: reason, column_name: "post_id" }]
        );
    }
}

/// In whatever order and in whatever batches they come.
#[tokio::test]
async fn in_whatever_order_they_come() {
    let script = [
        post(1, 1, doc! { "legacy_pg_id": 7 }),
        post(1, 2, doc! { "legacy_pg_id": 8 }),
        tryon(2, 11, hex(1)),
        list(3, 21, &[1, 2], Some(2)),
        tryon(4, 11, hex(2)),
    ];
    let mut world = World::with(NAILS).await;
    hurry(&world).await;
    for (turn, order) in orders(script.len()).into_iter().enumerate() {
        let records: Vec<Made> = order.iter().map(|&at| script[at].clone()).collect();
        match turn % 3 {
            0 => drop(world.apply(&records).await.unwrap()),
            1 => drop(world.each(&records).await),
            _ => {
                for pair in records.chunks(2) {
                    world.apply(pair).await.unwrap();
                }
            }
        }
        // An older record beside the parent hides what waits from the batch, not from the settling task.
        world.settle().await;
        let found = "select (select string_agg(post_id::text, ' ') from tryons) as tryons, \
                     (select max(cover_id) from lists) as cover, \
                     (select string_agg(post_id::text, ' ' order by post_id) from list_posts) as listed, \
                     (select count(*) from leafcutter.parked) as parked";
        assert_eq!(
            world.rows(found).await,
            rows![{ tryons: "8", cover: 8, listed: "7 8", parked: 0 }],
            "{order:?}"
        );
        forget(&world).await;
    }
}
