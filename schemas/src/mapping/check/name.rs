//! Names: what PostgreSQL and MongoDB accept, and what Leafcutter keeps for itself.

use crate::{
    mapping::{
        TableName,
        fault::{At, Faults, Spotted},
        raw::{RawCollection, RawMapping, RawTable},
    },
    name::RESERVED_DATABASE,
};
use std::collections::BTreeMap;

/// PostgreSQL cuts longer identifiers, with no more than a notice (`NAMEDATALEN` - 1).
const IDENTIFIER_BYTES_MAX: usize = 63;
/// Leafcutter's own columns and tables begin like this.
const OWN_PREFIX: &str = "lc_";
/// Schemas that are not the application's.
const OWN_SCHEMA: &str = "leafcutter";
/// Columns that every PostgreSQL table has.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Judges what a collection and its database are called.
pub(super) fn collection(collection: &RawCollection, faults: &mut Faults) {
    let name = &collection.name;
    if name.value.is_empty() {
        faults.add(&name.at, "a collection's name is empty");
    } else if name.value.starts_with("system.") {
        faults.add(
            &name.at,
            "collections of MongoDB's own, `system.…`, cannot be moved",
        );
    } else if name.value.contains(['$', '\0']) {
        faults.add(
            &name.at,
            format!("MongoDB has no collection named `{}`", name.value),
        );
    }
    let Some(database) = collection.database.get() else {
        return;
    };
    let text = &database.value;
    if text.is_empty() {
        faults.add(&database.at, "a database's name is empty");
    } else if text.len() >= 64 || text.contains(['/', '\\', '.', ' ', '"', '$', '\0']) {
        faults.add(
            &database.at,
            format!("MongoDB has no database named `{text}`"),
        );
    } else if text == RESERVED_DATABASE {
        faults.add(
            &database.at,
            format!("a database `{text}` would share topics with Leafcutter's own"),
        );
    } else if ["admin", "local", "config"].contains(&text.as_str()) {
        faults.add(&database.at, format!("`{text}` is MongoDB's own database"));
    }
}

/// Judges what tables are called, alone and beside each other. Own tables of several collections may
/// be one: whether they agree is [`shared`](super::shared)'s to judge.
pub(super) fn tables(raw: &RawMapping, faults: &mut Faults) {
    let mut seen = BTreeMap::new();
    for (index, collection) in raw.collections.iter().enumerate() {
        for own in &collection.tables {
            table(own, Some(index), &mut seen, faults);
        }
    }
}

/// Where a name stands first, and for a collection's own table which collection's.
type Seen<'r> = BTreeMap<&'r TableName, (&'r At, Option<usize>)>;

fn table<'r>(raw: &'r RawTable, own: Option<usize>, seen: &mut Seen<'r>, faults: &mut Faults) {
    if let Some(Spotted { value, at }) = raw.name.get() {
        schema(&value.schema, at, faults);
        identifier("table", &value.name, at, faults);
        match seen.get(value) {
            Some((_, Some(other))) if own.is_some_and(|own| own != *other) => {}
            Some((first, _)) => {
                let message = format!(
                    "two tables are called `{value}`, the first in line {}",
                    first.line
                );
                faults.add(at, message);
            }
            None => {
                seen.insert(value, (at, own));
            }
        }
    }
    for child in &raw.children {
        table(child, None, seen, faults);
    }
}

fn schema(name: &str, at: &At, faults: &mut Faults) {
    if name == OWN_SCHEMA {
        faults.add(at, "the schema `leafcutter` holds Leafcutter's own state");
    } else if name.starts_with("pg_") || name == "information_schema" {
        faults.add(at, format!("the schema `{name}` is PostgreSQL's own"));
    } else {
        identifier("schema", name, at, faults);
    }
}

/// Judges what a column is called.
pub(super) fn column(name: &Spotted<String>, faults: &mut Faults) {
    if SYSTEM_COLUMNS.contains(&name.value.as_str()) {
        faults.add(
            &name.at,
            format!(
                "every PostgreSQL table has a column `{}` already",
                name.value
            ),
        );
    } else {
        identifier("column", &name.value, &name.at, faults);
    }
}

fn identifier(what: &str, name: &str, at: &At, faults: &mut Faults) {
    if name.is_empty() {
        faults.add(at, format!("a {what}'s name is empty"));
    } else if name.contains('\0') {
        faults.add(at, format!("a {what}'s name contains a NUL character"));
    } else if name.starts_with(OWN_PREFIX) {
        faults.add(
            at,
            format!("names that begin with `{OWN_PREFIX}` are Leafcutter's own"),
        );
    } else if name.len() > IDENTIFIER_BYTES_MAX {
        let message = format!(
            "`{name}` has {} bytes, PostgreSQL cuts names after {IDENTIFIER_BYTES_MAX}",
            name.len()
        );
        faults.add(at, message);
    }
}
