//! A table: its columns, its keys, and which documents or elements are its rows.

use super::{Column, ColumnSource, Path, PgType, Policies, TableName, Values, condition::Filter};

/// One target table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Its columns, in the order of the file; `lc_version` is not among them.
    pub columns: Vec<Column>,
    /// The primary key: positions in `columns`. Never empty.
    pub key: Vec<usize>,
    /// What becomes of documents of which each wants to be the row of the same key; where the key
    /// follows from `_id`, no two ever do.
    pub same_key: SameKey,
    /// Further unique keys: positions in `columns`, one list per constraint.
    pub unique: Vec<Vec<usize>>,
    /// Indexes beside the keys: positions in `columns`. A reference always has one.
    pub indexes: Vec<Vec<usize>>,
    /// Where its rows come from; [`RowSource::Document`] for a root table only.
    pub rows: RowSource,
    /// Which documents or elements have a row.
    pub filter: Filter,
    /// For a root table whose rows stay when their documents are deleted: the column that says when,
    /// a position in `columns`.
    pub soft_delete: Option<usize>,
    /// A column that PostgreSQL fills, and Leafcutter never touches; not among `columns`.
    pub identity: Option<Identity>,
    /// The tables filled from arrays inside this table's document or element.
    pub children: Vec<Table>,
}

impl Table {
    /// The position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Whether a root table's column follows from the document's `_id` alone. A key of other columns
    /// could not be told from a delete, and a document whose key changes would leave its old row
    /// behind.
    pub fn follows_from_id(&self, position: usize) -> bool {
        let of_id = |path: &Path| path.steps().first().is_some_and(|step| step == "_id");
        match &self.columns[position].source {
            ColumnSource::Path(path) => of_id(path),
            ColumnSource::FirstOf(paths) => paths.iter().all(of_id),
            ColumnSource::Expression { of_id, .. } => *of_id,
            ColumnSource::Constant(_) => true,
            ColumnSource::Derived(of) => of.iter().all(|&column| self.follows_from_id(column)),
            ColumnSource::Parent(_)
            | ColumnSource::Position
            | ColumnSource::MapKey
            | ColumnSource::Set
            | ColumnSource::Deleted
            | ColumnSource::Rest => false,
        }
    }

    /// Whether a root table's key is told by the document and not by its `_id` alone: which row is a
    /// document's has to be remembered then.
    pub fn has_natural_key(&self) -> bool {
        let follows = |&position: &usize| self.follows_from_id(position);
        self.rows == RowSource::Document && !self.key.iter().all(follows)
    }

    /// Whether two documents of different `_id`s may have one row key, although it follows from `_id`: the
    /// text of an ObjectId and that text, a UUID in two spellings, a time cut to its day. Whose a row is
    /// stands in the row then.
    pub fn documents_may_share_key(&self) -> bool {
        let apart = |&position: &usize| self.tells_ids_apart(position);
        self.rows == RowSource::Document && !self.has_natural_key() && !self.key.iter().any(apart)
    }

    /// Whether a column that follows from `_id` has another value for each `_id`.
    fn tells_ids_apart(&self, position: usize) -> bool {
        let column = &self.columns[position];
        match &column.source {
            ColumnSource::Derived(of) => of.iter().any(|&column| self.tells_ids_apart(column)),
            ColumnSource::Path(path) => {
                path.steps().len() == 1
                    && path.steps().iter().all(|step| step == "_id")
                    && !matches!(column.values, Some(Values::Mapped(_)))
                    && column.invalid == Policies::default()
                    && column.conversion.tells_apart(column.pg_type)
            }
            ColumnSource::FirstOf(_)
            | ColumnSource::Expression { .. }
            | ColumnSource::Constant(_)
            | ColumnSource::Parent(_)
            | ColumnSource::Position
            | ColumnSource::MapKey
            | ColumnSource::Set
            | ColumnSource::Deleted
            | ColumnSource::Rest => false,
        }
    }

    /// The column of its key that is generated where a document has no value.
    pub fn generated_key(&self) -> Option<usize> {
        let generated = |&position: &usize| self.columns[position].generated.is_some();
        self.key.iter().copied().find(generated)
    }

    /// This table and all below it, parents first.
    pub fn with_descendants(&self) -> Vec<&Table> {
        let mut all = vec![self];
        for child in &self.children {
            all.extend(child.with_descendants());
        }
        all
    }
}

/// A column that numbers the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its type: a whole number.
    pub pg_type: PgType,
    /// The first number.
    pub start: i64,
}

/// What becomes of several documents with one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SameKey {
    /// The one that has the row keeps it; the others wait until it is free.
    #[default]
    FirstStays,
    /// The newest of them is the row, and the next one after it.
    NewestWins {
        /// The column whose value says how new a document is, before its version does.
        by: Option<usize>,
    },
}

/// Where a table's rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowSource {
    /// One row per document.
    Document,
    /// One row per element of these arrays and per field of these maps. Never empty.
    Elements(Vec<Elements>),
}

/// An array, or a document with free keys, whose elements become rows of a child table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elements {
    /// Where it is, relative to the parent's document or element; itself the parent's element where
    /// [`Path::is_self`].
    pub path: Path,
    /// It is a document, and its fields are the elements.
    pub map: bool,
    /// The constants that its rows have in columns with [`ColumnSource::Set`], by position.
    pub set: Vec<(usize, String)>,
}
