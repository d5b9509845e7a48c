//! The file as a whole: its own keys, its collections, and the tables of each.

use super::{item::Item, path::paths, table, yaml};
use crate::mapping::{
    fault::{Faults, Spotted},
    raw::{Given, RawCollection, RawMapping, RawTable},
};
use uuid::Uuid;

/// The version of the mapping language.
const VERSION: &str = "1";

/// Reads the file.
pub(super) fn read(item: &Item<'_>, faults: &mut Faults) -> Option<RawMapping> {
    let mut fields = item.fields(
        "a mapping's keys (`version`, `database`, `collections`)",
        faults,
    )?;
    match fields.given("version", |item| {
        item.text("the version of the mapping language", faults)
    }) {
        Given::Absent => faults.add(&item.at(), format!("`version: {VERSION}` is missing")),
        Given::Value(found) if found.value != VERSION => {
            let message = format!("version `{}` is not supported", found.value);
            faults.suggest(&found.at, message, Some(VERSION.to_owned()));
        }
        Given::Value(_) | Given::Faulty => {}
    }
    let database = fields.given("database", |item| {
        item.text("the name of a database", faults)
    });
    let namespace = fields.given("uuid_namespace", |item| namespace(item, faults));
    let collections = fields.take("collections");
    let collections = match &collections {
        Some(item) => {
            let entries = item.entries("a block of collections", faults);
            if entries.as_ref().is_some_and(Vec::is_empty) {
                faults.add(&item.at(), "the mapping has no collection");
            }
            entries.unwrap_or_default()
        }
        None => {
            faults.add(&item.at(), "`collections` is missing");
            Vec::new()
        }
    };
    let count = collections.len();
    let collections: Vec<_> = collections
        .into_iter()
        .filter_map(|(name, item)| collection(name, &item, &database, faults))
        .collect();
    fields.finish(faults);
    let uuid_namespace = namespace.value().copied().unwrap_or(Uuid::NAMESPACE_OID);
    let collections_missing = collections.len() < count;
    Some(RawMapping {
        uuid_namespace,
        collections,
        collections_missing,
    })
}

fn collection(
    name: Spotted<String>,
    item: &Item<'_>,
    database: &Given<String>,
    faults: &mut Faults,
) -> Option<RawCollection> {
    let mut fields = item.fields("a collection's keys (`table`, `key`, `columns`)", faults)?;
    let mut own = fields.given("database", |item| {
        item.text("the name of a database", faults)
    });
    if own.is_absent() {
        own = database.clone();
        if own.is_absent() {
            faults.add(
                &name.at,
                "the collection's database is missing: give `database` here or at the top",
            );
        }
    }
    let poll_by = fields.given("poll_by", |item| paths(item, faults));
    let tables = match fields.take("tables") {
        None => vec![table::read(name.at.clone(), fields, false, faults)],
        Some(item) => {
            // The keys of the one table would stand here.
            fields.know(&table::KEYS);
            fields.finish(faults);
            several(&item, faults)
        }
    };
    Some(RawCollection {
        name,
        database: own,
        poll_by,
        tables,
    })
}

fn several(item: &Item<'_>, faults: &mut Faults) -> Vec<RawTable> {
    let items = item.list("a list of tables", faults).unwrap_or_default();
    if items.is_empty() && matches!(&item.node.value, yaml::Value::List(_)) {
        faults.add(&item.at(), "the list names no table");
    }
    items
        .iter()
        .filter_map(|item| {
            let fields = item.fields(
                "a table's keys (`table`, `where`, `key`, `columns`)",
                faults,
            )?;
            Some(table::read(item.at(), fields, false, faults))
        })
        .collect()
}

fn namespace(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<Uuid>> {
    let text = item.text("a UUID", faults)?;
    let Ok(value) = Uuid::parse_str(&text.value) else {
        faults.add(&text.at, format!("`{}` is not a UUID", text.value));
        return None;
    };
    Some(Spotted { value, at: text.at })
}
