//! What lies between the programs and their servers: a connection that takes and gives nothing, a slow
//! network, and an address that leads to another server.

use bson::{Document, doc};
use leafcutter_finlit::{FinLit, world_on};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    fleet::{Fleet, PRODUCER},
    probe,
    proxy::{Flow, Proxy},
    rows::Rows,
    servers::{OwnPostgres, Server},
    source::now,
    stack::Stack,
    standby::Standby,
    watch::Watch,
    world::{Place, World},
};
use leafcutter_suites::run::{DEADLINE, Run};
use std::time::{Duration, Instant};

const CONSUMER: &str = "consumer-1";

const MAPPING: &str = "
version: 1
database: far
collections:
  people:
    table: people
    key: id
    columns: { id: { path: _id, type: bigint }, n: integer, text: text }
";

/// Programs that reach MongoDB and PostgreSQL through a proxy each; the test itself reaches them as they are.
struct Far {
    fleet: Fleet,
    watch: Watch,
    mongodb: Proxy,
    postgres: Proxy,
    world: World,
}

impl Far {
    async fn new(test: &str) -> Result<Self> {
        let world = World::new(MAPPING, Stack::from_env()?, test).await?;
        let near = &world.place.stack;
        let mongodb = Proxy::before(host(&near.mongodb_uri)?).await?;
        let postgres = Proxy::before(host(&near.postgres_uri)?).await?;
        let stack = Stack {
            mongodb_uri: format!(
                "mongodb://127.0.0.1:{}/?directConnection=true",
                mongodb.port
            ),
            postgres_uri: postgres.instead(&near.postgres_uri),
            ..near.clone()
        };
        let place = Place {
            stack,
            ..world.place.clone()
        };
        Ok(Self {
            fleet: Fleet::new(&place, &world.group, &[]),
            watch: Watch::new(&world.place, &world.group).await?,
            mongodb,
            postgres,
            world,
        })
    }

    /// So many documents, of a kilobyte each.
    async fn insert(&self, from: i64, count: i64) -> Result<()> {
        let text = "x".repeat(1_000);
        let people = (from..from + count).map(|id| doc! { "_id": id, "n": 0, "text": &text });
        let collection = self.world.source.collection::<Document>("people");
        collection.insert_many(people).await?;
        Ok(())
    }

    /// Changes all documents; gives how many.
    async fn change_all(&self) -> Result<()> {
        let collection = self.world.source.collection::<Document>("people");
        let change = doc! { "$inc": { "n": 1 } };
        collection.update_many(doc! {}, change).await?;
        Ok(())
    }

    async fn begin(&self) -> Result<()> {
        self.fleet.first_producer().await?;
        self.fleet.consumer()?;
        let topic = self.world.place.topic("people")?;
        let applied = probe::until(DEADLINE, "the snapshot to be applied", async || {
            self.fleet.check()?;
            let seen = self.watch.look().await?;
            Ok(seen.is_snapshot_applied(&topic).then_some(()))
        });
        applied.await.map_err(|late| self.fleet.with_logs(&late))
    }

    /// Waits until all that the source has now is applied, and makes sure that it is this.
    async fn until_applied(&self, people: i64, n: i64) -> Result<()> {
        let written = now(&self.world.source).await?;
        let check = |_: &_| self.fleet.check();
        let applied = self.watch.until_applied(written, DEADLINE, check).await;
        applied.map_err(|late| self.fleet.with_logs(&late))?;
        let sums = "select count(*), min(n), max(n), min(length(text)) from people";
        let sums = Rows::of(&self.world.target, sums).await?;
        assert_eq!(sums.text(), format!("{people}|{n}|{n}|1000"));
        let letters = "select count(*) from leafcutter.dead_letters";
        let letters = Rows::of(&self.world.target, letters).await?;
        assert_eq!(letters.text(), "0");
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.fleet.stop_all(DEADLINE).await?;
        drop(self.watch);
        self.world.close().await
    }
}

/// `host:port` of an address.
fn host(uri: &str) -> Result<&str> {
    let rest = uri.split_once("://").map(|(_, rest)| rest);
    let authority = rest.and_then(|rest| rest.split('/').next());
    let host = authority.and_then(|authority| authority.rsplit('@').next());
    host.ok_or_else(|| Failure::new(format!("no host in {uri}")))
}

/// Nothing is closed, and nobody is told. It is not ready meanwhile, and goes on when it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_take_and_give_nothing_are_waited_for() -> Result<()> {
    let far = Far::new("silent").await?;
    far.insert(0, 500).await?;
    far.begin().await?;

    far.postgres.set(Flow::Held);
    far.change_all().await?;
    far.fleet
        .until_ready_says(CONSUMER, 503, "postgres: ")
        .await?;
    assert!(far.postgres.held() > 0);
    far.postgres.set(Flow::Free);
    far.until_applied(500, 1).await?;
    far.fleet.until_ready_says(CONSUMER, 200, "ready").await?;

    far.mongodb.set(Flow::Held);
    far.change_all().await?;
    far.fleet
        .until_ready_says(PRODUCER, 503, "mongodb: ")
        .await?;
    far.mongodb.set(Flow::Free);
    far.until_applied(500, 2).await?;
    far.fleet.until_ready_says(PRODUCER, 200, "ready").await?;
    far.end().await
}

/// Half a megabyte a second, where two megabytes are read and two are written.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_is_lag_and_nothing_else() -> Result<()> {
    let far = Far::new("slow").await?;
    far.insert(0, 1_000).await?;
    for proxy in [&far.mongodb, &far.postgres] {
        proxy.set(Flow::Slow(5_000));
    }
    let start = Instant::now();
    far.begin().await?;
    far.change_all().await?;
    far.until_applied(1_000, 1).await?;
    assert!(start.elapsed() > Duration::from_secs(4), "it was not slow");
    for name in [PRODUCER, CONSUMER] {
        for told in ["beginning again", "reopening", "batch waits"] {
            assert_eq!(far.fleet.says(name, told)?, 0, "{name}: {told}");
        }
    }
    far.end().await
}

/// A standby that lacks the last commits takes over, at the same address.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacks_the_last_commits_takes_over() -> Result<()> {
    let primary = OwnPostgres::up().await?;
    let proxy = Proxy::before(host(&primary.uri)?).await?;
    let stack = Stack {
        postgres_uri: proxy.instead(&primary.uri),
        ..Stack::from_env()?
    };
    let slowly = ["--max-docs-per-second", "60"];
    let world = world_on(stack, "standby").await?;
    let run = Run::begin_in(world, FinLit::new(44, 0.02), 200, &slowly).await?;
    run.consumer()?;
    run.until_applied(100).await?;
    let standby = Standby::of(&primary.uri).await?;
    standby.fall_behind().await?;
    let applied = run.applied().await?;
    run.until_applied(applied + 200).await?;

    primary.servers.kill(Server::Postgres).await?;
    standby.promote().await?;
    let taken_back = run.applied().await?;
    proxy.lead_to(&standby.address());
    let name = &run.world.place.database;
    let client = standby.of_database(name).await?;
    let there = "select sum(next_offset)::bigint from leafcutter.offsets";
    let there: i64 = client
        .query_one(there, &[])
        .await
        .attempt("ask the standby")?
        .get(0);
    assert!(
        u64::try_from(there)? < taken_back,
        "the standby lacks nothing"
    );
    run.hurry().await?;
    run.until_read().await?;
    run.finish().await.map(drop)
}
