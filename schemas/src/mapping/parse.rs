//! The file becomes a [`Mapping`]: YAML to nodes, nodes to keys and words, those to a checked whole.
//!
//! Every stage goes on after a fault, so that a person sees them all at once. A stage does not
//! report again what the one before it has reported: what is faulty is marked as such and left
//! alone. Only text that is not YAML ends the reading, since nothing behind it can be trusted.

mod column;
mod condition;
mod elements;
mod item;
mod table;
pub(super) mod word;
mod yaml;

pub use super::fault::{MappingFault, MappingFaults};

pub(super) use item::Given;

use super::{
    Mapping, check,
    fault::{Faults, Spotted},
    raw::{RawCollection, RawMapping, RawTable},
};
use item::Item;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The version of the mapping language.
const VERSION: &str = "1";

/// Reads and checks a mapping file; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong in it, in the order of the file.
pub fn load(text: &str, file: &str) -> Result<Mapping, MappingFaults> {
    let mut faults = Faults::default();
    let mapping = yaml::read(text, &mut faults)
        .and_then(|node| read(&Item::root(&node), &mut faults))
        .map(|raw| check::mapping(&raw, &mut faults))
        .map(|(uuid_namespace, collections)| Mapping {
            uuid_namespace,
            collections,
            hash: hash(text),
            body: text.to_owned(),
        });
    faults.or(file, mapping)
}

/// The first 64 bits of the file's SHA-256: enough to name a mapping, and unlike the standard
/// library's hash the same in every release.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn read(item: &Item<'_>, faults: &mut Faults) -> Option<RawMapping> {
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
    let poll_by = fields.given("poll_by", |item| column::paths(item, faults));
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

/// A file as JSON, the way editors see it when they hold it against the schema.
#[cfg(test)]
pub(super) fn value(text: &str) -> Option<serde_json::Value> {
    yaml::read(text, &mut Faults::default()).map(|node| node.to_json())
}
