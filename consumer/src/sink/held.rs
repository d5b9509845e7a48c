//! The other half of the settling task: held rows, which stay until nothing points to them any more,
//! or until what points to them may go along (`PROTOCOL.md` §4, S1; [`cascade`]).
//!
//! A held row is locked first; then, in later statements, what is held is read again and referring
//! rows are looked for (S4).

use super::{
    ApplyError,
    apply::Applier,
    cascade::{self, Along},
    copy::CopyBuffer,
    deletes::key_fields,
    keys::turns,
    parking::Flags,
    settle::Patience,
    transaction::Transaction,
};
use crate::{
    model::Model,
    transform::{Rows, TableId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Held rows looked at in one transaction.
const HELD_MAX: i64 = 500;

impl Applier {
    /// One round over held rows: those that nothing points to any more are deleted. The next round
    /// goes on where this one ends, since many may be held for long.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost.
    pub async fn settle_held(
        &mut self,
        model: &Arc<Model>,
        patience: &Patience,
    ) -> Result<u64, ApplyError> {
        let mut rows = Rows::default();
        let mut after = std::mem::take(&mut self.held_after);
        let body = async |t: &mut Transaction<'_>| {
            t.flags = Flags::read(t.session).await?;
            let mut let_go = 0;
            if t.flags.held {
                let busy = turns::attempt_all(t).await?;
                for index in (0..t.model.tables.len()).rev() {
                    let table = TableId(index);
                    let entry = t.model.table(table);
                    if entry.above.is_empty() && !busy.contains(&entry.state_name) {
                        let after = after.entry(table).or_default();
                        let (control, progress) = (&patience.control, &patience.progress);
                        let along = Along::with(t.model, table, control, progress);
                        let_go += settle_held_table(t, table, after, along).await?;
                    }
                }
            }
            Ok(let_go)
        };
        let settled = self.transact(&mut rows, body, model).await;
        self.held_after = after;
        settled
    }
}

/// Deletes the held rows of one table that nothing points to: first the rows are locked, then, in
/// later statements, what is held is read again and referring rows are looked for (S4).
async fn settle_held_table(
    t: &mut Transaction<'_>,
    table: TableId,
    after: &mut Vec<u8>,
    along: Along,
) -> Result<u64, ApplyError> {
    let model = t.model;
    let entry = model.table(table);
    let found = some_held(t, &entry.state_name, after).await?;
    if found.is_empty() {
        return Ok(0);
    }
    let mut copy = CopyBuffer::new();
    let mut keys: BTreeMap<i32, (Vec<u8>, i64)> = BTreeMap::new();
    for (index, (key, version)) in found.into_iter().enumerate() {
        let columns = entry.table.key.len();
        copy.tuple(columns, &key_fields(&key, columns), version, &[index]);
        keys.insert(i32::try_from(index).unwrap_or(i32::MAX), (key, version));
    }
    let count = copy.count;
    copy.send(t.session, &entry.sql.copy_deletes).await?;
    // What somebody works on has its turn another time: nobody is waited for with these locks.
    let statement = t.session.prepared(&entry.sql.try_lock_deletes).await?;
    let locked = t.session.client().query(&statement, &[]).await?;
    let locked: BTreeSet<i32> = locked.iter().map(|row| row.get(0)).collect();
    let statement = t.session.prepared(&entry.sql.see_deletes).await?;
    let there = t.session.client().query(&statement, &[]).await?;
    let busy: Vec<i32> = there
        .iter()
        .map(|row| row.get(0))
        .filter(|ordinal| !locked.contains(ordinal))
        .collect();
    leave_out(t, table, &busy).await?;
    keys.retain(|ordinal, _| !busy.contains(ordinal));
    keep_free(t, table, &mut keys, along).await?;
    let free: Vec<i32> = keys.keys().copied().collect();
    let mut let_go = 0;
    if !free.is_empty() {
        let_go = cascade::carry_out(t, table).await?;
        for child in entry.children.iter().rev() {
            let statement = t.session.prepared(&model.table(*child).sql.delete).await?;
            t.session.client().execute(&statement, &[&free]).await?;
        }
        let statement = t.session.prepared(&entry.sql.delete).await?;
        let_go += t.session.client().execute(&statement, &[&free]).await?;
        let forget = "delete from leafcutter.held where table_name = $1 and row_key = any($2)";
        let statement = t.session.prepared(forget).await?;
        let gone: Vec<&[u8]> = keys.values().map(|(key, _)| key.as_slice()).collect();
        t.session
            .client()
            .execute(&statement, &[&entry.state_name, &gone])
            .await?;
    }
    t.empty_deletes(table, count).await?;
    Ok(let_go)
}

/// Takes rows out of those to be deleted.
async fn leave_out(
    t: &mut Transaction<'_>,
    table: TableId,
    ordinals: &[i32],
) -> Result<(), ApplyError> {
    if !ordinals.is_empty() {
        let leave = format!(
            "delete from pg_temp.lc_{}_deletes where lc_doc = any($1)",
            table.0
        );
        let statement = t.session.prepared(&leave).await?;
        t.session.client().execute(&statement, &[&ordinals]).await?;
    }
    Ok(())
}

/// The next held rows of a table behind `after`, which then stands where they end; at the end of
/// all it goes back to the start.
async fn some_held(
    t: &mut Transaction<'_>,
    table: &str,
    after: &mut Vec<u8>,
) -> Result<Vec<(Vec<u8>, i64)>, ApplyError> {
    let sql = format!(
        "select row_key, version from leafcutter.held where table_name = $1 and row_key > $2 \
         order by row_key limit {HELD_MAX}"
    );
    let statement = t.session.prepared(&sql).await?;
    let rows = t
        .session
        .client()
        .query(&statement, &[&table, after])
        .await?;
    let found: Vec<(Vec<u8>, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    *after = match found.last() {
        Some((last, _)) if found.len() >= usize::try_from(HELD_MAX).unwrap_or(usize::MAX) => {
            last.clone()
        }
        _ => Vec::new(),
    };
    Ok(found)
}

/// Leaves those keys whose rows are still held and that nothing points to. Keeping one row may keep
/// another of its own table that it points to, so this runs until nothing changes.
async fn keep_free(
    t: &mut Transaction<'_>,
    table: TableId,
    keys: &mut BTreeMap<i32, (Vec<u8>, i64)>,
    along: Along,
) -> Result<(), ApplyError> {
    let entry = t.model.table(table);
    let again = "select row_key, version from leafcutter.held where table_name = $1 and row_key = any($2) for update skip locked";
    let statement = t.session.prepared(again).await?;
    let wanted: Vec<&[u8]> = keys.values().map(|(key, _)| key.as_slice()).collect();
    let rows = t
        .session
        .client()
        .query(&statement, &[&entry.state_name, &wanted])
        .await?;
    let still: BTreeSet<(Vec<u8>, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut kept: Vec<i32> = keys.keys().copied().collect();
    kept.retain(|ordinal| !still.contains(&keys[ordinal]));
    loop {
        leave_out(t, table, &kept).await?;
        keys.retain(|ordinal, _| !kept.contains(ordinal));
        kept.clear();
        if entry.gone.is_some() {
            let documents = keys.iter();
            let documents = documents
                .filter_map(|(&d, &(_, version))| Some((usize::try_from(d).ok()?, version)));
            let held = cascade::clear_way(t, table, &documents.collect(), along).await?;
            kept.extend(held.into_iter().filter_map(|d| i32::try_from(d).ok()));
            leave_out(t, table, &kept).await?;
            keys.retain(|ordinal, _| !kept.contains(ordinal));
            return Ok(());
        }
        for look in &entry.sql.referenced_deletes {
            let statement = t.session.prepared(look).await?;
            let rows = t.session.client().query(&statement, &[]).await?;
            kept.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
        }
        if kept.is_empty() {
            return Ok(());
        }
    }
}
