//! One table that several collections fill: what they say of it must be the same.

use crate::mapping::{
    Collection, OnDelete, Table, TableName,
    fault::{At, Faults, Spotted},
    raw::{RawMapping, RawTable},
};
use std::collections::{BTreeMap, BTreeSet};

/// Judges tables that several collections name.
pub(super) fn judge(raw: &RawMapping, built: &[Collection], faults: &mut Faults) {
    let mut first: BTreeMap<&TableName, (&RawTable, &Table)> = BTreeMap::new();
    let mut shared = BTreeSet::new();
    let tables = raw.collections.iter().zip(built).flat_map(|(raw, built)| {
        let pairs = raw.tables.iter().zip(&built.tables);
        pairs.filter_map(|(raw, built)| Some((raw.name.get()?, raw, built)))
    });
    for (name, raw, table) in tables {
        let Spotted { value, at } = name;
        let Some((other_raw, other)) = first.get(value) else {
            first.insert(value, (raw, table));
            continue;
        };
        shared.insert(value);
        let line = other_raw
            .name
            .get()
            .map_or(other_raw.at.line, |name| name.at.line);
        let whole = !raw.columns_missing && !other_raw.columns_missing;
        if let Some(why) = disagreement(table, other).filter(|_| whole) {
            let message = format!("`{value}` is filled from line {line} too, but {why}");
            faults.add(at, message);
        }
        for key in [raw, other_raw]
            .into_iter()
            .zip([table, other])
            .filter(|(_, table)| table.has_natural_key())
            .filter_map(|(raw, _)| raw.key.get())
        {
            let message =
                "the key of a table that several collections fill has to follow from `_id` yet";
            faults.add(&key.at, message);
        }
        for child in raw.children.iter().chain(&other_raw.children) {
            let message =
                "below a table that several collections fill there can be no child tables yet";
            faults.add(&child.at, message);
        }
    }
    for collection in &raw.collections {
        for table in &collection.tables {
            let own = table.name.value().is_some_and(|name| shared.contains(name));
            references(table, own, &shared, faults);
        }
    }
}

/// Rows go with others, or forget them, where it is clear whose they are.
fn references(table: &RawTable, own: bool, shared: &BTreeSet<&TableName>, faults: &mut Faults) {
    for reference in table.columns.iter().filter_map(|c| c.references.value()) {
        let to = reference
            .table
            .value()
            .is_some_and(|name| shared.contains(name));
        let given = reference.on_delete.get();
        if let Some(given) = given.filter(|s| (own || to) && s.value != OnDelete::Hold) {
            no_consequence(&given.at, faults);
        }
    }
    for child in &table.children {
        references(child, own, shared, faults);
    }
}

fn no_consequence(at: &At, faults: &mut Faults) {
    let message =
        "with a table that several collections fill, `on_delete` can be nothing but `hold` yet";
    faults.suggest(at, message, Some("hold".to_owned()));
}

/// What one says of the table that the other does not.
fn disagreement(table: &Table, other: &Table) -> Option<String> {
    let names = |table: &Table, columns: &[usize]| -> Vec<String> {
        let names = columns.iter().map(|&c| table.columns[c].name.clone());
        names.collect()
    };
    for column in &other.columns {
        let name = &column.name;
        let Some(position) = table.column(name) else {
            return Some(format!("lacks the column `{name}`"));
        };
        let own = &table.columns[position];
        if own.pg_type != column.pg_type {
            return Some(format!("`{name}` is `{}` there", column.pg_type));
        }
        if own.required != column.required || own.default != column.default {
            return Some(format!(
                "`{name}` has another `required` or `default` there"
            ));
        }
        if own.reference != column.reference {
            return Some(format!("`{name}` has other `references` there"));
        }
    }
    if let Some(column) = table
        .columns
        .iter()
        .find(|c| other.column(&c.name).is_none())
    {
        return Some(format!("`{}` is no column there", column.name));
    }
    if names(table, &table.key) != names(other, &other.key) {
        return Some(format!(
            "the key is `{}` there",
            names(other, &other.key).join(", ")
        ));
    }
    let unique = |table: &Table| -> BTreeSet<Vec<String>> {
        table
            .unique
            .iter()
            .map(|columns| names(table, columns))
            .collect()
    };
    let soft = |table: &Table| table.soft_delete.map(|c| table.columns[c].name.clone());
    if unique(table) != unique(other) {
        return Some("other columns are unique there".to_owned());
    }
    if table.identity != other.identity {
        return Some("another column is generated there".to_owned());
    }
    (soft(table) != soft(other)).then(|| "`delete` is another there".to_owned())
}
