//! What a document waits for, and how it is put in words.

use crate::{
    ids::{ReferenceId, RowIndex, TableId, UniqueId},
    model::{Model, TableModel},
    statement::ReferenceCheck,
};

/// What keeps a candidate, or a child row of it, from being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// The parent of this reference is not there.
    Parent(ReferenceId),
    /// The value of this unique key is taken.
    Unique(UniqueId),
    /// The row's key is another collection's.
    OtherCollection,
    /// The row's key is another document's.
    OtherDocument,
    /// The parent of a child row is not there. The document does not wait, but this row does.
    ChildRow {
        /// The child table.
        table: TableId,
        /// The reference.
        reference: ReferenceId,
        /// The row.
        row: RowIndex,
    },
    /// The value of a unique key of a child row is taken. The document does not wait, but this row does.
    ChildUnique {
        /// The child table.
        table: TableId,
        /// The unique key.
        unique: UniqueId,
        /// The row.
        row: RowIndex,
    },
}

/// What is in a document's way.
#[derive(Debug)]
pub(crate) struct WaitingFor<'m> {
    /// The table, of a child row its own.
    pub(crate) table: &'m TableModel,
    /// The column, or the columns with commas between them.
    pub(crate) column: String,
    /// Why it waits.
    pub(crate) why: Why<'m>,
}

impl WaitingFor<'_> {
    /// The column, of a child row with its table in front.
    pub(crate) fn full_column(&self) -> String {
        if self.table.above.is_empty() {
            self.column.clone()
        } else {
            format!("{}.{}", self.table.state_name, self.column)
        }
    }
}

/// Why a document waits.
#[derive(Debug)]
pub(crate) enum Why<'m> {
    /// The parent of this reference is not there.
    NoParent(&'m ReferenceCheck),
    /// The value of a unique key is taken.
    Taken,
    /// The row's key is another collection's.
    OtherCollection,
    /// The row's key is another document's.
    OtherDocument,
}

impl WaitingFor<'_> {
    /// Why it can never be written, as far as one knows.
    pub(crate) fn fault(&self) -> String {
        match self.why {
            Why::NoParent(check) => format!(
                "the row of `{}` that `{}` points to does not exist in the source",
                check.parent, check.full_name
            ),
            Why::OtherCollection => "a document of another collection has the same key".to_owned(),
            Why::OtherDocument => "another document has the same key".to_owned(),
            Why::Taken => format!(
                "another document has the same value in the unique column `{}`",
                self.full_column()
            ),
        }
    }

    /// For what it waits, behind "waits".
    pub(crate) fn until(&self) -> String {
        match self.why {
            Why::NoParent(check) => format!(
                "for the row of `{}` that `{}` points to",
                check.parent, check.full_name
            ),
            Why::OtherCollection => "until no other collection has its key".to_owned(),
            Why::OtherDocument => "until no other document has its key".to_owned(),
            Why::Taken => format!("until its value of `{}` is free", self.full_column()),
        }
    }
}

/// Describes what is in the way of a document of this root table.
pub(crate) fn describe(model: &Model, root: TableId, blocker: Blocker) -> WaitingFor<'_> {
    let parent = |table: TableId, reference: usize| {
        let table = model.table(table);
        let check = &table.sql.references[reference];
        WaitingFor {
            table,
            column: check.column_name.clone(),
            why: Why::NoParent(check),
        }
    };
    let of_columns = |table: TableId, columns: &[usize], why| {
        let table = model.table(table);
        let names = columns
            .iter()
            .map(|&c| table.table.columns[c].name.as_str());
        WaitingFor {
            table,
            column: names.collect::<Vec<_>>().join(", "),
            why,
        }
    };
    let taken = |table: TableId, unique: usize| {
        let columns = &model.table(table).sql.unique[unique].columns;
        of_columns(table, columns, Why::Taken)
    };
    let key = &model.table(root).table.key;
    match blocker {
        Blocker::Parent(reference) => parent(root, reference.0),
        Blocker::ChildRow {
            table, reference, ..
        } => parent(table, reference.0),
        Blocker::Unique(unique) => taken(root, unique.0),
        Blocker::ChildUnique { table, unique, .. } => taken(table, unique.0),
        Blocker::OtherCollection => of_columns(root, key, Why::OtherCollection),
        Blocker::OtherDocument => of_columns(root, key, Why::OtherDocument),
    }
}
