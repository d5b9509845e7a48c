//! The records of documents that want a row where the newest wins: kept, and taken up again.

use crate::{
    change::{Mutation, Prepared, RecordOrigin},
    decode,
    error::ApplyError,
    ids::{DocumentId, Partition, RowId, TableId},
    state::{
        parked,
        retained_records::{self, ToRetain},
    },
    write::{
        attempt::Attempt,
        candidate::{Candidate, CandidateSource},
    },
};

/// Keeps the records of these candidates.
pub(crate) async fn retain(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let model = t.model;
    let mut keep = ToRetain::default();
    for &document in documents {
        let candidate = t.candidates.get(document);
        // It is there.
        if matches!(candidate.source(), CandidateSource::Retained(_)) {
            continue;
        }
        let origin = candidate.origin();
        let topic = &model.collection(origin.partition.collection).topic;
        keep.push(
            candidate.key(),
            (
                topic,
                origin.partition.number,
                origin.offset,
                origin.timestamp,
            ),
            t.records.of(candidate),
        );
    }
    let name = &model.table(root).state_name;
    retained_records::write(t.session, name, &keep).await?;
    Ok(())
}

/// Makes candidates of the retained records of these documents; gives them with the keys of those that
/// have none any more. Those for whose records there is no room are parked, and have their turn with the
/// settling task. So are those that this mapping refuses, which was another when they were kept: they wait
/// until their topic is replayed, as all that was parked under another mapping.
pub(crate) async fn take_up(
    t: &mut Attempt<'_>,
    root: TableId,
    sources: &[&[u8]],
) -> Result<(Vec<DocumentId>, Vec<Vec<u8>>), ApplyError> {
    let model = t.model;
    let name = &model.table(root).state_name;
    let mut gone: Vec<Vec<u8>> = sources.iter().map(|source| source.to_vec()).collect();
    let mut taken = Vec::new();
    let room = t.records.room_for_others();
    let (records, mut waiting) =
        retained_records::of_documents(t.session, name, sources, room).await?;
    for record in records {
        let Some(collection) = model.collection_of_topic(&record.topic) else {
            continue;
        };
        let prepared = decode::prepare(model, collection, Some(&record.record_value), t.rows);
        let (version, changes) = match prepared {
            Prepared::Write { version, changes } => (version, changes),
            Prepared::Refused(_) => {
                waiting.push(record.source_key);
                continue;
            }
            Prepared::Ignored => continue,
        };
        let change = changes.into_iter().find(|change| change.root == root);
        let Some(mutation @ Mutation::Upsert(_)) = change.map(|change| change.mutation) else {
            continue;
        };
        gone.retain(|other| *other != record.source_key);
        let row = RowId {
            table: root,
            key: record.source_key.clone(),
        };
        let origin = RecordOrigin {
            partition: Partition {
                collection,
                number: record.partition,
            },
            offset: record.offset,
            timestamp: record.timestamp,
        };
        let source = t.records.retain(record);
        let candidate = Candidate::new(source, origin, row, version, mutation);
        taken.push(t.candidates.push(candidate));
    }
    park(t, root, &waiting).await?;
    Ok((taken, gone))
}

/// Parks documents by their retained records, but for those of which a newer image is part of this transaction.
async fn park(t: &mut Attempt<'_>, root: TableId, sources: &[Vec<u8>]) -> Result<(), ApplyError> {
    let is_new = |source: &&Vec<u8>| {
        let row = RowId {
            table: root,
            key: (*source).clone(),
        };
        t.candidates.of_row(&row).is_none()
    };
    let sources: Vec<&[u8]> = sources.iter().filter(is_new).map(Vec::as_slice).collect();
    let name = &t.model.table(root).state_name;
    Ok(parked::park_retained(t.session, t.group, name, &sources).await?)
}
