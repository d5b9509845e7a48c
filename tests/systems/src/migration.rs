//! One migration of a system, step by step.

use super::{System, differences, source::Source};
use bson::{Bson, Document, doc};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    fleet::{Fleet, PRODUCER},
    probe,
    source::{Writer, now},
    stack::Stack,
    watch::Watch,
    world::World,
};
use mongodb::Database;
use std::{collections::BTreeMap, time::Duration};

/// How long anything may take here.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long rows may need to be settled: documents that wait for a unique value are looked at every
/// ten seconds.
const SETTLED: Duration = Duration::from_secs(30);
/// The producer of time series.
const POLLS: &str = "producer-polls";
/// So slow that there is time to change what is being read.
const SLOWLY: [&str; 2] = ["--max-docs-per-second", "40"];
/// Documents that are inserted at once.
const INSERTED: usize = 1_000;
/// Differences that a failure shows.
const SHOWN: usize = 40;

/// A migration that goes on.
pub struct Migration {
    /// Its programs. They go before their world does.
    pub fleet: Fleet,
    /// Where.
    pub world: World,
    /// The application.
    pub writer: Writer,
    /// Who sees how far it is.
    pub watch: Watch,
    system: System,
    held: Vec<(&'static str, Document)>,
}

/// Inserts what there is before anything changes.
async fn fill(source: &Database, documents: Vec<(&'static str, Document)>) -> Result<()> {
    let mut by_collection: BTreeMap<&str, Vec<Document>> = BTreeMap::new();
    for (collection, document) in documents {
        by_collection.entry(collection).or_default().push(document);
    }
    for (name, documents) in by_collection {
        let collection = source.collection::<Document>(name);
        for some in documents.chunks(INSERTED) {
            let done = collection.insert_many(some).await;
            done.attempt(&format!("insert into `{name}`"))?;
        }
    }
    Ok(())
}

/// Rows inserted, updated and deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written(pub [i64; 3]);

impl Written {
    /// The same with so many more.
    #[must_use]
    pub fn and(self, inserted: i64, updated: i64, deleted: i64) -> Self {
        let [ins, upd, del] = self.0;
        Self([ins + inserted, upd + updated, del + deleted])
    }
}

impl Migration {
    /// Fills MongoDB, and starts a producer that reads slowly and two consumers. The first records
    /// are applied when it comes back.
    ///
    /// # Errors
    /// When a server or a program fails.
    pub async fn begin(system: System) -> Result<Self> {
        Self::begin_as(system, system.name).await
    }

    /// The same for one of several tests of a system.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_as(system: System, name: &str) -> Result<Self> {
        Self::begin_with(system, name, (system.documents)(), &SLOWLY).await
    }

    /// The same with documents and a speed of one's own: what the producer is told beside where
    /// everything is.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_with(
        system: System,
        name: &str,
        documents: Vec<(&'static str, Document)>,
        producer_is_told: &[&str],
    ) -> Result<Self> {
        let world = World::new(system.mapping, Stack::from_env()?, name).await?;
        for (collection, index) in (system.indexes)() {
            let collection = world.source.collection::<Document>(collection);
            collection.create_index(index).await?;
        }
        for series in system.series {
            let fields = doc! { "timeField": series.time, "metaField": series.meta };
            let create = doc! { "create": series.collection, "timeseries": fields };
            world.source.run_command(create).await?;
        }
        fill(&world.source, documents).await?;
        let migration = Self {
            fleet: Fleet::new(&world.place, &world.group, producer_is_told),
            writer: Writer(world.source.clone()),
            watch: Watch::new(&world.place, &world.group).await?,
            world,
            system,
            held: Vec::new(),
        };
        migration.share_out()?;
        migration.fleet.first_producer().await?;
        migration.fleet.consumer()?;
        migration.fleet.consumer()?;
        migration.until_begun().await?;
        Ok(migration)
    }

    /// Leaves the time series to a producer that polls them, as the head of the mapping says.
    fn share_out(&self) -> Result<()> {
        let series: Vec<&str> = self.system.series.iter().map(|s| s.collection).collect();
        if series.is_empty() {
            return Ok(());
        }
        let series = series.join(",");
        self.fleet.tell(PRODUCER, &["--except", &series]);
        let polls = [
            "--capture",
            "poll",
            "--poll-interval",
            "300ms",
            "--only",
            &series,
        ];
        self.fleet.tell(POLLS, &polls);
        self.fleet.start(POLLS)
    }

    async fn until_begun(&self) -> Result<()> {
        let begun = probe::until(DEADLINE, "the first records", async || {
            self.fleet.check()?;
            let next = self.watch.look().await?.next;
            let applied: i64 = next.values().flatten().map(|(_, next)| *next).sum();
            Ok((applied > 0).then_some(()))
        });
        let begun = begun.await;
        begun.map_err(|late| self.fleet.with_logs(&late))
    }

    /// A document was deleted, and its rows stay since others point to it.
    pub fn hold(&mut self, collection: &'static str, document: Document) {
        self.held.push((collection, document));
    }

    /// A document that was held is back, or nothing points to it any more.
    pub fn back(&mut self, collection: &str, id: &Bson) {
        self.held
            .retain(|(of, document)| *of != collection || document.get("_id") != Some(id));
    }

    /// Goes on without the limit, in a producer that was stopped in the middle of it.
    ///
    /// # Errors
    /// When the snapshot is over already: whatever was written was not written during it.
    pub async fn hurry(&self) -> Result<()> {
        let read = self.watch.look().await?.said.complete.len();
        if read == self.world.place.collections.len() {
            return Err(Failure::new("the snapshot was over before its end"));
        }
        self.fleet.stop(PRODUCER, DEADLINE).await?;
        self.fleet.tell_producers(&[]);
        self.fleet.start(PRODUCER)?;
        let all = self.world.place.collections.len();
        let read = probe::until(DEADLINE, "the end of the snapshots", async || {
            self.fleet.check()?;
            Ok((self.watch.look().await?.said.complete.len() == all).then_some(()))
        });
        let read = read.await;
        read.map_err(|late| self.fleet.with_logs(&late))
    }

    /// Waits until everything that was written is applied.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn until_applied(&self) -> Result<()> {
        let last_write = now(&self.world.source).await?;
        let check = |_: &_| self.fleet.check();
        let applied = self.watch.until_applied(last_write, DEADLINE, check);
        let applied = applied.await;
        applied.map_err(|late| self.fleet.with_logs(&late))
    }

    /// What is different from what has to be there; nothing if all is well.
    ///
    /// # Errors
    /// When a server fails.
    pub async fn differences(&self) -> Result<Vec<String>> {
        let place = &self.world.place;
        let source = Source::read(&self.world.source, &place.collections, &self.held).await?;
        let expected = (self.system.expected)(&source);
        differences::find(&self.world.target, place, &source, expected).await
    }

    /// Waits until everything is applied and settled, and every row is what it has to be.
    ///
    /// # Errors
    /// When it does not come to that, with every difference that is left.
    pub async fn until_equal(&self) -> Result<()> {
        self.until_applied().await?;
        let mut left = Vec::new();
        let equal = probe::until(SETTLED, "all rows to be right", async || {
            self.fleet.check()?;
            left = self.differences().await?;
            Ok(left.is_empty().then_some(()))
        });
        let equal = equal.await;
        equal.map_err(|late| {
            let number = left.len();
            left.truncate(SHOWN);
            Failure::new(format!("{late}: {number} differences\n{}", left.join("\n")))
        })
    }

    /// How many rows of a table were ever inserted, updated and deleted, when everybody has told.
    /// For that the consumers are stopped, and another one is started.
    ///
    /// # Errors
    /// When a program or PostgreSQL fails.
    pub async fn written(&self, table: &str) -> Result<Written> {
        self.fleet.stop_consumers(DEADLINE).await?;
        let target = &self.world.target;
        self.world.until_alone().await?;
        let sql = "select n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables \
                   where schemaname = 'public' and relname = $1";
        let row = target.query_one(sql, &[&table]).await?;
        self.fleet.consumer()?;
        Ok(Written([row.get(0), row.get(1), row.get(2)]))
    }

    /// Waits until everything is right, stops all programs, and removes the world.
    ///
    /// # Errors
    /// As [`Self::until_equal`].
    pub async fn finish(self) -> Result<()> {
        self.until_equal().await?;
        self.fleet.stop_all(DEADLINE).await?;
        drop(self.watch);
        self.world.close().await
    }
}
