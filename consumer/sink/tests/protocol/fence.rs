//! Positions and ownership (`docs/protocol.md`, Fence): every batch is applied exactly once, whatever is lost
//! on the way, and by the owner only.

use crate::{
    pause::{Pause, STOP},
    proxy::{Cut, Proxy},
    world::{Consumer, Table, Tries, World, at, child, parent, put},
};
use bson::doc;
use leafcutter_sink::{ApplyError, session};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

const POSITION: &str =
    "select epoch, next_offset, applied from leafcutter.offsets where topic like '%parents'";

async fn owned(world: &World, name: &str) -> Consumer {
    let mut consumer = world.consumer(name);
    own(&mut consumer).await;
    consumer
}

async fn own(consumer: &mut Consumer) {
    consumer.take_over(Table::Parents, 0).await;
    consumer.take_over(Table::Children, 0).await;
    consumer.take_over(Table::Children, 1).await;
}

fn fenced(result: Result<impl std::fmt::Debug, ApplyError>) -> Vec<(usize, i32)> {
    match result {
        Err(ApplyError::Fenced(mut lost)) => {
            lost.sort_unstable();
            lost.iter().map(|p| (p.collection.0, p.number)).collect()
        }
        other => panic!("not fenced: {other:?}"),
    }
}

#[tokio::test]
async fn owner_of_an_older_epoch_cannot_write() {
    let world = World::new().await;
    let mut zombie = owned(&world, "zombie").await;
    zombie.apply(&at(0, [parent(1, 1)])).await.unwrap();
    let mut heir = world.consumer("heir");
    heir.take_over(Table::Parents, 0).await;
    let late = zombie.apply(&at(0, [parent(2, 1), parent(2, 2)])).await;
    assert_eq!(fenced(late), [(0, 0)]);
    assert_eq!(world.text("select id, note from parents").await, "1|1");
    heir.apply(&at(0, [parent(3, 1)])).await.unwrap();
    // Also where the positions agree again.
    zombie.trust(Table::Parents, 0, 1, 2);
    assert_eq!(fenced(zombie.apply(&at(0, [parent(4, 1)])).await), [(0, 0)]);
    assert_eq!(world.text(POSITION).await, "2|2|2");
}

#[tokio::test]
async fn heir_begins_where_the_last_batch_of_the_zombie_ends() {
    let world = World::new().await;
    let mut zombie = owned(&world, "zombie").await;
    let mut heir = world.consumer("heir");
    let pause = Pause::new(&world).await;
    let last = put(Table::Parents, 1, 1, doc! { "note": STOP });
    let writing = pause
        .stopped(&world, async move { zombie.apply(&at(0, [last])).await })
        .await;
    let taking = pause
        .beside(&world, async move {
            heir.take_over_now(Table::Parents, 0).await
        })
        .await;
    pause.end().await;
    writing.await.unwrap().unwrap();
    let position = taking.await.unwrap().unwrap();
    assert_eq!((position.epoch, position.next), (2, 1));
}

/// No time-out of PostgreSQL ends a COPY whose client sends nothing more.
#[tokio::test]
async fn heir_takes_over_from_an_owner_that_froze_in_the_middle_of_a_copy() {
    let world = World::new().await;
    let zombie = owned(&world, "zombie").await;
    let frozen = session::connect(&world.config, "leafcutter writer zombie").await;
    let frozen = frozen.unwrap();
    let fence = "begin; update leafcutter.offsets set next_offset = next_offset + 1";
    frozen.batch_execute(fence).await.unwrap();
    let copy = frozen.copy_in::<_, bytes::Bytes>("copy parents (id) from stdin");
    let copy = copy.await.unwrap();

    let mut heir = world.consumer("heir");
    let begun = Instant::now();
    let taken = loop {
        match heir.take_over_now(Table::Parents, 0).await {
            Ok(taken) => break taken,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
    };
    let taken = (taken.epoch, taken.next);
    assert_eq!(taken, (2, 0), "what the frozen one had written is gone");
    drop((copy, frozen, zombie));
}

#[tokio::test]
async fn batch_that_lost_one_of_its_partitions_does_nothing() {
    let world = World::new().await;
    let mut one = owned(&world, "one").await;
    let mut other = world.consumer("other");
    other.take_over(Table::Children, 0).await;
    let lost = (0, child(2, 10, 1));
    let kept = [(0, parent(1, 1)), (1, child(2, 11, 1))];
    let all = [kept[0].clone(), lost.clone(), kept[1].clone()];
    assert_eq!(fenced(one.apply(&all).await), [(1, 0)]);
    let nothing =
        "select (select count(*) from parents), (select sum(next_offset) from leafcutter.offsets)";
    assert_eq!(world.text(nothing).await, "0|0");
    one.apply(&kept).await.unwrap();
    other.apply(&[lost]).await.unwrap();
    assert_eq!(
        world.text("select id from children order by 1").await,
        "10 11"
    );
    world.accounts(3).await.unwrap();
}

#[tokio::test]
async fn batch_begins_where_the_last_one_ended() {
    let world = World::new().await;
    let mut one = owned(&world, "one").await;
    let three = [parent(1, 1), parent(1, 2), parent(1, 3)];
    one.apply(&at(0, three)).await.unwrap();
    // A gap, a step back, a piece of what was applied: none of them is a lost answer.
    for (position, records) in [(4, 1), (0, 1), (0, 2), (0, 4), (2, 2)] {
        one.trust(Table::Parents, 0, 1, position);
        let batch = (0..records).map(|id| parent(9, id));
        assert_eq!(
            fenced(one.apply(&at(0, batch)).await),
            [(0, 0)],
            "{position}"
        );
    }
    assert_eq!(world.text(POSITION).await, "1|3|3");
}

#[tokio::test]
async fn commit_without_an_answer_is_recognised() {
    let world = World::new().await;
    let proxy = Proxy::new(&world.config);
    let mut one = world.consumer_through(proxy.config(&world.config), "one");
    own(&mut one).await;
    let batch = |version| {
        [
            (0, parent(version, 1)),
            (0, child(version, 10, 1)),
            (1, child(version, 11, 1)),
        ]
    };
    one.apply(&batch(1)).await.unwrap();
    for (version, cut) in [(2, Cut::BeforeCommit), (3, Cut::AfterCommit)] {
        let mut prepared = one.prepare(&batch(version));
        proxy.cut(cut);
        let error = one.attempt(&mut prepared).await.unwrap_err();
        assert!(matches!(error, ApplyError::Transient { .. }), "{error:?}");
        let applied = one.attempt(&mut prepared).await.unwrap();
        assert_eq!(applied.committed_before, cut == Cut::AfterCommit);
        assert_eq!(
            world.number("select sum(note) from children").await,
            2 * version
        );
        world.accounts(3 * version).await.unwrap();
    }
}

/// Of three partitions one is taken over before the second attempt; the others prove the commit.
#[tokio::test]
async fn commit_without_an_answer_is_recognised_by_what_is_left() {
    let world = World::new().await;
    let proxy = Proxy::new(&world.config);
    let mut one = world.consumer_through(proxy.config(&world.config), "one");
    own(&mut one).await;
    let batch = [
        (0, parent(1, 1)),
        (0, child(1, 10, 1)),
        (1, child(1, 11, 1)),
    ];
    let mut prepared = one.prepare(&batch);
    proxy.cut(Cut::AfterCommit);
    one.attempt(&mut prepared).await.unwrap_err();
    let mut other = world.consumer("other");
    other.take_over(Table::Children, 0).await;
    assert!(one.attempt(&mut prepared).await.unwrap().committed_before);
    other.apply(&at(0, [child(2, 10, 1)])).await.unwrap();
    world.accounts(4).await.unwrap();
    // Where all are taken over, nothing is left to do either.
    let mut prepared = one.prepare(&[(0, parent(3, 1)), (1, child(3, 11, 1))]);
    proxy.cut(Cut::AfterCommit);
    one.attempt(&mut prepared).await.unwrap_err();
    own(&mut other).await;
    assert_eq!(fenced(one.attempt(&mut prepared).await), [(0, 0), (1, 1)]);
    world.accounts(6).await.unwrap();
}

/// Sessions end all the time, some of them between a commit and its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_batch_once_while_sessions_end() {
    const BATCHES: i64 = 200;
    let world = World::new().await;
    let proxy = Proxy::new(&world.config);
    let mut one = world.consumer_through(proxy.config(&world.config), "victim");
    own(&mut one).await;
    let killer = session::connect(&world.config, "killer").await.unwrap();
    let turn = Arc::new(Notify::new());
    let turns = Arc::clone(&turn);
    let killing = tokio::spawn(async move {
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity \
            where application_name = 'victim' and datname = current_database()";
        for wait in (0..15).cycle() {
            turns.notified().await;
            tokio::time::sleep(Duration::from_millis(wait)).await;
            killer.execute(kill, &[]).await.unwrap();
        }
    });
    let mut tries = Tries::default();
    for version in 1..=BATCHES {
        match version % 10 {
            3 => proxy.cut(Cut::BeforeCommit),
            7 => proxy.cut(Cut::AfterCommit),
            _ => turn.notify_one(),
        }
        let id = version % 7;
        let batch = [
            (0, parent(version, id)),
            (0, child(version, id, id)),
            (1, child(version, 10 + id, id)),
        ];
        one.insist(&batch, &mut tries).await;
    }
    killing.abort();
    println!("{tries:?}");
    assert!(tries.known_before > 0 && tries.lost > tries.known_before);
    world.accounts(3 * BATCHES).await.unwrap();
    let newest = world.number("select max(note) from children").await;
    assert_eq!(newest, BATCHES);
}
