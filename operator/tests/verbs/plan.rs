//! A changed mapping is never taken in silence: it is planned, put in force, and its rows are written again.

use crate::{
    again::{self, MAPPING, WIDER, converges, filled_up},
    live::{self, Live},
    world::{BACK_TO_13, Running, STRICT, World, author, book},
};
use bson::doc;
use leafcutter_harness::{probe, record};
use leafcutter_runtime::{exit::Exit, report::Failure};
use leafcutter_schemas::operation::Operation;
use std::time::Duration;

const GENERATIONS: &str =
    "select string_agg(generation::text, ' ' order by generation) from leafcutter.mappings";
const OLDER: &str =
    "select coalesce(string_agg(split_part(topic, '.', 3), ' '), '') from leafcutter.older_rows";
/// Consumers that get on.
const RUNNING: &str = "select count(*) from leafcutter.consumers where problem is null";

/// A column more, whose rows a replay writes again.
fn born() -> String {
    STRICT.replace(
        "      name: { type: varchar(20), required: true }\n",
        "      name: { type: varchar(20), required: true }\n      born: bigint\n",
    )
}

fn write(world: &World, name: &str, text: &str) {
    std::fs::write(world.file(name), text).unwrap();
}

/// How a consumer of this process ends.
async fn ended(running: Running) -> (Exit, String) {
    let ended = probe::until(Duration::from_secs(60), "the consumer to end", async || {
        Ok(running.has_ended().then_some(()))
    });
    ended.await.unwrap();
    said(running.end())
}

fn said(ended: Result<Exit, Failure>) -> (Exit, String) {
    match ended {
        Ok(exit) => (exit, String::new()),
        Err(failure) => {
            let text = failure.to_string();
            let words: Vec<&str> = text.split_whitespace().collect();
            (failure.exit, words.join(" "))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_and_a_new_child_table_come_to_rows_that_are_there() {
    let live: Live = again::started(MAPPING).await;
    let (producer, old) = (live.producer(&[]), live.consumer());
    filled_up(&live).await;
    let before = std::fs::read_to_string(live.file("mapping.yaml")).unwrap();

    // Nobody takes it in silence.
    live.map(WIDER);
    let (exit, told) = live.consumer().ended().await;
    assert_eq!(exit, Exit::StateMismatch, "{told}");
    for words in [
        "could not start with this mapping",
        "generation 1, mapping ",
        "authors (column authors.born is new, table author_tags is new)",
        "leafcutter plan --apply",
    ] {
        assert!(told.contains(words), "no {words:?} in {told}");
    }
    for words in [
        &["resnapshot", "authors", "--yes"][..],
        &["replay", "authors", "--yes"],
        &["verify", "--repair"],
    ] {
        let refused = live.leafcutter(words).await.ends_with(7);
        refused.says("column authors.born is new");
    }
    let check = live.leafcutter(&["check", "--postgres"]).await.ends_with(1);
    check.says("Another mapping is in force in group g, generation 1");
    let in_force = live.leafcutter(&["plan", "--in-force"]).await.ends_with(0);
    assert_eq!(in_force.out, before);
    assert_eq!(
        live.text("select to_regclass('author_tags') is null").await,
        "t"
    );

    // A person looks, and puts it in force. The consumer that runs stops.
    let file = live.file("change.sql");
    let out = ["plan", "--postgres", "--out", file.to_str().unwrap()];
    live.leafcutter(&out).await.ends_with(1);
    let sql = std::fs::read_to_string(&file).unwrap();
    for words in [
        "alter table \"public\".\"authors\"\n  add column if not exists \"born\" integer;",
        "create table if not exists \"public\".\"author_tags\"",
        "-- new\n--   afterwards: leafcutter resnapshot authors\n",
    ] {
        assert!(sql.contains(words), "no {words:?} in {sql}");
    }
    live.leafcutter(&["plan", "--apply"])
        .await
        .ends_with(2)
        .says("--yes");
    let no = live.typed(&["plan", "--apply"], "no").await.ends_with(0);
    no.says("put the mapping in force? [y/N]")
        .says("nothing was changed");
    assert_eq!(live.text(GENERATIONS).await, "1");
    let applied = live
        .leafcutter(&["plan", "--apply", "--yes"])
        .await
        .ends_with(0);
    applied
        .says("mapping generation 2 is in force")
        .says("  leafcutter resnapshot authors\n");
    let (exit, told) = old.ended().await;
    assert_eq!(exit, Exit::StateMismatch, "{told}");
    assert!(
        told.contains("mapping generation 2 was put in force"),
        "{told}"
    );

    let status = live.leafcutter(&["status", "--json"]).await.whole();
    assert_eq!(status["in_force"]["generation"], 2);
    assert_eq!(
        status["older_rows"][0]["command"],
        "leafcutter resnapshot authors"
    );
    let consumer = live.consumer();
    let status = live.leafcutter(&["status"]).await.ends_with(0);
    status
        .says("older mapping")
        .says("leafcutter resnapshot authors");
    live.leafcutter(&["resnapshot", "authors", "--yes"])
        .await
        .ends_with(0);
    converges(&live).await;
    let verified = live.leafcutter(&["verify"]).await.ends_with(0);
    verified.says("0 100.00 %");
    let status = live.leafcutter(&["status", "--json"]).await.whole();
    assert_eq!(status["older_rows"], serde_json::json!([]));

    // Nothing is left to do; comments and layout are no change.
    let again = live.leafcutter(&["plan", "--apply"]).await.ends_with(0);
    again.says("nothing to do: the mapping is in force, as generation 2");
    let wider = std::fs::read_to_string(live.file("mapping.yaml")).unwrap();
    std::fs::write(live.file("mapping.yaml"), format!("# seen\n\n{wider}")).unwrap();
    live.leafcutter(&["plan", "--apply"])
        .await
        .ends_with(0)
        .says("nothing to do");
    live.leafcutter(&["plan", "--postgres"]).await.ends_with(0);
    let beside = live.consumer();
    live.wait_for(RUNNING, "2").await;
    let status = live.leafcutter(&["status"]).await.ends_with(0);
    status
        .says_nothing_of("mappings")
        .says_nothing_of("not the mapping in force");
    assert_eq!(live.text(GENERATIONS).await, "1 2");
    for running in [beside, consumer, producer] {
        live::Running::stop(running);
    }
    live.end().await;
}

/// A column of a root table: to apply the topic again is enough, whoever waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_root_tables_are_written_again_by_a_replay() {
    let mut world = World::new().await;
    write(&world, "born.yaml", &born());
    let document = doc! { "_id": 1_i64, "name": "Ada", "born": 1815_i64 };
    let ada = record::changed("authors", Operation::Update, 10 << 31, document);
    world.send(0, &ada).await;
    world.send(0, &book(1, 11, "Notes", 1)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.stop();
    let done = world.apply("born.yaml");
    assert!(
        done.out
            .ends_with("keep their form:\n  leafcutter replay authors\n"),
        "{}",
        done.out
    );
    world.start("born.yaml");
    world.wait_for(RUNNING, "1").await;
    assert_eq!(
        world.text("select id, born is null from authors").await,
        "1|t"
    );
    let file = world.file("born.yaml");
    // What has another effect ends it no more than a part does.
    let replay = ["replay", "books", "--yes"];
    world.leafcutter_with(&file, &replay).ends_with(0);
    assert_eq!(world.text(OLDER).await, "authors");
    let replay = ["replay", "authors", "--yes", "--no-wait"];
    world.leafcutter_with(&file, &replay).ends_with(0);
    world
        .wait_for("select born::text from authors", "1815")
        .await;
    world.applied().await;
    let status = world.leafcutter_with(&file, &["status", "--json"]).whole();
    assert_eq!(status["older_rows"], serde_json::json!([]));
    let replay = ["replay", "authors", "--yes"];
    world.leafcutter_with(&file, &replay).ends_with(0);
    world.wait_for(OLDER, "").await;
    world.end().await;
}

/// A mapping that is put in force while a collection is written again takes nothing away.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_before_does_not_count_for_a_newer_mapping() {
    let mut world = World::new().await;
    write(&world, "born.yaml", &born());
    write(
        &world,
        "two.yaml",
        &born().replace("born: bigint", "born: bigint\n      died: bigint"),
    );
    world.send(0, &author(1, 10, "Ada")).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.stop();
    world.apply("born.yaml");
    // Nobody applies it; the next mapping is put in force.
    let replay = ["replay", "authors", "--yes", "--no-wait"];
    world
        .leafcutter_with(&world.file("born.yaml"), &replay)
        .ends_with(0);
    let done = world.apply("two.yaml");
    done.says("leafcutter replay authors");
    world.start("two.yaml");
    world.applied().await;
    let status = world
        .leafcutter_with(&world.file("two.yaml"), &["status", "--json"])
        .whole();
    assert_eq!(status["older_rows"][0]["generation"], 3);
    assert_eq!(status["older_rows"][0]["running"], false);
    let what = status["older_rows"][0]["what"].as_str().unwrap();
    assert_eq!(
        what,
        "column authors.died is new; column authors.born is new"
    );
    world.end().await;
}

/// Two persons at once; then one more.
#[tokio::test(flavor = "multi_thread")]
async fn two_who_apply_at_once_put_it_in_force_once() {
    let mut world = World::new().await;
    write(&world, "born.yaml", &born());
    world.send(0, &author(1, 10, "Ada")).await;
    world.complete().await;
    let old = world.run("strict.yaml");
    world.applied().await;
    let of_nobody = ["plan", "--postgres", "--group", "nobody"];
    let of_nobody = world.leafcutter(&of_nobody).ends_with(0);
    of_nobody
        .says("No consumer of group nobody has run there")
        .says("Others have: --group g?");
    let (one, other) = std::thread::scope(|scope| {
        let apply = || world.apply("born.yaml");
        let (one, other) = (scope.spawn(apply), scope.spawn(apply));
        (one.join().unwrap(), other.join().unwrap())
    });
    let done = |said: &crate::world::Said| said.out.contains("mapping generation 2 is in force");
    assert_eq!(usize::from(done(&one)) + usize::from(done(&other)), 1);
    let idle = if done(&one) { other } else { one };
    idle.says("nothing to do");
    assert_eq!(world.text(GENERATIONS).await, "1 2");
    let (exit, told) = ended(old).await;
    assert_eq!(exit, Exit::StateMismatch, "{told}");
    world.apply("born.yaml").says("nothing to do");
    let json = ["plan", "--apply", "--json"];
    let json = world
        .leafcutter_with(&world.file("born.yaml"), &json)
        .ends_with(0)
        .whole();
    assert_eq!(
        (&json["applied"], &json["generation"]),
        (&false.into(), &2.into())
    );
    // Back to the one of before: that is a change like any other.
    let json = ["plan", "--apply", "--yes", "--json"];
    let json = world.leafcutter(&json).ends_with(0).whole();
    assert_eq!(
        (&json["applied"], &json["generation"]),
        (&true.into(), &3.into())
    );
    assert_eq!(json["changes"][0]["effect"], "nothing", "{json}");
    world.start("strict.yaml");
    world.wait_for(RUNNING, "1").await;
    world.end().await;
}

/// All of it is done, or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_or_a_person_has_to_decide_is_not_done() {
    let mut world = World::new().await;
    let unique = born().replace(
        "name: { type: varchar(20), required: true }",
        "name: { type: varchar(20), required: true, unique: true }",
    );
    write(&world, "unique.yaml", &unique);
    let narrow = STRICT.replace(
        "title: { type: varchar(20), required: true }",
        "title: bigint",
    );
    write(&world, "narrow.yaml", &narrow);
    let required = STRICT.replace(
        "      author_id",
        "      year: { type: bigint, required: true }\n      author_id",
    );
    write(&world, "required.yaml", &required);
    for (id, second) in [(1, 10), (2, 11)] {
        world.send(0, &author(id, second, "Ada")).await;
    }
    world.send(0, &book(1, 12, "Notes", 1)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;

    // Two rows have the value that is to be unique: the column is not added either.
    let apply = ["plan", "--apply", "--yes"];
    let refused = world
        .leafcutter_with(&world.file("unique.yaml"), &apply)
        .ends_with(4);
    refused
        .says("create unique index if not exists \"authors_name_key\"")
        .says("(name)=(Ada) is duplicated")
        .says("Nothing was changed.");
    // Text is not a number: a person decides, and sees how.
    let refused = world
        .leafcutter_with(&world.file("narrow.yaml"), &apply)
        .ends_with(4);
    refused
        .says("books.title")
        .says("alter table \"public\".\"books\" alter column \"title\" type bigint");
    let plan = world.leafcutter_with(&world.file("narrow.yaml"), &["plan", "--postgres"]);
    let plan = plan.ends_with(1);
    for line in plan.out.lines().filter(|line| line.contains("alter")) {
        assert!(line.starts_with("--"), "{line}");
    }
    let columns = "select string_agg(column_name, ' ' order by column_name) \
        from information_schema.columns where table_name = 'authors'";
    assert_eq!(world.text(columns).await, "id lc_version name");
    assert_eq!(world.text(GENERATIONS).await, "1");
    world.send(0, &author(3, 13, "Grace")).await;
    world.applied().await;
    // The consumer goes on.
    world.wait_for(RUNNING, "1").await;
    world.stop();

    // A required column takes null until its rows are written again.
    let done = world.apply("required.yaml");
    done.says("leafcutter replay books")
        .says("alter table \"public\".\"books\" alter column \"year\" set not null;");
    assert_eq!(world.text(GENERATIONS).await, "1 2");
    assert_eq!(
        world.text("select id, year is null from books").await,
        "1|t"
    );
    world.end().await;
}

/// Somebody who does not end keeps it from being put in force, and is named.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_the_way_is_named() {
    let mut world = World::new().await;
    write(&world, "born.yaml", &born());
    world.send(0, &author(1, 10, "Ada")).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    let mut client = world.client("a report of ours").await;
    client
        .batch("begin; lock table leafcutter.mappings in row share mode")
        .await
        .unwrap();
    let apply = ["plan", "--apply", "--yes"];
    let refused = world
        .leafcutter_with(&world.file("born.yaml"), &apply)
        .ends_with(4);
    refused
        .says("a report of ours is at it")
        .says("Nothing was changed.");
    client.batch("commit").await.unwrap();
    world.send(0, &author(2, 11, "Grace")).await;
    world.applied().await;
    world.stop();
    world.apply("born.yaml");
    world.end().await;
}

/// Nobody knows which mapping consumers of an earlier version had: the first one that starts notes its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_earlier_version_notes_its_mapping_first() {
    let mut world = World::new().await;
    write(&world, "born.yaml", &born());
    let fresh = world.leafcutter_with(&world.file("born.yaml"), &["plan", "--postgres"]);
    fresh
        .ends_with(1)
        .says("No consumer of group g has run there");
    world.send(0, &author(1, 10, "Ada")).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.stop();
    world.text(BACK_TO_13).await;
    let apply = ["plan", "--apply", "--yes"];
    let refused = world
        .leafcutter_with(&world.file("born.yaml"), &apply)
        .ends_with(7);
    refused.says("have not noted with which mapping");
    world.start("strict.yaml");
    world.wait_for(RUNNING, "1").await;
    world.stop();
    assert_eq!(world.text(GENERATIONS).await, "1");
    world
        .apply("born.yaml")
        .says("mapping generation 2 is in force");
    world.end().await;
}

/// A start that failed binds nobody: the table is as it is, and the mapping is mended.
#[tokio::test(flavor = "multi_thread")]
async fn until_a_partition_is_taken_over_a_mapping_can_be_mended() {
    let mut world = World::new().await;
    let name = "name: { type: varchar(20), required: true }";
    let number = STRICT.replace(name, "name: { type: integer, required: true }");
    write(&world, "number.yaml", &number);
    world
        .text("create table authors (id bigint primary key, name integer not null)")
        .await;
    world.complete().await;
    let (exit, told) = ended(world.run("strict.yaml")).await;
    assert_eq!(exit, Exit::Preflight, "{told}");
    assert_eq!(world.text(GENERATIONS).await, "1");
    world.start("number.yaml");
    world.wait_for(RUNNING, "1").await;
    world
        .wait_for("select count(*) > 0 from leafcutter.offsets", "t")
        .await;
    let (exit, told) = ended(world.run("strict.yaml")).await;
    assert_eq!(exit, Exit::StateMismatch, "{told}");
    assert_eq!(world.text(GENERATIONS).await, "1 2");
    world.end().await;
}

/// Before the first consumer, the tables can be made; it puts its mapping in force.
#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_consumer_there_is_nothing_to_put_in_force() {
    let mut world = World::new().await;
    let made = world.apply("strict.yaml");
    made.says("The first consumer of group g puts this mapping in force.");
    world.apply("strict.yaml").says("nothing to do");
    let in_force = world.leafcutter(&["plan", "--in-force"]).ends_with(4);
    in_force.says("no schema `leafcutter`");
    world.complete().await;
    world.start("mended.yaml");
    world.wait_for(RUNNING, "1").await;
    assert_eq!(world.text(GENERATIONS).await, "1");
    let other = world.leafcutter(&["status"]).ends_with(0);
    other.says("the file is not the mapping in force, generation 1");
    world.end().await;
}
