//! Two documents with one row, and a third that points to it, in every order in which their records can
//! arrive: a number and its text are two `_id`s and one key.
//!
//! Hundreds of independent runs share a database, each with rows of its own, and the n-th records of all of
//! them go into one transaction.

use crate::{
    script::{Key, Op, Record, Script, State, with_late_copy},
    world::{Consumer, Made, Table, World, made},
};
use bson::{Bson, doc};
use leafcutter_schemas::operation::Operation;
use std::collections::{BTreeMap, BTreeSet};

/// Runs that share a database at a time.
const PACK: usize = 500;

const P: Key = Key::P;
const Q: Key = Key::Q;
const C: Key = Key::C;

/// `P` and `Q` have one row; `C` points to it.
const TWINS: [Op; 6] = [
    Op::Put(P, None),
    Op::Delete(P),
    Op::Put(Q, None),
    Op::Delete(Q),
    Op::Put(C, Some(P)),
    Op::Delete(C),
];

/// Twins that leave the filter.
const LEAVING: [Op; 5] = [
    Op::Put(P, None),
    Op::Leave(P),
    Op::Put(Q, None),
    Op::Delete(Q),
    Op::Put(C, Some(P)),
];

#[derive(Debug)]
struct Run {
    source: State,
    records: Vec<Record>,
    batch: usize,
}

fn document(run: usize, key: Key) -> (Table, i32, Bson) {
    let number = i64::try_from(run).unwrap();
    match key {
        Key::P => (Table::Twins, 0, number.into()),
        Key::Q => (Table::Twins, 1, number.to_string().into()),
        Key::C => (Table::Followers, 0, number.into()),
    }
}

fn wire(run: usize, record: &Record) -> (i32, Made) {
    let (table, partition, id) = document(run, record.key);
    let number = i64::try_from(run).unwrap();
    let fields = record.image.map(|image| {
        let parent = image.parent.map(|_| number);
        doc! { "note": image.note, "parent_id": parent }
    });
    let left = record.left.then(|| doc! { "out": true });
    let fields = left.or(fields);
    let operation = match fields {
        None => Operation::Delete,
        Some(_) => Operation::Replace,
    };
    (
        partition,
        made(table, operation, record.version, id, fields),
    )
}

/// What is stored, by run.
struct Stored {
    twins: BTreeMap<i64, i64>,
    followers: BTreeMap<i64, i64>,
    parked: BTreeSet<(String, String, i64)>,
    held: BTreeSet<i64>,
}

impl Stored {
    async fn read(world: &World) -> Self {
        let notes = async |table: &str| -> BTreeMap<i64, i64> {
            let rows = world
                .rows(&format!("select id, note from {table}"))
                .await
                .cells();
            let rows = rows.iter();
            rows.map(|cells| (cells[0].parse().unwrap(), cells[1].parse().unwrap()))
                .collect()
        };
        let parked = "select table_name, convert_from(record_key, 'UTF8'), version \
                      from leafcutter.parked";
        let parked = world.rows(parked).await.cells();
        let parked = parked.iter().map(|cells| {
            let version = cells[2].parse().unwrap();
            (cells[0].clone(), cells[1].clone(), version)
        });
        let held = "select ('x' || encode(row_key, 'hex'))::bit(64)::bigint \
                    from leafcutter.held where table_name = 'twins'";
        let held = world.rows(held).await.cells();
        Self {
            twins: notes("twins").await,
            followers: notes("followers").await,
            parked: parked.collect(),
            held: held.iter().map(|cells| cells[0].parse().unwrap()).collect(),
        }
    }

    /// What is wrong with a run.
    fn check(&self, run: usize, source: &State) -> Result<(), String> {
        let number = i64::try_from(run).unwrap();
        let row = self.twins.get(&number).copied();
        let waits = |key: Key| {
            let note = source.get(&key).map(|image| image.note);
            let (name, key) = match key {
                Key::P => ("twins", format!("number:{number}")),
                Key::Q => ("twins", format!("string:{number}")),
                Key::C => ("followers", format!("number:{number}")),
            };
            let mut parked = self.parked.iter();
            let version = parked.find(|(table, k, _)| table == name && *k == key);
            (version.map(|found| found.2), note)
        };
        let wrong = |what: &str| {
            let (p, q, c) = (waits(P), waits(Q), waits(C));
            let follower = self.followers.get(&number);
            Err(format!(
                "{what}: row {row:?}, follower {follower:?}, parked and newest {p:?} {q:?} {c:?}, \
                 held {}",
                self.held.contains(&number)
            ))
        };
        let living = [P, Q].into_iter().filter(|key| source.contains_key(key));
        let living: Vec<Key> = living.collect();
        for key in [P, Q].into_iter().filter(|key| !living.contains(key)) {
            if waits(key).0.is_some() {
                return wrong("deleted, but parked");
            }
        }
        let shown = living
            .iter()
            .find(|key| source.get(key).map(|i| i.note) == row);
        match (living.len(), row, shown) {
            (0, Some(_), _) if !self.held.contains(&number) => {
                return wrong("both are deleted, and the row is there and not held");
            }
            (0, _, _) => {}
            (_, _, None) => return wrong("the row is nobody's newest image"),
            (_, _, Some(shown)) => {
                if waits(*shown).0.is_some() || self.held.contains(&number) {
                    return wrong("there, but parked or held");
                }
                let others = living.iter().filter(|key| *key != shown);
                for other in others.map(|key| waits(*key)) {
                    if other.0 != other.1 {
                        return wrong("the other does not wait at its newest version");
                    }
                }
            }
        }
        let follower = self.followers.get(&number).copied();
        let (parked, newest) = waits(C);
        let right = match newest {
            None => follower.is_none() && parked.is_none(),
            Some(_) if row.is_some() && parked.is_none() => follower == newest,
            Some(_) => row.is_none() && parked == newest,
        };
        if right {
            Ok(())
        } else {
            wrong("the follower is not what it should be")
        }
    }
}

async fn reset(world: &World, consumer: &mut Consumer) {
    world
        .execute(
            "delete from followers; delete from twins; delete from leafcutter.tombstones; \
             delete from leafcutter.parked; delete from leafcutter.held; \
             delete from leafcutter.offsets",
        )
        .await;
    for table in [Table::Twins, Table::Followers] {
        for partition in 0..2 {
            consumer.take_over(table, partition).await;
        }
    }
}

async fn run_pack(world: &World, consumer: &mut Consumer, runs: &[Run]) -> Result<(), String> {
    reset(world, consumer).await;
    let steps = runs.iter().map(|run| run.records.len().div_ceil(run.batch));
    for step in 0..steps.max().unwrap_or(0) {
        let mut batch = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            let chunk = run.records.chunks(run.batch).nth(step).unwrap_or_default();
            batch.extend(chunk.iter().map(|record| wire(index, record)));
        }
        let mut tries = 0;
        while let Err(error) = consumer.apply(&batch).await {
            tries += 1;
            if tries > 5 {
                return Err(format!("step {step}: {error:?}"));
            }
        }
    }
    let settled = consumer.settle(world).await;
    settled.map_err(|error| format!("settling: {error:?}"))?;
    let stored = Stored::read(world).await;
    for (index, run) in runs.iter().enumerate() {
        stored.check(index, &run.source)?;
    }
    let records: usize = runs.iter().map(|run| run.records.len()).sum();
    world.accounts(i64::try_from(records).unwrap()).await
}

#[tokio::test]
async fn every_order_of_two_documents_with_one_row() {
    let mut runs = Vec::new();
    let mut add = |alphabet: &[Op], length: usize, copies: usize| {
        for script in Script::all(alphabet, length) {
            let mut orders: BTreeSet<_> = script.orders().into_iter().collect();
            for _ in 0..copies {
                orders = with_late_copy(&orders);
            }
            for records in orders {
                let batch = 1 + runs.len() % 4;
                let source = script.state();
                runs.push(Run {
                    source,
                    records,
                    batch,
                });
            }
        }
    };
    for (length, copies) in [(1, 0), (2, 1), (3, 1), (4, 0)] {
        add(&TWINS, length, copies);
    }
    add(&LEAVING, 3, 1);
    let world = World::new().await;
    let mut consumer = world.consumer("c1");
    for mut pack in runs.chunks(PACK) {
        // Of a pack that fails, the halves are run again until one run is left.
        while let Err(what) = run_pack(&world, &mut consumer, pack).await {
            let (first, second) = pack.split_at(pack.len() / 2);
            assert!(!first.is_empty(), "{what}\nafter {pack:#?}");
            let fails = run_pack(&world, &mut consumer, first).await.is_err();
            pack = if fails { first } else { second };
        }
    }
    println!("twins: {} interleavings", runs.len());
}
