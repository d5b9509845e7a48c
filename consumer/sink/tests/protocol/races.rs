//! Consumers that really run at the same time, a thousand documents each time.

use crate::world::{Consumer, Made, Table, Tries, World, at, child, delete, parent, put};
use bson::doc;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::{sync::Barrier, task::JoinHandle};

/// Batches of each side.
const ROUNDS: i64 = 250;
/// Documents of a batch.
const EACH: i64 = 4;
pub(crate) const DOCUMENTS: i64 = ROUNDS * EACH;

pub(crate) async fn owner(world: &World, name: &str, table: Table, partition: i32) -> Consumer {
    let mut consumer = world.consumer(name);
    consumer.take_over(table, partition).await;
    consumer
}

/// The documents of each round.
pub(crate) fn rounds(record: impl Fn(i64) -> Made) -> Vec<Vec<Made>> {
    let round = |round: i64| (round * EACH..(round + 1) * EACH).map(&record).collect();
    (0..ROUNDS).map(round).collect()
}

/// Owners of both tables, with all parents there.
async fn families(world: &World) -> (Consumer, Consumer) {
    let mut parents = owner(world, "one", Table::Parents, 0).await;
    let all = at(0, (0..DOCUMENTS).map(|id| parent(1, id)));
    parents.apply(&all).await.unwrap();
    (parents, owner(world, "other", Table::Children, 0).await)
}

/// Applies a batch whenever everyone is ready for the next one.
pub(crate) fn run(
    mut consumer: Consumer,
    partition: i32,
    rounds: Vec<Vec<Made>>,
    start: &Arc<Barrier>,
) -> JoinHandle<(Consumer, Tries)> {
    let start = Arc::clone(start);
    tokio::spawn(async move {
        let mut tries = Tries::default();
        for round in rounds {
            start.wait().await;
            consumer.insist(&at(partition, round), &mut tries).await;
        }
        (consumer, tries)
    })
}

/// Settles without a pause until it is told to stop.
fn settling(mut consumer: Consumer, stop: &Arc<AtomicBool>) -> JoinHandle<Tries> {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let mut tries = Tries::default();
        while !stop.load(Ordering::Relaxed) {
            let parked = consumer.settle_parked().await.map(|_| ());
            let held = consumer.settle_held().await.map(|_| ());
            for result in [parked, held] {
                match result {
                    Ok(()) => {}
                    // Its next round begins anew.
                    Err(leafcutter_sink::ApplyError::Again(_)) => tries.again += 1,
                    Err(error) => tries.note(&error),
                }
            }
        }
        tries
    })
}

/// Both sides against each other; then both settle.
async fn race(world: &World, ones: (Consumer, Vec<Vec<Made>>), others: (Consumer, Vec<Vec<Made>>)) {
    let start = Arc::new(Barrier::new(2));
    let one = run(ones.0, 0, ones.1, &start);
    let other = run(others.0, 0, others.1, &start);
    let (mut one, one_tries) = one.await.unwrap();
    let (mut other, other_tries) = other.await.unwrap();
    let parked = world
        .number("select count(*) from leafcutter.parked p where exists (select 1 from parents where int8send(id) = p.wait_key)")
        .await;
    println!("{one_tries:?}, {other_tries:?}, parked beside their parent: {parked}");
    let (one, other) = tokio::join!(one.settle(world), other.settle(world));
    one.unwrap();
    other.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parent_and_child_written_at_once() {
    let world = World::new().await;
    let parents = owner(&world, "one", Table::Parents, 0).await;
    let children = owner(&world, "other", Table::Children, 0).await;
    race(
        &world,
        (parents, rounds(|id| parent(1, id))),
        (children, rounds(|id| child(2, id, id))),
    )
    .await;
    let placed = world.number("select count(*) from children where parent_id = id");
    assert_eq!(placed.await, DOCUMENTS);
    assert_eq!(
        world.number("select count(*) from leafcutter.parked").await,
        0
    );
    world.accounts(2 * DOCUMENTS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parent_deleted_while_its_child_comes() {
    let world = World::new().await;
    let (parents, children) = families(&world).await;
    race(
        &world,
        (parents, rounds(|id| delete(Table::Parents, 3, id))),
        (children, rounds(|id| child(2, id, id))),
    )
    .await;
    let held = world
        .number(
            "select count(*) from leafcutter.held h join parents p on int8send(p.id) = h.row_key \
             join children c on c.parent_id = p.id where c.id = p.id",
        )
        .await;
    let parked = world
        .number(
            "select count(*) from leafcutter.parked k where not exists \
             (select 1 from parents where int8send(id) = k.row_key) and not exists \
             (select 1 from children where int8send(id) = k.row_key)",
        )
        .await;
    println!("{held} held with their child, {parked} children parked");
    assert_eq!(held + parked, DOCUMENTS);
    let rows = "select (select count(*) from parents), (select count(*) from children), \
        (select count(*) from leafcutter.tombstones)";
    let expected = format!("{held}|{held}|{DOCUMENTS}");
    assert_eq!(world.text(rows).await, expected);
    world.accounts(3 * DOCUMENTS).await.unwrap();
}

/// The same while the tables have no foreign keys: the parents are held, whether their children are seen or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parent_deleted_while_its_child_comes_and_the_tables_are_filled() {
    let world = World::loading().await;
    let (parents, children) = families(&world).await;
    race(
        &world,
        (parents, rounds(|id| delete(Table::Parents, 3, id))),
        (children, rounds(|id| child(2, id, id))),
    )
    .await;
    let rows = "select (select count(*) from parents), (select count(*) from children), \
        (select count(*) from leafcutter.held), (select count(*) from leafcutter.tombstones)";
    let all = format!("{DOCUMENTS}|{DOCUMENTS}|{DOCUMENTS}|{DOCUMENTS}");
    assert_eq!(world.text(rows).await, all);
    // Every foreign key holds. Then what nothing points to may go.
    world.add_foreign_keys().await.unwrap();
    let mut children = owner(&world, "third", Table::Children, 0).await;
    let gone = at(
        0,
        (0..DOCUMENTS / 2).map(|id| delete(Table::Children, 4, id)),
    );
    children.apply(&gone).await.unwrap();
    children.settle(&world).await.unwrap();
    let half = DOCUMENTS / 2;
    let counts = "select (select count(*) from parents), (select count(*) from children)";
    assert_eq!(world.text(counts).await, format!("{half}|{half}"));
}

/// Foreign keys are added while both sides write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_come_while_parents_are_deleted_and_children_come() {
    let world = World::loading().await;
    let (parents, children) = families(&world).await;
    let start = Arc::new(Barrier::new(3));
    let deletes = run(
        parents,
        0,
        rounds(|id| delete(Table::Parents, 3, id)),
        &start,
    );
    let inserts = run(children, 0, rounds(|id| child(2, id, id)), &start);
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            let (added, _) = tokio::join!(insisting(&world), start.wait());
            added.unwrap();
        } else {
            start.wait().await;
        }
    }
    let (mut one, _) = deletes.await.unwrap();
    let (mut other, _) = inserts.await.unwrap();
    one.settle(&world).await.unwrap();
    other.settle(&world).await.unwrap();
    let lost = world.number(
        "select count(*) from children c where not exists (select 1 from parents p where p.id = c.parent_id)",
    );
    assert_eq!(lost.await, 0);
    let deferred = world.number("select count(*) from leafcutter.deferred_constraints");
    assert_eq!(deferred.await, 0);
    let kept = "select count(*) = (select count(*) from children) from parents";
    assert_eq!(
        world.text(kept).await,
        "t",
        "a parent without a child is gone"
    );
    world.accounts(3 * DOCUMENTS).await.unwrap();
}

/// Adds the foreign keys; where a lock does not come in time, once more.
async fn insisting(world: &World) -> Result<(), String> {
    loop {
        match world.add_foreign_keys().await {
            Err(why) if why.contains("55P03") || why.contains("40P01") => {}
            done => return done,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_deleted_while_its_parent_comes() {
    let world = World::new().await;
    let parents = owner(&world, "one", Table::Parents, 0).await;
    let mut children = owner(&world, "other", Table::Children, 0).await;
    let all = at(0, (0..DOCUMENTS).map(|id| child(2, id, id)));
    children.apply(&all).await.unwrap();
    race(
        &world,
        (parents, rounds(|id| parent(1, id))),
        (children, rounds(|id| delete(Table::Children, 3, id))),
    )
    .await;
    let rows = "select (select count(*) from parents), (select count(*) from children), \
        (select count(*) from leafcutter.parked), (select count(*) from leafcutter.tombstones)";
    let expected = format!("{DOCUMENTS}|0|0|{DOCUMENTS}");
    assert_eq!(world.text(rows).await, expected);
    world.accounts(3 * DOCUMENTS).await.unwrap();
}

/// One owner's document gives a unique value up, the other's takes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unique_value_handed_over_between_consumers() {
    let world = World::new().await;
    let mut givers = owner(&world, "one", Table::Parents, 0).await;
    let takers = owner(&world, "other", Table::Parents, 1).await;
    let with_code = |version, id, code: Option<i64>| {
        let code = code.map(|code| code.to_string());
        let fields = doc! { "note": version, "code": code };
        put(Table::Parents, version, id, fields)
    };
    let all = at(0, (0..DOCUMENTS).map(|id| with_code(1, id, Some(id))));
    givers.apply(&all).await.unwrap();
    let start = Arc::new(Barrier::new(2));
    let giving = run(givers, 0, rounds(|id| with_code(2, id, None)), &start);
    let taker = |id| with_code(3, DOCUMENTS + id, Some(id));
    let taking = run(takers, 1, rounds(taker), &start);
    let (mut givers, giver_tries) = giving.await.unwrap();
    let (mut takers, taker_tries) = taking.await.unwrap();
    println!("{giver_tries:?}, {taker_tries:?}");
    let (one, other) = tokio::join!(givers.settle(&world), takers.settle(&world));
    one.and(other).unwrap();
    let taken = format!("select count(*) from parents where code::bigint = id - {DOCUMENTS}");
    assert_eq!(world.number(&taken).await, DOCUMENTS);
    world.accounts(3 * DOCUMENTS).await.unwrap();
}

/// Parents and children come, go and come back, while two settling tasks look on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn families_that_come_and_go_while_others_settle() {
    let world = World::new().await;
    let parents = owner(&world, "one", Table::Parents, 0).await;
    let children = owner(&world, "other", Table::Children, 0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let settlers: Vec<_> = ["first", "second"]
        .map(|name| settling(world.consumer(name), &stop))
        .into_iter()
        .collect();
    // Few documents, often.
    let life = |there: fn(i64, i64) -> Made, gone: Table, shift: i64| {
        let round = move |round: i64| {
            let version = round + 1;
            let record = move |id| match (round + shift) % 3 {
                0 if round + 3 < ROUNDS => delete(gone, version, id),
                _ => there(version, id),
            };
            (0..EACH).map(record).collect::<Vec<_>>()
        };
        (0..ROUNDS).map(round).collect::<Vec<_>>()
    };
    race(
        &world,
        (parents, life(parent, Table::Parents, 0)),
        (
            children,
            life(|version, id| child(version, id, id), Table::Children, 1),
        ),
    )
    .await;
    stop.store(true, Ordering::Relaxed);
    for settler in settlers {
        println!("settling: {:?}", settler.await.unwrap());
    }
    let state = "select (select count(*) from parents), (select count(*) from children), \
        (select count(*) from leafcutter.parked), (select count(*) from leafcutter.held), \
        (select count(*) from leafcutter.tombstones)";
    assert_eq!(world.text(state).await, format!("{EACH}|{EACH}|0|0|0"));
    world.accounts(2 * DOCUMENTS).await.unwrap();
}

/// Two batches whose children point to the same parents, one from the first to the last, the other
/// from the last to the first, while the parents change, go and come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parents_in_opposite_order() {
    const FAMILY: i64 = 20;
    const LIVES: i64 = 40;
    let world = World::new().await;
    let parents = owner(&world, "parents", Table::Parents, 0).await;
    let up = owner(&world, "up", Table::Children, 0).await;
    let down = owner(&world, "down", Table::Children, 1).await;
    let children = |first: i64, parent_of: fn(i64) -> i64| {
        (0..LIVES)
            .map(|life| {
                (0..FAMILY)
                    .map(|id| child(10 * life + 2, first + id, parent_of(id)))
                    .collect()
            })
            .collect()
    };
    let lives = (0..LIVES)
        .map(|life| {
            let record = |id| match life % 4 {
                2 => delete(Table::Parents, 10 * life, id),
                _ => parent(10 * life, id),
            };
            (0..FAMILY).map(record).collect()
        })
        .collect();
    let start = Arc::new(Barrier::new(3));
    let tasks = [
        run(parents, 0, lives, &start),
        run(up, 0, children(100, |id| id), &start),
        run(down, 1, children(200, |id| FAMILY - 1 - id), &start),
    ];
    let mut consumers = Vec::new();
    for task in tasks {
        let (consumer, tries) = task.await.unwrap();
        println!("{tries:?}");
        consumers.push(consumer);
    }
    consumers[0].settle(&world).await.unwrap();
    let state = "select (select count(*) from parents), (select count(*) from children), \
        (select count(*) from leafcutter.parked), (select count(*) from leafcutter.held)";
    let expected = format!("{FAMILY}|{}|0|0", 2 * FAMILY);
    assert_eq!(world.text(state).await, expected);
    world.accounts(3 * LIVES * FAMILY).await.unwrap();
}
