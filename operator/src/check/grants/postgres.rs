//! What the consumers and the verbs need of PostgreSQL: two roles, and grants.
//!
//! The consumer's role owns schema `leafcutter`, made for it, so that it need not create schemas. With
//! `--ddl create` it owns the tables as well, and what the operator may do there is a default privilege. With
//! `--ddl check` somebody else owns them, and both have what rows need. A sequence of a generated key is moved
//! behind the numbers of documents, which is an update of it.

use super::comment::comment;
use leafcutter_sink::{
    model::{Model, TableModel},
    names::{literal, qualified, quote},
};
use std::collections::BTreeSet;

const CONSUMER: &str = "leafcutter_consumer";
const OPERATOR: &str = "leafcutter_operator";

/// Why, and the statements.
pub(super) type Part = (&'static str, Vec<String>);

/// The statements, in their order.
pub(super) fn parts(model: &Model, creates: bool) -> Vec<Part> {
    let mut tables: Vec<&TableModel> = Vec::new();
    for entry in &model.tables {
        if tables
            .iter()
            .all(|other| other.table.name != entry.table.name)
        {
            tables.push(entry);
        }
    }
    let schemas = tables.iter().map(|entry| entry.table.name.schema.as_str());
    let schemas: BTreeSet<&str> = schemas.collect();
    let mut parts = vec![
        (
            "The consumers' role, and that of who runs leafcutter. Give them passwords: \\password NAME.",
            vec![role(CONSUMER), role(OPERATOR)],
        ),
        (
            "Both connect, and use temporary tables.",
            vec![format!(
                "do $$ begin execute format('grant connect, temporary on database %I to {CONSUMER}, \
                 {OPERATOR}', current_database()); end $$"
            )],
        ),
        (
            "Leafcutter's state belongs to the consumers, who create and migrate its tables.",
            vec![
                format!("create schema if not exists leafcutter authorization {CONSUMER}"),
                format!("grant usage on schema leafcutter to {OPERATOR}"),
                default("leafcutter", "select, insert, update, delete on tables"),
                format!(
                    "grant select, insert, update, delete on all tables in schema leafcutter to {OPERATOR}"
                ),
            ],
        ),
    ];
    for schema in schemas {
        let quoted = quote(schema);
        if schema != "public" {
            let make = format!("create schema if not exists {quoted}");
            parts.push(("A schema of the mapping.", vec![make]));
        }
        if creates {
            parts.push((
                "The consumers create the tables (--ddl create), which are theirs then. To add columns to a table \
                 that is there they have to own it: grant its owner to them, or say leafcutter plan and --ddl check.",
                vec![
                    format!("grant usage, create on schema {quoted} to {CONSUMER}"),
                    format!("grant usage on schema {quoted} to {OPERATOR}"),
                    default(schema, "select, insert, update, delete on tables"),
                    default(schema, "usage, select, update on sequences"),
                ],
            ));
        } else {
            let usage = format!("grant usage on schema {quoted} to {CONSUMER}, {OPERATOR}");
            parts.push(("They create nothing there (--ddl check).", vec![usage]));
        }
    }
    if !creates {
        let rows = tables.iter().map(|entry| of_rows(entry));
        parts.push((
            "After leafcutter plan: the tables and their sequences.",
            rows.flatten().collect(),
        ));
    }
    parts
}

fn role(name: &str) -> String {
    let there = format!("select from pg_roles where rolname = {}", literal(name));
    format!("do $$ begin if not exists ({there}) then create role {name} login; end if; end $$")
}

/// What the consumers create there later, the operator may use.
fn default(schema: &str, what: &str) -> String {
    let schema = quote(schema);
    format!(
        "alter default privileges for role {CONSUMER} in schema {schema} grant {what} to {OPERATOR}"
    )
}

fn of_rows(entry: &TableModel) -> Vec<String> {
    let table = &entry.table;
    let name = qualified(&table.name);
    let mut all = vec![format!(
        "grant select, insert, update, delete on {name} to {CONSUMER}, {OPERATOR}"
    )];
    for column in table.columns.iter().filter(|c| c.generated.is_some()) {
        let sequence = format!(
            "pg_get_serial_sequence({}, {})",
            literal(&name),
            literal(&column.name)
        );
        all.push(format!(
            "do $$ begin if {sequence} is not null then execute 'grant usage, select, update on sequence ' \
             || {sequence} || ' to {CONSUMER}, {OPERATOR}'; end if; end $$"
        ));
    }
    all
}

/// The statements for psql.
pub(super) fn script(parts: &[Part]) -> String {
    let mut out = String::from(
        "-- PostgreSQL. With psql, in the target database, as a superuser, before the consumers start.\n\\set ON_ERROR_STOP on\n",
    );
    for (why, statements) in parts {
        out.push_str(&comment("-- ", why));
        for statement in statements {
            out.push_str(&format!("{statement};\n"));
        }
    }
    out.push_str(&comment(
        "-- ",
        &format!(
            "At the cut-over: leafcutter finish moves sequences and proves constraints, and --drop drops. That is the \
             owner's to do: grant {CONSUMER} to {OPERATOR}, and the owner of the tables, for that day."
        ),
    ));
    out
}
