//! Tables that are more than plain ones: what keeps rows from being written there is told beforehand, and what was
//! told is true.

use crate::world::{Made, World, delete_by, put};
use bson::doc;
use leafcutter_sink::{
    change::Outcome,
    session::{Config, Session},
    target::compare::{self, Disagreement, Kind},
};

const MAPPING: &str = "
version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns: { id: { path: _id, type: bigint }, name: text }
";

fn person(version: i64, id: i64) -> Made {
    put(
        "people",
        version,
        doc! { "_id": id, "name": version.to_string() },
    )
}

async fn look(world: &World, config: &Config) -> Vec<Disagreement> {
    let mut session = Session::open(config, "test").await.unwrap();
    compare::look(&mut session, &world.model).await.unwrap()
}

fn told(found: &[Disagreement]) -> Vec<(Kind, &str)> {
    found
        .iter()
        .map(|d| (d.kind, d.postgres.as_str()))
        .collect()
}

/// What is written twice, changed and deleted.
async fn journey(world: &mut World) -> Vec<Outcome> {
    let records = [person(1, 1), person(2, 1), delete_by("people", 3, 1_i64)];
    let mut outcomes = Vec::new();
    for record in records {
        let (counts, _) = world.isolated(&[record]).await;
        outcomes.extend(Outcome::ALL.into_iter().filter(|o| counts.of(*o) > 0));
    }
    outcomes
}

const WRITTEN: [Outcome; 3] = [Outcome::Applied, Outcome::Applied, Outcome::Deleted];

#[tokio::test]
async fn rules_are_refused_where_rows_cannot_be_written() {
    let cases = [
        (
            "on insert to people do also insert into noted values (1)",
            true,
            true,
        ),
        (
            "on insert to people where new.id < 0 do instead nothing",
            true,
            false,
        ),
        (
            "on update to people do also insert into noted values (1)",
            true,
            true,
        ),
        (
            "on delete to people do also insert into noted values (1)",
            false,
            false,
        ),
    ];
    for (rule, is_told, fails) in cases {
        let mut world = World::with(MAPPING).await;
        world
            .execute_all(&format!(
                "create table noted (n int); create rule noting as {rule}"
            ))
            .await;
        let found = look(&world, &world.config).await;
        let expected: &[_] = if is_told {
            &[(Kind::Rules, "rule `noting` on insert or update")]
        } else {
            &[]
        };
        assert_eq!(told(&found), expected, "{rule}");
        if fails {
            let outcomes = journey(&mut world).await;
            assert!(outcomes.contains(&Outcome::DeadLettered), "{rule}");
        }
        for sql in found.iter().flat_map(|d| &d.sql) {
            world.execute_all(sql).await;
        }
        assert_eq!(told(&look(&world, &world.config).await), [], "{rule}");
        let mut world = World::with(MAPPING).await;
        if !is_told {
            world
                .execute_all(&format!(
                    "create table noted (n int); create rule noting as {rule}"
                ))
                .await;
        }
        assert_eq!(journey(&mut world).await, WRITTEN, "{rule}");
    }
}

#[tokio::test]
async fn heirs_are_refused_and_unlogged_tables_are_told() {
    let world = World::with(MAPPING).await;
    world
        .execute_all("create table singers () inherits (people); alter table people set unlogged")
        .await;
    let found = look(&world, &world.config).await;
    let expected = [
        (Kind::Inherited, "a table with the heir `singers`"),
        (Kind::Unlogged, "unlogged"),
    ];
    assert_eq!(told(&found), expected);
    assert_eq!(
        found.iter().map(|d| d.kind.is_fault()).collect::<Vec<_>>(),
        [true, false]
    );
    world.execute_all("drop table singers").await;
    for sql in found.iter().flat_map(|d| &d.sql) {
        world.execute_all(sql).await;
    }
    assert_eq!(told(&look(&world, &world.config).await), []);
}

/// Partitions are no heirs.
#[tokio::test]
async fn partitions_are_written_to() {
    let divided = "create table people (id bigint primary key, name text) partition by range (id); \
                   create table people_1 partition of people for values from (0) to (1000)";
    let mut world = World::prepared(MAPPING, divided).await;
    assert_eq!(told(&look(&world, &world.config).await), []);
    assert_eq!(journey(&mut world).await, WRITTEN);
}

/// A user who is subject to row security: told, unless a policy lets it see everything.
#[tokio::test]
async fn row_security_that_hides_rows_is_told() {
    let mut world = World::with(MAPPING).await;
    let user = format!("app_{}", uuid::Uuid::new_v4().simple());
    world
        .execute_all(&format!(
            "create role {user} login password 'secret'; \
             grant all on schema public, leafcutter to {user}; \
             grant all on all tables in schema public, leafcutter to {user}; \
             grant all on all sequences in schema public, leafcutter to {user}"
        ))
        .await;
    let mut config = world.config.clone();
    config.user(&user).password("secret");
    let cases = [
        ("alter table people enable row level security", true),
        ("create policy few on people using (id > 5)", true),
        (
            "create policy reads on people for select using (true)",
            true,
        ),
        (
            "create policy others on people to pg_monitor using (true)",
            true,
        ),
        ("mend", false),
        (
            "create policy least on people as restrictive using (id > 5)",
            true,
        ),
        ("drop policy least on people", false),
        (
            "create policy all_of_it on people as restrictive using (true)",
            false,
        ),
        ("drop policy leafcutter on people", true),
        ("create policy whole on people using (true)", false),
        ("alter table people disable row level security", false),
    ];
    for (sql, is_told) in cases {
        if sql == "mend" {
            for sql in look(&world, &config).await.iter().flat_map(|d| &d.sql) {
                world.execute_all(sql).await;
            }
        } else {
            world.execute_all(sql).await;
        }
        let found = look(&world, &config).await;
        let kinds: Vec<Kind> = found.iter().map(|d| d.kind).collect();
        let expected: &[Kind] = if is_told { &[Kind::RowSecurity] } else { &[] };
        assert_eq!(kinds, expected, "{sql}: {found:?}");
        assert!(
            found.iter().all(|d| d.postgres.contains(&user)),
            "{found:?}"
        );
        // Who owns the tables, or may pass by, is subject to nothing.
        assert_eq!(told(&look(&world, &world.config).await), [], "{sql}");
    }
    // What was told: a row that it may not see stays, and its delete is called done.
    world.write(&[person(1, 1), person(1, 9)]).await;
    world
        .execute_all(
            "drop policy whole on people; drop policy reads on people; \
             alter table people enable row level security",
        )
        .await;
    world.as_user(&user, "secret");
    let deletes = [delete_by("people", 2, 1_i64), delete_by("people", 2, 9_i64)];
    assert_eq!(
        world.each(&deletes).await,
        [Outcome::Deleted, Outcome::Deleted]
    );
    assert_eq!(world.text("select id from people").await, "1");
    world
        .execute_all(&format!("drop owned by {user}; drop role {user}"))
        .await;
}
