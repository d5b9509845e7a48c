//! Documents that exchange unique values: whoever waits for a value is tried together with the document whose
//! row has it, where that one waits too, for a value or for a parent, and so on (`docs/protocol.md`, S1o).
//!
//! Two that swap, or a ring of several, can only be written together. They are parked at different times and by
//! different batches, and each is tried when it has rested long enough: without a look at who has the value they
//! might never meet, since what is tried together once is due together ever after.

use super::take_up::take_up;
use crate::{
    error::ApplyError,
    ids::{DocumentId, TableId},
    state::{key_map, parked},
    write::{attempt::Attempt, candidate::CandidateSource, released::Parked, stage::copy_rows},
};
use std::collections::{BTreeMap, BTreeSet};

/// A row that has a value: the table of its document, as the state names it, and the document's key.
type Holder = (String, Vec<u8>);

/// Takes up the documents whose rows have the values that those taken up wait for, and those whose rows have
/// theirs, as many as one transaction tries. Gives how many.
pub(super) async fn take_up_holders(
    t: &mut Attempt<'_>,
    busy: &[&str],
) -> Result<usize, ApplyError> {
    let model = t.model;
    let mut asked = 0;
    let mut found = 0;
    let mut known: BTreeSet<Holder> = BTreeSet::new();
    while found < parked::TRIED_MAX {
        let waiting = waiting(t, asked);
        asked = t.candidates.iter().count();
        let mut holders = Vec::new();
        for (root, documents) in waiting {
            holders.extend(holders_of(t, root, &documents).await?);
        }
        holders.retain(|holder| known.insert(holder.clone()));
        let keys = holders.iter().map(|(_, key)| key.as_slice());
        let tables = holders.iter().map(|(table, _)| table.as_str());
        let (tables, keys): (Vec<&str>, Vec<&[u8]>) = tables.zip(keys).unzip();
        if keys.is_empty() {
            break;
        }
        let room = t.records.room_for_others();
        let rows = parked::lock_holders(t.session, &tables, &keys, room).await?;
        let mut parked = Parked::all(model, rows);
        parked.retain(|parked| !t.records.released.is_locked(&parked.row));
        if parked.is_empty() {
            break;
        }
        found += parked.len();
        for mut parked in parked {
            // Whether its own parent comes is decided when it has its turn (S1c).
            parked.has_value = true;
            take_up(t, parked, busy, None).await?;
        }
    }
    Ok(found)
}

/// The candidates from this one on that wait for a value, by their root table.
fn waiting(t: &Attempt<'_>, from: usize) -> BTreeMap<TableId, Vec<DocumentId>> {
    let mut waiting: BTreeMap<TableId, Vec<DocumentId>> = BTreeMap::new();
    for (place, candidate) in t.candidates.iter().enumerate().skip(from) {
        let root = candidate.row().table;
        if let CandidateSource::Parked(index) = candidate.source()
            && t.records.released.get(index).unique
            && !t.model.table(root).sql.unique.is_empty()
        {
            let of_root = waiting.entry(root).or_default();
            of_root.push(DocumentId::new(place));
        }
    }
    waiting
}

/// Whose rows have the values of these documents.
async fn holders_of(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<Vec<Holder>, ApplyError> {
    let entry = t.model.table(root);
    copy_rows(t, root, documents).await?;
    let mut found = Vec::new();
    for check in &entry.sql.unique {
        for row in t.session.query(&check.holders, &[]).await? {
            let (key, source): (Vec<u8>, Option<String>) = (row.get(0), row.get(1));
            let table = match source {
                Some(source) => format!("{} from {source}", entry.table.name),
                None => entry.state_name.clone(),
            };
            found.push((table, key));
        }
    }
    if entry.natural_key {
        let keys: Vec<&[u8]> = found.iter().map(|(_, key)| key.as_slice()).collect();
        let (name, apart) = (&entry.state_name, BTreeSet::new());
        let owners = key_map::of_rows(t.session, name, &keys, &apart, false).await?;
        let owners = owners.into_iter().map(|owner| (name.clone(), owner.source));
        return Ok(owners.collect());
    }
    Ok(found)
}
