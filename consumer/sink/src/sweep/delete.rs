//! Deletes what is gone, through the steps of a batch.

use super::Gone;
use crate::{
    change::{
        Counts, Delivery, Mutation, Outcome, Prepared, Record, RecordOrigin, SourceVersion,
        TableChange,
    },
    connection::{Connection, Ending},
    error::ApplyError,
    ids::{CollectionId, Partition, TableId},
    isolate::{AfterError, Isolated, Parts},
    state::{KeyVersion, dead_letters, offsets, tombstones},
    transform::Rows,
    write::{
        self,
        attempt::Attempt,
        candidate::{Candidate, CandidateSource},
        release, table_lock,
    },
};
use leafcutter_schemas::{dead_letter::Reason, version::Version};
use std::{collections::BTreeMap, time::Duration};

/// Attempts while something is in the way that passes by itself.
const ATTEMPTS_MAX: u32 = 20;
/// The pause between them.
const PAUSE: Duration = Duration::from_millis(250);

/// What became of some of what is gone.
#[derive(Debug, Default)]
pub struct Swept {
    /// Documents by what became of them.
    pub counts: Counts,
    /// Why PostgreSQL refuses to delete documents, each by its own.
    pub refused: Vec<Box<Reason>>,
}

/// Deletes.
#[derive(Debug)]
pub struct Deleter {
    connection: Connection,
    collection: CollectionId,
    version: Version,
}

impl Deleter {
    /// Deletes documents of a collection at this version.
    pub fn new(connection: Connection, collection: CollectionId, version: Version) -> Self {
        Self {
            connection,
            collection,
            version,
        }
    }

    /// To be called before anything is deleted: batches look for tombstones from now on.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn announce(&mut self, partitions: i32) -> Result<(), ApplyError> {
        let model = std::sync::Arc::clone(self.connection.model());
        let group = self.connection.group().to_owned();
        let topic = &model.collection(self.collection).topic;
        let mut attempts = 0;
        loop {
            let session = self.connection.session().await?;
            let place = (topic.as_str(), partitions);
            let noted = offsets::expect_deletes(session, &group, place, &model.mapping.hash).await;
            match noted.map_err(ApplyError::from) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    attempts += 1;
                    if attempts >= ATTEMPTS_MAX {
                        return Err(error);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Deletes some documents, in one transaction, or in halves where one of them is refused.
    ///
    /// # Errors
    /// When PostgreSQL is lost, or something stays in the way.
    pub async fn delete(&mut self, gone: &[Gone]) -> Result<Swept, ApplyError> {
        let mut swept = Swept::default();
        let records = gone.iter().map(|gone| self.record(gone));
        let mut parts = Parts::of(records.collect());
        while let Some(part) = parts.next_part() {
            if let [only] = part.as_slice()
                && let Prepared::Refused(refusal) = &only.prepared
            {
                swept.refused.push(Box::new(refusal.reason.clone()));
                continue;
            }
            match self.attempts(&part, &mut parts.attempts(&part)).await? {
                Ok(counts) => swept.counts.merge(&counts),
                Err(reason) => {
                    if parts.isolate(part, reason) == Isolated::Stuck {
                        break;
                    }
                }
            }
        }
        Ok(swept)
    }

    async fn attempts(
        &mut self,
        part: &[Record],
        attempts: &mut crate::isolate::Attempts,
    ) -> Result<Result<Counts, Option<Box<Reason>>>, ApplyError> {
        let mut waited = 0;
        loop {
            let mut rows = Rows::default();
            let steps = async |t: &mut Attempt<'_>| delete(t).await;
            let done = self
                .connection
                .transact(part, &mut rows, Ending::Commit, steps)
                .await;
            let error = match done {
                Ok(counts) => return Ok(Ok(counts)),
                Err(error) => error,
            };
            match attempts.after(error) {
                AfterError::AtOnce => {}
                AfterError::Isolate(reason) => return Ok(Err(reason)),
                AfterError::Without(_) => return Ok(Err(None)),
                AfterError::AfterPause(error) => {
                    waited += 1;
                    let for_good = matches!(error, ApplyError::Mapping { .. });
                    if for_good || waited >= ATTEMPTS_MAX {
                        return Err(error);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A record that says that the document is gone; nobody has read it from a topic.
    fn record(&self, gone: &Gone) -> Record {
        let change = TableChange {
            root: gone.root,
            key: gone.key.clone(),
            row_key: gone.row_key.clone(),
            mutation: Mutation::Delete { filtered: false },
        };
        Record {
            delivery: Delivery {
                origin: RecordOrigin {
                    partition: Partition {
                        collection: self.collection,
                        number: -1,
                    },
                    offset: -1,
                    timestamp: None,
                },
                key: Vec::new(),
                value: None,
                headers: Vec::new(),
            },
            prepared: Prepared::Write {
                version: SourceVersion {
                    version: self.version,
                    as_of: self.version,
                    event: false,
                },
                changes: vec![change],
            },
        }
    }
}

/// The steps of one transaction.
async fn delete(t: &mut Attempt<'_>) -> Result<Counts, ApplyError> {
    t.look_at_state().await?;
    // What waits for these rows waits on.
    t.releases = false;
    let mut rowless: BTreeMap<TableId, Vec<KeyVersion<'_>>> = BTreeMap::new();
    let mut counts = Counts::default();
    for (index, record) in t.records.batch().iter().enumerate() {
        let Prepared::Write { version, changes } = &record.prepared else {
            continue;
        };
        let told = |change: &TableChange| {
            !t.model.table(change.root).keeps_document || change.row_key.is_some()
        };
        if changes.iter().all(told) {
            for candidate in Candidate::of_record(index, record) {
                t.candidates.offer(candidate);
            }
            continue;
        }
        // Only a dead letter of it is left: there is no row, and there must be none.
        for change in changes {
            let known = rowless.entry(change.root).or_default();
            known.push((&change.key, version.version));
            counts.add(Outcome::Deleted);
        }
    }
    table_lock::lock_for_records(t).await?;
    release::release_waiters(t).await?;
    write::write(t).await?;
    for (root, gone) in rowless {
        let name = &t.model.table(root).state_name;
        tombstones::write(t.session, name, &gone).await?;
        dead_letters::supersede(t.session, name, &gone).await?;
    }
    for candidate in t.candidates.iter() {
        if matches!(candidate.source(), CandidateSource::Batch(_)) {
            counts.add(candidate.outcome());
        }
    }
    Ok(counts)
}
