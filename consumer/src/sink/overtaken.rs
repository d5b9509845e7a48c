//! Refused records that come late.
//!
//! A producer that died, or only seemed to, publishes records again: one that is refused may be
//! older than what is stored for its row. Whoever placed or deleted that row could not close a
//! letter that was not there yet, so it is closed by the batch that lists it. Looked for with the
//! row locked, as everybody who writes it looks for letters with the row locked: one of the two
//! sees the other.

use super::{
    ApplyError, retry,
    transaction::Transaction,
    work::{Candidate, Wish},
};
use crate::{
    decode::{Part, Prepared, Record, Stamp},
    model::Model,
};

const CLOSE: &str = "\
    update leafcutter.dead_letters d set state = 'superseded' \
    from unnest($1::text[], $2::int[], $3::bigint[]) as k(t, p, o) \
    where d.topic = k.t and d.partition = k.p and d.\"offset\" = k.o and d.state = 'open'";

/// Closes the letters of the batch's refused records for whose rows something newer is stored.
pub(super) async fn close(t: &mut Transaction<'_>, records: &[Record]) -> Result<(), ApplyError> {
    let refused: Vec<Candidate> = records
        .iter()
        .enumerate()
        .filter_map(|(index, record)| refused(t.model, index, record))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let stored = retry::stored(t, &refused).await?;
    let overtaken = refused
        .iter()
        .zip(stored)
        .filter(|(candidate, stored)| *stored > candidate.stamp.version.as_i64());
    let (mut topics, mut partitions, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for (candidate, _) in overtaken {
        let at = &candidate.provenance;
        topics.push(t.model.collections[at.collection].topic.as_str());
        partitions.push(at.partition);
        offsets.push(at.offset);
    }
    if topics.is_empty() {
        return Ok(());
    }
    let statement = t.session.prepared(CLOSE).await?;
    t.session
        .client()
        .execute(&statement, &[&topics, &partitions, &offsets])
        .await?;
    Ok(())
}

/// A refused record of which is known whose it is and how old, in the table that its letter names.
fn refused(model: &Model, index: usize, record: &Record) -> Option<Candidate> {
    match &record.prepared {
        Prepared::Refused {
            key: Some(key),
            version: Some(version),
            ..
        } => {
            let stamp = Stamp {
                version: *version,
                as_of: *version,
                event: false,
            };
            let part = Part {
                root: model.collections[record.delivery.collection].roots[0],
                key: key.clone(),
                wish: Wish::Delete { filtered: false },
            };
            Some(Candidate::of_record(index, record, stamp, &part))
        }
        Prepared::Refused { .. } | Prepared::Write { .. } | Prepared::Ignored => None,
    }
}
