//! The target's tables: what the mapping needs and the database does not have yet.
//!
//! Tables that exist belong to the application: missing columns are added, nothing is ever changed
//! or dropped, and what serves already under another name is used. Everything is generated in the
//! order of writing, so that it can be printed and run by hand as well. The statements are idempotent
//! and run under one advisory lock, since every consumer runs them at its start.

use super::{
    catalogue::{Catalogue, FoundTable},
    numbers::{generated, number_key},
};
use crate::{
    model::{Model, TableModel},
    names::{literal, qualified, quote},
    state::deferred_constraints::DeferredRow,
};
use leafcutter_schemas::mapping::{Column, ColumnSource, OnMissing, RowSource, Table, TableName};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a statement makes, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Makes {
    /// A schema.
    Schema(String),
    /// A table, with all that it needs but indexes and foreign keys.
    Table(TableName),
    /// Columns of a table that is there.
    Columns(TableName, Vec<String>),
    /// An index.
    Index(TableName, String),
    /// A foreign key.
    Key(TableName, String),
    /// What numbers a column that is there.
    Numbers(TableName, String),
}

/// A statement of DDL.
#[derive(Debug, Clone)]
pub struct Lacking {
    /// The statement.
    pub sql: String,
    /// What it makes.
    pub makes: Makes,
    /// It may be done when the table is filled: the columns, and of a foreign key where it points to.
    pub deferrable: Option<DeferredRow>,
}

impl Lacking {
    fn new(sql: String, makes: Makes) -> Self {
        Self {
            sql,
            makes,
            deferrable: None,
        }
    }

    fn deferrable(self, deferrable: Option<DeferredRow>) -> Self {
        Self { deferrable, ..self }
    }
}

/// The statements that bring any database to what the mapping needs, whatever is there.
pub fn statements(model: &Model) -> Vec<String> {
    let all = lacking(model, None).into_iter();
    all.map(|lacking| lacking.sql).collect()
}

/// The same, with what each makes.
pub(super) fn all(model: &Model) -> Vec<Lacking> {
    lacking(model, None)
}

/// Those of them that a database lacks. On tables that are as they should be none is left: an `alter
/// table` that changes nothing waits for everybody who writes there all the same, and everybody else
/// waits for it (PostgreSQL chapter 13.3).
pub fn missing(model: &Model, there: &Catalogue) -> Vec<Lacking> {
    lacking(model, Some(there))
}

fn lacking(model: &Model, there: Option<&Catalogue>) -> Vec<Lacking> {
    let found = |table: &Table| there.and_then(|there| there.tables.get(&table.name));
    let names = Names::new(model);
    let mut all = Vec::new();
    let entries = tables(model);
    let tables: Vec<&Table> = entries.iter().map(|t| &*t.table).collect();
    let mut schemas: Vec<&str> = tables.iter().map(|t| t.name.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    for schema in schemas.into_iter().filter(|schema| *schema != "public") {
        let name = quote(schema);
        let sql = match there {
            None => format!("create schema if not exists {name}"),
            // `if not exists` asks for the right to create one also where it is there.
            Some(_) => format!(
                "do $leafcutter$ begin if to_regnamespace({}) is null then create schema {name}; end if; \
                 end $leafcutter$",
                literal(&name)
            ),
        };
        all.push(Lacking::new(sql, Makes::Schema(schema.to_owned())));
    }
    for entry in &entries {
        let table = &entry.table;
        let found = found(table);
        if found.is_none() {
            all.push(Lacking::new(
                create_table(entry),
                Makes::Table(table.name.clone()),
            ));
        }
        // A table that was just created has everything.
        if there.is_none() || found.is_some() {
            if let Some((sql, names)) = add_columns(entry, found) {
                all.push(Lacking::new(sql, Makes::Columns(table.name.clone(), names)));
            }
            if let Some((sql, column)) = number_key(table, found) {
                all.push(Lacking::new(
                    sql,
                    Makes::Numbers(table.name.clone(), column),
                ));
            }
        }
    }
    for table in &tables {
        let found = found(table);
        let named = |columns: &[usize]| -> Vec<&str> {
            let name = |&column: &usize| table.columns[column].name.as_str();
            columns.iter().map(name).collect()
        };
        for columns in &table.unique {
            if !found.is_some_and(|found| found.unique_on(&named(columns))) {
                let name = names.name(table, columns, "key");
                let sql = index(&name, table, columns, true);
                all.push(Lacking::new(sql, Makes::Index(table.name.clone(), name)));
            }
        }
        for columns in &table.indexes {
            if !found.is_some_and(|found| found.index_on(&named(columns))) {
                let name = names.name(table, columns, "idx");
                let sql = index(&name, table, columns, false);
                let deferrable = deferred(table, &name, &named(columns), None);
                let makes = Makes::Index(table.name.clone(), name);
                all.push(Lacking::new(sql, makes).deferrable(Some(deferrable)));
            }
        }
    }
    for entry in &entries {
        let found = found(&entry.table);
        for key in foreign_keys(model, entry) {
            let there = |found: &FoundTable| found.foreign_key_to(&key.pairs(), &key.parent);
            if !found.is_some_and(there) {
                let name = names.name(&entry.table, &key.columns, "fkey");
                let sql = constraint(&entry.table, &name, &key.definition());
                let (own, other): (Vec<&str>, Vec<&str>) = key.pairs().into_iter().unzip();
                let deferrable = is_deferrable(model, &key.parent)
                    .then(|| deferred(&entry.table, &name, &own, Some((&key.parent, &other))));
                let makes = Makes::Key(entry.table.name.clone(), name);
                all.push(Lacking::new(sql, makes).deferrable(deferrable));
            }
        }
    }
    all
}

/// Whether a foreign key to this table may be added later: a row there keeps its key for as long as it is there.
fn is_deferrable(model: &Model, parent: &TableName) -> bool {
    let mut tables = model.tables.iter();
    !tables.any(|entry| entry.table.name == *parent && entry.natural_key)
}

fn deferred(
    table: &Table,
    name: &str,
    columns: &[&str],
    parent: Option<(&TableName, &[&str])>,
) -> DeferredRow {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    DeferredRow {
        table: qualified(&table.name),
        name: name.to_owned(),
        columns: owned(columns),
        parent: parent.map(|(parent, columns)| (qualified(parent), owned(columns))),
        is_added: false,
        problem: None,
    }
}

/// The tables, each once, however many collections fill it.
pub(crate) fn tables(model: &Model) -> Vec<&TableModel> {
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

/// A column, as it is defined.
pub(super) fn column_definition(column: &Column) -> String {
    let mut text = format!("{} {}", quote(&column.name), column.pg_type);
    if let Some(default) = &column.default {
        text.push_str(" default ");
        text.push_str(&literal(default));
    }
    if let Some(start) = column.generated {
        text.push_str(&generated(start));
    }
    if column.required {
        text.push_str(" not null");
    }
    text
}

/// A column, as it is added to a table: rows that are there have no value for it, so it takes null then,
/// whatever the mapping requires.
pub(super) fn added_definition(column: &Column, filled: bool) -> String {
    let definition = column_definition(column);
    let has_value = column.default.is_some() || column.generated.is_some();
    if filled && column.required && !has_value {
        return definition.trim_end_matches(" not null").to_owned();
    }
    definition
}

/// The columns of a table, by name, as they are defined: those of the mapping, one that PostgreSQL
/// fills, Leafcutter's own.
fn definitions(entry: &TableModel, filled: bool) -> Vec<(&str, String)> {
    let columns = entry.table.columns.iter();
    let mut all: Vec<(&str, String)> = columns
        .map(|column| (column.name.as_str(), added_definition(column, filled)))
        .collect();
    all.extend(entry.table.identity.as_ref().map(|identity| {
        let start = generated(identity.start);
        let name = quote(&identity.name);
        let definition = format!("{name} {}{start} unique", identity.pg_type);
        (identity.name.as_str(), definition)
    }));
    let own = own_columns(entry).into_iter();
    all.extend(own.map(|own| (own.split(' ').next().unwrap_or(own), own.to_owned())));
    all
}

/// Leafcutter's own columns: a row's version; whose it is, where its key does not say so.
pub(super) fn own_columns(entry: &TableModel) -> Vec<&'static str> {
    let mut columns = Vec::new();
    if entry.table.rows == RowSource::Document {
        columns.push("lc_version bigint not null default 0");
    }
    if entry.keeps_document {
        columns.push("lc_document bytea not null default ''");
    }
    if entry.shared {
        columns.push("lc_source text not null default ''");
    }
    columns
}

/// The statement that creates a table.
pub(super) fn create_table(entry: &TableModel) -> String {
    let table = &entry.table;
    let mut lines: Vec<String> = definitions(entry, false)
        .into_iter()
        .map(|(_, line)| line)
        .collect();
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

/// The statement that adds the columns that are not there, and their names.
fn add_columns(entry: &TableModel, found: Option<&FoundTable>) -> Option<(String, Vec<String>)> {
    let there = |name: &str| found.is_some_and(|found| found.column(name).is_some());
    let filled = found.is_some_and(|found| found.filled);
    let (names, parts): (Vec<String>, Vec<String>) = definitions(entry, filled)
        .into_iter()
        .filter(|(name, _)| !there(name))
        .map(|(name, definition)| {
            let part = format!("add column if not exists {definition}");
            (name.to_owned(), part)
        })
        .unzip();
    let target = qualified(&entry.table.name);
    let sql = format!("alter table {target}\n  {}", parts.join(",\n  "));
    (!parts.is_empty()).then_some((sql, names))
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

fn index(name: &str, table: &Table, columns: &[usize], unique: bool) -> String {
    let columns_quoted: Vec<_> = columns
        .iter()
        .map(|&c| quote(&table.columns[c].name))
        .collect();
    format!(
        "create {}index if not exists {} on {} ({})",
        if unique { "unique " } else { "" },
        quote(name),
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

/// A foreign key that the mapping wants.
pub(crate) struct ForeignKey {
    /// The columns' positions.
    pub(super) columns: Vec<usize>,
    /// Their names, each with that of the column it points to.
    pairs: Vec<(String, String)>,
    /// The table that they point to.
    pub(super) parent: TableName,
}

impl ForeignKey {
    /// The columns, each with the one it points to.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        let pairs = self.pairs.iter();
        pairs.map(|(own, other)| (&**own, &**other)).collect()
    }

    /// The constraint.
    pub(super) fn definition(&self) -> String {
        let quoted = |names: Vec<&str>| {
            let names: Vec<String> = names.into_iter().map(quote).collect();
            names.join(", ")
        };
        let (own, other) = self.pairs().into_iter().unzip();
        format!(
            "foreign key ({}) references {} ({})",
            quoted(own),
            qualified(&self.parent),
            quoted(other)
        )
    }
}

/// The foreign keys of a table: its references, and a child table's to the row its rows came with.
pub(super) fn foreign_keys(model: &Model, entry: &TableModel) -> Vec<ForeignKey> {
    let table = &entry.table;
    let mut all = Vec::new();
    for (position, column) in table.columns.iter().enumerate() {
        let Some(reference) = &column.reference else {
            continue;
        };
        if reference.on_missing == OnMissing::Keep {
            continue;
        }
        all.push(ForeignKey {
            columns: vec![position],
            pairs: vec![(column.name.clone(), reference.column.clone())],
            parent: reference.table.clone(),
        });
    }
    let above = entry.above.last();
    all.extend(above.map(|above| child_key(table, &model.tables[above.0].table)));
    all
}

/// The columns of a child table that name the row above, each with the one that it is equal to.
pub(crate) fn child_key(table: &Table, parent: &Table) -> ForeignKey {
    let mut columns = Vec::new();
    let mut pairs = Vec::new();
    for &wanted in &parent.key {
        let of_parent = |c: &Column| c.source == ColumnSource::Parent(wanted);
        if let Some(column) = table.columns.iter().position(of_parent) {
            columns.push(column);
            let own = table.columns[column].name.clone();
            pairs.push((own, parent.columns[wanted].name.clone()));
        }
    }
    ForeignKey {
        columns,
        pairs,
        parent: parent.name.clone(),
    }
}
