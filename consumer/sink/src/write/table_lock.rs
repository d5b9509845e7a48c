//! The lock of a table whose key does not follow from `_id`: one transaction at a time writes it.
//!
//! It is an advisory lock of the transaction. A transaction waits for such locks right after the fence,
//! in one order, while it holds nothing but its own positions; later it only tries for one. So these
//! locks are part of no deadlock.

use super::attempt::Attempt;
use crate::{error::ApplyError, ids::TableId, model::Model};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The lock's number, the same for every consumer and mapping.
fn number(model: &Model, table: TableId) -> i64 {
    let name = format!("key map of {}", model.table(table).table.name);
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    let (high, _) = hash.as_u64_pair();
    i64::from_be_bytes(high.to_be_bytes())
}

/// Waits for the locks of the tables that the attempt's records go to.
pub(crate) async fn lock_for_records(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    let model = t.model;
    let mut tables: Vec<TableId> = model.natural_roots().collect();
    if tables.is_empty() {
        return Ok(());
    }
    let collections: BTreeSet<_> = t
        .records
        .batch()
        .iter()
        .map(|record| record.delivery.origin.partition.collection)
        .collect();
    tables.retain(|&table| collections.contains(&model.table(table).collection));
    let mut locks: Vec<(i64, TableId)> = tables
        .into_iter()
        .map(|table| (number(model, table), table))
        .collect();
    locks.sort_unstable();
    for (number, table) in locks {
        t.session
            .execute("select pg_advisory_xact_lock($1)", &[&number])
            .await?;
        t.table_locks.insert(table);
    }
    Ok(())
}

/// Whether this transaction has a table's lock, now at the latest.
pub(crate) async fn try_lock(t: &mut Attempt<'_>, table: TableId) -> Result<bool, ApplyError> {
    if t.table_locks.contains(&table) {
        return Ok(true);
    }
    let number = number(t.model, table);
    let row = t
        .session
        .query_one("select pg_try_advisory_xact_lock($1)", &[&number])
        .await?;
    let locked = row.get(0);
    if locked {
        t.table_locks.insert(table);
    }
    Ok(locked)
}

/// Tries for the locks of all such tables: the settling task leaves out what others work on. Gives the
/// tables that another transaction has locked, as the state names them.
pub(crate) async fn try_lock_all<'m>(t: &mut Attempt<'m>) -> Result<Vec<&'m str>, ApplyError> {
    let model = t.model;
    let mut busy = Vec::new();
    for table in model.natural_roots() {
        if !try_lock(t, table).await? {
            busy.push(model.table(table).state_name.as_str());
        }
    }
    Ok(busy)
}
