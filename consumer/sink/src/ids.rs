//! Positions with a type of their own.
//!
//! A collection, a table, a reference, a unique key are positions in the compiled mapping; a document
//! and a row are positions in a batch, and go through temporary tables as `lc_doc` and `lc_row`. One
//! cannot be taken for another, and a number is checked once, where it is given out.

use bytes::BytesMut;
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

type Failed = Box<dyn Error + Sync + Send>;

/// A collection: a position in [`crate::model::Model::collections`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionId(pub usize);

/// A table's position among all tables of the mapping, in the order in which rows are written:
/// referenced before referring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub usize);

/// A reference: a position among those of its table's statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferenceId(pub usize);

/// A further unique key: a position among those of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueId(pub usize);

/// A partition of a collection's topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The collection.
    pub collection: CollectionId,
    /// The partition's number.
    pub number: i32,
}

/// A root row as the guard knows it: by its key, or by its document's own key where two documents may
/// have one row key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId {
    /// The root table.
    pub table: TableId,
    /// The key's bytes.
    pub key: Vec<u8>,
}

macro_rules! batch_position {
    ($(#[$doc:meta])* $name:ident, $limit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i32);

        impl $name {
            pub(crate) fn new(index: usize) -> Self {
                Self(i32::try_from(index).expect($limit))
            }

            /// The position.
            pub fn index(self) -> usize {
                // Given out by `new`, or by PostgreSQL, which had it from there: never below zero.
                self.0.unsigned_abs() as usize
            }

            pub(crate) fn as_i32(self) -> i32 {
                self.0
            }
        }

        impl<'a> FromSql<'a> for $name {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failed> {
                i32::from_sql(ty, raw).map(Self)
            }

            fn accepts(ty: &Type) -> bool {
                <i32 as FromSql<'_>>::accepts(ty)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
                self.0.to_sql(ty, out)
            }

            fn accepts(ty: &Type) -> bool {
                <i32 as ToSql>::accepts(ty)
            }

            to_sql_checked!();
        }
    };
}

batch_position!(
    /// A document of a batch: its candidate's position, `lc_doc` in temporary tables.
    DocumentId,
    "2^31 candidates are more than fit into memory"
);

batch_position!(
    /// An encoded row of a batch: its position in [`crate::transform::Rows`], `lc_row` in temporary
    /// tables.
    RowIndex,
    "2^31 rows are more than fit into memory"
);

/// Encoded rows that follow each other: those of one document in one root table, the root's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRange {
    start: i32,
    end: i32,
}

impl RowRange {
    /// From `start` up to, and without, `end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start: RowIndex::new(start).0,
            end: RowIndex::new(end).0,
        }
    }

    /// The root's row.
    pub fn root(self) -> RowIndex {
        RowIndex(self.start)
    }

    /// All of them.
    pub fn rows(self) -> impl Iterator<Item = RowIndex> {
        (self.start..self.end).map(RowIndex)
    }

    /// Those of child tables.
    pub fn below_root(self) -> impl Iterator<Item = RowIndex> {
        self.rows().skip(1)
    }
}

/// The number of a mapping in its group, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i64);

impl Generation {
    /// That of a group that has no mapping yet.
    pub const NONE: Self = Self(0);
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
