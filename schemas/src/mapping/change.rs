//! What differs between two mappings, and what that means for rows that are there.
//!
//! Two checked mappings go in, one change for each collection that differs comes out. They are compared by
//! what they mean: comments, the layout of the file, and the order of collections and columns are no
//! change. Both are read by this program, so that a later version that knows more of a mapping finds the
//! same file the same. Where it is not sure that the rows stay as they are, they are behind: reading a
//! collection again without need costs time, and a row in an old form would be taken for a right one.
//!
//! Each function takes apart what it compares, so that a part which is added does not compile until it is
//! compared too.

mod column;

use super::{Collection, Column, ColumnSource, Conversion, Elements, Mapping, RowSource, Table};
use column::of_column;
use serde::Serialize;
use std::collections::BTreeSet;

/// What a change means for what is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing: all rows are as they would be.
    Nothing,
    /// The rows are as they would be; documents that were refused may be taken now.
    DeadLetters,
    /// Rows of root tables are not as they would be: to be applied again, or read again.
    Roots,
    /// Rows of child tables, or keys, are not as they would be: to be read again.
    Children,
}

impl Effect {
    /// Whether rows are not as they would be.
    pub fn is_of_rows(self) -> bool {
        self >= Self::Roots
    }
}

/// One collection that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its database.
    pub database: String,
    /// Its name.
    pub collection: String,
    /// What differs, in words.
    pub what: Vec<String>,
    /// What it means for what is stored.
    pub effect: Effect,
}

impl Change {
    fn of(collection: &Collection) -> Self {
        Self {
            database: collection.database.clone(),
            collection: collection.name.clone(),
            what: Vec::new(),
            effect: Effect::Nothing,
        }
    }

    fn note(&mut self, what: impl Into<String>, effect: Effect) {
        self.what.push(what.into());
        self.effect = self.effect.max(effect);
    }
}

/// What differs in the new mapping, in its order; collections that it leaves out come last.
pub fn changes(old: &Mapping, new: &Mapping) -> Vec<Change> {
    let Mapping {
        uuid_namespace,
        collections,
        hash: _,
        text: _,
    } = new;
    let mut all = Vec::new();
    for collection in collections {
        let mut change = Change::of(collection);
        match old.collection(&collection.database, &collection.name) {
            None => change.note("new", Effect::Nothing),
            Some(before) => {
                compare(before, collection, &mut change);
                if old.uuid_namespace != *uuid_namespace && makes_uuids(collection) {
                    change.note("uuid_namespace", Effect::Children);
                }
                let moved = moved_parents(old, new, collection);
                for parent in moved {
                    change.note(
                        format!("key of {parent}, which it points to"),
                        Effect::Children,
                    );
                }
                for table in shared(new, collection).difference(&shared(old, before)) {
                    change.note(
                        format!("who fills {table}: others do, too"),
                        Effect::Children,
                    );
                }
            }
        }
        all.push(change);
    }
    let left_out = old.collections.iter();
    let left_out = left_out.filter(|c| new.collection(&c.database, &c.name).is_none());
    all.extend(left_out.map(|collection| {
        let mut change = Change::of(collection);
        change.note("left out: its rows stay", Effect::Nothing);
        change
    }));
    all.retain(|change| !change.what.is_empty());
    all
}

fn compare(old: &Collection, new: &Collection, change: &mut Change) {
    let Collection {
        database: _,
        name: _,
        at: _,
        poll_by,
        tables: _,
    } = new;
    if old.poll_by != *poll_by {
        change.note("poll_by", Effect::Nothing);
    }
    let before = family(old);
    let after = family(new);
    let mut moved = false;
    for &(parent, table) in &after {
        let known = before.iter().find(|(_, other)| other.name == table.name);
        match known {
            Some(&(was_under, was)) if name(was_under) == name(parent) => {
                moved |= one(((was_under, was), (parent, table)), change);
            }
            Some(_) => change.note(format!("place of table {}", table.name), Effect::Children),
            None => {
                moved = true;
                let effect = of_rows(table);
                change.note(format!("table {} is new", table.name), effect);
            }
        }
    }
    for (_, table) in &before {
        if !after.iter().any(|(_, other)| other.name == table.name) {
            moved = true;
            let what = format!("table {} is left out: it stays as it is", table.name);
            change.note(what, Effect::Nothing);
        }
    }
    // What no other column takes is another thing now.
    if moved && let Some(rest) = rest(new) {
        change.note(format!("what is left for {rest}"), Effect::Children);
    }
}

/// The tables of a collection, each with the one above it.
fn family(collection: &Collection) -> Vec<(Option<&Table>, &Table)> {
    fn below<'t>(table: &'t Table, all: &mut Vec<(Option<&'t Table>, &'t Table)>) {
        for child in &table.children {
            all.push((Some(table), child));
            below(child, all);
        }
    }
    let mut all = Vec::new();
    for table in &collection.tables {
        all.push((None, table));
        below(table, &mut all);
    }
    all
}

fn name(table: Option<&Table>) -> Option<&super::TableName> {
    table.map(|table| &table.name)
}

/// Where rows of a table would have to be written.
fn of_rows(table: &Table) -> Effect {
    match table.rows {
        RowSource::Document => Effect::Roots,
        RowSource::Elements(_) => Effect::Children,
    }
}

type Placed<'t> = (Option<&'t Table>, &'t Table);

/// Compares a table; whether its columns take other fields than before.
fn one((was, is): (Placed<'_>, Placed<'_>), change: &mut Change) -> bool {
    let ((old_parent, old), (new_parent, new)) = (was, is);
    let Table {
        name: _,
        columns,
        key,
        same_key: _,
        unique,
        indexes,
        rows: _,
        filter,
        soft_delete: _,
        identity,
        children: _,
    } = new;
    let rows = of_rows(new);
    let mut moved = false;
    for column in columns {
        let place = format!("{}.{}", new.name, column.name);
        let Some(before) = old.columns.iter().find(|c| c.name == column.name) else {
            moved = true;
            change.note(format!("column {place} is new"), rows);
            continue;
        };
        let same_source = source(old_parent, old, before) == source(new_parent, new, column);
        if !same_source {
            moved = true;
            change.note(format!("where {place} comes from"), rows);
        }
        for (what, effect) in of_column(before, column) {
            let effect = if effect.is_of_rows() { rows } else { effect };
            change.note(format!("{what} of {place}"), effect);
        }
    }
    for column in &old.columns {
        if new.column(&column.name).is_none() {
            moved = true;
            let what = format!("column {}.{} is left out: it stays", new.name, column.name);
            change.note(what, Effect::Nothing);
        }
    }
    let named = |table: &Table, lists: &[Vec<usize>]| -> BTreeSet<Vec<String>> {
        lists.iter().map(|list| names(table, list)).collect()
    };
    let mut note = |differs: bool, what: &str, effect: Effect| {
        if differs {
            change.note(format!("{what} of {}", new.name), effect);
        }
    };
    note(
        names(old, &old.key) != names(new, key),
        "key",
        Effect::Children,
    );
    note(
        named(old, &old.unique) != named(new, unique),
        "unique keys",
        Effect::Nothing,
    );
    note(
        named(old, &old.indexes) != named(new, indexes),
        "indexes",
        Effect::Nothing,
    );
    note(old.filter != *filter, "conditions", rows);
    note(elements(old) != elements(new), "elements", rows);
    let soft = |table: &Table| {
        table
            .soft_delete
            .map(|position| table.columns[position].name.clone())
    };
    note(soft(old) != soft(new), "what a delete does", rows);
    note(same_key(old) != same_key(new), "on_same_key", rows);
    let owned = |table: &Table| (table.has_natural_key(), table.documents_may_share_key());
    note(
        owned(old) != owned(new),
        "how its owner is known",
        Effect::Children,
    );
    note(
        old.identity != *identity,
        "the numbered column",
        Effect::Nothing,
    );
    moved
}

fn names(table: &Table, positions: &[usize]) -> Vec<String> {
    positions
        .iter()
        .map(|&position| table.columns[position].name.clone())
        .collect()
}

/// Where a column's value comes from, without positions.
fn source(
    parent: Option<&Table>,
    table: &Table,
    column: &Column,
) -> (Option<ColumnSource>, Vec<String>) {
    match &column.source {
        ColumnSource::Parent(position) => {
            let of = parent.map(|parent| parent.columns[*position].name.clone());
            (
                None,
                std::iter::once("parent".to_owned()).chain(of).collect(),
            )
        }
        ColumnSource::Derived(of) => (None, names(table, of)),
        source @ (ColumnSource::Path(_)
        | ColumnSource::Position
        | ColumnSource::MapKey
        | ColumnSource::Set
        | ColumnSource::Deleted
        | ColumnSource::Constant(_)
        | ColumnSource::FirstOf(_)
        | ColumnSource::Rest
        | ColumnSource::Expression { .. }) => (Some(source.clone()), Vec::new()),
    }
}

/// An array or a map: where it is, whether it is a map, what its rows have in other columns.
type ElementsOf = (String, bool, BTreeSet<(String, String)>);

fn elements(table: &Table) -> Option<Vec<ElementsOf>> {
    let RowSource::Elements(elements) = &table.rows else {
        return None;
    };
    let each = elements.iter().map(|Elements { path, map, set }| {
        let set = set.iter();
        let set = set.map(|(position, text)| (table.columns[*position].name.clone(), text.clone()));
        (path.to_string(), *map, set.collect())
    });
    Some(each.collect())
}

fn same_key(table: &Table) -> Option<Option<String>> {
    match table.same_key {
        super::SameKey::FirstStays => None,
        super::SameKey::NewestWins { by } => Some(by.map(|by| table.columns[by].name.clone())),
    }
}

fn makes_uuids(collection: &Collection) -> bool {
    let tables = collection.with_descendants();
    let mut columns = tables.iter().flat_map(|table| &table.columns);
    columns.any(|column| {
        column.conversion == Conversion::UuidV5 || matches!(column.source, ColumnSource::Derived(_))
    })
}

/// The tables of a collection that others fill, too.
fn shared(mapping: &Mapping, collection: &Collection) -> BTreeSet<String> {
    let tables = collection.with_descendants();
    let own = tables.iter().filter(|table| {
        let mut fillers = mapping
            .tables()
            .filter(|(_, other)| other.name == table.name);
        fillers.nth(1).is_some()
    });
    own.map(|table| table.name.to_string()).collect()
}

/// The first column that takes what no other does.
fn rest(collection: &Collection) -> Option<String> {
    let tables = collection.with_descendants();
    let mut columns = tables
        .iter()
        .flat_map(|table| table.columns.iter().map(move |c| (table, c)));
    let rest = columns.find(|(_, column)| column.source == ColumnSource::Rest);
    rest.map(|(table, column)| format!("{}.{}", table.name, column.name))
}

/// The tables that a collection points to by `_id`, whose keys are made otherwise now.
fn moved_parents(old: &Mapping, new: &Mapping, collection: &Collection) -> BTreeSet<String> {
    let key = |mapping: &Mapping, name: &super::TableName| {
        let (_, table) = mapping.tables().find(|(_, table)| table.name == *name)?;
        let column = |&position: &usize| {
            let column = &table.columns[position];
            (
                column.name.clone(),
                column.pg_type,
                source(None, table, column),
                column.conversion,
            )
        };
        Some(table.key.iter().map(column).collect::<Vec<_>>())
    };
    let tables = collection.with_descendants();
    let columns = tables.iter().flat_map(|table| &table.columns);
    let looked_up = columns.filter_map(Column::looked_up);
    let moved =
        looked_up.filter(|reference| key(old, &reference.table) != key(new, &reference.table));
    moved.map(|reference| reference.table.to_string()).collect()
}
