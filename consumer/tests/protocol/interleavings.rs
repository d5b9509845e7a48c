//! Every order in which the records of short scripts can arrive, applied by the real code.
//!
//! Hundreds of independent runs share a database: each has documents and partitions of its own, and
//! the n-th records of all of them go into one transaction.

use crate::{
    oracle::{self, Layout, Stored},
    script::{Image, Key, Op, Record, Script, State, inserted, with_late_copy},
    world::{Consumer, Made, Table, World, made},
};
use bson::doc;
use leafcutter_schemas::operation::Operation;
use std::collections::{BTreeMap, BTreeSet};

/// Runs that share a database at a time.
const PACK: usize = 400;

const P: Key = Key::P;
const Q: Key = Key::Q;
const C: Key = Key::C;

/// What a parent and its child can do.
const PLAIN: [Op; 4] = [
    Op::Put(P, None),
    Op::Delete(P),
    Op::Put(C, Some(P)),
    Op::Delete(C),
];

/// A child that moves between two parents.
const MOVES: [Op; 7] = [
    Op::Put(P, None),
    Op::Delete(P),
    Op::Put(Q, None),
    Op::Delete(Q),
    Op::Put(C, Some(P)),
    Op::Put(C, Some(Q)),
    Op::Delete(C),
];

/// Documents of one table in a chain, a cycle, or each its own parent.
const CHAINS: [Op; 8] = [
    Op::Put(P, None),
    Op::Put(P, Some(Q)),
    Op::Delete(P),
    Op::Put(Q, Some(C)),
    Op::Put(Q, None),
    Op::Delete(Q),
    Op::Put(C, Some(P)),
    Op::Put(C, Some(C)),
];

/// One way in which the records of one script arrive.
#[derive(Debug)]
struct Run {
    layout: Layout,
    source: State,
    records: Vec<Record>,
    /// Records of this run in one transaction.
    batch: usize,
}

/// All runs of some scripts, without repetition.
#[derive(Default)]
struct Runs(Vec<Run>);

impl Runs {
    /// The scripts' own orders and up to so many late copies, with a snapshot row or without.
    fn add(&mut self, layout: Layout, scripts: &[Script], copies: usize, snapshot: bool) {
        for script in scripts {
            let mut orders: BTreeSet<_> = script.orders().into_iter().collect();
            if snapshot {
                orders = with_snapshot_row(script, &orders);
            }
            for _ in 0..copies {
                orders = with_late_copy(&orders);
            }
            let source = script.state();
            for records in orders {
                self.0.push(Run {
                    layout,
                    source: source.clone(),
                    records,
                    batch: 1,
                });
            }
        }
    }

    /// Every n-th once more, in batches of two to six records.
    fn add_batches(&mut self, every: usize) {
        let batches: Vec<_> = self
            .0
            .iter()
            .step_by(every)
            .enumerate()
            .map(|(index, run)| Run {
                layout: run.layout,
                source: run.source.clone(),
                records: run.records.clone(),
                batch: 2 + index % 5,
            })
            .collect();
        self.0.extend(batches);
    }
}

fn with_snapshot_row(script: &Script, orders: &BTreeSet<Vec<Record>>) -> BTreeSet<Vec<Record>> {
    let mut all = BTreeSet::new();
    for row in script.snapshot_rows() {
        for order in orders {
            for place in 0..=order.len() {
                all.insert(inserted(order, place, row));
            }
        }
    }
    all
}

fn id(run: usize, key: Key) -> i64 {
    i64::try_from(run * 4 + key as usize).unwrap()
}

fn wire(run: usize, layout: Layout, record: &Record) -> Made {
    let table = layout.table(record.key);
    let operation = match record.image {
        None => Operation::Delete,
        Some(_) if record.snapshot => Operation::Read,
        Some(_) => Operation::Replace,
    };
    let fields = record.image.map(|Image { parent, note }| {
        let parent = parent.map(|key| id(run, key));
        match table {
            Table::Parents => doc! { "note": note },
            Table::Children | Table::Nodes => doc! { "note": note, "parent_id": parent },
        }
    });
    made(
        table,
        operation,
        record.version,
        id(run, record.key),
        fields,
    )
}

/// Applies a pack of runs side by side, settles, and checks each of them.
async fn run_pack(world: &World, consumer: &mut Consumer, runs: &[Run]) {
    reset(world, consumer, runs.len()).await;
    let mut deleted: BTreeSet<(usize, Table)> = BTreeSet::new();
    let steps = runs.iter().map(|run| run.records.len().div_ceil(run.batch));
    for step in 0..steps.max().unwrap_or(0) {
        // Partitions that had a delete and those that had none are apart, so that what one run
        // turns on for its transaction does not help another.
        let mut batches: [Vec<(i32, Made)>; 2] = Default::default();
        for (index, run) in runs.iter().enumerate() {
            let chunk = run.records.chunks(run.batch).nth(step).unwrap_or_default();
            let table = |record: &Record| run.layout.table(record.key);
            let before = chunk.iter().any(|r| deleted.contains(&(index, table(r))));
            let deletes = chunk.iter().filter(|r| r.image.is_none());
            deleted.extend(deletes.map(|r| (index, table(r))));
            let partition = i32::try_from(index).unwrap();
            let records = chunk
                .iter()
                .map(|r| (partition, wire(index, run.layout, r)));
            batches[usize::from(before)].extend(records);
        }
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            consumer.apply(batch).await.unwrap();
        }
    }
    consumer.settle(world).await;
    let stored = Stored::read(world).await;
    let accounts = accounts(world).await;
    for (index, run) in runs.iter().enumerate() {
        let ids = |key| id(index, key);
        let state = oracle::check(run.layout, &ids, &run.source, &run.records, &stored);
        let account = check_account(index, run, &accounts);
        if let Err(what) = state.and(account) {
            panic!("{what}\nafter {run:#?}");
        }
    }
}

async fn reset(world: &World, consumer: &mut Consumer, runs: usize) {
    world
        .execute(
            "truncate parents, children, nodes, leafcutter.tombstones, leafcutter.parked, \
             leafcutter.held, leafcutter.offsets, leafcutter.settled",
        )
        .await;
    for table in Table::ALL {
        let own = format!(
            "insert into leafcutter.offsets (consumer_group, topic, partition, epoch, mapping) \
             select 'g', '{}', i, 1, '' from generate_series(0, {}) as i",
            world.topic(table),
            runs - 1
        );
        world.execute(&own).await;
        for partition in 0..i32::try_from(runs).unwrap() {
            consumer.trust(table, partition, 1, 0);
        }
    }
}

/// By topic and partition: records counted, those parked and not settled, rows parked.
type Accounts = BTreeMap<(String, usize), [i64; 3]>;

async fn accounts(world: &World) -> Accounts {
    let sql = "\
        select o.topic, o.partition, applied + unchanged + stale + deleted + held + filtered \
        + parked + ignored + dead_lettered, \
        o.parked - coalesce((select sum(s.applied + s.stale) from leafcutter.settled s \
        where s.topic = o.topic and s.partition = o.partition), 0), \
        (select count(*) from leafcutter.parked p where p.topic = o.topic and p.partition = o.partition) \
        from leafcutter.offsets o";
    let rows = world.rows(sql).await;
    rows.iter()
        .map(|cells| {
            let number = |i: usize| cells[i].parse::<i64>().unwrap();
            let partition = cells[1].parse().unwrap();
            (
                (cells[0].clone(), partition),
                [number(2), number(3), number(4)],
            )
        })
        .collect()
}

fn check_account(index: usize, run: &Run, accounts: &Accounts) -> Result<(), String> {
    let mut counted = 0;
    for ((topic, partition), [records, unsettled, parked]) in accounts {
        if *partition == index {
            counted += records;
            if unsettled != parked {
                return Err(format!(
                    "{topic}: {unsettled} records count as parked, {parked} rows are"
                ));
            }
        }
    }
    let records = i64::try_from(run.records.len()).unwrap();
    if counted == records {
        Ok(())
    } else {
        Err(format!("{records} records arrived, {counted} were counted"))
    }
}

async fn run_all(name: &str, mut runs: Runs, pack: usize) {
    runs.add_batches(3);
    // Neighbours come from one script; mixing them would only make failures harder to read.
    let world = World::new().await;
    let mut consumer = world.consumer("c1");
    let started = std::time::Instant::now();
    for runs in runs.0.chunks(pack) {
        run_pack(&world, &mut consumer, runs).await;
    }
    println!(
        "{name}: {} interleavings in {:?}",
        runs.0.len(),
        started.elapsed()
    );
    world.end().await;
}

/// Each run in a database that holds nothing else: what is skipped because "nothing is parked" or
/// "nothing was ever deleted" is skipped here.
#[tokio::test]
async fn parent_and_child_alone() {
    let mut runs = Runs::default();
    for length in 1..=3 {
        runs.add(Layout::Two, &Script::all(&PLAIN, length), 0, false);
    }
    run_all("alone", runs, 1).await;
}

#[tokio::test]
async fn parent_and_child() {
    let mut runs = Runs::default();
    for (length, copies) in [(6, 0), (5, 1), (4, 2), (3, 3)] {
        runs.add(Layout::Two, &Script::all(&PLAIN, length), copies, false);
    }
    run_all("parent and child", runs, PACK).await;
}
