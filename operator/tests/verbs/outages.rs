//! What Kafka and PostgreSQL do to a consumer that runs, short of being away: a place in the group that another
//! takes, bytes that are no record, no connection left, somebody else's locks.

use crate::world::{Running, World, author, book};
use leafcutter_harness::{probe, topic};
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::name::dead_letter_topic;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

async fn until_ended(running: &Running) {
    let ended = async || Ok(running.has_ended().then_some(()));
    probe::until(PATIENCE, "the consumer to end", ended)
        .await
        .unwrap();
}

/// KIP-345: the first one's place in the group is gone for good, and it says so; it would stand still for ever.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_its_place_in_the_group_to_another_ends() {
    let mut world = World::new().await;
    world.complete().await;
    let flags = ["--kafka", "group.instance.id=one"];
    let first = world.run_with("strict.yaml", &flags);
    first.until_ready_says(200, "ready").await;
    let second = world.run_with("strict.yaml", &flags);
    until_ended(&first).await;
    let failure = first.end().unwrap_err();
    let said = failure.to_string();
    assert_eq!(failure.exit, Exit::Settings, "{said}");
    assert!(said.contains("`group.instance.id`"), "{said}");
    second.until_ready_says(200, "ready").await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.applied().await;
    second.stop();
    world.end().await;
}

/// They are dead letters where records are expected, and left out where the producer's word is. The records
/// around them are applied.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_record_harm_nobody() {
    let mut world = World::new().await;
    world.start("strict.yaml");
    let garbage: [&[u8]; 4] = [b"", b"{\"payload\":1}", &[0, 0, 0, 0, 1, 2], &[0xff; 300]];
    for (number, bytes) in garbage.into_iter().enumerate() {
        let id = i64::try_from(number).unwrap();
        world.send_bytes("authors", 0, bytes).await;
        world.send(0, &author(id, 10, "Ada")).await;
        world.control_bytes(bytes).await;
    }
    // Books are read when all authors are: what the producer says in between is taken.
    world.send(0, &book(1, 10, "Notes", 3)).await;
    world.complete().await;
    world.applied().await;
    let rows = "select (select count(*) from authors), (select count(*) from books)";
    assert_eq!(world.text(rows).await, "4|1");
    let letters = "select string_agg(distinct reason || ' ' || stage, ', ') || ' ' || count(*) \
                   from leafcutter.dead_letters where state = 'open'";
    assert_eq!(world.text(letters).await, "malformed decode 4");
    let mut there = Vec::new();
    let name = dead_letter_topic(&world.topic("authors"));
    topic::read(world.kafka(), &name, None, |record, _| {
        there.push(
            rdkafka::Message::payload(record)
                .unwrap_or_default()
                .to_vec(),
        );
    })
    .unwrap();
    there.sort();
    let mut sent = garbage.map(<[u8]>::to_vec);
    sent.sort();
    assert_eq!(there, sent, "each as it came");
    world.end().await;
}

/// 53300: the role may have no more connections, and loses those that it has.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_connection_is_left_it_waits() {
    let mut world = World::new().await;
    let role = world.role().await;
    world.complete().await;
    let running = world.run_as(&role, "strict.yaml");
    running.until_ready_says(200, "ready").await;
    world
        .execute_beside(&format!(
            "alter role \"{role}\" connection limit 0; \
             select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'"
        ))
        .await;
    world.send(0, &author(1, 10, "Ada")).await;
    running
        .until_ready_says(503, "too many connections for role")
        .await;
    world
        .execute_beside(&format!("alter role \"{role}\" connection limit -1"))
        .await;
    world.applied().await;
    running.until_ready_says(200, "ready").await;
    let rows = "select count(*), (select count(*) from leafcutter.dead_letters) from authors";
    assert_eq!(world.text(rows).await, "1|0");
    running.stop();
    world.drop_role(&role).await;
    world.end().await;
}

/// Somebody else locks what a batch needs, in the other order: PostgreSQL ends one of them, or the batch gives up.
/// It comes again.
#[tokio::test(flavor = "multi_thread")]
async fn locks_of_others_are_waited_for() {
    let mut world = World::new().await;
    world.start("strict.yaml");
    for id in [1, 2] {
        world.send(0, &author(id, 10, "Ada")).await;
    }
    world.complete().await;
    world.applied().await;
    // It never finds a deadlock itself, so it is the batch that is ended.
    let other = world
        .session("set deadlock_timeout = '1h'; begin; update authors set name = 'x' where id = 2")
        .await;
    world.stop();
    for id in [1, 2] {
        world.send(0, &author(id, 11, "Grace")).await;
    }
    world.start("strict.yaml");
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
                 and application_name like 'leafcutter writer %' and datname = current_database()";
    world.wait_for(waits, "1").await;
    let crossed = "update authors set name = 'x' where id = 1; commit";
    other.batch_execute(crossed).await.unwrap();
    world.applied().await;
    let rows = "select string_agg(id || ' ' || name, ', ' order by id) from authors";
    world.wait_for(rows, "1 Grace, 2 Grace").await;
    assert_eq!(
        world
            .text("select count(*) from leafcutter.dead_letters")
            .await,
        "0"
    );
    world.end().await;
}

/// Somebody locks where the group stands for longer than a start should take: told, tried again, and no reason
/// not to end.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_cannot_be_taken_over_are_told_and_let_it_end() {
    let mut world = World::new().await;
    world.start("strict.yaml");
    world.send(0, &author(1, 10, "Ada")).await;
    world.complete().await;
    world.applied().await;
    world.stop();
    let other = world
        .session("begin; select 1 from leafcutter.offsets for update")
        .await;
    let running = world.run("strict.yaml");
    let why = "cannot take partitions over in PostgreSQL: PostgreSQL says 55P03";
    running.until_ready_says(503, why).await;
    running.ask_to_end();
    until_ended(&running).await;
    assert_eq!(running.end(), Ok(Exit::Done));
    let running = world.run("strict.yaml");
    other.batch_execute("commit").await.unwrap();
    world.send(0, &author(1, 11, "Grace")).await;
    world.applied().await;
    running.stop();
    world.end().await;
}

/// The same of what says which collections may be written: those that may are written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn gates_that_cannot_be_looked_at_let_it_end() {
    let mut world = World::new().await;
    let running = world.run("strict.yaml");
    world.send(0, &author(1, 10, "Ada")).await;
    world.send(0, &book(1, 10, "Notes", 1)).await;
    let rows = "select count(*) from authors";
    world.wait_for(rows, "1").await;
    let other = world
        .session("begin; lock table leafcutter.gates in access exclusive mode")
        .await;
    let waits = "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' \
                 and datname = current_database()";
    world.wait_for(waits, "t").await;
    running.ask_to_end();
    until_ended(&running).await;
    assert_eq!(running.end(), Ok(Exit::Done));
    other.batch_execute("commit").await.unwrap();
    world.end().await;
}
