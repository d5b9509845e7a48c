//! The mapping as a whole: what each part is allowed to be, given the others.
//!
//! Takes a file whose keys and words are known and builds the [`Mapping`](super::Mapping) while it
//! judges. Where a part is faulty a stand-in is built, so that everything else is judged as well;
//! no stand-in is ever seen, since a mapping with faults is not handed out.

mod built;
mod column;
mod constant;
mod elements;
mod expression;
mod generated;
mod key;
mod name;
mod poll;
mod policy;
mod reference;
mod rest;
mod same_key;
mod shared;
mod table;
mod values;

use super::{Collection, fault::Faults, raw::RawMapping};
use uuid::Uuid;

/// Judges a file and builds its mapping, which is sound if no fault was added.
pub(super) fn mapping(raw: &RawMapping, faults: &mut Faults) -> (Uuid, Vec<Collection>) {
    name::tables(raw, faults);
    reference::circles(raw, faults);
    let targets = reference::Targets::of(raw);
    let collections = raw.collections.iter().map(|collection| {
        name::collection(collection, faults);
        Collection {
            database: collection.database.value().cloned().unwrap_or_default(),
            name: collection.name.value.clone(),
            at: (collection.name.at.line, collection.name.at.column),
            poll_by: poll::dates(collection, faults),
            tables: collection
                .tables
                .iter()
                .map(|table| table::build(table, None, &targets, faults).table)
                .collect(),
        }
    });
    let collections: Vec<Collection> = collections.collect();
    shared::judge(raw, &collections, faults);
    (raw.uuid_namespace, collections)
}
