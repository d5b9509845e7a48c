//! Rows copied straight into their tables while only a snapshot is read.
//!
//! Where nothing but snapshot rows ever came, none is there yet, so nothing has to be compared. If one
//! is, or a parent is missing or a value taken, the constraints refuse all of them, and the usual way
//! is taken ([`super::upserts`]).

use super::{
    ApplyError,
    copy::CopyBuffer,
    transaction::Transaction,
    upserts,
    work::{Fate, Outcome, Wish},
};
use crate::transform::TableId;

/// Whether rows of a table may be copied straight into it: worth an attempt while only a snapshot
/// is read. After a failure it is left alone for a while, twice as long each time.
#[derive(Debug, Default)]
pub struct Direct {
    skip: u32,
    penalty: u32,
}

impl Direct {
    const PENALTY_MAX: u32 = 256;

    /// Whether to attempt it now.
    pub(super) fn attempt(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        true
    }

    /// Notes how the attempt ended.
    pub(super) fn note(&mut self, succeeded: bool) {
        self.penalty = if succeeded {
            0
        } else {
            (self.penalty * 2).clamp(4, Self::PENALTY_MAX)
        };
        self.skip = self.penalty;
    }
}

/// Fewest documents for which a direct copy is worth its savepoint.
const DIRECT_MIN: usize = 200;

/// Copies the rows straight into their tables, where only snapshot rows came so far, so that none
/// is there yet. If one is, or a parent is missing or a value taken, the constraints refuse all of
/// them, and the usual way is taken. Whether the rows were written.
pub(super) async fn write_direct(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<bool, ApplyError> {
    let due = !(t.model.table(root).shared || t.model.looks_up(root))
        && t.fresh
        && !t.careful
        && t.pulled.is_empty()
        && documents.len() >= DIRECT_MIN;
    if !due || !t.direct.entry(root).or_default().attempt() {
        return Ok(false);
    }
    t.session.client().batch_execute("savepoint direct").await?;
    let copied = copy_direct(t, root, documents).await;
    let copied = match copied {
        Ok(()) if t.model.table(root).cascaded && t.any_tombstone(&[root]).await? => {
            Err(ApplyError::Again(None))
        }
        copied => copied,
    };
    let succeeded = match copied {
        Ok(()) => true,
        Err(ApplyError::Again(_) | ApplyError::Definite(_)) => false,
        Err(error) => return Err(error),
    };
    t.direct.entry(root).or_default().note(succeeded);
    if !succeeded {
        t.session
            .client()
            .batch_execute("rollback to savepoint direct")
            .await?;
        return Ok(false);
    }
    for &document in documents {
        t.work.candidates[document].fate = Fate::Done(Outcome::Applied);
    }
    if t.flags.dead_letters {
        upserts::supersede(t, root, documents).await?;
    }
    Ok(true)
}

async fn copy_direct(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<(), ApplyError> {
    let model = t.model;
    let children = &model.table(root).children;
    // In the order of keys, as every transaction writes.
    let mut sorted = documents.to_vec();
    sorted.sort_unstable_by(|&a, &b| t.work.candidates[a].key.cmp(&t.work.candidates[b].key));
    for &table in std::iter::once(&root).chain(children) {
        let entry = model.table(table);
        let mut copy = CopyBuffer::new();
        for &document in &sorted {
            let candidate = &t.work.candidates[document];
            let Wish::Upsert(rows) = &candidate.wish else {
                continue;
            };
            let version = candidate.stamp.version.as_i64();
            for row in rows.clone() {
                if t.rows.row(row).table == table {
                    let version = entry.above.is_empty().then_some(version);
                    copy.plain(entry.table.columns.len(), t.rows.fields(row), version);
                }
                if entry.above.is_empty() {
                    break;
                }
            }
        }
        if copy.count > 0 {
            copy.send(t.session, &entry.sql.copy_direct).await?;
        }
    }
    Ok(())
}
