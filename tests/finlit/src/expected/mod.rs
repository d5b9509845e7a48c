//! The rows that a document must become, worked out a second time.
//!
//! [`tables`] says again, in Rust, what FinLit's mapping file says in YAML; [`value`] converts by
//! the documented rules. Neither the consumer's transform nor the mapping's parser has a part in
//! it, so that a mistake there cannot hide in the comparison. It is slow and plain on purpose.

pub mod key;
pub mod decimal;
pub mod cell;
pub mod value;
pub mod tables;
#[cfg(test)]
mod agreement;

use super::Collection;
use bson::{Bson, Document};
use cell::Cell;
use std::collections::BTreeMap;
use tables::{Absent, ChildTable, Column, Table, table};
use uuid::Uuid;

/// Why a document cannot be rows: what the dead letter must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason's code.
    pub reason: &'static str,
    /// The table.
    pub table: &'static str,
    /// The column; empty where the fault is not one column's.
    pub column: &'static str,
}

/// The rows of one document.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The key of its row.
    pub key: Uuid,
    /// Its row, in the order of the table's columns.
    pub root: Vec<Cell>,
    /// Per child table, its rows by position.
    pub children: BTreeMap<&'static str, BTreeMap<i64, Vec<Cell>>>,
}

/// The rows of a document.
///
/// # Errors
/// Why it has to go to the dead letters instead.
pub fn rows(collection: Collection, document: &Document) -> Result<Rows, Refusal> {
    let table = table(collection);
    let id = document.get("_id").unwrap_or(&Bson::Null);
    let key = key::row_key(id);
    let whole = Bson::Document(document.clone());
    let root = cells(table.name, table.columns, &whole)?;
    let mut children = BTreeMap::new();
    for child in table.children {
        children.insert(child.name, child_rows(child, document)?);
    }
    Ok(Rows {
        key,
        root,
        children,
    })
}

fn child_rows(
    child: &'static ChildTable,
    document: &Document,
) -> Result<BTreeMap<i64, Vec<Cell>>, Refusal> {
    let elements = match document.get(child.from) {
        None | Some(Bson::Null) => return Ok(BTreeMap::new()),
        Some(Bson::Array(elements)) => elements,
        Some(_) => {
            return Err(Refusal {
                reason: "wrong-type",
                table: child.name,
                column: "",
            });
        }
    };
    (0..)
        .zip(elements)
        .map(|(position, element)| Ok((position, cells(child.name, child.columns, element)?)))
        .collect()
}

fn cells(
    table: &'static str,
    columns: &'static [Column],
    source: &Bson,
) -> Result<Vec<Cell>, Refusal> {
    columns
        .iter()
        .map(|column| {
            cell(column, source).map_err(|reason| Refusal {
                reason,
                table,
                column: column.name,
            })
        })
        .collect()
}

/// One value of a row.
///
/// # Errors
/// Why the document has to go to the dead letters.
pub fn cell(column: &Column, source: &Bson) -> Result<Cell, &'static str> {
    let converted = match find(source, column.path) {
        None => match column.absent {
            Absent::Default(default) => return Ok(Cell::read(column.kind, default)),
            Absent::Null | Absent::Required => Cell::Null,
        },
        Some(value) => value::convert(column, value)?,
    };
    if converted == Cell::Null && column.absent == Absent::Required {
        return Err("missing");
    }
    Ok(converted)
}

/// The value at a path of names with dots; the empty path is the source itself.
pub fn find<'a>(source: &'a Bson, path: &str) -> Option<&'a Bson> {
    if path.is_empty() {
        return Some(source);
    }
    path.split('.').try_fold(source, |value, name| match value {
        Bson::Document(document) => document.get(name),
        _ => None,
    })
}

impl Rows {
    /// The cell of a column.
    pub fn cell(&self, table: &Table, column: &str) -> &Cell {
        let position = table.columns.iter().position(|c| c.name == column);
        position
            .and_then(|p| self.root.get(p))
            .unwrap_or(&Cell::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusal, rows};
    use crate::{Collection, FinLit, edge_cases::Fate};

    /// The two ways of knowing what must become of edge cases: by hand, and by conversion.
    #[test]
    fn agrees_with_the_fate_of_every_edge_case() {
        let finlit = FinLit::new(5, 0.02);
        for collection in Collection::ALL {
            for n in 0..finlit.count(collection) {
                let found = rows(collection, &finlit.document(collection, n, 0));
                match finlit
                    .edge_case(collection, n)
                    .map(|edge_case| (edge_case.what, edge_case.fate))
                {
                    Some((what, Fate::Refused(reason, table, column))) => {
                        assert_eq!(
                            found.unwrap_err(),
                            Refusal {
                                reason,
                                table,
                                column
                            },
                            "{what}"
                        );
                    }
                    Some((what, _)) => assert!(found.is_ok(), "{what}: {found:?}"),
                    None => assert!(found.is_ok(), "{collection:?} {n}: {found:?}"),
                }
            }
        }
    }
}
