//! The target's tables: what the mapping needs and the database does not have yet.
//!
//! Tables that exist belong to the application: missing columns are added, nothing is ever changed
//! or dropped. Everything is generated in the order of writing, so that it can be printed and run
//! by hand as well. The statements are idempotent and run under one advisory lock, since every
//! consumer runs them at its start.

use super::statement::{literal, qualified, quote};
use crate::model::{Model, TableModel};
use leafcutter_schemas::mapping::{Column, ColumnSource, OnMissing, PgType, RowSource, Table};
use std::collections::BTreeMap;
use tokio_postgres::Client;
use uuid::Uuid;

/// The statements that bring a database to what the mapping needs.
pub fn statements(model: &Model) -> Vec<String> {
    let names = Names::new(model);
    let mut all = Vec::new();
    let entries = tables(model);
    let tables: Vec<&Table> = entries.iter().map(|t| &*t.table).collect();
    let mut schemas: Vec<&str> = tables.iter().map(|t| t.name.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    for schema in schemas.into_iter().filter(|schema| *schema != "public") {
        all.push(format!("create schema if not exists {}", quote(schema)));
    }
    for entry in &entries {
        all.push(create_table(entry));
        all.push(add_columns(entry));
    }
    for table in &tables {
        for columns in &table.unique {
            all.push(index(&names, table, columns, true));
        }
        for columns in &table.indexes {
            all.push(index(&names, table, columns, false));
        }
    }
    for entry in &entries {
        all.extend(foreign_keys(&names, &entry.table));
        if let Some(above) = entry.above.last() {
            all.push(child_key(
                &names,
                &entry.table,
                &model.tables[above.0].table,
            ));
        }
    }
    all
}

/// The tables, each once, whoever fills it.
fn tables(model: &Model) -> Vec<&TableModel> {
    let mut found: Vec<&TableModel> = Vec::new();
    for entry in &model.tables {
        if found
            .iter()
            .all(|other| other.table.name != entry.table.name)
        {
            found.push(entry);
        }
    }
    found
}

fn column_definition(column: &Column) -> String {
    let mut text = format!("{} {}", quote(&column.name), column.pg_type);
    if let Some(default) = &column.default {
        text.push_str(" default ");
        text.push_str(&literal(default));
    }
    if column.required {
        text.push_str(" not null");
    }
    text
}

/// Leafcutter's own columns: a row's version, and its collection where several fill the table.
fn own_columns(entry: &TableModel) -> Vec<&'static str> {
    let mut columns = Vec::new();
    if entry.table.rows == RowSource::Document {
        columns.push("lc_version bigint not null default 0");
    }
    if entry.shared {
        columns.push("lc_source text not null default ''");
    }
    columns
}

fn create_table(entry: &TableModel) -> String {
    let table = &entry.table;
    let mut lines: Vec<String> = table.columns.iter().map(column_definition).collect();
    lines.extend(own_columns(entry).into_iter().map(str::to_owned));
    let key: Vec<_> = table
        .key
        .iter()
        .map(|&p| quote(&table.columns[p].name))
        .collect();
    lines.push(format!("primary key ({})", key.join(", ")));
    format!(
        "create table if not exists {} (\n  {}\n)",
        qualified(&table.name),
        lines.join(",\n  ")
    )
}

fn add_columns(entry: &TableModel) -> String {
    let table = &entry.table;
    let mut parts: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("add column if not exists {}", column_definition(column)))
        .collect();
    let own = own_columns(entry).into_iter();
    parts.extend(own.map(|column| format!("add column if not exists {column}")));
    format!(
        "alter table {}\n  {}",
        qualified(&table.name),
        parts.join(",\n  ")
    )
}

/// The longest identifier that PostgreSQL keeps whole, in bytes.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Names of indexes and constraints: `table_column_ending`, as PostgreSQL would choose them. Where
/// two would share a name (`orders(items_id)` and `orders_items(id)`), or it would be cut, a hash
/// of what it stands for tells them apart: under a name that is taken nothing would be created.
struct Names {
    taken: BTreeMap<String, usize>,
}

impl Names {
    fn new(model: &Model) -> Self {
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let mut note = |table: &Table, columns: &[usize], ending: &str| {
            *taken.entry(plain_name(table, columns, ending)).or_default() += 1;
        };
        for entry in tables(model) {
            let table = &entry.table;
            table
                .unique
                .iter()
                .for_each(|columns| note(table, columns, "key"));
            table
                .indexes
                .iter()
                .for_each(|columns| note(table, columns, "idx"));
            for position in 0..table.columns.len() {
                if table.columns[position].reference.is_some() {
                    note(table, &[position], "fkey");
                }
            }
        }
        Self { taken }
    }

    fn name(&self, table: &Table, columns: &[usize], ending: &str) -> String {
        let plain = plain_name(table, columns, ending);
        let shared = self.taken.get(&plain).is_some_and(|count| *count > 1);
        if !shared && plain.len() <= IDENTIFIER_BYTES_MAX {
            return plain;
        }
        let names: Vec<&str> = columns
            .iter()
            .map(|&c| table.columns[c].name.as_str())
            .collect();
        let exact = format!("{}({})", qualified(&table.name), names.join(","));
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, exact.as_bytes())
            .simple()
            .to_string();
        let ending = format!("_{}_{ending}", &hash[..8]);
        let mut end = plain.len().min(IDENTIFIER_BYTES_MAX - ending.len());
        while !plain.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}{ending}", &plain[..end])
    }
}

fn plain_name(table: &Table, columns: &[usize], ending: &str) -> String {
    let mut name = table.name.name.clone();
    for &column in columns {
        name.push('_');
        name.push_str(&table.columns[column].name);
    }
    name.push('_');
    name.push_str(ending);
    name
}

fn index(names: &Names, table: &Table, columns: &[usize], unique: bool) -> String {
    let ending = if unique { "key" } else { "idx" };
    let columns_quoted: Vec<_> = columns
        .iter()
        .map(|&c| quote(&table.columns[c].name))
        .collect();
    format!(
        "create {}index if not exists {} on {} ({})",
        if unique { "unique " } else { "" },
        quote(&names.name(table, columns, ending)),
        qualified(&table.name),
        columns_quoted.join(", ")
    )
}

/// Adds a constraint unless one of that name is there.
fn constraint(table: &Table, name: &str, definition: &str) -> String {
    let target = qualified(&table.name);
    format!(
        "do $leafcutter$ begin\n  if not exists (select 1 from pg_constraint where conrelid = {}::regclass and conname = {}) then\n    \
         alter table {target} add constraint {} {definition};\n  end if;\nend $leafcutter$",
        literal(&target),
        literal(name),
        quote(name),
    )
}

fn foreign_keys(names: &Names, table: &Table) -> Vec<String> {
    let mut all = Vec::new();
    for (position, column) in table.columns.iter().enumerate() {
        let Some(reference) = &column.reference else {
            continue;
        };
        if reference.on_missing == OnMissing::Keep {
            continue;
        }
        let definition = format!(
            "foreign key ({}) references {} ({})",
            quote(&column.name),
            qualified(&reference.table),
            quote(&reference.column)
        );
        all.push(constraint(
            table,
            &names.name(table, &[position], "fkey"),
            &definition,
        ));
    }
    all
}

/// A child table's rows point to the row they came with.
fn child_key(names: &Names, table: &Table, parent: &Table) -> String {
    let mut own = Vec::new();
    let mut above = Vec::new();
    for &wanted in &parent.key {
        let column = table
            .columns
            .iter()
            .position(|c| c.source == ColumnSource::Parent(wanted));
        if let Some(column) = column {
            own.push(column);
            above.push(quote(&parent.columns[wanted].name));
        }
    }
    let own_names: Vec<_> = own.iter().map(|&c| quote(&table.columns[c].name)).collect();
    let definition = format!(
        "foreign key ({}) references {} ({})",
        own_names.join(", "),
        qualified(&parent.name),
        above.join(", ")
    );
    constraint(table, &names.name(table, &own, "fkey"), &definition)
}

/// A type's name in `pg_type`; an array's is that of its element behind a `_`.
fn type_name(pg_type: PgType) -> String {
    let name = match pg_type.scalar() {
        PgType::Bool => "bool",
        PgType::Int2 => "int2",
        PgType::Int4 => "int4",
        PgType::Int8 => "int8",
        PgType::Float4 => "float4",
        PgType::Float8 => "float8",
        PgType::Numeric(_) => "numeric",
        PgType::Text => "text",
        PgType::Varchar(_) => "varchar",
        PgType::Uuid => "uuid",
        PgType::Bytea => "bytea",
        PgType::Date => "date",
        PgType::Timestamp => "timestamp",
        PgType::Timestamptz => "timestamptz",
        PgType::Json => "json",
        PgType::Jsonb | PgType::Array(_) => "jsonb",
    };
    if matches!(pg_type, PgType::Array(_)) {
        format!("_{name}")
    } else {
        name.to_owned()
    }
}

/// Whether the database has exactly the mapping's column types, a valid foreign key for every
/// reference that needs one, and a unique index for every unique key.
///
/// # Errors
/// When the server is lost.
pub async fn is_enforced(client: &Client, model: &Model) -> Result<bool, tokio_postgres::Error> {
    const FOREIGN_KEY: &str = "\
        select exists (select 1 from pg_constraint c \
        join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum] \
        where c.contype = 'f' and c.conrelid = $1::text::regclass \
        and c.confrelid = $2::text::regclass and a.attname = $3)";
    const UNIQUE: &str = "\
        select exists (select 1 from pg_index i where i.indrelid = $1::text::regclass \
        and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null \
        and (select array_agg(a.attname::text order by a.attname::text) from pg_attribute a \
        where a.attrelid = i.indrelid and a.attnum = any(i.indkey)) = $2)";
    const TYPE: &str = "\
        select exists (select 1 from pg_attribute a join pg_type y on y.oid = a.atttypid \
        where a.attrelid = $1::text::regclass and a.attname = $2 and y.typname = $3)";
    for entry in &model.tables {
        let table = &entry.table;
        let name = qualified(&table.name);
        for column in &table.columns {
            let wanted = type_name(column.pg_type);
            let row = client
                .query_one(TYPE, &[&name, &column.name, &wanted])
                .await?;
            if !row.get::<_, bool>(0) {
                return Ok(false);
            }
            let Some(reference) = &column.reference else {
                continue;
            };
            if reference.on_missing == OnMissing::Keep {
                continue;
            }
            let parent = qualified(&reference.table);
            let row = client
                .query_one(FOREIGN_KEY, &[&name, &parent, &column.name])
                .await?;
            if !row.get::<_, bool>(0) {
                return Ok(false);
            }
        }
        for columns in &table.unique {
            let mut names: Vec<&str> = columns
                .iter()
                .map(|&c| table.columns[c].name.as_str())
                .collect();
            names.sort_unstable();
            let row = client.query_one(UNIQUE, &[&name, &names]).await?;
            if !row.get::<_, bool>(0) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
