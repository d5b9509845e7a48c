//! Consumers come, go, die and freeze; the others do their work.

use leafcutter_finlit::{Collection, FinLit, world};
use leafcutter_harness::{
    dice::Dice,
    failure::{Attempt, Result},
    probe,
};
use leafcutter_suites::run::{DEADLINE, Run};
use std::collections::BTreeSet;

/// Slow enough for the snapshot to outlast what happens to consumers, however busy the machine is.
const SLOWLY: [&str; 2] = ["--max-docs-per-second", "60"];

#[tokio::test(flavor = "multi_thread")]
async fn of_four_consumers_two_are_stopped_and_one_is_killed() -> Result<()> {
    let world = world("four").await?;
    let run = Run::begin_in(world, FinLit::new(32, 0.05), 300, &SLOWLY).await?;
    for _ in 0..4 {
        run.consumer()?;
    }
    until_owners(&run, 4).await?;
    until_more_applied(&run).await?;
    run.fleet.stop("consumer-2", DEADLINE).await?;
    until_more_applied(&run).await?;
    run.fleet.kill("consumer-3")?;
    until_more_applied(&run).await?;
    run.fleet.stop("consumer-1", DEADLINE).await?;
    until_owners(&run, 1).await?;
    until_more_applied(&run).await?;
    until_it_hurries(&run).await?;
    run.finish().await.map(drop)
}

/// Up to six of them; who comes, who is stopped and who is killed is drawn, and nobody waits for a rebalance to end.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_come_and_go_at_random_lose_nothing() -> Result<()> {
    let world = world("come-and-go").await?;
    let run = Run::begin_in(world, FinLit::new(35, 0.05), 300, &SLOWLY).await?;
    let mut dice = Dice::new(&[35]);
    let mut there = vec![run.consumer()?];
    for _ in 0..14 {
        if there.len() == 1 || (there.len() < 6 && dice.percent(55)) {
            there.push(run.consumer()?);
        } else {
            let name = there.swap_remove(dice.below(there.len()));
            if dice.percent(50) {
                // Before that it takes no signal.
                let begun = async || Ok(run.fleet.consumer_id(&name).ok());
                probe::until(DEADLINE, "it to say who it is", begun).await?;
                run.fleet.stop(&name, DEADLINE).await?;
            } else {
                run.fleet.kill(&name)?;
            }
        }
        if dice.percent(40) {
            until_more_applied(&run).await?;
        }
    }
    until_it_hurries(&run).await?;
    run.finish().await.map(drop)
}

/// It holds its partitions' rows in an open transaction, and must not hold up the others for ever
/// nor write anything when it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_frozen_in_a_transaction_loses_its_partitions_and_wakes() -> Result<()> {
    let world = world("frozen").await?;
    let run = Run::begin_in(world, FinLit::new(33, 0.05), 300, &SLOWLY).await?;
    let frozen = run.consumer()?;
    run.consumer()?;
    let both = until_owners(&run, 2).await?;
    freeze_in_transaction(&run, &frozen).await?;

    let other = until_owners(&run, 1).await?;
    assert!(other.is_subset(&both), "{other:?}, {both:?}");
    until_more_applied(&run).await?;
    run.fleet.signal(&frozen, "CONT")?;
    until_owners(&run, 2).await?;
    until_it_hurries(&run).await?;
    run.finish().await.map(drop)
}

/// A crash of PostgreSQL took its last transactions back, or a copy that lags behind took over; and
/// nothing new comes.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_lost_is_read_again_though_nothing_comes() -> Result<()> {
    let mut run = Run::begin("took-back", FinLit::new(34, 0.02), 300).await?;
    run.consumer()?;
    run.until_read().await?;
    let last_write = run.end_traffic().await?;
    run.until_all_applied(last_write).await?;
    let take_back = "begin; \
        delete from daily_progress; \
        delete from leafcutter.parked where table_name = 'daily_progress'; \
        delete from leafcutter.tombstones where table_name = 'daily_progress'; \
        delete from leafcutter.dead_letters where topic like '%.daily_progress'; \
        update leafcutter.offsets set next_offset = 0, has_events = false, has_tombstones = false, \
        applied = 0, unchanged = 0, stale = 0, deleted = 0, held = 0, filtered = 0, parked = 0, \
        suppressed = 0, ignored = 0, dead_lettered = 0 where topic like '%.daily_progress'; \
        commit";
    run.world
        .target
        .batch_execute(take_back)
        .await
        .attempt("take back what was applied")?;
    run.until_all_applied(last_write).await?;
    run.finish().await.map(drop)
}

async fn until_more_applied(run: &Run) -> Result<()> {
    let applied = run.applied().await?;
    run.until_applied(applied + 50).await
}

/// Makes sure that all this happened in the middle of the snapshot, and lets it end.
async fn until_it_hurries(run: &Run) -> Result<()> {
    let read = run.read().await?;
    assert!(read < Collection::ALL.len(), "all was read before");
    run.hurry().await?;
    run.until_read().await
}

/// Waits until so many consumers own partitions; gives their ids.
async fn until_owners(run: &Run, count: usize) -> Result<BTreeSet<String>> {
    let what = format!("{count} consumers to own the partitions");
    let owners = probe::until(DEADLINE, &what, async || {
        run.fleet.check()?;
        // The first consumer makes the table.
        let there = "select to_regclass('leafcutter.offsets') is not null";
        if !run
            .world
            .target
            .query_one(there, &[])
            .await?
            .get::<_, bool>(0)
        {
            return Ok(None);
        }
        let sql = "select distinct owner from leafcutter.offsets";
        let rows = run.world.target.query(sql, &[]).await;
        let owners = rows.attempt("read the owners")?;
        let owners: BTreeSet<String> = owners.iter().map(|row| row.get(0)).collect();
        Ok((owners.len() == count).then_some(owners))
    });
    let owners = owners.await;
    owners.map_err(|late| run.fleet.with_logs(&late))
}

/// Freezes a consumer at a moment at which PostgreSQL waits for it, with a transaction open.
async fn freeze_in_transaction(run: &Run, name: &str) -> Result<()> {
    let id = run.fleet.consumer_id(name)?;
    let writer = format!("leafcutter writer {id}");
    let open = "select state from pg_stat_activity where application_name = $1 \
                and xact_start is not null and wait_event = 'ClientRead'";
    let frozen = probe::until(DEADLINE, "a moment in a transaction", async || {
        run.fleet.signal(name, "STOP")?;
        // What it had sent is done in a moment; then PostgreSQL waits, or there is nothing open.
        let settled = "select count(*) from pg_stat_activity where application_name = $1 \
                       and state = 'active' and wait_event is distinct from 'ClientRead'";
        probe::until(
            DEADLINE,
            "PostgreSQL to have done what was sent",
            async || {
                let busy: i64 = run
                    .world
                    .target
                    .query_one(settled, &[&writer])
                    .await?
                    .get(0);
                Ok((busy == 0).then_some(()))
            },
        )
        .await?;
        let found = run.world.target.query_opt(open, &[&writer]).await?;
        if found.is_none() {
            run.fleet.signal(name, "CONT")?;
        }
        Ok(found.map(|_| ()))
    });
    frozen.await
}
