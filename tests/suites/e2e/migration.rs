//! Whole migrations of FinLit, by the real programs, while the application goes on writing.
//! Whatever else a test asserts, it ends with every document compared with every row.

use leafcutter_finlit::{FinLit, unsettled};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    fleet::PRODUCER,
    probe,
    watch::Watch,
    world::World,
};
use leafcutter_suites::run::{DEADLINE, Run};

#[tokio::test(flavor = "multi_thread")]
async fn nine_collections_arrive_whole_while_the_application_writes() -> Result<()> {
    let run = Run::begin("nine", FinLit::new(21, 0.02), 300).await?;
    run.consumer()?;
    run.until_read().await?;
    run.finish().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_work() -> Result<()> {
    let run = Run::begin("two", FinLit::new(22, 0.02), 300).await?;
    run.consumer()?;
    run.consumer()?;
    run.until_read().await?;
    // The producer may be done before a consumer has made the schema.
    run.until_applied(1).await?;
    let sql = "select count(distinct owner) from leafcutter.offsets";
    probe::until(DEADLINE, "both consumers to own partitions", async || {
        let owners: i64 = run.world.target.query_one(sql, &[]).await?.get(0);
        Ok((owners == 2).then_some(()))
    })
    .await?;
    run.finish().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_killed_is_replaced_by_the_other() -> Result<()> {
    let run = Run::begin("consumer_killed", FinLit::new(23, 0.05), 300).await?;
    let first = run.consumer()?;
    run.consumer()?;
    run.until_applied(1_000).await?;
    run.fleet.kill(&first)?;
    run.until_read().await?;
    run.finish().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_killed_goes_on_where_it_was() -> Result<()> {
    let run = Run::begin("producer_killed", FinLit::new(24, 0.05), 300).await?;
    run.consumer()?;
    run.until_applied(1_000).await?;
    run.fleet.kill(PRODUCER)?;
    run.fleet.start(PRODUCER)?;
    run.until_read().await?;
    run.fleet.kill(PRODUCER)?;
    run.fleet.start(PRODUCER)?;
    run.finish().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_stopped_and_started_goes_on_where_it_was() -> Result<()> {
    let run = Run::begin("consumer_stopped", FinLit::new(25, 0.02), 300).await?;
    let first = run.consumer()?;
    run.until_applied(500).await?;
    run.fleet.stop(&first, DEADLINE).await?;
    run.consumer()?;
    run.until_read().await?;
    run.finish().await.map(drop)
}

/// A fresh group begins every topic anew, on tables that are up to date already.
#[tokio::test(flavor = "multi_thread")]
async fn applying_everything_again_writes_no_row() -> Result<()> {
    let mut run = Run::begin("again", FinLit::new(26, 0.02), 300).await?;
    run.consumer()?;
    run.until_read().await?;
    let last_write = run.end_traffic().await?;
    run.until_all_applied(last_write).await?;
    run.fleet.stop_consumers(DEADLINE).await?;

    let before = written(&run.world).await?;
    let again = format!("{}-again", run.world.group);
    let watch = Watch::new(&run.world.place, &again).await?;
    let consumer = run.world.place.consumer("again", &again, &[])?;
    watch
        .until_settled(last_write, DEADLINE, &unsettled::count(), |_| Ok(()))
        .await?;
    consumer.stop(DEADLINE).await?;
    let after = written(&run.world).await?;
    assert_eq!(before, after, "table, rows, updated, deleted");
    run.finish().await.map(drop)
}

/// Per table: rows that are there, and how often one was updated or deleted, when all sessions
/// have told. Insertions do not count: a document whose unique value is taken is tried in vain.
async fn written(world: &World) -> Result<Vec<(String, i64, i64, i64)>> {
    world.until_alone().await?;
    let sql = "select relname::text, n_tup_upd, n_tup_del from pg_stat_user_tables \
               where schemaname = 'public' order by 1";
    let tables = world
        .target
        .query(sql, &[])
        .await
        .attempt("read the statistics")?;
    if tables.len() != 11 {
        return Err(Failure::new(format!("{} tables, not 11", tables.len())));
    }
    let mut written = Vec::new();
    for table in tables {
        let name: String = table.get(0);
        let count = format!("select count(*) from \"{name}\"");
        let rows = world.target.query_one(&count, &[]).await?.get(0);
        written.push((name, rows, table.get(1), table.get(2)));
    }
    Ok(written)
}
