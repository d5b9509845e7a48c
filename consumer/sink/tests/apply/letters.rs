//! The index of dead letters: what closes a letter, whoever comes first.

use crate::world::{World, delete, delete_by, id, learner, progress, put};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::session;
use std::time::{Duration, Instant};

const STATES: &str = "select version, reason, state from leafcutter.dead_letters order by 1";
const WAITING: &str = "\
    select count(*) from pg_stat_activity \
    where datname = current_database() and wait_event_type = 'Lock'";

/// A child that waited in vain, its letter sent and its document not yet given up.
async fn doomed() -> World {
    let mut world = World::new().await;
    world.each(&[progress(2, 1, 1)]).await;
    world.settle_at(1_000_000).await;
    assert_eq!(
        world.rows(STATES).await,
        rows![{ version: 2, reason: "orphan", state: "open" }]
    );
    world
}

/// The letter may be in the topic already.
#[tokio::test]
async fn parent_that_comes_while_the_letter_is_sent_supersedes_it() {
    let mut world = doomed().await;
    world.each(&[learner(3, 1, "a")]).await;
    assert_eq!(
        world.rows("select lc_version from daily_progress").await,
        rows![{ lc_version: 2 }]
    );
    assert_eq!(
        world.rows(STATES).await,
        rows![{ version: 2, reason: "orphan", state: "superseded" }]
    );
    assert_eq!(world.settle_at(1_000_000).await.decided, 0);
    assert_eq!(
        world.rows(STATES).await,
        rows![{ version: 2, reason: "orphan", state: "superseded" }]
    );
}

/// The dead letter of the older one may be listed and not sent: Kafka was away, and its record is nowhere now.
#[tokio::test]
async fn newer_record_that_waits_too_supersedes_the_letter_of_the_older() {
    let mut world = doomed().await;
    // Of the same version it would be the same record again.
    world.each(&[progress(2, 1, 1)]).await;
    assert_eq!(
        world.rows(STATES).await,
        rows![{ version: 2, reason: "orphan", state: "open" }]
    );
    world.each(&[progress(4, 1, 1)]).await;
    assert_eq!(
        world.rows(STATES).await,
        rows![{ version: 2, reason: "orphan", state: "superseded" }]
    );
    world.settle_at(1_000_000).await;
    assert_eq!(
        world.rows(STATES).await,
        rows![
            { version: 2, reason: "orphan", state: "superseded" },
            { version: 4, reason: "orphan", state: "open" },
        ]
    );
}

/// The batch of the document's next change has looked for open letters, and found none, before this
/// one is listed.
#[tokio::test]
async fn letter_listed_while_its_document_is_written_is_superseded() {
    let mut world = doomed().await;
    world.each(&[learner(3, 2, "a")]).await;
    let reopen = "update leafcutter.dead_letters set state = 'open'";
    world
        .execute("update leafcutter.dead_letters set state = 'superseded'")
        .await;
    let mut client = session::connect(&world.config, "test").await.unwrap();
    let settler = client.transaction().await.unwrap();
    let lock = "select 1 from leafcutter.parked for update";
    assert_eq!(settler.query(lock, &[]).await.unwrap().len(), 1);
    settler.execute(reopen, &[]).await.unwrap();
    let config = world.config.clone();
    let ends = async {
        let observer = session::connect(&config, "test").await.unwrap();
        let begun = Instant::now();
        while observer
            .query_one(WAITING, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
        {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "the batch does not wait"
            );
        }
        settler.commit().await.unwrap();
    };
    let next = [progress(4, 1, 2)];
    tokio::join!(ends, world.each(&next));
    assert_eq!(
        world.rows("select lc_version from daily_progress").await,
        rows![{ lc_version: 4 }]
    );
    assert_eq!(
        world.rows(STATES).await,
        rows![{ version: 2, reason: "orphan", state: "superseded" }]
    );
}

/// As a producer publishes it again that died before its checkpoint, or only seemed dead.
#[tokio::test]
async fn refused_record_older_than_what_is_stored_is_superseded_at_once() {
    let mut world = World::new().await;
    let dirty = |version, number| {
        let document = doc! { "_id": id(number), "email": "a", "profile": { "has_ssn": "yes" } };
        put("learners", version, document)
    };
    let records = [
        dirty(5, 1),
        learner(6, 1, "healed"),
        dirty(5, 1),
        dirty(8, 1),
        learner(3, 2, "gone"),
        delete("learners", 4, 2),
        dirty(3, 2),
        dirty(4, 3),
    ];
    world.each(&records).await;
    // The same in one batch, after what overtook it.
    world
        .apply(&[learner(7, 4, "b"), dirty(6, 4)])
        .await
        .unwrap();
    let letters = "select \"offset\", version, state from leafcutter.dead_letters order by 1";
    assert_eq!(
        world.rows(letters).await,
        rows![
            { offset: 0, version: 5, state: "superseded" },
            { offset: 2, version: 5, state: "superseded" },
            { offset: 3, version: 8, state: "open" },
            { offset: 6, version: 3, state: "superseded" },
            { offset: 7, version: 4, state: "open" },
            { offset: 9, version: 6, state: "superseded" },
        ]
    );
}

/// Of such a document no row is ever there, whose delete would close its letter.
#[tokio::test]
async fn delete_of_a_document_that_can_have_no_row_closes_its_letters() {
    let mapping = "version: 1
database: finlit
collections:
  learners:
    table: numbers
    key: id
    columns: { id: { path: _id, type: integer } }
";
    let mut world = World::with(mapping).await;
    let named = |version, name: &str| put("learners", version, doc! { "_id": name });
    let gone = |version, name: &str| delete_by("learners", version, name);
    let records = [
        named(2, "a"),
        named(2, "b"),
        named(9, "c"),
        gone(5, "a"),
        gone(5, "c"),
    ];
    world.each(&records).await;
    let letters = "select source_key, version, state from leafcutter.dead_letters order by 1";
    assert_eq!(
        world.rows(letters).await,
        rows![
            { source_key: "string:a", version: 2, state: "superseded" },
            { source_key: "string:b", version: 2, state: "open" },
            { source_key: "string:c", version: 9, state: "open" },
        ]
    );
    // The same in one batch.
    world
        .apply(&[named(6, "d"), gone(7, "d"), gone(7, "b")])
        .await
        .unwrap();
    assert_eq!(
        world.rows(letters).await,
        rows![
            { source_key: "string:a", version: 2, state: "superseded" },
            { source_key: "string:b", version: 2, state: "superseded" },
            { source_key: "string:c", version: 9, state: "open" },
            { source_key: "string:d", version: 6, state: "superseded" },
        ]
    );
}

/// A document lacks two parents, and its dead letter names one; that one comes.
#[tokio::test]
async fn letter_of_a_document_that_lacks_two_parents_names_the_one_that_is_still_missing() {
    let mapping = "version: 1
database: finlit
collections:
  learners:
    table: learners
    key: id
    columns: { id: { path: _id, type: text } }
  items:
    table: items
    key: id
    columns: { id: { path: _id, type: text } }
  pairs:
    table: pairs
    key: id
    columns:
      id: { path: _id, type: text }
      first_id: { path: first, type: text, references: { table: learners } }
      second_id: { path: second, type: text, references: { table: items } }
";
    const LETTERS: &str = "select \"offset\", column_name, message like '%' || column_name || '%' as named, \
                           state from leafcutter.dead_letters order by 1";
    let only_id = |collection, version, id: &str| put(collection, version, doc! { "_id": id });
    let both = |version, id: &str| {
        let document = doc! { "_id": id, "first": "a", "second": "b" };
        put("pairs", version, document)
    };
    let mut world = World::with(mapping).await;
    world.each(&[both(2, "x"), both(3, "y")]).await;
    world.settle_at_once().await;
    let of = |column: &str, state: &str| {
        rows![
            { offset: 0, column_name: column, named: true, state: state },
            { offset: 1, column_name: column, named: true, state: state },
        ]
    };
    assert_eq!(world.rows(LETTERS).await, of("first_id", "open"));
    world.each(&[only_id("learners", 4, "a")]).await;
    world.settle_at_once().await;
    assert_eq!(world.rows(LETTERS).await, of("second_id", "open"));
    // Nothing was sent a second time, and what comes still heals both.
    world.each(&[only_id("items", 5, "b")]).await;
    assert_eq!(world.count("pairs").await, 2);
    assert_eq!(world.rows(LETTERS).await, of("second_id", "superseded"));
}
