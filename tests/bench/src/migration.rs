//! The real programs under measurement.
//!
//! The producer can be stopped and started again while the consumers stay; memory and CPU are
//! counted from the beginning of each phase.

use super::{args::Settings, figures::Used, process};
use bson::Timestamp;
use leafcutter_harness::{
    failure::{Failure, Result},
    fleet::PRODUCER,
    probe,
    program::Program,
    watch::Watch,
    world::World,
};
use leafcutter_schemas::version::Version;
use std::time::{Duration, Instant};

/// How long a program may take to end.
const STOP: Duration = Duration::from_secs(60);

/// One producer and its consumers.
pub struct Migration {
    producer: Option<(Program, Duration)>,
    consumers: Vec<(Program, Duration)>,
    more: Vec<String>,
}

impl Migration {
    /// Starts the consumers, then the producer; gives the moment before the producer's start.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(world: &World, settings: &Settings) -> Result<(Self, Instant)> {
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let more = words(&settings.consumer);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let mut consumers = Vec::new();
        for number in 1..=settings.consumers {
            let name = format!("consumer {number}");
            let consumer = world.place.consumer(&name, &world.group, &more)?;
            consumers.push((consumer, Duration::ZERO));
        }
        let mut migration = Self {
            producer: None,
            consumers,
            more: words(&settings.producer),
        };
        let began = migration.start_producer(world)?;
        Ok((migration, began))
    }

    /// Starts the producer; gives the moment before.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_producer(&mut self, world: &World) -> Result<Instant> {
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        let began = Instant::now();
        self.producer = Some((world.place.producer(PRODUCER, &more)?, Duration::ZERO));
        Ok(began)
    }

    /// Stops the producer.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop_producer(&mut self) -> Result<()> {
        match self.producer.take() {
            Some((producer, _)) => producer.stop(STOP).await,
            None => Ok(()),
        }
    }

    /// Stops everything.
    ///
    /// # Errors
    /// When one does not end well.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_producer().await?;
        for (consumer, _) in self.consumers {
            consumer.stop(STOP).await?;
        }
        Ok(())
    }

    /// Counts memory and CPU from here on.
    ///
    /// # Errors
    /// When a program is gone.
    pub fn begin_phase(&mut self) -> Result<()> {
        for (program, cpu) in self.producer.iter_mut().chain(&mut self.consumers) {
            process::reset_peak(program.id())?;
            *cpu = process::cpu(program.id())?;
        }
        Ok(())
    }

    /// What each program has used since then.
    ///
    /// # Errors
    /// When a program is gone.
    pub fn used(&self) -> Result<Vec<Used>> {
        let programs = self.producer.iter().chain(&self.consumers);
        programs
            .map(|(program, before)| {
                Ok(Used {
                    program: program.name.clone(),
                    peak_kib: process::peak_kib(program.id())?,
                    cpu_seconds: (process::cpu(program.id())? - *before).as_secs_f64(),
                })
            })
            .collect()
    }

    /// Makes sure that all of them run.
    ///
    /// # Errors
    /// When one has ended.
    pub fn check(&mut self) -> Result<()> {
        let mut programs = self.producer.iter_mut().chain(&mut self.consumers);
        programs.try_for_each(|(program, _)| program.check())
    }

    /// Waits until everything written before `until` is applied.
    ///
    /// # Errors
    /// When the deadline passes, or a program ends.
    pub async fn until_applied(
        &mut self,
        topics: &[String],
        watch: &Watch,
        until: Timestamp,
        deadline: Duration,
    ) -> Result<()> {
        let until = Version::from_cluster_time(until);
        let mut missing = String::new();
        let waited = probe::until(deadline, "everything to be applied", async || {
            self.check()?;
            let seen = watch.look().await?;
            let mut topics = topics.iter();
            if let Some(topic) = topics.find(|topic| !seen.is_snapshot_applied(topic)) {
                let applied = seen.applied(topic);
                missing = format!("the snapshot of {topic}, {applied} records applied");
                return Ok(None);
            }
            match seen.missing(until) {
                Some(what) => missing = what,
                None => return Ok(Some(())),
            }
            Ok(None)
        })
        .await;
        waited.map_err(|late| Failure::new(format!("{late}: {missing}")))
    }
}
