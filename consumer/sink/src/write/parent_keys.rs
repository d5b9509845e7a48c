//! The keys of parents that were looked up in one transaction.

use crate::{
    ids::{ReferenceId, RowIndex},
    transform::Rows,
};
use std::collections::BTreeMap;

/// What was looked up.
#[derive(Debug, Default)]
pub(crate) struct ParentKeys {
    /// The document that a field names, by row and column.
    named: BTreeMap<(RowIndex, usize), Vec<u8>>,
    /// The rows that lack a parent's key, and the first such reference.
    missing: BTreeMap<RowIndex, ReferenceId>,
}

impl ParentKeys {
    /// What a row waits for where this reference has no parent: the key of the document that was looked
    /// for, or the field itself.
    pub(crate) fn wanted<'a>(
        &'a self,
        rows: &'a Rows,
        row: RowIndex,
        column: usize,
    ) -> Option<&'a [u8]> {
        let named = self.named.get(&(row, column)).map(Vec::as_slice);
        named.or_else(|| rows.field(row, column))
    }

    /// The reference whose parent has no key yet, of a row that was looked up.
    pub(crate) fn missing(&self, row: RowIndex) -> Option<ReferenceId> {
        self.missing.get(&row).copied()
    }

    /// A row is looked up again.
    pub(crate) fn forget_missing(&mut self, row: RowIndex) {
        self.missing.remove(&row);
    }

    /// A row's parent has no key yet.
    pub(crate) fn set_missing(&mut self, row: RowIndex, reference: ReferenceId) {
        self.missing.entry(row).or_insert(reference);
    }

    /// The field of this row and column named this document.
    pub(crate) fn set_named(&mut self, row: RowIndex, column: usize, document: Vec<u8>) {
        self.named.insert((row, column), document);
    }
}
