//! Documents that want each other's unique values: two that swap, or a ring of several. No order of
//! writing them serves, so all get values that nobody wants first.

use super::{
    ApplyError,
    transaction::Transaction,
    upserts::{copy_rows, ordinal, write_round},
    work::{Fate, Obstacle, Outcome},
};
use crate::transform::TableId;
use std::collections::{BTreeMap, BTreeSet};

/// Writes documents that want each other's unique values: two that swap, or a ring of several. The
/// source went through other values meanwhile, but a look-up sees only the end. Their rows first
/// get values that nobody wants; all of them are written, or nothing happens and they wait on.
pub(super) async fn deal_anew(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<(), ApplyError> {
    let model = t.model;
    for (index, check) in model.table(root).sql.unique.iter().enumerate() {
        let Some(vacate) = &check.vacate else {
            continue;
        };
        let waits = Fate::Waits(Obstacle::Unique(index));
        let waiting: Vec<usize> = documents
            .iter()
            .copied()
            .filter(|&d| t.work.candidates[d].fate == waits)
            .collect();
        if waiting.len() < 2 {
            continue;
        }
        let count = copy_rows(t, root, &waiting).await?;
        let statement = t.session.prepared(&check.owners).await?;
        let pairs = t.session.client().query(&statement, &[]).await?;
        t.empty(root, count).await?;
        let owners = pairs
            .iter()
            .map(|row| (ordinal(row.get(0)), ordinal(row.get(1))));
        let ring = rings(owners.collect());
        if ring.is_empty() {
            continue;
        }
        t.session.client().batch_execute("savepoint ring").await?;
        let dealt = deal(t, root, &ring, vacate).await;
        let written = match dealt {
            Ok(()) => still(t, &ring, Fate::Done(Outcome::Applied)),
            Err(ApplyError::Again(_) | ApplyError::Definite(_)) => false,
            Err(error) => return Err(error),
        };
        if !written {
            t.session
                .client()
                .batch_execute("rollback to savepoint ring")
                .await?;
            for document in ring {
                t.work.candidates[document].fate = waits;
            }
        }
    }
    Ok(())
}

async fn deal(
    t: &mut Transaction<'_>,
    root: TableId,
    ring: &[usize],
    vacate: &str,
) -> Result<(), ApplyError> {
    let count = copy_rows(t, root, ring).await?;
    let statement = t.session.prepared(vacate).await?;
    t.session.client().execute(&statement, &[]).await?;
    t.empty(root, count).await?;
    for &document in ring {
        t.work.candidates[document].fate = Fate::Open;
    }
    write_round(t, root, ring).await
}

fn still(t: &Transaction<'_>, documents: &[usize], fate: Fate) -> bool {
    documents
        .iter()
        .all(|&document| t.work.candidates[document].fate == fate)
}

/// Of documents and those that own the value they want: the ones that stand in rings. Whoever wants
/// a value from outside a ring drops out, and whoever wants one of those, until nobody does; what
/// nobody wants drops out too.
fn rings(mut owners: BTreeMap<usize, usize>) -> Vec<usize> {
    loop {
        let before = owners.len();
        let wanting: BTreeSet<usize> = owners.keys().copied().collect();
        owners.retain(|_, owner| wanting.contains(owner));
        let wanted: BTreeSet<usize> = owners.values().copied().collect();
        owners.retain(|document, _| wanted.contains(document));
        if owners.len() == before {
            return owners.into_keys().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rings;
    use std::collections::BTreeMap;

    #[test]
    fn only_rings_are_dealt_anew() {
        let rings = |pairs: &[(usize, usize)]| rings(BTreeMap::from_iter(pairs.iter().copied()));
        assert_eq!(rings(&[(1, 2), (2, 1)]), [1, 2]);
        assert_eq!(rings(&[(1, 2), (2, 3), (3, 1), (7, 1), (8, 7)]), [1, 2, 3]);
        assert!(rings(&[(1, 2), (2, 3)]).is_empty());
    }
}
