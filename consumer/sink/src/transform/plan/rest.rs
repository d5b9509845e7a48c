//! `rest: true`: what of a document no other column and no child table takes, as JSON.
//!
//! It follows the trie of what is taken and leaves that out, piece by piece. An object that becomes
//! empty by this is left out as well; a list keeps its length, with null in place of what is taken.
//! What is not the first of its name is taken by no column.

use super::trie::{Node, Trie};
use crate::transform::{
    bad::Bad,
    extjson::{self, Fields, Form},
};
use bson::{RawBsonRef, RawDocument, raw::RawArray};

/// What is taken, and how the rest is to be written.
#[derive(Clone, Copy)]
pub(super) struct Rest<'p> {
    pub(super) form: Form,
    /// Slots that were not used after all: paths after the first one that had a value.
    pub(super) spare: &'p [usize],
}

impl Rest<'_> {
    /// Appends what the trie does not take.
    pub(super) fn write(
        self,
        out: &mut Vec<u8>,
        document: &RawDocument,
        taken: &Trie,
    ) -> Result<(), Bad> {
        self.object(out, document, taken, 1)?;
        Ok(())
    }

    fn takes(self, node: &Node) -> bool {
        let used = |slot: &usize| !self.spare.contains(slot);
        !node.arrays.is_empty() || node.slots.iter().any(used)
    }

    /// Gives whether everything in it was taken.
    fn object(
        self,
        out: &mut Vec<u8>,
        document: &RawDocument,
        taken: &Trie,
        depth: usize,
    ) -> Result<bool, Bad> {
        let mut fields = Fields::open(out, self.form, depth)?;
        let mut seen = vec![false; taken.nodes.len()];
        let (mut left, mut any) = (false, false);
        for element in document {
            let (name, value) = element.map_err(|_| Bad::Malformed)?;
            any = true;
            let position = taken.nodes.iter().position(|(n, _)| **n == *name.as_str());
            let first = position.filter(|&p| !std::mem::replace(&mut seen[p], true));
            let node = first.map(|p| &taken.nodes[p].1);
            if node.is_some_and(|node| self.takes(node)) {
                continue;
            }
            let mark = (out.len(), fields.mark());
            fields.name(out, name.as_str())?;
            if self.value(out, value, node, depth)? {
                out.truncate(mark.0);
                fields.back(mark.1);
            } else {
                left = true;
            }
        }
        fields.close(out)?;
        Ok(any && !left)
    }

    /// Gives whether everything in it was taken.
    fn value(
        self,
        out: &mut Vec<u8>,
        value: RawBsonRef<'_>,
        node: Option<&Node>,
        depth: usize,
    ) -> Result<bool, Bad> {
        match (value, node) {
            (RawBsonRef::Document(inner), Some(node)) if !node.below.nodes.is_empty() => {
                self.object(out, inner, &node.below, depth + 1)
            }
            (RawBsonRef::Array(inner), Some(node)) if !node.below.nodes.is_empty() => {
                self.list(out, inner, &node.below, depth + 1)?;
                Ok(false)
            }
            (value, _) => {
                extjson::write_at(out, value, self.form, depth)?;
                Ok(false)
            }
        }
    }

    /// Appends what of an array the trie does not take.
    pub(super) fn list(
        self,
        out: &mut Vec<u8>,
        array: &RawArray,
        taken: &Trie,
        depth: usize,
    ) -> Result<(), Bad> {
        out.push(b'[');
        for (index, item) in array.into_iter().enumerate() {
            let item = item.map_err(|_| Bad::Malformed)?;
            if index > 0 {
                out.push(b',');
            }
            let name = index.to_string();
            let node = taken
                .nodes
                .iter()
                .find(|(n, _)| **n == *name)
                .map(|(_, node)| node);
            let mark = out.len();
            if node.is_some_and(|node| self.takes(node)) || self.value(out, item, node, depth)? {
                out.truncate(mark);
                out.extend_from_slice(b"null");
            }
        }
        out.push(b']');
        Ok(())
    }
}
