//! Tables of the file: a collection's own, and those of the arrays inside.

use super::{
    column, condition, elements,
    item::{Fields, Item},
    name::{names, table_name},
    word,
    yaml::Value,
};
use crate::mapping::{
    fault::{At, Faults, Spotted},
    raw::{Given, Names, RawColumn, RawTable},
};

/// The keys of a collection's own table.
pub(super) const KEYS: [&str; 10] = [
    "table",
    "where",
    "delete",
    "key",
    "on_same_key",
    "newest_by",
    "unique",
    "indexes",
    "columns",
    "children",
];

/// Reads the keys that every table has; `from` is the array of a child table.
pub(super) fn read(at: At, mut fields: Fields<'_>, child: bool, faults: &mut Faults) -> RawTable {
    let mut table = RawTable {
        at,
        name: fields.given("table", |item| table_name(item, faults)),
        from: if child {
            fields.given("from", |item| elements::read(item, faults))
        } else {
            Given::Absent
        },
        filter: fields.given("where", |item| condition::read(item, faults)),
        soft_delete: if child {
            Given::Absent
        } else {
            fields.given("delete", |item| soft_delete(item, faults))
        },
        key: fields.given("key", |item| key(item, faults)),
        same_key: if child {
            Given::Absent
        } else {
            fields.given("on_same_key", |item| item.word(&word::SAME_KEY, faults))
        },
        newest_by: if child {
            Given::Absent
        } else {
            fields.given("newest_by", |item| {
                item.text("the name of a column", faults)
            })
        },
        unique: lists(fields.take("unique"), faults),
        indexes: lists(fields.take("indexes"), faults),
        columns: Vec::new(),
        identity: Vec::new(),
        columns_missing: false,
        children: Vec::new(),
    };
    match fields.take("columns") {
        None => {
            table.columns_missing = true;
            faults.add(&table.at, "a table needs `columns`");
        }
        Some(item) => read_columns(&mut table, &item, faults),
    }
    if let Some(item) = fields.take("children") {
        let children = item
            .list("a list of child tables", faults)
            .unwrap_or_default();
        for child in children {
            if let Some(fields) = child.fields(
                "a child table's keys (`table`, `from`, `key`, `columns`)",
                faults,
            ) {
                table.children.push(read(child.at(), fields, true, faults));
            }
        }
    }
    fields.finish(faults);
    needed(&table, child, faults);
    table
}

fn needed(table: &RawTable, child: bool, faults: &mut Faults) {
    for (absent, key) in [
        (table.name.is_absent(), "table"),
        (table.key.is_absent(), "key"),
    ] {
        if absent {
            faults.add(&table.at, format!("a table needs `{key}`"));
        }
    }
    if child && table.from.is_absent() {
        faults.add(
            &table.at,
            "a child table needs `from`, the path of its array",
        );
    }
}

fn read_columns(table: &mut RawTable, item: &Item<'_>, faults: &mut Faults) {
    let Some(entries) = item.entries("a block of columns", faults) else {
        table.columns_missing = true;
        return;
    };
    if entries.is_empty() {
        table.columns_missing = true;
        faults.add(&item.at(), "a table needs at least one column");
    }
    for (name, item) in entries {
        match column::read(name, &item, faults) {
            Some(column) if is_identity(table, &column) => table.identity.push(column),
            Some(column) => table.columns.push(column),
            None => table.columns_missing = true,
        }
    }
}

/// What is generated outside the key is PostgreSQL's alone, and no column of the document.
fn is_identity(table: &RawTable, column: &RawColumn) -> bool {
    let generated = column.generated.value() == Some(&true);
    let mut key = table.key.value().into_iter().flatten();
    generated && !key.any(|name| name.value == column.name.value)
}

fn soft_delete(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<String>> {
    let mut fields = item.fields("`{ soft: column }`", faults)?;
    let soft = fields.given("soft", |item| item.text("the name of a column", faults));
    fields.finish(faults);
    if soft.is_absent() {
        faults.add(&item.at(), "`soft`, the name of a column, is missing");
    }
    soft.get().cloned()
}

/// A name or a list of names.
fn key(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<Names>> {
    if let Value::Scalar { .. } = &item.node.value {
        let name = item.text("the name of a column", faults)?;
        return Some(Spotted {
            at: name.at.clone(),
            value: vec![name],
        });
    }
    names(item, faults)
}

fn lists(item: Option<Item<'_>>, faults: &mut Faults) -> Vec<Spotted<Names>> {
    let items = item.and_then(|item| item.list("a list of lists such as `[[a, b]]`", faults));
    items
        .unwrap_or_default()
        .iter()
        .filter_map(|item| names(item, faults))
        .collect()
}
