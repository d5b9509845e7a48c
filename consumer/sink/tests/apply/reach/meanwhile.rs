//! A batch that comes upon rows which somebody else changes meanwhile.

use super::{MAPPING, OTHERS, group, list, person};
use crate::world::{Made, World, delete_by};
use leafcutter_harness::{probe, rows};
use leafcutter_sink::session;
use std::time::Duration;

const WAITS: &str = "select count(*) from pg_stat_activity \
                     where datname = current_database() and wait_event_type = 'Lock'";

/// Writes a batch that comes upon rows which somebody else has just changed, and not committed yet.
async fn write_beside(world: &mut World, change: &str, batch: &[Made]) {
    let other = session::connect(&world.config, "another").await.unwrap();
    let watch = session::connect(&world.config, "watch").await.unwrap();
    other
        .batch_execute(&format!("begin; {change}"))
        .await
        .unwrap();
    let committed = async {
        let waits = probe::until(Duration::from_secs(60), "who waits", async || {
            let waits: i64 = watch.query_one(WAITS, &[]).await.unwrap().get(0);
            Ok((waits > 0).then_some(()))
        });
        waits.await.unwrap();
        other.batch_execute("commit").await.unwrap();
    };
    tokio::join!(world.write(batch), committed);
}

/// A row that is changed has another place then.
#[tokio::test]
async fn rows_that_others_change_meanwhile_go_all_the_same() {
    let mut world = World::with(MAPPING).await;
    let first = [group(1, 1), group(1, 2), list(1, 1, 1, 3), list(1, 2, 1, 3)];
    world.write(&first).await;
    let left = "select list_id, n, group_id from items order by 1, 2";
    // One that its document no longer has.
    let change = "update items set group_id = 2 where n = 2";
    write_beside(&mut world, change, &[list(2, 1, 1, 1)]).await;
    let kept = rows![
        { list_id: 1, n: 0, group_id: 1 },
        { list_id: 2, n: 0, group_id: 1 },
        { list_id: 2, n: 1, group_id: 1 },
        { list_id: 2, n: 2, group_id: 2 },
    ];
    assert_eq!(world.rows(left).await, kept);
    // Those of a document that is deleted.
    let gone = [delete_by("lists", 3, 2i64)];
    write_beside(&mut world, "update items set group_id = 2", &gone).await;
    let kept = rows![{ list_id: 1, n: 0, group_id: 2 }];
    assert_eq!(world.rows(left).await, kept);
}

/// The same where rows stay: what others have written stays in them.
#[tokio::test]
async fn rows_that_others_change_meanwhile_are_marked_all_the_same() {
    let mut world = World::with(OTHERS).await;
    world
        .write(&[person(1, 1, &[11]), person(1, 2, &[21])])
        .await;
    let gone = [delete_by("people", 2, "1")];
    write_beside(&mut world, "update people set name = 'q'", &gone).await;
    let state = "select id, name, deleted_at is null as alive, lc_version from people order by 1";
    let kept = rows![
        { id: "1", name: "q", alive: false, lc_version: 2 },
        { id: "2", name: "q", alive: true, lc_version: 1 },
    ];
    assert_eq!(world.rows(state).await, kept);
}
