//! A disk that is full.

use bson::{Binary, doc, spec::BinarySubtype};
use leafcutter_harness::{
    dice::Dice, failure::Result, fleet::Fleet, rows::Rows, servers::OwnPostgres, source::now,
    stack::Stack, watch::Watch, world::World,
};
use leafcutter_suites::run::DEADLINE;

const CONSUMER: &str = "consumer-1";

const MAPPING: &str = "
version: 1
database: disks
collections:
  files:
    table: files
    key: id
    columns: { id: { path: _id, type: bigint }, content: bytea }
";

/// A file of the server may become so large. More than a segment of the WAL; and the last page goes in by half, which
/// PostgreSQL takes for a full disk (`mdextend`).
const FILE_BYTES: u64 = (24 << 20) + 4_096;

/// The server's files cannot grow, until there is room again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgresql_is_waited_for() -> Result<()> {
    let server = OwnPostgres::up().await?;
    let stack = Stack {
        postgres_uri: server.uri.clone(),
        ..Stack::from_env()?
    };
    let world = World::new(MAPPING, stack, "disks").await?;
    let watch = Watch::new(&world.place, &world.group).await?;
    let fleet = Fleet::new(&world.place, &world.group, &[]);
    server.limit_files(Some(FILE_BYTES)).await?;
    fleet.first_producer().await?;
    fleet.consumer()?;
    let files = world.source.collection("files");
    let mut dice = Dice::new(&[53_100]);
    for id in 0..400_i64 {
        let bytes = (0..12_500).flat_map(|_| dice.number().to_le_bytes());
        let content = Binary {
            subtype: BinarySubtype::Generic,
            bytes: bytes.collect(),
        };
        files
            .insert_one(doc! { "_id": id, "content": content })
            .await?;
    }
    fleet
        .until_ready_says(CONSUMER, 503, "the server's disk is full")
        .await?;

    server.limit_files(None).await?;
    let written = now(&world.source).await?;
    let applied = watch.until_applied(written, DEADLINE, |_| fleet.check());
    applied.await.map_err(|late| fleet.with_logs(&late))?;
    let found = "select count(*), sum(length(content)), (select count(*) from \
                 leafcutter.dead_letters) from files";
    let found = Rows::of(&world.target, found).await?;
    assert_eq!(found.text(), "400|40000000|0");
    fleet.until_ready_says(CONSUMER, 200, "ready").await?;
    fleet.stop_all(DEADLINE).await?;
    drop(watch);
    world.close().await
}
