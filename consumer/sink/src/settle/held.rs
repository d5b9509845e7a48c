//! The other half of the settling task: held rows, which stay until nothing points to them any more,
//! or until what points to them may go along (`docs/protocol.md`, S1; [`cascade`]).
//!
//! A held row is locked first; then, in later statements, what is held is read again and referring
//! rows are looked for (S4).
//!
//! A row whose delete PostgreSQL refuses stays held, and no other row stays because of it: it is isolated by
//! halves, as parked documents are, and left alone for a while.

use super::{
    Settler,
    policy::OrphanPolicy,
    refusal::{AGAIN_TOGETHER, Refusal, may_pass},
};
use crate::{
    connection::Ending,
    error::ApplyError,
    guard,
    ids::{DocumentId, TableId},
    isolate::AGAIN_MAX,
    state::held,
    transform::Rows,
    write::{
        attempt::Attempt, cascade::CascadeHorizon, deletes, row_to_delete::RowToDelete, table_lock,
    },
};
use leafcutter_schemas::{dead_letter::Reason, version::Version};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Held rows looked at in one transaction.
const HELD_MAX: i64 = 500;

/// How long a row is left alone, at first and at most, whose delete was refused.
const REST: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// A held row: its table, its key, the version of its delete.
type HeldRow = (TableId, Vec<u8>, Version);

impl Settler {
    /// One round over held rows: those that nothing points to any more are deleted; gives how many rows.
    /// The next round goes on where this one ends, since many may be held for long.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost.
    pub async fn settle_held(&mut self, policy: &OrphanPolicy) -> Result<u64, ApplyError> {
        self.refused_deletes.forget();
        let mut looked_at = Vec::new();
        match self.delete_held(policy, &mut looked_at).await {
            Ok(deleted) => Ok(deleted),
            Err(error) => match Refusal::of(error) {
                Refusal::World(error) => Err(error),
                Refusal::Document(_) | Refusal::Doubt(_) => {
                    self.isolate_held(policy, looked_at).await
                }
            },
        }
    }

    /// Deletes these held rows, in halves where PostgreSQL refuses the delete of one; gives how many rows
    /// went.
    async fn isolate_held(
        &mut self,
        policy: &OrphanPolicy,
        rows: Vec<HeldRow>,
    ) -> Result<u64, ApplyError> {
        let mut deleted = 0;
        let mut parts = vec![rows];
        while let Some(mut part) = parts.pop() {
            let reason = match self.insist_on_deletes(policy, &part).await? {
                Ok(rows) => {
                    deleted += rows;
                    continue;
                }
                Err(reason) => reason,
            };
            if let [only] = part.as_slice() {
                self.rest(only, &reason);
            } else {
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                parts.push(part);
            }
        }
        Ok(deleted)
    }

    fn rest(&mut self, (table, key, _): &HeldRow, reason: &Reason) {
        if self.refused_deletes.note((*table, key.clone()), REST) {
            let table = &self.connection.model().table(*table).state_name;
            let message = &reason.message;
            tracing::warn!(table, message, "a held row cannot be deleted, and stays");
        }
    }

    async fn insist_on_deletes(
        &mut self,
        policy: &OrphanPolicy,
        part: &[HeldRow],
    ) -> Result<Result<u64, Box<Reason>>, ApplyError> {
        let again_max = if part.len() > 1 {
            AGAIN_TOGETHER
        } else {
            AGAIN_MAX
        };
        let mut again = 0;
        loop {
            let error = match self.delete_these(policy, part).await {
                Ok(deleted) => return Ok(Ok(deleted)),
                Err(error) => error,
            };
            let may_pass = may_pass(&error);
            match Refusal::of(error) {
                Refusal::World(error) => return Err(error),
                Refusal::Document(_) | Refusal::Doubt(_) if may_pass && again < again_max => {
                    again += 1;
                }
                Refusal::Document(reason) | Refusal::Doubt(reason) => return Ok(Err(reason)),
            }
        }
    }

    async fn delete_these(
        &mut self,
        policy: &OrphanPolicy,
        part: &[HeldRow],
    ) -> Result<u64, ApplyError> {
        let steps = async |t: &mut Attempt<'_>| {
            t.look_at_state().await?;
            let busy = table_lock::try_lock_all(t).await?;
            let mut deleted = 0;
            for of_table in part.chunk_by(|one, other| one.0 == other.0) {
                let root = of_table[0].0;
                if busy.contains(&t.model.table(root).state_name.as_str()) {
                    continue;
                }
                let (control, progress) = (&policy.control, &policy.progress);
                let horizon = CascadeHorizon::of(t.model, root, control, progress);
                deleted += settle_table(t, root, staged(of_table), horizon).await?;
            }
            Ok(deleted)
        };
        self.connection
            .transact(&[], &mut Rows::default(), Ending::Commit, steps)
            .await
    }

    /// One transaction over held rows; `looked_at` are those that took part in it, whether it succeeds or not.
    async fn delete_held(
        &mut self,
        policy: &OrphanPolicy,
        looked_at: &mut Vec<HeldRow>,
    ) -> Result<u64, ApplyError> {
        let mut rows = Rows::default();
        let mut after = std::mem::take(&mut self.held_after);
        let refused = &self.refused_deletes;
        let steps = async |t: &mut Attempt<'_>| {
            t.look_at_state().await?;
            let mut deleted = 0;
            if t.flags.held {
                let model = t.model;
                let busy = table_lock::try_lock_all(t).await?;
                for root in model.roots().rev() {
                    let name = model.table(root).state_name.as_str();
                    if !busy.contains(&name) {
                        let after = after.entry(root).or_default();
                        let (control, progress) = (&policy.control, &policy.progress);
                        let horizon = CascadeHorizon::of(model, root, control, progress);
                        let mut some = some_held(t, root, after).await?;
                        some.retain(|(_, key, _)| refused.is_due(&(root, key.clone())));
                        let staged = staged(&some);
                        looked_at.append(&mut some);
                        deleted += settle_table(t, root, staged, horizon).await?;
                    }
                }
            }
            Ok(deleted)
        };
        let settled = self
            .connection
            .transact(&[], &mut rows, Ending::Commit, steps)
            .await;
        self.held_after = after;
        settled
    }
}

/// Deletes those of these held rows of one table that nothing points to: first the rows are locked, then, in
/// later statements, what is held is read again and referring rows are looked for (S4).
async fn settle_table(
    t: &mut Attempt<'_>,
    root: TableId,
    staged: Vec<RowToDelete>,
    horizon: CascadeHorizon,
) -> Result<u64, ApplyError> {
    let name = &t.model.table(root).state_name;
    if staged.is_empty() {
        return Ok(0);
    }
    let found = deletes::look(t, root, &staged).await?;
    // What another session works on has its turn another time: these locks are never waited for.
    let busy = found.busy();
    let keys: Vec<&[u8]> = staged
        .iter()
        .filter(|row| !busy.contains(&row.document))
        .map(|row| row.key.as_slice())
        .collect();
    let still = held::lock(t.session, name, &keys).await?;
    let mut free: BTreeMap<DocumentId, Version> = BTreeMap::new();
    let mut kept: BTreeSet<DocumentId> = BTreeSet::new();
    for row in &staged {
        let held = still.get(&row.key).copied();
        if guard::is_same(held, row.version) {
            free.insert(row.document, row.version);
        } else {
            kept.insert(row.document);
        }
    }
    deletes::keep(t, root, &kept).await?;
    // Of what is held still, what another session worked on when it was held is freed now.
    let still = |row: &&RowToDelete| free.contains_key(&row.document);
    let still: Vec<RowToDelete> = staged.iter().filter(still).cloned().collect();
    let kept = deletes::keep_referenced(t, root, free.clone(), horizon).await?;
    free.retain(|document, _| !kept.contains(document));
    let mut gone: BTreeSet<DocumentId> = free.into_keys().collect();
    let deleted = deletes::delete_rows(t, root, &gone).await?;
    // What the target kept stays held.
    gone.retain(|document| !deleted.left.contains_key(document));
    let gone = staged.iter().filter(|row| gone.contains(&row.document));
    let keys: Vec<&[u8]> = gone.map(|row| row.key.as_slice()).collect();
    held::remove(t.session, name, &keys).await?;
    let stays = |row: &&RowToDelete| kept.contains(&row.document);
    deletes::disown(t, root, still.iter().filter(stays)).await?;
    Ok(deleted.rows)
}

/// The next held rows of a table behind `after`, which then stands where they end; at the end of
/// all it goes back to the start.
async fn some_held(
    t: &mut Attempt<'_>,
    root: TableId,
    after: &mut Vec<u8>,
) -> Result<Vec<HeldRow>, ApplyError> {
    let name = &t.model.table(root).state_name;
    let found = held::behind(t.session, name, after, HELD_MAX).await?;
    *after = match found.last() {
        Some((last, _)) if i64::try_from(found.len()) == Ok(HELD_MAX) => last.clone(),
        _ => Vec::new(),
    };
    let row = |(key, version)| (root, key, version);
    Ok(found.into_iter().map(row).collect())
}

fn staged(rows: &[HeldRow]) -> Vec<RowToDelete> {
    let row = |(index, (_, key, version)): (usize, &HeldRow)| RowToDelete {
        document: DocumentId::new(index),
        key: key.clone(),
        owner: None,
        version: *version,
    };
    rows.iter().enumerate().map(row).collect()
}
