//! A table as far as it has been judged: what the judges after that look at and add to.

use crate::mapping::{
    PgType, Table,
    fault::{Faults, Spotted, nearest},
    raw::Names,
};

/// `INDEX_MAX_KEYS` of PostgreSQL.
const INDEX_COLUMNS_MAX: usize = 32;

/// A table that has been judged.
pub(super) struct Built {
    pub(super) table: Table,
    /// What is known of each column; for the rest the table has stand-ins.
    pub(super) known: Vec<Known>,
    /// The columns that repeat the root's key, by which all rows of a document are found; as far as
    /// they are there.
    pub(super) root_key: Vec<usize>,
    /// Whether every column of the file is in the table.
    pub(super) complete: bool,
}

/// What is known of a column.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Its type.
    pub(super) pg_type: Option<PgType>,
    /// Whether its source is.
    pub(super) source: bool,
}

/// The positions of columns by name, or `None` with the fault noted.
pub(super) fn positions(names: &Names, built: &Built, faults: &mut Faults) -> Option<Vec<usize>> {
    let mut found: Vec<usize> = Vec::new();
    if let Some(surplus) = names.get(INDEX_COLUMNS_MAX) {
        let message = format!("PostgreSQL allows {INDEX_COLUMNS_MAX} columns in a key or an index");
        faults.add(&surplus.at, message);
    }
    for Spotted { value: name, at } in names {
        match built.table.column(name) {
            Some(position) if found.contains(&position) => {
                faults.add(at, format!("column `{name}` stands twice"));
            }
            Some(position) => found.push(position),
            None if built.complete => {
                let near = nearest(name, built.table.columns.iter().map(|c| c.name.as_str()));
                faults.suggest(at, format!("the table has no column `{name}`"), near);
            }
            None => {}
        }
    }
    (found.len() == names.len()).then_some(found)
}
