//! Taking turns at a table whose key does not follow from `_id`.
//!
//! A turn is an advisory lock of the transaction. Whoever waits for one holds nothing that another
//! could wait for but earlier turns and its own positions: turns are taken right behind the fence, in
//! one order. In the middle of a transaction a turn is only tried for. So turns are part of no
//! deadlock.

use crate::{
    decode::Record,
    model::Model,
    sink::{ApplyError, transaction::Transaction},
    transform::TableId,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The lock of a table, the same for every consumer and mapping.
fn lock(model: &Model, table: TableId) -> i64 {
    let name = format!("leafcutter.keys {}", model.table(table).table.name);
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    let (high, _) = hash.as_u64_pair();
    i64::from_be_bytes(high.to_be_bytes())
}

/// Waits for the turns at the tables that these records go to.
///
/// # Errors
/// When PostgreSQL is lost, or somebody has a turn for too long.
pub async fn of_records(t: &mut Transaction<'_>, records: &[Record]) -> Result<(), ApplyError> {
    let model = t.model;
    let mut tables: Vec<TableId> = model.natural_roots().collect();
    if tables.is_empty() {
        return Ok(());
    }
    let collections: BTreeSet<usize> = records.iter().map(|r| r.delivery.collection).collect();
    tables.retain(|&table| collections.contains(&model.table(table).collection));
    take(t, tables).await
}

/// Tries for the turns at all such tables: a settling task leaves out what somebody works on.
/// Gives the names of the tables at which it is somebody else's turn.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn attempt_all(t: &mut Transaction<'_>) -> Result<Vec<String>, ApplyError> {
    let tables: Vec<TableId> = t.model.natural_roots().collect();
    let mut busy = Vec::new();
    for table in tables {
        if !attempt(t, table).await? {
            busy.push(t.model.table(table).state_name.clone());
        }
    }
    Ok(busy)
}

async fn take(t: &mut Transaction<'_>, tables: Vec<TableId>) -> Result<(), ApplyError> {
    let model = t.model;
    let mut locks: Vec<(i64, TableId)> =
        tables.into_iter().map(|id| (lock(model, id), id)).collect();
    locks.sort_unstable();
    for (lock, table) in locks {
        let statement = t
            .session
            .prepared("select pg_advisory_xact_lock($1)")
            .await?;
        t.session.client().execute(&statement, &[&lock]).await?;
        t.turns.insert(table);
    }
    Ok(())
}

/// Whether it is this transaction's turn at a table, now at the latest.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn attempt(t: &mut Transaction<'_>, table: TableId) -> Result<bool, ApplyError> {
    if t.turns.contains(&table) {
        return Ok(true);
    }
    let lock = lock(t.model, table);
    let statement = t
        .session
        .prepared("select pg_try_advisory_xact_lock($1)")
        .await?;
    let row = t.session.client().query_one(&statement, &[&lock]).await?;
    let taken = row.get(0);
    if taken {
        t.turns.insert(table);
    }
    Ok(taken)
}
