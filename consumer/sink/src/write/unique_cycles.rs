//! Documents that want each other's unique values: two that swap, or a cycle of several, of one unique key or
//! across several. No order of writing them serves, so their rows get placeholder values first. One may also wait
//! for another as its parent: an account is merged into a new one, which gets its address.
//!
//! The source went through other values meanwhile, but a look-up sees only the end.

use super::{attempt::Attempt, candidate::Blocker, round::write_round, stage::copy_rows};
use crate::{
    change::Outcome,
    error::ApplyError,
    ids::{DocumentId, TableId},
};
use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};
use std::collections::{BTreeMap, BTreeSet};

/// Those of these documents that wait for a value and, if there is any, those that wait for a row of the same table.
pub(crate) fn that_may_be_in_cycles(
    t: &Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Vec<DocumentId> {
    let references = &t.model.table(root).sql.references;
    let blocker = |document: &DocumentId| t.candidates.get(*document).blocker();
    let for_value = |document: &&DocumentId| matches!(blocker(document), Some(Blocker::Unique(_)));
    if !documents.iter().any(|document| for_value(&document)) {
        return Vec::new();
    }
    let for_row = |document: &&DocumentId| match blocker(document) {
        Some(Blocker::Parent(reference)) => references[reference.0].to_itself,
        _ => false,
    };
    let may_be = documents
        .iter()
        .filter(|document| for_value(document) || for_row(document));
    may_be.copied().collect()
}

/// Writes those of these documents that stand in cycles; the others wait on. Of a cycle all are written,
/// or nothing happens and they wait.
pub(crate) async fn write_cycles(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let sql = &t.model.table(root).sql;
    let checks = &sql.unique;
    if documents.len() < 2 || checks.iter().all(|check| check.set_placeholders.is_none()) {
        return Ok(());
    }
    copy_rows(t, root, documents).await?;
    let mut wants = Wants::default();
    for check in checks {
        wants.values.push(pairs(t, &check.owners).await?);
    }
    for check in &sql.references {
        if let Some(parents) = &check.parents {
            wants.parents.extend(pairs(t, parents).await?);
        }
    }
    let cycles = wants.cycles();
    let all = cycles.concat();
    if all.is_empty() || write_together(t, root, &wants, &all).await? || cycles.len() == 1 {
        return Ok(());
    }
    // One that cannot be written keeps no other from it.
    for cycle in cycles {
        write_together(t, root, &wants, &cycle).await?;
    }
    Ok(())
}

async fn pairs(t: &mut Attempt<'_>, sql: &str) -> Result<Vec<Pair>, ApplyError> {
    let rows = t.session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Writes all of these, or none; whether it did.
async fn write_together(
    t: &mut Attempt<'_>,
    root: TableId,
    wants: &Wants,
    cycles: &[DocumentId],
) -> Result<bool, ApplyError> {
    let blocked_by = |&d: &DocumentId| Some((d, t.candidates.get(d).blocker()?));
    let blockers: Vec<(DocumentId, Blocker)> = cycles.iter().filter_map(blocked_by).collect();
    t.session.batch("savepoint cycle").await?;
    let written = match break_cycles(t, root, wants, cycles).await {
        Ok(()) => cycles
            .iter()
            .all(|&d| t.candidates.get(d).done() == Some(Outcome::Applied)),
        Err(error) if error.is_of_rows() => false,
        Err(error) => return Err(error),
    };
    if !written {
        t.session.roll_back_to("cycle").await?;
        for (document, blocker) in blockers {
            t.candidates.get_mut(document).block(blocker);
        }
    }
    Ok(written)
}

/// Only values that are exchanged get placeholders: other columns may not be changed, for a constraint of the
/// application's, say.
async fn break_cycles(
    t: &mut Attempt<'_>,
    root: TableId,
    wants: &Wants,
    cycles: &[DocumentId],
) -> Result<(), ApplyError> {
    copy_rows(t, root, cycles).await?;
    let members: BTreeSet<DocumentId> = cycles.iter().copied().collect();
    for (check, pairs) in t.model.table(root).sql.unique.iter().zip(&wants.values) {
        let exchanged = pairs
            .iter()
            .any(|(document, owner)| members.contains(document) && members.contains(owner));
        if let Some(set_placeholders) = check.set_placeholders.as_ref().filter(|_| exchanged) {
            t.session.execute(set_placeholders, &[]).await?;
        }
    }
    for &document in cycles {
        t.candidates.get_mut(document).reopen();
    }
    write_round(t, root, cycles).await
}

/// A document, and one that has what it wants.
type Pair = (DocumentId, DocumentId);

/// What documents want of each other.
#[derive(Default)]
struct Wants {
    /// A value, of each unique key of the table.
    values: Vec<Vec<Pair>>,
    /// The row that is its parent.
    parents: Vec<Pair>,
}

impl Wants {
    /// The cycles, with those that share documents as one. A document that wants something of one that wants
    /// nothing drops out, and each that wants something of that, until nothing changes.
    fn cycles(&self) -> Vec<Vec<DocumentId>> {
        let mut owners: BTreeMap<DocumentId, BTreeSet<DocumentId>> = BTreeMap::new();
        for &(document, owner) in self.values.iter().flatten().chain(&self.parents) {
            owners.entry(document).or_default().insert(owner);
        }
        loop {
            let before = owners.len();
            let wanting: BTreeSet<DocumentId> = owners.keys().copied().collect();
            owners.retain(|_, of| of.is_subset(&wanting));
            if owners.len() == before {
                break;
            }
        }
        let pairs = owners
            .iter()
            .flat_map(|(document, of)| of.iter().map(move |owner| (*document, *owner)));
        let graph: DiGraphMap<DocumentId, ()> = pairs.collect();
        let mut cycles = tarjan_scc(&graph);
        cycles.retain(|cycle| cycle.len() > 1);
        for cycle in &mut cycles {
            cycle.sort_unstable();
        }
        cycles.sort_unstable();
        cycles
    }
}

#[cfg(test)]
mod tests {
    use super::{Pair, Wants};
    use crate::ids::DocumentId;

    #[test]
    fn only_cycles_are_broken() {
        let cycles = |pairs: &[(usize, usize)]| -> Vec<Vec<usize>> {
            let id = DocumentId::new;
            let pairs = pairs
                .iter()
                .map(|&(document, owner)| (id(document), id(owner)));
            let (one, other): (Vec<Pair>, Vec<Pair>) = pairs.partition(|(d, _)| d.index() % 2 == 0);
            // Whether it is a value of one key, of another, or a parent, makes no difference.
            let wants = Wants {
                values: vec![one, Vec::new()],
                parents: other,
            };
            let cycles = wants.cycles().into_iter();
            cycles
                .map(|cycle| cycle.into_iter().map(DocumentId::index).collect())
                .collect()
        };
        assert_eq!(cycles(&[(1, 2), (2, 1)]), [[1, 2]]);
        let two = [(1, 2), (2, 3), (3, 1), (7, 1), (8, 7), (4, 5), (5, 4)];
        assert_eq!(cycles(&two), [vec![1, 2, 3], vec![4, 5]]);
        assert!(cycles(&[(1, 2), (2, 3)]).is_empty());
        // One of its two values is nobody's of these.
        assert!(cycles(&[(1, 2), (2, 1), (2, 3)]).is_empty());
    }
}
