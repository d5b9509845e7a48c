//! `leafcutter.contenders`: the images of documents that contend for rows where the newest wins.
//!
//! The winner's is kept as well: when it loses to a newer document its record was read long ago, and
//! its rows are about to be overwritten.

use super::Kept;
use crate::{
    decode::{self, Prepared, Record},
    sink::{
        ApplyError,
        transaction::Transaction,
        work::{Candidate, Fate, From, Provenance, Wish},
    },
    transform::TableId,
};

/// Keeps the images of these candidates.
pub(super) async fn keep(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
    records: &[Record],
) -> Result<(), ApplyError> {
    const KEEP: &str = "\
        insert into leafcutter.contenders as s (table_name, source_key, topic, partition, \"offset\", \
        record_time, record_key, record_value) \
        select $1, u.* from unnest($2::bytea[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], \
        $7::bytea[], $8::bytea[]) as u \
        on conflict (table_name, source_key) do update set topic = excluded.topic, \
        partition = excluded.partition, \"offset\" = excluded.\"offset\", \
        record_time = excluded.record_time, record_key = excluded.record_key, \
        record_value = excluded.record_value where s.record_value <> excluded.record_value";
    let model = t.model;
    let (mut sources, mut topics, mut partitions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut offsets, mut times, mut keys, mut values) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for &document in documents {
        let candidate = &t.work.candidates[document];
        let (key, value) = match candidate.from {
            From::Batch(index) => {
                let delivery = &records[index].delivery;
                (
                    &*delivery.key,
                    delivery.value.as_deref().unwrap_or_default(),
                )
            }
            From::Parked { pulled, .. } => {
                let parked = &t.pulled[pulled];
                (&*parked.record_key, &*parked.record_value)
            }
            // It is there.
            From::Kept(_) => continue,
        };
        let at = &candidate.provenance;
        sources.push(candidate.key.as_slice());
        topics.push(model.collections[at.collection].topic.as_str());
        partitions.push(at.partition);
        offsets.push(at.offset);
        times.push(at.timestamp);
        keys.push(key);
        values.push(value);
    }
    if sources.is_empty() {
        return Ok(());
    }
    let name = &model.table(root).state_name;
    let statement = t.session.prepared(KEEP).await?;
    t.session
        .client()
        .execute(
            &statement,
            &[
                name,
                &sources,
                &topics,
                &partitions,
                &offsets,
                &times,
                &keys,
                &values,
            ],
        )
        .await?;
    Ok(())
}

/// Makes candidates of the kept images of these documents; gives them with the keys of those that
/// have none any more, under this mapping.
pub(super) async fn take_up(
    t: &mut Transaction<'_>,
    root: TableId,
    sources: &[&[u8]],
) -> Result<(Vec<usize>, Vec<Vec<u8>>), ApplyError> {
    const READ: &str = "\
        select source_key, topic, partition, \"offset\", record_time, record_key, record_value \
        from leafcutter.contenders where table_name = $1 and source_key = any($2)";
    let model = t.model;
    let name = &model.table(root).state_name;
    let mut gone: Vec<Vec<u8>> = sources.iter().map(|source| source.to_vec()).collect();
    let mut taken = Vec::new();
    if sources.is_empty() {
        return Ok((taken, gone));
    }
    let statement = t.session.prepared(READ).await?;
    let rows = t
        .session
        .client()
        .query(&statement, &[name, &sources])
        .await?;
    for row in rows {
        let source: Vec<u8> = row.get(0);
        let Some(collection) = model.collection_of_topic(row.get(1)) else {
            continue;
        };
        let kept = Kept {
            record_key: row.get(5),
            record_value: row.get(6),
        };
        let prepared = decode::prepare(model, collection, Some(&kept.record_value), t.rows);
        let Prepared::Write { stamp, parts } = prepared else {
            continue;
        };
        let part = parts.into_iter().find(|part| part.root == root);
        let Some(wish @ Wish::Upsert(_)) = part.map(|part| part.wish) else {
            continue;
        };
        gone.retain(|other| *other != source);
        taken.push(t.work.candidates.len());
        t.work.candidates.push(Candidate {
            from: From::Kept(t.kept.len()),
            provenance: Provenance {
                collection,
                partition: row.get(2),
                offset: row.get(3),
                timestamp: row.get(4),
            },
            root,
            key: source,
            stamp,
            wish,
            null_missing: false,
            nulled: false,
            incomplete: false,
            lacks: None,
            fate: Fate::Open,
        });
        t.kept.push(kept);
    }
    Ok((taken, gone))
}
