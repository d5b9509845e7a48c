//! Numbers that PostgreSQL gave. Nobody can work them out; but there has to be one in each row, no two
//! the same, and whatever points to a row has to have that row's number.
//!
//! An expected row has [`Cell::Given`] in the place of such a number, with a name for what it was given
//! to. Here the row is found by other columns, and the number that it has takes the place of the name,
//! wherever that stands.

use super::{
    expected::{Expected, Row},
    target::Table,
};
use leafcutter_finlit::expected::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// A column of such numbers.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// Its table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// By which columns a row is recognised.
    pub by: &'static [&'static str],
    /// The first number that is given. Others come from the documents.
    pub start: i64,
}

/// Puts the numbers in their places. Where there is no such row, the name stays, and the comparison
/// says that the row is missing.
pub(super) fn look_up(
    expected: &mut Expected,
    tables: &BTreeMap<String, Table>,
    found: &mut Vec<String>,
) {
    let mut given: BTreeMap<String, i64> = BTreeMap::new();
    for numbers in &expected.numbers {
        let (name, column) = (numbers.table, numbers.column);
        let mut seen = BTreeSet::new();
        let mut there = BTreeMap::new();
        let rows = tables.get(name).into_iter().flat_map(|t| t.rows.values());
        for row in rows {
            let who = text(numbers.by, |column| row.get(column));
            match row.get(column) {
                Some(Cell::Int(number)) => {
                    if !seen.insert(*number) {
                        found.push(format!(
                            "{name} {who}: another row has {column} {number} too"
                        ));
                    }
                    there.insert(who, *number);
                }
                other => found.push(format!("{name} {who}: {column} is {other:?}, no number")),
            }
        }
        for row in expected.tables.get(name).into_iter().flatten() {
            let who = text(numbers.by, |column| row.0.get(column));
            if let (Cell::Given(of), Some(number)) = (row.get(column), there.get(&who)) {
                if *number < numbers.start {
                    let start = numbers.start;
                    found.push(format!(
                        "{name} {who}: {column} {number} is below {start}, where numbers begin"
                    ));
                }
                given.insert(of.clone(), *number);
            }
        }
    }
    let cells = expected.tables.values_mut().flatten();
    for cell in cells.flat_map(|Row(cells)| cells.values_mut()) {
        if let Cell::Given(of) = cell
            && let Some(number) = given.get(of)
        {
            *cell = Cell::Int(*number);
        }
    }
}

fn text<'a>(by: &[&str], cell: impl Fn(&str) -> Option<&'a Cell>) -> String {
    let cells = by.iter().map(|column| cell(column).unwrap_or(&Cell::Null));
    let texts: Vec<_> = cells.map(ToString::to_string).collect();
    texts.join(" ")
}
