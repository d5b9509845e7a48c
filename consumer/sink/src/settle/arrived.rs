//! What waits for a row that is there (`docs/protocol.md`, S1h).
//!
//! A parent's own transaction releases what waits for it, but it may miss some: what is parked at that very
//! moment, what another session has locked, what is more than one transaction takes, what it was told to leave
//! out. And a row may come by another hand. So the rows that anything waits for are looked for again and
//! again, all of them, whoever waits and however long. Nothing is read of who waits but the key: the keys go
//! to a temporary table, and one statement for each table of parents tells which are there.

use super::{Settler, policy::OrphanPolicy, rounds::Settled};
use crate::{
    connection::Ending,
    error::ApplyError,
    ids::{DocumentId, RowId, TableId},
    state::{key_map, parked},
    transform::Rows,
    write::{attempt::Attempt, row_to_delete::RowToDelete, stage},
};
use leafcutter_schemas::version::Version;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_postgres::error::SqlState;

/// Keys looked for in one round; more have their turn in the next ones.
const KEYS_MAX: usize = 20_000;

/// A look has a tenth of the time, but one that takes up to `QUICK` is had at least every `PAUSE_MAX`, so that
/// nothing rests for more than two seconds.
const QUICK: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a row rests at first behind which nobody could be placed, or a key that is none: who waits for it
/// was parked under another mapping.
const REST: Duration = Duration::from_secs(2);

/// The keys that are looked for in one table of parents.
#[derive(Debug, Default)]
struct Wanted {
    /// Keys of rows.
    rows: BTreeSet<Vec<u8>>,
    /// Keys of documents, where rows have generated keys.
    documents: BTreeSet<Vec<u8>>,
}

/// Whether PostgreSQL cannot read a key as one of that table.
fn is_no_key(error: &ApplyError) -> bool {
    match error {
        ApplyError::Definite(_) | ApplyError::Doubtful(_) | ApplyError::Again(_) => true,
        ApplyError::Transient { source, .. } => {
            let error = source.downcast_ref::<tokio_postgres::Error>();
            error.and_then(tokio_postgres::Error::code) == Some(&SqlState::PROTOCOL_VIOLATION)
        }
        ApplyError::Fenced(_) | ApplyError::Mapping { .. } | ApplyError::TooMany { .. } => false,
    }
}

impl Settler {
    /// Tries what waits for rows that are there.
    pub(super) async fn follow_arrived(&mut self, policy: &OrphanPolicy, settled: &mut Settled) {
        let begun = Instant::now();
        if begun < self.arrived_after {
            return;
        }
        self.in_vain.forget();
        let found = self.arrived().await;
        let took = begun.elapsed();
        let pause = if took > QUICK {
            took * 9
        } else {
            (took * 9).min(PAUSE_MAX)
        };
        self.arrived_after = Instant::now() + pause;
        let mut rows = match found {
            Ok(rows) => rows,
            Err(error) => {
                settled.failed = Some(error);
                return;
            }
        };
        rows.retain(|row| self.in_vain.is_due(row));
        if rows.is_empty() {
            return;
        }
        self.follow(policy, rows.clone(), settled).await;
        if settled.placed == 0 {
            for row in rows {
                self.in_vain.note(row, REST);
            }
        }
    }

    /// The rows that are there and that something waits for.
    async fn arrived(&mut self) -> Result<Vec<RowId>, ApplyError> {
        let model = Arc::clone(self.connection.model());
        let names = model.wait_tables().names;
        let session = self.connection.session().await?;
        let after = std::mem::take(&mut self.arrived_from);
        let keys = parked::awaited(session, &names, &after, KEYS_MAX).await?;
        if let Some(last) = keys.last().filter(|_| keys.len() == KEYS_MAX) {
            self.arrived_from = (last.wait_table.clone(), last.wait_key.clone());
        }
        let by_id: BTreeSet<(&str, &str)> = model
            .tables
            .iter()
            .flat_map(|entry| {
                let root = entry.above.first().map_or(entry, |&root| model.table(root));
                let names = entry
                    .looked_up
                    .iter()
                    .map(|&(reference, _)| entry.sql.references[reference.0].full_name.as_str());
                names.map(|name| (root.state_name.as_str(), name))
            })
            .collect();
        let mut wanted: BTreeMap<&str, Wanted> = BTreeMap::new();
        for key in &keys {
            let of_table = wanted.entry(&key.wait_table).or_default();
            if by_id.contains(&(
                key.table.as_str(),
                key.wait_column.as_deref().unwrap_or_default(),
            )) {
                of_table.documents.insert(key.wait_key.clone());
            } else {
                of_table.rows.insert(key.wait_key.clone());
            }
        }
        let mut found = Vec::new();
        for (name, wanted) in wanted {
            let mut roots = model.roots();
            let root = roots.find(|&root| model.table(root).table.name.to_string() == name);
            if let Some(root) = root {
                found.extend(self.there(root, wanted).await?);
            }
        }
        Ok(found)
    }

    /// Those of these rows that are there. A key that was parked under another mapping may be none of this
    /// table: it is told from the others by halves, and rests.
    async fn there(&mut self, root: TableId, wanted: Wanted) -> Result<Vec<RowId>, ApplyError> {
        let mut found = Vec::new();
        let sources: Vec<&[u8]> = wanted.documents.iter().map(Vec::as_slice).collect();
        if !sources.is_empty() {
            let model = Arc::clone(self.connection.model());
            let session = self.connection.session().await?;
            let name = &model.table(root).state_name;
            let entries = key_map::of_documents(session, name, &sources).await?;
            let owners = entries.into_iter().filter(|(_, entry)| entry.owner);
            found.extend(owners.map(|(key, _)| RowId { table: root, key }));
        }
        let row = |key| RowId { table: root, key };
        let due = wanted.rows.into_iter().map(row);
        let mut parts = vec![
            due.filter(|row| self.in_vain.is_due(row))
                .collect::<Vec<_>>(),
        ];
        while let Some(mut part) = parts.pop() {
            match self.look(root, &part).await {
                Ok(rows) => found.extend(rows),
                Err(error) if !is_no_key(&error) => return Err(error),
                Err(_) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(_) => {
                    for row in part {
                        self.in_vain.note(row, REST);
                    }
                }
            }
        }
        Ok(found)
    }

    async fn look(&mut self, root: TableId, part: &[RowId]) -> Result<Vec<RowId>, ApplyError> {
        if part.is_empty() {
            return Ok(Vec::new());
        }
        let steps = async |t: &mut Attempt<'_>| {
            let keys = part.iter().enumerate();
            let rows: Vec<RowToDelete> = keys
                .map(|(index, row)| RowToDelete {
                    document: DocumentId::new(index),
                    key: row.key.clone(),
                    owner: None,
                    version: Version::ZERO,
                })
                .collect();
            stage::copy_keys(t, root, &rows).await?;
            let there = &t.model.table(root).sql.see_arrived;
            let found = stage::documents(t, there).await?.into_iter();
            Ok(found
                .map(|document| part[document.index()].clone())
                .collect())
        };
        // What is staged goes with it.
        self.connection
            .transact(&[], &mut Rows::default(), Ending::RollBack, steps)
            .await
    }
}
