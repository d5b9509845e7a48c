//! One document that becomes more rows than anybody would plan for: as many elements as a document of 16 MB has
//! room for. It is a set of rows, in bounded memory, and so is each version that follows.

use bson::doc;
use leafcutter_harness::{
    failure::{Failure, Result},
    probe,
    program::Program,
    rows,
    rows::Rows,
    source::now,
    stack::Stack,
    watch::Watch,
    world::World,
};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(180);

/// What each program may hold then: the document several times over, as event, envelope, record and rows.
const PEAK_KIB_MAX: u64 = 512 << 10;

/// An element takes twelve bytes of BSON at this number of digits.
const ELEMENTS: i32 = 1_200_000;

const MAPPING: &str = "
version: 1
database: arrays
collections:
  lists:
    table: lists
    key: id
    columns: { id: { path: _id, type: integer }, name: text }
    children:
      - table: items
        from: items
        key: [list_id, n]
        columns:
          list_id: { parent: id }
          n: { position: true, type: integer }
          value: { path: ., type: integer }
";

const LISTS: &str = "\
    select l.id, l.name, count(*) as items, sum(i.value::bigint)::bigint as sum \
    from lists l join items i on i.list_id = l.id group by l.id order by l.id";

#[tokio::test]
async fn document_with_over_a_million_elements_is_rows_in_bounded_memory() -> Result<()> {
    let world = World::new(MAPPING, Stack::from_env()?, "arrays").await?;
    let lists = world.source.collection("lists");
    let elements = |count: i32| (0..count).collect::<Vec<i32>>();
    lists
        .insert_many([
            doc! { "_id": 1, "name": "small", "items": elements(3) },
            doc! { "_id": 2, "name": "large", "items": elements(100_000) },
            doc! { "_id": 3, "name": "largest", "items": elements(ELEMENTS) },
        ])
        .await?;
    let mut producer = world.place.producer("producer", &[])?;
    world.place.until_topics(&mut producer).await?;
    let mut consumer = world.place.consumer("consumer", &world.group, &[])?;
    let watch = Watch::new(&world.place, &world.group).await?;
    until_snapshot_applied(&world, &watch).await?;
    until_applied(&world, &watch, [&mut producer, &mut consumer]).await?;
    let sum = |count: i64| count * (count - 1) / 2;
    let largest = i64::from(ELEMENTS);
    let found = Rows::of(&world.target, LISTS).await?;
    assert_eq!(
        found,
        rows![
            { id: 1, name: "small", items: 3, sum: 3 },
            { id: 2, name: "large", items: 100_000, sum: (sum(100_000)) },
            { id: 3, name: "largest", items: largest, sum: (sum(largest)) }
        ]
    );
    // One element changes, another goes, and so does a whole document: one version in memory at a time.
    let set = doc! { "$set": { "name": "changed", "items.5": 7 } };
    for update in [set, doc! { "$pop": { "items": 1 } }] {
        lists.update_one(doc! { "_id": 3 }, update).await?;
        until_applied(&world, &watch, [&mut producer, &mut consumer]).await?;
    }
    lists.delete_one(doc! { "_id": 2 }).await?;
    until_applied(&world, &watch, [&mut producer, &mut consumer]).await?;
    let found = Rows::of(&world.target, LISTS).await?;
    assert_eq!(
        found,
        rows![
            { id: 1, name: "small", items: 3, sum: 3 },
            { id: 3, name: "changed", items: (largest - 1), sum: (sum(largest - 1) + 2) }
        ]
    );
    for (name, program) in [("producer", &mut producer), ("consumer", &mut consumer)] {
        let peak = program.peak_kib();
        println!("the {name} held {} MiB", peak >> 10);
        if peak > PEAK_KIB_MAX {
            return Err(Failure::new(format!("the {name} held {peak} KiB")));
        }
    }
    consumer.stop(DEADLINE).await?;
    producer.stop(DEADLINE).await?;
    drop(watch);
    world.close().await
}

/// A heartbeat speaks of the stream, not of what a snapshot has still to read.
async fn until_snapshot_applied(world: &World, watch: &Watch) -> Result<()> {
    let topic = world.place.topic("lists")?;
    probe::until(DEADLINE, "the snapshot to be applied", async || {
        let seen = watch.look().await?;
        Ok(seen.is_snapshot_applied(&topic).then_some(()))
    })
    .await
}

async fn until_applied(world: &World, watch: &Watch, programs: [&mut Program; 2]) -> Result<()> {
    let [producer, consumer] = programs;
    let written = now(&world.source).await?;
    let check = |_: &_| {
        producer.check()?;
        consumer.check()
    };
    watch.until_applied(written, DEADLINE, check).await
}
