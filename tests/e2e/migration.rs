//! Whole migrations of FinLit, by the real programs, while the traffic goes on.

use leafcutter_tests::{
    failure::{Failure, Result},
    finlit::{
        FinLit,
        compare::{compare, letters, report::Report},
        ledger::Ledger,
        load::load,
        traffic,
    },
    probe,
    program::Program,
    watch::Watch,
    world::World,
};
use std::time::Duration;
use tokio::sync::watch::channel;

/// How long anything may take here.
const DEADLINE: Duration = Duration::from_secs(90);

/// Migrates everything with so many consumers, with traffic from before the snapshot's first read
/// until after its last, and compares.
async fn migrate(
    finlit: FinLit,
    world: &mut World,
    consumers: usize,
    per_second: u32,
) -> Result<Report> {
    load(&finlit, &world.source, |_| {}).await?;
    let watch = Watch::new(&world.place, &world.group).await?;
    let (stop, stopped) = channel(false);
    let client = world.source.client().clone();
    let traffic = tokio::spawn(traffic::run(
        finlit,
        client,
        world.source.clone(),
        per_second,
        stopped,
    ));
    let mut programs = vec![world.place.producer(&[])?];
    for n in 1..=consumers {
        programs.push(
            world
                .place
                .consumer(&format!("consumer-{n}"), &world.group, &[])?,
        );
    }
    probe::until(DEADLINE, "the end of the snapshots", async || {
        check(&mut programs)?;
        Ok((watch.look().await?.said.complete.len() == 9).then_some(()))
    })
    .await?;
    stop.send_replace(true);
    let done = traffic.await??;
    let applied = watch
        .until_applied(done.last_write, DEADLINE, |_| check(&mut programs))
        .await;
    if let Err(late) = applied {
        let logs: Vec<_> = programs
            .iter()
            .map(|p| format!("{}:\n{}", p.name, p.tail()))
            .collect();
        return Err(Failure::new(format!("{late}\n{}", logs.join("\n"))));
    }
    for program in programs {
        program.stop(DEADLINE).await?;
    }
    let mut ledger = Ledger::of_load(&finlit);
    ledger.extend(done.ledger);
    let mut report = compare(world.sides(), &ledger).await?;
    for finding in letters::check(&world.place, &report.letters)? {
        report.add(finding);
    }
    Ok(report)
}

fn check(programs: &mut [Program]) -> Result<()> {
    programs.iter_mut().try_for_each(Program::check)
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_collections_arrive_whole_while_the_application_writes() -> Result<()> {
    let mut world = World::new("nine").await?;
    let report = migrate(FinLit::new(21, 0.02), &mut world, 1, 300).await?;
    assert!(report.is_clean(), "{report}");
    world.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_work() -> Result<()> {
    let mut world = World::new("two").await?;
    let report = migrate(FinLit::new(22, 0.02), &mut world, 2, 300).await?;
    assert!(report.is_clean(), "{report}");
    world.close().await
}
