//! The workloads that were chosen, one after the other, each in a world of its own.

use super::{
    args::Settings,
    figures::{Figures, Run},
    phases::{Backlog, Bench},
    population::{Documents, Population},
    table,
    workload::{Choice, finlit::Application, learners::Learners, orders::Orders, wide::Wide},
};
use leafcutter_finlit::MAPPING;
use leafcutter_harness::{failure::Result, stack::Stack, world::World};
use std::io::Write as _;

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
    for &choice in &settings.workload {
        Box::pin(measure(choice, settings, &mut figures)).await?;
        if !figures.is_right() {
            break;
        }
    }
    let text = if settings.json {
        serde_json::to_string_pretty(&figures)?
    } else {
        table::render(&figures)
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(figures.is_right())
}

/// Measures one workload; a second kind of it only when the first one was right.
async fn measure(choice: Choice, settings: &Settings, figures: &mut Figures) -> Result<()> {
    let seed = settings.seed;
    match choice {
        Choice::Learners => {
            let learners = Learners { seed, large: false };
            let run = numbered("learners", choice, settings, Box::new(learners)).await?;
            figures.workloads.push(run);
            if settings.large > 0 && figures.is_right() {
                figures.workloads.push(large(settings).await?);
            }
        }
        Choice::Finlit => {
            for (name, is_clean) in [("finlit", true), ("finlit, dirt", false)] {
                if figures.is_right() {
                    let run = finlit(name, settings, is_clean).await?;
                    figures.workloads.push(run);
                }
            }
        }
        Choice::Orders => {
            let run = numbered("orders", choice, settings, Box::new(Orders { seed })).await?;
            figures.workloads.push(run);
        }
        Choice::Wide => {
            let run = numbered("wide", choice, settings, Box::new(Wide { seed })).await?;
            figures.workloads.push(run);
        }
    }
    Ok(())
}

async fn numbered(
    name: &'static str,
    choice: Choice,
    settings: &Settings,
    documents: Box<dyn Documents>,
) -> Result<Run> {
    let world = world(&documents.mapping()?, name).await?;
    let size = choice.size(settings);
    let population = Population::new(&world.source, documents, size.documents);
    let bench = Bench::new(name, settings, world, population).await?;
    bench.measure(&size).await
}

async fn finlit(name: &'static str, settings: &Settings, is_clean: bool) -> Result<Run> {
    let world = world(MAPPING, "finlit").await?;
    let size = Choice::Finlit.size(settings);
    let application = Application::new(&world.source, settings.seed, size.documents, is_clean);
    let bench = Bench::new(name, settings, world, application).await?;
    bench.measure(&size).await
}

/// Learners of 1 MB: a snapshot, and an update of each.
async fn large(settings: &Settings) -> Result<Run> {
    let learners = Learners {
        seed: settings.seed,
        large: true,
    };
    let world = world(&learners.mapping()?, "large").await?;
    let population = Population::new(&world.source, Box::new(learners), settings.large);
    let mut bench = Bench::new("learners, 1 MB", settings, world, population).await?;
    bench.fill().await?;
    let mut migration = bench.snapshot().await?;
    if bench.is_right() {
        bench
            .drain(&mut migration, "updates", Backlog::Updates, settings.large)
            .await?;
    }
    bench.end(migration).await
}

async fn world(mapping: &str, name: &str) -> Result<World> {
    World::new(mapping, Stack::from_env()?, &format!("bench_{name}")).await
}
