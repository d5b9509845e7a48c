//! Indexes and foreign keys that are added when their tables are filled.
//!
//! Each step can be done again after any crash: an index that was begun is not valid and is begun anew, a foreign
//! key is noted in the transaction that adds it. Nobody waits long: an index is built beside the writers
//! (`concurrently`), a foreign key is added `not valid`, which takes locks for a moment, and then proven, which
//! reads both tables and stands in nobody's way (PostgreSQL manual, CREATE INDEX, ALTER TABLE).

use super::ddl::{foreign_keys, tables};
use crate::{
    ids::CollectionId,
    model::{Model, TableModel},
    names::{list, qualified, quote},
    session::Session,
    state::deferred_constraints::{self, DeferredRow},
};
use tokio_postgres::Error;

/// A step of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The index is built.
    Index,
    /// The foreign key is there for new rows.
    Key,
    /// The foreign key is proven for all rows.
    Proof,
}

impl Step {
    /// The next one.
    pub fn of(row: &DeferredRow) -> Self {
        match (&row.parent, row.is_added) {
            (None, _) => Self::Index,
            (Some(_), false) => Self::Key,
            (Some(_), true) => Self::Proof,
        }
    }
}

/// The collections whose first snapshots have to be applied before; none where the table is not the model's.
pub fn waits_for(model: &Model, row: &DeferredRow) -> Option<Vec<CollectionId>> {
    let named = |name: &str| {
        let fillers = model.tables.iter();
        let fillers = fillers.filter(|entry| qualified(&entry.table.name) == name);
        fillers.map(|entry| entry.collection).collect::<Vec<_>>()
    };
    let is_ours = tables(model)
        .iter()
        .any(|entry| qualified(&entry.table.name) == row.table);
    let parent = row.parent.as_ref().map(|(table, _)| named(table));
    is_ours.then(|| [named(&row.table), parent.unwrap_or_default()].concat())
}

/// Whether the mapping wants it, of a table of the model: a changed mapping may not any more.
pub fn is_wanted(model: &Model, row: &DeferredRow) -> bool {
    let entries = tables(model).into_iter();
    let mut entries = entries.filter(|entry| qualified(&entry.table.name) == row.table);
    let wanted = |entry: &TableModel| match &row.parent {
        Some((parent, columns)) => foreign_keys(model, entry).iter().any(|key| {
            let (own, other): (Vec<&str>, Vec<&str>) = key.pairs().into_iter().unzip();
            own == row.columns && other == *columns && qualified(&key.parent) == *parent
        }),
        None => entry.table.indexes.iter().any(|columns| {
            let mut names = columns
                .iter()
                .map(|&place| &entry.table.columns[place].name);
            columns.len() == row.columns.len() && names.all(|name| row.columns.contains(name))
        }),
    };
    entries.any(wanted)
}

/// Does the next step.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn step(session: &mut Session, row: &DeferredRow) -> Result<Step, Error> {
    let step = Step::of(row);
    match step {
        Step::Index => {
            build(session, row).await?;
            deferred_constraints::done(session, &row.table, &row.name).await?;
        }
        Step::Key => add(session, row).await?,
        Step::Proof => {
            let sql = format!(
                "alter table {} validate constraint {}",
                row.table,
                quote(&row.name)
            );
            session.batch(&sql).await?;
            deferred_constraints::done(session, &row.table, &row.name).await?;
        }
    }
    Ok(step)
}

async fn build(session: &mut Session, row: &DeferredRow) -> Result<(), Error> {
    const THERE: &str = "\
        select i.indisvalid, format('%I.%I', n.nspname, c.relname) from pg_index i \
        join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace \
        where i.indrelid = to_regclass($1) and c.relname = $2";
    let there = session.query(THERE, &[&row.table, &row.name]).await?;
    if let Some(found) = there.first() {
        if found.get(0) {
            return Ok(());
        }
        let index: &str = found.get(1);
        let sql = format!("drop index concurrently if exists {index}");
        session.batch(&sql).await?;
    }
    let columns = list(row.columns.iter().map(|column| quote(column)));
    let name = quote(&row.name);
    let sql = format!(
        "create index concurrently {name} on {} ({columns})",
        row.table
    );
    session.batch(&sql).await
}

/// Both tables are locked for it against whoever writes; that is not waited for long, since everybody else would
/// wait behind.
async fn add(session: &mut Session, row: &DeferredRow) -> Result<(), Error> {
    let Some((parent, columns)) = &row.parent else {
        return Ok(());
    };
    let quoted = |names: &[String]| list(names.iter().map(|name| quote(name)));
    let (table, name) = (&row.table, quote(&row.name));
    let (own, other) = (quoted(&row.columns), quoted(columns));
    const THERE: &str = "\
        select exists (select 1 from pg_constraint where conrelid = to_regclass($1) and conname = $2)";
    let is_there: bool = session.query_one(THERE, &[table, &row.name]).await?.get(0);
    if is_there {
        return deferred_constraints::added(session, table, &row.name).await;
    }
    let sql = format!(
        "begin; set local lock_timeout = '2s'; \
         alter table {table} add constraint {name} foreign key ({own}) references {parent} ({other}) not valid"
    );
    let added = async {
        session.batch(&sql).await?;
        deferred_constraints::added(session, table, &row.name).await?;
        session.batch("commit").await
    };
    let added: Result<(), Error> = added.await;
    if added.is_err() {
        session.batch("rollback").await?;
    }
    added
}
