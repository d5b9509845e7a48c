//! Tables of PostgreSQL beside the mapping: what disagrees, and what is to be made.

use crate::world::World;

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
