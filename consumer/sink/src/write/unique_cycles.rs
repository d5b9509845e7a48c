//! Documents that want each other's unique values: two that swap, or a cycle of several. No order of
//! writing them serves, so their rows get placeholder values first.
//!
//! The source went through other values meanwhile, but a look-up sees only the end.

use super::{attempt::Attempt, candidate::Blocker, round::write_round, stage::copy_rows};
use crate::{
    change::Outcome,
    error::ApplyError,
    ids::{DocumentId, TableId, UniqueId},
};
use std::collections::{BTreeMap, BTreeSet};

/// Writes those of these documents that stand in cycles; the others wait on. Of a cycle all are written,
/// or nothing happens and they wait.
pub(crate) async fn write_cycles(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let model = t.model;
    for (index, check) in model.table(root).sql.unique.iter().enumerate() {
        let Some(set_placeholders) = &check.set_placeholders else {
            continue;
        };
        let blocker = Blocker::Unique(UniqueId(index));
        let waits = |d: &DocumentId| t.candidates.get(*d).blocker() == Some(blocker);
        let waiting: Vec<DocumentId> = documents.iter().copied().filter(waits).collect();
        if waiting.len() < 2 {
            continue;
        }
        copy_rows(t, root, &waiting).await?;
        let pairs = t.session.query(&check.owners, &[]).await?;
        let owners = pairs.iter().map(|row| (row.get(0), row.get(1)));
        let cycle = in_cycles(owners.collect());
        if cycle.is_empty() {
            continue;
        }
        t.session.batch("savepoint cycle").await?;
        let written = match break_cycle(t, root, &cycle, set_placeholders).await {
            Ok(()) => cycle
                .iter()
                .all(|&d| t.candidates.get(d).done() == Some(Outcome::Applied)),
            Err(error) if error.is_of_rows() => false,
            Err(error) => return Err(error),
        };
        if !written {
            t.session.roll_back_to("cycle").await?;
            for document in cycle {
                t.candidates.get_mut(document).block(blocker);
            }
        }
    }
    Ok(())
}

async fn break_cycle(
    t: &mut Attempt<'_>,
    root: TableId,
    cycle: &[DocumentId],
    set_placeholders: &str,
) -> Result<(), ApplyError> {
    copy_rows(t, root, cycle).await?;
    t.session.execute(set_placeholders, &[]).await?;
    for &document in cycle {
        t.candidates.get_mut(document).reopen();
    }
    write_round(t, root, cycle).await
}

/// Of documents and those that own the value they want: the ones that stand in cycles. A document that
/// wants a value from outside a cycle drops out, and each that wants one of those, until nothing changes;
/// what nothing wants drops out too.
fn in_cycles<D: Copy + Ord>(mut owners: BTreeMap<D, D>) -> Vec<D> {
    loop {
        let before = owners.len();
        let wanting: BTreeSet<D> = owners.keys().copied().collect();
        owners.retain(|_, owner| wanting.contains(owner));
        let wanted: BTreeSet<D> = owners.values().copied().collect();
        owners.retain(|document, _| wanted.contains(document));
        if owners.len() == before {
            return owners.into_keys().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_cycles;
    use std::collections::BTreeMap;

    #[test]
    fn only_cycles_are_broken() {
        let cycles = |pairs: &[(u8, u8)]| in_cycles(BTreeMap::from_iter(pairs.iter().copied()));
        assert_eq!(cycles(&[(1, 2), (2, 1)]), [1, 2]);
        assert_eq!(cycles(&[(1, 2), (2, 3), (3, 1), (7, 1), (8, 7)]), [1, 2, 3]);
        assert!(cycles(&[(1, 2), (2, 3)]).is_empty());
    }
}
