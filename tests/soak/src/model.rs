//! What is in the source, as its application knows it: who is there, and who points to whom.

use bson::{Bson, Document};
use leafcutter_harness::dice::Dice;
use leafcutter_systems::source::id;
use std::collections::{BTreeMap, HashMap};

/// A write that leaves the same behind when it is made twice.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// This document is there.
    Put(&'static str, Document),
    /// No document with this `_id` is there.
    Delete(&'static str, Bson),
}

/// Documents of a collection, any of which can be thrown for.
#[derive(Debug, Default)]
struct Documents {
    all: Vec<Document>,
    at: HashMap<String, usize>,
}

/// All documents.
#[derive(Debug, Default)]
pub struct Model {
    documents: BTreeMap<&'static str, Documents>,
    /// By an ObjectId's digits: how many documents with this `_id` there are, and in how many places
    /// it stands.
    there: HashMap<String, usize>,
    references: HashMap<String, usize>,
}

impl Model {
    /// What is there before anything changes. Documents that cannot be rows (`is_sound` says no), or
    /// point to one that cannot, are left as they are, and nobody points to them later: a row whose new
    /// parent is not there would stay what it was.
    pub fn of(
        documents: &[(&'static str, Document)],
        is_sound: impl Fn(&Document) -> bool,
    ) -> Self {
        let mut model = Self::default();
        let (mut left, mut alone): (Vec<_>, Vec<_>) = documents
            .iter()
            .partition(|(_, document)| is_sound(document));
        loop {
            let before = left.len();
            left.retain(|(collection, document)| {
                let whole = model.is_whole(document);
                if whole {
                    model.put(collection, document);
                }
                !whole
            });
            if left.len() == before {
                break;
            }
        }
        alone.extend(left);
        for (_, document) in alone {
            model.refer(document);
        }
        model
    }

    /// A document, where it is there.
    #[must_use]
    pub fn get(&self, collection: &str, id: &Bson) -> Option<&Document> {
        let documents = self.documents.get(collection)?;
        documents.all.get(*documents.at.get(&id.to_string())?)
    }

    /// Any document of a collection; none where it is empty.
    pub fn any(&self, collection: &str, dice: &mut Dice) -> Option<&Document> {
        let all = &self.documents.get(collection)?.all;
        all.get(dice.below(all.len()))
    }

    /// How many documents a collection has.
    #[must_use]
    pub fn count(&self, collection: &str) -> usize {
        self.documents.get(collection).map_or(0, |d| d.all.len())
    }

    /// In how many places this `_id` stands beside its own document's.
    #[must_use]
    pub fn pointed_to(&self, id: &Bson) -> usize {
        let count = digits(id).and_then(|digits| self.references.get(&digits));
        count.copied().unwrap_or(0)
    }

    /// Whether all that a document points to is there.
    #[must_use]
    pub fn is_whole(&self, document: &Document) -> bool {
        let all = references(document);
        all.iter().all(|digits| self.there.contains_key(digits))
    }

    /// Takes a write in.
    pub fn take(&mut self, write: &Write) {
        match write {
            Write::Put(collection, document) => {
                self.remove(collection, &id(document));
                self.put(collection, document);
            }
            Write::Delete(collection, id) => self.remove(collection, id),
        }
    }

    fn put(&mut self, collection: &'static str, document: &Document) {
        let own = id(document);
        let documents = self.documents.entry(collection).or_default();
        documents.at.insert(own.to_string(), documents.all.len());
        documents.all.push(document.clone());
        if let Some(digits) = digits(&own) {
            *self.there.entry(digits).or_default() += 1;
        }
        self.refer(document);
    }

    fn refer(&mut self, document: &Document) {
        for digits in references(document) {
            *self.references.entry(digits).or_default() += 1;
        }
    }

    fn remove(&mut self, collection: &str, id: &Bson) {
        let Some(documents) = self.documents.get_mut(collection) else {
            return;
        };
        let Some(at) = documents.at.remove(&id.to_string()) else {
            return;
        };
        let gone = documents.all.swap_remove(at);
        if let Some(moved) = documents.all.get(at) {
            let moved = leafcutter_systems::source::id(moved).to_string();
            documents.at.insert(moved, at);
        }
        if let Some(digits) = digits(id) {
            less(&mut self.there, &digits);
        }
        for digits in references(&gone) {
            less(&mut self.references, &digits);
        }
    }
}

fn less(counts: &mut HashMap<String, usize>, digits: &str) {
    if let Some(count) = counts.get_mut(digits) {
        *count -= 1;
        if *count == 0 {
            counts.remove(digits);
        }
    }
}

/// An ObjectId's digits: some clients write it as text.
fn digits(value: &Bson) -> Option<String> {
    match value {
        Bson::ObjectId(id) => Some(id.to_hex()),
        Bson::String(text) if text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Some(text.clone())
        }
        _ => None,
    }
}

/// Every id that stands in a document, but for its own.
#[must_use]
pub fn references(document: &Document) -> Vec<String> {
    let mut found = Vec::new();
    let mut left: Vec<&Bson> = document
        .iter()
        .filter(|(name, _)| *name != "_id")
        .map(|(_, value)| value)
        .collect();
    while let Some(value) = left.pop() {
        match value {
            Bson::Document(inner) => left.extend(inner.iter().map(|(_, value)| value)),
            Bson::Array(inner) => left.extend(inner),
            value => found.extend(digits(value)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Model, Write};
    use bson::{Bson, doc, oid::ObjectId};

    #[test]
    fn who_cannot_be_a_row_is_nobody_to_point_to_and_points_all_the_same() {
        let [one, two, three] = [1, 2, 3].map(|n| ObjectId::from_bytes([n; 12]));
        let documents = [
            ("a", doc! { "_id": three, "of": two }),
            ("a", doc! { "_id": two, "of": one, "wrong": true }),
            ("a", doc! { "_id": one }),
        ];
        let model = Model::of(&documents, |document| !document.contains_key("wrong"));
        assert_eq!(model.count("a"), 1);
        assert_eq!(model.pointed_to(&one.into()), 1);
        assert!(!model.is_whole(&doc! { "of": three }));
    }

    #[test]
    fn it_knows_who_points_to_whom() {
        let [one, two] = [1, 2].map(|n| ObjectId::from_bytes([n; 12]));
        let (first, second) = (
            doc! { "_id": one },
            doc! { "_id": two, "all": [one, { "of": one.to_hex() }] },
        );
        let mut model = Model::default();
        assert!(!model.is_whole(&second));
        model.take(&Write::Put("a", first.clone()));
        assert!(model.is_whole(&second));
        model.take(&Write::Put("b", second.clone()));
        model.take(&Write::Put("b", second));
        assert_eq!(model.pointed_to(&one.into()), 2);
        assert_eq!(model.count("b"), 1);
        model.take(&Write::Delete("b", two.into()));
        assert_eq!(model.pointed_to(&one.into()), 0);
        assert_eq!(model.get("a", &Bson::from(one)), Some(&first));
        assert_eq!(model.get("b", &two.into()), None);
    }
}
