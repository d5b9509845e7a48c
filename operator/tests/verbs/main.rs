//! The verbs on real servers: what they say, what they change, and the code they end with. Needs
//! `LEAFCUTTER_POSTGRES_URI` and `LEAFCUTTER_KAFKA_BROKERS`; fails without them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here is a failed test"
)]

mod again;
mod drift;
mod finish;
mod letters;
mod list;
mod live;
mod pause;
mod stops;
mod world;

use world::{Said, World, author, book};

const STATES: &str = "select string_agg(topic_end || ':' || state || ':' || reason, ' ' order by topic_end) \
    from (select split_part(topic, '.', 3) || '/' || partition || '/' || \"offset\" as topic_end, \
    state, reason from leafcutter.dead_letters) as dead_letters";
/// Documents that wait now.
const WAITING: &str = "select count(*) from leafcutter.parked";
/// Dead letters that are open now.
const DEAD: &str = "select count(*) from leafcutter.dead_letters where state = 'open'";
/// Consumers that get on.
const RUNNING: &str = "select count(*) from leafcutter.consumers where problem is null";
const BOOKS: &str = "select id, title, author_id from books order by 1";
const AUTHORS: &str = "select id, name, lc_version >> 31 from authors order by 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_shown_and_applied_once_its_cause_is_mended() {
    let mut world = World::new().await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.send(1, &author(2, 11, 7_654_321)).await;
    world.send(0, &book(1, 12, "On Machines", 2)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;

    let list = world.leafcutter(&["dead-letters", "list"]).ends_with(0);
    list.says("shop.authors/1/0")
        .says("wrong-type")
        .says("1 open dead letter");
    let json = world.leafcutter(&["dead-letters", "list", "--json", "--reason", "wrong-type"]);
    assert_eq!(json.json()[0]["table"], "authors");
    let none = world.leafcutter(&["dead-letters", "list", "--collection", "books"]);
    none.ends_with(0).says("no open dead letters");
    world
        .leafcutter(&["dead-letters", "list", "--collection", "nobody"])
        .ends_with(2);

    let shown = world
        .leafcutter(&["dead-letters", "show", "authors/1/0"])
        .ends_with(0);
    shown
        .says("wrong-type")
        .says("number:2")
        .says("transform")
        .says_nothing_of("7654321");
    let shown = world.leafcutter(&["dead-letters", "show", "shop.authors/1/0", "--document"]);
    shown.ends_with(0).says("7654321");
    world
        .leafcutter(&["dead-letters", "show", "authors/1/99"])
        .ends_with(1);
    world
        .leafcutter(&["dead-letters", "show", "authors"])
        .ends_with(2);

    let same = world
        .leafcutter(&["dead-letters", "retry", "--all"])
        .ends_with(1);
    same.says("failed again");
    assert_eq!(world.text(STATES).await, "authors/1/0:open:wrong-type");
    let mended = world.file("mended.yaml");
    let other = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all"]);
    other
        .ends_with(7)
        .says("Start the consumers with this mapping first");
    let dry = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all", "--dry-run"]);
    dry.ends_with(0)
        .says("1 would be applied")
        .says("nothing was changed");
    assert_eq!(world.text(STATES).await, "authors/1/0:open:wrong-type");
    assert_eq!(world.text(AUTHORS).await, "1|Ada|10");

    world.stop();
    let done = world.leafcutter_with(&mended, &["dead-letters", "retry", "authors/1/0", "--json"]);
    assert_eq!(done.ends_with(0).json()[0]["outcome"], "applied");
    assert_eq!(world.text(AUTHORS).await, "1|Ada|10 2|7654321|11");
    // Its book waited for it, and was placed in the same transaction.
    assert_eq!(world.text(BOOKS).await, "1|On Machines|2");
    assert_eq!(world.text(STATES).await, "authors/1/0:retried:wrong-type");
    assert_eq!(
        (world.text(WAITING).await, world.text(DEAD).await),
        ("0".into(), "0".into())
    );
    let again = world.leafcutter_with(&mended, &["dead-letters", "retry", "authors/1/0"]);
    again.ends_with(0).says("not open");
    let again = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all"]);
    again.ends_with(0).says("no open dead letters");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_tried_again_never_beats_what_is_there() {
    let mut world = World::new().await;
    for (id, second) in [(1, 10), (2, 10), (3, 10), (4, 10)] {
        world.send(0, &author(id, second, id)).await;
    }
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.send(0, &author(1, 20, "newer")).await;
    world.applied().await;
    // The newer record superseded the dead letter by itself.
    let states = "authors/0/0:superseded:wrong-type authors/0/1:open:wrong-type \
                  authors/0/2:open:wrong-type authors/0/3:open:wrong-type";
    assert_eq!(world.text(STATES).await, states);
    world.stop();
    let at = |second: i64| second << 31;
    world
        .text(&format!(
            "update leafcutter.dead_letters set state = 'open';
             insert into authors (id, name, lc_version) values (2, 'equal', {});
             insert into leafcutter.tombstones values ('authors', int8send(3), {}), \
             ('authors', int8send(4), {})",
            at(10),
            at(10),
            at(9)
        ))
        .await;
    let mended = world.file("mended.yaml");
    let retried = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all", "--json"]);
    let outcomes: Vec<String> = retried
        .ends_with(0)
        .json()
        .iter()
        .map(|l| l["outcome"].to_string())
        .collect();
    let expected = [
        "\"superseded\"",
        "\"superseded\"",
        "\"superseded\"",
        "\"applied\"",
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(world.text(AUTHORS).await, "1|newer|20 2|equal|10 4|4|10");
    assert_eq!(world.text(DEAD).await, "0");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_without_its_parent_waits_and_is_placed_with_it() {
    let mut world = World::new().await;
    world.send(0, &book(1, 10, 1984, 5)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.stop();
    let mended = world.file("mended.yaml");
    let retry = ["dead-letters", "retry", "--collection", "books"];
    let waits = world.leafcutter_with(&mended, &retry).ends_with(0);
    waits
        .says("1 waiting for parent")
        .says("waits for the row of `authors`");
    assert_eq!(world.text(STATES).await, "books/0/0:open:waiting");
    assert_eq!(
        (world.text(WAITING).await, world.text(DEAD).await),
        ("1".into(), "1".into())
    );
    // A second time changes nothing.
    let parked = "select version, state, parked_at from leafcutter.parked";
    let before = world.text(parked).await;
    world
        .leafcutter_with(&mended, &retry)
        .ends_with(0)
        .says("1 waiting for parent");
    assert_eq!(world.text(parked).await, before);
    assert_eq!(
        (world.text(WAITING).await, world.text(DEAD).await),
        ("1".into(), "1".into())
    );
    world.send(0, &author(5, 12, "Orwell")).await;
    world.start("mended.yaml");
    world.applied().await;
    world
        .wait_for("select count(*) from leafcutter.parked", "0")
        .await;
    assert_eq!(world.text(BOOKS).await, "1|1984|5");
    assert_eq!(world.text(STATES).await, "books/0/0:superseded:waiting");
    assert_eq!(
        (world.text(WAITING).await, world.text(DEAD).await),
        ("0".into(), "0".into())
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_dead_letters_are_tried_without_the_one_that_postgresql_refuses() {
    let mut world = World::new().await;
    for id in 0..500 {
        world
            .send(i32::from(id % 2 == 0), &author(id, 10, id))
            .await;
    }
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.stop();
    world
        .text("alter table authors add constraint not_13 check (id <> 13)")
        .await;
    let mended = world.file("mended.yaml");
    let retried = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all"]);
    retried
        .ends_with(1)
        .says("499 applied")
        .says("1 failed again")
        .says("not_13");
    assert_eq!(world.text("select count(*) from authors").await, "499");
    let open = "select reason, sqlstate from leafcutter.dead_letters where state = 'open'";
    assert_eq!(world.text(open).await, "refused|23514");
    world
        .text("alter table authors drop constraint not_13")
        .await;
    let retried = world.leafcutter_with(&mended, &["dead-letters", "retry", "--reason", "refused"]);
    retried.ends_with(0).says("1 applied");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_replayed_from_its_start_while_consumers_run() {
    let mut world = World::new().await;
    for id in 1..=4 {
        world
            .send(i32::from(id % 2 == 0), &author(id, 10, "before"))
            .await;
    }
    world.send(0, &book(1, 12, "Kept", 1)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world
        .text("update authors set name = 'edited by hand' where id < 3")
        .await;

    world
        .leafcutter(&["replay", "authors"])
        .ends_with(2)
        .says("--yes");
    let dry = world
        .leafcutter(&["replay", "authors", "--dry-run"])
        .ends_with(0);
    dry.says("to apply again").says("nothing was changed");
    world
        .leafcutter(&["replay", "nobody", "--yes"])
        .ends_with(2);
    assert_eq!(
        world
            .text("select sum(next_offset) from leafcutter.offsets")
            .await,
        "5"
    );

    world
        .leafcutter(&["replay", "authors", "--yes", "--no-wait"])
        .ends_with(0)
        .says("goes on");
    // Owners notice at their next record, at the latest.
    world.send(0, &author(5, 20, "after")).await;
    world.send(1, &author(6, 20, "after")).await;
    world.applied().await;
    let expected = "1|before|10 2|before|10 3|before|10 4|before|10 5|after|20 6|after|20";
    assert_eq!(world.text(AUTHORS).await, expected);
    let counters = "select sum(applied), sum(unchanged), sum(next_offset) from leafcutter.offsets \
                    where topic like '%authors'";
    assert_eq!(world.text(counters).await, "4|2|6");
    world.heartbeat(20).await;
    world.wait_for(RUNNING, "1").await;
    let status = world.leafcutter(&["status", "--json"]).ends_with(0).whole();
    assert_eq!(status["accounting"]["broken"], serde_json::json!([]));
    assert_eq!(status["accounting"]["consumed"], 7);

    // Without a consumer it begins when one starts; the program waits for the end.
    world.stop();
    let mut waiting = world.leafcutter_started(&["replay", "--all", "--yes", "--json"]);
    let positions = "select sum(next_offset) from leafcutter.offsets";
    world.wait_for(positions, "0").await;
    assert_eq!(waiting.try_wait().unwrap(), None, "it did not wait");
    let consumer = world.run("strict.yaml");
    let told = Said::of(waiting.wait_with_output().unwrap());
    consumer.stop();
    let told = told.ends_with(0).whole();
    assert_eq!(
        (&told["done"], &told["outcomes"]["unchanged"]),
        (&true.into(), &7.into())
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_refused_when_the_first_records_are_gone() {
    let mut world = World::new().await;
    for id in 1..=4 {
        world.send(0, &author(id, 10, "x")).await;
    }
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.cut_off("authors", 0, 2).await;
    let refused = world
        .leafcutter(&["replay", "authors", "--yes"])
        .ends_with(5);
    refused.says("begins at 2");
    assert_eq!(
        world
            .text("select sum(next_offset) from leafcutter.offsets")
            .await,
        "4"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_is_missing_and_when_to_cut_over() {
    let mut world = World::new().await;
    let none = world.leafcutter(&["status"]).ends_with(4);
    none.says("no schema `leafcutter`")
        .says("Start leafcutter-consumer once");
    world.migrate().await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.heartbeat(11).await;
    let early = world.leafcutter(&["status"]).ends_with(0);
    early
        .says("not ready to cut over")
        .says("no consumer is running")
        .says("authors: snapshot 25 % read")
        .says("waiting for parents: authors 0 %");

    world.send(1, &author(2, 10, 5)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.wait_for(RUNNING, "1").await;
    let status = world.leafcutter(&["status", "--json"]).ends_with(0).whole();
    assert_eq!(status["ready"], false);
    let why = serde_json::json!(["1 dead letter open: leafcutter dead-letters list"]);
    assert_eq!(status["not_ready_because"], why, "{status:#}");
    assert_eq!(status["collections"][0]["snapshot"], "complete");

    world.send(1, &author(2, 20, "Grace")).await;
    world.applied().await;
    world.complete().await;
    let ready = world.leafcutter(&["status"]).ends_with(0);
    ready
        .says("\nready to cut over\n")
        .says("each accounted for: 2 applied");
    let watched = world.watch_until("ready to cut over");
    assert!(watched.contains("ready to cut over"), "{watched}");

    world
        .text("update leafcutter.offsets set applied = applied + 1 where partition = 0")
        .await;
    let broken = world.leafcutter(&["status"]).ends_with(1);
    broken
        .says("THE ACCOUNTING IS BROKEN")
        .says("partition 0: 1 record");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peek_shows_records_and_documents_only_when_asked_for() {
    let mut world = World::new().await;
    for second in 0..30 {
        world
            .send(
                i32::from(second % 2 == 1),
                &author(second, 10 + second, "secret"),
            )
            .await;
    }
    world.complete().await;
    let newest = world
        .leafcutter(&["peek", "authors", "--limit", "2"])
        .ends_with(0);
    let newest = newest
        .says("0/14")
        .says("1/14")
        .says("number:29")
        .says("version 39.0");
    newest.says_nothing_of("secret").says_nothing_of("1/13");
    let words = [
        "peek",
        "authors",
        "--partition",
        "1",
        "--offset",
        "3",
        "--limit",
        "1",
    ];
    world
        .leafcutter(&words)
        .ends_with(0)
        .says("1/3 ")
        .says("number:7")
        .says_nothing_of("1/4 ");
    let mut with: Vec<&str> = words.to_vec();
    with.extend(["--documents", "--json"]);
    let json = world.leafcutter(&with).ends_with(0).json();
    assert_eq!(json[0]["envelope"]["document"]["name"], "secret");
    assert_eq!(json[0]["envelope"]["version_number"], 17i64 << 31);
    let control = world.leafcutter(&["peek", "control"]).ends_with(0);
    control.says("heartbeat/p").says("\"complete_time\"");
    world
        .leafcutter(&["peek", "authors", "--partition", "2"])
        .ends_with(2)
        .says("has 2");
    let unknown = world.leafcutter(&["peek", "nobody"]).ends_with(2);
    unknown.says(&world.topic("authors"));
    let nothing = world.leafcutter(&["peek", "books"]).ends_with(0);
    nothing.says("no records there");

    world.start("strict.yaml");
    world.send(0, &author(99, 99, 7_654_321)).await;
    world.applied().await;
    let topic = format!("{}.dead-letter", world.topic("authors"));
    let dead = world.leafcutter(&["peek", &topic]).ends_with(0);
    dead.says("wrong-type")
        .says("from ")
        .says("number:99")
        .says_nothing_of("7654321");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_told_without_secrets_and_with_their_code() {
    let world = World::new().await;
    let nowhere = "postgres://user:hunter2@127.0.0.1:1/none";
    let said = world
        .leafcutter(&["status", "--postgres-uri", nowhere])
        .ends_with(4);
    said.says("could not connect to PostgreSQL")
        .says_nothing_of("hunter2");
    world
        .leafcutter(&["status", "--postgres-uri", "nonsense"])
        .ends_with(3);
    world.migrate().await;
    let said = world
        .leafcutter(&["status", "--kafka-brokers", "127.0.0.1:1"])
        .ends_with(4);
    said.says("Kafka cannot be asked").says("could not read");
    world
        .leafcutter(&["peek", "authors", "--kafka-brokers", "127.0.0.1:1"])
        .ends_with(4);
    world.leafcutter(&["no-such-verb"]).ends_with(2);
    let sound = world.leafcutter(&["check"]).ends_with(0);
    sound
        .says("2 collections, 2 tables, 1 reference")
        .says("books → authors");
    for system in std::fs::read_dir(world::EXAMPLES).unwrap() {
        let file = system.unwrap().path().join("mapping.yaml");
        world.leafcutter_with(&file, &["check"]).ends_with(0);
    }
    let file = world.file("broken.yaml");
    let broken = world::STRICT
        .replace("bigint", "bigin")
        .replace("authors }", "nobody }");
    std::fs::write(&file, broken).unwrap();
    let faults = world.leafcutter_with(&file, &["check"]).ends_with(3);
    faults
        .says("broken.yaml:8:")
        .says("broken.yaml:16:")
        .says("did you mean");
    let json = world
        .leafcutter_with(&file, &["check", "--json"])
        .ends_with(3)
        .json();
    assert_eq!(json[0]["line"], 8);
    world
        .leafcutter_with(&world.file("missing.yaml"), &["check"])
        .ends_with(3);
    world.end().await;
}

#[tokio::test]
async fn tables_that_exist_are_compared_with_the_mapping() {
    let world = World::new().await;
    // Nothing is there yet, and the consumers create it.
    world
        .leafcutter(&["check", "--postgres"])
        .ends_with(0)
        .says("the consumers create what is missing: 2 things");
    world
        .leafcutter(&["check", "--postgres", "--ddl", "check"])
        .ends_with(4)
        .says("do not fit: 2 faults")
        .says("fix create table if not exists \"public\".\"books\"");
    world.migrate().await;
    world
        .leafcutter(&["check", "--postgres", "--ddl", "check"])
        .ends_with(0)
        .says("agree with it");
    for sql in [
        "alter table books alter column title drop not null",
        "drop index books_author_id_idx",
    ] {
        world.text(sql).await;
    }
    // An index is created by the next consumer that starts.
    world
        .leafcutter(&["check", "--postgres"])
        .ends_with(1)
        .says("differ: 1 warning")
        .says("warning books.title mapping required table takes null")
        .says("fix alter table \"public\".\"books\" alter column \"title\" set not null;")
        .says("or no `required` in the mapping");
    let said = world
        .leafcutter(&["check", "--postgres", "--ddl", "check"])
        .ends_with(1)
        .says("differ: 2 warnings");
    assert!(said.out.contains("create index on \"public\".\"books\""));
    world
        .text("alter table authors alter column name type integer using 0")
        .await;
    world
        .leafcutter(&["check", "--postgres"])
        .ends_with(4)
        .says("do not fit: 1 fault, 1 warning")
        .says("fault authors.name mapping varchar(20) table integer");
    let said = world.leafcutter(&["check", "--postgres", "--json"]);
    assert_eq!(said.code, 4);
    let json = &said.whole()["postgres"];
    assert_eq!(
        (&json["faults"], &json["warnings"], &json["to_create"]),
        (&1.into(), &1.into(), &1.into())
    );
    let first = &json["disagreements"][0];
    let expected = serde_json::json!({
        "weight": "fault", "kind": "type", "table": "authors", "columns": ["name"],
        "mapping": "varchar(20)", "postgres": "integer",
        "means": "what is written does not fit its type",
        "sql": ["alter table \"public\".\"authors\" alter column \"name\" type varchar(20) \
                 using \"name\"::text::varchar(20)"],
        "or": "that type in the mapping, where it has such a type",
    });
    assert_eq!(*first, expected);
    let nowhere = ["--postgres-uri", "postgres://someone:hunter2@127.0.0.1:1/x"];
    let without = [&["check"][..], &nowhere].concat();
    world.leafcutter(&without).ends_with(0);
    let with = [&["check", "--postgres"][..], &nowhere].concat();
    let said = world.leafcutter(&with).ends_with(4);
    said.says("could not connect to PostgreSQL")
        .says_nothing_of("hunter2");
    world.end().await;
}

#[tokio::test]
async fn a_plan_is_sql_that_any_database_takes() {
    let world = World::new().await;
    let plan = world.leafcutter(&["plan"]);
    assert_eq!(plan.code, 0, "{plan:?}");
    plan.says("create table if not exists \"public\".\"books\"");
    let file = world.file("tables.sql");
    let path = file.to_str().unwrap();
    let told = world.leafcutter(&["plan", "--out", path]).ends_with(0);
    told.says("statements in").says("tables.sql");
    let sql = std::fs::read_to_string(&file).unwrap();
    let json = world.leafcutter(&["plan", "--json"]).whole();
    let statements = json["statements"].as_array().unwrap();
    assert_eq!(statements.len(), sql.matches(";\n\n").count());
    for statement in statements.iter().chain(statements) {
        world.text(statement.as_str().unwrap()).await;
    }
    world
        .leafcutter(&["check", "--postgres", "--ddl", "check"])
        .ends_with(0)
        .says("agree with it");
    world
        .leafcutter_with(&world.file("missing.yaml"), &["plan"])
        .ends_with(3)
        .says("could not read the mapping");
    world
        .leafcutter(&["plan", "--out", "/nowhere/tables.sql"])
        .ends_with(3)
        .says("could not write the SQL");
    world.end().await;
}
