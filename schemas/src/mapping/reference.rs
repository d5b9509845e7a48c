//! A reference: what a column points to, and what becomes of both ends.

use super::TableName;

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
