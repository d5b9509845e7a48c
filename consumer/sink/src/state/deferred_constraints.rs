//! `leafcutter.deferred_constraints`: indexes and foreign keys that are added when the first snapshot of their
//! table is applied (docs/decisions/the-load-phase.md).
//!
//! A row is written in the transaction that makes the table, and taken away when the constraint is there and
//! proven. While a foreign key is `deferred`, the consumers see to it that it holds ([`crate::write::loading`]).

use super::stagings;
use crate::{names::quote, session::Session};
use serde::Serialize;
use tokio_postgres::{Error, Row};

/// What is to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeferredRow {
    /// The table, as it has to be written.
    pub table: String,
    /// The index or the constraint.
    pub name: String,
    /// The columns of the table.
    pub columns: Vec<String>,
    /// For a foreign key, the table that it points to, as it has to be written, and the columns there.
    pub parent: Option<(String, Vec<String>)>,
    /// A foreign key is there for new rows, and not proven for all.
    pub is_added: bool,
    /// Why it could not be added or proven when it was last tried.
    pub problem: Option<String>,
}

impl DeferredRow {
    /// Whether its table is in this schema.
    pub fn is_in(&self, schema: &str) -> bool {
        self.table.starts_with(&format!("{}.", quote(schema)))
    }
}

/// Whether the consumers have to keep a foreign key, as an expression.
pub(crate) const ANY: &str = "exists (select 1 from leafcutter.deferred_constraints \
    where kind = 'key' and state = 'deferred')";

/// All of them: indexes first, since a foreign key is looked at by its index.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn rows(session: &mut Session) -> Result<Vec<DeferredRow>, Error> {
    const ROWS: &str = "\
        select table_name, name, column_names, parent_table, parent_columns, state = 'added', problem \
        from leafcutter.deferred_constraints order by kind, noted_at, table_name, name";
    let read = |row: &Row| {
        let parent: Option<String> = row.get(3);
        let columns: Option<Vec<String>> = row.get(4);
        DeferredRow {
            table: row.get(0),
            name: row.get(1),
            columns: row.get(2),
            parent: parent.zip(columns),
            is_added: row.get(5),
            problem: row.get(6),
        }
    };
    Ok(session.query(ROWS, &[]).await?.iter().map(read).collect())
}

/// Those of tables in use, not of such as a replay fills beside them.
///
/// # Errors
/// As [`rows`].
pub async fn of_live(session: &mut Session) -> Result<Vec<DeferredRow>, Error> {
    let staged = stagings::rows(session).await?;
    let mut rows = rows(session).await?;
    rows.retain(|row| !staged.iter().any(|staged| row.is_in(&staged.schema)));
    Ok(rows)
}

/// Notes that one is to be added, to a table that was just made. What was noted of another one of that name, which
/// is gone, does not count.
///
/// # Errors
/// As [`rows`].
pub async fn defer(session: &mut Session, row: &DeferredRow) -> Result<(), Error> {
    const DEFER: &str = "\
        insert into leafcutter.deferred_constraints \
        (table_name, name, kind, column_names, parent_table, parent_columns) \
        values ($1, $2, $3, $4, $5, $6) on conflict (table_name, name) do update set kind = excluded.kind, \
        column_names = excluded.column_names, parent_table = excluded.parent_table, \
        parent_columns = excluded.parent_columns, state = 'deferred', problem = null";
    let kind = if row.parent.is_some() { "key" } else { "index" };
    let (parent, columns) = row.parent.clone().unzip();
    session
        .execute(
            DEFER,
            &[
                &row.table,
                &row.name,
                &kind,
                &row.columns,
                &parent,
                &columns,
            ],
        )
        .await
        .map(drop)
}

/// Notes that a foreign key is there for new rows. Within the transaction that adds it.
///
/// # Errors
/// As [`rows`].
pub async fn added(session: &mut Session, table: &str, name: &str) -> Result<(), Error> {
    const ADDED: &str = "\
        update leafcutter.deferred_constraints set state = 'added', problem = null \
        where table_name = $1 and name = $2";
    session.execute(ADDED, &[&table, &name]).await.map(drop)
}

/// Notes why one could not be added or proven.
///
/// # Errors
/// As [`rows`].
pub async fn failed(
    session: &mut Session,
    table: &str,
    name: &str,
    problem: &str,
) -> Result<(), Error> {
    const FAILED: &str = "\
        update leafcutter.deferred_constraints set problem = $3 where table_name = $1 and name = $2";
    session
        .execute(FAILED, &[&table, &name, &problem])
        .await
        .map(drop)
}

/// Forgets one: it is there, or not wanted any more.
///
/// # Errors
/// As [`rows`].
pub async fn done(session: &mut Session, table: &str, name: &str) -> Result<(), Error> {
    const DONE: &str =
        "delete from leafcutter.deferred_constraints where table_name = $1 and name = $2";
    session.execute(DONE, &[&table, &name]).await.map(drop)
}

/// Forgets those of tables that are dropped.
///
/// # Errors
/// As [`rows`].
pub async fn forget(session: &mut Session, tables: &[String]) -> Result<(), Error> {
    const FORGET: &str = "delete from leafcutter.deferred_constraints where table_name = any($1)";
    session.execute(FORGET, &[&tables]).await.map(drop)
}

/// Keeps other consumers from adding constraints to a table, until [`unlock`] or the session's end; whether it
/// could, and the constraint is still to be added.
///
/// # Errors
/// As [`rows`].
pub async fn try_lock(session: &mut Session, row: &DeferredRow) -> Result<bool, Error> {
    const LOCK: &str =
        "select pg_try_advisory_lock(hashtextextended('leafcutter constraints of ' || $1, 0))";
    // Asked by a statement that begins when the lock is there.
    const SAME: &str = "\
        select exists (select 1 from leafcutter.deferred_constraints \
        where table_name = $1 and name = $2 and (state = 'added') = $3)";
    if !session
        .query_one(LOCK, &[&row.table])
        .await?
        .get::<_, bool>(0)
    {
        return Ok(false);
    }
    let same: bool = session
        .query_one(SAME, &[&row.table, &row.name, &row.is_added])
        .await?
        .get(0);
    if !same {
        unlock(session, row).await?;
    }
    Ok(same)
}

/// Lets others add constraints to the table.
///
/// # Errors
/// As [`rows`].
pub async fn unlock(session: &mut Session, row: &DeferredRow) -> Result<(), Error> {
    const UNLOCK: &str =
        "select pg_advisory_unlock(hashtextextended('leafcutter constraints of ' || $1, 0))";
    session.query_one(UNLOCK, &[&row.table]).await.map(drop)
}
