//! The mapping as it stands in the file: every value with its place, nothing judged as a whole yet.

use super::{
    Conversion, OnDelete, OnMissing, Path, PgType, Policy, ReferenceBy, SameKey, TableName,
    condition::Filter,
    fault::{At, Spotted},
};
use uuid::Uuid;

/// The file.
#[derive(Debug)]
pub(super) struct RawMapping {
    pub(super) uuid_namespace: Uuid,
    pub(super) collections: Vec<RawCollection>,
    /// Some collection could not be read at all, so a table that is not found may be its.
    pub(super) collections_missing: bool,
}

/// A collection.
#[derive(Debug)]
pub(super) struct RawCollection {
    pub(super) name: Spotted<String>,
    pub(super) database: Given<String>,
    /// Where its documents' dates are.
    pub(super) poll_by: Given<Vec<Spotted<Path>>>,
    pub(super) tables: Vec<RawTable>,
}

/// A list of column names.
pub(super) type Names = Vec<Spotted<String>>;

/// A table.
#[derive(Debug)]
pub(super) struct RawTable {
    pub(super) at: At,
    pub(super) name: Given<TableName>,
    /// The arrays and maps of a child table.
    pub(super) from: Given<Vec<RawElements>>,
    pub(super) filter: Given<Filter>,
    /// The column of a soft delete.
    pub(super) soft_delete: Given<String>,
    pub(super) key: Given<Names>,
    /// What becomes of several documents with one key.
    pub(super) same_key: Given<SameKey>,
    /// The column that says how new a document is.
    pub(super) newest_by: Given<String>,
    pub(super) unique: Vec<Spotted<Names>>,
    pub(super) indexes: Vec<Spotted<Names>>,
    pub(super) columns: Vec<RawColumn>,
    /// Columns that PostgreSQL fills: generated, and not in the key.
    pub(super) identity: Vec<RawColumn>,
    /// Some column could not be read at all, so a name that is not found may be that one's.
    pub(super) columns_missing: bool,
    pub(super) children: Vec<RawTable>,
}

/// An array or a map whose elements become rows.
#[derive(Debug)]
pub(super) struct RawElements {
    pub(super) at: At,
    pub(super) path: Path,
    pub(super) map: bool,
    pub(super) set: Vec<(Spotted<String>, Given<String>)>,
}

/// A column.
#[derive(Debug)]
pub(super) struct RawColumn {
    pub(super) name: Spotted<String>,
    pub(super) pg_type: Given<PgType>,
    pub(super) path: Given<Vec<Spotted<Path>>>,
    pub(super) parent: Given<String>,
    pub(super) position: Given<bool>,
    pub(super) map_key: Given<bool>,
    pub(super) set: Given<bool>,
    pub(super) derive: Given<Names>,
    pub(super) constant: Given<String>,
    pub(super) rest: Given<bool>,
    pub(super) expression: Given<String>,
    pub(super) generated: Given<bool>,
    pub(super) start: Given<String>,
    pub(super) convert: Given<Conversion>,
    pub(super) required: Given<bool>,
    pub(super) default: Given<String>,
    pub(super) unique: Given<bool>,
    pub(super) index: Given<bool>,
    pub(super) values: Given<RawValues>,
    pub(super) invalid: Given<RawPolicies>,
    pub(super) references: Given<RawReference>,
}

/// The values that a column may have.
#[derive(Debug)]
pub(super) enum RawValues {
    /// As they stand.
    Listed(Vec<Spotted<String>>),
    /// Each as another one, or as null.
    Mapped(Vec<(Spotted<String>, Option<Spotted<String>>)>),
}

/// What becomes of values that do not fit.
#[derive(Debug)]
pub(super) enum RawPolicies {
    /// The same for everything that can be wrong.
    All(Policy),
    /// For each thing.
    Each {
        /// A BSON type that the column does not accept.
        wrong_type: Given<Policy>,
        /// Text over the column's length.
        too_long: Given<Policy>,
        /// A NUL character.
        nul: Given<Policy>,
        /// A number or date outside the type's range.
        out_of_range: Given<Policy>,
        /// A value that is none of the column's.
        unlisted: Given<Policy>,
    },
}

/// A reference.
#[derive(Debug)]
pub(super) struct RawReference {
    pub(super) table: Given<TableName>,
    pub(super) by: Given<ReferenceBy>,
    pub(super) on_missing: Given<OnMissing>,
    pub(super) on_delete: Given<OnDelete>,
}

/// What a key was given.
#[derive(Debug, Clone)]
pub(super) enum Given<T> {
    /// The key is not there.
    Absent,
    /// It is there, and its fault is noted.
    Faulty,
    /// A value.
    Value(Spotted<T>),
}

impl<T> Given<T> {
    /// The value with its place.
    pub(super) fn get(&self) -> Option<&Spotted<T>> {
        match self {
            Self::Value(spotted) => Some(spotted),
            Self::Absent | Self::Faulty => None,
        }
    }

    /// The value.
    pub(super) fn value(&self) -> Option<&T> {
        self.get().map(|spotted| &spotted.value)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}
