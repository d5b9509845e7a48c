//! Types of columns that the application made, judged as PostgreSQL takes values.

use crate::{
    existing::{MAPPING, run, told},
    world::World,
};
use leafcutter_schemas::mapping::parse;
use leafcutter_sink::{
    model::Model,
    session::Session,
    target::compare::{self, Kind},
};

const TYPES: [&str; 22] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "numeric(8,2)",
    "text",
    "varchar(9)",
    "uuid",
    "bytea",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "json",
    "jsonb",
    "text[]",
    "varchar(9)[]",
    "integer[]",
    "bigint[]",
];
const OTHERS: [&str; 11] = [
    "char(9)",
    "name",
    "mood",
    "money",
    "xml",
    "inet",
    "int4range",
    "interval",
    "timetz",
    "time(0)",
    "timestamptz(0)",
];

/// Of every type in the mapping and every type in the table, in the key and outside: what is judged
/// impossible is what PostgreSQL refuses to prepare.
#[tokio::test]
async fn the_judgement_of_types_is_postgresqls() {
    let mut mapping = "version: 1\ndatabase: d\ncollections:\n".to_owned();
    let mut made = "create type mood as enum ('good', 'bad');".to_owned();
    for (w, wanted) in TYPES.iter().enumerate() {
        for (f, found) in TYPES.iter().chain(&OTHERS).enumerate() {
            for key in [true, false] {
                let in_key = key && !wanted.contains("[]") && *wanted != "json";
                if key != in_key {
                    continue;
                }
                let name = format!("t{w}_{f}_{}", if key { "key" } else { "value" });
                let (id, by) = if key { ("_id", "x") } else { ("x", "id") };
                mapping.push_str(&format!(
                    "  {name}:\n    table: {name}\n    key: {by}\n    columns:\n      \
                     id: {{ path: _id, type: bigint }}\n      x: {{ path: {id}, type: \"{wanted}\" }}\n"
                ));
                made.push_str(&format!(
                    "create table {name} (id bigint not null, x {found}, \
                     lc_version bigint not null default 0, \
                     lc_document bytea not null default '');"
                ));
                let index = if key {
                    // What cannot be a key of PostgreSQL's cannot be one here.
                    format!(
                        "do $$ begin alter table {name} add unique (x); exception when others then null; end $$;"
                    )
                } else {
                    format!("alter table {name} add primary key (id);")
                };
                made.push_str(&index);
            }
        }
    }
    let mapping = parse::load(&mapping, "mapping.yaml").unwrap_or_else(|faults| panic!("{faults}"));
    let world = World::with(MAPPING).await;
    run(&world, &made).await;
    let model = Model::compile(mapping, "t").unwrap();
    let mut session = Session::open(&world.config, "test").await.unwrap();
    for entry in &model.tables {
        session.batch(&entry.sql.create_temp).await.unwrap();
    }
    let found = compare::look(&mut session, &model).await.unwrap();
    let mut seen = [0; 2];
    let mut wrong = Vec::new();
    for entry in &model.tables {
        let name = &entry.table.name;
        let judged: Vec<_> = found.iter().filter(|d| d.table == *name).collect();
        if judged.iter().any(|d| d.kind == Kind::MissingKey) {
            continue;
        }
        let refused = judged.iter().any(|d| d.kind == Kind::Type);
        let sql = &entry.sql;
        let mut prepared = Ok(());
        for sql in [
            sql.classify.as_str(),
            &sql.upsert,
            &sql.lock_same,
            &sql.lock_deletes,
            sql.delete.by_places().unwrap(),
            sql.delete.by_keys(),
        ] {
            if prepared.is_ok() {
                prepared = session.client().prepare(sql).await.map(|_| ());
            }
        }
        // A key is judged more strictly: its value has to stay what it was.
        let strict = name.name.ends_with("key");
        if prepared.is_ok() == refused && !(refused && strict) {
            let judged: Vec<_> = judged.into_iter().cloned().collect();
            wrong.push(format!("{name}: {:?}, {prepared:?}", told(&judged)));
        }
        seen[usize::from(refused)] += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen[0] > 100 && seen[1] > 900, "{seen:?}");
}
