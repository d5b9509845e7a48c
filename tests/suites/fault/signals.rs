//! Programs are told to end while they cannot: a server does not answer, or somebody is in the way.

use leafcutter_finlit::{Collection, FinLit, world, world_on};
use leafcutter_harness::{
    failure::{Attempt, Result},
    fleet::PRODUCER,
    probe,
    servers::{OwnServers, Server},
};
use leafcutter_suites::run::{DEADLINE, Run};
use std::time::{Duration, Instant};

/// Slow enough for the snapshot to outlast what happens, however busy the machine is.
const SLOWLY: [&str; 2] = ["--max-docs-per-second", "60"];
/// Who was asked for it leaves in much less.
const AT_ONCE: Duration = Duration::from_secs(20);

/// It waits for a table that somebody has locked, and has a minute for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_consumer_at_once() -> Result<()> {
    let run = Run::begin_in(world("second").await?, FinLit::new(41, 0.02), 200, &SLOWLY).await?;
    run.fleet.tell("consumer-1", &["--drain", "60s"]);
    let consumer = run.consumer()?;
    run.until_applied(100).await?;
    let lock =
        "begin; lock table learners, learner_skill_states, interactions in access exclusive mode";
    let other = run.world.place.stack.postgres().await?;
    other.batch_execute(lock).await.attempt("lock tables")?;
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
                 and application_name like 'leafcutter writer %' and datname = current_database()";
    let waiting = probe::until(DEADLINE, "the consumer to wait for a lock", async || {
        run.fleet.check()?;
        let waiting: i64 = run.world.target.query_one(waits, &[]).await?.get(0);
        Ok((waiting > 0).then_some(()))
    });
    waiting.await.map_err(|late| run.fleet.with_logs(&late))?;
    let start = Instant::now();
    assert_eq!(run.fleet.force(&consumer, DEADLINE).await?, Some(8));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    other.batch_execute("commit").await?;
    run.fleet.start(&consumer)?;
    run.hurry().await?;
    run.finish().await.map(drop)
}

/// Neither can drain; each is gone when its time is over. What they had in hand comes again.
#[tokio::test(flavor = "multi_thread")]
async fn programs_are_ended_while_kafka_is_away() -> Result<()> {
    const DRAIN: [&str; 2] = ["--drain", "2s"];
    let own = OwnServers::up().await?;
    let world = world_on(own.stack.clone(), "without_kafka").await?;
    let run = Run::begin_in(world, FinLit::new(42, 0.02), 200, &[SLOWLY, DRAIN].concat()).await?;
    run.fleet.tell("consumer-1", &DRAIN);
    let consumer = run.consumer()?;
    run.until_applied(100).await?;
    assert!(
        run.read().await? < Collection::ALL.len(),
        "all was read before"
    );
    own.servers.kill(Server::Kafka).await?;
    for (name, codes) in [(consumer.as_str(), [0, 8]), (PRODUCER, [8, 8])] {
        let start = Instant::now();
        let code = run.fleet.end(name, DEADLINE).await?;
        assert!(
            code.is_some_and(|code| codes.contains(&code)),
            "{name}: {code:?}"
        );
        assert!(start.elapsed() < AT_ONCE, "{name}: {:?}", start.elapsed());
    }
    own.servers.start(Server::Kafka).await?;
    run.fleet.tell_producers(&[]);
    run.fleet.start(PRODUCER)?;
    run.fleet.start(&consumer)?;
    run.until_read().await?;
    run.finish().await.map(drop)
}
