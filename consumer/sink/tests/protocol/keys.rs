//! Tables whose keys do not follow from `_id`, and two consumers that want the same rows.
//!
//! Documents with one key come through different partitions, so nothing but the table's turn keeps
//! their consumers apart.

use crate::{
    pause::{Pause, STOP},
    races::{DOCUMENTS, owner, rounds, run},
    world::{Consumer, Made, Table, Tries, World, at, delete, parent, put},
};
use bson::doc;
use std::sync::Arc;
use tokio::sync::Barrier;

/// A document of that number with this key, and its version as its note.
fn with(table: Table, version: i64, id: i64, code: i64) -> Made {
    put(table, version, id, doc! { "code": code, "note": version })
}

fn day(version: i64, id: i64, code: i64) -> Made {
    with(Table::Days, version, id, code)
}

/// Both sides against each other, then both settle.
async fn race(world: &World, sides: [(Consumer, Vec<Vec<Made>>); 2]) {
    let start = Arc::new(Barrier::new(2));
    let [(one, ones), (other, others)] = sides;
    let one = run(one, 0, ones, &start);
    let other = run(other, 1, others, &start);
    let (mut one, one_tries) = one.await.unwrap();
    let (mut other, other_tries) = other.await.unwrap();
    println!("{one_tries:?}, {other_tries:?}");
    one.settle(world).await.unwrap();
    other.settle(world).await.unwrap();
}

const DAYS: &str = "select (select count(*) from days), \
    (select count(*) from leafcutter.key_map where owner), (select count(*) from leafcutter.key_map), \
    (select count(*) from leafcutter.retained_records)";

/// Rows whose note is not that of the document which should be there.
const WRONG: &str = "\
    select count(*) from days d join leafcutter.key_map k on int8send(d.code) = k.row_key and k.owner \
    where d.lc_version <> k.version or d.note <> k.version";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_of_two_written_at_once() {
    let world = World::new().await;
    let one = owner(&world, "one", Table::Days, 0).await;
    let other = owner(&world, "other", Table::Days, 1).await;
    // Now the one is newer and now the other.
    let ours = rounds(|code| day(5, code, code));
    let theirs = rounds(|code| day(4 + 2 * (code % 2), DOCUMENTS + code, code));
    race(&world, [(one, ours), (other, theirs)]).await;
    assert_eq!(
        world.text(DAYS).await,
        format!("{DOCUMENTS}|{DOCUMENTS}|{0}|{0}", 2 * DOCUMENTS)
    );
    assert_eq!(world.number(WRONG).await, 0);
    let newer = world.number("select count(*) from days where note = 5 + code % 2");
    assert_eq!(newer.await, DOCUMENTS);
    world.accounts(2 * DOCUMENTS).await.unwrap();
}

/// The winner goes, at the moment at which the other comes and loses to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_winner_deleted_while_another_is_written() {
    let world = World::new().await;
    let mut one = owner(&world, "one", Table::Days, 0).await;
    let other = owner(&world, "other", Table::Days, 1).await;
    let all = at(0, (0..DOCUMENTS).map(|code| day(5, code, code)));
    one.apply(&all).await.unwrap();
    let gone = rounds(|code| delete(Table::Days, 6, code));
    let comes = rounds(|code| day(3, DOCUMENTS + code, code));
    race(&world, [(one, gone), (other, comes)]).await;
    assert_eq!(
        world.text(DAYS).await,
        format!("{DOCUMENTS}|{DOCUMENTS}|{DOCUMENTS}|{DOCUMENTS}")
    );
    assert_eq!(
        world
            .number("select count(*) from days where note = 3")
            .await,
        DOCUMENTS
    );
    world.accounts(3 * DOCUMENTS).await.unwrap();
}

/// The winner gets another key, that of a document which gets the winner's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winners_that_exchange_their_keys() {
    let world = World::new().await;
    let mut one = owner(&world, "one", Table::Days, 0).await;
    let mut other = owner(&world, "other", Table::Days, 1).await;
    let ours = at(0, (0..DOCUMENTS).map(|n| day(5, n, n)));
    let theirs = at(
        1,
        (0..DOCUMENTS).map(|n| day(5, DOCUMENTS + n, DOCUMENTS + n)),
    );
    one.apply(&ours).await.unwrap();
    other.apply(&theirs).await.unwrap();
    let ours = rounds(|n| day(7, n, DOCUMENTS + n));
    let theirs = rounds(|n| day(7, DOCUMENTS + n, n));
    race(&world, [(one, ours), (other, theirs)]).await;
    let both = 2 * DOCUMENTS;
    assert_eq!(
        world.text(DAYS).await,
        format!("{both}|{both}|{both}|{both}")
    );
    assert_eq!(world.number(WRONG).await, 0);
    assert_eq!(
        world
            .number("select count(*) from days where note = 7")
            .await,
        both
    );
    world.accounts(2 * both).await.unwrap();
}

/// Where the first one stays: one gives its key up, the other takes it, or they exchange them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_handed_over_between_consumers() {
    let world = World::new().await;
    let mut one = owner(&world, "one", Table::Tickets, 0).await;
    let mut other = owner(&world, "other", Table::Tickets, 1).await;
    let ticket = |version, id, code| with(Table::Tickets, version, id, code);
    let ours = at(0, (0..DOCUMENTS).map(|n| ticket(1, n, n)));
    let theirs = at(
        1,
        (0..DOCUMENTS).map(|n| ticket(1, DOCUMENTS + n, DOCUMENTS + n)),
    );
    one.apply(&ours).await.unwrap();
    other.apply(&theirs).await.unwrap();
    // Every third gives its own up for good.
    let given = |n: i64| {
        if n % 3 == 0 {
            2 * DOCUMENTS + n
        } else {
            DOCUMENTS + n
        }
    };
    let ours = rounds(|n| ticket(3, n, given(n)));
    let theirs = rounds(|n| ticket(2, DOCUMENTS + n, n));
    race(&world, [(one, ours), (other, theirs)]).await;
    let state = "select (select count(*) from tickets where note = 2 and code < 1000), \
        (select count(*) from tickets where note = 3 and code >= 1000), \
        (select count(*) from tickets), (select count(*) from leafcutter.key_map), \
        (select count(*) from leafcutter.parked)";
    let both = 2 * DOCUMENTS;
    assert_eq!(
        world.text(state).await,
        format!("{DOCUMENTS}|{DOCUMENTS}|{both}|{both}|0")
    );
    world.accounts(2 * both).await.unwrap();
}

/// By force: one consumer has written its row and stops, the other begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_looks_on_while_a_row_is_dealt() {
    let world = World::new().await;
    let mut one = owner(&world, "one", Table::Days, 0).await;
    let mut other = owner(&world, "other", Table::Days, 1).await;
    one.apply(&at(
        0,
        [put(Table::Days, 5, 1, doc! { "code": 1i64, "note": STOP })],
    ))
    .await
    .unwrap();
    let pause = Pause::new(&world).await;
    // The winner's row is deleted, and nobody follows.
    let deleting = pause
        .stopped(&world, async move {
            one.apply(&at(0, [delete(Table::Days, 6, 1)]))
                .await
                .unwrap();
        })
        .await;
    let writing = pause
        .beside(&world, async move {
            let mut tries = Tries::default();
            other.insist(&at(1, [day(3, 2, 1)]), &mut tries).await;
        })
        .await;
    pause.end().await;
    deleting.await.unwrap();
    writing.await.unwrap();
    assert_eq!(world.text("select code, note from days").await, "1|3");
    assert_eq!(world.text(DAYS).await, "1|1|1|1");
}

/// Whoever writes a parent takes the documents that wait for it along, but does not wait for the
/// turn at their table: the settling task finds them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_does_not_wait_for_a_turn() {
    let world = World::new().await;
    let mut one = owner(&world, "one", Table::Days, 0).await;
    let mut parents = owner(&world, "parents", Table::Parents, 0).await;
    let waits = put(
        Table::Days,
        1,
        1,
        doc! { "code": 1i64, "note": 1i64, "parent_id": 9i64 },
    );
    one.apply(&at(0, [waits])).await.unwrap();
    let pause = Pause::new(&world).await;
    let writing = pause
        .stopped(&world, async move {
            let record = put(Table::Days, 2, 2, doc! { "code": 2i64, "note": STOP });
            one.apply(&at(0, [record])).await.unwrap();
        })
        .await;
    parents.apply(&at(0, [parent(3, 9)])).await.unwrap();
    assert_eq!(
        world.number("select count(*) from leafcutter.parked").await,
        1
    );
    pause.end().await;
    writing.await.unwrap();
    parents.settle(&world).await.unwrap();
    assert_eq!(
        world.text("select code, note from days order by 1").await,
        format!("1|1 2|{STOP}")
    );
    world.accounts(3).await.unwrap();
}
