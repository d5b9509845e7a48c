//! What is decided of documents that have waited long enough: a dead letter, or null where the mapping
//! says so (`PROTOCOL.md` §5). A decision is never final; the document is tried on (O6).

use super::{
    ApplyError, letters,
    parking::Parked,
    settle::Patience,
    statement::ReferenceCheck,
    transaction::Transaction,
    work::{Candidate, From, Obstacle, RowId},
};
use crate::{
    dead_letter::DeadLetters,
    model::{Model, TableModel},
    orphan::{self, Waiting},
    transform::TableId,
};
use leafcutter_schemas::{
    dead_letter::{Origin, Reason, Stage},
    mapping::{OnMissing, Table},
    version::Version,
};
use std::time::Duration;

/// How long a dead letter's confirmation is waited for before other documents have their turn.
const LETTER_WAIT: Duration = Duration::from_secs(10);

/// A dead letter that is listed, and to be sent.
#[derive(Debug)]
pub(super) struct Letter {
    /// The document's row.
    pub(super) row: RowId,
    origin: Origin,
    reason: Reason,
    version: Version,
    record_key: Vec<u8>,
    record_value: Vec<u8>,
}

impl Letter {
    /// Whether Kafka has it.
    pub(super) async fn send(&self, letters: &DeadLetters) -> bool {
        let sent = letters.send_original(
            self.origin.clone(),
            &self.reason,
            Some(self.version),
            &self.record_key,
            Some(&self.record_value),
            None,
        );
        matches!(tokio::time::timeout(LETTER_WAIT, sent).await, Ok(Ok(())))
    }
}

/// Decides what is due of a candidate that was tried: gives its letter, listed.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub(super) async fn decide(
    t: &mut Transaction<'_>,
    candidate: &Candidate,
    obstacle: Obstacle,
    patience: &Patience,
) -> Result<Option<Letter>, ApplyError> {
    let Some(letter) = due(t, candidate, obstacle, patience) else {
        return Ok(None);
    };
    list(t, candidate, &letter).await?;
    Ok(Some(letter))
}

/// Gives documents up whose letters Kafka has, where the same record waits still. Their parked rows stay,
/// as orphans. Gives how many.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub(super) async fn give_up(t: &mut Transaction<'_>, sent: &[Letter]) -> Result<usize, ApplyError> {
    // Locked in the order in which batches lock.
    const GIVE_UP: &str = "\
        with sent as (select p.table_name, p.row_key from leafcutter.parked p \
        join unnest($1::text[], $2::bytea[], $3::text[], $4::int[], $5::bigint[]) as k(n, k, t, p, o) \
        on p.table_name = k.n and p.row_key = k.k \
        and p.topic = k.t and p.partition = k.p and p.\"offset\" = k.o \
        where p.state = 'waiting' order by p.table_name, p.row_key for update of p) \
        update leafcutter.parked p set state = 'orphan' from sent s \
        where p.table_name = s.table_name and p.row_key = s.row_key \
        returning p.topic, p.partition, p.incomplete";
    let (tables, keys): (Vec<&str>, Vec<&[u8]>) = sent
        .iter()
        .map(|letter| {
            let table = t.model.table(letter.row.0);
            (table.state_name.as_str(), letter.row.1.as_slice())
        })
        .unzip();
    let origins = || sent.iter().map(|letter| &letter.origin);
    let topics: Vec<&str> = origins().map(|origin| origin.topic.as_str()).collect();
    let partitions: Vec<i32> = origins().map(|origin| origin.partition).collect();
    let offsets: Vec<i64> = origins().map(|origin| origin.offset).collect();
    let statement = t.session.prepared(GIVE_UP).await?;
    let given_up = t
        .session
        .client()
        .query(
            &statement,
            &[&tables, &keys, &topics, &partitions, &offsets],
        )
        .await?;
    for row in &given_up {
        // Of a document that is there, the record is counted as applied.
        if !row.get::<_, bool>(2)
            && let Some(collection) = t.model.collection_of_topic(row.get(0))
        {
            t.settled_dead_letter((collection, row.get(1)));
        }
    }
    Ok(given_up.len())
}

/// Notes that a document is given up (O6).
///
/// # Errors
/// When PostgreSQL is lost.
pub(super) async fn mark_orphan(
    t: &mut Transaction<'_>,
    (root, key): &RowId,
) -> Result<(), ApplyError> {
    let statement = t
        .session
        .prepared(
            "update leafcutter.parked set state = 'orphan' \
             where table_name = $1 and row_key = $2 and state = 'waiting'",
        )
        .await?;
    let name = &t.model.table(*root).state_name;
    t.session.client().execute(&statement, &[name, key]).await?;
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
pub(super) fn decides_null(model: &Model, parked: &Parked, patience: &Patience) -> bool {
    let is_null = reference(model, parked).is_some_and(|r| r.on_missing == OnMissing::Null);
    !parked.unique
        && (is_null || parked.incomplete)
        && waited_enough(parked, patience)
        && parent_never_comes(model, parked, patience)
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
        row: parked.row.clone(),
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
