//! The phases, one after the other.
//!
//! Time begins right before the producer's process is started and ends with the last commit, so
//! preflight, opening the stream and joining the group are in it. Backlogs are written while the
//! producer is stopped and the consumers wait.

use super::{
    args::Settings,
    figures::{Figures, Phase},
    latency::{self, Plan},
    mapping,
    migration::Migration,
    observe::Observer,
    population::{COLLECTION, Population},
    process, table, verify,
};
use bson::doc;
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    source::now,
    stack::Stack,
    watch::Watch,
    world::World,
};
use std::{
    io::Write as _,
    time::{Duration, Instant},
};

/// Between two looks at the positions.
const LOOK: Duration = Duration::from_millis(10);

/// Does everything and prints the figures. True: all rows were right.
///
/// # Errors
/// When it cannot be carried through.
pub async fn run(settings: &Settings) -> Result<bool> {
    let mut figures = Figures {
        processors: std::thread::available_parallelism().map_or(0, Into::into),
        consumers: settings.consumers,
        ..Figures::default()
    };
    small(settings, &mut figures).await?;
    if settings.large > 0 && figures.wrong.is_none() {
        large(settings, &mut figures).await?;
    }
    let text = if settings.json {
        serde_json::to_string_pretty(&figures)?
    } else {
        table::render(&figures)
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(figures.wrong.is_none())
}

/// A world, its learners, and the programs between.
struct Bench<'a> {
    settings: &'a Settings,
    world: World,
    watch: Watch,
    population: Population,
    figures: &'a mut Figures,
}

/// What a backlog is made of.
#[derive(Debug, Clone, Copy)]
enum Backlog {
    Updates,
    Inserts,
    Deletes,
}

async fn small(settings: &Settings, figures: &mut Figures) -> Result<()> {
    let mut bench = Bench::new("bench", settings, figures, false).await?;
    bench.fill(settings.documents).await?;
    let mut migration = bench.snapshot("snapshot").await?;
    let quarter = settings.updates / 4;
    let backlogs = [
        ("updates", Backlog::Updates, settings.updates),
        ("inserts", Backlog::Inserts, quarter),
        ("deletes", Backlog::Deletes, quarter.min(settings.documents)),
    ];
    for (name, backlog, count) in backlogs {
        if count > 0 && bench.is_right() {
            bench.drain(&mut migration, name, backlog, count).await?;
        }
    }
    if settings.seconds > 0 && bench.is_right() {
        bench.latency(&mut migration).await?;
    }
    bench.end(migration).await
}

/// The same with large documents: a snapshot, and an update of each.
async fn large(settings: &Settings, figures: &mut Figures) -> Result<()> {
    let mut bench = Bench::new("bench_large", settings, figures, true).await?;
    bench.fill(settings.large).await?;
    let mut migration = bench.snapshot("large snapshot").await?;
    if bench.is_right() {
        bench
            .drain(
                &mut migration,
                "large updates",
                Backlog::Updates,
                settings.large,
            )
            .await?;
    }
    bench.end(migration).await
}

impl<'a> Bench<'a> {
    async fn new(
        name: &str,
        settings: &'a Settings,
        figures: &'a mut Figures,
        large: bool,
    ) -> Result<Self> {
        let world = World::new(mapping::learners()?, Stack::from_env()?, name).await?;
        Ok(Self {
            settings,
            watch: Watch::new(&world.place, &world.group).await?,
            population: Population::new(&world.source, settings.seed, large),
            world,
            figures,
        })
    }

    fn is_right(&self) -> bool {
        self.figures.wrong.is_none()
    }

    async fn fill(&mut self, count: u32) -> Result<()> {
        let bytes = self.population.document_bytes();
        let began = Instant::now();
        self.population.insert(count).await?;
        let took = began.elapsed().as_secs_f64();
        tell(&format!(
            "filled MongoDB with {count} documents of {bytes} bytes ({took:.1} s)"
        ))
    }

    async fn snapshot(&mut self, name: &'static str) -> Result<Migration> {
        let load = process::load();
        let observer = self.observe().await?;
        let (mut migration, began) = Migration::start(&self.world, self.settings)?;
        let count = u64::try_from(self.population.count())?;
        self.finish(&mut migration, observer, began, (name, "docs", count, load))
            .await?;
        Ok(migration)
    }

    async fn drain(
        &mut self,
        migration: &mut Migration,
        name: &'static str,
        backlog: Backlog,
        count: u32,
    ) -> Result<()> {
        migration.stop_producer().await?;
        let began = Instant::now();
        match backlog {
            Backlog::Updates => self.population.update(count).await?,
            Backlog::Inserts => self.population.insert(count).await?,
            Backlog::Deletes => self.population.delete(count).await?,
        }
        let took = began.elapsed().as_secs_f64();
        tell(&format!("wrote a backlog: {count} {name} ({took:.1} s)"))?;
        migration.begin_phase()?;
        let load = process::load();
        let observer = self.observe().await?;
        let began = migration.start_producer(&self.world)?;
        self.finish(
            migration,
            observer,
            began,
            (name, "events", count.into(), load),
        )
        .await
    }

    async fn observe(&self) -> Result<Observer> {
        let topic = self.world.place.topic(COLLECTION)?;
        Observer::start(&self.world.place.stack, &self.world.group, &topic, LOOK).await
    }

    /// Waits for the end of a phase, keeps its figures, and looks whether it was right.
    async fn finish(
        &mut self,
        migration: &mut Migration,
        observer: Observer,
        began: Instant,
        (name, unit, count, load): (&'static str, &'static str, u64, Option<f64>),
    ) -> Result<()> {
        let until = now(&self.world.source).await?;
        let deadline = self.settings.deadline;
        migration
            .until_applied(&self.world, &self.watch, until, deadline)
            .await?;
        let seen = observer.finish().await?;
        let moved = || Failure::new("no position ever moved");
        let first = seen.first().ok_or_else(moved)? - began;
        let last = seen.last().ok_or_else(moved)? - began;
        let phase = Phase {
            name,
            unit,
            count,
            first_seconds: first.as_secs_f64(),
            seconds: last.as_secs_f64(),
            per_second: count as f64 / last.as_secs_f64(),
            load,
            used: migration.used()?,
        };
        tell(&format!("{name}: {count} {unit} in {:.1} s", phase.seconds))?;
        self.figures.phases.push(phase);
        self.verify(name).await
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

    async fn latency(&mut self, migration: &mut Migration) -> Result<()> {
        let plan = Plan {
            rate: self.settings.rate,
            seconds: self.settings.seconds,
            deadline: self.settings.deadline,
        };
        tell(&format!(
            "{} updates a second for {} s",
            plan.rate, plan.seconds
        ))?;
        self.rest().await?;
        let measured = latency::measure(
            plan,
            &self.world,
            &self.watch,
            &mut self.population,
            migration,
        );
        self.figures.latency = Some(measured.await?);
        self.verify("latency").await
    }

    async fn verify(&mut self, phase: &str) -> Result<()> {
        let expected = verify::expected(&self.population);
        let found = verify::found(&self.world.target).await?;
        if expected == found {
            self.figures.verified += 1;
            return tell(&format!("  {} rows, every one right", found.rows));
        }
        let wrong = format!("after {phase}:\n  {expected} were to be there,\n  {found} are");
        tell(&wrong)?;
        self.figures.wrong = Some(wrong);
        Ok(())
    }

    async fn end(self, migration: Migration) -> Result<()> {
        migration.stop().await?;
        drop(self.watch);
        // What is wrong is left to be looked at.
        if self.figures.wrong.is_some() {
            return tell(&format!(
                "left to be looked at: the database {}",
                self.world.place.database
            ));
        }
        self.world.close().await
    }
}

/// Progress, beside the result.
fn tell(line: &str) -> Result<()> {
    writeln!(std::io::stderr(), "{line}")?;
    Ok(())
}
