//! The application's rows are kept whichever way Leafcutter takes them, once each, and come back; what the
//! application does is not kept, and neither is a row of Leafcutter's.

use crate::world::{Made, World, delete_by, put, read};
use bson::{RawDocumentBuf, doc};
use leafcutter_harness::record::version;
use leafcutter_sink::{
    change::Outcome,
    connection::Connection,
    ids::Generation,
    rollback,
    session::Session,
    sweep::{Deleter, Finder},
};
use std::sync::Arc;
use uuid::Uuid;

const MAPPING: &str = "
version: 1
database: shop
collections:
  houses:
    table: houses
    key: id
    columns: { id: { path: _id, type: bigint }, name: { type: varchar(6), required: true } }
    children:
      - table: rooms
        from: rooms
        key: [house, n]
        columns:
          house: { parent: id }
          n: { path: n, type: integer, required: true }
          what: { path: what, type: text }
        children:
          - table: beds
            from: beds
            key: [house, n, b]
            columns:
              house: { parent: house }
              n: { parent: n }
              b: { path: ., type: integer, required: true }
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: bigint }
      house: { type: bigint, references: { table: houses, on_delete: cascade } }
  guests:
    table: guests
    key: id
    columns:
      id: { path: _id, type: bigint }
      house: { type: bigint, references: { table: houses, on_delete: set-null } }
  days:
    table: days
    key: [day]
    on_same_key: newest-wins
    columns: { day: { type: text, required: true }, note: text }
  notes:
    table: notes
    delete: { soft: deleted_at }
    key: id
    columns: { id: { path: _id, type: bigint }, text: text }
";

/// Ten of each, all the application's.
const TABLES: &str = "
    create table houses (id bigint primary key, name varchar(6) not null, own text);
    create table rooms (house bigint references houses (id), n integer, what text, own text,
        primary key (house, n));
    create table beds (house bigint, n integer, b integer, own text, primary key (house, n, b),
        foreign key (house, n) references rooms (house, n));
    create table people (id bigint primary key, house bigint, own text);
    create table guests (id bigint primary key, house bigint, own text);
    create table days (day text primary key, note text, own text);
    create table notes (id bigint primary key, text text, own text);
    create table keys (id bigint primary key, house bigint references houses (id) on delete set null);
    create table locks (key bigint references keys (id) on delete cascade, house bigint
        references houses (id) on delete cascade);
    insert into houses select i, 'mine', 'h' || i from generate_series(1, 10) i;
    insert into rooms select i, n, 'mine', 'r' from generate_series(1, 10) i, generate_series(1, 2) n;
    insert into beds select i, n, 1, 'b' from generate_series(1, 10) i, generate_series(1, 2) n;
    insert into people select i, i, 'p' from generate_series(1, 10) i;
    insert into guests select i, i, 'g' from generate_series(1, 10) i;
    insert into days select 'd' || i, 'mine', 'd' from generate_series(1, 10) i;
    insert into notes select i, 'mine', 'n' from generate_series(1, 10) i;
    insert into keys select i, i from generate_series(1, 10) i;
    insert into locks select i, i from generate_series(1, 10) i;";

const EACH: [&str; 9] = [
    "houses", "rooms", "beds", "people", "guests", "days", "notes", "keys", "locks",
];

/// Everything that the application has, as one text for each table.
async fn everything(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    for table in EACH {
        let sql = format!(
            "select string_agg(t::text, ' ' order by t::text) from (select (to_jsonb(x) - 'lc_version' \
             - 'lc_written' - 'lc_document' - 'deleted_at') as t from {table} x) s"
        );
        all.push(format!("{table}: {}", world.text(&sql).await));
    }
    all
}

fn house(version: i64, number: i64, rooms: &[(i32, &str)]) -> Made {
    let room = |(n, what): &(i32, &str)| doc! { "n": *n, "what": *what, "beds": [2] };
    let rooms: Vec<_> = rooms.iter().map(room).collect();
    put(
        "houses",
        version,
        doc! { "_id": number, "name": "theirs", "rooms": rooms },
    )
}

fn person(collection: &'static str, version: i64, number: i64, house: i64) -> Made {
    put(collection, version, doc! { "_id": number, "house": house })
}

fn day(version: i64, number: i64, day: &str) -> Made {
    put(
        "days",
        version,
        doc! { "_id": number, "day": day, "note": "theirs" },
    )
}

/// What is kept: tables, changes, keys, with rows taken twice told twice.
async fn kept(world: &World) -> String {
    world
        .text(
            "select string_agg(of || ' ' || change || ' ' || n, ', ' order by of, change) from (select \
             replace(split_part(table_name, '.', 2), '\"', '') as of, change, count(*) as n \
             from leafcutter.undo group by 1, 2) s",
        )
        .await
}

/// Takes everything back, and sees that it is as before.
async fn back(world: &World, before: &[String]) {
    let mut session = Session::open(&world.config, "test").await.unwrap();
    session.batch("begin").await.unwrap();
    let prepared = rollback::prepare(&mut session, &world.model, None, true).await;
    let prepared = prepared.unwrap();
    assert_eq!(prepared.blocked, []);
    assert_eq!(prepared.in_the_way, []);
    let done = rollback::put_back(&mut session, &prepared, &[]).await;
    done.unwrap();
    session.batch("commit").await.unwrap();
    assert_eq!(everything(world).await, before);
}

async fn world() -> (World, Vec<String>) {
    let world = World::prepared(MAPPING, TABLES).await;
    let before = everything(&world).await;
    assert_eq!(world.count("leafcutter.undo").await, 0);
    (world, before)
}

#[tokio::test]
async fn upserts_take_root_rows_and_child_rows() {
    let (mut world, before) = world().await;
    // One room changes, one goes with its bed, one comes; of the rest only the house is written.
    world
        .each(&[
            house(1, 1, &[(1, "new"), (3, "new")]),
            house(2, 1, &[(1, "newer"), (3, "new")]),
            house(1, 20, &[(1, "new")]),
        ])
        .await;
    assert_eq!(
        kept(&world).await,
        "beds deleted 2, houses taken 1, rooms changed 1, rooms deleted 1"
    );
    back(&world, &before).await;
}

#[tokio::test]
async fn what_is_the_same_stays_the_applications() {
    let (mut world, before) = world().await;
    world
        .each(&[put(
            "houses",
            1,
            doc! { "_id": 1_i64, "name": "mine", "rooms": [
            { "n": 1, "what": "mine", "beds": [1] }, { "n": 2, "what": "mine", "beds": [1] } ] },
        )])
        .await;
    assert_eq!(kept(&world).await, "houses taken 1");
    back(&world, &before).await;
}

#[tokio::test]
async fn deletes_take_rows_with_all_below_and_what_foreign_keys_delete() {
    let (mut world, _) = world().await;
    world
        .execute("update people set house = null where house = 1")
        .await;
    world
        .execute("update guests set house = null where house = 1")
        .await;
    let before = everything(&world).await;
    let deleted = world.each(&[delete_by("houses", 1, 1_i64)]).await;
    assert_eq!(deleted, [Outcome::Deleted]);
    assert_eq!(
        kept(&world).await,
        "beds deleted 2, houses deleted 1, keys changed 1, locks deleted 1, rooms deleted 2"
    );
    back(&world, &before).await;
}

/// A foreign key's own action runs as the owner of its table, who may not even see schema `leafcutter`; what it
/// sets off runs as Leafcutter.
#[tokio::test]
async fn what_a_foreign_key_takes_is_kept_whoever_owns_the_table() {
    let (mut world, _) = world().await;
    let who = format!("owner_{}", Uuid::new_v4().simple());
    world
        .execute_all(&format!(
            "create role {who}; alter table keys owner to {who}; alter table locks owner to {who}; \
             update people set house = null where house = 1; update guests set house = null where house = 1"
        ))
        .await;
    let before = everything(&world).await;
    let deleted = world.each(&[delete_by("houses", 1, 1_i64)]).await;
    assert_eq!(deleted, [Outcome::Deleted]);
    let told = kept(&world).await;
    assert!(told.contains("keys changed 1, locks deleted 1"), "{told}");
    back(&world, &before).await;
    world
        .execute_all(&format!(
            "alter table keys owner to current_user; alter table locks owner to current_user; drop role {who}"
        ))
        .await;
}

#[tokio::test]
async fn cascades_and_references_set_to_null_take_rows() {
    let (mut world, before) = world().await;
    world.each(&[delete_by("houses", 1, 2_i64)]).await;
    world.settle_at_once().await;
    assert_eq!(world.count("houses where id = 2").await, 0);
    assert_eq!(world.count("people where id = 2").await, 0);
    assert_eq!(
        world.count("guests where id = 2 and house is null").await,
        1
    );
    let told = kept(&world).await;
    assert!(told.contains("people deleted 1"), "{told}");
    assert!(told.contains("guests changed 1"), "{told}");
    back(&world, &before).await;
}

#[tokio::test]
async fn natural_keys_and_soft_deletes_take_rows() {
    let (mut world, before) = world().await;
    world.each(&[day(1, 1, "d1"), day(2, 1, "d2")]).await;
    assert_eq!(world.count("days where day = 'd1'").await, 0);
    world
        .each(&[
            day(1, 2, "d3"),
            day(2, 3, "d3"),
            delete_by("days", 3, 3_i64),
        ])
        .await;
    let text = |version| put("notes", version, doc! { "_id": 1_i64, "text": "theirs" });
    world.each(&[text(1), delete_by("notes", 2, 1_i64)]).await;
    world.each(&[delete_by("notes", 1, 2_i64)]).await;
    assert_eq!(kept(&world).await, "days taken 3, notes taken 2");
    back(&world, &before).await;
}

#[tokio::test]
async fn snapshots_parked_documents_and_dead_letters_take_rows() {
    let (mut world, before) = world().await;
    // So many that they are copied, if nothing is in the way.
    let rows = (1..=300_i64).map(|number| {
        read(
            "houses",
            1,
            doc! { "_id": number, "name": "theirs", "rooms": [{ "n": 1, "what": "x", "beds": [1] }] },
        )
    });
    let rows: Vec<Made> = rows.collect();
    world.apply(&rows).await.unwrap();
    assert_eq!(world.count("houses where name = 'theirs'").await, 300);
    // It waits for a parent, and is placed with it.
    world.each(&[person("people", 2, 1, 900)]).await;
    world.each(&[house(3, 900, &[])]).await;
    assert_eq!(world.count("people where house = 900").await, 1);
    // It is refused, mended, and tried again.
    let note = put("notes", 1, doc! { "_id": 1_i64, "text": "theirs" });
    world
        .execute("alter table notes add constraint no check (text <> 'theirs')")
        .await;
    world.write(std::slice::from_ref(&note)).await;
    assert_eq!(world.count("leafcutter.dead_letters").await, 1);
    world.execute("alter table notes drop constraint no").await;
    world.retry(&note, 0).await;
    assert_eq!(world.count("notes where text = 'theirs'").await, 1);
    assert_eq!(
        kept(&world).await,
        "beds deleted 10, houses taken 10, notes taken 1, people taken 1, rooms changed 10, rooms deleted 10"
    );
    back(&world, &before).await;
}

#[tokio::test]
async fn what_a_sweep_deletes_comes_back() {
    let (mut world, _) = world().await;
    for table in ["people", "guests"] {
        let free = format!("update {table} set house = null where house = 1");
        world.execute(&free).await;
    }
    let before = everything(&world).await;
    world.each(&[house(1, 1, &[]), house(1, 40, &[])]).await;
    let collection = world.collection("houses");
    let model = Arc::clone(&world.model);
    let session = Session::open(&world.config, "test").await.unwrap();
    let mut finder = Finder::new(session, Arc::clone(&model), collection)
        .await
        .unwrap();
    finder.see(&[] as &[RawDocumentBuf]).await.unwrap();
    assert_eq!(finder.find(version(9)).await.unwrap(), 2);
    let gone = finder.some(0, 1_000).await.unwrap();
    let connection = Connection::new(
        world.config.clone(),
        "sweep",
        "g",
        "sweep",
        (model, Generation::NONE),
    );
    let mut deleter = Deleter::new(connection, collection, version(9));
    deleter.announce(1).await.unwrap();
    deleter.delete(&gone).await.unwrap();
    assert_eq!(world.count("houses").await, 9);
    back(&world, &before).await;
}

#[tokio::test]
async fn the_applications_own_writes_are_not_kept() {
    let (mut world, _) = world().await;
    world
        .execute_all(
            "update houses set name = 'other'; delete from beds where house = 1; delete from locks; \
             insert into rooms values (1, 9, 'mine', 'r')",
        )
        .await;
    assert_eq!(world.count("leafcutter.undo").await, 0);
    assert_eq!(world.count("rooms where lc_written").await, 0);
    // Neither are rows of Leafcutter's.
    world
        .each(&[
            house(1, 50, &[(1, "a")]),
            house(2, 50, &[(1, "b")]),
            delete_by("houses", 3, 50_i64),
        ])
        .await;
    assert_eq!(world.count("leafcutter.undo").await, 0);
    let before = everything(&world).await;
    world.each(&[house(1, 51, &[(1, "a")])]).await;
    back(&world, &before).await;
}

#[tokio::test]
async fn tables_without_rows_have_no_trigger() {
    let triggers = "select string_agg(tgrelid::regclass::text, ' ' order by tgrelid::regclass::text) from pg_trigger \
        where tgname = 'leafcutter_undo'";
    let (world, _) = world().await;
    assert_eq!(
        world.text(triggers).await,
        "beds days guests houses keys locks notes people rooms"
    );
    let empty = "create table houses (id bigint primary key, name varchar(6) not null); \
        create table rooms (house bigint references houses (id), n integer, what text, primary key (house, n))";
    let world = World::prepared(MAPPING, empty).await;
    assert_eq!(
        world
            .count("pg_trigger where tgname = 'leafcutter_undo'")
            .await,
        0
    );
    let found = "select string_agg(found || ' ' || is_kept, ', ' order by table_name) from leafcutter.origins \
        where found <> 'created'";
    assert_eq!(world.text(found).await, "empty true, empty true");
    let written = "pg_attribute where attname = 'lc_written'";
    assert_eq!(world.count(written).await, 0);
}
