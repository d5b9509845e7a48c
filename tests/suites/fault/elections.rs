//! A replica set of three: another primary is elected and takes writes back, and a secondary lags.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    fleet::{Fleet, PRODUCER},
    probe,
    replica_set::{Hold, ReplicaSet},
    rows::Rows,
    source::{PAUSE, is_away, now},
    stack::Stack,
    topic,
    watch::Watch,
    world::World,
};
use mongodb::{
    Database,
    options::{Acknowledgment, WriteConcern},
};
use rdkafka::message::Message as _;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

const DEADLINE: Duration = Duration::from_secs(90);
const PEOPLE: i64 = 1_000;
/// What the writer makes has numbers from here on.
const WRITTEN: i64 = 1_000_000;
/// In each document that only the old primary has.
const DOOMED: &str = "doomed";

const MAPPING: &str = "
version: 1
database: town
collections:
  people:
    table: people
    key: id
    columns: { id: { path: _id, type: bigint }, name: text }
";

/// A migration from a replica set. Programs go before their servers.
struct Town {
    fleet: Fleet,
    watch: Watch,
    world: World,
    set: ReplicaSet,
}

impl Town {
    /// The set with its people; nothing runs yet.
    async fn new(test: &str, hidden: &[usize], producer_is_told: &[&str]) -> Result<Self> {
        let set = ReplicaSet::up(hidden).await?;
        let world = World::new(MAPPING, set.instead_of(Stack::from_env()?), test).await?;
        let filler = "x".repeat(400);
        let people = (0..PEOPLE).map(|id| doc! { "_id": id, "name": "first", "filler": &filler });
        // All members have them.
        let all = WriteConcern::builder().w(Acknowledgment::Nodes(3)).build();
        let collection = world.source.collection("people");
        collection.insert_many(people).write_concern(all).await?;
        Ok(Self {
            fleet: Fleet::new(&world.place, &world.group, producer_is_told),
            watch: Watch::new(&world.place, &world.group).await?,
            world,
            set,
        })
    }

    /// Waits until the producer reads the people from this member, at a time that the member does not have.
    async fn until_a_read_waits(&self, member: usize) -> Result<()> {
        let reads = doc! {
            "command.find": "people", "command.$db": &self.world.place.database,
            "command.readConcern.afterClusterTime": { "$exists": true },
        };
        let ask = doc! { "aggregate": 1, "cursor": {}, "pipeline": [
            { "$currentOp": {} }, { "$match": reads },
        ] };
        let waits = probe::until(DEADLINE, "a read that waits", async || {
            self.fleet.check()?;
            let found = self.set.ask(member, ask.clone()).await?;
            let found = found.get_document("cursor")?.get_array("firstBatch")?;
            for wanted in found.iter().filter_map(Bson::as_document) {
                let concern = wanted
                    .get_document("command")?
                    .get_document("readConcern")?;
                let wanted = concern.get_timestamp("afterClusterTime")?;
                let status = self.set.ask(member, doc! { "replSetGetStatus": 1 }).await?;
                let there = status.get_document("optimes")?;
                let there = there.get_document("readConcernMajorityOpTime")?;
                if wanted > there.get_timestamp("ts")? {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        });
        waits.await.map_err(|late| self.fleet.with_logs(&late))
    }

    /// Whether the producer has read all people.
    async fn is_read(&self) -> Result<bool> {
        let topic = self.world.place.topic("people")?;
        let seen = self.watch.look().await?;
        Ok(seen.said.complete.contains_key(&topic))
    }

    /// Waits until something is applied.
    async fn until_some_applied(&self) -> Result<()> {
        let topic = self.world.place.topic("people")?;
        let applied = probe::until(DEADLINE, "records to be applied", async || {
            self.fleet.check()?;
            let seen = self.watch.look().await?;
            Ok((seen.applied(&topic) > 50).then_some(()))
        });
        applied.await.map_err(|late| self.fleet.with_logs(&late))
    }

    /// Waits until all that the source has now is applied, the snapshot too.
    async fn until_all_applied(&self) -> Result<()> {
        let topic = self.world.place.topic("people")?;
        let snapshot = probe::until(DEADLINE, "the snapshot to be applied", async || {
            self.fleet.check()?;
            let seen = self.watch.look().await?;
            Ok(seen.is_snapshot_applied(&topic).then_some(()))
        });
        snapshot.await.map_err(|late| self.fleet.with_logs(&late))?;
        let check = |_: &_| self.fleet.check();
        let written = now(&self.world.source).await?;
        let applied = self.watch.until_applied(written, DEADLINE, check).await;
        applied.map_err(|late| self.fleet.with_logs(&late))
    }

    /// Makes sure that PostgreSQL has what the source has, and nothing else.
    async fn compare(&self) -> Result<()> {
        let source = self.world.source.collection::<Document>("people");
        let mut found = source.find(doc! {}).await?;
        let mut people = BTreeSet::new();
        while let Some(person) = found.try_next().await? {
            people.insert(format!(
                "{} {}",
                person.get_i64("_id")?,
                person.get_str("name")?
            ));
        }
        let sql = "select id || ' ' || name from people";
        let rows = self.world.target.query(sql, &[]).await?;
        let rows: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        let differing: Vec<_> = rows.symmetric_difference(&people).collect();
        assert!(differing.is_empty(), "on one side only: {differing:?}");
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.fleet.stop_all(DEADLINE).await?;
        drop(self.watch);
        self.world.close().await
    }
}

/// Writes one document after the other until it is ended, each until the majority has confirmed it.
struct Writer {
    end: watch::Sender<bool>,
    confirmed: Arc<AtomicI64>,
    task: JoinHandle<Result<()>>,
}

impl Writer {
    fn begin(database: &Database) -> Self {
        let (end, ended) = watch::channel(false);
        let confirmed = Arc::new(AtomicI64::new(0));
        let count = Arc::clone(&confirmed);
        let people = database.collection::<Document>("people");
        let task = tokio::spawn(async move {
            for number in 0.. {
                // Each is made, changed, and one of three deleted.
                let key = doc! { "_id": WRITTEN + number / 3 };
                let written = doc! { "name": format!("written {number}") };
                loop {
                    let done = if number % 9 == 8 {
                        let done = people.delete_one(key.clone());
                        done.write_concern(WriteConcern::majority()).await.map(drop)
                    } else {
                        let done = people.replace_one(key.clone(), &written).upsert(true);
                        done.write_concern(WriteConcern::majority()).await.map(drop)
                    };
                    match done {
                        Err(error) if is_away(&error) => tokio::time::sleep(PAUSE).await,
                        done => break done.attempt("write to the set")?,
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
                if *ended.borrow() {
                    break;
                }
            }
            Ok(())
        });
        Self {
            end,
            confirmed,
            task,
        }
    }

    /// Waits until the majority has confirmed some more.
    async fn until_more(&self) -> Result<()> {
        let before = self.confirmed.load(Ordering::SeqCst);
        probe::until(DEADLINE, "writes to be confirmed", async || {
            let confirmed = self.confirmed.load(Ordering::SeqCst);
            Ok((confirmed >= before + 20).then_some(()))
        })
        .await
    }

    async fn end(self) -> Result<()> {
        self.end.send_replace(true);
        self.task.await?
    }
}

/// Changes, makes and deletes people where only this member has it.
async fn doom(town: &Town, primary: usize) -> Result<()> {
    let mut changes = Vec::new();
    for id in (0..PEOPLE).step_by(3) {
        changes.push(doc! { "q": { "_id": id }, "u": { "$set": { "name": DOOMED } } });
    }
    let deletes = (1..PEOPLE).step_by(3);
    let deletes = deletes.map(|id| doc! { "q": { "_id": id }, "limit": 1 });
    // Between the others, so that splits that are read later would have them.
    let inserts = (2..PEOPLE).step_by(3);
    let inserts = inserts.map(|id| doc! { "_id": Bson::Double(id as f64 + 0.5), "name": DOOMED });
    let (deletes, inserts): (Vec<_>, Vec<_>) = (deletes.collect(), inserts.collect());
    let durable = doc! { "w": 1, "j": true };
    for what in [
        doc! { "update": "people", "updates": changes, "writeConcern": &durable },
        doc! { "delete": "people", "deletes": deletes, "writeConcern": &durable },
        doc! { "insert": "people", "documents": inserts, "writeConcern": &durable },
    ] {
        let database = &town.world.place.database;
        let done = town.set.ask_of(primary, database, what).await?;
        if done.contains_key("writeErrors") {
            return Err(Failure::new(format!("the old primary refuses: {done}")));
        }
    }
    Ok(())
}

/// Whether this member has taken back what only it had.
async fn has_rolled_back(town: &Town, member: usize) -> Result<bool> {
    let count = doc! { "count": "people", "query": { "name": DOOMED } };
    let database = &town.world.place.database;
    // It answers nobody while it does so.
    let Ok(count) = town.set.ask_of(member, database, count).await else {
        return Ok(false);
    };
    let kept = town.set.folder(member)?.join("rollback");
    Ok(count.get_i32("n")? == 0 && kept.read_dir().is_ok_and(|mut kept| kept.next().is_some()))
}

/// Records of the people that have something of what was taken back.
fn doomed_records(town: &Town) -> Result<usize> {
    let mut doomed = 0;
    let name = town.world.place.topic("people")?;
    topic::read(&town.world.place.stack.kafka(), &name, None, |record, _| {
        let value = record.payload().unwrap_or_default();
        let has = value
            .windows(DOOMED.len())
            .any(|part| part == DOOMED.as_bytes());
        doomed += usize::from(has);
    })?;
    Ok(doomed)
}

/// Under load, in the middle of a snapshot: the primary has writes that nobody else has, dies, and comes back
/// to another primary that knows nothing of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_primary_takes_back_was_never_published() -> Result<()> {
    // Slow enough for the snapshot to outlast the election, and in splits of some forty people.
    let slowly = ["--max-docs-per-second", "40", "--split-bytes", "20000"];
    let mut town = Town::new("election", &[], &slowly).await?;
    town.fleet.first_producer().await?;
    town.fleet.consumer()?;
    let writer = Writer::begin(&town.world.source);
    town.until_some_applied().await?;
    for secondary in [1, 2] {
        town.set.hold(secondary, Hold::Copies).await?;
    }
    doom(&town, 0).await?;
    town.until_a_read_waits(0).await?;
    assert!(!town.is_read().await?, "all was read before");

    town.set.kill(0)?;
    for secondary in [1, 2] {
        town.set.release(secondary, Hold::Copies).await?;
    }
    town.set.step_up(1).await?;
    writer.until_more().await?;
    town.set.start_again(0).await?;
    probe::until(DEADLINE, "the old primary to roll back", async || {
        Ok(has_rolled_back(&town, 0).await?.then_some(()))
    })
    .await?;
    // An election that takes nothing back.
    town.set.step_up(2).await?;
    writer.until_more().await?;
    assert!(!town.is_read().await?, "all was read before");
    town.fleet.stop(PRODUCER, DEADLINE).await?;
    town.fleet.tell_producers(&[]);
    town.fleet.start(PRODUCER)?;
    writer.until_more().await?;
    writer.end().await?;
    town.until_all_applied().await?;
    town.compare().await?;
    assert_eq!(doomed_records(&town)?, 0);
    town.end().await
}

/// The only secondary that can be read from has not applied what the majority has.
#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_that_lags_is_waited_for() -> Result<()> {
    let from_secondary = ["--read-preference", "secondary"];
    let town = Town::new("lagging", &[2], &from_secondary).await?;
    let people = town.world.source.collection::<Document>("people");
    let majority = WriteConcern::majority;
    // What it waits for it learns when there is something to apply.
    let nudge = people.insert_one(doc! { "_id": WRITTEN, "name": "nudge" });
    let nudge = nudge.write_concern(majority()).into_future();
    let (held, nudged) = tokio::join!(town.set.hold(1, Hold::Applies), nudge);
    held?;
    nudged?;
    let change = doc! { "$set": { "name": "second" } };
    let changed = people.update_many(doc! { "_id": { "$mod": [2, 0] } }, change);
    changed.write_concern(majority()).await?;
    let deleted = people.delete_many(doc! { "_id": { "$mod": [3, 0] } });
    deleted.write_concern(majority()).await?;
    town.fleet.first_producer().await?;
    town.fleet.consumer()?;
    town.until_a_read_waits(1).await?;
    assert!(!town.is_read().await?);
    town.set.release(1, Hold::Applies).await?;
    town.until_all_applied().await?;
    town.compare().await?;

    // What happens later is read where it happens first.
    let (held, changed) = tokio::join!(
        town.set.hold(1, Hold::Applies),
        people
            .update_many(doc! {}, doc! { "$set": { "name": "third" } })
            .write_concern(majority())
            .into_future()
    );
    held?;
    changed?;
    town.until_all_applied().await?;
    let names = Rows::of(&town.world.target, "select distinct name from people").await?;
    assert_eq!(names.text(), "third");
    town.set.release(1, Hold::Applies).await?;
    town.end().await
}
