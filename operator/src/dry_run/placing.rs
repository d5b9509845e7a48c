//! Which rows would be there in the end: those of documents whose parents are there and whose unique values
//! are free, by the rules of the sink (docs/decisions/what-waits-together.md).
//!
//! Collections come parents first, so that a parent that is not there when its collection was read to the end
//! never comes. Where collections refer to each other, or to themselves, documents whose parents are still to
//! come are kept aside ([`Aside`]) until all of these were read. What then has no parent goes, and with it
//! what refers to it; documents that refer to each other in a circle stay, as the settling task places them
//! together.
//!
//! A parent is looked for only where its collection is read whole; of any other reference it is said that
//! nobody looked. A document that waits has no row, takes no unique value and is nobody's parent.

use super::{
    aside::{Aside, Kept, Unit, Value, Wait},
    keys::{Key, Keys, hash},
    links::Links,
};
use crate::trial::Examples;
use leafcutter_schemas::{key::DocumentKey, mapping::OnMissing};
use leafcutter_sink::{
    ids::{CollectionId, RowIndex, RowRange},
    model::Model,
    transform::Rows,
};
use std::collections::HashMap;

/// How much of a collection was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Nothing of it, and nothing will be.
    Nothing,
    /// It is not read to its end yet.
    Reading,
    /// A part.
    Part,
    /// All of it.
    Whole,
}

/// Rows of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Placed {
    /// How many.
    pub(super) rows: u64,
    /// Bytes of their fields, as they are sent to PostgreSQL.
    pub(super) bytes: u64,
}

/// Documents that wait for ever, with all their rows or with some child rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// For a parent that is not there.
    pub(super) for_parent: u64,
    /// For a value that another row has.
    pub(super) for_value: u64,
}

/// The state of all tables.
#[derive(Debug)]
pub(super) struct Placing {
    pub(super) links: Links,
    keys: Keys,
    aside: Aside,
    pub(super) extents: Vec<Extent>,
    /// By collection and position in its plan.
    pub(super) placed: Vec<Vec<Placed>>,
    /// By collection.
    pub(super) waiting: Vec<Waiting>,
    /// By reference: rows without a parent.
    pub(super) orphans: Vec<Examples>,
    /// By unique value: rows of which another has it.
    pub(super) taken: Vec<Examples>,
    /// By collection: documents of which a newer one has the row.
    pub(super) outdone: Vec<u64>,
}

/// What is known of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    There,
    Missing,
    /// It may come, or go.
    Open,
    /// Nobody looks.
    Unknown,
}

impl Placing {
    /// For the collections of `chosen`; keeps so many keys, and so many rows aside.
    pub(super) fn new(model: &Model, chosen: &[CollectionId], most: usize) -> Self {
        let mut keys = Keys::new(most);
        let links = Links::of(model, &mut keys);
        let of = |id: usize| match chosen.contains(&CollectionId(id)) {
            true => Extent::Reading,
            false => Extent::Nothing,
        };
        let tables = |collection: &Vec<_>| vec![Placed::default(); collection.len()];
        Self {
            extents: (0..model.collections.len()).map(of).collect(),
            placed: links.tables.iter().map(tables).collect(),
            waiting: vec![Waiting::default(); model.collections.len()],
            orphans: vec![Examples::default(); links.references.len()],
            taken: vec![Examples::default(); links.uniques.len()],
            outdone: vec![0; model.collections.len()],
            keys,
            links,
            aside: Aside::new(most / 8),
        }
    }

    /// Why the parents of a reference are not looked for; none where they are.
    pub(super) fn not_looked(&self, reference: usize) -> Option<&'static str> {
        let reference = &self.links.references[reference];
        let read = |extent| {
            let mut fillers = reference.fillers.iter();
            fillers.any(|filler| self.extents[filler.0] == extent)
        };
        if read(Extent::Nothing) {
            Some("its collection was not read")
        } else if read(Extent::Part) {
            Some("a part of its collection was read")
        } else if self.keys.is_given_up(reference.set) || self.aside.is_given_up(reference.set) {
            Some("given up: more keys than --keys-max")
        } else {
            None
        }
    }

    /// Whether all values of a unique key were compared.
    pub(super) fn is_given_up(&self, unique: usize) -> bool {
        self.keys.is_given_up(self.links.uniques[unique].set)
    }

    fn parent(&self, reference: usize, key: Key) -> Parent {
        if self.not_looked(reference).is_some() {
            return Parent::Unknown;
        }
        if self.keys.has(key) {
            return if self.aside.has(key) {
                Parent::Open
            } else {
                Parent::There
            };
        }
        let mut fillers = self.links.references[reference].fillers.iter();
        if fillers.any(|filler| self.extents[filler.0] == Extent::Reading) {
            Parent::Open
        } else {
            Parent::Missing
        }
    }

    /// A document's rows in one root table and below it.
    pub(super) fn place(
        &mut self,
        collection: CollectionId,
        range: RowRange,
        rows: &Rows,
        document: &DocumentKey,
    ) {
        let mut unit = Unit::of(collection, range, rows, document);
        unit.keys = self.own_keys(collection, range.root(), rows, document);
        let mut waits = Vec::new();
        for (number, index) in range.rows().enumerate() {
            let table = rows.row(index).plan_table;
            for &reference in &self.links.tables[collection.0][table].references {
                let of = &self.links.references[reference];
                let Some(value) = rows.field(index, of.position) else {
                    continue;
                };
                let parent = (of.set, hash(value));
                match self.parent(reference, parent) {
                    Parent::There | Parent::Unknown => {}
                    Parent::Open => waits.push(Wait {
                        reference,
                        parent,
                        row: number,
                    }),
                    Parent::Missing => {
                        self.orphans[reference].add(document);
                        if of.on_missing == OnMissing::DeadLetter {
                            unit.rows[number].gone = true;
                            unit.lacks_parent = true;
                        }
                    }
                }
            }
        }
        if unit.is_gone() {
            self.count(&unit);
            return;
        }
        self.values(&mut unit, range, rows);
        waits.retain(|wait| !unit.rows[wait.row].gone);
        // What waits takes no value but its own key, by which it is known.
        let waits_for_nothing = waits.is_empty();
        if !self.take(&mut unit, |is_own| is_own || waits_for_nothing) {
            self.count(&unit);
            return;
        }
        unit.keys.iter().for_each(|&key| self.keys.add(key));
        if waits_for_nothing {
            self.count(&unit);
        } else if let Some(units) = self.aside.keep(unit, waits) {
            units.iter().for_each(|unit| self.count(unit));
        }
    }

    /// What others may refer to.
    fn own_keys(
        &self,
        collection: CollectionId,
        root: RowIndex,
        rows: &Rows,
        document: &DocumentKey,
    ) -> Vec<Key> {
        let of = &self.links.tables[collection.0][rows.row(root).plan_table];
        // A key that is generated is not known yet: it is empty.
        let key = Some(rows.key(root)).filter(|key| !key.is_empty());
        let key = of.key.zip(key).map(|(set, key)| (set, hash(key)));
        let id = of
            .by_id
            .map(|set| (set, hash(document.as_str().as_bytes())));
        key.into_iter().chain(id).collect()
    }

    /// Notes the unique values of a document.
    fn values(&self, unit: &mut Unit, range: RowRange, rows: &Rows) {
        for (row, index) in range.rows().enumerate() {
            let table = rows.row(index).plan_table;
            for &unique in &self.links.tables[unit.collection.0][table].uniques {
                let of = &self.links.uniques[unique];
                if let Some(value) = value(rows, index, of.positions.as_deref()) {
                    let key = (of.set, hash(&value));
                    unit.values.push(Value { row, unique, key });
                }
            }
        }
    }

    /// Takes the unique values of a document, of those that are its own key and of others as `which` says;
    /// false where another has one of its own row. A child row whose value another has waits alone.
    fn take(&mut self, unit: &mut Unit, which: impl Fn(bool) -> bool) -> bool {
        let mut mine: HashMap<Key, usize> = HashMap::new();
        for Value { row, unique, key } in std::mem::take(&mut unit.values) {
            if unit.is_row_gone(row) {
                continue;
            }
            if !which(unit.keys.contains(&key)) {
                unit.values.push(Value { row, unique, key });
                continue;
            }
            if !self.keys.has(key) && !mine.contains_key(&key) {
                mine.insert(key, row);
                continue;
            }
            if self.links.uniques[unique].newest_wins {
                self.outdone[unit.collection.0] += 1;
            } else {
                self.taken[unique].add(&unit.document);
                unit.lacks_value = true;
            }
            unit.rows[row].gone = true;
            if row == 0 {
                return false;
            }
            mine.retain(|_, of| *of != row);
        }
        mine.into_keys().for_each(|key| self.keys.add(key));
        true
    }

    /// What became of a document is certain.
    fn count(&mut self, unit: &Unit) {
        let waiting = &mut self.waiting[unit.collection.0];
        waiting.for_parent += u64::from(unit.lacks_parent);
        waiting.for_value += u64::from(unit.lacks_value);
        let placed = &mut self.placed[unit.collection.0];
        for (number, row) in unit.rows.iter().enumerate() {
            if !unit.is_row_gone(number) {
                placed[row.table].rows += 1;
                placed[row.table].bytes += row.bytes;
            }
        }
    }

    /// Everything that was kept aside is decided: the collections that refer to each other were read.
    pub(super) fn settle(&mut self) {
        let mut all = self.aside.take();
        let parents: Vec<Key> = all.parents().collect();
        let missing = parents.into_iter().filter(|&parent| !self.keys.has(parent));
        self.lacking(&mut all, missing.collect());
        // What has its parents comes for its values; what finds one taken is nobody's parent either.
        for number in 0..all.units.len() {
            let unit = &mut all.units[number];
            let lost = !unit.is_gone() && !self.take(unit, |is_own| !is_own);
            let missing = if lost { self.forget(unit) } else { Vec::new() };
            self.lacking(&mut all, missing);
        }
        all.units.iter().for_each(|unit| self.count(unit));
    }

    /// A document is nobody's parent any more; gives the keys that it had.
    fn forget(&mut self, unit: &Unit) -> Vec<Key> {
        unit.keys.iter().for_each(|&key| self.keys.remove(key));
        unit.keys.clone()
    }

    /// These parents are missing: so is what cannot be without them, and what cannot be without that.
    fn lacking(&mut self, all: &mut Kept, mut missing: Vec<Key>) {
        while let Some(parent) = missing.pop() {
            for (unit, wait) in all.without(parent) {
                if self.not_looked(wait.reference).is_some() {
                    continue;
                }
                let unit = &mut all.units[unit];
                self.orphans[wait.reference].add(&unit.document);
                let rule = self.links.references[wait.reference].on_missing;
                if rule != OnMissing::DeadLetter {
                    continue;
                }
                unit.lacks_parent = true;
                let was_there = !unit.is_gone();
                unit.rows[wait.row].gone = true;
                if was_there && unit.is_gone() {
                    missing.extend(self.forget(unit));
                }
            }
        }
    }
}

/// A row's values of a unique key, so that no two different ones are alike; none where one is null.
fn value(rows: &Rows, index: RowIndex, positions: Option<&[usize]>) -> Option<Vec<u8>> {
    let Some(positions) = positions else {
        // A key that is generated is not known yet: it is empty.
        return Some(rows.key(index).to_vec()).filter(|key| !key.is_empty());
    };
    if let [only] = positions {
        return rows.field(index, *only).map(<[u8]>::to_vec);
    }
    let mut value = Vec::new();
    for &position in positions {
        let field = rows.field(index, position)?;
        value.extend_from_slice(&field.len().to_be_bytes());
        value.extend_from_slice(field);
    }
    Some(value)
}
