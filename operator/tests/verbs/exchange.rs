//! New tables are filled beside those in use, and exchanged with them.

use crate::{
    again::{self, MAPPING, WIDER, converges, filled_up, writer},
    live,
    world::{STRICT, World, author, book},
};
use leafcutter_harness::record;
use leafcutter_runtime::exit::Exit;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

const GENERATIONS: &str =
    "select string_agg(generation::text, ' ' order by generation) from leafcutter.mappings";
/// What a staging leaves behind in the state, if anything.
const LEFT: &str = "\
    select (select count(*) from leafcutter.stagings) + \
    (select count(*) from leafcutter.offsets where consumer_group <> 'g') + \
    (select count(*) from leafcutter.mappings where consumer_group <> 'g') + \
    (select count(*) from leafcutter.pauses) + \
    (select count(*) from leafcutter.dead_letters where staged_in <> '') + \
    (select count(*) from leafcutter.tombstones where table_name like 'next.%') + \
    (select count(*) from leafcutter.parked where table_name like 'next.%' or wait_table like 'next.%')";

/// Reads both tables in one transaction, again and again, and says which tables it has seen.
fn reader(live: &live::Live, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<(u32, u32)>> {
    let (stack, stop) = (live.target.stack.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut client = stack.postgres().await.unwrap();
        let mut seen = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let transaction = client.transaction().await.unwrap();
            let sql = "select max(tableoid) from authors";
            let authors: u32 = transaction.query_one(sql, &[]).await.unwrap().get(0);
            let sql = "select max(tableoid) from books";
            let books: u32 = transaction.query_one(sql, &[]).await.unwrap().get(0);
            transaction.commit().await.unwrap();
            if seen.last() != Some(&(authors, books)) {
                seen.push((authors, books));
            }
        }
        seen
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_old_tables_or_the_new_ones_while_everything_runs() {
    let live = again::started(MAPPING).await;
    let (producer, old) = (live.producer(&[]), live.consumer());
    filled_up(&live).await;
    let tables = "select 'authors'::regclass::oid::bigint, 'books'::regclass::oid::bigint";
    let before = live.text(tables).await;
    live.text(
        "do $$ begin create role lc_reader; exception when duplicate_object then null; end $$",
    )
    .await;
    live.text("grant select on authors, books to lc_reader")
        .await;
    live.text("grant update (title) on books to lc_reader")
        .await;
    let (stop, writing) = writer(&live);
    let reading = reader(&live, &stop);
    live.map(WIDER);

    let dry = live
        .leafcutter(&["replay", "--into", "next", "--dry-run"])
        .await;
    dry.ends_with(0)
        .says("next.author_tags")
        .says("nothing was changed");
    let filled = live
        .leafcutter(&["replay", "--into", "next", "--yes"])
        .await;
    filled
        .ends_with(0)
        .says("exchange: the same command with --swap");
    let staged =
        "select 'next.authors'::regclass::oid::bigint, 'next.books'::regclass::oid::bigint";
    let new = live.text(staged).await;
    // The consumers go on with theirs.
    assert_eq!(live.text(tables).await, before);
    assert_eq!(
        live.text("select count(*) from leafcutter.stagings").await,
        "1"
    );

    let swapped = live
        .leafcutter(&["replay", "--into", "next", "--swap", "--yes"])
        .await;
    let swapped = swapped.ends_with(0);
    swapped
        .says("Go on filling")
        .says("The new tables are in use")
        .says("generation 2");
    let (exit, told) = old.ended().await;
    assert_eq!(exit, Exit::StateMismatch, "{told}");
    assert_eq!(live.text(tables).await, new);
    assert_eq!(live.text(staged).await, before, "the old tables are kept");
    assert_eq!(live.text(LEFT).await, "0");
    let rights = "select has_table_privilege('lc_reader', 'books', 'select'), \
                  has_column_privilege('lc_reader', 'books', 'title', 'update'), \
                  has_table_privilege('lc_reader', 'books', 'update')";
    assert_eq!(live.text(rights).await, "t|t|f");

    let consumer = live.consumer();
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    let seen = reading.await.unwrap();
    assert_eq!(
        seen.len(),
        2,
        "old, then new, and nothing between: {seen:?}"
    );
    converges(&live).await;
    live.leafcutter(&["verify"])
        .await
        .ends_with(0)
        .says("0 100.00 %");
    let status = live.leafcutter(&["status", "--json"]).await.whole();
    assert_eq!(status["accounting"]["broken"], serde_json::json!([]));
    assert_eq!(status["older_rows"], serde_json::json!([]));
    for running in [consumer, producer] {
        live::Running::stop(running);
    }
    live.end().await;
}

/// A world with a row, a deleted one, an orphan, a record that is refused and one that was given up.
async fn troubled() -> World {
    let mut world = World::new().await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.send(0, &author(2, 10, "gone")).await;
    let gone = record::delete("authors", 20 << 31, 2_i64);
    world.send(0, &gone).await;
    world.send(1, &author(3, 10, 4711)).await;
    world.send(1, &author(4, 10, 4712)).await;
    world.send(0, &book(1, 11, "Notes", 1)).await;
    world.send(0, &book(2, 11, "Lost", 9)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world
        .leafcutter(&[
            "dead-letters",
            "discard",
            "authors/1/1",
            "--because",
            "known",
        ])
        .ends_with(0);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_documents_goes_with_the_tables_and_the_consumers_go_on() {
    let mut world = troubled().await;
    // As after a sweep: only the tombstone says that what the topic has is gone.
    world
        .text("update leafcutter.tombstones set version = 40::bigint << 31 where table_name = 'authors'")
        .await;
    // What is known of other tables, whose names begin as these do.
    let others = "select string_agg(table_name, ', ' order by table_name collate \"C\") from leafcutter.held";
    world
        .text(
            "insert into leafcutter.held (table_name, row_key, version) \
             values ('authors.houses', '', 1), ('authors too', '', 1)",
        )
        .await;
    world.send(0, &author(2, 30, "swept")).await;
    world.applied().await;
    let letters = "select partition, \"offset\", state, table_name, consumer_group \
                   from leafcutter.dead_letters order by 1, 2";
    let known = "1|0|open|authors|g 1|1|discarded|authors|g";
    assert_eq!(world.text(letters).await, known);
    let parked = "select table_name, wait_table, consumer_group from leafcutter.parked";
    world.wait_for(parked, "books|authors|g").await;

    let told = world
        .leafcutter(&["replay", "--into", "next", "--yes", "--json"])
        .ends_with(0)
        .whole();
    assert_eq!(
        (&told["filled"], &told["waiting"]),
        (&true.into(), &1.into())
    );
    // What is refused and parked for the new tables is told of nowhere yet.
    assert_eq!(
        world
            .text("select count(*) from leafcutter.dead_letters")
            .await,
        "4"
    );
    let status = world.leafcutter(&["status", "--json"]).ends_with(0).whole();
    assert_eq!(status["accounting"]["broken"], serde_json::json!([]));
    let open: i64 = status["dead_letters"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(|n| n.as_i64())
        .sum();
    assert_eq!(open, 1);

    let told = world
        .leafcutter(&["replay", "--into", "next", "--swap", "--yes", "--json"])
        .ends_with(0)
        .whole();
    assert_eq!(told["exchanged"], true);
    assert_eq!(told["generation"], serde_json::Value::Null);
    assert_eq!(world.text(LEFT).await, "0");
    assert_eq!(world.text(GENERATIONS).await, "1");
    assert_eq!(world.text(letters).await, known);
    assert_eq!(world.text(parked).await, "books|authors|g");
    assert_eq!(world.text(others).await, "authors too, authors.houses");
    world.text("delete from leafcutter.held").await;
    let tombstones = "select count(*) from leafcutter.tombstones where table_name = 'authors'";
    assert_eq!(world.text(tombstones).await, "1");
    let origins = "select string_agg(table_name, ' ' order by table_name) from leafcutter.origins";
    assert_eq!(
        world.text(origins).await,
        "\"public\".\"authors\" \"public\".\"books\""
    );

    // The same consumer goes on: the deleted one stays away, the parent places its child, the letter closes.
    world.send(0, &author(2, 15, "gone")).await;
    world.send(1, &author(9, 30, "Late")).await;
    world.send(1, &author(3, 31, "Mended")).await;
    world.applied().await;
    let authors = "select id, name from authors order by 1";
    assert_eq!(world.text(authors).await, "1|Ada 3|Mended 9|Late");
    world
        .wait_for("select id, title from books order by 1", "1|Notes 2|Lost")
        .await;
    let state = "select state from leafcutter.dead_letters where \"offset\" = 0 and partition = 1";
    assert_eq!(world.text(state).await, "superseded");
    let counted = "select sum(next_offset) = sum(applied + unchanged + stale + deleted + held + filtered \
                   + parked + ignored + dead_lettered + suppressed) from leafcutter.offsets";
    assert_eq!(world.text(counted).await, "t");

    // Those of before are in the way of another time, until they are dropped.
    let refused = world
        .leafcutter(&["replay", "--into", "next", "--yes"])
        .ends_with(4);
    refused.says("is there and has rows");
    world.text("drop schema next cascade").await;
    world
        .leafcutter(&["replay", "--into", "next", "--swap", "--yes"])
        .ends_with(0);
    assert_eq!(world.text(authors).await, "1|Ada 3|Mended 9|Late");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_the_tables_in_use_keeps_them_from_being_exchanged() {
    let mut world = troubled().await;
    for sql in [
        "create view names as select name from authors",
        "create table shelves (book bigint references books)",
        "create index by_hand on authors (name)",
        "alter table authors add column note text",
    ] {
        world.text(sql).await;
    }
    let swap = ["replay", "--into", "next", "--swap", "--yes"];
    let mut refused = world.leafcutter(&swap).ends_with(6);
    for words in [
        "not exchanged",
        "view names reads it",
        "of shelves refers to it",
        "index by_hand",
        "column note",
    ] {
        refused = refused.says(words);
    }
    // They were not paused for it, and the consumers went on.
    assert_eq!(
        world.text("select count(*) from leafcutter.pauses").await,
        "0"
    );
    world.send(0, &author(5, 40, "Eve")).await;
    world.applied_by("g").await;
    for sql in [
        "drop view names",
        "drop table shelves",
        "create index by_hand on next.authors (name)",
        "alter table next.authors add column note text",
    ] {
        world.text(sql).await;
    }
    world.leafcutter(&swap).ends_with(0);
    assert_eq!(world.text("select id from authors order by 1").await, "1 5");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tables_are_given_up_and_a_schema_or_mapping_that_does_not_fit_is_refused() {
    let world = troubled().await;
    for (words, told) in [
        (
            ["replay", "--into", "public", "--yes"],
            "this schema is in use",
        ),
        (
            ["replay", "--into", "leafcutter", "--yes"],
            "this schema is in use",
        ),
    ] {
        world.leafcutter(&words).ends_with(2).says(told);
    }
    world
        .leafcutter(&["replay", "--into", "next", "--discard", "--yes"])
        .ends_with(2)
        .says("never begun");
    world
        .leafcutter(&["replay", "--into", "next", "--yes"])
        .ends_with(0);
    std::fs::write(
        world.file("other.yaml"),
        STRICT
            .replace("varchar(20)", "text")
            .replace("table: books", "table: tomes"),
    )
    .unwrap();
    let other = world.file("other.yaml");
    let refused = world.leafcutter_with(&other, &["replay", "--into", "next", "--yes"]);
    refused.ends_with(7).says("begun with another mapping");
    // Those go that were begun, whatever file is given.
    let discard = ["replay", "--into", "next", "--discard", "--yes"];
    world
        .leafcutter_with(&other, &discard)
        .ends_with(0)
        .says("next.books");
    assert_eq!(world.text(LEFT).await, "0");
    assert_eq!(
        world.text("select to_regnamespace('next') is null").await,
        "t"
    );
    let origins = "select count(*) from leafcutter.origins where table_name like '%next%'";
    assert_eq!(world.text(origins).await, "0");
    // With another mapping, from the start.
    let swap = ["replay", "--into", "next", "--swap", "--yes", "--json"];
    let told = world.leafcutter_with(&other, &swap).ends_with(0).whole();
    assert_eq!(
        (&told["exchanged"], &told["generation"]),
        (&true.into(), &2.into())
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_in_between_goes_on() {
    let mut world = troubled().await;
    let before = world.text("select 'authors'::regclass::oid::bigint").await;
    let swap = ["replay", "--into", "next", "--swap", "--yes"];
    for begun in ["leafcutter.stagings", "leafcutter.pauses"] {
        let mut child = world.leafcutter_started(&swap);
        world
            .wait_for(&format!("select count(*) from {begun}"), "1")
            .await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(
            world.text("select 'authors'::regclass::oid::bigint").await,
            before
        );
    }
    // Killed while the consumers were paused for it.
    let status = world.leafcutter(&["status"]).ends_with(0);
    status.says("paused").says("replay --into next");
    world.leafcutter(&swap).ends_with(0).says("in use");
    assert_ne!(
        world.text("select 'authors'::regclass::oid::bigint").await,
        before
    );
    assert_eq!(world.text(LEFT).await, "0");
    world.send(0, &author(7, 50, "Mary")).await;
    world.applied().await;
    let authors = "select id, name from authors order by 1";
    assert_eq!(world.text(authors).await, "1|Ada 7|Mary");
    world.end().await;
}
