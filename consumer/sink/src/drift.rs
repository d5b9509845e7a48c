//! Drift: fields that documents have and no column takes, counted over many batches.
//!
//! What a batch noted ([`crate::transform::Unmapped`]) is of single tables. Here it becomes fields of
//! collections, without those that another table takes, and is kept until it is written. How many fields are
//! told of a collection is bounded, since some have ever new names.

use crate::{
    ids::CollectionId,
    model::Model,
    state::unmapped_fields::UnmappedField,
    transform::{Unmapped, left::Taken},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Fields of a collection that are told.
const FIELDS_MAX: usize = 1_000;
/// Bytes of a path that are kept: it is a key in PostgreSQL.
const PATH_MAX: usize = 500;

/// The fields that no column takes.
#[derive(Debug)]
pub struct Drift {
    model: Arc<Model>,
    /// What is taken, of each collection.
    taken: Vec<Taken>,
    /// All that were seen.
    known: BTreeMap<CollectionId, BTreeSet<String>>,
    /// What is not written yet.
    counted: BTreeMap<(CollectionId, String), Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    types: BTreeSet<String>,
    documents: i64,
}

impl Drift {
    /// Nothing was seen yet.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            taken: model.mapping.collections.iter().map(Taken::of).collect(),
            model,
            known: BTreeMap::new(),
            counted: BTreeMap::new(),
        }
    }

    /// Adds what a batch noted.
    pub fn add(&mut self, unmapped: Unmapped) {
        for kind in unmapped.into_kinds() {
            let id = self.model.table(kind.table).collection;
            let plan = &self.model.collection(id).plan;
            let documents = i64::try_from(kind.count).unwrap_or(i64::MAX);
            for (field, seen) in kind.fields {
                let Some(path) = plan.unmapped_path(kind.table, kind.source, &field) else {
                    continue;
                };
                // The `_id` is the record's key, whatever the table's is.
                if path == "_id" || self.taken[id.0].takes(&path) {
                    continue;
                }
                let path = path[..path.floor_char_boundary(PATH_MAX)].to_owned();
                let known = self.known.entry(id).or_default();
                if known.len() < FIELDS_MAX || known.contains(&path) {
                    known.insert(path.clone());
                    let counted = self.counted.entry((id, path)).or_default();
                    counted.types.insert(seen.to_owned());
                    counted.documents = counted.documents.saturating_add(documents);
                }
            }
        }
    }

    /// Takes what is not written yet.
    pub fn take(&mut self) -> Vec<UnmappedField> {
        let counted = std::mem::take(&mut self.counted).into_iter();
        let fields = counted.map(|((id, path), counted)| UnmappedField {
            topic: self.model.collection(id).topic.clone(),
            path,
            types: counted.types.into_iter().collect(),
            documents: counted.documents,
        });
        fields.collect()
    }

    /// Takes back what could not be written.
    pub fn put_back(&mut self, fields: Vec<UnmappedField>) {
        for field in fields {
            if let Some(id) = self.model.collection_of_topic(&field.topic) {
                let counted = self.counted.entry((id, field.path)).or_default();
                counted.types.extend(field.types);
                counted.documents = counted.documents.saturating_add(field.documents);
            }
        }
    }

    /// How many fields were seen of each collection, by its name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, usize)> {
        let known = self.known.iter();
        known.map(|(&id, fields)| (&*self.model.collection(id).name, fields.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::Rows;
    use bson::{RawDocumentBuf, doc};
    use leafcutter_schemas::mapping::parse;

    const MAPPING: &str = "
version: 1
database: d
collections:
  people:
    tables:
      - table: people
        key: id
        columns:
          id: { path: _id, type: bigint }
          zip: { path: address.zip, type: text }
          first: { path: names.0.first, type: text }
          shout: { expression: 'doc.whisper + \"!\"', type: text }
        children:
          - table: orders
            from: orders
            key: [id, n]
            columns:
              id: { parent: id }
              n: { position: true, type: integer }
              what: text
              more: { path: parcel, type: jsonb }
          - table: order_prices
            from: orders
            key: [id, n]
            columns:
              id: { parent: id }
              n: { position: true, type: integer }
              price: integer
      - table: emails
        key: id
        columns:
          id: { path: _id, type: bigint }
          email: text
  rest:
    table: rest
    key: id
    columns:
      id: { path: _id, type: bigint }
      others: { rest: true, type: jsonb }
  pairs:
    table: pairs
    key: [left, right]
    columns:
      left: { type: integer, required: true }
      right: { type: integer, required: true }
";

    fn seen(documents: &[(usize, bson::Document)]) -> Vec<(String, String, Vec<String>, i64)> {
        let mapping = parse::load(MAPPING, "mapping.yaml").unwrap_or_else(|e| panic!("{e}"));
        let model = Arc::new(Model::compile(mapping, "t").unwrap());
        let mut drift = Drift::new(Arc::clone(&model));
        // Each as a batch of its own, then all as one.
        for step in [1, documents.len()] {
            for batch in documents.chunks(step) {
                let mut rows = Rows::default();
                for (collection, document) in batch {
                    let document = RawDocumentBuf::try_from(document).unwrap();
                    let plan = &model.collections[*collection].plan;
                    plan.transform(&document, &mut rows).unwrap();
                }
                drift.add(rows.take_unmapped());
            }
        }
        let fields = drift.take();
        drift.put_back(fields.clone());
        assert_eq!(drift.take(), fields);
        let told = |f: UnmappedField| (f.topic, f.path, f.types, f.documents);
        fields.into_iter().map(told).collect()
    }

    #[test]
    fn fields_are_told_that_nothing_takes() {
        let person = doc! {
            "_id": 1_i64, "email": "e", "whisper": "w",
            "address": { "zip": "z", "city": "c", "geo": { "x": 1, "y": 2 } },
            "names": [{ "first": "f", "last": "l" }, { "first": "g" }],
            "orders": [
                { "what": "a", "price": 1, "parcel": { "x": 1 } },
                { "what": "b", "note": 1 },
                { "what": "c", "note": "n" },
            ],
        };
        let other = doc! { "_id": 2_i64, "email": "e", "whisper": "w", "age": 7 };
        let found = seen(&[
            (0, person),
            (0, other),
            (1, doc! { "_id": 1_i64, "anything": 1 }),
            (
                2,
                doc! { "_id": 1_i64, "left": 1, "right": 2, "why": bson::Bson::Null },
            ),
        ]);
        let found: Vec<String> = found
            .iter()
            .map(|(topic, path, types, n)| format!("{topic} {path} {} {n}", types.join(",")))
            .collect();
        assert_eq!(
            found,
            [
                "t.d.people address.city string 2",
                "t.d.people address.geo object 2",
                "t.d.people age int 2",
                "t.d.people names.0.last string 2",
                // Two tables have rows of an order.
                "t.d.people orders[].note int,string 4",
                "t.d.pairs why null 2",
            ]
        );
    }

    #[test]
    fn ever_new_names_are_bounded() {
        let documents: Vec<_> = (0..3_000)
            .map(|n| {
                (
                    2,
                    doc! { "_id": n, "left": n, "right": n, format!("field {n}"): 1 },
                )
            })
            .collect();
        assert_eq!(seen(&documents).len(), FIELDS_MAX);
    }
}
