//! Dead letters by their causes: listed, chosen, tried again, given up.

use crate::world::{World, author, book};

/// State and reason of a discard of each dead letter.
const STATES: &str = "select split_part(topic, '.', 3) || '/' || \"offset\", state, discard_reason \
    from leafcutter.dead_letters order by 1";

/// Seven dead letters of four causes.
async fn world() -> World {
    let mut world = World::new().await;
    world.migrate().await;
    world
        .text("alter table authors add constraint not_13 check (id <> 13)")
        .await;
    let long = "x".repeat(30);
    for (id, name) in [(1, 1.into()), (2, 2.into()), (3, 3.into())] {
        let name: bson::Bson = name;
        world.send(0, &author(id, 10, name)).await;
    }
    world.send(0, &author(4, 10, long.as_str())).await;
    world.send(0, &author(5, 10, long.as_str())).await;
    world.send(0, &author(13, 10, "Ada")).await;
    world.send(0, &author(14, 10, "Bea")).await;
    world.send(0, &book(1, 11, 1984, 14)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_grouped_by_their_cause_and_chosen_by_it() {
    let mut world = world().await;
    let list = |words: &[&str]| {
        let all = [&["dead-letters", "list"], words].concat();
        world.leafcutter(&all).ends_with(0)
    };
    list(&[])
        .says("3 authors.name wrong-type")
        .says("2 authors.name too-long")
        .says("1 authors.not_13 refused (23514)")
        .says("1 books.title wrong-type")
        .says("for example shop.authors/0/")
        .says("7 open dead letters");
    list(&["--limit", "1"])
        .says("4 not shown")
        .says_nothing_of("too-long");
    let causes = list(&["--json"]).json();
    assert_eq!(causes.len(), 4);
    assert_eq!(causes[0]["dead_letters"], 3);
    assert_eq!(causes[0]["collection"], "shop.authors");
    assert_eq!(causes[0]["column"], "name");
    assert_eq!(causes[0]["example"]["reason"], "wrong-type");
    assert_eq!(list(&["--all", "--json"]).json().len(), 7);
    list(&["--all"])
        .says("shop.authors/0/3")
        .says("7 open dead letters");
    list(&["--column", "title"]).says("1 open dead letter");
    list(&["--table", "authors", "--reason", "wrong-type"]).says("3 open dead letters");
    list(&["--sqlstate", "23514"]).says("1 open dead letter");
    list(&["--since", "1h"]).says("7 open dead letters");
    list(&["--since", "2099-01-01T00:00:00Z"]).says("no open dead letters");
    list(&["--before", "1h"]).says("no open dead letters");
    list(&["--before", "2099-01-01T00:00:00Z"]).says("7 open dead letters");
    let wrong = world.leafcutter(&["dead-letters", "list", "--since", "yesterday"]);
    assert_eq!(wrong.code, 2);

    let retry = |words: &[&str]| {
        let all = [&["dead-letters", "retry", "--json"], words].concat();
        let said = world.leafcutter(&all);
        let outcomes = said.json();
        let outcomes = outcomes
            .iter()
            .map(|line| line["outcome"].as_str().unwrap());
        outcomes.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(retry(&["--sqlstate", "23514"]), ["failed"]);
    world
        .text("alter table authors drop constraint not_13")
        .await;
    assert_eq!(retry(&["--table", "authors", "--before", "1h"]), [""; 0]);
    assert_eq!(
        retry(&["--sqlstate", "23514", "--since", "1h"]),
        ["applied"]
    );
    assert_eq!(
        retry(&["--table", "books", "--column", "title"]),
        ["failed"]
    );
    world.stop();
    world.end().await;
}

/// The breaker counts records in a row, so it stays closed though far more than its number are refused. Half of the
/// bad ones the mapping refuses, half PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn a_third_of_bad_records_between_good_ones_stops_nothing() {
    const RECORDS: i64 = 600;
    let mut world = World::new().await;
    world.migrate().await;
    world
        .text("alter table authors add constraint not_bad check (name <> 'bad')")
        .await;
    for id in 0..RECORDS {
        let name: bson::Bson = match id % 6 {
            2 => 7.into(),
            5 => "bad".into(),
            _ => "Ada".into(),
        };
        world.send(0, &author(id, 10, name)).await;
    }
    world.complete().await;
    world.start_with("strict.yaml", &["--breaker", "10"]);
    world.applied().await;
    let rows = "select count(*), count(*) filter (where id % 3 = 2) from authors";
    assert_eq!(world.text(rows).await, "400|0");
    let listed = world.leafcutter(&["dead-letters", "list"]).ends_with(0);
    listed
        .says("100 authors.name wrong-type")
        .says("100 authors.not_bad refused (23514)")
        .says("200 open dead letters");
    let status = world.leafcutter(&["status"]);
    status.says_nothing_of("in a row");
    // What is mended in the source is a row, and no dead letter any more.
    world.send(0, &author(2, 11, "Bea")).await;
    world.send(0, &author(5, 11, "Cleo")).await;
    world.applied().await;
    assert_eq!(world.text(rows).await, "402|2");
    let open = "select count(*) from leafcutter.dead_letters where state = 'open'";
    assert_eq!(world.text(open).await, "198");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_not_open_and_says_why() {
    let mut world = world().await;
    let why = ["--because", "a test account"];
    let discard = |words: &[&str]| {
        let all = [&["dead-letters", "discard"], words].concat();
        world.leafcutter(&all)
    };
    discard(&["--all"]).ends_with(2);
    discard(&["--all", "--because", " "]).ends_with(2);
    assert_eq!(discard(&why).code, 2);
    let long = ["--reason", "too-long", "--because", "a test account"];
    discard(&[&long[..], &["--dry-run"]].concat())
        .ends_with(0)
        .says("2 dead letters would be discarded: a test account");
    assert!(!world.text(STATES).await.contains("discarded"));
    discard(&long)
        .ends_with(0)
        .says("2 dead letters discarded: a test account");
    let one = discard(&["authors/0/0", "--because", "mine", "--json"]).ends_with(0);
    assert_eq!(one.whole()["discarded"], 1);
    let states = "authors/0|discarded|mine authors/1|open|null authors/2|open|null \
                  authors/3|discarded|a test account authors/4|discarded|a test account \
                  authors/5|open|null books/0|open|null";
    assert_eq!(world.text(STATES).await, states);
    discard(&["authors/0/0", "--because", "again"])
        .ends_with(1)
        .says("shop.authors/0/0 is not open: discarded")
        .says("0 dead letters discarded");

    // Not open: neither listed nor counted. Shown with the reason.
    let open = world.leafcutter(&["dead-letters", "list"]).ends_with(0);
    open.says("4 open dead letters").says_nothing_of("too-long");
    let status = world.leafcutter(&["status", "--json"]).whole();
    assert_eq!(status["dead_letters"]["too-long"], serde_json::Value::Null);
    assert_eq!(status["dead_letters"]["wrong-type"], 3);
    let listed = ["dead-letters", "list", "--all", "--state", "discarded"];
    let listed = world.leafcutter(&listed).ends_with(0);
    listed
        .says("discarded: a test account")
        .says("discarded: mine")
        .says("3 discarded dead letters");
    let shown = world.leafcutter(&["dead-letters", "show", "authors/0/3"]);
    shown.ends_with(0).says("UTC: a test account");

    // A retry refuses it, and a replay does not open it again.
    let mended = world.file("mended.yaml");
    world.stop();
    world.apply("mended.yaml");
    let retry = ["dead-letters", "retry", "authors/0/0"];
    let retried = world.leafcutter_with(&mended, &retry).ends_with(1);
    retried.says("refused: discarded by a person").says("mine");
    let all = ["dead-letters", "retry", "--all", "--json"];
    let all = world.leafcutter_with(&mended, &all).ends_with(1);
    assert_eq!(all.json().len(), 4);
    world.apply("strict.yaml");
    world.start("strict.yaml");
    let replay = world.leafcutter(&["replay", "authors", "--yes"]);
    replay.ends_with(0);
    world.applied().await;
    let discarded = "select count(*) from leafcutter.dead_letters where state = 'discarded'";
    assert_eq!(world.text(discarded).await, "3");
    world.end().await;
}
