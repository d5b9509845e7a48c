//! One migration in one world, step by step: what most suites are made of.

use bson::Timestamp;
use leafcutter_finlit::{
    Collection, FinLit,
    compare::{Sides, compare, dead_letters, report::Report},
    ledger::Ledger,
    load::load,
    traffic::{self, Done},
    unsettled,
};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    fault::{
        again::{self, Again},
        course::{Course, Struck},
        plan::Plan,
    },
    fleet::{Fleet, PRODUCER},
    probe,
    servers::Servers,
    topic,
    watch::Watch,
    world::World,
};
use rdkafka::message::Message as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio::{
    sync::watch::{Sender, channel},
    task::JoinHandle,
};

/// How long anything may take here.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A migration that goes on.
pub struct Run {
    /// Its programs. They go before their world does.
    pub fleet: Fleet,
    /// Where.
    pub world: World,
    ledger: Ledger,
    watch: Watch,
    traffic: Option<(Sender<bool>, JoinHandle<Result<Done>>)>,
    last_write: Option<Timestamp>,
}

impl Run {
    /// Fills MongoDB, begins to write so many times a second, and starts a producer.
    ///
    /// # Errors
    /// When a server fails, or the producer does not start.
    pub async fn begin(name: &str, finlit: FinLit, per_second: u32) -> Result<Self> {
        Self::begin_in(
            leafcutter_finlit::world(name).await?,
            finlit,
            per_second,
            &[],
        )
        .await
    }

    /// The same in a world of one's own, with more arguments for the producer.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_in(
        world: World,
        finlit: FinLit,
        per_second: u32,
        producer_is_told: &[&str],
    ) -> Result<Self> {
        load(&finlit, &world.source, |_| {}).await?;
        let watch = Watch::new(&world.place, &world.group).await?;
        let fleet = Fleet::new(&world.place, &world.group, producer_is_told);
        let (stop, stopped) = channel(false);
        let client = world.source.client().clone();
        let traffic = traffic::run(finlit, client, world.source.clone(), per_second, stopped);
        let run = Self {
            world,
            fleet,
            ledger: Ledger::of_load(&finlit),
            watch,
            traffic: Some((stop, tokio::spawn(traffic))),
            last_write: None,
        };
        run.fleet.first_producer().await?;
        Ok(run)
    }

    /// Starts one more consumer, and gives its name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn consumer(&self) -> Result<String> {
        self.fleet.consumer()
    }

    /// Waits until so many records are applied.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn until_applied(&self, records: u64) -> Result<()> {
        let what = format!("{records} records to be applied");
        let applied = probe::until(DEADLINE, &what, async || {
            self.fleet.check()?;
            Ok((self.applied().await? >= records).then_some(()))
        });
        let applied = applied.await;
        applied.map_err(|late| self.fleet.with_logs(&late))
    }

    /// Records that are applied.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn applied(&self) -> Result<u64> {
        let seen = self.watch.look().await?;
        let mut applied = 0;
        for collection in Collection::ALL {
            applied += seen.applied(&self.world.place.topic(collection.name())?);
        }
        Ok(applied)
    }

    /// Collections that the producer has read once.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn read(&self) -> Result<usize> {
        Ok(self.watch.look().await?.said.complete.len())
    }

    /// Waits until the producer has read everything once.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn until_read(&self) -> Result<()> {
        let read = probe::until(DEADLINE, "the end of the snapshots", async || {
            self.fleet.check()?;
            Ok((self.read().await? == Collection::ALL.len()).then_some(()))
        });
        let read = read.await;
        read.map_err(|late| self.fleet.with_logs(&late))
    }

    /// Stops the producer in the middle of its work and starts it without limits.
    ///
    /// # Errors
    /// When it does not end as it should.
    pub async fn hurry(&self) -> Result<()> {
        self.fleet.stop(PRODUCER, DEADLINE).await?;
        self.fleet.tell_producers(&[]);
        self.fleet.start(PRODUCER)
    }

    /// Kills parts of it, as planned, and gives what was done.
    ///
    /// # Errors
    /// When one does not come back.
    pub async fn suffer(&self, plan: &Plan, servers: &Servers) -> Result<Vec<Struck>> {
        let course = Course {
            plan,
            place: &self.world.place,
            fleet: &self.fleet,
            servers,
            watch: &self.watch,
            start: Instant::now(),
            struck: Vec::new().into(),
        };
        let done = course.run().await;
        done.map_err(|failure| self.fleet.with_logs(&failure))?;
        Ok(course.struck.into_inner())
    }

    /// Ends the traffic. Gives the time of the last write.
    ///
    /// # Errors
    /// When a write failed.
    pub async fn end_traffic(&mut self) -> Result<Timestamp> {
        if let Some((stop, traffic)) = self.traffic.take() {
            stop.send_replace(true);
            let done = traffic.await.attempt("write to MongoDB")??;
            self.ledger.extend(done.ledger);
            self.last_write = Some(done.last_write);
        }
        self.last_write
            .ok_or_else(|| Failure::new("there was no traffic"))
    }

    /// Waits until everything is applied and settled.
    ///
    /// # Errors
    /// When it does not come to that; the text says what is missing.
    pub async fn until_all_applied(&self, last_write: Timestamp) -> Result<()> {
        let check = |_: &_| self.fleet.check();
        let applied = self
            .watch
            .until_settled(last_write, DEADLINE, &unsettled::count(), check)
            .await;
        applied.map_err(|late| self.fleet.with_logs(&late))
    }

    /// What became of the records of the collections of which something is wrong, partition by partition.
    async fn counters(&self, report: &Report) -> Result<String> {
        const COUNTERS: &str = "\
            select to_json(o)::text from leafcutter.offsets o where topic = any($1) order by topic, partition";
        let mut topics = BTreeSet::new();
        for finding in &report.findings {
            topics.insert(self.world.place.topic(finding.collection.name())?);
        }
        let topics: Vec<String> = topics.into_iter().collect();
        let rows = self.world.target.query(COUNTERS, &[&topics]).await?;
        let rows: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        Ok(rows.join("\n"))
    }

    /// Where Kafka has records of the documents of which something is wrong: without any, they were lost before.
    fn records(&self, report: &Report) -> Result<String> {
        let mut places: BTreeMap<Collection, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
        for finding in &report.findings {
            let of_collection = places.entry(finding.collection).or_default();
            of_collection.entry(&finding.id).or_default();
        }
        let kafka = self.world.place.stack.kafka();
        let mut told = String::new();
        for (collection, mut places) in places {
            let topic = self.world.place.topic(collection.name())?;
            topic::read(&kafka, &topic, None, |record, (partition, offset)| {
                let id = record.key().and_then(|key| std::str::from_utf8(key).ok());
                if let Some(places) = id.and_then(|id| places.get_mut(id)) {
                    places.push(format!("{partition}:{offset}"));
                }
            })?;
            for (id, places) in places {
                told += &format!("  {} {id}: {}\n", collection.name(), places.join(" "));
            }
        }
        Ok(told)
    }

    /// Ends the traffic, waits until everything is applied, stops all programs, compares
    /// everything, and removes the world. Gives what was done more than once.
    ///
    /// # Errors
    /// When anything is not as it should be.
    pub async fn finish(mut self) -> Result<Again> {
        let last_write = self.end_traffic().await?;
        let is_consumer = |name: &String| name.starts_with("consumer");
        if self.fleet.names().iter().any(is_consumer) {
            self.until_all_applied(last_write).await?;
        }
        self.fleet.stop_all(DEADLINE).await?;
        if self.world.target.is_closed() {
            self.world.reconnect().await?;
        }
        let mut report = compare(Sides::of(&mut self.world), &self.ledger).await?;
        for finding in dead_letters::check(&self.world.place, &report.dead_letters)? {
            report.add(finding);
        }
        if !report.is_clean() {
            let counters = self.counters(&report).await?;
            let records = self.records(&report)?;
            let logs = self.world.keep_logs();
            let logs = logs.display();
            let text = format!(
                "{report}\n\nlogs: {logs}\nrecords in Kafka:\n{records}\nwhat became of them:\n{counters}"
            );
            return Err(Failure::new(text));
        }
        let again = again::count(&self.world.place, &self.fleet)?;
        drop(self.watch);
        self.world.close().await?;
        Ok(again)
    }
}
