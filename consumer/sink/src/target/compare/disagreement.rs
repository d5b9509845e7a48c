//! A disagreement of mapping and table: where it is, what either side says, what follows, what mends it.

use crate::names::qualified;
use leafcutter_schemas::mapping::TableName;
use serde::Serialize;

/// What the mapping and a table do not agree about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The table is not there.
    MissingTable,
    /// It is a view or the like.
    NotATable,
    /// Rules keep rows from being upserted.
    Rules,
    /// Other tables inherit from it.
    Inherited,
    /// Row security hides rows from this user.
    RowSecurity,
    /// A column is not there.
    MissingColumn,
    /// A column's type does not take what the mapping writes.
    Type,
    /// A column refuses to be written.
    NotWritable,
    /// A column that the mapping does not fill needs a value.
    Unfilled,
    /// A column whose numbers nothing gives.
    Unnumbered,
    /// Nothing keeps the key unique.
    MissingKey,
    /// A column's type is another one that takes what is written.
    OtherType,
    /// One side takes nulls, the other does not.
    Nullability,
    /// Nothing keeps a further unique key unique.
    MissingUnique,
    /// The table keeps something unique of which the mapping does not know.
    UnknownUnique,
    /// Rows are looked for that no index finds.
    MissingIndex,
    /// A reference that the database does not keep.
    MissingForeignKey,
    /// A reference of which the mapping does not know.
    UnknownForeignKey,
    /// A reference that is looked at too late.
    DeferredForeignKey,
    /// A crash empties it.
    Unlogged,
}

impl Kind {
    /// Whether rows cannot be written.
    pub fn is_fault(self) -> bool {
        match self {
            Self::MissingTable
            | Self::NotATable
            | Self::Rules
            | Self::Inherited
            | Self::RowSecurity
            | Self::MissingColumn
            | Self::Type
            | Self::NotWritable
            | Self::Unfilled
            | Self::Unnumbered
            | Self::MissingKey => true,
            Self::OtherType
            | Self::Nullability
            | Self::MissingUnique
            | Self::UnknownUnique
            | Self::MissingIndex
            | Self::MissingForeignKey
            | Self::UnknownForeignKey
            | Self::DeferredForeignKey
            | Self::Unlogged => false,
        }
    }
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// About what.
    pub kind: Kind,
    /// The table.
    pub table: TableName,
    /// The columns.
    pub columns: Vec<String>,
    /// What the mapping says.
    pub mapping: String,
    /// What PostgreSQL has.
    pub postgres: String,
    /// What follows.
    pub means: &'static str,
    /// The statements that mend it.
    pub sql: Vec<String>,
    /// What mends it in the mapping or otherwise.
    pub or: Option<String>,
    /// A consumer mends it by itself at its start, with `--ddl create`.
    pub created: bool,
}

impl Disagreement {
    pub(super) fn new(
        kind: Kind,
        table: &TableName,
        columns: &[&str],
        means: &'static str,
    ) -> Self {
        Self {
            kind,
            table: table.clone(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            mapping: String::new(),
            postgres: String::new(),
            means,
            sql: Vec::new(),
            or: None,
            created: false,
        }
    }

    pub(super) fn says(mut self, mapping: impl Into<String>, postgres: impl Into<String>) -> Self {
        (self.mapping, self.postgres) = (mapping.into(), postgres.into());
        self
    }

    pub(super) fn mended_by(mut self, sql: impl Into<String>) -> Self {
        self.sql.push(sql.into());
        self
    }

    pub(super) fn or(mut self, words: impl Into<String>) -> Self {
        self.or = Some(words.into());
        self
    }

    pub(super) fn created(mut self, created: bool) -> Self {
        self.created = created;
        self
    }

    /// The table and its columns, as people write them.
    pub fn place(&self) -> String {
        match self.columns.as_slice() {
            [] => self.table.to_string(),
            [only] => format!("{}.{only}", self.table),
            several => format!("{} ({})", self.table, several.join(", ")),
        }
    }
}

/// `alter table … `, and what.
pub(super) fn alter(table: &TableName, what: &str) -> String {
    format!("alter table {} {what}", qualified(table))
}
