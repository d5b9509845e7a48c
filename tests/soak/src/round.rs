//! One round: a migration, writes and faults, and the comparison in the end.

use crate::{args::Settings, model::Model, traffic, workload::Workload};
use leafcutter_harness::{
    failure::{Failure, Result},
    fault::{
        course::{Course, Struck},
        plan::{Pace, Plan},
    },
    probe,
    servers::Servers,
    source::now,
};
use leafcutter_systems::migration::Migration;
use std::{
    cell::Cell,
    io::Write as _,
    time::{Duration, Instant},
};

/// The pauses between faults, and how long one lasts. A consumer that is frozen for longer than its
/// session loses what it has.
const FAULTS: Pace = Pace {
    pause: Duration::from_secs(4),
    outage: Duration::from_secs(15),
};
/// How long a round may take until its faults are over, and then until everything is applied.
const DEADLINE: Duration = Duration::from_secs(1_800);

/// Makes a round. It was right if there is no error.
///
/// # Errors
/// When it cannot be carried through, or a row is not what it has to be.
pub async fn run(settings: &Settings) -> Result<()> {
    let mut workload = settings.workload.workload();
    let servers = Servers::from_env()?;
    let documents = workload.documents();
    let system = workload.system();
    say(&format!(
        "{}: {} documents, {} faults, seed {}",
        system.name,
        documents.len(),
        settings.faults,
        settings.seed
    ))?;
    let model = Model::of(&documents, |document| workload.is_sound(document));
    let speed = workload.documents_per_second().to_string();
    let speed = ["--max-docs-per-second", &speed];
    let mut migration = Migration::begin_with(system, system.name, documents, &speed).await?;
    for _ in 2..settings.consumers {
        migration.fleet.consumer()?;
    }
    let done = disturbed(settings, &migration, &servers, workload.as_mut(), model).await;
    let right = match done {
        Ok(writes) => equal(&mut migration).await.map(|()| writes),
        Err(failure) => Err(failure),
    };
    match right {
        Ok(writes) => {
            let peaks: Vec<_> = migration
                .fleet
                .peaks()
                .iter()
                .map(|(name, kib)| format!("{name} {} MB", kib * 1024 / 1_000_000))
                .collect();
            say(&format!("Peak memory: {}", peaks.join(", ")))?;
            say(&format!(
                "{writes} writes, and every row is what it has to be"
            ))?;
            migration.finish().await
        }
        Err(failure) => {
            let folder = migration.world.keep_logs().display().to_string();
            let failure = format!("{failure}\nThe programs' logs: {folder}");
            Err(Failure::new(failure))
        }
    }
}

/// Writes and makes faults until the last fault is over and everything was read once. Gives how many
/// writes there were.
async fn disturbed(
    settings: &Settings,
    migration: &Migration,
    servers: &Servers,
    workload: &mut dyn Workload,
    model: Model,
) -> Result<u64> {
    let consumers = settings.consumers.into();
    let plan = Plan::of_faults(settings.seed, consumers, FAULTS, settings.faults.into());
    let course = Course {
        plan: &plan,
        place: &migration.world.place,
        fleet: &migration.fleet,
        servers,
        watch: &migration.watch,
        start: Instant::now(),
        struck: Vec::new().into(),
    };
    let stop = Cell::new(false);
    let writes = traffic::run(
        workload,
        model,
        &migration.world.source,
        (settings.seed, settings.rate),
        &stop,
    );
    let all = migration.world.place.collections.len();
    let mut told = 0;
    let watched = async {
        let what = "the last fault, and the end of the snapshots";
        let over = probe::until(DEADLINE, what, async || {
            migration.fleet.check()?;
            tell(&course.struck.borrow(), &mut told)?;
            let read = migration.watch.look().await?.said.complete.len();
            Ok((course.is_over() && read == all).then_some(()))
        });
        let over = over.await;
        stop.set(true);
        over
    };
    let ((), (), writes) = tokio::try_join!(course.run(), watched, writes)?;
    Ok(writes)
}

fn tell(struck: &[Struck], told: &mut usize) -> Result<()> {
    for one in struck.iter().skip(*told) {
        if one.down.is_some() {
            *told += 1;
            say(&format!("   {one}"))?;
        }
    }
    Ok(())
}

/// Waits until everything is applied, and every row is what it has to be.
async fn equal(migration: &mut Migration) -> Result<()> {
    let last_write = now(&migration.world.source).await?;
    let check = |_: &_| migration.fleet.check();
    let applied = migration.watch.until_applied(last_write, DEADLINE, check);
    applied.await?;
    migration.world.reconnect().await?;
    migration.until_equal().await
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
