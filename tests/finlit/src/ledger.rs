//! The ledger: what must become of each document whose fate was decided when it was made.

use super::{Collection, FinLit, edge_cases::Fate, expected::key};
use bson::Bson;
use std::collections::BTreeMap;

/// One document with its fate.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its collection.
    pub collection: Collection,
    /// Its `_id`.
    pub id: Bson,
    /// What was done to it, for a person.
    pub what: &'static str,
    /// What must become of it.
    pub fate: Fate,
    /// The other document, where the fate is about two.
    pub partner: Option<Bson>,
}

/// All of them, one entry for a document: what was done last counts.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: BTreeMap<(Collection, String), Entry>,
}

impl Ledger {
    /// The ledger of what the loader puts into MongoDB.
    pub fn of_load(finlit: &FinLit) -> Self {
        let mut ledger = Self::default();
        for collection in Collection::ALL {
            for n in 0..finlit.count(collection) {
                if let Some(edge_case) = finlit.edge_case(collection, n) {
                    ledger.record(Entry {
                        collection,
                        id: finlit.id(collection, n),
                        what: edge_case.what,
                        fate: edge_case.fate,
                        partner: edge_case
                            .fate
                            .has_partner()
                            .then(|| finlit.id(collection, n + 1)),
                    });
                }
            }
        }
        ledger
    }

    /// Takes an entry in, instead of an earlier one for the same document.
    pub fn record(&mut self, entry: Entry) {
        self.entries
            .insert((entry.collection, key::canonical(&entry.id)), entry);
    }

    /// Takes in what happened after this ledger was written.
    pub fn extend(&mut self, later: Self) {
        self.entries.extend(later.entries);
    }

    /// The entries, by collection.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
