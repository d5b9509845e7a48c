//! The settling task: what batches cannot see of each other (`PROTOCOL.md` §4, S1; §5).
//!
//! A batch that writes a parent does not see a child that is being parked at that moment, and the
//! child's batch does not see the parent. So every consumer looks again, in transactions of its own:
//! it locks parked documents (leaving out those that somebody works on), then tries them through
//! the same steps as a batch; what is held is the matter of [`super::held`].
//! What still waits after its time is decided: a dead letter, or null where the mapping says so.

use super::{
    ApplyError,
    apply::Applier,
    counters,
    keys::turns,
    letters,
    parking::{self, COLUMNS, Flags, Parked},
    statement::ReferenceCheck,
    transaction::Transaction,
    work::{Candidate, Fate, From, Obstacle},
};
use crate::{
    dead_letter::DeadLetters,
    model::{Model, TableModel},
    orphan::{self, ControlState, Progress, Waiting},
    transform::{Rows, TableId},
};
use futures_util::future::join_all;
use leafcutter_schemas::{
    dead_letter::{Origin, Reason, Stage},
    mapping::{OnMissing, Table},
    version::Version,
};
use std::{sync::Arc, time::Duration};

/// Parked documents tried in one transaction.
const TRIED_MAX: i64 = 500;

/// What one round did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settled {
    /// Documents placed.
    pub placed: usize,
    /// Documents called orphans, or whose unique value never came free.
    pub decided: usize,
    /// Held rows deleted.
    pub let_go: u64,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// How long a dead letter's confirmation is waited for before other documents have their turn.
const LETTER_WAIT: Duration = Duration::from_secs(10);

/// Confirmed letters remembered from round to round.
const CONFIRMED_MAX: usize = 10_000;

/// A dead letter to be sent.
struct Letter {
    origin: Origin,
    reason: Reason,
    version: Version,
    record_key: Vec<u8>,
    record_value: Vec<u8>,
}

/// When a waiting document is given up.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How long a document waits at least.
    pub orphan_after: Duration,
    /// What the control topic said before this round.
    pub control: ControlState,
    /// How far the group had applied before this round.
    pub progress: Progress,
}

/// Those that were not tried for longest: more than one round holds may wait for long. Not those of
/// the tables in `$1`.
const LOCK: &str = "\
    where p.table_name <> all($1) and p.tried_at < now() - case when p.state = 'waiting' \
    then interval '0.5 s' else interval '10 s' end order by p.tried_at";

impl Applier {
    /// One round over what is parked.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost. A dead letter that cannot be written is owed.
    pub async fn settle_parked(
        &mut self,
        model: &Arc<Model>,
        patience: &Patience,
        letters: &DeadLetters,
    ) -> Result<Settled, ApplyError> {
        let lock = format!(
            "select {COLUMNS} from (select * from leafcutter.parked p {LOCK} limit {TRIED_MAX} \
             for update skip locked) p"
        );
        let mut rows = Rows::default();
        let mut owed = Vec::new();
        let mut confirmed = std::mem::take(&mut self.confirmed);
        let body = async |t: &mut Transaction<'_>| {
            t.flags = Flags::read(t.session).await?;
            if !t.flags.parked {
                return Ok(Settled::default());
            }
            let busy = turns::attempt_all(t).await?;
            let statement = t.session.prepared(&lock).await?;
            let found = t.session.client().query(&statement, &[&busy]).await?;
            let more = found.len() >= usize::try_from(TRIED_MAX).unwrap_or(usize::MAX);
            for mut parked in found.iter().filter_map(|row| Parked::read(t.model, row)) {
                parking::look_for_tombstones(t.session, t.model, &mut parked).await?;
                let null = decides_null(t.model, &parked, patience);
                t.known.insert(parked.row.clone());
                t.adopt(parked, null);
            }
            touch(t).await?;
            t.write(&[]).await?;
            let mut settled = Settled {
                more,
                ..Settled::default()
            };
            for index in 0..t.work.candidates.len() {
                let candidate = t.work.candidates[index].clone();
                let waits = match candidate.fate {
                    Fate::Done(_) => {
                        // What was there already has not moved while it lacks rows, or its parent.
                        let orphan = matches!(candidate.from, From::Parked { orphan: true, .. });
                        let waits_on = (candidate.incomplete && candidate.lacks.is_some())
                            || (candidate.nulled && orphan);
                        let parked = matches!(candidate.from, From::Parked { .. });
                        settled.placed += usize::from(parked && !waits_on);
                        // What still lacks a row is given up for that, with a dead letter.
                        if candidate.nulled && candidate.lacks.is_none() {
                            mark_orphan(t, &candidate).await?;
                        }
                        candidate.lacks
                    }
                    Fate::Waits(obstacle) => Some(obstacle),
                    Fate::Open => None,
                };
                if let Some(obstacle) = waits {
                    let Some(letter) = due(t, &candidate, obstacle, patience) else {
                        continue;
                    };
                    if confirmed.remove(&letter.origin) {
                        give_up(t, &candidate).await?;
                        settled.decided += 1;
                    } else {
                        list(t, &candidate, &letter).await?;
                        owed.push(letter);
                    }
                }
            }
            counters::count_settled(t).await?;
            Ok(settled)
        };
        let settled = self.transact(&mut rows, body, model).await;
        if settled.is_err() {
            owed.clear();
        }
        // No lock is held while Kafka is waited for. The next round gives these documents up, if
        // they still wait then.
        let sends = owed.iter().map(async |letter| {
            let sent = letters.send_original(
                letter.origin.clone(),
                &letter.reason,
                Some(letter.version),
                &letter.record_key,
                Some(&letter.record_value),
                None,
            );
            let confirmed = matches!(tokio::time::timeout(LETTER_WAIT, sent).await, Ok(Ok(())));
            confirmed.then(|| letter.origin.clone())
        });
        // Others may have placed a document meanwhile; what is forgotten is only sent again.
        if confirmed.len() > CONFIRMED_MAX {
            confirmed.clear();
        }
        confirmed.extend(join_all(sends).await.into_iter().flatten());
        self.confirmed = confirmed;
        settled
    }
}

/// Notes that these documents were tried, so that the next round takes others.
async fn touch(t: &mut Transaction<'_>) -> Result<(), ApplyError> {
    let (tables, keys): (Vec<&str>, Vec<&[u8]>) = t
        .known
        .iter()
        .map(|(table, key)| (t.model.table(*table).state_name.as_str(), key.as_slice()))
        .unzip();
    let statement = t
        .session
        .prepared(
            "update leafcutter.parked p set tried_at = now() \
             from unnest($1::text[], $2::bytea[]) as k(t, k) \
             where p.table_name = k.t and p.row_key = k.k",
        )
        .await?;
    t.session
        .client()
        .execute(&statement, &[&tables, &keys])
        .await?;
    Ok(())
}

/// The reference that a parked document waits for, if its table still has it.
fn reference<'m>(
    model: &'m Model,
    parked: &Parked,
) -> Option<&'m leafcutter_schemas::mapping::Reference> {
    let column = parked.wait_column.as_deref()?;
    let children = &model.table(parked.row.0).children;
    let mut tables = std::iter::once(&parked.row.0).chain(children);
    tables.find_map(|&table| {
        let entry = model.table(table);
        let check = entry
            .sql
            .references
            .iter()
            .find(|c| c.full_name == column)?;
        entry.table.columns[check.column].reference.as_ref()
    })
}

fn waited_enough(parked: &Parked, patience: &Patience) -> bool {
    parked.age_seconds >= patience.orphan_after.as_secs_f64()
}

fn parent_never_comes(model: &Model, parked: &Parked, patience: &Patience) -> bool {
    let topics: Vec<&str> = model
        .collections
        .iter()
        .filter(|c| {
            let mut names = c.roots.iter().map(|&root| &model.table(root).table.name);
            names.any(|name| name.to_string() == parked.wait_table)
        })
        .map(|c| c.topic.as_str())
        .collect();
    let waiting = Waiting {
        as_of: parked.stamp.as_of,
        topic: &model.collections[parked.provenance.collection].topic,
        partition: parked.provenance.partition,
        parent_topics: &topics,
        parent_tombstone: parked.wait_tombstone,
    };
    orphan::is_orphan(&waiting, &patience.control, &patience.progress)
}

/// Whether its missing parent is to be left out. The conditions were read before the parent is
/// looked for, which happens when the reference is set to null. What was decided before it waited for
/// a row of its child tables is decided with that again, as it is of orphans: both would wait for
/// each other otherwise.
fn decides_null(model: &Model, parked: &Parked, patience: &Patience) -> bool {
    let is_null = reference(model, parked).is_some_and(|r| r.on_missing == OnMissing::Null);
    !parked.unique
        && (is_null || parked.incomplete)
        && waited_enough(parked, patience)
        && parent_never_comes(model, parked, patience)
}

async fn mark_orphan(t: &mut Transaction<'_>, candidate: &Candidate) -> Result<(), ApplyError> {
    let root = candidate.root;
    let statement = t
        .session
        .prepared(
            "update leafcutter.parked set state = 'orphan' \
             where table_name = $1 and row_key = $2 and state = 'waiting'",
        )
        .await?;
    let name = &t.model.table(root).state_name;
    t.session
        .client()
        .execute(&statement, &[name, &candidate.key])
        .await?;
    Ok(())
}

/// The dead letter of a document that has waited long enough; none while it has not.
fn due(
    t: &Transaction<'_>,
    candidate: &Candidate,
    obstacle: Obstacle,
    patience: &Patience,
) -> Option<Letter> {
    let From::Parked {
        orphan: false,
        pulled,
    } = candidate.from
    else {
        return None;
    };
    let parked = &t.pulled[pulled];
    let entry = t.model.table(parked.row.0);
    if !waited_enough(parked, patience) {
        return None;
    }
    let reason = match obstacle {
        Obstacle::Parent(_) | Obstacle::Row { .. } => {
            let (entry, check) = check(t.model, parked.row.0, obstacle);
            // The look that parked it must be the one that the decision is about.
            if parked.wait_column.as_deref() != Some(&check.full_name)
                || !parent_never_comes(t.model, parked, patience)
            {
                return None;
            }
            let column = &check.column_name;
            let message = format!(
                "the row of `{}` that `{}` points to does not exist in the source",
                check.parent, check.full_name
            );
            reason("orphan", &entry.state_name, column, message)
        }
        Obstacle::Foreign => {
            let message = "a document of another collection has the same key".to_owned();
            reason(
                "unique",
                &entry.state_name,
                &key_names(&entry.table),
                message,
            )
        }
        Obstacle::Key => {
            let message = "another document has the same key".to_owned();
            reason(
                "unique",
                &entry.state_name,
                &key_names(&entry.table),
                message,
            )
        }
        Obstacle::Unique(index) => {
            let columns = &entry.sql.unique[index].columns;
            let names: Vec<&str> = columns
                .iter()
                .map(|&c| entry.table.columns[c].name.as_str())
                .collect();
            let column = names.join(", ");
            let message =
                format!("another document has the same value in the unique column `{column}`");
            reason("unique", &entry.state_name, &column, message)
        }
    };
    Some(Letter {
        origin: Origin {
            topic: t.model.collections[parked.provenance.collection]
                .topic
                .clone(),
            partition: parked.provenance.partition,
            offset: parked.provenance.offset,
            timestamp: parked.provenance.timestamp,
        },
        reason,
        version: candidate.stamp.version,
        record_key: parked.record_key.clone(),
        record_value: parked.record_value.clone(),
    })
}

/// Lists a dead letter before it is sent, so that nothing is in the topic of which the index does
/// not know: whoever places the document from now on supersedes its letter, sent or not.
async fn list(
    t: &mut Transaction<'_>,
    candidate: &Candidate,
    letter: &Letter,
) -> Result<(), ApplyError> {
    letters::list(
        t,
        (&candidate.provenance, candidate.root),
        &letter.reason,
        Some(&candidate.key),
        &letter.record_key,
        Some(letter.version),
    )
    .await
}

/// A document whose dead letter is confirmed; the parked row stays as an orphan (O6).
async fn give_up(t: &mut Transaction<'_>, candidate: &Candidate) -> Result<(), ApplyError> {
    mark_orphan(t, candidate).await?;
    // Of a document that is there, the record is counted as applied.
    if !(candidate.incomplete || candidate.lacks.is_some()) {
        t.settled_dead_letter(&candidate.provenance);
    }
    Ok(())
}

/// The names of a table's key columns.
pub(super) fn key_names(table: &Table) -> String {
    let names = table.key.iter().map(|&c| table.columns[c].name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// The reference whose parent is missing, of a document in that root table.
pub(super) fn check(
    model: &Model,
    root: TableId,
    obstacle: Obstacle,
) -> (&TableModel, &ReferenceCheck) {
    let (table, index) = match obstacle {
        Obstacle::Row {
            table, reference, ..
        } => (table, reference),
        Obstacle::Parent(index) | Obstacle::Unique(index) => (root, index),
        Obstacle::Foreign | Obstacle::Key => (root, 0),
    };
    let entry = model.table(table);
    (entry, &entry.sql.references[index])
}

fn reason(code: &'static str, table: &str, column: &str, message: String) -> Reason {
    Reason {
        stage: Stage::Settle,
        code,
        message,
        table: Some(table.to_owned()),
        column: Some(column.to_owned()),
        path: None,
        sqlstate: None,
    }
}
