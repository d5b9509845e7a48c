//! Rows as a query gives them and as a test expects them: each value beside its column's name.
//!
//! A test compares the two, `assert_eq!(rows_of_a_query, rows![{ id: 1, name: "a" }])`, and when
//! they differ both are shown as they would be written in the test, column under column. All
//! values are compared as the text in which PostgreSQL gives them; NULL equals NULL only.

use crate::failure::{Attempt, Result};
use std::fmt::{self, Debug, Display, Write as _};
use tokio_postgres::{Client, SimpleQueryMessage};

/// A column's name, and its value as text; none is NULL.
type Cell = (String, Option<String>);

/// The rows of a query, or those that are expected.
#[derive(Clone, PartialEq, Eq)]
pub struct Rows(Vec<Vec<Cell>>);

/// Expected rows. A value is a literal, a name, `null`, or anything else in parentheses.
///
/// ```
/// # use leafcutter_harness::rows;
/// let names = ["a", "b"];
/// rows![{ id: 1, name: "x", gone: false }, { id: (names.len()), name: null, gone: true }];
/// ```
#[macro_export]
macro_rules! rows {
    ($({ $($name:ident: $value:tt),* $(,)? }),* $(,)?) => {
        {
            let rows = $crate::rows::Rows::expected(&[
                $(&[$((stringify!($name), $crate::cell!($value))),*]),*
            ]);
            rows
        }
    };
}

/// The value of an expected cell.
#[doc(hidden)]
#[macro_export]
macro_rules! cell {
    (null) => {
        None
    };
    (true) => {
        Some(&"t" as &dyn std::fmt::Display)
    };
    (false) => {
        Some(&"f" as &dyn std::fmt::Display)
    };
    ($value:tt) => {
        Some(&$value as &dyn std::fmt::Display)
    };
}

impl Rows {
    /// What [`rows!`] writes: names and values are only pointed to there, since hundreds of places that
    /// each made texts took minutes to compile.
    #[doc(hidden)]
    pub fn expected(rows: &[&[(&str, Option<&dyn Display>)]]) -> Self {
        let cell = |(name, value): &(&str, Option<&dyn Display>)| {
            ((*name).to_owned(), value.map(ToString::to_string))
        };
        Self(
            rows.iter()
                .map(|row| row.iter().map(cell).collect())
                .collect(),
        )
    }

    /// The rows of the last statement that has some.
    ///
    /// # Errors
    /// When PostgreSQL refuses it.
    pub async fn of(client: &Client, sql: &str) -> Result<Self> {
        let mut rows = Vec::new();
        for message in client.simple_query(sql).await.attempt(sql)? {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            let cell = |(number, column): (usize, &tokio_postgres::SimpleColumn)| {
                (column.name().to_owned(), row.get(number).map(str::to_owned))
            };
            rows.push(row.columns().iter().enumerate().map(cell).collect());
        }
        Ok(Self(rows))
    }

    /// The values of each row, NULL as `null`.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let text = |(_, value): &Cell| value.clone().unwrap_or_else(|| "null".to_owned());
        let rows = self.0.iter();
        rows.map(|row| row.iter().map(text).collect()).collect()
    }

    /// All values in order, as of a query of one column.
    pub fn values(&self) -> Vec<String> {
        self.cells().into_iter().flatten().collect()
    }

    /// All of it as one text: `|` between values, a space between rows.
    pub fn text(&self) -> String {
        let rows = self.cells();
        rows.iter()
            .map(|row| row.join("|"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The one value of the one row.
    ///
    /// # Panics
    /// When there are more, or none.
    pub fn only(&self) -> String {
        let mut values = self.values();
        assert!(values.len() == 1, "not one value: {self:?}");
        values.remove(0)
    }
}

/// As it is written in a test.
fn shown(value: Option<&str>) -> String {
    match value {
        None => "null".to_owned(),
        Some("t") => "true".to_owned(),
        Some("f") => "false".to_owned(),
        Some(number) if is_number(number) => number.to_owned(),
        Some(text) => format!("{text:?}"),
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>()
        .is_ok_and(|number| number.to_string() == text)
}

impl Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |(name, value): &Cell| format!("{name}: {}", shown(value.as_deref()));
        let rows: Vec<Vec<String>> = self
            .0
            .iter()
            .map(|row| row.iter().map(cell).collect())
            .collect();
        // In steps, so that two results that differ a little stand under each other.
        let width = |column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell: &String| cell.chars().count()).max();
            widest.unwrap_or(0).next_multiple_of(8)
        };
        f.write_str("rows![")?;
        for row in &rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column + 1 == row.len() {
                    line += cell;
                } else {
                    write!(line, "{:<1$}", format!("{cell},"), width(column) + 2)?;
                }
            }
            write!(f, "\n    {{ {line} }},")?;
        }
        f.write_str(if rows.is_empty() { "]" } else { "\n]" })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn differing_rows_are_shown_column_under_column() {
        let some = rows![{ id: 1, name: "a", gone: false }, { id: 20, name: null, gone: true }];
        let lines = format!("{some:?}");
        let words: Vec<&str> = lines.split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "rows![ { id: 1, name: \"a\", gone: false }, { id: 20, name: null, gone: true }, ]"
        );
        let at =
            |word: &str| -> Vec<usize> { lines.lines().filter_map(|l| l.find(word)).collect() };
        assert_eq!(at("name"), [at("name")[0]; 2]);
        assert_eq!(at("gone"), [at("gone")[0]; 2]);
        assert_eq!(format!("{:?}", rows![]), "rows![]");
    }

    #[test]
    fn rows_are_equal_by_name_and_value() {
        assert_eq!(rows![{ id: 1 }], rows![{ id: "1" }]);
        assert_eq!(
            rows![{ id: (2 - 1), gone: true }],
            rows![{ id: 1, gone: "t" }]
        );
        assert_ne!(rows![{ id: 1 }], rows![{ other: 1 }]);
        assert_ne!(rows![{ id: null }], rows![{ id: "null" }]);
        assert_ne!(rows![{ id: 1 }], rows![{ id: 1 }, { id: 1 }]);
        assert_ne!(rows![], rows![{ id: 1 }]);
    }
}
