//! What was seen of a collection: for each path, which types and how often, and what a column has to know
//! of the values.
//!
//! It takes documents one by one and keeps figures, never documents, so its size does not grow with the
//! collection. It is bounded by [`PATHS_MAX`], [`FIELDS_MAX`] and [`DEPTH_MAX`]; what lies beyond a bound
//! is counted where it was left out, and the mapping keeps it as JSON.

mod facts;
mod json;

pub use facts::{Binaries, Dates, Numbers, Samples, Texts};

use super::kind::Kind;
use bson::{RawBsonRef, RawDocument, raw::RawArray};
use std::collections::BTreeMap;

/// Paths of a collection: more are no table that a person would read.
const PATHS_MAX: usize = 4_000;
/// Names of fields in one object: with more it is a map with free keys.
pub const FIELDS_MAX: usize = 300;
/// Levels of nesting that are looked into.
const DEPTH_MAX: usize = 24;

/// What was seen of a collection.
#[derive(Debug, Default)]
pub struct Profile {
    /// Documents seen.
    pub documents: u64,
    /// Documents, or parts of them, that are not readable as BSON, such as text that is not UTF-8.
    pub unreadable: u64,
    /// The whole document.
    pub root: Node,
    /// Bytes of the largest document.
    pub largest: usize,
    /// Bytes of all documents.
    pub bytes: u64,
    paths: usize,
}

/// What was seen at one path.
#[derive(Debug, Default)]
pub struct Node {
    /// Values of each type.
    pub kinds: [u64; Kind::COUNT],
    /// Of its numbers.
    pub numbers: Numbers,
    /// Of its texts.
    pub texts: Texts,
    /// Of its dates.
    pub dates: Dates,
    /// Of its bytes.
    pub binaries: Binaries,
    /// Some of the values.
    pub samples: Samples,
    /// Of its objects.
    pub fields: Fields,
    /// Of its arrays' elements.
    pub elements: Option<Box<Node>>,
    /// Elements of the longest array.
    pub longest: usize,
    /// Objects or arrays that were not looked into, since a bound was reached.
    pub deeper: u64,
}

/// The fields of the objects at one path.
#[derive(Debug, Default)]
pub struct Fields {
    /// By name.
    pub by_name: BTreeMap<String, Node>,
    /// The names in the order in which they came.
    pub order: Vec<String>,
    /// Fields that were not looked at, since a bound was reached.
    pub more: u64,
}

impl Profile {
    /// Takes a document in.
    pub fn see(&mut self, document: &RawDocument) {
        self.documents += 1;
        let size = document.as_bytes().len();
        self.largest = self.largest.max(size);
        self.bytes += u64::try_from(size).unwrap_or_default();
        let mut walk = Walk {
            paths: &mut self.paths,
            unreadable: 0,
        };
        walk.value(&mut self.root, RawBsonRef::Document(document), 0);
        self.unreadable += u64::from(walk.unreadable > 0);
    }

    /// How many paths were seen.
    pub fn paths(&self) -> usize {
        self.paths
    }
}

impl Node {
    /// Values of this type.
    pub fn count(&self, kind: Kind) -> u64 {
        Kind::ALL
            .iter()
            .zip(self.kinds)
            .find_map(|(of, count)| (*of == kind).then_some(count))
            .unwrap_or_default()
    }

    /// How often there was anything, null included.
    pub fn seen(&self) -> u64 {
        self.kinds.iter().sum()
    }

    /// How often there was anything but null.
    pub fn valued(&self) -> u64 {
        self.seen() - self.count(Kind::Null)
    }

    /// The types that were seen, null left out.
    pub fn types(&self) -> Vec<Kind> {
        let seen = |kind: &Kind| *kind != Kind::Null && self.count(*kind) > 0;
        Kind::ALL.into_iter().filter(seen).collect()
    }
}

/// One document on its way through the tree.
struct Walk<'p> {
    paths: &'p mut usize,
    unreadable: u64,
}

impl Walk<'_> {
    fn value(&mut self, node: &mut Node, value: RawBsonRef<'_>, depth: usize) {
        let kind = Kind::of(value);
        for (of, count) in Kind::ALL.iter().zip(&mut node.kinds) {
            *count += u64::from(*of == kind);
        }
        match value {
            RawBsonRef::Document(_) | RawBsonRef::Array(_) if depth >= DEPTH_MAX => {
                node.deeper += 1;
            }
            RawBsonRef::Document(object) => self.object(node, object, depth),
            RawBsonRef::Array(array) => self.array(node, array, depth),
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => node.texts.see(text),
            RawBsonRef::DateTime(date) => node.dates.see(date.timestamp_millis()),
            RawBsonRef::Binary(binary) => node.binaries.see(binary.subtype, binary.bytes),
            other if kind.is_number() => node.numbers.see(other),
            _ => {}
        }
        node.samples.see(value);
    }

    fn object(&mut self, node: &mut Node, object: &RawDocument, depth: usize) {
        for element in object.iter_elements() {
            let Ok(element) = element else {
                self.unreadable += 1;
                return;
            };
            let Ok(value) = element.value() else {
                self.unreadable += 1;
                continue;
            };
            let name = element.key().as_str();
            if let Some(below) = self.field(&mut node.fields, name) {
                self.value(below, value, depth + 1);
            }
        }
    }

    /// The place of a field, made if there is room.
    fn field<'n>(&mut self, fields: &'n mut Fields, name: &str) -> Option<&'n mut Node> {
        if !fields.by_name.contains_key(name) {
            if fields.order.len() >= FIELDS_MAX || *self.paths >= PATHS_MAX {
                fields.more += 1;
                return None;
            }
            *self.paths += 1;
            fields.order.push(name.to_owned());
            fields.by_name.insert(name.to_owned(), Node::default());
        }
        fields.by_name.get_mut(name)
    }

    fn array(&mut self, node: &mut Node, array: &RawArray, depth: usize) {
        let elements = node.elements.get_or_insert_default();
        let mut length = 0;
        for element in array {
            length += 1;
            match element {
                Ok(element) => self.value(elements, element, depth + 1),
                Err(_) => self.unreadable += 1,
            }
        }
        node.longest = node.longest.max(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{RawDocumentBuf, doc};

    fn profile(documents: &[bson::Document]) -> Profile {
        let mut profile = Profile::default();
        for document in documents {
            profile.see(&RawDocumentBuf::try_from(document).unwrap());
        }
        profile
    }

    #[test]
    fn types_nulls_and_elements_are_counted_by_path() {
        let seen = profile(&[
            doc! { "_id": 1, "a": { "b": ["x", 7, null] } },
            doc! { "_id": 2i64, "a": null },
        ]);
        let a = &seen.root.fields.by_name["a"];
        assert_eq!((a.seen(), a.valued()), (2, 1));
        let elements = a.fields.by_name["b"].elements.as_ref().unwrap();
        assert_eq!(elements.types(), [Kind::Text, Kind::Int]);
        assert_eq!(elements.count(Kind::Null), 1);
        let id = &seen.root.fields.by_name["_id"];
        assert_eq!(id.types(), [Kind::Int, Kind::Long]);
    }

    #[test]
    fn free_keys_and_depth_do_not_make_it_grow() {
        let mut deep = doc! { "end": 1 };
        for _ in 0..80 {
            deep = doc! { "in": deep };
        }
        let mut wide = bson::Document::new();
        for n in 0..20_000 {
            wide.insert(format!("k{n}"), n);
        }
        let seen = profile(&[doc! { "_id": 1, "deep": deep, "wide": wide }]);
        assert!(seen.paths() < 400, "{}", seen.paths());
        let wide = &seen.root.fields.by_name["wide"].fields;
        assert_eq!(wide.order.len(), FIELDS_MAX);
        assert_eq!(wide.more, 20_000 - 300);
    }
}
