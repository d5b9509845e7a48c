//! Whether the table is what the documents make it.
//!
//! Each row becomes one text, on either side on its own ([`Learner::row`], [`learner::ROW`]); the
//! first 56 bits of each text's SHA-256 are added up. Equal counts and equal sums of half a million
//! rows: no row is missing, extra, stale or different.
//!
//! [`Learner::row`]: super::learner::Learner::row
//! [`learner::ROW`]: super::learner::ROW

use super::{learner::ROW, population::Population};
use leafcutter_harness::failure::{Attempt, Result};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A count and a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Rows.
    pub rows: u64,
    sum: u128,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows with the sum {:x}", self.rows, self.sum)
    }
}

/// What there has to be.
pub fn expected(population: &Population) -> Content {
    let mut content = Content { rows: 0, sum: 0 };
    for learner in population.learners() {
        let hash = Sha256::digest(learner.row());
        let start = hash.iter().take(7);
        content.sum += start.fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        content.rows += 1;
    }
    content
}

/// What there is.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn found(target: &tokio_postgres::Client) -> Result<Content> {
    let sql = format!(
        "select count(*), coalesce(sum(('x' || encode(substring(sha256(convert_to({ROW}, 'UTF8')) \
         from 1 for 7), 'hex'))::bit(56)::bigint), 0)::text from learners"
    );
    let row = target
        .query_one(&sql, &[])
        .await
        .attempt("add the rows up")?;
    Ok(Content {
        rows: u64::try_from(row.get::<_, i64>(0))?,
        sum: row.get::<_, String>(1).parse()?,
    })
}
