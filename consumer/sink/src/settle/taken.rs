//! Parked documents that took part in a transaction, and which of them are only tried together.

use crate::{change::RecordOrigin, ids::RowId, model::Model, write::released::Parked};
use std::collections::{BTreeMap, VecDeque};

/// A parked document that took part in a transaction.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    row: RowId,
    origin: RecordOrigin,
    /// The rows that it waits for, which may have been parked themselves.
    waits_for: Vec<RowId>,
}

impl Taken {
    pub(super) fn of(model: &Model, parked: &Parked) -> Self {
        let named = model.roots().filter(|&root| {
            !parked.unique && model.table(root).table.name.to_string() == parked.wait_table
        });
        let row = |table| RowId {
            table,
            key: parked.wait_key.clone(),
        };
        Self {
            row: parked.row.clone(),
            origin: parked.origin.clone(),
            waits_for: named.map(row).collect(),
        }
    }

    /// The row that it is parked for.
    pub(super) fn row(&self) -> &RowId {
        &self.row
    }

    /// Whether this is the very record.
    pub(super) fn is(&self, parked: &Parked) -> bool {
        parked.origin == self.origin
    }
}

/// Documents that are only tried together.
pub(super) type Group = Vec<Taken>;

/// Documents that wait for each other, directly or by others: a group each.
pub(super) fn cycles(taken: Vec<Taken>) -> Vec<Group> {
    let places: BTreeMap<&RowId, usize> = taken.iter().map(|one| &one.row).zip(0..).collect();
    let mut beside: Vec<Vec<usize>> = vec![Vec::new(); taken.len()];
    for (place, one) in taken.iter().enumerate() {
        for &other in one.waits_for.iter().filter_map(|row| places.get(row)) {
            beside[place].push(other);
            beside[other].push(place);
        }
    }
    let mut group_of: Vec<Option<usize>> = vec![None; taken.len()];
    let mut groups = 0;
    for start in 0..taken.len() {
        if group_of[start].is_some() {
            continue;
        }
        let mut next = VecDeque::from([start]);
        while let Some(place) = next.pop_front() {
            if group_of[place].replace(groups).is_none() {
                next.extend(
                    beside[place]
                        .iter()
                        .filter(|&&other| group_of[other].is_none()),
                );
            }
        }
        groups += 1;
    }
    let mut found = vec![Group::new(); groups];
    for (one, group) in taken.into_iter().zip(group_of) {
        found[group.unwrap_or_default()].push(one);
    }
    found
}
