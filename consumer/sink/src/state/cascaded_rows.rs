//! `leafcutter.cascaded_rows`: rows that were deleted, and references that were set to null, because a
//! parent was deleted. If the parent comes back, these documents have to be read again.

use super::{KEYS, is_key};
use crate::session::Session;
use std::collections::BTreeSet;
use tokio_postgres::Error;

/// Whether any row went with its parent, as an expression.
pub(crate) const ANY: &str = "exists (select 1 from leafcutter.cascaded_rows)";

/// Expressions of the rows that go, and of the parents that they go with.
#[derive(Debug)]
pub(crate) struct Cascaded<'a> {
    /// The root table's name in the state, as a literal.
    pub(crate) table: &'a str,
    /// The root row's key.
    pub(crate) key: &'a str,
    /// The reference, as a literal: of a child table with its name in front.
    pub(crate) column: &'a str,
    /// The parent's table, as a literal.
    pub(crate) parent_table: &'a str,
    /// The parent's key.
    pub(crate) parent_key: &'a str,
    /// `cascade` or `set-null`, as a literal.
    pub(crate) on_delete: &'a str,
}

impl Cascaded<'_> {
    /// The statement that lists those that `from` gives.
    pub(crate) fn insert(&self, from: &str) -> String {
        format!(
            "insert into leafcutter.cascaded_rows \
             (table_name, row_key, column_name, parent_table, parent_key, on_delete) \
             select {}, {}, {}, {}, {}, {} {from} order by 2 on conflict do nothing",
            self.table, self.key, self.column, self.parent_table, self.parent_key, self.on_delete
        )
    }
}

/// Takes rows off the list: their documents were written again, or deleted.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn remove(session: &mut Session, table: &str, keys: &[&[u8]]) -> Result<(), Error> {
    let sql = format!(
        "delete from leafcutter.cascaded_rows s using {KEYS} where s.table_name = $1 and {}",
        is_key("s.row_key", "k.k")
    );
    if keys.is_empty() {
        return Ok(());
    }
    session.execute(&sql, &[&table, &keys]).await.map(drop)
}

/// Which of these documents have such rows, by the keys of their root rows.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn of_keys(
    session: &mut Session,
    table: &str,
    keys: &[&[u8]],
) -> Result<BTreeSet<Vec<u8>>, Error> {
    let sql = format!(
        "select distinct s.row_key from leafcutter.cascaded_rows s join {KEYS} \
         on s.table_name = $1 and {}",
        is_key("s.row_key", "k.k")
    );
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = session.query(&sql, &[&table, &keys]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// How many documents have such rows, by table.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn count(session: &mut Session) -> Result<Vec<(String, i64)>, Error> {
    let sql = "select table_name, count(distinct row_key) from leafcutter.cascaded_rows \
               group by 1 order by 1";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
