//! Paths and the walk that looks for them.
//!
//! Paths of a table become one trie. The walk goes through the document's elements once, in their
//! order, and looks each name up among the children of the trie's node it stands on; what matches
//! is remembered by reference in a slot. Elements that no path names are stepped over by their length
//! alone. Where a name occurs twice, the first one counts, as for MongoDB's own queries. Fields
//! mostly come in the same order in every document, so the look-up begins behind the last match.

use crate::transform::{bad::Bad, bson_type::is_null};
use bson::{RawBsonRef, RawDocument, spec::ElementType};
use leafcutter_schemas::mapping::Path;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

#[derive(Debug, Default)]
pub(super) struct Trie {
    pub(super) nodes: Vec<(Box<str>, Node)>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) slots: Vec<usize>,
    pub(super) conditions: Vec<usize>,
    pub(super) arrays: Vec<usize>,
    pub(super) below: Trie,
}

impl Trie {
    pub(super) fn node(&mut self, path: &Path) -> Option<&mut Node> {
        let mut steps = path.steps().iter();
        let first = steps.next()?;
        let mut node = self.child(first);
        for step in steps {
            node = node.below.child(step);
        }
        Some(node)
    }

    fn child(&mut self, name: &str) -> &mut Node {
        let position = self
            .nodes
            .iter()
            .position(|(n, _)| &**n == name)
            .unwrap_or_else(|| {
                self.nodes.push((name.into(), Node::default()));
                self.nodes.len() - 1
            });
        &mut self.nodes[position].1
    }
}

/// What one walk found, by reference.
pub(super) struct Found<'a> {
    pub(super) source: RawBsonRef<'a>,
    pub(super) slots: Vec<Option<RawBsonRef<'a>>>,
    pub(super) conditions: Vec<Option<RawBsonRef<'a>>>,
    pub(super) arrays: Vec<Option<RawBsonRef<'a>>>,
    /// The sum of the hashes of fields that no path names; 0 where there were none.
    pub(super) unmapped: u64,
}

/// Goes through elements and puts what the trie names into the slots.
pub(super) fn walk<'a>(
    elements: bson::raw::RawIter<'a>,
    trie: &Trie,
    found: &mut Found<'a>,
) -> Result<(), Bad> {
    walk_named(elements, trie, found, true)
}

/// `named` says whether the names are a person's, and not positions in an array.
fn walk_named<'a>(
    elements: bson::raw::RawIter<'a>,
    trie: &Trie,
    found: &mut Found<'a>,
    named: bool,
) -> Result<(), Bad> {
    let mut next = 0;
    for element in elements {
        let element = element.map_err(|_| Bad::Malformed)?;
        let name = element.key().as_str();
        let (behind, before) = trie.nodes.split_at(next.min(trie.nodes.len()));
        let hit = before
            .iter()
            .position(|(n, _)| &**n == name)
            .map(|p| p + next);
        let hit = hit.or_else(|| behind.iter().position(|(n, _)| &**n == name));
        let Some(position) = hit else {
            if named {
                found.unmapped =
                    found
                        .unmapped
                        .wrapping_add(hash(trie, name, element.element_type()));
            }
            continue;
        };
        next = position + 1;
        let node = &trie.nodes[position].1;
        let value = element.value().map_err(|_| Bad::Malformed)?;
        for &slot in &node.slots {
            found.slots[slot].get_or_insert(value);
        }
        for &condition in &node.conditions {
            found.conditions[condition].get_or_insert(value);
        }
        for &array in &node.arrays {
            found.arrays[array].get_or_insert(value);
        }
        if !node.below.nodes.is_empty() {
            match value {
                RawBsonRef::Document(inner) => walk(inner.iter_elements(), &node.below, found)?,
                // An array's elements have their positions as names: `items.0.sku`.
                RawBsonRef::Array(inner) => {
                    let inner = RawDocument::from_bytes(inner.as_bytes());
                    let inner = inner.map_err(|_| Bad::Malformed)?;
                    walk_named(inner.iter_elements(), &node.below, found, false)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The hash of a field that no path names below this node of a plan: its name and type.
fn hash(trie: &Trie, name: &str, element_type: ElementType) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::ptr::from_ref(trie).addr().hash(&mut hasher);
    name.hash(&mut hasher);
    (element_type as u8).hash(&mut hasher);
    hasher.finish()
}

impl Found<'_> {
    /// The first of the slots that has a value, else the first with a null.
    pub(super) fn first(&self, slots: &[usize]) -> Option<usize> {
        let there = |slot: &&usize| self.slots[**slot].is_some();
        let valued = |slot: &&usize| self.slots[**slot].is_some_and(|v| !is_null(&v));
        let mut all = slots.iter();
        let found = all.clone().find(valued).or_else(|| all.find(there));
        found.copied()
    }
}
