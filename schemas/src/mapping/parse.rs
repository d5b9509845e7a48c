//! The file becomes a [`Mapping`]: YAML to nodes, nodes to keys and words, those to a checked whole.
//!
//! Every stage goes on after a fault, so that a person sees them all at once. A stage does not
//! report again what the one before it has reported: what is faulty is marked as such and left
//! alone. Only text that is not YAML ends the reading, since nothing behind it can be trusted.

mod column;
mod condition;
mod elements;
mod file;
mod item;
mod name;
mod path;
mod table;
pub(super) mod word;
mod yaml;

pub use super::fault::{MappingFault, MappingFaults};

use super::{Mapping, check, fault::Faults};
use item::Item;
use sha2::{Digest, Sha256};

/// Reads and checks a mapping file; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong in it, in the order of the file.
pub fn load(text: &str, file: &str) -> Result<Mapping, MappingFaults> {
    let mut faults = Faults::default();
    let mapping = yaml::read(text, &mut faults)
        .and_then(|node| file::read(&Item::root(&node), &mut faults))
        .map(|raw| check::mapping(&raw, &mut faults))
        .map(|(uuid_namespace, collections)| Mapping {
            uuid_namespace,
            collections,
            hash: hash(text),
            text: text.to_owned(),
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

/// A file as JSON, the way editors see it when they hold it against the schema.
#[cfg(test)]
pub(super) fn value(text: &str) -> Option<serde_json::Value> {
    yaml::read(text, &mut Faults::default()).map(|node| node.to_json())
}
