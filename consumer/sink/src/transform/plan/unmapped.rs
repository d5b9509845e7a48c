//! Fields of documents that no column takes.
//!
//! The walk steps over what no path of its table names. It sums up hashes of those names and their types, which
//! costs a document nothing whose fields are all named; the sum tells kinds of documents apart. What is not
//! named is looked at once for each kind in a batch, and counted after that. Fields that another table takes
//! of the same document or element are found out behind the batch ([`super::Plan::unmapped_path`]), not on
//! the way of every document.

use super::trie::Trie;
use crate::{ids::TableId, transform::bson_type::type_name};
use bson::{RawBsonRef, RawDocument};
use std::collections::HashMap;

/// Kinds of documents of a batch. A collection whose fields have ever new names has no end of them.
const KINDS_MAX: usize = 256;
/// Fields of a kind.
const FIELDS_MAX: usize = 64;

/// What tables did not take of the documents and elements of a batch.
#[derive(Debug, Default)]
pub struct Unmapped {
    kinds: HashMap<Kind, UnmappedFields>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    table: TableId,
    source: usize,
    sum: u64,
}

/// The fields that a table did not take of documents or elements of one kind.
#[derive(Debug)]
pub struct UnmappedFields {
    /// The table.
    pub table: TableId,
    /// Which of the table's sources the elements come from; 0 for documents.
    pub source: usize,
    /// How many there were.
    pub count: u64,
    /// The fields: names from the document or element down, and the BSON type that was seen.
    pub fields: Vec<(Vec<String>, &'static str)>,
}

impl Unmapped {
    /// Counts a document or an element of which a table did not take the fields whose hashes are summed up
    /// in `sum`.
    pub(super) fn note(
        &mut self,
        (table, source): (TableId, usize),
        trie: &Trie,
        sum: u64,
        document: RawBsonRef<'_>,
    ) {
        let kind = Kind { table, source, sum };
        if let Some(known) = self.kinds.get_mut(&kind) {
            known.count += 1;
        } else if self.kinds.len() < KINDS_MAX {
            let mut fields = Vec::new();
            if let RawBsonRef::Document(document) = document {
                collect(document, trie, &mut Vec::new(), &mut fields);
            }
            let unmapped = UnmappedFields {
                table,
                source,
                count: 1,
                fields,
            };
            self.kinds.insert(kind, unmapped);
        }
    }

    /// What was noted.
    pub fn into_kinds(self) -> impl Iterator<Item = UnmappedFields> {
        self.kinds.into_values()
    }
}

/// Collects what the walk steps over.
fn collect(
    document: &RawDocument,
    trie: &Trie,
    above: &mut Vec<String>,
    fields: &mut Vec<(Vec<String>, &'static str)>,
) {
    for element in document.iter_elements().map_while(Result::ok) {
        let Ok(value) = element.value() else { return };
        let name = element.key().as_str();
        let node = trie.nodes.iter().find(|(known, _)| **known == *name);
        above.push(name.to_owned());
        match (node, value) {
            (None, value) => {
                if fields.len() < FIELDS_MAX {
                    fields.push((above.clone(), type_name(&value)));
                }
            }
            (Some((_, node)), RawBsonRef::Document(inner)) if !node.below.nodes.is_empty() => {
                collect(inner, &node.below, above, fields);
            }
            (Some((_, node)), RawBsonRef::Array(inner)) => {
                for (name, node) in &node.below.nodes {
                    let item = name.parse().ok().and_then(|at: usize| inner.get(at).ok()?);
                    if let Some(RawBsonRef::Document(item)) = item {
                        above.push(name.to_string());
                        collect(item, &node.below, above, fields);
                        above.pop();
                    }
                }
            }
            (Some(_), _) => {}
        }
        above.pop();
    }
}
