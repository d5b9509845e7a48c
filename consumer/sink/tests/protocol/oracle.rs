//! What the target must look like once everything has arrived and settled: a function of what
//! exists at the source, and of which rows are there.

use crate::{
    script::{Key, Record, State},
    world::{Table, World},
};
use std::collections::{BTreeMap, BTreeSet};

/// In which tables the documents of a script are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layout {
    /// Parents and children apart.
    Two,
    /// All in the table that points to itself.
    One,
    /// Masters, and servants that go with them.
    Cascade,
    /// Masters, and friends that forget them.
    SetNull,
    /// Boxes that go with the box that they are in.
    Boxes,
    /// Parents, and clubs whose members, child rows, are parents.
    Links,
}

impl Layout {
    pub(crate) fn table(self, key: Key) -> Table {
        match (self, key) {
            (Self::Two | Self::Links, Key::P | Key::Q) => Table::Parents,
            (Self::Two, Key::C) => Table::Children,
            (Self::One, _) => Table::Nodes,
            (Self::Cascade | Self::SetNull, Key::P | Key::Q) => Table::Masters,
            (Self::Cascade, Key::C) => Table::Servants,
            (Self::SetNull, Key::C) => Table::Friends,
            (Self::Boxes, _) => Table::Boxes,
            (Self::Links, Key::C) => Table::Clubs,
        }
    }

    /// Whether rows are lost with those that they point to.
    pub(crate) fn loses(self) -> bool {
        match self {
            Self::Two | Self::One | Self::Links => false,
            Self::Cascade | Self::SetNull | Self::Boxes => true,
        }
    }
}

/// A row of a target table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) version: i64,
    pub(crate) note: i64,
    pub(crate) parent: Option<i64>,
}

/// Everything that is stored about some documents, by table and id.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) rows: BTreeMap<(Table, i64), Row>,
    pub(crate) parked: BTreeMap<(Table, i64), i64>,
    pub(crate) held: BTreeMap<(Table, i64), i64>,
    pub(crate) tombstones: BTreeMap<(Table, i64), i64>,
    pub(crate) lost: BTreeSet<(Table, i64)>,
}

const ROWS: &str = "\
    select 'parents', id, lc_version, note, null::bigint from parents \
    union all select 'children', id, lc_version, note, parent_id from children \
    union all select 'nodes', id, lc_version, note, parent_id from nodes \
    union all select 'masters', id, lc_version, note, null from masters \
    union all select 'servants', id, lc_version, note, parent_id from servants \
    union all select 'friends', id, lc_version, note, parent_id from friends \
    union all select 'boxes', id, lc_version, note, parent_id from boxes \
    union all select 'clubs', c.id, c.lc_version, c.note, m.parent_id from clubs c \
    left join members m on m.id = c.id";

impl Stored {
    pub(crate) async fn read(world: &World) -> Self {
        let mut stored = Self::default();
        for cells in world.rows(ROWS).await.cells() {
            let number = |i: usize| cells[i].parse::<i64>();
            let row = Row {
                version: number(2).unwrap(),
                note: number(3).unwrap(),
                parent: number(4).ok(),
            };
            let key = (Table::of_name(&cells[0]), number(1).unwrap());
            stored.rows.insert(key, row);
        }
        stored.parked = Self::versions(world, "parked").await;
        stored.held = Self::versions(world, "held").await;
        stored.tombstones = Self::versions(world, "tombstones").await;
        stored.lost = Self::lost(world).await;
        stored
    }

    async fn lost(world: &World) -> BTreeSet<(Table, i64)> {
        let sql = "select table_name, ('x' || encode(row_key, 'hex'))::bit(64)::bigint \
                   from leafcutter.cascaded_rows";
        let rows = world.rows(sql).await.cells();
        rows.iter()
            .map(|cells| (Table::of_name(&cells[0]), cells[1].parse().unwrap()))
            .collect()
    }

    async fn versions(world: &World, state: &str) -> BTreeMap<(Table, i64), i64> {
        let sql = format!(
            "select table_name, ('x' || encode(row_key, 'hex'))::bit(64)::bigint, version \
             from leafcutter.{state}"
        );
        let rows = world.rows(&sql).await.cells();
        rows.iter()
            .map(|cells| {
                let table = Table::of_name(&cells[0]);
                (
                    (table, cells[1].parse().unwrap()),
                    cells[2].parse().unwrap(),
                )
            })
            .collect()
    }
}

/// The documents of one script, as they are stored.
struct Family<'a> {
    layout: Layout,
    ids: &'a dyn Fn(Key) -> i64,
    source: &'a State,
    stored: &'a Stored,
}

impl Family<'_> {
    fn at(&self, key: Key) -> (Table, i64) {
        (self.layout.table(key), (self.ids)(key))
    }

    fn row(&self, key: Key) -> Option<Row> {
        self.stored.rows.get(&self.at(key)).copied()
    }

    fn lost(&self, key: Key) -> bool {
        self.stored.lost.contains(&self.at(key))
    }

    /// Those of the source whose parent is there or comes with them: in a cycle all come together.
    fn to_be_placed(&self) -> BTreeSet<Key> {
        let there = |key: &Key| self.row(*key).is_some() || !self.lost(*key);
        let mut placed: BTreeSet<Key> = self.source.keys().copied().filter(there).collect();
        loop {
            let before = placed.clone();
            placed.retain(|key| {
                let parent = self.source[key].parent;
                parent.is_none_or(|p| before.contains(&p) || self.row(p).is_some())
            });
            if placed == before {
                return placed;
            }
        }
    }

    /// Those of the source that point to nothing, or to one of them.
    fn complete_in_source(&self) -> BTreeSet<Key> {
        let mut complete: BTreeSet<Key> = self.source.keys().copied().collect();
        loop {
            let before = complete.clone();
            complete.retain(|key| self.source[key].parent.is_none_or(|p| before.contains(&p)));
            if complete == before {
                return complete;
            }
        }
    }

    /// Rows with a reason to be there: their document exists and no delete of it came since they
    /// were written, or such a row points to them.
    fn with_reason(&self) -> BTreeSet<Key> {
        let held = |key: &Key| self.stored.held.contains_key(&self.at(*key));
        let exists = self.source.keys().filter(|key| !held(key));
        let mut reasoned: BTreeSet<Key> = exists.copied().collect();
        loop {
            let before = reasoned.clone();
            for key in Key::ALL {
                let points = |other: &Key| {
                    self.row(*other)
                        .is_some_and(|row| row.parent == Some((self.ids)(key)))
                };
                if before.iter().any(points) {
                    reasoned.insert(key);
                }
            }
            if reasoned == before {
                return reasoned;
            }
        }
    }
}

impl Family<'_> {
    /// What is lost with another row is listed, and nothing else is.
    fn check_lossy(&self, key: Key, records: &[Record]) -> Result<(), &'static str> {
        let others = records.iter().filter(|r| r.key != key);
        let deleted = others.filter(|r| r.image.is_none()).count() > 0;
        let row = self.row(key);
        if self.stored.held.contains_key(&self.at(key)) {
            return Err("held, though nothing holds");
        }
        if !self.lost(key) {
            return Ok(());
        }
        if self.complete_in_source().contains(&key) {
            return Err("lost, though all that it points to exists");
        }
        let newest = records.iter().filter(|r| r.key == key).map(|r| r.version);
        let newest = newest.max();
        let parked = self.stored.parked.get(&self.at(key)).copied();
        let tombstone = self.stored.tombstones.get(&self.at(key)).copied();
        match (self.source.get(&key), row) {
            _ if !deleted => Err("lost, though nothing was deleted"),
            (None, _) => Err("deleted, but listed as lost"),
            (Some(_), Some(_)) if self.layout != Layout::SetNull => {
                Err("there, but listed as lost")
            }
            (Some(_), Some(row)) if row.parent.is_some() => Err("forgotten, but it points there"),
            (Some(_), Some(row)) if Some(row.version) != newest && parked != newest => {
                Err("forgotten and old, and not parked")
            }
            (Some(_), None) if parked != newest && tombstone != newest => {
                Err("gone, but not at its newest version, and not parked")
            }
            (Some(_), _) => Ok(()),
        }
    }
}

/// Whether nothing that could be there is lost.
pub(crate) fn nothing_lost(
    layout: Layout,
    ids: &dyn Fn(Key) -> i64,
    source: &State,
    stored: &Stored,
) -> Result<(), String> {
    let family = Family {
        layout,
        ids,
        source,
        stored,
    };
    for (&key, image) in source {
        let parent = image.parent;
        let could = parent.is_none_or(|p| family.row(p).is_some());
        if could && family.lost(key) {
            return Err(format!("{key:?}: lost, though all records came again"));
        }
    }
    Ok(())
}

/// How many of these records are stale when so many are applied at a time: those of which a higher
/// version came before, whatever has become of it, and those that stand for nothing in their batch.
pub(crate) fn stale(records: &[Record], batch: usize) -> usize {
    let mut highest: BTreeMap<Key, i64> = BTreeMap::new();
    let mut stale = 0;
    for chunk in records.chunks(batch) {
        let mut own: BTreeMap<Key, i64> = BTreeMap::new();
        for record in chunk {
            let newest = own.entry(record.key).or_insert(record.version);
            *newest = record.version.max(*newest);
        }
        stale += chunk.len() - own.len();
        for (key, version) in own {
            let before = highest.entry(key).or_insert(version);
            stale += usize::from(*before > version);
            *before = version.max(*before);
        }
    }
    stale
}

/// Compares what is stored about the documents with what exists at the source after these records;
/// `Err` says what is wrong.
pub(crate) fn check(
    layout: Layout,
    ids: &dyn Fn(Key) -> i64,
    source: &State,
    records: &[Record],
    stored: &Stored,
) -> Result<(), String> {
    let family = Family {
        layout,
        ids,
        source,
        stored,
    };
    let keys: BTreeSet<Key> = records.iter().map(|r| r.key).collect();
    let (placed, reasoned) = (family.to_be_placed(), family.with_reason());
    for key in Key::ALL {
        let at = family.at(key);
        let row = family.row(key);
        let parked = stored.parked.get(&at).copied();
        let held = stored.held.get(&at).copied();
        let tombstone = stored.tombstones.get(&at).copied();
        let newest = records
            .iter()
            .filter(|r| r.key == key)
            .map(|r| r.version)
            .max();
        let wrong = |what: &str| {
            Err(format!(
                "{key:?}: {what}: row {row:?}, parked {parked:?}, held {held:?}, tombstone {tombstone:?}"
            ))
        };
        if !keys.contains(&key) {
            if row.is_some() || parked.is_some() || held.is_some() || tombstone.is_some() {
                return wrong("there is something about a document that never was");
            }
            continue;
        }
        if row.is_some_and(|row| tombstone.is_some_and(|t| t < row.version)) {
            return wrong("a tombstone beside a newer row");
        }
        if held.is_some() && !(row.is_some() && reasoned.contains(&key)) {
            return wrong("held for nothing");
        }
        if layout.loses() {
            family
                .check_lossy(key, records)
                .map_err(|what| wrong(what).unwrap_err())?;
            if family.lost(key) {
                continue;
            }
        }
        let Some(image) = source.get(&key) else {
            if parked.is_some() {
                return wrong("deleted, but parked");
            }
            if tombstone != newest {
                return wrong("deleted, without its tombstone");
            }
            if row.is_some() != held.is_some() {
                return wrong("deleted, but there, or held and gone");
            }
            continue;
        };
        if layout == Layout::Links && key == Key::C {
            // The club is there, and its member as soon as the parent is.
            let member = image.parent.filter(|p| family.row(*p).is_some());
            let waits = image.parent.is_some() && member.is_none();
            let right = row.is_some_and(|row| {
                Some(row.version) == newest
                    && row.note == image.note
                    && row.parent == member.map(ids)
            });
            let kept = if waits { newest } else { None };
            if !right || parked != kept || held.is_some() || tombstone.is_some() {
                return wrong("exists, but it or its member is not what it should be");
            }
            continue;
        }
        if placed.contains(&key) {
            let right = row.is_some_and(|row| {
                Some(row.version) == newest
                    && row.note == image.note
                    && row.parent == image.parent.map(ids)
            });
            if !right || parked.is_some() || held.is_some() || tombstone.is_some() {
                return wrong("exists, but is not what it should be");
            }
        } else if parked != newest || row.is_some_and(|row| Some(row.version) >= newest) {
            return wrong("its parent is not there, and it is not parked at its newest version");
        } else if row.is_some_and(|row| tombstone > Some(row.version)) && held.is_none() {
            return wrong("its old row was deleted, but is there and not held");
        }
    }
    Ok(())
}
