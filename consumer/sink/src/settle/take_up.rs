//! A parked document that is locked becomes a candidate of the transaction.

use super::{decide, policy::OrphanPolicy};
use crate::{
    error::ApplyError,
    state::tombstones,
    write::{attempt::Attempt, release, released::Parked},
};

/// Makes a locked document a candidate, unless somebody has its table. With a policy it may be decided that its
/// parent never comes.
pub(super) async fn take_up(
    t: &mut Attempt<'_>,
    mut parked: Parked,
    busy: &[&str],
    policy: Option<&OrphanPolicy>,
) -> Result<(), ApplyError> {
    if busy.contains(&t.model.table(parked.row.table).state_name.as_str()) {
        return Ok(());
    }
    look_for_tombstone(t, &mut parked).await?;
    let never_comes = policy.is_some_and(|policy| decide::is_set_null(t.model, &parked, policy));
    t.records.released.lock(parked.row.clone());
    release::resubmit(t, parked, never_comes);
    Ok(())
}

/// Looks for the tombstones of the row that a document waits for where they do not stand under the
/// table's own name: where several collections fill it, each has its own; where a document's key is
/// not the row's, those of rows stand apart.
async fn look_for_tombstone(t: &mut Attempt<'_>, parked: &mut Parked) -> Result<(), ApplyError> {
    if parked.unique {
        return Ok(());
    }
    let filled = t.model.tables.iter().filter(|entry| {
        (entry.shared || entry.natural_key || entry.keeps_document)
            && entry.table.name.to_string() == parked.wait_table
    });
    let names: Vec<String> = filled
        .map(|entry| {
            if entry.natural_key || entry.keeps_document {
                tombstones::of_rows(&entry.state_name)
            } else {
                entry.state_name.clone()
            }
        })
        .collect();
    if !names.is_empty()
        && let Some(newest) = tombstones::newest(t.session, &names, &parked.wait_key).await?
    {
        parked.wait_tombstone = parked.wait_tombstone.max(newest);
    }
    Ok(())
}
