//! A person stops a verb in the middle of its transaction: nothing is changed, and PostgreSQL does not go on.

use crate::world::{Said, World, author, interrupt};

/// A statement takes a minute.
const SLOW: &str = "\
    create function public.slow() returns event_trigger language plpgsql as $$ \
        begin perform pg_sleep(60); end $$; \
    create event trigger slow on ddl_command_end when tag in ('ALTER TABLE') execute function public.slow()";
const SLEEPING: &str = "select count(*) from pg_stat_activity where datname = current_database() \
                        and wait_event = 'PgSleep'";

/// Stops a verb while its statement sleeps.
async fn stopped(world: &World, words: &[&str]) -> Said {
    let child = world.leafcutter_started(words);
    world.wait_for(SLEEPING, "1").await;
    interrupt(&child);
    let said = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let said = Said::of(said.await.unwrap()).ends_with(1);
    assert_eq!(world.text(SLEEPING).await, "0", "PostgreSQL goes on");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_a_transaction_of_a_verb_has_changed_nothing() {
    let mut world = World::new().await;
    world.start("strict.yaml");
    world.send(0, &author(1, 1, "Ada")).await;
    world.complete().await;
    world.applied().await;
    world.stop();
    let state = "select (select string_agg(a.id || a.name, ' ') from authors a), \
                 (select count(*) from information_schema.columns where table_schema in ('public', 'leafcutter'))";
    let before = world.text(state).await;

    world.text(SLOW).await;
    stopped(&world, &["rollback", "--yes"])
        .await
        .says("Interrupted: nothing was changed. Begin it again: leafcutter rollback");
    assert_eq!(world.text(state).await, before);
    stopped(&world, &["finish", "--drop", "--yes", "--force"])
        .await
        .says("Begin it again: leafcutter finish --drop");
    assert_eq!(world.text(state).await, before);
    let wider = crate::world::STRICT.replace(
        "      title:",
        "      pages: { type: integer }\n      title:",
    );
    std::fs::write(world.file("strict.yaml"), wider).unwrap();
    stopped(&world, &["plan", "--apply", "--yes"])
        .await
        .says("Begin it again: leafcutter plan --apply");
    assert_eq!(world.text(state).await, before);

    world.text("drop event trigger slow").await;
    world.leafcutter(&["plan", "--apply", "--yes"]).ends_with(0);
    world
        .leafcutter(&["rollback", "--yes", "--force"])
        .ends_with(0);
    world.end().await;
}
