//! What has to be in PostgreSQL: rows, and dead letters for what cannot be rows.

use super::{numbers::Numbers, source::id};
use bson::{Bson, Document};
use leafcutter_finlit::expected::{self, cell::Cell, key, tables::Column};
use std::collections::{BTreeMap, BTreeSet};

/// A row, by its columns.
#[derive(Debug, Clone, Default)]
pub struct Row(pub BTreeMap<&'static str, Cell>);

impl Row {
    /// The row of a document, or of an element.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of(columns: &'static [Column], source: &Bson) -> Result<Self, &'static str> {
        let mut row = Self::default();
        for column in columns {
            row.0.insert(column.name, expected::cell(column, source)?);
        }
        Ok(row)
    }

    /// The same with one more column.
    #[must_use]
    pub fn with(mut self, column: &'static str, cell: Cell) -> Self {
        self.0.insert(column, cell);
        self
    }

    /// The value of a column.
    pub fn get(&self, column: &str) -> &Cell {
        self.0.get(column).unwrap_or(&Cell::Null)
    }
}

/// A document that cannot be rows: its collection, its canonical `_id`, and why.
pub type DeadLetter = (String, String, String);

/// All that has to be there.
#[derive(Debug, Default)]
pub struct Expected {
    /// By table. No table has to be empty: a test of an empty table tests nothing.
    pub tables: BTreeMap<&'static str, Vec<Row>>,
    /// Open dead letters.
    pub dead_letters: BTreeSet<DeadLetter>,
    /// Documents that lack a parent, or have a child row that lacks one: either they have never
    /// been placed, and there is a dead letter, or they are listed as lost.
    pub orphans: BTreeSet<DeadLetter>,
    /// Columns whose numbers PostgreSQL gives.
    pub numbers: Vec<Numbers>,
}

impl Expected {
    /// A row has to be there.
    pub fn place(&mut self, table: &'static str, row: Row) {
        self.tables.entry(table).or_default().push(row);
    }

    /// A document, or its row for it, has to be in the dead letters.
    pub fn dead_letter(&mut self, collection: &str, document: &Document, reason: &str) {
        self.dead_letters
            .insert(dead_letter(collection, document, reason));
    }

    /// A document, or one of its child rows, lacks its parent.
    pub fn orphan(&mut self, collection: &str, document: &Document) {
        self.orphans
            .insert(dead_letter(collection, document, "orphan"));
    }

    /// The row that has this value in that column.
    pub fn find(&self, table: &str, column: &str, cell: &Cell) -> Option<&Row> {
        let mut rows = self.tables.get(table).into_iter().flatten();
        rows.find(|row| row.get(column) == cell)
    }

    /// Whether a reference finds its parent: it does if it is null.
    pub fn finds(&self, reference: &Cell, table: &str, key: &str) -> bool {
        *reference == Cell::Null || self.find(table, key, reference).is_some()
    }

    /// A row has to be there if these references, each with the parent's table and key, find their
    /// parents. Whether they do.
    pub fn place_child(
        &mut self,
        (collection, document): (&str, &Document),
        table: &'static str,
        row: Row,
        references: &[(&str, &str, &str)],
    ) -> bool {
        let found = references
            .iter()
            .all(|(column, parent, key)| self.finds(row.get(column), parent, key));
        if found {
            self.place(table, row);
        } else {
            self.orphan(collection, document);
        }
        found
    }
}

fn dead_letter(collection: &str, document: &Document, reason: &str) -> DeadLetter {
    let name = key::canonical(&id(document));
    (collection.to_owned(), name, reason.to_owned())
}
