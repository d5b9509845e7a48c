//! What waits for a row that is there (`docs/protocol.md`, S1h).
//!
//! A parent's own transaction releases what waits for it, but it may miss some: what is parked at that very
//! moment, what another session has locked, what is more than one transaction takes, what it was told to leave
//! out. And a row may come by another hand. So the rows that anything waits for are looked for again and
//! again, all of them, whoever waits and however long. Nothing is read of who waits but the key: the keys go
//! to a temporary table, and one statement for each table of parents tells which are there.

use super::rests::Rests;
use crate::{
    connection::{Connection, Ending},
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
    time::Duration,
};
use tokio_postgres::error::SqlState;

/// Keys looked for in one round; more have their turn in the next ones.
const KEYS_MAX: usize = 20_000;

/// How long a row rests, at first and at most, behind which nobody could be placed, or a key that is none: who waits
/// for it was parked under another mapping. Or somebody else had it locked, so it never rests for long.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(16));

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

/// Looks for the rows that anything waits for, some in each look: the next one goes on behind them.
#[derive(Debug, Default)]
pub struct Arrivals {
    after: (String, Vec<u8>),
    /// Rows that are there, though nobody who waits for them could be placed, and keys that are none.
    in_vain: Rests<RowId>,
}

impl Arrivals {
    /// The rows that are there and that something waits for, but for those that rest.
    pub(super) async fn due(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Vec<RowId>, ApplyError> {
        self.in_vain.forget();
        let mut rows = self.look(connection, None).await?;
        rows.retain(|row| self.in_vain.is_due(row));
        Ok(rows)
    }

    /// Nobody who waits for these rows could be placed: they rest.
    pub(super) fn note_in_vain(&mut self, rows: Vec<RowId>) {
        for row in rows {
            self.in_vain.note(row, REST);
        }
    }

    /// Whether documents of these root tables, as the state names them, wait for a row that is there, or may:
    /// where not all could be looked for, the next look goes on.
    ///
    /// # Errors
    /// When PostgreSQL is lost, or another mapping is in force.
    pub async fn may_be_placed(
        &mut self,
        connection: &mut Connection,
        waiting: &[&str],
    ) -> Result<bool, ApplyError> {
        let found = self.look(connection, Some(waiting)).await?;
        Ok(!found.is_empty() || !self.after.0.is_empty())
    }

    /// The rows that are there and that something waits for, of these tables or of all.
    async fn look(
        &mut self,
        connection: &mut Connection,
        waiting: Option<&[&str]>,
    ) -> Result<Vec<RowId>, ApplyError> {
        let model = Arc::clone(connection.model());
        let names = model.wait_tables().names;
        let session = connection.session().await?;
        let after = std::mem::take(&mut self.after);
        let keys = parked::awaited(session, (&names, waiting), &after, KEYS_MAX).await?;
        if let Some(last) = keys.last().filter(|_| keys.len() == KEYS_MAX) {
            self.after = (last.wait_table.clone(), last.wait_key.clone());
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
                found.extend(self.there(connection, root, wanted).await?);
            }
        }
        Ok(found)
    }

    /// Those of these rows that are there. A key that was parked under another mapping may be none of this
    /// table: it is told from the others by halves, and rests.
    async fn there(
        &mut self,
        connection: &mut Connection,
        root: TableId,
        wanted: Wanted,
    ) -> Result<Vec<RowId>, ApplyError> {
        let mut found = Vec::new();
        let sources: Vec<&[u8]> = wanted.documents.iter().map(Vec::as_slice).collect();
        if !sources.is_empty() {
            let model = Arc::clone(connection.model());
            let session = connection.session().await?;
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
            match rows_there(connection, root, &part).await {
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
}

/// Those of these rows that are there.
async fn rows_there(
    connection: &mut Connection,
    root: TableId,
    part: &[RowId],
) -> Result<Vec<RowId>, ApplyError> {
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
    connection
        .transact(&[], &mut Rows::default(), Ending::RollBack, steps)
        .await
}
