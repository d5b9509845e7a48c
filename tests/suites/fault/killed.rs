//! Every part dies once. The servers are started for this alone: others go on using theirs.

use leafcutter_finlit::{Collection, FinLit, world_on};
use leafcutter_harness::{
    failure::Result,
    fault::plan::{Pace, Plan},
    servers::OwnServers,
};
use leafcutter_suites::run::Run;
use std::time::Duration;

const SEED: u64 = 3;
const PACE: Pace = Pace {
    pause: Duration::from_secs(2),
    outage: Duration::from_millis(1_500),
};

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_killed_once_and_every_document_arrives() -> Result<()> {
    let own = OwnServers::up().await?;
    let world = world_on(own.stack.clone(), "killed").await?;
    // Slow enough for the snapshot to outlast all kills, however busy the machine is.
    let slowly = ["--max-docs-per-second", "60"];
    let run = Run::begin_in(world, FinLit::new(31, 0.05), 200, &slowly).await?;
    run.consumer()?;
    run.consumer()?;
    let plan = Plan::new(SEED, 2, PACE);
    let struck = run.suffer(&plan, &own.servers).await?;

    assert_eq!(struck.len(), plan.blows.len());
    let mut applied = 0;
    for one in &struck {
        let mark = one.mark;
        assert!(
            mark.applied > applied && mark.read < Collection::ALL.len(),
            "{} was not killed in the middle: {struck:?}",
            one.victim
        );
        applied = mark.applied;
    }

    run.hurry().await?;
    run.until_read().await?;
    let again = run.finish().await?;
    assert!(
        again.read > 0,
        "nothing was read again, though the producer was killed while it read: {again:?}"
    );
    Ok(())
}
