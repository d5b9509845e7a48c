//! Schema `leafcutter` of an earlier version, filled by it: it is migrated, and everything goes on.

use crate::world::{World, delete, id, put};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::{
    change::Outcome,
    session::{self, Config, Session},
    state::schema::{LAYOUT, MigrateError},
    target,
};

const MAPPING: &str = "
version: 1
database: library
collections:
  houses:
    table: houses
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
  authors:
    table: authors
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      house: { type: text, convert: text, references: { table: houses, on_delete: cascade } }
  logbooks:
    table: days
    key: [day]
    on_same_key: newest-wins
    columns:
      day: { type: text, required: true }
      note: text
";

/// Every layout up to the one before names were changed.
const LAYOUT_4: [&str; 4] = [
    include_str!("../../migrations/0001_state.sql"),
    include_str!("../../migrations/0002_lost.sql"),
    include_str!("../../migrations/0003_incomplete.sql"),
    include_str!("../../migrations/0004_keys.sql"),
];

/// Back to layout 4, with what only it had.
const BACK_TO_4: &str = "
    drop table leafcutter.deferred_constraints;
    drop table leafcutter.stagings;
    alter table leafcutter.dead_letters drop column staged_in;
    alter table leafcutter.dead_letters add primary key (topic, partition, \"offset\");
    drop table leafcutter.undo;
    drop table leafcutter.origins;
    drop function leafcutter.keep_for_undo;
    alter table leafcutter.offsets drop column last_record;
    drop table leafcutter.resnapshots;
    drop table leafcutter.mappings;
    drop table leafcutter.older_rows;
    drop table leafcutter.unmapped_fields;
    drop table leafcutter.pauses;
    drop table leafcutter.breakers;
    alter table leafcutter.consumers drop column problem;
    drop index leafcutter.tombstones_key, leafcutter.parked_key, leafcutter.parked_wait,
      leafcutter.held_key, leafcutter.dead_letters_row, leafcutter.cascaded_rows_key,
      leafcutter.key_map_key, leafcutter.key_map_owner, leafcutter.key_map_others,
      leafcutter.retained_records_key;
    drop function leafcutter.index_key;
    alter table leafcutter.tombstones add primary key (table_name, row_key);
    alter table leafcutter.parked add primary key (table_name, row_key);
    create index parked_wait on leafcutter.parked (wait_table, wait_key);
    alter table leafcutter.held add primary key (table_name, row_key);
    create index dead_letters_row on leafcutter.dead_letters (table_name, row_key) where state = 'open';
    alter table leafcutter.cascaded_rows
      add primary key (table_name, row_key, column_name, parent_key);
    alter table leafcutter.key_map add primary key (table_name, source_key);
    create unique index key_map_owner on leafcutter.key_map (table_name, row_key) where owner;
    create index key_map_others on leafcutter.key_map (table_name, row_key, rank) where not owner;
    alter table leafcutter.retained_records add primary key (table_name, source_key);
    update leafcutter.parked set row_key = wanted_key where wanted_key is not null;
    update leafcutter.tombstones
      set row_key = convert_to(split_part(convert_from(row_key, 'UTF8'), ':', 2), 'UTF8')
      where table_name in ('houses', 'authors');
    delete from leafcutter.tombstones where table_name like '% by key';
    alter table leafcutter.parked drop column wanted_key;
    alter table leafcutter.parked drop constraint parked_state_check;
    alter table leafcutter.parked add constraint parked_state_check check (state in ('waiting', 'orphan'));
    alter table leafcutter.dead_letters drop column discard_reason, drop column discarded_at,
      drop constraint dead_letters_state_check;
    alter table leafcutter.dead_letters add constraint dead_letters_state_check
      check (state in ('open', 'superseded', 'retried'));
    alter table houses drop column lc_document;
    alter table authors drop column lc_document;
    alter table leafcutter.key_map rename to keys;
    alter index leafcutter.key_map_pkey rename to keys_pkey;
    alter index leafcutter.key_map_owner rename to keys_owner;
    alter index leafcutter.key_map_others rename to keys_others;
    alter table leafcutter.retained_records rename to contenders;
    alter index leafcutter.retained_records_pkey rename to contenders_pkey;
    alter table leafcutter.cascaded_rows rename column cascaded_at to lost_at;
    alter table leafcutter.cascaded_rows rename to lost;
    alter index leafcutter.cascaded_rows_pkey rename to lost_pkey;
    alter table leafcutter.dead_letters add column class text not null default 'definite';
    create table leafcutter.mappings (
      generation bigint generated always as identity primary key, hash text not null,
      body text not null, activated_at timestamptz not null default now());
    create table leafcutter.topics (
      topic text primary key, database text not null, collection text not null, partitions int not null);
    create table leafcutter.settled (
      consumer_group text not null, topic text not null, partition int not null,
      consumer text not null, applied bigint not null default 0, stale bigint not null default 0,
      dead_lettered bigint not null default 0,
      primary key (consumer_group, topic, partition, consumer));
    insert into leafcutter.settled (consumer_group, topic, partition, consumer, applied)
      select consumer_group, topic, partition, 'c', 1 from leafcutter.offsets;
    alter table leafcutter.offsets drop column suppressed;
    update leafcutter.meta set layout = 4";

const SHAPE: &str = "\
    select string_agg(name, ' ' order by name) from (\
    select table_name || '.' || column_name || ':' || data_type as name \
    from information_schema.columns where table_schema = 'leafcutter' \
    union all select indexname from pg_indexes where schemaname = 'leafcutter') s";

async fn shape(config: &Config) -> String {
    let client = session::connect(config, "test").await.unwrap();
    client.query_one(SHAPE, &[]).await.unwrap().get(0)
}

async fn migrate(world: &World) -> Result<(), MigrateError> {
    let mut session = Session::open(&world.config, "test").await.unwrap();
    let migrated = target::migrate(&mut session, &world.model, crate::database::START);
    migrated.await.map(drop)
}

#[tokio::test]
async fn what_an_earlier_version_has_filled_goes_on() {
    let mut world = World::with(MAPPING).await;
    let author = |version, number, house| {
        put(
            "authors",
            version,
            doc! { "_id": id(number), "house": id(house) },
        )
    };
    let house = |version, number| put("houses", version, doc! { "_id": id(number) });
    let log = |version, number, note: &str| {
        put(
            "logbooks",
            version,
            doc! { "_id": id(number), "day": "mon", "note": note },
        )
    };
    let records = [
        (house(1, 1), Outcome::Applied),
        (author(1, 1, 1), Outcome::Applied),
        (author(1, 2, 9), Outcome::Parked),
        (log(1, 1, "older"), Outcome::Applied),
        (log(2, 2, "newer"), Outcome::Applied),
        (
            put("logbooks", 1, doc! { "_id": id(3), "day": 7 }),
            Outcome::DeadLettered,
        ),
        (delete("houses", 3, 1), Outcome::Held),
    ];
    for (record, outcome) in records {
        assert_eq!(world.each(&[record]).await, [outcome]);
    }
    assert_eq!(
        world.settle_at(9).await.let_go,
        1,
        "the author goes with the house"
    );

    world.execute_all(BACK_TO_4).await;
    let old = World::with(MAPPING).await;
    let genuine = "drop schema leafcutter cascade; create schema leafcutter;".to_owned();
    old.execute_all(&(genuine + &LAYOUT_4.concat())).await;
    assert_eq!(shape(&world.config).await, shape(&old.config).await);
    migrate(&world).await.unwrap();
    let layout = world
        .rows("select max(layout) from leafcutter.meta")
        .await
        .only();
    assert_eq!(layout, LAYOUT.to_string());

    // As a program that has just been started.
    world.as_group("g");
    world.each(&[house(4, 9)]).await;
    assert_eq!(world.count("authors").await, 1, "it had waited");
    world.each(&[delete("logbooks", 5, 2)]).await;
    assert_eq!(
        world.rows("select note from days").await,
        rows![{ note: "older" }],
        "it had been retained"
    );
    assert_eq!(world.count("leafcutter.cascaded_rows").await, 1);
    world.each(&[house(6, 1), author(6, 1, 1)]).await;
    assert_eq!(world.count("leafcutter.cascaded_rows").await, 0);
    world
        .each(&[put("logbooks", 7, doc! { "_id": id(3), "day": "tue" })])
        .await;
    let dead = "select distinct state from leafcutter.dead_letters";
    assert_eq!(world.rows(dead).await, rows![{ state: "superseded" }]);
    let counted = "select sum(next_offset) = sum(applied + unchanged + stale + deleted + held \
        + filtered + parked + ignored + dead_lettered) as counted_once from leafcutter.offsets";
    assert_eq!(world.rows(counted).await, rows![{ counted_once: true }]);
}

#[tokio::test]
async fn a_newer_layout_is_refused_and_left_as_it_is() {
    let world = World::with(MAPPING).await;
    let newer = format!("update leafcutter.meta set layout = {}", LAYOUT + 1);
    world.execute(&newer).await;
    let before = shape(&world.config).await;
    let refused = migrate(&world).await.unwrap_err();
    let said = format!(
        "schema `leafcutter` has layout {}, made by a newer Leafcutter; this program knows layouts up to {LAYOUT}",
        LAYOUT + 1
    );
    assert_eq!(refused.to_string(), said);
    assert_eq!(shape(&world.config).await, before);
}
