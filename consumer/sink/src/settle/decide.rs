//! What is decided of documents that have waited long enough: a dead letter, or null where the mapping
//! says so (`docs/protocol.md`, orphans). A decision is never final; the document is tried on (O6).

use super::policy::OrphanPolicy;
use crate::{
    error::ApplyError,
    ids::RowId,
    model::Model,
    orphan::{self, Waiting},
    state::{
        Origins,
        dead_letters::{self, ToList},
        parked::{self, GivenUp},
    },
    write::{
        attempt::Attempt,
        candidate::{CandidateSource, Standing},
        owners,
        released::Parked,
        suppressed,
        waiting::{self, Blocker, Why},
    },
};
use leafcutter_schemas::{
    dead_letter::{Origin, Reason, Stage},
    mapping::{OnMissing, Reference},
    version::Version,
};

/// A dead letter that is listed, and to be sent.
#[derive(Debug, Clone)]
pub struct DueDeadLetter {
    row: RowId,
    /// Where its record was read.
    pub origin: Origin,
    /// Why the document is given up.
    pub reason: Reason,
    /// Its version.
    pub version: Version,
    /// The record's key.
    pub record_key: Vec<u8>,
    /// The record's value.
    pub record_value: Vec<u8>,
    given_up: GivenUp,
}

impl DueDeadLetter {
    /// The document's row.
    pub(super) fn row(&self) -> &RowId {
        &self.row
    }

    /// As what the document is given up.
    pub(super) fn why(&self) -> GivenUp {
        self.given_up
    }

    fn of(model: &Model, parked: &Parked, reason: Reason, given_up: GivenUp) -> Self {
        let partition = parked.origin.partition;
        Self {
            row: parked.row.clone(),
            origin: Origin {
                topic: model.collection(partition.collection).topic.clone(),
                partition: partition.number,
                offset: parked.origin.offset,
                timestamp: parked.origin.timestamp,
            },
            reason,
            version: parked.version.version,
            record_key: parked.record_key.clone(),
            record_value: parked.record_value.clone(),
            given_up,
        }
    }

    /// Lists it. What is listed before it is sent, the index knows: what places the document from now on
    /// supersedes its dead letter, sent or not.
    async fn list(&self, t: &mut Attempt<'_>) -> Result<(), ApplyError> {
        let letter = ToList {
            topic: &self.origin.topic,
            partition: self.origin.partition,
            offset: self.origin.offset,
            table: &t.model.table(self.row.table).state_name,
            row_key: Some(&self.row.key),
            record_key: &self.record_key,
            version: Some(self.version),
            reason: &self.reason,
            group: t.group,
            mapping: &t.model.mapping.hash,
            staged_in: &t.model.staged_in,
        };
        Ok(dead_letters::list(t.session, &letter).await?)
    }
}

/// Lists the dead letter of a parked document that PostgreSQL refuses, and gives it to be sent. One that was
/// sent when the document was given up for another reason serves: it only gets the new reason.
pub(super) async fn refuse(
    t: &mut Attempt<'_>,
    parked: &Parked,
    reason: Reason,
) -> Result<Option<DueDeadLetter>, ApplyError> {
    let due = DueDeadLetter::of(t.model, parked, reason, GivenUp::Refused);
    let (topic, partition) = (due.origin.topic.as_str(), due.origin.partition);
    let mut record = Origins::default();
    record.push(topic, partition, due.origin.offset);
    let open = dead_letters::lock_open(t.session, &t.model.staged_in, &record).await?;
    due.list(t).await?;
    if open.is_empty() || !parked.orphan {
        return Ok(Some(due));
    }
    let name = &t.model.table(parked.row.table).state_name;
    let documents: (&[&str], &[&[u8]]) = (&[name], &[&parked.row.key]);
    parked::give_up(t.session, GivenUp::Refused, documents, &record).await?;
    Ok(None)
}

/// Lists the dead letters of the parked documents that the target suppressed; gives those to be sent.
pub(super) async fn refuse_suppressed(
    t: &mut Attempt<'_>,
) -> Result<Vec<DueDeadLetter>, ApplyError> {
    let mut refused = Vec::new();
    for candidate in t.candidates.iter() {
        if let Some(reason) = suppressed::reason(t.model, candidate)
            && let CandidateSource::Parked(index) = candidate.source()
        {
            refused.push((t.records.released.get(index).clone(), reason));
        }
    }
    let mut due = Vec::new();
    for (parked, reason) in refused {
        due.extend(refuse(t, &parked, reason).await?);
    }
    Ok(due)
}

/// Decides all candidates that were tried and wait still; gives the dead letters of those that are due,
/// listed. What is given up already has one, which Kafka has: only why it waits is written down anew, since
/// another parent may be missing than the one of which its dead letter tells.
pub(super) async fn decide_all(
    t: &mut Attempt<'_>,
    policy: &OrphanPolicy,
) -> Result<Vec<DueDeadLetter>, ApplyError> {
    let model = t.model;
    let mut all = Vec::new();
    let mut before = Vec::new();
    let mut of_others = Vec::new();
    for candidate in t.candidates.iter() {
        let (Standing::Waits(blocker) | Standing::LacksRows(_, blocker)) = candidate.standing()
        else {
            continue;
        };
        let CandidateSource::Parked(index) = candidate.source() else {
            continue;
        };
        let parked = t.records.released.get(index);
        let Some(due) = due(model, parked, blocker, policy) else {
            continue;
        };
        if parked.orphan {
            before.push(due);
            continue;
        }
        if blocker == Blocker::OtherDocument
            && let Some(key) = candidate.row_key(t.rows)
        {
            of_others.push((all.len(), due.row.table, key.to_vec()));
        }
        all.push(due);
    }
    for (index, table, key) in of_others {
        if let Some(owner) = owners::owner_of(t, table, &key).await? {
            let message = &mut all[index].reason.message;
            message.push_str(&format!(": {owner}"));
        }
    }
    for due in &all {
        due.list(t).await?;
    }
    if !before.is_empty() {
        let mut records = Origins::default();
        for due in &before {
            let origin = &due.origin;
            records.push(&origin.topic, origin.partition, origin.offset);
        }
        let reasons: Vec<&Reason> = before.iter().map(|due| &due.reason).collect();
        dead_letters::correct(t.session, &model.staged_in, &records, &reasons).await?;
    }
    Ok(all)
}

/// The reference that a parked document waits for, if its table still has it.
fn reference<'m>(model: &'m Model, parked: &Parked) -> Option<&'m Reference> {
    let column = parked.wait_column.as_deref()?;
    let root = parked.row.table;
    let mut tables = std::iter::once(&root).chain(&model.table(root).children);
    tables.find_map(|&table| {
        let entry = model.table(table);
        let mut checks = entry.sql.references.iter();
        let check = checks.find(|check| check.full_name == column)?;
        entry.table.columns[check.column].reference.as_ref()
    })
}

fn waited_enough(parked: &Parked, policy: &OrphanPolicy) -> bool {
    parked.age_seconds >= policy.orphan_after.as_secs_f64()
}

fn parent_never_comes(model: &Model, parked: &Parked, policy: &OrphanPolicy) -> bool {
    let parents = model.collections.iter().filter(|collection| {
        let mut names = collection.roots.iter().map(|&r| &model.table(r).table.name);
        names.any(|name| name.to_string() == parked.wait_table)
    });
    let topics: Vec<&str> = parents
        .map(|collection| collection.topic.as_str())
        .collect();
    let partition = parked.origin.partition;
    let waiting = Waiting {
        as_of: parked.version.as_of,
        topic: &model.collection(partition.collection).topic,
        partition: partition.number,
        parent_topics: &topics,
        parent_tombstone: parked.wait_tombstone,
    };
    orphan::is_orphan(&waiting, &policy.control, &policy.progress)
}

/// Whether its missing parent is to be left out. The conditions were read before the parent is
/// looked for, which happens when the reference is set to null. What was decided before it waited for
/// a row of its child tables is decided with that again, as it is of orphans: both would wait for
/// each other otherwise.
pub(super) fn is_set_null(model: &Model, parked: &Parked, policy: &OrphanPolicy) -> bool {
    let is_null = reference(model, parked).is_some_and(|r| r.on_missing == OnMissing::Null);
    !parked.unique
        && (is_null || parked.incomplete)
        && waited_enough(parked, policy)
        && parent_never_comes(model, parked, policy)
}

/// The dead letter of a document that has waited long enough, also of one that was given up before; none while
/// it has not.
fn due(
    model: &Model,
    parked: &Parked,
    blocker: Blocker,
    policy: &OrphanPolicy,
) -> Option<DueDeadLetter> {
    if !waited_enough(parked, policy) || (parked.has_value && !parked.unique) {
        return None;
    }
    let waiting = waiting::describe(model, parked.row.table, blocker);
    let message = waiting.fault();
    let code = if let Why::NoParent(check) = waiting.why {
        // The look that parked it must be the one that the decision is about.
        if parked.wait_column.as_deref() != Some(&check.full_name)
            || !parent_never_comes(model, parked, policy)
        {
            return None;
        }
        "orphan"
    } else {
        "unique"
    };
    let reason = Reason::new(Stage::Settle, code, message)
        .at(waiting.table.state_name.clone(), waiting.column);
    Some(DueDeadLetter::of(model, parked, reason, GivenUp::Orphan))
}
