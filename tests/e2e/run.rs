//! One migration in one world, step by step.

use bson::Timestamp;
use leafcutter_tests::{
    failure::{Attempt, Failure, Result},
    finlit::{
        Collection, FinLit,
        compare::{compare, letters},
        ledger::Ledger,
        load::load,
        traffic::{self, Done},
    },
    probe,
    program::Program,
    watch::Watch,
    world::World,
};
use std::time::Duration;
use tokio::{
    sync::watch::{Sender, channel},
    task::JoinHandle,
};

/// How long anything may take here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A migration that goes on.
pub(crate) struct Run {
    pub(crate) world: World,
    ledger: Ledger,
    watch: Watch,
    programs: Vec<Program>,
    consumers: u32,
    traffic: Option<(Sender<bool>, JoinHandle<Result<Done>>)>,
    last_write: Option<Timestamp>,
}

impl Run {
    /// Fills MongoDB, begins to write so many times a second, and starts a producer.
    pub(crate) async fn begin(name: &str, finlit: FinLit, per_second: u32) -> Result<Self> {
        let world = World::new(name).await?;
        load(&finlit, &world.source, |_| {}).await?;
        let watch = Watch::new(&world.place, &world.group).await?;
        let (stop, stopped) = channel(false);
        let client = world.source.client().clone();
        let traffic = traffic::run(finlit, client, world.source.clone(), per_second, stopped);
        let mut run = Self {
            world,
            ledger: Ledger::of_load(&finlit),
            watch,
            programs: Vec::new(),
            consumers: 0,
            traffic: Some((stop, tokio::spawn(traffic))),
            last_write: None,
        };
        let mut producer = run.world.place.producer(&[])?;
        run.world.place.until_topics(&mut producer).await?;
        run.programs.push(producer);
        Ok(run)
    }

    /// Starts a producer.
    pub(crate) fn producer(&mut self) -> Result<()> {
        self.programs.push(self.world.place.producer(&[])?);
        Ok(())
    }

    /// Starts one more consumer, and gives its name.
    pub(crate) fn consumer(&mut self) -> Result<String> {
        self.consumers += 1;
        let name = format!("consumer-{}", self.consumers);
        self.programs
            .push(self.world.place.consumer(&name, &self.world.group, &[])?);
        Ok(name)
    }

    fn take(&mut self, name: &str) -> Result<Program> {
        let position = self
            .programs
            .iter()
            .position(|program| program.name == name);
        let position = position.ok_or_else(|| Failure::new(format!("no program `{name}`")))?;
        Ok(self.programs.remove(position))
    }

    /// Kills a program, as the kernel would.
    pub(crate) fn kill(&mut self, name: &str) -> Result<()> {
        self.take(name)?.kill()?;
        Ok(())
    }

    /// Asks a program to end, and waits for it.
    pub(crate) async fn stop(&mut self, name: &str) -> Result<()> {
        self.take(name)?.stop(DEADLINE).await
    }

    /// Asks all consumers to end.
    pub(crate) async fn stop_consumers(&mut self) -> Result<()> {
        let (consumers, others) = std::mem::take(&mut self.programs)
            .into_iter()
            .partition(|p| p.name != "producer");
        self.programs = others;
        for consumer in Vec::from_iter(consumers) {
            consumer.stop(DEADLINE).await?;
        }
        Ok(())
    }

    /// Waits until so many records are applied.
    pub(crate) async fn until_applied(&mut self, records: u64) -> Result<()> {
        let (watch, programs, place) = (&self.watch, &mut self.programs, &self.world.place);
        probe::until(
            DEADLINE,
            &format!("{records} records to be applied"),
            async || {
                programs.iter_mut().try_for_each(Program::check)?;
                let seen = watch.look().await?;
                let mut applied = 0;
                for collection in Collection::ALL {
                    applied += seen.applied(&place.topic(collection.name())?);
                }
                Ok((applied >= records).then_some(()))
            },
        )
        .await
    }

    /// Waits until the producer has read everything once.
    pub(crate) async fn until_read(&mut self) -> Result<()> {
        let (watch, programs) = (&self.watch, &mut self.programs);
        let read = probe::until(DEADLINE, "the end of the snapshots", async || {
            programs.iter_mut().try_for_each(Program::check)?;
            let complete = watch.look().await?.said.complete.len();
            Ok((complete == Collection::ALL.len()).then_some(()))
        });
        let read = read.await;
        read.map_err(|late| self.with_logs(&late))
    }

    /// Ends the traffic. Gives the time of the last write.
    pub(crate) async fn end_traffic(&mut self) -> Result<Timestamp> {
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
    pub(crate) async fn until_all_applied(&mut self, last_write: Timestamp) -> Result<()> {
        let programs = &mut self.programs;
        let check = |_: &_| programs.iter_mut().try_for_each(Program::check);
        let applied = self.watch.until_applied(last_write, DEADLINE, check).await;
        applied.map_err(|late| self.with_logs(&late))
    }

    fn with_logs(&self, late: &Failure) -> Failure {
        let logs = self
            .programs
            .iter()
            .map(|p| format!("\n{}:\n{}", p.name, p.tail()));
        Failure::new(format!("{late}{}", logs.collect::<String>()))
    }

    /// Ends the traffic, waits until everything is applied, stops all programs, compares
    /// everything, and removes the world.
    pub(crate) async fn finish(mut self) -> Result<()> {
        let last_write = self.end_traffic().await?;
        if self
            .programs
            .iter()
            .any(|program| program.name != "producer")
        {
            self.until_all_applied(last_write).await?;
        }
        for program in std::mem::take(&mut self.programs) {
            program.stop(DEADLINE).await?;
        }
        let mut report = compare(self.world.sides(), &self.ledger).await?;
        for finding in letters::check(&self.world.place, &report.letters)? {
            report.add(finding);
        }
        if !report.is_clean() {
            return Err(Failure::new(report.to_string()));
        }
        drop(self.watch);
        self.world.close().await
    }
}
