//! A producer that was thought dead, and its successor.

use leafcutter_finlit::{Collection, FinLit, world};
use leafcutter_harness::{failure::Result, fleet::PRODUCER, probe};
use leafcutter_suites::run::{DEADLINE, Run};

const SLOWLY: [&str; 2] = ["--max-docs-per-second", "200"];
/// What a producer logs when it has read a collection.
const FINISHED: &str = "snapshot finished";
const SUCCESSOR: &str = "producer-2";

/// Both publish; the highest version wins. Then a third one begins where they have left off.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_wakes_beside_its_successor_does_no_harm() -> Result<()> {
    let world = world("zombie").await?;
    let run = Run::begin_in(world, FinLit::new(34, 0.05), 300, &SLOWLY).await?;
    run.consumer()?;
    run.until_applied(100).await?;
    run.fleet.signal(PRODUCER, "STOP")?;
    let read = run.fleet.count(PRODUCER, FINISHED)?;
    assert!(read < Collection::ALL.len(), "all was read before");
    run.fleet.tell_producers(&[]);
    run.fleet.start(SUCCESSOR)?;
    run.fleet.until_works(SUCCESSOR).await?;
    run.until_read().await?;

    run.fleet.signal(PRODUCER, "CONT")?;
    let complete = probe::until(
        DEADLINE,
        "the first one to end its snapshot as well",
        async || {
            run.fleet.check()?;
            let said = run.fleet.count(PRODUCER, "snapshot finished")?;
            Ok((said == Collection::ALL.len()).then_some(()))
        },
    );
    complete.await.map_err(|late| run.fleet.with_logs(&late))?;
    run.fleet.stop(SUCCESSOR, DEADLINE).await?;
    run.fleet.stop(PRODUCER, DEADLINE).await?;
    run.fleet.start(PRODUCER)?;
    run.fleet.until_works(PRODUCER).await?;
    let again = run.finish().await?;
    assert!(
        again.read > 0 && again.changes > 0,
        "only one of them published: {again:?}"
    );
    Ok(())
}
