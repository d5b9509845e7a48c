//! Nothing is written under a mapping that is not in force any more, whichever comes first
//! (`consumer/sink/src/state/mappings.rs`). The consumers here are of generation 0.

use crate::world::{Consumer, GROUP, Table, World, at, child, delete, parent};
use leafcutter_sink::{ApplyError, ids::Generation};

/// What `leafcutter plan --apply` does.
const LOCK: &str = "begin; lock table leafcutter.mappings in exclusive mode";
const WAITING: &str = "select count(*) from pg_locks where not granted \
    and relation = 'leafcutter.mappings'::regclass";
const POSITIONS: &str = "select coalesce(sum(next_offset), 0) from leafcutter.offsets";

fn activate() -> String {
    format!(
        "insert into leafcutter.mappings (consumer_group, generation, hash, body, program) \
         values ('{GROUP}', 1, 'h', 'b', 'test')"
    )
}

#[track_caller]
fn refused(result: Result<impl std::fmt::Debug, ApplyError>) {
    match result {
        Err(ApplyError::Mapping { ours, in_force }) => {
            assert_eq!((ours, in_force), (Generation::NONE, Generation(1)));
        }
        other => panic!("not refused: {other:?}"),
    }
}

async fn owned(world: &World) -> Consumer {
    let mut consumer = world.consumer("old");
    consumer.take_over(Table::Parents, 0).await;
    consumer.take_over(Table::Children, 0).await;
    consumer
}

/// The batch begins while the mapping is put in force: it waits, and then it is too late.
#[tokio::test]
async fn a_batch_that_begins_meanwhile_writes_nothing() {
    let world = World::new().await;
    let mut old = owned(&world).await;
    old.apply(&at(0, [parent(1, 1)])).await.unwrap();
    world.execute(LOCK).await;
    world.execute(&activate()).await;
    let watch = world.beside().await;
    let late = at(0, [parent(2, 1), parent(2, 2)]);
    let (applied, ()) = tokio::join!(old.apply(&late), async {
        world.until(async || watch.number(WAITING).await == 1).await;
        world.execute("commit").await;
    });
    refused(applied);
    assert_eq!(world.text("select id, note from parents").await, "1|1");
    assert_eq!(world.number(POSITIONS).await, 1);
}

/// The batch has begun: the mapping waits for it, and it is written as a whole.
#[tokio::test]
async fn a_batch_that_has_begun_is_waited_for() {
    let world = World::new().await;
    let mut old = owned(&world).await;
    old.apply(&at(0, [parent(1, 1)])).await.unwrap();
    let (apply, in_the_way) = (world.beside().await, world.beside().await);
    in_the_way
        .execute("begin; update parents set note = note where id = 1")
        .await;
    let batch = at(0, [parent(2, 1), parent(2, 2)]);
    let blocked = "select count(*) from pg_locks where not granted and locktype = 'transactionid'";
    let put_in_force = async {
        world.until(async || world.number(blocked).await == 1).await;
        let waits = async {
            world.until(async || world.number(WAITING).await == 1).await;
            assert_eq!(world.number(POSITIONS).await, 1, "not committed yet");
            in_the_way.execute("commit").await;
        };
        let ((), ()) = tokio::join!(apply.execute(LOCK), waits);
        // Committed before the lock was there.
        assert_eq!(apply.number(POSITIONS).await, 3);
        apply.execute(&activate()).await;
        apply.execute("commit").await;
    };
    let (applied, ()) = tokio::join!(old.apply(&batch), put_in_force);
    applied.unwrap();
    assert_eq!(
        world.text("select id, note from parents order by 1").await,
        "1|2 2|2"
    );
    refused(old.apply(&at(0, [parent(3, 1)])).await);
    assert_eq!(world.number(POSITIONS).await, 3);
}

/// All that writes rows beside the batches.
#[tokio::test]
async fn what_waits_is_left_alone_and_nothing_is_taken_over() {
    let world = World::new().await;
    let mut old = owned(&world).await;
    old.apply(&at(0, [child(1, 1, 7), parent(1, 2), child(1, 2, 2)]))
        .await
        .unwrap();
    old.apply(&at(0, [delete(Table::Parents, 2, 2)]))
        .await
        .unwrap();
    world
        .execute("insert into parents (id, note, lc_version) values (7, 1, 1)")
        .await;
    world.execute("delete from children where id = 2").await;
    // Its turn has come.
    world
        .execute("update leafcutter.parked set tried_at = '-infinity'")
        .await;
    let before = world.text("select * from leafcutter.parked").await;
    world.execute(&activate()).await;
    refused(old.settle_parked().await);
    refused(old.settle_held().await);
    refused(old.take_over_now(Table::Parents, 1).await);
    assert_eq!(world.text("select * from leafcutter.parked").await, before);
    assert_eq!(world.number("select count(*) from children").await, 0);
    assert_eq!(
        world.number("select count(*) from leafcutter.held").await,
        1
    );
    let taken =
        "select count(*) from leafcutter.offsets where topic like '%parents' and partition = 1";
    assert_eq!(world.number(taken).await, 0);
    // The same, where it is in force.
    world.execute("delete from leafcutter.mappings").await;
    assert_eq!(old.settle_parked().await.unwrap().placed, 1);
    assert_eq!(old.settle_held().await.unwrap(), 1);
}
