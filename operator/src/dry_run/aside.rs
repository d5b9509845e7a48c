//! Documents whose parents may still come, kept aside until everything was read that they may be in.
//!
//! Only what refers to its own collection, or to one that refers back, comes here, and of that only what
//! stands before its parent. There is room for so many rows; where there would be more, it is given up, and
//! the references are said not to have been looked at.

use super::keys::{Key, SetId};
use leafcutter_schemas::key::DocumentKey;
use leafcutter_sink::{
    ids::{CollectionId, RowRange},
    transform::Rows,
};
use std::collections::{HashMap, HashSet};

/// A row of a document.
#[derive(Debug, Clone)]
pub(super) struct UnitRow {
    /// Its table's position in the plan.
    pub(super) table: usize,
    /// The row above, of a child row.
    above: Option<usize>,
    /// Bytes of its fields.
    pub(super) bytes: u64,
    /// It is not there, by itself.
    pub(super) gone: bool,
}

/// A document's rows in one root table and below: what waits together.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its collection.
    pub(super) collection: CollectionId,
    /// Its document.
    pub(super) document: DocumentKey,
    /// Its rows, the root's first.
    pub(super) rows: Vec<UnitRow>,
    /// What others may refer to.
    pub(super) keys: Vec<Key>,
    /// Unique values that it has not taken yet.
    pub(super) values: Vec<Value>,
    /// A row of it has no parent, and waits for it.
    pub(super) lacks_parent: bool,
    /// A row of it waits for a value that another has.
    pub(super) lacks_value: bool,
}

/// A unique value of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    /// The row, among its document's.
    pub(super) row: usize,
    /// Which of the unique values.
    pub(super) unique: usize,
    /// Its key.
    pub(super) key: Key,
}

impl Unit {
    /// Of rows that were just made.
    pub(super) fn of(
        collection: CollectionId,
        range: RowRange,
        rows: &Rows,
        document: &DocumentKey,
    ) -> Self {
        let first = range.root().index();
        let row = |index| {
            let row = rows.row(index);
            let above = row.parent.map(|above| above.index() - first);
            UnitRow {
                table: row.plan_table,
                above,
                bytes: u64::try_from(rows.fields(index).len()).unwrap_or_default(),
                gone: false,
            }
        };
        Self {
            collection,
            document: document.clone(),
            rows: range.rows().map(row).collect(),
            keys: Vec::new(),
            values: Vec::new(),
            lacks_parent: false,
            lacks_value: false,
        }
    }

    /// Whether its own row, and with it all of them, is not there.
    pub(super) fn is_gone(&self) -> bool {
        self.rows.first().is_none_or(|row| row.gone)
    }

    /// Whether a row, or one above it, is not there.
    pub(super) fn is_row_gone(&self, number: usize) -> bool {
        let mut at = Some(number);
        while let Some(number) = at {
            if self.rows[number].gone {
                return true;
            }
            at = self.rows[number].above;
        }
        false
    }
}

/// A reference of a document that is kept aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// The reference.
    pub(super) reference: usize,
    /// The parent that it names.
    pub(super) parent: Key,
    /// The row, among its document's.
    pub(super) row: usize,
}

/// What is kept aside.
#[derive(Debug)]
pub(super) struct Aside {
    units: Vec<Unit>,
    waits: HashMap<Key, Vec<(usize, Wait)>>,
    own: HashSet<Key>,
    rows: usize,
    most: usize,
    given_up: HashSet<SetId>,
}

/// What was kept aside, to be decided.
#[derive(Debug)]
pub(super) struct Kept {
    /// The documents.
    pub(super) units: Vec<Unit>,
    waits: HashMap<Key, Vec<(usize, Wait)>>,
}

impl Kept {
    /// All parents that are waited for.
    pub(super) fn parents(&self) -> impl Iterator<Item = Key> {
        self.waits.keys().copied()
    }

    /// What waits for this parent; each once.
    pub(super) fn without(&mut self, parent: Key) -> Vec<(usize, Wait)> {
        self.waits.remove(&parent).unwrap_or_default()
    }
}

impl Aside {
    /// Room for so many rows and references.
    pub(super) fn new(most: usize) -> Self {
        Self {
            units: Vec::new(),
            waits: HashMap::new(),
            own: HashSet::new(),
            rows: 0,
            most,
            given_up: HashSet::new(),
        }
    }

    /// Whether a document with this key is kept aside.
    pub(super) fn has(&self, key: Key) -> bool {
        self.own.contains(&key)
    }

    /// Whether parents of this set are not waited for any more.
    pub(super) fn is_given_up(&self, set: SetId) -> bool {
        self.given_up.contains(&set)
    }

    /// Keeps a document. Where there is no room, everything is given up, and its documents come back.
    pub(super) fn keep(&mut self, unit: Unit, waits: Vec<Wait>) -> Option<Vec<Unit>> {
        self.rows += unit.rows.len() + unit.values.len() + waits.len();
        self.own.extend(&unit.keys);
        for wait in waits {
            let waiting = self.waits.entry(wait.parent).or_default();
            waiting.push((self.units.len(), wait));
        }
        self.units.push(unit);
        if self.rows <= self.most {
            return None;
        }
        self.given_up.extend(self.waits.keys().map(|(set, _)| *set));
        Some(self.take().units)
    }

    /// Takes everything out.
    pub(super) fn take(&mut self) -> Kept {
        self.rows = 0;
        self.own.clear();
        Kept {
            units: std::mem::take(&mut self.units),
            waits: std::mem::take(&mut self.waits),
        }
    }
}
