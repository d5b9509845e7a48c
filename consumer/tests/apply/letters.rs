//! The index of dead letters: what closes a letter, whoever comes first.

use crate::world::{World, delete, id, learner, progress, put};
use bson::doc;
use leafcutter_consumer::sink::session;
use std::time::{Duration, Instant};

const STATES: &str = "select version, reason, state from leafcutter.dead_letters order by 1";
const WAITING: &str = "\
    select count(*) from pg_stat_activity \
    where datname = current_database() and wait_event_type = 'Lock'";

/// A child that waited in vain, its letter sent and its document not yet given up.
async fn doomed() -> World {
    let mut world = World::new().await;
    world.create_dead_letter_topics().await;
    world.each(&[progress(2, 1, 1)]).await;
    world.settle_at(1_000_000).await;
    assert_eq!(world.text(STATES).await, "2|orphan|open");
    world
}

/// The letter may be in the topic already.
#[tokio::test]
async fn parent_that_comes_while_the_letter_is_sent_supersedes_it() {
    let mut world = doomed().await;
    world.each(&[learner(3, 1, "a")]).await;
    assert_eq!(
        world.text("select lc_version from daily_progress").await,
        "2"
    );
    assert_eq!(world.text(STATES).await, "2|orphan|superseded");
    assert_eq!(world.settle_at(1_000_000).await.decided, 0);
    assert_eq!(world.text(STATES).await, "2|orphan|superseded");
    world.end().await;
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
        world.text("select lc_version from daily_progress").await,
        "4"
    );
    assert_eq!(world.text(STATES).await, "2|orphan|superseded");
    world.end().await;
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
        world.text(letters).await,
        "0|5|superseded 2|5|superseded 3|8|open 6|3|superseded 7|4|open 9|6|superseded"
    );
    world.end().await;
}
