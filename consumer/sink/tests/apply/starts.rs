//! Consumers start while others write.

use crate::world::World;
use leafcutter_sink::{
    session::{self, Session},
    target,
};
use std::time::Duration;

const TABLES: &str = "
version: 1
database: nails
collections:
  posts:
    table: posts
    key: id
    unique: [[title, shape]]
    indexes: [[shape]]
    columns:
      id: { path: legacy_pg_id, type: bigint, generated: true }
      title: text
      shape: text
    children:
      - table: posts_colors
        from: colors
        key: [post_id, n]
        columns: { post_id: { parent: id }, n: { position: true, type: integer } }
  likes:
    table: likes
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      number: { generated: true, type: bigint }
      post: { type: bigint, references: { table: posts } }
";

/// Where nothing is missing a start waits for nobody, and nobody for it. Where something is, it is made
/// as soon as the others are done.
#[tokio::test]
async fn a_start_waits_for_no_writer() {
    let world = World::with(TABLES).await;
    let writer = session::connect(&world.config, "test").await.unwrap();
    let writes = "begin; lock table posts, posts_colors, likes in row exclusive mode";
    writer.batch_execute(writes).await.unwrap();
    let mut session = Session::open(&world.config, "test").await.unwrap();
    let start = target::migrate(&mut session, &world.model, crate::database::START);
    let started = tokio::time::timeout(Duration::from_secs(10), start).await;
    started.expect("it waits for the writer").unwrap();
    writer.batch_execute("rollback").await.unwrap();

    let lacks = "alter table likes drop column number; alter table posts drop column shape; \
                 drop table posts_colors";
    world.execute_all(lacks).await;
    target::migrate(&mut session, &world.model, crate::database::START)
        .await
        .unwrap();
    let there = "select table_name || '.' || column_name as column from (\
                 select table_name, column_name from information_schema.columns \
                 where (table_name, column_name) in (('likes', 'number'), ('posts', 'shape'), \
                 ('posts_colors', 'n')) order by 1, 2) c";
    let columns = world.rows(there).await.values();
    assert_eq!(columns, ["likes.number", "posts.shape", "posts_colors.n"]);
}

/// It needs locks that a writer has, and the writer needs one of its own: one of them has to begin
/// anew, and both come to their end.
#[tokio::test]
async fn a_start_that_gets_in_a_writers_way_begins_anew() {
    let world = World::with(TABLES).await;
    world
        .execute_all("alter table likes drop column number; alter table posts drop column shape")
        .await;
    let mut session = Session::open(&world.config, "test").await.unwrap();
    let writer = session::connect(&world.config, "test").await.unwrap();
    // Who has waited for so long looks for a deadlock, and gives way: that is the start.
    writer
        .batch_execute(
            "set deadlock_timeout = '30s'; begin; lock table likes in row exclusive mode",
        )
        .await
        .unwrap();
    let model = std::sync::Arc::clone(&world.model);
    let start = tokio::spawn(async move {
        let started = target::migrate(&mut session, &model, crate::database::START).await;
        started.map_err(|error| error.to_string())
    });
    let waits = "pg_locks where not granted and relation = 'likes'::regclass";
    while world.count(waits).await != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The start has altered `posts` already.
    writer
        .batch_execute("lock table posts in row exclusive mode; commit")
        .await
        .unwrap();
    start.await.unwrap().unwrap();
}
