//! Which records PostgreSQL refuses, which errors it gives for the world's sake, and how many in a row are
//! too many.

use crate::world::{Made, World, delete_by, put};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::{
    ApplyError,
    change::Outcome,
    session::{self, Session},
    state::breakers,
};
use uuid::Uuid;

const ORDERS: &str = "
version: 1
database: shop
collections:
  orders:
    table: orders
    key: id
    columns: { id: { path: _id, type: integer }, total: integer }
    children:
      - table: lines
        from: lines
        key: [order_id, n]
        columns:
          order_id: { parent: id }
          n: { position: true, type: integer }
          price: { path: price, type: integer }
";

const TABLES: &str = "
create table orders (id int primary key, total int, lc_version bigint not null default 0);
create table lines (order_id int references orders on delete cascade, n int, price int,
  primary key (order_id, n));
";

/// Bodies of a trigger that refuses a total of -1 in ways that no table of ours knows.
const REFUSALS: [(&str, &str); 8] = [
    ("P0001", "raise exception 'negative'"),
    (
        "MY001",
        "raise exception 'negative' using errcode = 'MY001'",
    ),
    (
        "40001",
        "raise exception 'negative' using errcode = '40001'",
    ),
    (
        "53100",
        "raise exception 'negative' using errcode = '53100'",
    ),
    (
        "42501",
        "raise exception 'negative' using errcode = '42501'",
    ),
    ("42P01", "perform 1 from nowhere"),
    ("21000", "perform (select n from generate_series(1, 2) n)"),
    ("P0004", "assert false, 'negative'"),
];

fn trigger(table: &str, column: &str, body: &str) -> String {
    format!(
        "create function judge() returns trigger language plpgsql as $$ begin \
         if new.{column} = -1 then {body}; end if; return new; end $$; \
         create trigger judge before insert or update on {table} for each row execute function judge();"
    )
}

fn order(version: i64, number: i32, total: i32) -> Made {
    put("orders", version, doc! { "_id": number, "total": total })
}

#[tokio::test]
async fn record_that_a_trigger_refuses_is_its_dead_letter_and_the_others_are_rows() {
    for (state, body) in REFUSALS {
        let before = format!("{TABLES}{}", trigger("orders", "total", body));
        let mut world = World::prepared(ORDERS, &before).await;
        let records: Vec<Made> = (0..50)
            .map(|n| order(1, n, if n == 17 { -1 } else { n }))
            .collect();
        let (counts, failed) = world.isolated(&records).await;
        assert_eq!(counts.of(Outcome::DeadLettered), 1, "{state}");
        assert_eq!(counts.of(Outcome::Applied), 49, "{state}");
        assert!(failed <= 20, "{state}: {failed} attempts failed");
        let letter = "select \"offset\", sqlstate, state from leafcutter.dead_letters";
        assert_eq!(
            world.rows(letter).await,
            rows![{ offset: 17, sqlstate: state, state: "open" }]
        );
        // Mending the source mends it.
        let (counts, _) = world.isolated(&[order(2, 17, 1)]).await;
        assert_eq!(counts.of(Outcome::Applied), 1, "{state}");
        assert_eq!(
            world.rows(letter).await,
            rows![{ offset: 17, sqlstate: state, state: "superseded" }]
        );
    }
}

#[tokio::test]
async fn document_whose_child_row_a_trigger_refuses_is_its_dead_letter() {
    let (_, body) = REFUSALS[0];
    let before = format!("{TABLES}{}", trigger("lines", "price", body));
    let mut world = World::prepared(ORDERS, &before).await;
    let with_line = |number: i32, price: i32| {
        put(
            "orders",
            1,
            doc! { "_id": number, "total": 1, "lines": [{ "price": price }] },
        )
    };
    let records = [with_line(1, 1), with_line(2, -1), with_line(3, 3)];
    let (counts, _) = world.isolated(&records).await;
    assert_eq!(counts.of(Outcome::DeadLettered), 1);
    let rows = "select id, (select sum(price) from lines where order_id = id) as prices from orders order by 1";
    assert_eq!(
        world.rows(rows).await,
        rows![{ id: 1, prices: 1 }, { id: 3, prices: 3 }]
    );
}

/// From now on a role of its own writes, which may write everything; gives its name.
async fn as_somebody_else(world: &mut World) -> String {
    let who = format!("app_{}", Uuid::new_v4().simple());
    world
        .execute_all(&format!(
            "create role {who} login password 'x'; grant all on schema public, leafcutter to {who}; \
             grant all on all tables in schema public, leafcutter to {who};"
        ))
        .await;
    world.as_user(&who, "x");
    who
}

/// Row security says what a lost privilege says.
#[tokio::test]
async fn row_that_row_security_refuses_is_a_dead_letter() {
    let before = format!(
        "{TABLES} alter table orders enable row level security; \
         create policy positive on orders using (true) with check (total <> -1);"
    );
    let mut world = World::prepared(ORDERS, &before).await;
    // A superuser passes any policy, so the rows are written as somebody else.
    let who = as_somebody_else(&mut world).await;
    let records = [order(1, 1, 1), order(1, 2, -1), order(1, 3, 3)];
    let (counts, _) = world.isolated(&records).await;
    assert_eq!(counts.of(Outcome::DeadLettered), 1);
    assert_eq!(
        world.rows("select id from orders order by 1").await,
        rows![{ id: 1 }, { id: 3 }]
    );
    world
        .execute_all(&format!("drop owned by {who}; drop role {who}"))
        .await;
}

/// No record is at fault: all of them wait, and go on by themselves, on a session that has prepared
/// nothing.
#[tokio::test]
async fn what_is_taken_away_from_the_tables_is_waited_for() {
    let losses = [
        (
            "42P01",
            "alter table orders rename to away",
            "alter table away rename to orders",
        ),
        (
            "42703",
            "alter table orders rename total to away",
            "alter table orders rename away to total",
        ),
    ];
    for (state, take, give) in losses {
        let mut world = World::prepared(ORDERS, TABLES).await;
        world.each(&[order(1, 1, 1)]).await;
        world.execute(take).await;
        for _ in 0..3 {
            let error = world.apply(&[order(2, 1, 2)]).await.unwrap_err();
            assert!(matches!(error, ApplyError::Transient { .. }), "{error:?}");
            assert!(error.to_string().contains(state), "{error}");
            assert!(error.to_string().contains("leafcutter check"), "{error}");
            world.again("orders");
        }
        world.execute(give).await;
        assert_eq!(world.each(&[order(2, 1, 2)]).await, [Outcome::Applied]);
    }
}

/// A privilege that is lost says what row security says, and is nobody's fault: each is taken away while the
/// consumer writes.
#[tokio::test]
async fn a_privilege_that_is_revoked_is_waited_for() {
    let mut world = World::prepared(ORDERS, TABLES).await;
    let who = as_somebody_else(&mut world).await;
    world.each(&[order(1, 1, 1)]).await;
    let privileges = [
        "insert on orders",
        "select on orders",
        "update on orders",
        "insert, update on leafcutter.offsets",
    ];
    for (version, what) in (2..).zip(privileges) {
        world.execute(&format!("revoke {what} from {who}")).await;
        for _ in 0..2 {
            let error = world.apply(&[order(version, 1, 7)]).await.unwrap_err();
            assert!(
                matches!(error, ApplyError::Transient { .. }),
                "{what}: {error:?}"
            );
            assert!(error.to_string().contains("42501"), "{what}: {error}");
            assert!(
                error.to_string().contains("grant the privilege back"),
                "{what}: {error}"
            );
            world.again("orders");
        }
        world.execute(&format!("grant {what} to {who}")).await;
        let outcomes = world.each(&[order(version, 1, 7)]).await;
        assert_eq!(outcomes, [Outcome::Applied], "{what}");
    }
    assert_eq!(world.count("leafcutter.dead_letters").await, 0);
    world
        .execute_all(&format!("drop owned by {who}; drop role {who}"))
        .await;
}

/// A session keeps the setting with which it began.
#[tokio::test]
async fn writing_goes_on_when_the_database_is_writable_again() {
    let mut world = World::prepared(ORDERS, TABLES).await;
    let set = |value: &str| {
        format!(
            "do $$ begin execute format('alter database %I set default_transaction_read_only = {value}', \
             current_database()); end $$"
        )
    };
    world.each(&[order(1, 1, 1)]).await;
    world.execute(&set("on")).await;
    // As a consumer that starts, or reconnects, meanwhile.
    world.reconnect();
    let error = world.apply(&[order(2, 1, 2)]).await.unwrap_err();
    assert!(error.to_string().contains("25006"), "{error}");
    world.again("orders");
    world
        .execute_all(&format!("begin read write; {}; commit", set("off")))
        .await;
    assert_eq!(world.each(&[order(2, 1, 2)]).await, [Outcome::Applied]);
}

#[tokio::test]
async fn texts_that_postgresql_cannot_store_are_cleaned() {
    let mapping = "
version: 1
database: shop
collections:
  orders:
    table: orders
    key: id
    columns:
      id: { path: _id, type: integer }
      price: { expression: 'doc.prices[doc.currency]', type: integer }
";
    let mut world = World::with(mapping).await;
    let secret = "s3cret\0key";
    let order = doc! { "_id": 1, "prices": { "eur": 1 }, "currency": secret };
    let (counts, _) = world.isolated(&[put("orders", 1, order)]).await;
    assert_eq!(counts.of(Outcome::DeadLettered), 1);
    let letter = world
        .rows("select message from leafcutter.dead_letters")
        .await;
    let letter = letter.only();
    assert!(
        letter.contains("there is no field of that name"),
        "{letter}"
    );
    assert!(!letter.contains("s3cret"), "{letter}");
}

const BREAKER: &str = "\
    select topic, failures, opened_at is not null as is_open from leafcutter.breakers order by 1";

#[tokio::test]
async fn breaker_counts_what_cannot_be_applied_in_a_row_over_restarts() {
    let before = format!("{TABLES} alter table orders add check (total <> -1);");
    let mut world = World::prepared(ORDERS, &before).await;
    world.with_breaker(5);
    let bad = |number| order(1, number, -1);
    world.isolated(&[bad(1), bad(2)]).await;
    assert_eq!(
        world.rows(BREAKER).await,
        rows![{ topic: "t.shop.orders", failures: 2, is_open: false }]
    );
    // What is applied ends the row.
    world.isolated(&[order(1, 3, 1), bad(4)]).await;
    assert_eq!(
        world.rows(BREAKER).await,
        rows![{ topic: "t.shop.orders", failures: 1, is_open: false }]
    );
    // Deletes neither count nor end it, and a restart does not either.
    world
        .isolated(&[delete_by("orders", 2, 5), bad(6), bad(7)])
        .await;
    world.with_breaker(5);
    world.isolated(&[delete_by("orders", 2, 8), bad(9)]).await;
    assert_eq!(
        world.rows(BREAKER).await,
        rows![{ topic: "t.shop.orders", failures: 4, is_open: false }]
    );
    world.isolated(&[bad(10)]).await;
    assert_eq!(
        world.rows(BREAKER).await,
        rows![{ topic: "t.shop.orders", failures: 5, is_open: true }]
    );
    // Open is open, until a person says otherwise.
    world.isolated(&[order(1, 11, 1)]).await;
    assert_eq!(
        world.rows(BREAKER).await,
        rows![{ topic: "t.shop.orders", failures: 5, is_open: true }]
    );
    let mut session = Session::open(&world.config, "test").await.unwrap();
    let open = breakers::open(&mut session, "g").await.unwrap();
    assert_eq!(open.len(), 1);
    assert!(
        open[0]
            .reason
            .as_ref()
            .unwrap()
            .contains("check constraint")
    );
    let others = breakers::resume(&mut session, "another", None).await;
    assert_eq!(others.unwrap(), []);
    let resumed = breakers::resume(&mut session, "g", None).await.unwrap();
    assert_eq!(resumed[0].failures, 5);
    assert_eq!(world.rows(BREAKER).await, rows![]);
}

/// Two consumers refuse records at the same time: together they let no more by than the limit.
#[tokio::test]
async fn breaker_holds_for_all_consumers_together() {
    let mut world = World::with(ORDERS).await;
    world.with_breaker(5);
    let wrong = |number: u8| {
        put(
            "orders",
            1,
            doc! { "_id": i64::from(number), "total": "many" },
        )
    };
    let four: Vec<Made> = (1..=4).map(wrong).collect();
    let other = session::connect(&world.config, "other").await.unwrap();
    let watch = session::connect(&world.config, "watch").await.unwrap();
    let refused = "begin; insert into leafcutter.breakers (consumer_group, topic, failures, reason) \
                   values ('g', 't.shop.orders', 3, 'no')";
    other.batch_execute(refused).await.unwrap();
    let waits = "select count(*) > 0 from pg_stat_activity \
                 where datname = current_database() and wait_event_type = 'Lock'";
    let commits = async {
        while !watch.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::task::yield_now().await;
        }
        other.batch_execute("commit").await.unwrap();
    };
    let (applied, ()) = tokio::join!(world.apply(&four), commits);
    let Err(ApplyError::TooMany { failures, open, .. }) = applied else {
        panic!("{applied:?}");
    };
    assert_eq!((failures, open), (3, false));
    assert_eq!(world.text(BREAKER).await, "t.shop.orders|3|f");
    let letters = "select count(*) from leafcutter.dead_letters";
    assert_eq!(world.text(letters).await, "0");
    // Two are left to the limit.
    (0..4).for_each(|_| world.again("orders"));
    world.apply(&four[..2]).await.unwrap();
    assert_eq!(world.text(BREAKER).await, "t.shop.orders|5|t");
    // Whoever comes now lets nothing by.
    let applied = world.apply(&four[2..]).await;
    assert!(matches!(
        applied,
        Err(ApplyError::TooMany { open: true, .. })
    ));
    assert_eq!(world.text(BREAKER).await, "t.shop.orders|5|t");
    assert_eq!(world.text(letters).await, "2");
}

#[tokio::test]
async fn stale_records_are_stale_whatever_a_constraint_says_of_them() {
    let before = format!("{TABLES} alter table orders add check (total <> -1);");
    let mut world = World::prepared(ORDERS, &before).await;
    let (counts, _) = world.isolated(&[order(5, 1, 7), order(5, 2, 7)]).await;
    assert_eq!(counts.of(Outcome::Applied), 2);
    // PostgreSQL checks a row before it looks whether another has its key.
    let records = [order(4, 1, -1), order(6, 2, 8), order(4, 3, -1)];
    let (counts, _) = world.isolated(&records).await;
    let of = [Outcome::Stale, Outcome::Applied, Outcome::DeadLettered];
    assert_eq!(of.map(|outcome| counts.of(outcome)), [1, 1, 1]);
    assert_eq!(
        world.rows("select id, total from orders order by id").await,
        rows![{ id: 1, total: 7 }, { id: 2, total: 8 }]
    );
}
