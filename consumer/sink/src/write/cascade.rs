//! What goes with deleted rows, or changes with them: `on_delete: cascade` and `set-null`.
//!
//! A delete takes nothing along in its own batch. A row that points to a deleted one may have been
//! given another parent before, by a record of another partition that is applied only later, or the
//! deleted document may have come back; what went with it would be missing then, and all that
//! pointed to that. So the deleted row is held, and the settling task takes the others along when
//! everything that happened in the source up to the delete, and up to the newest of their versions,
//! is applied ([`CascadeHorizon`], [`crate::orphan::applied_until`]): what points there then, points there in
//! the source.
//!
//! [`plan_cascade`] finds, for each delete, all that would go with it and takes the locks; a delete is
//! held where a row points to any of this with `hold`, where it may not take anything along yet, or
//! where another session works on a row that would go or change. [`run_cascade`] then does it. A row that
//! goes with its parent leaves a tombstone at its own version, so that only what is older stays
//! away: its document still exists, and its row comes back with its next record that finds a parent.
//! Until then it is listed in `leafcutter.cascaded_rows`.
//!
//! Where the target swallows a part of it, without an error, nothing of it is done: the transaction fails, and
//! the settling task holds the one delete that wanted it (`docs/protocol.md`, B1, S1l).
//!
//! Like deletes this waits for no other session (see [`super::deletes`]).

use super::{attempt::Attempt, rows_led_to, stage::documents, suppressed};
use crate::{
    error::ApplyError,
    ids::{DocumentId, TableId},
    model::Model,
    orphan::{self, ControlState, Progress},
    statement::{CascadeSql, Write},
};
use leafcutter_schemas::version::Version;
use std::collections::{BTreeMap, BTreeSet};

/// The time of the source up to which deletes of one root table may take rows along.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CascadeHorizon(Option<Version>);

impl CascadeHorizon {
    /// None: what has to take something along is held.
    pub(crate) const NOTHING: Self = Self(None);

    /// What was so in the source when everything of that table, and of all that may go or change
    /// with its rows, was last known to be applied.
    pub(crate) fn of(
        model: &Model,
        root: TableId,
        control: &ControlState,
        progress: &Progress,
    ) -> Self {
        let reaches = model
            .table(root)
            .cascade
            .iter()
            .flat_map(|sql| &sql.reaches);
        let sqls = reaches.filter_map(|&id| model.table(id).cascade.as_ref());
        let takes: BTreeSet<TableId> = sqls.flat_map(|sql| &sql.takes).copied().collect();
        let concerned = model.collections.iter().filter(|collection| {
            let mut roots = collection.roots.iter();
            roots.any(|id| *id == root || takes.contains(id))
        });
        let applied = concerned.map(|c| orphan::applied_until(&c.topic, control, progress));
        // One of which nothing is known is less than all times.
        Self(applied.min().flatten())
    }

    fn covers(self, time: Version) -> bool {
        self.0.is_some_and(|until| time <= until)
    }
}

/// How many rows go or change with a delete, and the newest of their versions.
type Reached = BTreeMap<DocumentId, (i64, Option<Version>)>;

/// Collects what goes with these deletes of one root table, each with its version, and locks it;
/// gives those that must be held. The deleted rows stand in the table's temporary table of deletes
/// and are locked.
pub(crate) async fn plan_cascade(
    t: &mut Attempt<'_>,
    root: TableId,
    deletes: &BTreeMap<DocumentId, Version>,
    horizon: CascadeHorizon,
) -> Result<BTreeSet<DocumentId>, ApplyError> {
    let mut held = BTreeSet::new();
    let tables = tables(t, root);
    let Some((first, _)) = tables.iter().find(|(_, id)| *id == root) else {
        return Ok(held);
    };
    let seeds: Vec<DocumentId> = deletes.keys().copied().collect();
    t.session.execute(&first.seed, &[&seeds]).await?;
    let covered = |document: &DocumentId, newest: Option<Version>| {
        let delete = deletes.get(document).copied();
        let may = |time: Option<Version>| time.is_some_and(|time| horizon.covers(time));
        may(delete) && may(newest)
    };
    loop {
        reach(t, &tables).await?;
        let mut blocked = BTreeSet::new();
        let mut locks = Vec::new();
        for (sql, id) in &tables {
            for holder in &sql.holders {
                let rows = t.session.query(holder, &[]).await?;
                blocked.extend(rows.iter().map(|row| row.get::<_, DocumentId>(0)));
            }
            // The deleted row itself is one of those that go.
            let own = i64::from(*id == root);
            let changes = sql.changes.iter().map(|c| (&c.count, &c.lock, 0));
            for (count, lock, own) in std::iter::once((&sql.count, &sql.lock, own)).chain(changes) {
                let rows = count_rows(t, count).await?;
                let early = rows.iter().filter(|(document, (count, newest))| {
                    *count > own && !covered(document, *newest)
                });
                blocked.extend(early.map(|(document, _)| *document));
                locks.push((lock, rows));
            }
        }
        // Only what will go or change is locked.
        if blocked.is_empty() {
            for (lock, rows) in locks {
                blocked.extend(busy(t, lock, rows).await?);
            }
        }
        if blocked.is_empty() {
            return Ok(held);
        }
        // What they had taken along may go with another delete, or hold it.
        let list: Vec<DocumentId> = blocked.iter().copied().collect();
        for (sql, _) in &tables {
            t.session.execute(&sql.leave, &[&list]).await?;
        }
        held.extend(blocked);
    }
}

/// Deletes and changes what [`plan_cascade`] has found; gives how many rows of the root table went.
pub(crate) async fn run_cascade(t: &mut Attempt<'_>, root: TableId) -> Result<u64, ApplyError> {
    let tables = tables(t, root);
    let plain = tables.is_empty() || !suppressed::any_may_suppress(t).await?;
    let whole = if plain {
        BTreeSet::new()
    } else {
        take_along(t, root, &tables).await?
    };
    let mut went = 0;
    for (sql, _) in &tables {
        let changes = sql.changes.iter().map(|change| &change.list);
        for list in sql.list.iter().chain(changes) {
            t.session.execute(list, &[]).await?;
        }
    }
    for (sql, _) in &tables {
        for write in sql.changes.iter().flat_map(|change| &change.write) {
            write_all(t, write, plain, &whole).await?;
        }
        for write in sql.tombstones.iter().chain([&sql.remove_held]) {
            t.session.execute(write, &[]).await?;
        }
    }
    for (sql, id) in &tables {
        for delete in &sql.delete {
            let deleted = write_all(t, delete, plain, &whole).await?;
            if *id == root {
                went = deleted;
            }
        }
    }
    for (sql, _) in &tables {
        t.session.execute(&sql.empty, &[]).await?;
    }
    Ok(went)
}

/// The deletes that take something along, where the target may swallow a part of that: each is carried out as a
/// whole, or not at all. A delete that takes nothing along is looked at by whoever carries it out.
async fn take_along(
    t: &mut Attempt<'_>,
    root: TableId,
    tables: &[(&CascadeSql, TableId)],
) -> Result<BTreeSet<DocumentId>, ApplyError> {
    let mut found = BTreeSet::new();
    for (sql, id) in tables {
        let own = i64::from(*id == root);
        let changes = sql.changes.iter().map(|change| (&change.count, 0));
        for (count, own) in std::iter::once((&sql.count, own)).chain(changes) {
            let rows = count_rows(t, count).await?.into_iter();
            let more = rows.filter(|(_, (count, _))| *count > own);
            found.extend(more.map(|(document, _)| document));
        }
    }
    Ok(found)
}

/// Executes a statement; fails where the target swallowed something of the deletes in `whole`.
async fn write_all(
    t: &mut Attempt<'_>,
    write: &Write,
    plain: bool,
    whole: &BTreeSet<DocumentId>,
) -> Result<u64, ApplyError> {
    let rows = rows_led_to::write(t, &write.sql, plain, &[]).await?;
    if !whole.is_empty() {
        let left = documents(t, &write.left).await?;
        if left.iter().any(|document| whole.contains(document)) {
            return Err(ApplyError::Definite(Box::new(suppressed::by(&write.table))));
        }
    }
    Ok(rows)
}

/// The tables whose rows may go with those of `root`, itself among them, referring ones first.
fn tables<'m>(t: &Attempt<'m>, root: TableId) -> Vec<(&'m CascadeSql, TableId)> {
    let model = t.model;
    let reaches = model
        .table(root)
        .cascade
        .iter()
        .flat_map(|sql| &sql.reaches);
    reaches
        .filter_map(|&id| Some((model.table(id).cascade.as_ref()?, id)))
        .collect()
}

async fn reach(t: &mut Attempt<'_>, tables: &[(&CascadeSql, TableId)]) -> Result<(), ApplyError> {
    loop {
        let mut added = 0;
        for sql in tables.iter().flat_map(|(sql, _)| &sql.reach) {
            added += t.session.execute(sql, &[]).await?;
        }
        if added == 0 {
            return Ok(());
        }
    }
}

async fn count_rows(t: &mut Attempt<'_>, sql: &str) -> Result<Reached, ApplyError> {
    let rows = t.session.query(sql, &[]).await?;
    let counted = rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), Version::from_i64(row.get(2)))));
    Ok(counted.collect())
}

/// The deletes of which some row could not be locked.
async fn busy(
    t: &mut Attempt<'_>,
    lock: &str,
    mut left: Reached,
) -> Result<BTreeSet<DocumentId>, ApplyError> {
    if left.is_empty() {
        return Ok(BTreeSet::new());
    }
    for row in t.session.query(lock, &[]).await? {
        if let Some((count, _)) = left.get_mut(&row.get(0)) {
            *count -= 1;
        }
    }
    left.retain(|_, (count, _)| *count > 0);
    Ok(left.into_keys().collect())
}
