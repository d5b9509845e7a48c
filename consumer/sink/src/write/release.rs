//! Parked documents: compared with a batch, and released with what they wait for
//! (`docs/protocol.md`, S1 and S2).

use super::{
    attempt::Attempt,
    candidate::{Candidate, CandidateSource, Earlier},
    released::Parked,
    table_lock,
};
use crate::{
    change::{Outcome, Prepared},
    decode,
    error::ApplyError,
    guard,
    ids::RowId,
    state::parked,
};

/// Compares the candidates with what is parked for their rows, and releases what waits for those rows, unless
/// that has failed before.
/// What was parked may have been given a dead letter while its lock was waited for.
pub(crate) async fn release_waiters(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    if !t.flags.parked {
        return Ok(());
    }
    let rows: Vec<RowId> = t.candidates.rows().cloned().collect();
    for parked in lock_of_rows(t, &rows).await? {
        t.flags.dead_letters = true;
        if let Some(document) = t.candidates.of_row(&parked.row) {
            let candidate = t.candidates.get_mut(document);
            let (stored, version) = (Some(parked.version.version), candidate.version().version);
            if !guard::admits(stored, version) {
                candidate.decide(Outcome::Stale);
            } else if parked.incomplete && guard::is_same(stored, version) {
                candidate.set_incomplete();
            }
        }
        t.records.released.lock(parked.row);
    }
    if !t.releases {
        return Ok(());
    }
    let parents = open_parents(t, rows.iter());
    release_behind(t, parents).await
}

/// Locks and gives what is parked for these rows, without its records.
pub(crate) async fn lock_of_rows(
    t: &mut Attempt<'_>,
    rows: &[RowId],
) -> Result<Vec<Parked>, ApplyError> {
    let model = t.model;
    let (tables, keys): (Vec<&str>, Vec<&[u8]>) = rows
        .iter()
        .map(|row| {
            (
                model.table(row.table).state_name.as_str(),
                row.key.as_slice(),
            )
        })
        .unzip();
    let found = parked::lock_of_rows(t.session, &tables, &keys).await?;
    Ok(Parked::all(model, found))
}

/// Releases what waits for these rows, and what waits for that.
pub(crate) async fn release_behind(
    t: &mut Attempt<'_>,
    mut parents: Vec<RowId>,
) -> Result<(), ApplyError> {
    let model = t.model;
    while !parents.is_empty() && t.records.released.len() < parked::RELEASED_MAX {
        let room = t.records.room_for_others();
        let (tables, keys): (Vec<String>, Vec<&[u8]>) = parents
            .iter()
            .map(|row| {
                let name = model.table(row.table).table.name.to_string();
                (name, row.key.as_slice())
            })
            .unzip();
        let found = parked::lock_waiters(t.session, &tables, &keys, room).await?;
        let mut next = Vec::new();
        for parked in Parked::all(model, found) {
            // What another transaction has locked, the settling task will find.
            let table = parked.row.table;
            if model.table(table).natural_key && !table_lock::try_lock(t, table).await? {
                continue;
            }
            // What the batch has a record for, it was compared with above.
            if t.records.released.lock(parked.row.clone())
                && t.candidates.of_row(&parked.row).is_none()
            {
                next.push(parked.row.clone());
                resubmit(t, parked, false);
            }
        }
        parents = open_parents(t, next.iter());
    }
    // They come from other partitions, which may have had deletes where this one had none.
    t.tombstones |= !t.records.released.is_empty();
    Ok(())
}

fn open_parents<'r>(t: &Attempt<'_>, rows: impl Iterator<Item = &'r RowId>) -> Vec<RowId> {
    pointed_to(t, rows, Candidate::is_open)
}

/// Of these, the rows to be written whose candidates are such and that other rows may point to, by their
/// keys; those of documents that are looked up also by the documents' keys.
pub(crate) fn pointed_to<'r>(
    t: &Attempt<'_>,
    rows: impl Iterator<Item = &'r RowId>,
    wanted: impl Fn(&Candidate) -> bool,
) -> Vec<RowId> {
    let mut found = Vec::new();
    for row in rows {
        let entry = t.model.table(row.table);
        let Some(document) = t.candidates.of_row(row) else {
            continue;
        };
        let candidate = t.candidates.get(document);
        if entry.sql.referenced_deletes.is_empty() || !wanted(candidate) {
            continue;
        }
        if let Some(key) = candidate.row_key(t.rows) {
            found.push(RowId {
                table: row.table,
                key: key.to_vec(),
            });
            found.extend(entry.referenced_by_id.then(|| row.clone()));
        }
    }
    found
}

/// Makes a parked document a candidate. It may have been given a dead letter while its lock was
/// waited for.
pub(crate) fn resubmit(t: &mut Attempt<'_>, parked: Parked, parent_never_comes: bool) {
    t.flags.dead_letters = true;
    let collection = parked.origin.partition.collection;
    let prepared = decode::prepare(t.model, collection, Some(&parked.record_value), t.rows);
    let change = match prepared {
        Prepared::Write { version, changes } => changes
            .into_iter()
            .find(|change| change.root == parked.row.table)
            .map(|change| (version, change)),
        Prepared::Ignored | Prepared::Refused(_) => None,
    };
    // If it has none, it was parked under another mapping, by which it could be rows. It stays
    // parked until its topic is replayed.
    let upsert = change.filter(|(_, change)| change.mutation.rows().is_some());
    let Some((version, change)) = upsert else {
        return;
    };
    let earlier = Earlier {
        parent_never_comes: parent_never_comes || (parked.orphan && !parked.unique),
        incomplete: parked.incomplete,
    };
    let (origin, row) = (parked.origin.clone(), parked.row.clone());
    let source = CandidateSource::Parked(t.records.released.push(parked));
    let candidate = Candidate::new(source, origin, row, version, change.mutation)
        .in_row(change.row_key)
        .with(earlier);
    t.candidates.offer(candidate);
}
