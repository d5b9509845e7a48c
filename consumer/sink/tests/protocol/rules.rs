//! Rules whose breach settles itself later, or never shows in what is stored: each with a case of
//! its own.

use crate::world::{Consumer, Made, Table, World, at, child, delete, made, parent, put};
use bson::doc;
use leafcutter_schemas::operation::Operation;
use leafcutter_sink::{batch::Applied, change::Outcome};

async fn family() -> (World, Consumer) {
    let world = World::new().await;
    let mut consumer = world.consumer("c1");
    for table in Table::ALL {
        consumer.take_over(table, 0).await;
    }
    (world, consumer)
}

async fn apply(
    consumer: &mut Consumer,
    records: impl IntoIterator<Item = Made>,
) -> Vec<(Outcome, i64)> {
    let applied = consumer.apply(&at(0, records)).await.unwrap();
    outcomes(&applied)
}

/// The outcomes that there were, and how often.
fn outcomes(applied: &Applied) -> Vec<(Outcome, i64)> {
    let count = |outcome| applied.counts.values().map(|c| c.of(outcome)).sum();
    Outcome::ALL
        .map(|outcome| (outcome, count(outcome)))
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn with_code(version: i64, id: i64, code: &str) -> Made {
    let fields = doc! { "note": version, "code": code };
    put(Table::Parents, version, id, fields)
}

const CODES: &str = "select id, code, lc_version from parents order by 1";

/// A row edited by hand is repaired by reading it again, though its version is the same; a row
/// that is right is not written.
#[tokio::test]
async fn equal_version_repairs_and_otherwise_writes_nothing() {
    let (world, mut consumer) = family().await;
    apply(&mut consumer, [parent(5, 1), parent(5, 2)]).await;
    world
        .execute("update parents set note = 0 where id = 1")
        .await;
    let before = world.text("select xmin from parents where id = 2").await;
    let read = |id| {
        let fields = doc! { "note": 5i64 };
        made(Table::Parents, Operation::Read, 5, id, Some(fields))
    };
    let outcomes = apply(&mut consumer, [read(1), read(2)]).await;
    assert_eq!(outcomes, [(Outcome::Applied, 1), (Outcome::Unchanged, 1)]);
    assert_eq!(world.text("select note from parents").await, "5 5");
    let after = world.text("select xmin from parents where id = 2").await;
    assert_eq!(before, after, "a row that was right was written");
}

/// A delete that came before is known by its tombstone.
#[tokio::test]
async fn repeated_delete_is_unchanged_and_an_older_one_stale() {
    let (_world, mut consumer) = family().await;
    let gone = |version| delete(Table::Parents, version, 1);
    let mut told = Vec::new();
    for record in [
        parent(1, 1),
        gone(5),
        gone(5),
        gone(4),
        gone(6),
        parent(5, 1),
    ] {
        told.extend(apply(&mut consumer, [record]).await);
    }
    let told: Vec<_> = told.into_iter().map(|(outcome, _)| outcome).collect();
    let expected = [
        Outcome::Applied,
        Outcome::Deleted,
        Outcome::Unchanged,
        Outcome::Stale,
        Outcome::Deleted,
        Outcome::Stale,
    ];
    assert_eq!(told, expected);
}

/// The shorter way: nobody has to settle what the parent's own batch can place.
#[tokio::test]
async fn parent_takes_its_waiting_children_along() {
    let (world, mut consumer) = family().await;
    let waiting = [child(2, 10, 1), child(3, 11, 1), child(4, 12, 2)];
    assert_eq!(apply(&mut consumer, waiting).await, [(Outcome::Parked, 3)]);
    let applied = consumer.apply(&at(0, [parent(1, 1)])).await.unwrap();
    assert_eq!(applied.released, 2);
    assert_eq!(
        world.text("select id from children order by 1").await,
        "10 11"
    );
    world.accounts(4).await.unwrap();
}

/// A value that one document of a batch gives up goes to another of the same batch, whichever
/// stands first, also through several hands.
#[tokio::test]
async fn unique_values_go_round_within_a_batch() {
    let (world, mut consumer) = family().await;
    let first = [
        with_code(1, 5, "a"),
        with_code(1, 4, "b"),
        with_code(1, 3, "c"),
    ];
    apply(&mut consumer, first).await;
    let round = [
        with_code(2, 1, "a"),
        with_code(3, 5, "b"),
        with_code(4, 4, "c"),
        with_code(5, 3, "d"),
    ];
    assert_eq!(apply(&mut consumer, round).await, [(Outcome::Applied, 4)]);
    assert_eq!(world.text(CODES).await, "1|a|2 3|d|5 4|c|4 5|b|3");
    // A deleted document gives its value up last, so the heir waits until things are settled.
    let inherited = [with_code(6, 2, "a"), delete(Table::Parents, 7, 1)];
    let waits = [(Outcome::Deleted, 1), (Outcome::Parked, 1)];
    assert_eq!(apply(&mut consumer, inherited).await, waits);
    consumer.settle(&world).await.unwrap();
    assert_eq!(world.text(CODES).await, "2|a|6 3|d|5 4|c|4 5|b|3");
}

/// Of two documents with one value the first keeps it, the other has it once it is free, and what
/// is newer than the parked one is not lost.
#[tokio::test]
async fn unique_value_waits_until_it_is_free() {
    let (world, mut consumer) = family().await;
    apply(&mut consumer, [with_code(1, 1, "a")]).await;
    for (version, record) in [(2, with_code(2, 2, "a")), (3, with_code(3, 2, "a"))] {
        assert_eq!(apply(&mut consumer, [record]).await, [(Outcome::Parked, 1)]);
        let parked = world.number("select version from leafcutter.parked").await;
        assert_eq!(parked, version);
    }
    // Late, and older than what is parked.
    let late = apply(&mut consumer, [with_code(2, 2, "b")]).await;
    assert_eq!(late, [(Outcome::Stale, 1)]);
    apply(&mut consumer, [with_code(4, 1, "c")]).await;
    consumer.settle(&world).await.unwrap();
    assert_eq!(world.text(CODES).await, "1|c|4 2|a|3");
    world.accounts(5).await.unwrap();
}

/// Rows of a snapshot go straight into their tables while there is nothing else; a row that is
/// there already, a missing parent and a late snapshot behind a delete take the careful way.
#[tokio::test]
async fn snapshot_rows_that_are_copied_are_guarded_all_the_same() {
    const MANY: i64 = 300;
    let (_world, mut consumer) = family().await;
    let rows = |version: i64, range: std::ops::Range<i64>| {
        range.map(move |id| {
            let fields = doc! { "note": version };
            made(Table::Parents, Operation::Read, version, id, Some(fields))
        })
    };
    let all = apply(&mut consumer, rows(5, 0..MANY)).await;
    assert_eq!(all, [(Outcome::Applied, MANY)]);
    // The first of these were read before, the last one is new.
    let older = apply(&mut consumer, rows(4, 1..MANY + 1)).await;
    assert_eq!(older, [(Outcome::Applied, 1), (Outcome::Stale, MANY - 1)]);
    let gone = (0..MANY).map(|id| delete(Table::Parents, 6, id));
    apply(&mut consumer, gone).await;
    for _ in 0..8 {
        let late = apply(&mut consumer, rows(5, 0..MANY)).await;
        assert_eq!(late, [(Outcome::Stale, MANY)]);
    }
    let orphans = (0..MANY).map(|id| {
        let fields = doc! { "note": 7, "parent_id": id };
        made(Table::Children, Operation::Read, 7, id, Some(fields))
    });
    let waiting = apply(&mut consumer, orphans).await;
    assert_eq!(waiting, [(Outcome::Parked, MANY)]);
}
