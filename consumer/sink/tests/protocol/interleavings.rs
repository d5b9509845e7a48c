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
use std::{collections::BTreeSet, ops::Range};

/// Runs that share a database at a time.
pub(crate) const PACK: usize = 500;
/// Partitions of each topic: see [`partition`].
const PARTITIONS: i32 = 8;

const P: Key = Key::P;
const Q: Key = Key::Q;
const C: Key = Key::C;

/// What a parent and its child can do.
pub(crate) const PLAIN: [Op; 4] = [
    Op::Put(P, None),
    Op::Delete(P),
    Op::Put(C, Some(P)),
    Op::Delete(C),
];

/// Documents that leave their tables' filters and enter them again.
pub(crate) const FILTERED: [Op; 6] = [
    Op::Put(P, None),
    Op::Leave(P),
    Op::Delete(P),
    Op::Put(C, Some(P)),
    Op::Leave(C),
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

/// A grandparent, a parent and a child in one table.
pub(crate) const CHAIN: [Op; 6] = [
    Op::Put(Q, None),
    Op::Delete(Q),
    Op::Put(P, Some(Q)),
    Op::Delete(P),
    Op::Put(C, Some(P)),
    Op::Delete(C),
];

/// The same, with documents that leave the filter.
pub(crate) const NESTED: [Op; 5] = [
    Op::Put(Q, None),
    Op::Delete(Q),
    Op::Put(P, Some(Q)),
    Op::Leave(P),
    Op::Put(C, Some(P)),
];

/// Documents of one table that point to each other, or each to itself.
pub(crate) const CYCLE: [Op; 5] = [
    Op::Put(P, Some(C)),
    Op::Delete(P),
    Op::Put(C, Some(P)),
    Op::Put(C, Some(C)),
    Op::Delete(C),
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
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    /// The scripts' own orders and up to so many late copies, with a snapshot row or without.
    pub(crate) fn add(
        &mut self,
        layout: Layout,
        scripts: &[Script],
        copies: usize,
        snapshot: bool,
    ) {
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
        None if record.left => Operation::Replace,
        None => Operation::Delete,
        Some(_) if record.snapshot => Operation::Read,
        Some(_) => Operation::Replace,
    };
    let left = record.left.then(|| doc! { "out": true });
    let fields = left.or(record.image.map(|Image { parent, note }| {
        let parent = parent.map(|key| id(run, key));
        match table {
            Table::Parents | Table::Masters => doc! { "note": note },
            Table::Clubs => {
                doc! { "note": note, "members": parent.into_iter().collect::<Vec<_>>() }
            }
            Table::Tickets | Table::Days => {
                doc! { "note": note, "parent_id": parent, "code": id(run, record.key) }
            }
            Table::Children
            | Table::Nodes
            | Table::Servants
            | Table::Friends
            | Table::Boxes
            | Table::Twins
            | Table::Followers => {
                doc! { "note": note, "parent_id": parent }
            }
        }
    }));
    made(
        table,
        operation,
        record.version,
        id(run, record.key),
        fields,
    )
}

/// Where a record is put, which is what the sink knows of its partition's past. A run has had no
/// delete from a topic, or has had one, or gets its first one in this step.
fn partition(record: &Record, before: bool, step: usize) -> i32 {
    match (before, record.image) {
        (true, _) => 1,
        (false, Some(_)) => 0,
        (false, None) => 2 + i32::try_from(step).unwrap(),
    }
}

/// Applies a pack of runs side by side, settles, and checks all of them.
async fn run_pack(
    world: &World,
    consumer: &mut Consumer,
    runs: &[Run],
    keys: Keys,
) -> Result<(), String> {
    reset(world, consumer).await;
    let mut deleted: BTreeSet<(usize, Table)> = BTreeSet::new();
    let steps = runs.iter().map(|run| run.records.len().div_ceil(run.batch));
    let steps = steps.max().unwrap_or(0);
    let filled = match keys {
        Keys::FromTheStart => 0,
        Keys::Halfway => steps / 2,
        Keys::AtTheEnd => steps,
    };
    if keys != Keys::FromTheStart {
        *consumer = without_keys(world).await;
    }
    apply_steps(world, consumer, runs, 0..filled, &mut deleted).await?;
    world.add_foreign_keys().await?;
    apply_steps(world, consumer, runs, filled..steps, &mut deleted).await?;
    let stored = Stored::read(world).await;
    for (index, run) in runs.iter().enumerate() {
        let ids = |key| id(index, key);
        oracle::check(run.layout, &ids, &run.source, &run.records, &stored)?;
    }
    let records: usize = runs.iter().map(|run| run.records.len()).sum();
    let mut records = i64::try_from(records).unwrap();
    if runs.iter().any(|run| run.layout.loses()) {
        // What was lost comes back with its records: twice, since a parent may come after its child.
        records *= 3;
        for _ in 0..2 {
            apply_steps(world, consumer, runs, 0..steps, &mut deleted).await?;
        }
        let stored = Stored::read(world).await;
        for (index, run) in runs.iter().enumerate() {
            let ids = |key| id(index, key);
            oracle::nothing_lost(run.layout, &ids, &run.source, &stored)?;
            oracle::check(run.layout, &ids, &run.source, &run.records, &stored)?;
        }
    } else {
        let stale = runs.iter().map(|r| oracle::stale(&r.records, r.batch));
        world.stale(stale.sum()).await?;
    }
    world.accounts(records).await
}

/// Applies these steps of all runs side by side, and settles.
async fn apply_steps(
    world: &World,
    consumer: &mut Consumer,
    runs: &[Run],
    steps: Range<usize>,
    deleted: &mut BTreeSet<(usize, Table)>,
) -> Result<(), String> {
    for step in steps {
        // Runs whose partitions had a delete are apart from those that had none, so that what one
        // of them turns on for its transaction does not help another.
        let mut batches: [Vec<(i32, Made)>; 2] = Default::default();
        for (index, run) in runs.iter().enumerate() {
            let chunk = run.records.chunks(run.batch).nth(step).unwrap_or_default();
            let before = |r: &Record| deleted.contains(&(index, run.layout.table(r.key)));
            let records = chunk.iter().map(|r| {
                let partition = partition(r, before(r), step);
                (partition, wire(index, run.layout, r))
            });
            batches[usize::from(chunk.iter().any(before))].extend(records);
            let deletes = chunk.iter().filter(|r| r.image.is_none());
            deleted.extend(deletes.map(|r| (index, run.layout.table(r.key))));
        }
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            let applied = consumer.apply(batch).await;
            applied.map_err(|error| format!("step {step}: {error:?}"))?;
        }
    }
    let settled = consumer.settle(world).await;
    settled.map_err(|error| format!("settling: {error:?}"))
}

/// When the tables get their foreign keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    FromTheStart,
    /// After half of the records.
    Halfway,
    /// When all of them were applied.
    AtTheEnd,
}

/// Takes the foreign keys away that may come later, as if the tables had just been made; gives a consumer that
/// knows of no row.
async fn without_keys(world: &World) -> Consumer {
    world
        .execute(
            "do $$ declare k record; begin for k in select c.conrelid::regclass as of, c.conname, \
             a.attname, c.confrelid::regclass as parent, b.attname as other from pg_constraint c \
             join pg_attribute a on a.attrelid = c.conrelid and array[a.attnum] = c.conkey \
             join pg_attribute b on b.attrelid = c.confrelid and array[b.attnum] = c.confkey \
             where c.contype = 'f' and c.connamespace = 'public'::regnamespace \
             and c.confrelid <> all (array['days', 'tickets']::regclass[]) loop \
             execute format('alter table %s drop constraint %I', k.of, k.conname); \
             insert into leafcutter.deferred_constraints \
             (table_name, name, kind, column_names, parent_table, parent_columns) \
             values (format('\"public\".\"%s\"', k.of), k.conname, 'key', array[k.attname::text], \
             format('\"public\".\"%s\"', k.parent), array[k.other::text]); end loop; end $$",
        )
        .await;
    let mut consumer = world.consumer("c1");
    for table in Table::ALL {
        for partition in 0..PARTITIONS {
            consumer.trust(table, partition, 1, 0);
        }
    }
    consumer
}

async fn reset(world: &World, consumer: &mut Consumer) {
    world
        .execute(
            "delete from members; delete from clubs; \
             delete from children; delete from nodes; delete from parents; \
             delete from servants; delete from friends; delete from masters; \
             delete from boxes; delete from leafcutter.cascaded_rows; \
             delete from leafcutter.tombstones; delete from leafcutter.parked; \
             delete from leafcutter.held; delete from leafcutter.offsets",
        )
        .await;
    for table in Table::ALL {
        let own = format!(
            "insert into leafcutter.offsets \
             (consumer_group, topic, partition, epoch, mapping, has_tombstones) \
             select 'g', '{}', i, 1, '', i = 1 from generate_series(0, {PARTITIONS} - 1) as i",
            world.topic(table),
        );
        world.execute(&own).await;
        for partition in 0..PARTITIONS {
            consumer.trust(table, partition, 1, 0);
        }
    }
}

async fn run_all(name: &str, runs: Runs, pack: usize) {
    run_with(name, runs, pack, Keys::FromTheStart).await;
}

pub(crate) async fn run_with(name: &str, mut runs: Runs, pack: usize, keys: Keys) {
    runs.add_batches(6);
    let world = World::new().await;
    let mut consumer = world.consumer("c1");
    let started = std::time::Instant::now();
    for mut runs in runs.0.chunks(pack) {
        // Of a pack that fails, the halves are run again until one run is left.
        while let Err(what) = run_pack(&world, &mut consumer, runs, keys).await {
            let (first, second) = runs.split_at(runs.len() / 2);
            assert!(!first.is_empty(), "{what}\nafter {runs:#?}");
            let fails = run_pack(&world, &mut consumer, first, keys).await.is_err();
            runs = if fails { first } else { second };
        }
    }
    println!(
        "{name}: {} interleavings in {:?}",
        runs.0.len(),
        started.elapsed()
    );
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

#[tokio::test]
async fn filters_left_and_entered_again() {
    let mut runs = Runs::default();
    for (length, copies) in [(4, 0), (3, 1), (2, 2)] {
        runs.add(Layout::Two, &Script::all(&FILTERED, length), copies, false);
    }
    run_all("filters", runs, PACK).await;
}

#[tokio::test]
async fn children_that_go_with_their_parents() {
    let mut runs = Runs::default();
    for (length, copies) in [(5, 0), (3, 1)] {
        runs.add(Layout::Cascade, &Script::all(&PLAIN, length), copies, false);
    }
    let mut scripts = Script::all(&MOVES, 4);
    scripts.retain(Script::names_p_first);
    runs.add(Layout::Cascade, &scripts, 0, false);
    runs.add(Layout::Cascade, &Script::all(&FILTERED, 3), 0, true);
    run_all("cascade", runs, PACK).await;
}

#[tokio::test]
async fn children_that_forget_their_parents() {
    let mut runs = Runs::default();
    for (length, copies) in [(5, 0), (3, 1)] {
        runs.add(Layout::SetNull, &Script::all(&PLAIN, length), copies, false);
    }
    run_all("set null", runs, PACK).await;
}

#[tokio::test]
async fn chains_and_cycles_that_go_together() {
    let mut runs = Runs::default();
    runs.add(Layout::Boxes, &Script::all(&CHAIN, 4), 0, false);
    runs.add(Layout::Boxes, &Script::all(&CYCLE, 4), 0, false);
    runs.add(Layout::Boxes, &Script::all(&NESTED, 3), 1, false);
    run_all("boxes", runs, PACK).await;
}

#[tokio::test]
async fn child_rows_that_point_to_parents() {
    let mut runs = Runs::default();
    for (length, copies) in [(5, 0), (3, 1), (2, 2)] {
        runs.add(Layout::Links, &Script::all(&PLAIN, length), copies, false);
    }
    let mut scripts = Script::all(&MOVES, 4);
    scripts.retain(Script::names_p_first);
    runs.add(Layout::Links, &scripts, 0, false);
    runs.add(Layout::Links, &Script::all(&FILTERED, 3), 0, true);
    run_all("links", runs, PACK).await;
}

#[tokio::test]
async fn child_that_moves() {
    let mut runs = Runs::default();
    for (length, copies) in [(4, 0), (3, 1)] {
        let mut scripts = Script::all(&MOVES, length);
        scripts.retain(Script::names_p_first);
        runs.add(Layout::Two, &scripts, copies, false);
    }
    run_all("moves", runs, PACK).await;
}

#[tokio::test]
async fn chains() {
    let mut runs = Runs::default();
    for (length, copies) in [(5, 0), (3, 1)] {
        runs.add(Layout::One, &Script::all(&CHAIN, length), copies, false);
    }
    run_all("chains", runs, PACK).await;
}

#[tokio::test]
async fn cycles() {
    let mut runs = Runs::default();
    for (length, copies) in [(4, 0), (3, 2)] {
        runs.add(Layout::One, &Script::all(&CYCLE, length), copies, false);
    }
    run_all("cycles", runs, PACK).await;
}

#[tokio::test]
async fn snapshot_rows() {
    let mut runs = Runs::default();
    for (length, copies) in [(4, 0), (2, 2)] {
        runs.add(Layout::Two, &Script::all(&PLAIN, length), copies, true);
    }
    run_all("snapshot", runs, PACK).await;
}
