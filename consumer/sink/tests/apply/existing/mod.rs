//! Tables that the application made: every kind of disagreement is told, with what mends it, and a
//! fault is what keeps a row from being written.

mod cases;

use crate::{
    documented::DOCUMENT,
    world::{Made, World, delete_by, put},
};
use bson::{DateTime, doc};
use cases::CASES;
use leafcutter_harness::rows;
use leafcutter_sink::{
    session::{self, Session},
    target::{
        self,
        compare::{self, Disagreement, Kind},
    },
};

pub(crate) const MAPPING: &str = "
version: 1
database: shop
collections:
  people:
    table: people
    delete: { soft: gone_at }
    key: id
    columns:
      id: { path: _id, type: bigint }
      email: { type: varchar(50), required: true, unique: true }
      age: integer
      born: timestamptz
      price: \"numeric(8,2)\"
      no: { generated: true, type: bigint, start: 1000 }
    children:
      - table: people_tags
        from: tags
        key: [n, id]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          tag: { path: ., type: text }
  orders:
    table: orders
    key: id
    columns:
      id: { path: _id, type: bigint }
      person_id: { type: bigint, references: { table: people } }
      helper_id: { type: bigint, references: { table: people, on_missing: keep } }
      total: integer
  posts:
    table: posts
    key: id
    columns:
      id: { path: number, type: bigint, generated: true, start: 7 }
      title: text
";

fn records(version: i64) -> [Made; 3] {
    let born = DateTime::from_millis(1_736_899_200_123);
    let person = doc! {
        "_id": 1, "email": "ada@example.org", "age": 36, "born": born, "price": 1.25,
        "tags": ["a", "b"],
    };
    let order = doc! { "_id": 2, "person_id": 1, "total": 5 };
    [
        put("people", version, person),
        put("orders", version, order),
        put("posts", version, doc! { "_id": 3, "title": "one" }),
    ]
}

/// Every document is written, and deleted.
fn journey() -> Vec<(Made, &'static str)> {
    let [person, order, post] = records(1);
    vec![
        (person, "people"),
        (order, "orders"),
        (post, "posts"),
        (delete_by("orders", 2, 2), "orders"),
        (delete_by("posts", 2, 3), "posts"),
        (delete_by("people", 2, 1), "people"),
    ]
}

async fn look(world: &World) -> Vec<Disagreement> {
    let mut session = Session::open(&world.config, "test").await.unwrap();
    compare::look(&mut session, &world.model).await.unwrap()
}

pub(crate) async fn run(world: &World, sql: &str) {
    let client = session::connect(&world.config, "test").await.unwrap();
    // The user's own schema comes first otherwise.
    let here = format!("set search_path = public; {sql}");
    let done = client.batch_execute(&here).await;
    done.unwrap_or_else(|error| panic!("{error:?} in {sql}"));
}

pub(crate) fn told(found: &[Disagreement]) -> Vec<String> {
    let line =
        |d: &Disagreement| format!("{:?} {}: {} / {}", d.kind, d.place(), d.mapping, d.postgres);
    found.iter().map(line).collect()
}

/// Runs what was told until nothing is left to run; at most three times, since one mended thing may
/// show another.
async fn mend(world: &World) {
    for _ in 0..3 {
        for disagreement in look(world).await {
            for sql in &disagreement.sql {
                run(world, sql).await;
            }
        }
    }
    let left = look(world).await;
    assert!(left.is_empty(), "{:#?}", told(&left));
}

/// What PostgreSQL does is the judge: with a fault the record is refused, with warnings it is written,
/// and after the statements that were told everything agrees and is written.
#[tokio::test]
async fn each_disagreement_is_told_with_what_mends_it() {
    for (done, expected) in CASES {
        let mut world = World::with(MAPPING).await;
        assert_eq!(
            told(&look(&world).await),
            [""; 0],
            "as Leafcutter makes them"
        );
        run(&world, done).await;
        let found = look(&world).await;
        let seen: Vec<(Kind, String, &str)> = found
            .iter()
            .map(|d| (d.kind, d.place(), d.postgres.as_str()))
            .collect();
        let wanted: Vec<(Kind, String, &str)> = expected
            .iter()
            .map(|(kind, place, has)| (*kind, (*place).to_owned(), *has))
            .collect();
        assert_eq!(seen, wanted, "{done}");
        for (kind, ..) in *expected {
            let word = serde_json::to_string(kind).unwrap().replace('"', "`");
            assert!(DOCUMENT.contains(&word), "{word} is not in docs/mapping.md");
        }
        let mut failed = Vec::new();
        for (record, collection) in journey() {
            // A record that failed is still the next one.
            if world.apply(&[record]).await.is_err() {
                world.again(collection);
                failed.push(collection);
            }
        }
        // Nothing is written to a number that nobody gives; other faults keep rows away.
        let silent = ["lc_version drop not null", "drop column no"]
            .iter()
            .any(|silent| done.contains(silent));
        let fault = found.iter().any(|d| d.kind.is_fault()) && !silent;
        assert_eq!(!failed.is_empty(), fault, "{failed:?} after {done}");
        mend(&world).await;
        for record in records(3) {
            world.apply(&[record]).await.unwrap();
        }
        let written = "select (select count(*) from people where email = 'ada@example.org') as ada, \
            (select count(*) from people_tags) as tags, (select count(*) from posts) as posts";
        assert_eq!(
            world.rows(written).await,
            rows![{ ada: 1, tags: 2, posts: 1 }],
            "{done}"
        );
    }
}

/// Everything is told at once, in an order in which it can be run.
#[tokio::test]
async fn all_disagreements_are_told_at_once() {
    let world = World::with(MAPPING).await;
    run(
        &world,
        "alter table people drop column age, alter column price type text, \
           add column tenant integer not null; \
         alter table orders drop constraint orders_pkey, drop constraint orders_person_id_fkey; \
         drop index orders_person_id_idx; drop table posts",
    )
    .await;
    let found = look(&world).await;
    let kinds: Vec<_> = found.iter().map(|d| (d.kind, d.place())).collect();
    let expected = [
        (Kind::MissingColumn, "people.age"),
        (Kind::Type, "people.price"),
        (Kind::Unfilled, "people.tenant"),
        (Kind::MissingKey, "orders.id"),
        (Kind::MissingIndex, "orders.person_id"),
        (Kind::MissingTable, "posts"),
        (Kind::MissingForeignKey, "orders.person_id"),
    ];
    let expected = expected.map(|(kind, place)| (kind, place.to_owned()));
    assert_eq!(kinds, expected);
    mend(&world).await;
}

#[tokio::test]
async fn a_required_column_is_added_to_rows_that_have_no_value() {
    let mut world = World::with(MAPPING).await;
    world.apply(&records(1)[..1]).await.unwrap();
    run(&world, "alter table people drop column email").await;
    let found = look(&world).await;
    let [column, unique] = &found[..] else {
        panic!("{:#?}", told(&found))
    };
    assert_eq!(column.kind, Kind::MissingColumn);
    assert!(column.created);
    assert_eq!(unique.kind, Kind::MissingUnique);
    // As a column that takes null: a consumer at its start does so, and so does the SQL that is told.
    let mut session = Session::open(&world.config, "test").await.unwrap();
    target::migrate(&mut session, &world.model, crate::database::START)
        .await
        .unwrap();
    run(&world, "alter table people drop column email").await;
    for sql in column.sql.iter().chain(&unique.sql) {
        run(&world, sql).await;
    }
    // What is left is no fault, and mended once the documents have come again.
    let left = look(&world).await;
    assert_eq!(
        left.iter().map(|d| d.kind).collect::<Vec<_>>(),
        [Kind::Nullability]
    );
    world.apply(&records(2)[..1]).await.unwrap();
    mend(&world).await;
}

#[tokio::test]
async fn a_view_is_no_table() {
    let world = World::with(MAPPING).await;
    run(
        &world,
        "drop table orders; create view orders as select 1 as id",
    )
    .await;
    assert_eq!(
        told(&look(&world).await),
        ["NotATable orders: a table / a view"]
    );
}

#[tokio::test]
async fn divided_tables_are_judged_like_others() {
    let mut world = World::with(MAPPING).await;
    run(
        &world,
        "drop table orders; \
         create table orders (id bigint primary key, person_id bigint references people, \
           helper_id bigint, total integer, lc_version bigint not null default 0) \
           partition by hash (id); \
         create table orders_0 partition of orders for values with (modulus 2, remainder 0); \
         create table orders_1 partition of orders for values with (modulus 2, remainder 1); \
         create index on orders (person_id); create index on orders (helper_id)",
    )
    .await;
    assert_eq!(told(&look(&world).await), [""; 0]);
    for record in records(1) {
        world.apply(&[record]).await.unwrap();
    }
    assert_eq!(world.rows("select id from orders").await, rows![{ id: 2 }]);
    // By another column there can be no such key.
    run(
        &world,
        "drop table orders; \
         create table orders (id bigint, person_id bigint references people, \
           helper_id bigint, total integer, lc_version bigint not null default 0, \
           primary key (id, total)) partition by list (total); \
         create table orders_all partition of orders default; \
         create index on orders (person_id); create index on orders (helper_id)",
    )
    .await;
    let found = look(&world).await;
    assert_eq!(
        told(&found),
        [
            "Nullability orders.total: may be null / not null",
            "MissingKey orders.id: key (id) / primary key (id, total)"
        ]
    );
    let key = &found[1];
    assert_eq!((key.sql.len(), key.created), (0, false));
    assert!(key.or.as_ref().unwrap().contains("divided by total"));
}

/// Names of the application's own, another schema, domains: it is used as it is, and nothing is made
/// a second time.
#[tokio::test]
async fn what_the_application_made_is_used() {
    let mapping = MAPPING
        .replace("table: people", "table: app.people")
        .replace("table: orders", "table: app.orders");
    let made = "\
        create schema app; create domain app.mail as varchar(50) not null; \
        create table app.people (id bigint, email app.mail, age integer default 7, \
          born timestamptz(6), price numeric(8,2), no bigserial, gone_at timestamptz, \
          nickname text not null default '', constraint one_person primary key (id), \
          constraint one_mail unique (email)); \
        create table app.people_tags (id bigint constraint theirs references app.people, \
          n integer, tag text, constraint one_tag primary key (id, n)); \
        create table app.orders (person_id bigint constraint whose references app.people, \
          helper_id bigint, total integer, id bigint primary key); \
        create index whose_orders on app.orders (person_id, total); \
        create index helped_orders on app.orders using hash (helper_id)";
    let mut world = World::prepared(&mapping, made).await;
    assert_eq!(told(&look(&world).await), [""; 0]);
    let indexes = "select string_agg(indexname, ' ' order by indexname) as indexes from pg_indexes \
        where tablename in ('people', 'people_tags', 'orders')";
    let keys = "select string_agg(conname, ' ' order by conname) as keys from pg_constraint \
        where contype = 'f' and connamespace <> 'leafcutter'::regnamespace";
    assert_eq!(
        world.rows(indexes).await,
        rows![{ indexes: "helped_orders one_mail one_person one_tag orders_pkey whose_orders" }]
    );
    assert_eq!(world.rows(keys).await, rows![{ keys: "theirs whose" }]);
    for record in records(1) {
        world.apply(&[record]).await.unwrap();
    }
    assert_eq!(
        world.rows("select id, email from app.people").await,
        rows![{ id: 1, email: "ada@example.org" }]
    );
}

#[tokio::test]
async fn a_table_in_another_schema_of_the_search_path_is_named() {
    let world = World::with(MAPPING).await;
    run(
        &world,
        "create schema app; alter table orders set schema app; \
         create schema hidden; alter table posts set schema hidden; \
         do $$ begin execute format('alter database %I set search_path = app, public', \
         current_database()); end $$",
    )
    .await;
    let found = look(&world).await;
    assert_eq!(
        told(&found),
        [
            "MissingTable orders: a table / none in this schema, but `app.orders`",
            "MissingTable posts: a table / none",
            "UnknownForeignKey people.id: no such table / foreign key `orders_person_id_fkey` of app.orders"
        ]
    );
    assert_eq!(
        found[0].or.as_deref(),
        Some("`table: app.orders` in the mapping")
    );
}

/// With `--ddl create` only what mends itself is created, and a second start creates nothing.
#[tokio::test]
async fn what_is_only_missing_is_created() {
    let world = World::with(MAPPING).await;
    run(
        &world,
        "drop table orders; alter table people drop column age; drop index people_email_key; \
         alter table people_tags drop constraint people_tags_id_fkey",
    )
    .await;
    assert!(look(&world).await.iter().all(|d| d.created));
    let mut session = Session::open(&world.config, "test").await.unwrap();
    for _ in 0..2 {
        target::migrate(&mut session, &world.model, crate::database::START)
            .await
            .unwrap();
        assert_eq!(told(&look(&world).await), [""; 0]);
    }
}

/// Where the application's key is wider, rows are still known by the mapping's bytes.
#[tokio::test]
async fn a_wider_key_goes_with_its_parent_and_is_listed() {
    let mapping = "
version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns: { id: { path: _id, type: integer } }
  orders:
    table: orders
    key: id
    columns:
      id: { path: _id, type: integer }
      person_id: { type: integer, references: { table: people, on_delete: cascade } }
";
    let mut world = World::with(mapping).await;
    run(&world, "alter table orders alter column id type bigint").await;
    assert_eq!(
        told(&look(&world).await),
        ["OtherType orders.id: integer / bigint"]
    );
    let order = |version| put("orders", version, doc! { "_id": 2, "person_id": 1 });
    let records = [
        put("people", 1, doc! { "_id": 1 }),
        order(1),
        delete_by("people", 2, 1),
    ];
    world.each(&records).await;
    assert_eq!(world.settle_at(2).await.let_go, 1);
    let lost = "select encode(row_key, 'hex') as row_key from leafcutter.cascaded_rows";
    assert_eq!(world.rows(lost).await, rows![{ row_key: "00000002" }]);
    let records = [put("people", 3, doc! { "_id": 1 }), order(4)];
    world.each(&records).await;
    assert_eq!(world.rows(lost).await, rows![]);
    assert_eq!(
        world.rows("select id, lc_version from orders").await,
        rows![{ id: 2, lc_version: 4 }]
    );
}
