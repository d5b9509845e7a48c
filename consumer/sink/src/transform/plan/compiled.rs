//! What a mapping is compiled to: for each table, where the value of each column comes from and what
//! it becomes.

use super::trie::Trie;
use crate::{
    ids::TableId,
    transform::{expression, extjson::Form, filter::Filter, target::Target},
};
use leafcutter_schemas::mapping::Table;
use std::sync::Arc;
use uuid::Uuid;

/// The plan of one collection.
#[derive(Debug)]
pub struct Plan {
    /// Its tables: each root, and behind it each child table after its parent.
    pub tables: Vec<TablePlan>,
    /// The positions of the roots.
    pub(super) roots: Vec<usize>,
    pub(super) namespace: Uuid,
}

/// The plan of one table.
#[derive(Debug)]
pub struct TablePlan {
    /// The table.
    pub table: Arc<Table>,
    /// Its place in the order of writing.
    pub id: TableId,
    /// The position in [`Plan::tables`] of the table above.
    pub parent: Option<usize>,
    /// What the value of each column becomes.
    pub(super) targets: Vec<Target>,
    /// Where the value of each column comes from.
    pub(super) fills: Vec<Fill>,
    /// Constants and defaults, encoded, per column.
    pub(super) encoded: Vec<Option<Vec<u8>>>,
    /// How many values a walk may find: one for each column, and further ones for further paths.
    pub(super) slots: usize,
    /// Where in the document or element they are.
    pub(super) trie: Trie,
    /// Slots whose path is the element itself.
    pub(super) whole: Vec<usize>,
    /// Which documents or elements have a row.
    pub(super) filter: Filter,
    /// Conditions on the element itself: positions in the filter.
    pub(super) whole_conditions: Vec<usize>,
    /// Arrays and maps below, in the order of their slots.
    pub(super) arrays: Vec<Below>,
    /// Arrays below that are the element itself: their slots.
    pub(super) whole_arrays: Vec<usize>,
    /// Per source of its rows, the constants that it sets, encoded, by column.
    pub(super) sets: Vec<Vec<(usize, Vec<u8>)>>,
    /// Whether two elements of a document may have one key.
    pub(super) may_repeat: bool,
}

/// Where the value of a column comes from.
#[derive(Debug)]
pub(super) enum Fill {
    /// The slot of the column itself.
    Own,
    /// The first of these slots that has a value.
    First(Vec<usize>),
    /// A column of the parent's row.
    Parent(usize),
    Position,
    Constant,
    /// The name in a map.
    MapKey,
    /// What the element's source sets.
    Set,
    /// Made of these columns.
    Derived(Vec<usize>),
    Null,
    /// What no other column and no child table takes.
    Rest(Form),
    /// What an expression gives.
    Expression(Box<expression::Program>),
}

/// An array or a map whose elements become rows of a table below.
#[derive(Debug)]
pub(super) struct Below {
    /// The table's position in [`Plan::tables`].
    pub(super) table: usize,
    /// Which of the table's sources it is.
    pub(super) source: usize,
    pub(super) map: bool,
}

impl Plan {
    /// The tables that get one row per document.
    pub fn roots(&self) -> impl ExactSizeIterator<Item = &TablePlan> {
        self.roots.iter().map(|&root| &self.tables[root])
    }
}

impl TablePlan {
    /// The position of this table's key columns.
    pub fn key(&self) -> &[usize] {
        &self.table.key
    }
}
