//! A cluster of three brokers, of which some are away.

use leafcutter_finlit::{FinLit, world_on};
use leafcutter_harness::{brokers::Brokers, failure::Result, stack::Stack};
use leafcutter_suites::run::Run;

const SLOWLY: [&str; 4] = ["--max-docs-per-second", "400", "--partitions", "3"];
/// So much is applied while a broker is away.
const GOES_ON: u64 = 500;

/// One is killed, and comes back when everybody has gone on without it: producer, consumers, their group, and the
/// dead letters. Then another one.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_is_away_and_everything_goes_on() -> Result<()> {
    let mut brokers = Brokers::up("").await?;
    let world = world_on(brokers.instead_of(Stack::from_env()?), "brokers").await?;
    let run = Run::begin_in(world, FinLit::new(41, 0.05), 200, &SLOWLY).await?;
    for _ in 0..2 {
        run.consumer()?;
    }
    run.until_applied(GOES_ON).await?;
    for broker in 1..=2 {
        brokers.kill(broker)?;
        run.until_applied(run.applied().await? + GOES_ON).await?;
        brokers.start_again(broker)?;
        brokers.until_in_sync().await?;
    }
    run.until_read().await?;
    run.finish().await.map(drop)
}
