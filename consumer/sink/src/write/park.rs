//! What waits is parked, and what was parked and does not wait any more is removed.

use super::{
    attempt::Attempt,
    candidate::{Blocker, Candidate, CandidateSource, Standing},
};
use crate::{
    error::ApplyError,
    ids::{ReferenceId, RowIndex, TableId, UniqueId},
    model::TableModel,
    state::{
        KeyVersion, dead_letters,
        parked::{self, ToPark, WaitsFor},
    },
    transform::rows::field_length,
};
use leafcutter_schemas::version::Version;
use std::collections::BTreeMap;

/// Parks the candidates that wait, and removes what is parked for the others at or below their versions.
///
/// A record that waits takes the place of an older one of its document, and with it that of the older one's
/// dead letter: if that is listed and not sent yet, nobody has its record any more.
pub(crate) async fn park(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    let model = t.model;
    let mut park = Vec::new();
    let mut tables: Vec<&str> = Vec::new();
    let mut settled: Vec<(&[u8], Version)> = Vec::new();
    for candidate in t.candidates.iter() {
        let entry = model.table(candidate.row().table);
        match (candidate.standing(), candidate.rows()) {
            (
                standing @ (Standing::Waits(blocker) | Standing::LacksRows(_, blocker)),
                Some(range),
            ) => {
                let origin = candidate.origin();
                let (record_key, record_value) = t.records.of(candidate);
                park.push(ToPark {
                    table: &entry.state_name,
                    key: candidate.key(),
                    wanted_key: (entry.keeps_document || entry.natural_key)
                        .then(|| t.rows.key(range.root())),
                    version: candidate.version(),
                    waits_for: waits_for(t, candidate.row().table, blocker, range.root()),
                    orphan: t.records.was_orphan(candidate),
                    incomplete: matches!(standing, Standing::LacksRows(..))
                        || t.records.is_counted(candidate),
                    origin: (
                        &model.collection(origin.partition.collection).topic,
                        origin.partition.number,
                        origin.offset,
                        origin.timestamp,
                    ),
                    record_key,
                    record_value,
                });
            }
            // An orphan that was written without its parent waits on, in case it comes.
            (Standing::WithoutParent(_) | Standing::Open, _) => {}
            _ if t.records.released.is_locked(candidate.row()) => {
                tables.push(&entry.state_name);
                settled.push((candidate.key(), candidate.done_up_to()));
            }
            _ => {}
        }
    }
    parked::write(t.session, t.group, &park).await?;
    parked::remove(t.session, &tables, &settled).await?;
    if t.flags.dead_letters {
        let mut waiting: BTreeMap<&str, Vec<KeyVersion<'_>>> = BTreeMap::new();
        for one in &park {
            let of_table = waiting.entry(one.table).or_default();
            of_table.push((one.key, one.version.version));
        }
        for (table, waiting) in waiting {
            dead_letters::supersede_older(t.session, table, &waiting).await?;
        }
    }
    Ok(())
}

/// What a document of this root table waits for; `root` is its root row.
fn waits_for<'a>(
    t: &Attempt<'a>,
    table: TableId,
    blocker: Blocker,
    root: RowIndex,
) -> WaitsFor<'a> {
    let entry = t.model.table(table);
    match blocker {
        Blocker::Parent(reference) => parent(t, entry, reference, root),
        Blocker::ChildRow {
            table,
            reference,
            row,
        } => parent(t, t.model.table(table), reference, row),
        Blocker::OtherCollection | Blocker::OtherDocument => WaitsFor {
            unique: true,
            column: None,
            table: entry.state_name.clone(),
            key: t.rows.key(root).to_vec(),
        },
        Blocker::Unique(unique) => value(t, entry, unique, root),
        Blocker::ChildUnique { table, unique, row } => value(t, t.model.table(table), unique, row),
    }
}

/// A row's value of a unique key.
fn value<'a>(
    t: &Attempt<'_>,
    entry: &'a TableModel,
    unique: UniqueId,
    row: RowIndex,
) -> WaitsFor<'a> {
    let columns = &entry.sql.unique[unique.0].columns;
    let mut key = Vec::new();
    for &column in columns {
        let value = t.rows.field(row, column).unwrap_or_default();
        key.extend_from_slice(&field_length(value.len()).to_be_bytes());
        key.extend_from_slice(value);
    }
    let first = columns.first();
    WaitsFor {
        unique: true,
        column: first.map(|&column| entry.table.columns[column].name.as_str()),
        table: entry.state_name.clone(),
        key,
    }
}

fn parent<'a>(
    t: &Attempt<'a>,
    entry: &'a TableModel,
    reference: ReferenceId,
    row: RowIndex,
) -> WaitsFor<'a> {
    let check = &entry.sql.references[reference.0];
    let wanted = t.parent_keys.wanted(t.rows, row, check.column);
    WaitsFor {
        unique: false,
        column: Some(&check.full_name),
        table: check.parent.to_string(),
        key: wanted.unwrap_or_default().to_vec(),
    }
}

/// Whether a parked document was placed by this transaction. What was there already has not moved while
/// it lacks rows, or its parent.
pub(crate) fn is_placed(t: &Attempt<'_>, candidate: &Candidate) -> bool {
    let without_parent = candidate.is_nulled() && t.records.was_orphan(candidate);
    let waits_on = match candidate.standing() {
        _ if candidate.suppressed_in().is_some() => true,
        Standing::Open | Standing::Waits(_) => true,
        Standing::LacksRows(..) => candidate.may_be_incomplete() || without_parent,
        Standing::WithoutParent(_) | Standing::Done(_) => without_parent,
    };
    matches!(candidate.source(), CandidateSource::Parked(_)) && !waits_on
}
