//! The counters: what became of every record, once (DECISIONS, accounting).

use super::{
    ApplyError,
    apply::Partition,
    transaction::Transaction,
    work::{Counts, Outcome},
};
use crate::decode::{Prepared, Record};
use std::collections::BTreeMap;

/// Adds what became of parked records to this process's own counters.
pub(super) async fn count_settled(t: &mut Transaction<'_>) -> Result<(), ApplyError> {
    const ADD: &str = "\
        insert into leafcutter.settled as s (consumer_group, topic, partition, consumer, applied, stale, dead_lettered) \
        values ($1, $2, $3, $4, $5, $6, $7) \
        on conflict (consumer_group, topic, partition, consumer) do update set \
        applied = s.applied + excluded.applied, stale = s.stale + excluded.stale, \
        dead_lettered = s.dead_lettered + excluded.dead_lettered";
    for ((collection, partition), n) in std::mem::take(&mut t.settled) {
        let topic = &t.model.collections[collection].topic;
        let statement = t.session.prepared(ADD).await?;
        t.session
            .client()
            .execute(
                &statement,
                &[
                    &t.group,
                    topic,
                    &partition,
                    &t.consumer,
                    &n[0],
                    &n[1],
                    &n[2],
                ],
            )
            .await?;
    }
    Ok(())
}

/// Adds the outcomes of these records to the counters of their partitions.
pub(super) async fn count(
    t: &mut Transaction<'_>,
    records: &[Record],
    counts: &BTreeMap<Partition, Counts>,
) -> Result<(), ApplyError> {
    const ADD: &str = "\
        update leafcutter.offsets set applied = applied + $4, unchanged = unchanged + $5, \
        stale = stale + $6, deleted = deleted + $7, held = held + $8, filtered = filtered + $9, \
        parked = parked + $10, ignored = ignored + $11, dead_lettered = dead_lettered + $12, \
        has_events = has_events or $13, has_tombstones = has_tombstones or $14, \
        source_time = greatest(source_time, $15) \
        where consumer_group = $1 and topic = $2 and partition = $3";
    let mut times: BTreeMap<Partition, (bool, bool, i64)> = BTreeMap::new();
    for record in records {
        let (stamp, delete) = match &record.prepared {
            // What a filter leaves out leaves a tombstone, too.
            Prepared::Write { stamp, parts } => {
                (stamp, parts.iter().any(|part| part.wish.is_delete()))
            }
            Prepared::Ignored | Prepared::Refused { .. } => continue,
        };
        let entry = times
            .entry((record.delivery.collection, record.delivery.partition))
            .or_default();
        entry.0 |= stamp.event;
        entry.1 |= delete;
        entry.2 = entry.2.max(stamp.version.as_i64());
    }
    let statement = t.session.prepared(ADD).await?;
    let updates = counts.iter().map(|((collection, partition), counted)| {
        let topic = &t.model.collections[*collection].topic;
        let n: Vec<i64> = Outcome::ALL
            .iter()
            .map(|&outcome| counted.of(outcome))
            .collect();
        let (events, deletes, time) = times
            .get(&(*collection, *partition))
            .copied()
            .unwrap_or_default();
        let client = t.session.client();
        let (statement, group) = (&statement, t.group);
        async move {
            client
                .execute(
                    statement,
                    &[
                        &group, topic, partition, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6],
                        &n[7], &n[8], &events, &deletes, &time,
                    ],
                )
                .await
        }
    });
    // Sent together, so that they cost one round trip.
    futures_util::future::try_join_all(updates).await?;
    Ok(())
}
