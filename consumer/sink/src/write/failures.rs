//! How many records of each collection in a row could not be applied, for the breaker.
//!
//! The count is PostgreSQL's, and its row is locked from here to the commit. So whatever other consumers refuse
//! at the same time, all of them together let no more by than the limit: a transaction that would is taken back,
//! and its records come again, fewer at a time or not at all (`docs/protocol.md`, E3).

use super::attempt::Attempt;
use crate::{
    change::{Outcome, Prepared},
    decode,
    error::ApplyError,
    ids::CollectionId,
    state::breakers::{self, BreakerRow, Counted, Failures},
};
use std::collections::BTreeMap;

/// Counts the records in a row that cannot be applied, collection by collection. What was written ends
/// the row. Deletes, what was left out and what waits neither count nor end it: where nothing can be
/// written there is nothing to delete, and a delete proves nothing.
pub(crate) async fn count(
    t: &mut Attempt<'_>,
    outcomes: &[Option<Outcome>],
    limit: u32,
) -> Result<BTreeMap<CollectionId, BreakerRow>, ApplyError> {
    let mut found = BTreeMap::new();
    if limit == 0 {
        return Ok(found);
    }
    let mut seen: BTreeMap<CollectionId, Failures<'_>> = BTreeMap::new();
    for (record, outcome) in t.records.batch().iter().zip(outcomes) {
        let collection = record.delivery.origin.partition.collection;
        match (&record.prepared, outcome) {
            (Prepared::Refused(refusal), _) if !decode::is_delete(&record.delivery) => {
                let seen = seen.entry(collection).or_default();
                seen.in_a_row += 1;
                seen.reason = Some(&refusal.reason.message);
            }
            (_, Some(Outcome::Applied | Outcome::Unchanged)) if t.flags.failures => {
                let applied = true;
                seen.insert(
                    collection,
                    Failures {
                        applied,
                        ..Failures::default()
                    },
                );
            }
            (_, Some(Outcome::Applied | Outcome::Unchanged)) => {
                seen.remove(&collection);
            }
            _ => {}
        }
    }
    for (collection, seen) in seen {
        let topic = &t.model.collection(collection).topic;
        match breakers::count(t.session, t.group, topic, &seen, limit).await? {
            Counted::None => {}
            Counted::Row(row) => drop(found.insert(collection, row)),
            Counted::TooMany(before) => {
                let open = before.is_open();
                return Err(ApplyError::TooMany {
                    collection,
                    failures: before.failures,
                    reason: before.reason,
                    open,
                });
            }
        }
    }
    Ok(found)
}
