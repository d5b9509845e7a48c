//! What was granted is taken back while a migration runs, and granted again.

use bson::{Document, doc};
use leafcutter_harness::{
    failure::{Failure, Result},
    fleet::{Fleet, PRODUCER},
    probe, program,
    rows::Rows,
    servers::KafkaOfUsers,
    source::now,
    stack::Stack,
    topic,
    watch::Watch,
    world::{Place, World},
};
use std::{process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(90);
const PASSWORD: &str = "granted";
const USERS: [&str; 2] = ["leafcutter-producer", "leafcutter-consumer"];
const CONSUMER: &str = "consumer-1";

const MAPPING: &str = "
version: 1
database: shop
collections:
  books:
    table: books
    key: id
    columns: { id: { path: _id, type: bigint }, n: integer }
";

/// Kafka's rights, as `leafcutter check --grants` prints them.
fn grants(place: &Place) -> Result<String> {
    let done = Command::new(program::find("leafcutter")?)
        .args(["check", "--grants", "--for", "kafka"])
        .env("LEAFCUTTER_MAPPING", &place.mapping)
        .env("LEAFCUTTER_PREFIX", &place.prefix)
        .env("LEAFCUTTER_GROUP", &place.prefix)
        .output()?;
    if done.status.success() {
        return Ok(String::from_utf8(done.stdout)?);
    }
    Err(Failure::new(String::from_utf8_lossy(&done.stderr)))
}

/// Kafka refuses the producer's records of a topic. No checkpoint passes them, and it goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_kafka_refuses_are_sent_when_they_are_allowed_again() -> Result<()> {
    let kafka = KafkaOfUsers::up(&USERS, PASSWORD).await?;
    let stack = Stack {
        kafka_brokers: kafka.brokers.clone(),
        ..Stack::from_env()?
    };
    let world = World::new(MAPPING, stack, "revoked").await?;
    kafka.grant(&grants(&world.place)?).await?;
    let place = Place {
        stack: Stack {
            kafka_brokers: kafka.brokers_of_users.clone(),
            ..world.place.stack.clone()
        },
        ..world.place.clone()
    };
    let fleet = Fleet::new(&place, &world.group, &[]);
    for (name, user) in [PRODUCER, CONSUMER].into_iter().zip(USERS) {
        let login = format!(
            "security.protocol=SASL_PLAINTEXT,sasl.mechanism=SCRAM-SHA-512,sasl.username={user},sasl.password={PASSWORD}"
        );
        fleet.tell(name, &["--kafka", &login]);
    }
    let books = world.source.collection::<Document>("books");
    let inserted = (0..100_i64).map(|id| doc! { "_id": id, "n": 0 });
    books.insert_many(inserted).await?;
    fleet.start(PRODUCER)?;
    fleet.until_works(PRODUCER).await?;
    fleet.consumer()?;
    let watch = Watch::new(&world.place, &world.group).await?;
    let name = world.place.topic("books")?;
    let applied = probe::until(PATIENCE, "the snapshot to be applied", async || {
        fleet.check()?;
        Ok(watch.look().await?.is_snapshot_applied(&name).then_some(()))
    });
    applied.await.map_err(|late| fleet.with_logs(&late))?;

    let deny = |verb: &str, operation: &str| {
        format!(
            "kafka-acls --bootstrap-server \"$BOOTSTRAP\" {verb} \
             --deny-principal User:leafcutter-producer --operation {operation} --topic {name}"
        )
    };
    kafka.grant(&deny("--add", "Write")).await?;
    let before = records(&world, &name)?;
    for id in 0..100_i64 {
        let change = doc! { "$set": { "n": 1 } };
        books.update_one(doc! { "_id": id }, change).await?;
    }
    let refused = "the run ended; beginning again at the checkpoint";
    probe::until(PATIENCE, "the producer to be refused", async || {
        fleet.check()?;
        Ok((fleet.count(PRODUCER, refused)? > 1).then_some(()))
    })
    .await
    .map_err(|late| fleet.with_logs(&late))?;
    fleet
        .until_ready_says(PRODUCER, 503, "source: beginning again")
        .await?;
    assert_eq!(records(&world, &name)?, before);
    kafka.grant(&deny("--remove --force", "Write")).await?;
    let check = |_: &_| fleet.check();
    let written = now(&world.source).await?;
    let applied = watch.until_applied(written, PATIENCE, check).await;
    applied.map_err(|late| fleet.with_logs(&late))?;
    let sums = Rows::of(&world.target, "select count(*), min(n), max(n) from books").await?;
    assert_eq!(sums.text(), "100|1|1");
    fleet.stop_all(PATIENCE).await?;
    // A topic whose settings cannot be seen may be one that Kafka compacts: it is not taken for right.
    kafka.grant(&deny("--add", "DescribeConfigs")).await?;
    fleet.start(PRODUCER)?;
    let ended = probe::until(PATIENCE, "the producer to end", async || {
        Ok(fleet.check().err().map(|ended| ended.to_string()))
    });
    let told = ended.await?;
    let told: Vec<&str> = told.split_whitespace().collect();
    let told = told.join(" ");
    for words in [
        "could not look at a topic's settings",
        &name,
        "DescribeConfigs",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    drop(watch);
    world.close().await
}

/// How many records a topic has.
fn records(world: &World, name: &str) -> Result<usize> {
    let mut records = 0;
    topic::read(&world.place.stack.kafka(), name, None, |_, _| records += 1)?;
    Ok(records)
}
