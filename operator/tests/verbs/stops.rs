//! A consumer that cannot get on: what it waits for and what it stops for, what it says meanwhile, and that
//! it goes on, or does not, when it should.

use crate::world::{Running, STRICT, World, author, large_author};
use leafcutter_harness::{probe, topic};
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::name::dead_letter_topic;
use rdkafka::admin::{AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const LETTERS: &str = "select count(*) from leafcutter.dead_letters where state = 'open'";

/// How many dead letters of the authors are in their topic.
fn letters_in_topic(world: &World) -> usize {
    let name = dead_letter_topic(&world.topic("authors"));
    let mut letters = 0;
    topic::read(world.kafka(), &name, None, |_, _| letters += 1).unwrap();
    letters
}

/// Thousands of letters that Kafka's compression makes nothing of.
fn incompressible() -> String {
    let mut seed = 1_u64;
    let letters = std::iter::from_fn(|| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let letter = u8::try_from((seed >> 33) % 26).unwrap();
        Some(char::from(b'a' + letter))
    });
    letters.take(5_000).collect()
}

/// Waits until it has ended by itself, and gives the code and the text.
async fn ended(running: Running) -> (Exit, String) {
    probe::until(PATIENCE, "the consumer to end", async || {
        Ok(running.has_ended().then_some(()))
    })
    .await
    .unwrap();
    match running.end() {
        Ok(exit) => (exit, String::new()),
        Err(failure) => (
            failure.exit,
            failure.to_string().replace("\n           ", " "),
        ),
    }
}

/// Twenty authors of whom the eighth is refused, and nobody may list its dead letter.
async fn unlisted() -> World {
    let mut world = World::new().await;
    world.migrate().await;
    world
        .text(
            "create function no() returns trigger language plpgsql as $$ begin \
             raise exception 'not listed' using errcode = '22023'; end $$; \
             create trigger no before insert on leafcutter.dead_letters for each row execute function no()",
        )
        .await;
    for id in 0..20 {
        let record = if id == 7 {
            author(id, 10, 7)
        } else {
            author(id, 10, "Ada")
        };
        world.send(0, &record).await;
    }
    world.complete().await;
    world
}

/// Our own index refuses the refused record. It is sent once, however often it is tried; nothing is lost,
/// and everybody can see what is going on.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_that_cannot_be_listed_waits_and_says_so() {
    let world = unlisted().await;
    let running = world.run("strict.yaml");
    running
        .until_ready_says(503, "shop.authors/0/7: 22023 not listed")
        .await;
    let stuck = "leafcutter_attempts_failed_total{class=\"refused\"}";
    probe::until(PATIENCE, "two more attempts", async || {
        Ok((running.metric(stuck) >= 3.0).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(letters_in_topic(&world), 1);
    // What came before it is applied.
    assert_eq!(world.text("select count(*) from authors").await, "7");
    world
        .wait_for(
            "select count(*) from leafcutter.consumers where problem like '%not listed%'",
            "1",
        )
        .await;
    let status = world.leafcutter(&["status"]);
    status.says("not ready to cut over").says("not listed");
    world
        .text("drop trigger no on leafcutter.dead_letters")
        .await;
    world.applied().await;
    running.until_ready_says(200, "ready").await;
    assert_eq!(letters_in_topic(&world), 1);
    assert_eq!(world.text(LETTERS).await, "1");
    running.ask_to_end();
    assert_eq!(running.end(), Ok(Exit::Done));
    world.end().await;
}

/// L4: a consumer ends between Kafka's confirmation and the index.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_whose_sender_ended_is_sent_once_more_and_listed_once() {
    let world = unlisted().await;
    let running = world.run("strict.yaml");
    running.until_ready_says(503, "22023 not listed").await;
    assert_eq!(letters_in_topic(&world), 1);
    running.ask_to_end();
    assert_eq!(running.end(), Ok(Exit::Done));
    assert_eq!(world.text(LETTERS).await, "0");
    world
        .text("drop trigger no on leafcutter.dead_letters")
        .await;
    let running = world.run("strict.yaml");
    world.applied().await;
    assert_eq!(letters_in_topic(&world), 2);
    assert_eq!(world.text(LETTERS).await, "1");
    assert_eq!(world.text("select count(*) from authors").await, "19");
    running.ask_to_end();
    assert_eq!(running.end(), Ok(Exit::Done));
    world.end().await;
}

/// Kafka does not take it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_too_large_for_its_topic_waits_and_says_so() {
    let mut world = World::new().await;
    let name = dead_letter_topic(&world.topic("authors"));
    let small = topic::new(&name, 2).set("max.message.bytes", "1000");
    topic::create(world.kafka(), &[small]).await.unwrap();
    world.send(0, &author(1, 10, 7)).await;
    world.send(0, &author(2, 10, "Ada")).await;
    // A name that does not fit its column, in a letter that does not fit its topic.
    world.send(0, &author(3, 10, incompressible())).await;
    world.complete().await;
    let running = world.run("strict.yaml");
    running
        .until_ready_says(503, "cannot write dead letters")
        .await;
    let admin = topic::admin(world.kafka()).unwrap();
    let resource = ResourceSpecifier::Topic(&name);
    let large = AlterConfig::new(resource).set("max.message.bytes", "2000000");
    admin
        .alter_configs([&large], &AdminOptions::new())
        .await
        .unwrap();
    world.applied().await;
    running.until_ready_says(200, "ready").await;
    assert_eq!(letters_in_topic(&world), 2);
    running.ask_to_end();
    assert_eq!(running.end(), Ok(Exit::Done));
    world.end().await;
}

/// The topic of dead letters is taken away while a consumer runs, and made again.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_wait_for_a_topic_that_is_gone() {
    let mut world = World::new().await;
    world.complete().await;
    let running = world.run("strict.yaml");
    running.until_ready_says(200, "ready").await;
    let name = dead_letter_topic(&world.topic("authors"));
    topic::delete(world.kafka(), &[&name]).await.unwrap();
    world.send(0, &author(1, 10, 7)).await;
    world.send(0, &author(2, 10, "Ada")).await;
    running.until_ready_says(503, "dead letters").await;
    assert_eq!(world.text("select count(*) from authors").await, "0");
    let again = topic::new(&name, 2);
    topic::create(world.kafka(), &[again]).await.unwrap();
    world.applied().await;
    running.until_ready_says(200, "ready").await;
    assert_eq!(letters_in_topic(&world), 1);
    assert_eq!(world.text(LETTERS).await, "1");
    running.stop();
    world.end().await;
}

/// A constraint that refuses everything: it stops after so many, at every start, until a person resumes.
#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_stays_open_until_a_person_resumes() {
    let mut world = World::new().await;
    world.migrate().await;
    let check = "alter table authors add constraint short check (length(name) < 3)";
    world.text(check).await;
    for id in 0..200 {
        world.send(0, &author(id, 10, "Augusta")).await;
    }
    world.complete().await;
    let flags = ["--breaker", "20"];
    let (exit, said) = ended(world.run_with("strict.yaml", &flags)).await;
    assert_eq!(exit, Exit::Stopped, "{said}");
    for words in [
        "20 records in a row",
        "`authors`",
        "short",
        "leafcutter resume authors",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert_eq!(world.text(LETTERS).await, "20");
    let (exit, said) = ended(world.run_with("strict.yaml", &flags)).await;
    assert_eq!(exit, Exit::Stopped, "{said}");
    assert_eq!(world.text(LETTERS).await, "20");
    let status = world.leafcutter(&["status"]);
    status
        .says("leafcutter resume authors")
        .says("20 records in a row");
    let none = world.leafcutter(&["resume", "books"]);
    none.ends_with(0).says("nothing had stopped");
    world
        .text("alter table authors drop constraint short")
        .await;
    let resumed = world.leafcutter(&["resume"]);
    resumed.ends_with(0).says("authors goes on");
    let running = world.run_with("strict.yaml", &flags);
    world.applied().await;
    running.ask_to_end();
    assert_eq!(running.end(), Ok(Exit::Done));
    assert_eq!(world.text("select count(*) from authors").await, "180");
    world.end().await;
}

/// What the mapping refuses comes in one transaction, and is stopped just so.
#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_opens_in_time_where_a_whole_batch_is_refused() {
    let mut world = World::new().await;
    for id in 0..100 {
        world.send(0, &author(id, 10, 7)).await;
    }
    world.complete().await;
    let (exit, said) = ended(world.run_with("strict.yaml", &["--breaker", "20"])).await;
    assert_eq!(exit, Exit::Stopped, "{said}");
    assert_eq!(world.text(LETTERS).await, "20");
    world.end().await;
}

/// A record in doubt is tried together with the batch that follows, where a newer record of its document
/// mends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_doubt_is_mended_by_a_newer_one_that_follows() {
    let mut world = World::new().await;
    world.migrate().await;
    world
        .text(
            "create function judge() returns trigger language plpgsql as $$ begin \
             if new.name = 'bad' then raise exception 'bad'; end if; return new; end $$; \
             create trigger judge before insert or update on authors for each row execute function judge()",
        )
        .await;
    world.send(0, &large_author(1, 10, "bad")).await;
    world.send(0, &large_author(1, 11, "good")).await;
    world.complete().await;
    let running = world.run_with("strict.yaml", &["--batch-records", "1"]);
    world.applied().await;
    let counted = "select sum(applied), sum(stale), sum(dead_lettered) from leafcutter.offsets";
    assert_eq!(world.text(counted).await, "1|1|0");
    assert_eq!(world.text("select id, name from authors").await, "1|good");
    assert_eq!(letters_in_topic(&world), 0);
    running.ask_to_end();
    assert_eq!(running.end(), Ok(Exit::Done));
    world.end().await;
}

/// No record is at fault: nothing becomes a dead letter, and it goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_is_waited_for() {
    let mut world = World::new().await;
    world.complete().await;
    let running = world.run("strict.yaml");
    running.until_ready_says(200, "ready").await;
    world.text("alter table authors rename to away").await;
    world.send(0, &author(1, 10, "Ada")).await;
    running
        .until_ready_says(503, "leafcutter check --postgres")
        .await;
    assert_eq!(world.text(LETTERS).await, "0");
    world.text("alter table away rename to authors").await;
    world.applied().await;
    running.until_ready_says(200, "ready").await;
    assert_eq!(world.text("select count(*) from authors").await, "1");
    running.ask_to_end();
    assert_eq!(running.end(), Ok(Exit::Done));
    world.end().await;
}

/// Though nothing comes that had to be written.
#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_it_is_alive_and_not_ready() {
    let mut world = World::new().await;
    world.complete().await;
    let running = world.run("strict.yaml");
    running.until_ready_says(200, "ready").await;
    let database = world.text("select current_database()").await;
    close(&world, &database).await;
    running.until_ready_says(503, "postgres: ").await;
    running.until_ready_says(503, "settling: ").await;
    open(&world, &database).await;
    running.until_ready_says(200, "ready").await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.applied().await;
    running.ask_to_end();
    assert_eq!(running.end(), Ok(Exit::Done));
    world.end().await;
}

/// PostgreSQL takes no connections to the database, and ends those that there are.
async fn close(world: &World, database: &str) {
    world
        .execute_beside(&format!(
            "alter database \"{database}\" allow_connections false; \
             select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"
        ))
        .await;
}

async fn open(world: &World, database: &str) {
    let open = format!("alter database \"{database}\" allow_connections true");
    world.execute_beside(&open).await;
}

/// What it holds and cannot commit is read again by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_ended_while_postgresql_is_away() {
    let mut world = World::new().await;
    world.complete().await;
    let running = world.run("strict.yaml");
    running.until_ready_says(200, "ready").await;
    let database = world.text("select current_database()").await;
    close(&world, &database).await;
    running.until_ready_says(503, "postgres: ").await;
    world.send(0, &author(1, 10, "Ada")).await;
    let has = |words: &str| {
        running
            .page("/readyz")
            .is_some_and(|(_, text)| text.contains(words))
    };
    probe::until(Duration::from_secs(60), "a batch to wait", async || {
        Ok(has("applying: ").then_some(()))
    })
    .await
    .unwrap();
    running.ask_to_end();
    let (exit, said) = ended(running).await;
    assert!(
        matches!(exit, Exit::Done | Exit::DrainDeadline),
        "{exit:?} {said}"
    );
    open(&world, &database).await;
    let running = world.run("strict.yaml");
    world.applied().await;
    assert_eq!(world.text("select name from authors").await, "Ada");
    running.stop();
    world.end().await;
}

/// It says what it waits for, and ends when it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_waits_for_topics_says_so_and_can_be_ended() {
    let world = World::new().await;
    let elsewhere = STRICT.replace("database: shop", "database: nowhere");
    std::fs::write(world.file("elsewhere.yaml"), elsewhere).unwrap();
    let running = world.run("elsewhere.yaml");
    running
        .until_ready_says(503, "waiting for the producer to create the topics")
        .await;
    running.ask_to_end();
    let (exit, said) = ended(running).await;
    assert_eq!(exit, Exit::Done, "{said}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_any_more_stops_a_consumer_that_runs() {
    let world = World::new().await;
    world.complete().await;
    let running = world.run("strict.yaml");
    running.until_ready_says(200, "ready").await;
    let admin = topic::admin(world.kafka()).unwrap();
    let topic = world.topic("authors");
    let more = NewPartitions::new(&topic, 5);
    admin
        .create_partitions([&more], &AdminOptions::new())
        .await
        .unwrap();
    let (exit, said) = ended(running).await;
    assert_eq!(exit, Exit::StateMismatch, "{said}");
    assert!(said.contains("has 5 partitions now, and had 2"), "{said}");
    // The next start sees it against what the producer counts.
    let (exit, said) = ended(world.run("strict.yaml")).await;
    assert_eq!(exit, Exit::StateMismatch, "{said}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_a_newer_version_migrates_stops_a_consumer_that_runs() {
    let world = World::new().await;
    world.complete().await;
    let running = world.run("strict.yaml");
    running.until_ready_says(200, "ready").await;
    world
        .text("update leafcutter.meta set layout = layout + 1")
        .await;
    let (exit, said) = ended(running).await;
    assert_eq!(exit, Exit::StateMismatch, "{said}");
    assert!(said.contains("newer Leafcutter"), "{said}");
    world
        .text("update leafcutter.meta set layout = layout - 1")
        .await;
    world.end().await;
}
