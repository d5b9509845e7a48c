//! The phases, each of any workload: what is measured, from when to when, and that its rows are right.
//!
//! Time begins right before the process of the producer, or of the replay, is started and ends with the last
//! commit, so preflight, opening the stream and joining the group are in it. Backlogs are written while the
//! producer is stopped and the consumers wait. What is still to be settled then is waited for, so that it
//! does not disturb the next phase, and its time is kept apart.

use super::{
    args::Settings,
    figures::{Phase, Run},
    latency::{self, Plan},
    limit,
    migration::Migration,
    observe::Observer,
    process, replay,
    servers::Meter,
    workload::{Size, Workload},
};
use bson::doc;
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    source::now,
    watch::Watch,
    world::World,
};
use std::{
    io::Write as _,
    time::{Duration, Instant},
};

/// Between two looks at the positions.
const LOOK: Duration = Duration::from_millis(10);

/// What a backlog is made of.
#[derive(Debug, Clone, Copy)]
pub enum Backlog {
    /// Changes of documents.
    Updates,
    /// New documents.
    Inserts,
    /// Ends of documents.
    Deletes,
}

/// A world, its documents, and what was measured.
pub struct Bench<'a, W> {
    settings: &'a Settings,
    world: World,
    watch: Watch,
    workload: W,
    topics: Vec<String>,
    /// What was measured so far.
    pub run: Run,
}

/// A phase that has begun.
struct Begun {
    name: &'static str,
    unit: &'static str,
    count: u64,
    load: Option<f64>,
    meter: Meter,
    observer: Observer,
}

impl<'a, W: Workload> Bench<'a, W> {
    /// A bench of a world.
    ///
    /// # Errors
    /// When a server cannot be reached.
    pub async fn new(
        name: &'static str,
        settings: &'a Settings,
        world: World,
        workload: W,
    ) -> Result<Self> {
        let topics = workload.collections().into_iter();
        let topics: Result<_> = topics.map(|name| world.place.topic(name)).collect();
        Ok(Self {
            settings,
            watch: Watch::new(&world.place, &world.group).await?,
            topics: topics?,
            workload,
            world,
            run: Run {
                workload: name,
                ..Run::default()
            },
        })
    }

    /// Whether nothing was wrong so far.
    pub fn is_right(&self) -> bool {
        self.run.wrong.is_none()
    }

    /// Everything that is measured of a workload of this size.
    ///
    /// # Errors
    /// When it cannot be carried through.
    pub async fn measure(mut self, size: &Size) -> Result<Run> {
        self.fill().await?;
        let mut migration = self.snapshot().await?;
        if self.is_right() {
            self.limit().await?;
            self.replay(&mut migration, "replay, same", None).await?;
        }
        if self.is_right()
            && let Some(disturbance) = self.workload.disturbance()
        {
            self.replay(&mut migration, "replay, other", Some(&disturbance))
                .await?;
        }
        self.rest().await?;
        let backlogs = [
            ("updates", Backlog::Updates, size.updates),
            ("inserts", Backlog::Inserts, size.inserts),
            ("deletes", Backlog::Deletes, size.deletes),
        ];
        for (name, backlog, count) in backlogs {
            if count > 0 && self.is_right() {
                self.drain(&mut migration, name, backlog, count).await?;
            }
        }
        for &rate in &size.rates {
            if self.settings.seconds > 0 && self.is_right() {
                self.latency(&mut migration, rate).await?;
            }
        }
        self.end(migration).await
    }

    /// Fills MongoDB.
    ///
    /// # Errors
    /// When it refuses a document.
    pub async fn fill(&mut self) -> Result<()> {
        let began = Instant::now();
        self.workload.fill().await?;
        let took = began.elapsed().as_secs_f64();
        let mut bytes = 0;
        for collection in self.workload.collections() {
            let stats = doc! { "collStats": collection };
            let stats = self.world.source.run_command(stats).await;
            let stats = stats.attempt("ask for the size of a collection")?;
            let size = stats.get("size");
            let size = size.and_then(|size| size.as_i64().or(size.as_i32().map(Into::into)));
            bytes += u64::try_from(size.unwrap_or_default())?;
        }
        let count = self.workload.count();
        self.run.documents = count;
        self.run.document_bytes = bytes / count.max(1);
        tell(&format!(
            "{}: filled MongoDB with {count} documents of {} bytes ({took:.1} s)",
            self.run.workload, self.run.document_bytes
        ))
    }

    /// Starts the programs and carries everything.
    ///
    /// # Errors
    /// When it cannot be carried through.
    pub async fn snapshot(&mut self) -> Result<Migration> {
        let count = self.workload.count();
        let begun = self.begin("snapshot", "docs", count).await?;
        let (mut migration, began) = Migration::start(&self.world, self.settings)?;
        self.finish(&mut migration, begun, began).await?;
        Ok(migration)
    }

    /// Writes a backlog while the producer is stopped, and lets it be drained.
    ///
    /// # Errors
    /// When it cannot be carried through.
    pub async fn drain(
        &mut self,
        migration: &mut Migration,
        name: &'static str,
        backlog: Backlog,
        count: u32,
    ) -> Result<()> {
        migration.stop_producer().await?;
        let began = Instant::now();
        let count = match backlog {
            Backlog::Updates => self.workload.update(count).await?,
            Backlog::Inserts => self.workload.insert(count).await?,
            Backlog::Deletes => self.workload.delete(count).await?,
        };
        let took = began.elapsed().as_secs_f64();
        tell(&format!("wrote a backlog: {count} {name} ({took:.1} s)"))?;
        migration.begin_phase()?;
        let begun = self.begin(name, "events", count).await?;
        let began = migration.start_producer(&self.world)?;
        self.finish(migration, begun, began).await
    }

    /// Measures the limit beside the snapshot.
    async fn limit(&mut self) -> Result<()> {
        let mut limit = limit::measure(&self.world, &self.workload).await?;
        let snapshot = self
            .run
            .phases
            .iter()
            .find(|phase| phase.name == "snapshot");
        limit.against(snapshot.map_or(0.0, |phase| phase.per_second));
        tell(&format!(
            "limit: {} rows copied in {:.1} s, all documents read in {:.1} s",
            limit.rows,
            limit.copy_seconds + limit.constraints_seconds,
            limit.scan_seconds
        ))?;
        self.run.limit = Some(limit);
        self.rest().await
    }

    /// Replays all topics over rows as they are, or over rows that were disturbed.
    async fn replay(
        &mut self,
        migration: &mut Migration,
        name: &'static str,
        disturbance: Option<&str>,
    ) -> Result<()> {
        if let Some(disturbance) = disturbance {
            let disturbed = self.world.target.batch_execute(disturbance).await;
            disturbed.attempt(disturbance)?;
            self.rest().await?;
        }
        migration.begin_phase()?;
        let begun = self.begin(name, "records", self.workload.count()).await?;
        let began = replay::run(&self.world, self.settings.deadline).await?;
        self.finish(migration, begun, began).await?;
        let (unchanged, applied) = replay::outcomes(&self.world).await?;
        let Some(phase) = self.run.phases.last_mut() else {
            return Ok(());
        };
        phase.unchanged = Some(unchanged);
        let is_expected = if disturbance.is_none() {
            unchanged == phase.count
        } else {
            applied > 0
        };
        if !is_expected && self.workload.is_clean() {
            let count = phase.count;
            let wrong = format!(
                "after {name}: of {count} records {unchanged} were unchanged, {applied} written"
            );
            tell(&wrong)?;
            self.run.wrong.get_or_insert(wrong);
        }
        Ok(())
    }

    async fn begin(&self, name: &'static str, unit: &'static str, count: u64) -> Result<Begun> {
        let (stack, group) = (&self.world.place.stack, &self.world.group);
        Ok(Begun {
            name,
            unit,
            count,
            load: process::load(),
            meter: Meter::start(&self.world).await?,
            observer: Observer::start(stack, group, &self.topics, LOOK).await?,
        })
    }

    /// Waits for the end of a phase, keeps its figures, and looks whether it was right.
    async fn finish(
        &mut self,
        migration: &mut Migration,
        begun: Begun,
        began: Instant,
    ) -> Result<()> {
        let until = now(&self.world.source).await?;
        let deadline = self.settings.deadline;
        migration
            .until_applied(&self.topics, &self.watch, until, deadline)
            .await?;
        let (used, spent) = (migration.used()?, begun.meter.spent(&self.world).await?);
        let seen = begun.observer.finish().await?;
        self.settle(migration).await?;
        let settled = began.elapsed();
        let moved = || Failure::new("no position ever moved");
        let first = seen.first().ok_or_else(moved)? - began;
        let last = seen.last().ok_or_else(moved)? - began;
        let each = |bytes: u64| bytes as f64 / begun.count.max(1) as f64;
        let is_replay = begun.unit == "records";
        let phase = Phase {
            name: begun.name,
            unit: begun.unit,
            count: begun.count,
            first_seconds: first.as_secs_f64(),
            seconds: last.as_secs_f64(),
            settled_seconds: settled.as_secs_f64(),
            per_second: begun.count as f64 / last.as_secs_f64(),
            load: begun.load,
            used,
            servers: spent.servers,
            kafka_bytes_each: spent.kafka_bytes.filter(|_| !is_replay).map(each),
            wal_bytes_each: each(spent.wal_bytes),
            unchanged: None,
        };
        tell(&format!(
            "{}: {} {} in {:.1} s, settled after {:.1} s",
            phase.name, phase.count, phase.unit, phase.seconds, phase.settled_seconds
        ))?;
        let name = phase.name;
        self.run.phases.push(phase);
        self.verify(name).await
    }

    /// Waits until nothing waits any more and no index or foreign key is to come.
    async fn settle(&self, migration: &mut Migration) -> Result<()> {
        let until = now(&self.world.source).await?;
        let (deadline, unsettled) = (self.settings.deadline, self.workload.unsettled());
        let settled = self
            .watch
            .until_settled(until, deadline, &unsettled, |_| migration.check());
        settled.await
    }

    /// Lets the servers do now what the phases before have left to them: checkpoints, and rows to be
    /// vacuumed. They would do it within a minute, in the middle of what is measured.
    async fn rest(&self) -> Result<()> {
        for statement in ["vacuum (analyze)", "checkpoint"] {
            let done = self.world.target.batch_execute(statement).await;
            done.attempt(statement)?;
        }
        let admin = self.world.source.client().database("admin");
        admin
            .run_command(doc! { "fsync": 1 })
            .await
            .attempt("make MongoDB write a checkpoint")?;
        Ok(())
    }

    async fn latency(&mut self, migration: &mut Migration, rate: u32) -> Result<()> {
        let plan = Plan {
            rate,
            seconds: self.settings.seconds,
            deadline: self.settings.deadline,
        };
        tell(&format!("{rate} updates a second for {} s", plan.seconds))?;
        self.rest().await?;
        let measured = latency::measure(
            plan,
            &self.world,
            &self.watch,
            &mut self.workload,
            migration,
        );
        self.run.latencies.push(measured.await?);
        self.settle(migration).await?;
        self.verify("latency").await
    }

    async fn verify(&mut self, phase: &str) -> Result<()> {
        let verdict = self.workload.compare(&mut self.world).await?;
        let Some(wrong) = verdict.wrong else {
            self.run.verified += 1;
            return tell(&format!("  {} rows, every one right", verdict.rows));
        };
        let wrong = format!("after {phase}:\n  {wrong}");
        tell(&wrong)?;
        self.run.wrong = Some(wrong);
        Ok(())
    }

    /// Stops the programs and removes the world; gives what was measured.
    ///
    /// # Errors
    /// When a program does not end well, or a server fails.
    pub async fn end(self, migration: Migration) -> Result<Run> {
        migration.stop().await?;
        drop(self.watch);
        // What is wrong is left to be looked at.
        if self.run.wrong.is_some() {
            let database = &self.world.place.database;
            tell(&format!("left to be looked at: the database {database}"))?;
        } else {
            self.world.close().await?;
        }
        Ok(self.run)
    }
}

/// Progress, beside the result.
fn tell(line: &str) -> Result<()> {
    writeln!(std::io::stderr(), "{line}")?;
    Ok(())
}
