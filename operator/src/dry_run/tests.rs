//! Placing, by documents that go through the real transform.

use super::{
    keys::hash,
    placing::{Extent, Placing},
};
use bson::{Document, RawDocument, RawDocumentBuf, doc};
use leafcutter_schemas::{key::DocumentKey, mapping::parse};
use leafcutter_sink::{ids::CollectionId, model::Model, transform::Rows};
use std::collections::BTreeMap;

/// Trees that point to themselves, and what points to them.
const TREES: &str = r"
version: 1
database: d
collections:
  nodes:
    table: nodes
    key: id
    columns:
      id: { path: _id, type: bigint }
      up: { type: bigint, references: { table: nodes } }
      mark: { type: text, unique: true }
  leaves:
    table: leaves
    key: id
    columns:
      id: { path: _id, type: bigint }
      node: { type: bigint, references: { table: nodes } }
      soft: { type: bigint, references: { table: nodes, on_missing: null } }
    children:
      - table: links
        from: links
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          node: { path: ., type: bigint, references: { table: nodes } }
";

struct Trial {
    model: Model,
    placing: Placing,
}

impl Trial {
    fn of(mapping: &str, read: &[usize], most: usize) -> Self {
        let mapping = parse::load(mapping, "test").unwrap();
        let model = Model::compile(mapping, "lc").unwrap();
        let read: Vec<_> = read.iter().map(|&id| CollectionId(id)).collect();
        let placing = Placing::new(&model, &read, most);
        Self { model, placing }
    }

    fn read(mut self, id: usize, documents: &[Document], extent: Extent) -> Self {
        for document in documents {
            let raw = RawDocumentBuf::try_from(document).unwrap();
            self.place(id, &raw);
        }
        self.placing.extents[id] = extent;
        self.placing.settle();
        self
    }

    fn place(&mut self, id: usize, document: &RawDocument) {
        let mut rows = Rows::default();
        let plan = &self.model.collections[id].plan;
        let key = DocumentKey::of_document(document).unwrap();
        for (_, range) in plan.transform(document, &mut rows).unwrap() {
            let range = range.unwrap();
            self.placing.place(CollectionId(id), range, &rows, &key);
        }
    }

    fn rows(&self) -> BTreeMap<String, u64> {
        let collections = self.model.collections.iter().zip(&self.placing.placed);
        let all = collections.flat_map(|(collection, placed)| {
            let names = collection
                .plan
                .tables
                .iter()
                .map(|t| t.table.name.to_string());
            names.zip(placed.iter().map(|placed| placed.rows))
        });
        all.filter(|(_, rows)| *rows > 0).collect()
    }

    /// By column, how many rows lack a parent, and some of their documents.
    fn orphans(&self) -> Vec<(String, u64, Vec<String>)> {
        let all = self
            .placing
            .links
            .references
            .iter()
            .zip(&self.placing.orphans);
        all.filter(|(_, found)| found.count > 0)
            .map(|(of, found)| {
                let place = format!("{}.{}", of.table, of.column);
                (place, found.count, found.keys.clone())
            })
            .collect()
    }

    fn not_looked(&self) -> Vec<Option<&'static str>> {
        let all = 0..self.placing.links.references.len();
        all.map(|number| self.placing.not_looked(number)).collect()
    }
}

fn rows<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    let named = |(table, rows): (&str, u64)| (table.to_owned(), rows);
    expected.into_iter().map(named).collect()
}

#[test]
fn a_tree_without_its_root_is_not_there_and_a_circle_is() {
    let nodes = [
        doc! { "_id": 3, "up": 2 },
        doc! { "_id": 2, "up": 1 },
        doc! { "_id": 1 },
        // Its root is nowhere, whichever way it comes.
        doc! { "_id": 12, "up": 11 },
        doc! { "_id": 11, "up": 10 },
        doc! { "_id": 13, "up": 12 },
        // Each the parent of the other, and one of itself.
        doc! { "_id": 21, "up": 22 },
        doc! { "_id": 22, "up": 21 },
        doc! { "_id": 31, "up": 31 },
    ];
    let leaves = [
        doc! { "_id": 1, "node": 3, "soft": 13, "links": [1, 11, 22, 99] },
        doc! { "_id": 2, "node": 13, "links": [1] },
    ];
    let trial = Trial::of(TREES, &[0, 1], 1_000);
    let trial = trial.read(0, &nodes, Extent::Whole);
    assert_eq!(trial.rows(), rows([("nodes", 6)]));
    let trial = trial.read(1, &leaves, Extent::Whole);
    assert_eq!(
        trial.rows(),
        rows([("nodes", 6), ("leaves", 1), ("links", 2)])
    );
    let one = |n: i32| format!("number:{n}");
    let mut orphans = trial.orphans();
    orphans[0].2.sort();
    assert_eq!(
        orphans,
        [
            ("nodes.up".to_owned(), 3, vec![one(11), one(12), one(13)]),
            ("leaves.node".to_owned(), 1, vec![one(2)]),
            ("leaves.soft".to_owned(), 1, vec![one(1)]),
            ("links.node".to_owned(), 2, vec![one(1), one(1)]),
        ]
    );
}

#[test]
fn a_value_is_the_first_ones_and_the_other_is_nobodys_parent() {
    let nodes = [
        doc! { "_id": 1, "mark": "a" },
        doc! { "_id": 2, "mark": "a" },
        doc! { "_id": 3, "mark": null },
        doc! { "_id": 4 },
        doc! { "_id": 5, "up": 99, "mark": "b" },
        doc! { "_id": 6, "mark": "b" },
    ];
    let leaves = [doc! { "_id": 1, "node": 2 }, doc! { "_id": 2, "node": 6 }];
    let trial = Trial::of(TREES, &[0, 1], 1_000);
    let trial = trial.read(0, &nodes[..4], Extent::Reading);
    let trial = trial.read(0, &nodes[4..], Extent::Whole);
    let trial = trial.read(1, &leaves, Extent::Whole);
    let taken: Vec<u64> = trial.placing.taken.iter().map(|t| t.count).collect();
    // 5 waits for its parent, and takes no value from 6.
    assert_eq!(taken, [1]);
    assert_eq!(trial.rows(), rows([("nodes", 4), ("leaves", 1)]));
}

#[test]
fn what_comes_late_finds_its_value_taken_and_is_nobodys_parent() {
    let nodes = [
        doc! { "_id": 1, "up": 2, "mark": "a" },
        doc! { "_id": 3, "up": 1 },
        doc! { "_id": 2, "mark": "a" },
    ];
    let trial = Trial::of(TREES, &[0], 1_000).read(0, &nodes, Extent::Whole);
    assert_eq!(trial.rows(), rows([("nodes", 1)]));
    assert_eq!(trial.placing.taken[0].keys, ["number:1"]);
    assert_eq!(trial.orphans()[0].2, ["number:3"]);
}

#[test]
fn a_child_row_whose_value_is_taken_waits_alone() {
    let mapping = "version: 1\ndatabase: d\ncollections:\n  c:\n    table: t\n    key: id\n    columns:\n      \
        id: { path: _id, type: bigint }\n    children:\n      - table: codes\n        from: codes\n        \
        key: [id, n]\n        unique: [[code]]\n        columns:\n          id: { parent: id }\n          \
        n: { position: true, type: integer }\n          code: { path: ., type: text }\n";
    let documents = [
        doc! { "_id": 1, "codes": ["a", "b", null] },
        doc! { "_id": 2, "codes": ["b", "c", null] },
    ];
    let trial = Trial::of(mapping, &[0], 1_000).read(0, &documents, Extent::Whole);
    assert_eq!(trial.rows(), rows([("t", 2), ("codes", 5)]));
    assert_eq!(trial.placing.taken[0].keys, ["number:2"]);
    assert_eq!(trial.placing.waiting[0].for_value, 1);
}

#[test]
fn nobody_looks_where_a_part_was_read_or_nothing() {
    let leaves = [doc! { "_id": 1, "node": 3, "links": [9] }];
    let (part, nothing) = (
        "a part of its collection was read",
        "its collection was not read",
    );
    let all = rows([("leaves", 1), ("links", 1)]);
    let trial = Trial::of(TREES, &[1], 1_000).read(1, &leaves, Extent::Whole);
    assert_eq!(trial.rows(), all);
    assert_eq!(trial.not_looked(), [Some(nothing); 4]);
    let trial = Trial::of(TREES, &[0, 1], 1_000).read(0, &[], Extent::Part);
    let trial = trial.read(1, &leaves, Extent::Whole);
    assert_eq!(trial.rows(), all);
    assert_eq!(trial.not_looked(), [Some(part); 4]);
    assert_eq!(trial.orphans(), []);
}

#[test]
fn what_is_given_up_is_said_and_every_row_counts() {
    let many = |up: bool| -> Vec<Document> {
        (0..100)
            .map(|n| match up {
                true => doc! { "_id": n, "up": n + 1 },
                false => doc! { "_id": n },
            })
            .collect()
    };
    let given_up = Some("given up: more keys than --keys-max");
    for up in [true, false] {
        let trial = Trial::of(TREES, &[0], 40).read(0, &many(up), Extent::Whole);
        assert_eq!(trial.rows(), rows([("nodes", 100)]), "{up}");
        assert_eq!(trial.not_looked(), [given_up; 4], "{up}");
        assert_eq!(trial.orphans(), [], "{up}");
    }
}

#[test]
fn a_natural_key_belongs_to_the_first_or_to_the_newest() {
    let mapping = |rule: &str| {
        format!(
            "version: 1\ndatabase: d\ncollections:\n  c:\n    table: t\n    key: [code]\n{rule}    \
             columns:\n      code: {{ type: text, required: true }}\n      v: {{ type: integer }}\n"
        )
    };
    let documents = [
        doc! { "_id": 1, "code": "a" },
        doc! { "_id": 2, "code": "a" },
        doc! { "_id": 3, "code": "b" },
    ];
    let first = Trial::of(&mapping(""), &[0], 1_000).read(0, &documents, Extent::Whole);
    assert_eq!(first.rows(), rows([("t", 2)]));
    assert_eq!(first.placing.taken[0].count, 1);
    let newest = mapping("    on_same_key: newest-wins\n");
    let newest = Trial::of(&newest, &[0], 1_000).read(0, &documents, Extent::Whole);
    assert_eq!(newest.rows(), rows([("t", 2)]));
    assert_eq!(newest.placing.taken[0].count, 0);
    assert_eq!(newest.placing.outdone, [1]);
    assert_ne!(hash(b"a"), hash(b"b"));
}
