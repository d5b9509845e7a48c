//! Two transactions at once, statement by statement: what each must lock and look at so that the
//! other's uncommitted work is neither lost nor walked over (`docs/protocol.md`, Parking).

mod child_rows;

use crate::{
    pause::{Pause, STOP},
    world::{Consumer, Made, Table, World, at, child, delete, parent, put},
};
use bson::doc;
use leafcutter_sink::{ApplyError, change::Outcome};
use std::time::{Duration, Instant};

/// The owner of the parents, and the owner of the children.
async fn family() -> (World, Consumer, Consumer) {
    let world = World::new().await;
    let (mut one, mut other) = (world.consumer("one"), world.consumer("other"));
    one.take_over(Table::Parents, 0).await;
    one.take_over(Table::Nodes, 0).await;
    other.take_over(Table::Children, 0).await;
    (world, one, other)
}

/// Applies one record; gives its outcome.
async fn apply(consumer: &mut Consumer, record: Made) -> Outcome {
    let applied = consumer.apply(&at(0, [record])).await.unwrap();
    let counts = applied.counts.values().next().unwrap();
    let outcomes = Outcome::ALL.into_iter();
    outcomes.max_by_key(|o| counts.of(*o)).unwrap()
}

/// The same as a task, which gives the consumer back.
async fn applying(mut consumer: Consumer, record: Made) -> (Outcome, Consumer) {
    (apply(&mut consumer, record).await, consumer)
}

/// A parent at whose writing a transaction stops.
fn stopping_parent(version: i64, id: i64) -> Made {
    put(Table::Parents, version, id, doc! { "note": STOP })
}

/// A child at whose writing a transaction stops.
fn stopping_child(version: i64, id: i64, parent: i64) -> Made {
    let fields = doc! { "note": STOP, "parent_id": parent };
    put(Table::Children, version, id, fields)
}

fn no_parent(version: i64, id: i64) -> Made {
    delete(Table::Parents, version, id)
}

fn no_child(version: i64, id: i64) -> Made {
    delete(Table::Children, version, id)
}

/// Makes a consumer look before it writes, as it does for a while after something was in the way.
async fn make_careful(consumer: &mut Consumer) {
    let orphan = put(Table::Nodes, 1, 1, doc! { "note": 1, "parent_id": 2 });
    assert_eq!(apply(consumer, orphan).await, Outcome::Parked);
}

/// Far more than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

const CHILDREN: &str = "select id, lc_version from children order by 1";
const PARENTS: &str = "select id, lc_version from parents order by 1";
const PARKED: &str =
    "select version from leafcutter.parked where table_name = 'children' order by 1";

/// The same as [`applying`], of the second partition, as often as it takes.
async fn applying_beside(mut consumer: Consumer, record: Made) {
    let (records, begun) = (at(1, [record]), Instant::now());
    while let Err(error) = consumer.apply(&records).await {
        let again = matches!(error, ApplyError::Again(None)) && begun.elapsed() < DEADLINE;
        assert!(again, "{error:?}");
    }
}

/// Parents of which one has this image; then two who write it, as where a dead letter is tried again: the older
/// record is compared with what is stored while the newer one, at which its transaction stops, is not committed.
async fn written_by_two(stored: Option<Made>, newer: Made, older: Made) -> World {
    let world = World::new().await;
    let (mut one, mut other) = (world.consumer("one"), world.consumer("other"));
    one.take_over(Table::Parents, 0).await;
    other.take_over(Table::Parents, 1).await;
    if let Some(stored) = stored {
        apply(&mut one, stored).await;
    }
    let pause = Pause::new(&world).await;
    let newer = pause.stopped(&world, applying(one, newer)).await;
    let older = pause.beside(&world, applying_beside(other, older)).await;
    pause.end().await;
    newer.await.unwrap();
    older.await.unwrap();
    world
}

/// G1: an older state that is written while a newer one is.
#[tokio::test]
async fn older_state_written_while_a_newer_one_is() {
    let world = written_by_two(None, stopping_parent(5, 1), parent(3, 1)).await;
    assert_eq!(world.text(PARENTS).await, "1|5");
}

/// G1: the same of deletes.
#[tokio::test]
async fn older_delete_written_while_a_newer_one_is() {
    let stored = Some(stopping_parent(1, 1));
    let world = written_by_two(stored, no_parent(5, 1), no_parent(3, 1)).await;
    assert_eq!(world.text(PARENTS).await, "");
    let deleted = "select version from leafcutter.tombstones";
    assert_eq!(world.text(deleted).await, "5");
}

/// S1: the parent is not committed when the child looks for it, and its batch has looked for
/// children before.
#[tokio::test]
async fn child_and_parent_that_did_not_see_each_other() {
    let (world, one, mut other) = family().await;
    let pause = Pause::new(&world).await;
    let placing = pause
        .stopped(&world, applying(one, stopping_parent(2, 1)))
        .await;
    assert_eq!(apply(&mut other, child(3, 10, 1)).await, Outcome::Parked);
    pause.end().await;
    let (placed, _) = placing.await.unwrap();
    assert_eq!(placed, Outcome::Applied);
    assert_eq!(world.text(PARKED).await, "3", "nobody saw anybody");
    other.settle(&world).await.unwrap();
    assert_eq!(world.text(CHILDREN).await, "10|3");
    assert_eq!(world.text(PARKED).await, "");
}

/// S1h: an old orphan is being tried at the very moment at which its parent's batch would release it.
#[tokio::test]
async fn orphan_that_was_tried_while_its_parent_came() {
    let (world, mut one, mut other) = family().await;
    apply(&mut other, child(2, 10, 1)).await;
    apply(&mut other, stopping_child(2, 11, 2)).await;
    world
        .execute(
            "insert into parents (id, lc_version) values (2, 1); \
             update leafcutter.parked set tried_at = '-infinity', parked_at = now() - interval '1 h', \
             state = 'orphan', wait_key = case when row_key = int8send(11) then '\\x00' else wait_key end",
        )
        .await;
    let mut settler = world.consumer("settler");
    let pause = Pause::new(&world).await;
    let settling = pause
        .stopped(
            &world,
            async move { (settler.settle_parked().await, settler) },
        )
        .await;
    assert_eq!(apply(&mut one, parent(3, 1)).await, Outcome::Applied);
    pause.end().await;
    let (settled, mut settler) = settling.await.unwrap();
    // Either the look behind it found the child, or the next one does.
    let mut found = settled.unwrap().placed;
    let begun = Instant::now();
    while found < 2 {
        assert!(begun.elapsed() < DEADLINE, "{found} placed");
        found += settler.settle_parked().await.unwrap().placed;
    }
    assert_eq!(world.text(CHILDREN).await, "10|2 11|2");
    assert_eq!(world.text(PARKED).await, "");
}

/// S1: the last child's delete is not committed when the parent's looks for children.
#[tokio::test]
async fn last_child_and_parent_deleted_at_once() {
    let (world, mut one, mut other) = family().await;
    apply(&mut one, parent(1, 1)).await;
    apply(&mut other, stopping_child(2, 10, 1)).await;
    let pause = Pause::new(&world).await;
    let leaving = pause
        .stopped(&world, applying(other, no_child(4, 10)))
        .await;
    assert_eq!(apply(&mut one, no_parent(3, 1)).await, Outcome::Held);
    pause.end().await;
    assert_eq!(leaving.await.unwrap().0, Outcome::Deleted);
    assert_eq!(world.text(PARENTS).await, "1|1");
    one.settle(&world).await.unwrap();
    assert_eq!(world.text(PARENTS).await, "");
}

/// S2: a parent's batch is placing a parked child while the child's delete arrives.
#[tokio::test]
async fn child_deleted_while_its_parent_releases_it() {
    let (world, one, mut other) = family().await;
    apply(&mut other, stopping_child(2, 10, 1)).await;
    let pause = Pause::new(&world).await;
    let releasing = pause.stopped(&world, applying(one, parent(3, 1))).await;
    let deleting = pause.beside(&world, applying(other, no_child(4, 10))).await;
    pause.end().await;
    assert_eq!(releasing.await.unwrap().0, Outcome::Applied);
    let (deleted, mut other) = deleting.await.unwrap();
    assert_eq!(deleted, Outcome::Deleted);
    other.settle(&world).await.unwrap();
    assert_eq!(world.text(CHILDREN).await, "");
    assert_eq!(world.text(PARKED).await, "");
    world.accounts(3).await.unwrap();
}

/// S2: the same with a newer version of the child.
#[tokio::test]
async fn child_replaced_while_its_parent_releases_it() {
    let (world, one, mut other) = family().await;
    apply(&mut other, stopping_child(2, 10, 1)).await;
    let pause = Pause::new(&world).await;
    let releasing = pause.stopped(&world, applying(one, parent(3, 1))).await;
    let replacing = pause.beside(&world, applying(other, child(4, 10, 1))).await;
    pause.end().await;
    releasing.await.unwrap();
    let (replaced, mut other) = replacing.await.unwrap();
    assert_eq!(replaced, Outcome::Applied);
    other.settle(&world).await.unwrap();
    assert_eq!(world.text(CHILDREN).await, "10|4");
    assert_eq!(world.text(PARKED).await, "");
    world.accounts(3).await.unwrap();
}

/// S2 the other way round: a newer version is being parked while the parent's batch wants to
/// release the older one.
#[tokio::test]
async fn child_parked_anew_while_its_parent_comes() {
    let (world, mut one, mut other) = family().await;
    apply(&mut one, parent(1, 2)).await;
    apply(&mut other, child(2, 10, 1)).await;
    let pause = Pause::new(&world).await;
    let parking = pause
        .stopped(&world, async move {
            let records = at(0, [child(4, 10, 1), stopping_child(5, 11, 2)]);
            other.apply(&records).await.unwrap();
            other
        })
        .await;
    let releasing = pause.beside(&world, applying(one, parent(3, 1))).await;
    pause.end().await;
    let mut other = parking.await.unwrap();
    releasing.await.unwrap();
    other.settle(&world).await.unwrap();
    assert_eq!(world.text(CHILDREN).await, "10|4 11|5");
    assert_eq!(world.text(PARKED).await, "");
    world.accounts(5).await.unwrap();
}

/// S3: a parent's delete is not committed when its new child looks for it.
#[tokio::test]
async fn child_whose_parent_is_being_deleted() {
    let (world, mut one, other) = family().await;
    apply(&mut one, stopping_parent(1, 1)).await;
    let pause = Pause::new(&world).await;
    let deleting = pause.stopped(&world, applying(one, no_parent(3, 1))).await;
    let placing = pause.beside(&world, applying(other, child(2, 10, 1))).await;
    pause.end().await;
    assert_eq!(deleting.await.unwrap().0, Outcome::Deleted);
    let (placed, mut other) = placing.await.unwrap();
    assert_eq!(placed, Outcome::Parked);
    other.settle(&world).await.unwrap();
    assert_eq!(world.text(PARENTS).await, "");
    assert_eq!(world.text(PARKED).await, "2");
}

/// S4: a child is being written when its parent's delete looks for children. The delete cannot have
/// the row's lock, which tells as much as a child would; it needs no second attempt.
#[tokio::test]
async fn parent_deleted_while_a_child_comes() {
    let (world, mut one, other) = family().await;
    apply(&mut one, parent(1, 1)).await;
    make_careful(&mut one).await;
    let pause = Pause::new(&world).await;
    let placing = pause
        .stopped(&world, applying(other, stopping_child(2, 10, 1)))
        .await;
    let deleting = pause.beside(&world, applying(one, no_parent(3, 1))).await;
    pause.end().await;
    assert_eq!(placing.await.unwrap().0, Outcome::Applied);
    assert_eq!(deleting.await.unwrap().0, Outcome::Held);
    assert_eq!(world.text(CHILDREN).await, "10|2");
}

/// A held parent and its owner, the owner of the children, none of which are left.
async fn held() -> (World, Consumer, Consumer) {
    let (world, mut one, mut other) = family().await;
    apply(&mut one, parent(1, 1)).await;
    apply(&mut other, child(2, 10, 1)).await;
    assert_eq!(apply(&mut one, no_parent(3, 1)).await, Outcome::Held);
    apply(&mut other, no_child(4, 10)).await;
    (world, one, other)
}

/// S4: a held row comes back while the settling task wants to delete it.
#[tokio::test]
async fn held_parent_comes_back_while_it_is_settled() {
    let (world, one, other) = held().await;
    let mut settler = world.consumer("settler");
    let pause = Pause::new(&world).await;
    let back = pause
        .stopped(&world, applying(one, stopping_parent(5, 1)))
        .await;
    let settling = pause
        .beside(&world, async move { settler.settle_held().await })
        .await;
    pause.end().await;
    assert_eq!(back.await.unwrap().0, Outcome::Applied);
    assert_eq!(settling.await.unwrap().unwrap(), 0);
    assert_eq!(world.text(PARENTS).await, "1|5");
    drop(other);
}

/// S4: a held row has come back between the look at what is held and the lock.
#[tokio::test]
async fn held_parent_came_back_before_it_was_locked() {
    let (world, one, other) = held().await;
    let mut settler = world.consumer("settler");
    // What the parent's batch would do, but with a lock behind which the settling task stops.
    world
        .execute("begin; lock table parents in access exclusive mode")
        .await;
    let settling = tokio::spawn(async move { settler.settle_held().await });
    let stopped =
        "select count(*) from pg_locks where relation = 'parents'::regclass and not granted";
    world.until(async || world.number(stopped).await == 1).await;
    world
        .execute(
            "update parents set lc_version = 5; delete from leafcutter.held; \
             delete from leafcutter.tombstones; commit",
        )
        .await;
    assert_eq!(settling.await.unwrap().unwrap(), 0);
    assert_eq!(world.text(PARENTS).await, "1|5");
    drop((one, other));
}

/// S4: a child comes to a held row while the settling task wants to delete it.
#[tokio::test]
async fn child_comes_to_a_held_parent_while_it_is_settled() {
    let (world, one, other) = held().await;
    let mut settler = world.consumer("settler");
    let pause = Pause::new(&world).await;
    let placing = pause
        .stopped(&world, applying(other, stopping_child(5, 11, 1)))
        .await;
    let settling = pause
        .beside(&world, async move { settler.settle_held().await })
        .await;
    pause.end().await;
    assert_eq!(placing.await.unwrap().0, Outcome::Applied);
    assert_eq!(settling.await.unwrap().unwrap(), 0);
    assert_eq!(world.text(CHILDREN).await, "11|5");
    drop(one);
}

/// A master that is there with its servant, and the owners of both.
async fn household() -> (World, Consumer, Consumer) {
    let world = World::new().await;
    let (mut one, mut other) = (world.consumer("one"), world.consumer("other"));
    one.take_over(Table::Masters, 0).await;
    other.take_over(Table::Servants, 0).await;
    apply(&mut one, put(Table::Masters, 1, 1, doc! { "note": 1 })).await;
    apply(&mut one, put(Table::Masters, 1, 2, doc! { "note": 1 })).await;
    (world, one, other)
}

fn servant(version: i64, note: i64, master: i64) -> Made {
    let fields = doc! { "note": note, "parent_id": master };
    put(Table::Servants, version, 10, fields)
}

const SERVANTS: &str = "select id, lc_version, parent_id from servants";
const LOST: &str =
    "select table_name, column_name, parent_table, on_delete from leafcutter.cascaded_rows";

/// Somebody writes a row that would go with its parent: the parent is held until that is done.
#[tokio::test]
async fn parent_deleted_while_what_goes_with_it_is_written() {
    let (world, mut one, mut other) = household().await;
    apply(&mut other, servant(2, 2, 1)).await;
    let pause = Pause::new(&world).await;
    let writing = pause
        .stopped(&world, applying(other, servant(4, STOP, 1)))
        .await;
    let gone = delete(Table::Masters, 3, 1);
    assert_eq!(apply(&mut one, gone).await, Outcome::Held);
    // Nor does who settles wait for it.
    let settling = tokio::time::timeout(Duration::from_secs(5), one.settle_held());
    assert_eq!(settling.await.unwrap().unwrap(), 0);
    pause.end().await;
    assert_eq!(writing.await.unwrap().0, Outcome::Applied);
    assert_eq!(world.text(LOST).await, "");
    one.settle(&world).await.unwrap();
    assert_eq!(world.text(SERVANTS).await, "");
    assert_eq!(world.text("select id from masters").await, "2");
    assert_eq!(world.text(LOST).await, "servants|parent_id|masters|cascade");
}

/// A row goes with its parent while a newer record of it is written.
#[tokio::test]
async fn child_replaced_while_it_goes_with_its_parent() {
    for (master, outcome, rows) in [(1, Outcome::Parked, ""), (2, Outcome::Applied, "10|4|2")] {
        let (world, mut one, mut other) = household().await;
        apply(&mut other, servant(2, STOP, 1)).await;
        let gone = delete(Table::Masters, 3, 1);
        assert_eq!(apply(&mut one, gone).await, Outcome::Held);
        let pause = Pause::new(&world).await;
        let going = pause
            .stopped(&world, async move { one.settle_held().await })
            .await;
        let replacing = pause
            .beside(&world, applying(other, servant(4, 4, master)))
            .await;
        pause.end().await;
        assert_eq!(going.await.unwrap().unwrap(), 1);
        let (replaced, mut other) = replacing.await.unwrap();
        assert_eq!(replaced, outcome);
        other.settle(&world).await.unwrap();
        assert_eq!(world.text(SERVANTS).await, rows);
    }
}

/// A row goes with its parent while an older record of it arrives, which points to another parent
/// that is there: it is older than what was there, whoever looks when.
#[tokio::test]
async fn older_record_while_the_row_goes_with_its_parent() {
    let (world, mut one, mut other) = household().await;
    apply(&mut other, servant(5, STOP, 1)).await;
    let gone = delete(Table::Masters, 6, 1);
    assert_eq!(apply(&mut one, gone).await, Outcome::Held);
    let pause = Pause::new(&world).await;
    let going = pause
        .stopped(&world, async move { one.settle_held().await })
        .await;
    let late = pause
        .beside(&world, applying(other, servant(2, 2, 2)))
        .await;
    pause.end().await;
    assert_eq!(going.await.unwrap().unwrap(), 1);
    let (late, mut other) = late.await.unwrap();
    assert_eq!(late, Outcome::Stale);
    // And after it.
    assert_eq!(apply(&mut other, servant(3, 3, 2)).await, Outcome::Stale);
    assert_eq!(world.text(SERVANTS).await, "");
    // The very record that was lost brings the row back, if its parent is there.
    assert_eq!(apply(&mut other, servant(5, 5, 2)).await, Outcome::Applied);
    assert_eq!(world.text(SERVANTS).await, "10|5|2");
    assert_eq!(world.text(LOST).await, "");
}

/// Two settling tasks: what one works on, the other leaves out, and a delete waits for it.
#[tokio::test]
async fn settled_once_and_deleted_afterwards() {
    let (world, mut one, mut other) = family().await;
    apply(&mut other, stopping_child(2, 10, 1)).await;
    // As if the parent's batch had not seen the child.
    world
        .execute("update leafcutter.parked set wait_key = '\\x00', tried_at = '-infinity'")
        .await;
    apply(&mut one, parent(1, 1)).await;
    let (mut first, mut second) = (world.consumer("first"), world.consumer("second"));
    let pause = Pause::new(&world).await;
    let settling = pause
        .stopped(&world, async move { first.settle_parked().await })
        .await;
    assert_eq!(second.settle_parked().await.unwrap().placed, 0);
    let deleting = pause.beside(&world, applying(other, no_child(4, 10))).await;
    pause.end().await;
    assert_eq!(settling.await.unwrap().unwrap().placed, 1);
    assert_eq!(deleting.await.unwrap().0, Outcome::Deleted);
    assert_eq!(world.text(CHILDREN).await, "");
    assert_eq!(world.text(PARKED).await, "");
    world.accounts(3).await.unwrap();
}
