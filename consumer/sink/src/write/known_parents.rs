//! The references whose foreign keys are not there yet, and the parents that are known to be there
//! ([`super::loading`]).
//!
//! What is known are hashes of the parents' keys as they are encoded. One that is spelled otherwise is not
//! known, and is looked for; so nothing has to be complete, and a set that is full only costs time. A hash of 64
//! bits that two keys share could let a row through, once in some 10^12 orphans: then the foreign key cannot be
//! proven, and says so.

use crate::{
    ids::{ReferenceId, TableId},
    model::Model,
    names::{qualified, quote},
    session::Session,
    state::deferred_constraints::DeferredRow,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState},
};
use tokio_postgres::Error;

/// Keys that are remembered at most; 20 to 40 MB.
const KEYS_MAX: usize = 2_000_000;

/// The references whose foreign keys are not there yet.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    /// The references of each table, by their parents.
    pub(super) references: BTreeMap<TableId, Vec<(ReferenceId, TableId)>>,
    /// The tables that they point to.
    parents: BTreeSet<TableId>,
}

impl Loading {
    /// Those of the model among what is deferred.
    pub(crate) fn of(model: &Model, rows: &[DeferredRow]) -> Self {
        let mut loading = Self::default();
        for id in model.table_ids() {
            let entry = model.table(id);
            for (position, check) in entry.sql.references.iter().enumerate() {
                let parent = qualified(&check.parent);
                let is_deferred = |row: &DeferredRow| {
                    !row.is_added
                        && row.table == qualified(&entry.table.name)
                        && row.columns == [check.column_name.as_str()]
                        && row
                            .parent
                            .as_ref()
                            .is_some_and(|(table, _)| *table == parent)
                };
                if !rows.iter().any(is_deferred) {
                    continue;
                }
                let parents = model
                    .roots()
                    .filter(|&root| model.table(root).table.name == check.parent);
                let parents: Vec<TableId> = parents.collect();
                if let Some(&first) = parents.first() {
                    let of_table = loading.references.entry(id).or_default();
                    of_table.push((ReferenceId(position), first));
                }
                loading.parents.extend(parents);
            }
        }
        loading
    }

    /// Whether this is such a reference.
    pub(crate) fn has(&self, table: TableId, reference: ReferenceId) -> bool {
        let of_table = self.references.get(&table);
        of_table.is_some_and(|all| all.iter().any(|(own, _)| *own == reference))
    }

    /// Whether rows of this root table stay until a foreign key is there.
    pub(crate) fn keeps(&self, root: TableId) -> bool {
        self.parents.contains(&root)
    }

    /// Whether rows of this root table, or below it, have such references.
    pub(crate) fn concerns(&self, model: &Model, root: TableId) -> bool {
        let mut tables = std::iter::once(&root).chain(&model.table(root).children);
        tables.any(|table| self.references.contains_key(table))
    }
}

/// A hash is its own.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Hashes = HashSet<u64, BuildHasherDefault<Identity>>;

/// The rows of parents that are known to be there.
#[derive(Debug, Default)]
pub(crate) struct KnownParents {
    hasher: RandomState,
    tables: HashMap<TableId, Hashes>,
    /// What the transaction that runs has seen.
    pub(super) seen: Vec<(TableId, u64)>,
    count: usize,
}

impl KnownParents {
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(super) fn knows(&self, table: TableId, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let known = self.tables.get(&table);
        known.is_some_and(|known| known.contains(&hash))
    }

    pub(super) fn see(&mut self, table: TableId, key: &[u8]) {
        self.seen.push((table, self.hash(key)));
    }

    fn add(&mut self, table: TableId, hash: u64) {
        if self.count < KEYS_MAX && self.tables.entry(table).or_default().insert(hash) {
            self.count += 1;
        }
    }

    /// The transaction has been committed, or not.
    pub(crate) fn ended(&mut self, committed: bool) {
        for (table, hash) in std::mem::take(&mut self.seen) {
            if committed {
                self.add(table, hash);
            }
        }
    }

    /// Forgets everything: what was committed may be lost.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether the keys of a table were read.
    pub(super) fn is_filled(&self, table: TableId) -> bool {
        self.tables.contains_key(&table)
    }

    /// Reads the keys of a table that are committed.
    pub(super) async fn fill(
        &mut self,
        session: &mut Session,
        model: &Model,
        table: TableId,
    ) -> Result<(), Error> {
        let room = KEYS_MAX.saturating_sub(self.count);
        self.tables.entry(table).or_default();
        let entry = &model.table(table).table;
        let [key] = entry.key.as_slice() else {
            return Ok(());
        };
        let sql = format!(
            "copy (select {} from {} limit {room}) to stdout (format binary)",
            quote(&entry.columns[*key].name),
            qualified(&entry.name)
        );
        let each = |key: &[u8]| {
            let hash = self.hash(key);
            self.add(table, hash);
        };
        session.copy_out(&sql, each).await
    }
}
