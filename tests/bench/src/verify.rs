//! Whether the tables are what the documents make them.
//!
//! Each row becomes one text, on either side on its own ([`Documents::rows`], [`Table::row`]); the
//! first 56 bits of each text's SHA-256 are added up, by table. Equal counts and equal sums of half a million
//! rows: no row is missing, extra, stale or different.

use super::{population::Documents, workload::Verdict};
use leafcutter_harness::failure::{Attempt, Result};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A table whose rows are added up.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// An expression that gives a row as one text.
    pub row: String,
}

/// A count and a sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content {
    /// Rows.
    pub rows: u64,
    sum: u128,
}

impl Content {
    /// Takes a row in.
    fn add(&mut self, row: &str) {
        let hash = Sha256::digest(row);
        let start = hash.iter().take(7);
        self.sum += start.fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        self.rows += 1;
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows with the sum {:x}", self.rows, self.sum)
    }
}

/// What there has to be in each table, of documents by number and revision.
pub fn expected(
    documents: &dyn Documents,
    tables: usize,
    alive: impl Iterator<Item = (u32, u32)>,
) -> Vec<Content> {
    let mut contents = vec![Content::default(); tables];
    for (number, revision) in alive {
        documents.rows(number, revision, &mut |table, row| contents[table].add(row));
    }
    contents
}

/// What there is in each table.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn found(target: &tokio_postgres::Client, tables: &[Table]) -> Result<Vec<Content>> {
    let mut contents = Vec::new();
    for Table { name, row } in tables {
        let sql = format!(
            "select count(*), coalesce(sum(('x' || encode(substring(sha256(convert_to({row}, 'UTF8')) \
             from 1 for 7), 'hex'))::bit(56)::bigint), 0)::text from {name}"
        );
        let found = target.query_one(&sql, &[]).await;
        let found = found.attempt(&format!("add the rows of `{name}` up"))?;
        contents.push(Content {
            rows: u64::try_from(found.get::<_, i64>(0))?,
            sum: found.get::<_, String>(1).parse()?,
        });
    }
    Ok(contents)
}

/// What the difference of both is.
pub fn verdict(tables: &[Table], expected: &[Content], found: &[Content]) -> Verdict {
    let wrong: Vec<_> = tables
        .iter()
        .zip(expected.iter().zip(found))
        .filter(|(_, (expected, found))| expected != found)
        .map(|(Table { name, .. }, (expected, found))| {
            format!("{name}: {expected} were to be there,\n  {found} are")
        })
        .collect();
    Verdict {
        rows: expected.iter().map(|content| content.rows).sum(),
        wrong: (!wrong.is_empty()).then(|| wrong.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Table, verdict};

    #[test]
    fn a_row_more_a_row_less_and_another_row_are_seen_and_the_table_is_named() {
        let tables = ["a", "b"].map(|name| Table {
            name,
            row: String::new(),
        });
        let of = |rows: &[&str]| {
            let mut content = Content::default();
            rows.iter().for_each(|row| content.add(row));
            content
        };
        let (one, two) = (of(&["1"]), of(&["1", "2"]));
        let same = verdict(&tables, &[one, two], &[one, of(&["2", "1"])]);
        assert_eq!((same.rows, same.wrong), (3, None));
        for other in [one, of(&["1", "3"]), of(&["1", "2", "2"])] {
            let wrong = verdict(&tables, &[one, two], &[one, other]).wrong.unwrap();
            assert!(wrong.starts_with("b: 2 rows with the sum"), "{wrong}");
        }
    }
}
