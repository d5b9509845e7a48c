//! The mapping: how a document becomes rows.
//!
//! A mapping file is parsed into nodes that remember their lines ([`parse`]), judged as a whole
//! with every fault reported at once ([`check`]), and ordered by its references ([`tier`]). What
//! comes out is a [`Mapping`], in which every name, type and reference is known to be sound;
//! nothing after this module judges a mapping again.

pub mod pg_type;
pub mod path;
pub mod condition;
mod fault;
mod raw;
pub mod parse;
pub mod check;
pub mod tier;
pub mod schema;

pub use fault::{MappingFault, MappingFaults};
pub use path::Path;
pub use pg_type::{Element, PgType};

use std::collections::BTreeMap;
use uuid::Uuid;

/// A checked mapping file.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The namespace of UUIDs made from document keys.
    pub uuid_namespace: Uuid,
    /// Its collections, in the order of the file.
    pub collections: Vec<Collection>,
    /// A short hash of the file's bytes (16 hex digits), which names this mapping in state, logs
    /// and dead letters.
    pub hash: String,
    /// The file as it was read.
    pub body: String,
}

/// One collection and the tables its documents go to.
#[derive(Debug, Clone)]
pub struct Collection {
    /// The database it is in.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Where it stands in the file: line and column, from 1.
    pub at: (usize, usize),
    /// Where its documents say when they were last written, for a source that has no change stream:
    /// the newest of these dates counts. None: it cannot be polled.
    pub poll_by: Vec<Path>,
    /// The tables that get one row per document, or none where their filter leaves it out; their
    /// children follow inside. Never empty.
    pub tables: Vec<Table>,
}

impl Collection {
    /// Its tables and all below them, parents first.
    pub fn with_descendants(&self) -> Vec<&Table> {
        self.tables
            .iter()
            .flat_map(Table::with_descendants)
            .collect()
    }
}

/// A table's name, with its schema where the mapping gives one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema; `public` unless the mapping says otherwise.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl std::fmt::Display for TableName {
    /// As people write it: without the schema where it is `public`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.schema == "public" {
            f.write_str(&self.name)
        } else {
            write!(f, "{}.{}", self.schema, self.name)
        }
    }
}

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
    pub filter: condition::Filter,
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

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub pg_type: PgType,
    /// Where its value comes from.
    pub source: ColumnSource,
    /// How a BSON value becomes a value of the column's type.
    pub conversion: Conversion,
    /// `not null`: a missing or null value sends the document to the dead letters.
    pub required: bool,
    /// The text of a constant in the column's type, used where the path is missing in the
    /// document (an explicit null stays null), and as the column's default in DDL.
    pub default: Option<String>,
    /// The values it may have, where the mapping says so.
    pub values: Option<Values>,
    /// What becomes of values that the column cannot hold.
    pub invalid: Policies,
    /// The table it points to.
    pub reference: Option<Reference>,
    /// A key of which documents without a value get a number, from this one on.
    pub generated: Option<i64>,
}

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// A path in the document, or in the element for a child table; [`Path::is_self`] is the
    /// element itself.
    Path(Path),
    /// The same value as a column of the parent table (its position there).
    Parent(usize),
    /// The element's position in its array, from 0.
    Position,
    /// The name of the element's field in its map.
    MapKey,
    /// The constant that the element's source sets.
    Set,
    /// The deterministic UUID of these columns' values (see [`crate::key::uuid_of_texts`]). They
    /// stand before this one and are never null.
    Derived(Vec<usize>),
    /// When the row's document was deleted; null while it exists.
    Deleted,
    /// Always the same: the text of a constant in the column's type.
    Constant(String),
    /// The first of several paths at which there is a value; with no value, a null at any of them
    /// is one.
    FirstOf(Vec<Path>),
    /// Everything of the document or element that no other column and no child table takes.
    Rest,
    /// What a CEL expression gives (see [`crate::expression`]).
    Expression {
        /// The expression.
        text: String,
        /// It names nothing but the `_id`.
        of_id: bool,
    },
}

impl ColumnSource {
    /// Whether the value is BSON of the document, or made of it, so that it is converted, may be
    /// missing, and may be wrong.
    pub fn is_converted(&self) -> bool {
        matches!(
            self,
            Self::Path(_) | Self::FirstOf(_) | Self::Expression { .. }
        )
    }
}

/// How a BSON value becomes a value of the column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// What the column's type accepts without loss of meaning; anything else is of the wrong type.
    /// Text: strings and symbols. Integers: int, long, and doubles and decimals without a fraction.
    /// Floats and numeric: all numbers. Boolean, bytea (binary, and the 12 bytes of an ObjectId),
    /// uuid (BSON UUID, subtype 4, and text that is one), dates and timestamps (BSON dates); json
    /// and jsonb: everything, as relaxed Extended JSON v2.
    Auto,
    /// `text`: ObjectIds as 24 hex digits, numbers, booleans, dates (RFC 3339) and UUIDs too.
    Text,
    /// `uuid-v5`: the deterministic UUID of [`crate::key::uuid_v5`], of a value of any type.
    UuidV5,
    /// `object-id-time`: the time within an ObjectId.
    ObjectIdTime,
    /// `epoch-seconds`: a number of seconds since 1970.
    EpochSeconds,
    /// `epoch-millis`: a number of milliseconds since 1970.
    EpochMillis,
    /// `parse`: text that is a number, a boolean or a point in time; anything else as `auto`.
    Parse,
    /// `object-id`, of a reference by `_id`: an ObjectId, or its 24 hex digits as text.
    ObjectId,
}

/// The values that a column may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Constants of the column's type: a value is converted as usual and has to be one of them.
    Listed(Vec<String>),
    /// For the text, the number or the boolean in the document, the constant of the column's type,
    /// or null, that stands for it.
    Mapped(Vec<(String, Option<String>)>),
}

/// What becomes of a value that the column cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The document goes to the dead letters.
    #[default]
    Reject,
    /// The column becomes null.
    Null,
    /// The value is cut to what fits: text to its length, NUL characters out of text.
    Truncate,
}

/// One policy for each thing that can be wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policies {
    /// A BSON type that the column does not accept.
    pub wrong_type: Policy,
    /// Text over the column's length.
    pub too_long: Policy,
    /// A NUL character in text or JSON, which PostgreSQL cannot store.
    pub nul: Policy,
    /// A number or date outside the type's range; NaN and infinities where it has no place for them.
    pub out_of_range: Policy,
    /// A value that is none of the column's `values`.
    pub unlisted: Policy,
}

/// A reference to a root table of the same mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The table pointed to.
    pub table: TableName,
    /// The column pointed to: the whole primary key of that table.
    pub column: String,
    /// What the value tells of the parent.
    pub by: ReferenceBy,
    /// What becomes of a row whose parent is known never to come.
    pub on_missing: OnMissing,
    /// What becomes of a parent that is deleted while rows point to it.
    pub on_delete: OnDelete,
}

impl Column {
    /// Its reference, if the parent's key is looked up by the `_id` of its document.
    pub fn looked_up(&self) -> Option<&Reference> {
        let reference = self.reference.as_ref();
        reference.filter(|reference| reference.by == ReferenceBy::Id)
    }
}

/// What the value of a reference tells of the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReferenceBy {
    /// Its key.
    #[default]
    Key,
    /// The `_id` of its document. Its key, which is generated, is looked up.
    Id,
}

/// What becomes of a row whose parent is known never to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// It goes to the dead letters and is placed if the parent comes all the same.
    #[default]
    DeadLetter,
    /// The reference becomes null.
    Null,
    /// The row is written without a parent; there is no foreign key.
    Keep,
}

/// What becomes of a parent that is deleted while rows point to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// It stays, as held, until the last reference goes.
    #[default]
    Hold,
    /// The rows that point to it go with it.
    Cascade,
    /// The references to it become null.
    SetNull,
}

impl Mapping {
    /// The collection of that database and name.
    pub fn collection(&self, database: &str, name: &str) -> Option<&Collection> {
        self.collections
            .iter()
            .find(|c| c.database == database && c.name == name)
    }

    /// The databases named, each once, in order.
    pub fn databases(&self) -> Vec<&str> {
        let mut seen = Vec::new();
        for collection in &self.collections {
            if !seen.contains(&collection.database.as_str()) {
                seen.push(collection.database.as_str());
            }
        }
        seen
    }

    /// Every table with the collection that fills it, parents before their child tables.
    pub fn tables(&self) -> impl Iterator<Item = (&Collection, &Table)> {
        self.collections
            .iter()
            .flat_map(|c| c.with_descendants().into_iter().map(move |t| (c, t)))
    }

    /// For each table, the references that point to it, as (table, column position).
    pub fn referrers(&self) -> BTreeMap<TableName, Vec<(&Table, usize)>> {
        let mut found: BTreeMap<TableName, Vec<(&Table, usize)>> = BTreeMap::new();
        for (_, table) in self.tables() {
            for (position, column) in table.columns.iter().enumerate() {
                if let Some(reference) = &column.reference {
                    found
                        .entry(reference.table.clone())
                        .or_default()
                        .push((table, position));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
