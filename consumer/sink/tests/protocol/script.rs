//! What the source does, and every way in which its records may arrive.
//!
//! A script is a list of operations on up to three documents; its n-th happens at cluster time 10 n.
//! Each operation is one record. Kafka keeps the order of a key's records and no other, so every
//! order that keeps it is possible. Beyond that a record may arrive again at any later place (a
//! batch that is read twice, a run of the producer that was thought dead), and a snapshot may have
//! read a document at any time and published its row at any place, labelled with a time before
//! that (P1).

use std::collections::{BTreeMap, BTreeSet};

/// A document: a parent, another parent, a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    P,
    Q,
    C,
}

impl Key {
    pub(crate) const ALL: [Self; 3] = [Self::P, Self::Q, Self::C];
}

/// One operation at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Op {
    /// Inserted or replaced, pointing to this document.
    Put(Key, Option<Key>),
    Delete(Key),
    /// Replaced by what its table's filter leaves out.
    Leave(Key),
}

impl Op {
    fn key(self) -> Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) | Self::Leave(key) => key,
        }
    }
}

/// A document as it was after some operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Image {
    pub(crate) parent: Option<Key>,
    /// The time of the operation that made it so.
    pub(crate) note: i64,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) version: i64,
    /// The row it wants; none where the document is gone, or outside the filter.
    pub(crate) image: Option<Image>,
    /// The document exists, but outside the filter.
    pub(crate) left: bool,
    pub(crate) snapshot: bool,
}

/// The documents that exist within the filters.
pub(crate) type State = BTreeMap<Key, Image>;

/// Operations one after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Script(Vec<Op>);

impl Script {
    /// All scripts of this many operations; only what exists is deleted.
    pub(crate) fn all(alphabet: &[Op], length: usize) -> Vec<Self> {
        let mut scripts = vec![Self(Vec::new())];
        for _ in 0..length {
            let longer = |script: &Self| {
                let state = script.state();
                alphabet
                    .iter()
                    .filter(|op| !matches!(op, Op::Delete(key) if !state.contains_key(key)))
                    .map(|op| Self([script.0.as_slice(), &[*op]].concat()))
                    .collect::<Vec<_>>()
            };
            scripts = scripts.iter().flat_map(longer).collect();
        }
        scripts
    }

    /// Whether `P` is named before `Q`, where one is as good as the other.
    pub(crate) fn names_p_first(&self) -> bool {
        let named = |key: Key| {
            self.0
                .iter()
                .position(|op| op.key() == key || matches!(op, Op::Put(_, p) if *p == Some(key)))
        };
        named(Key::Q).is_none_or(|q| named(Key::P).is_some_and(|p| p < q))
    }

    /// What exists in the end.
    pub(crate) fn state(&self) -> State {
        let mut state = State::new();
        for (op, note) in self.0.iter().zip(1..) {
            match *op {
                Op::Put(key, parent) => {
                    let note = 10 * note;
                    state.insert(key, Image { parent, note });
                }
                Op::Delete(key) | Op::Leave(key) => {
                    state.remove(&key);
                }
            }
        }
        state
    }

    fn events(&self) -> Vec<Record> {
        let record = |(op, time): (&Op, i64)| Record {
            key: op.key(),
            version: 10 * time,
            image: match *op {
                Op::Put(_, parent) => Some(Image {
                    parent,
                    note: 10 * time,
                }),
                Op::Delete(_) | Op::Leave(_) => None,
            },
            left: matches!(op, Op::Leave(_)),
            snapshot: false,
        };
        self.0.iter().zip(1..).map(record).collect()
    }

    /// Every order of its events that Kafka allows.
    pub(crate) fn orders(&self) -> Vec<Vec<Record>> {
        let mut orders = Vec::new();
        extend(&mut Vec::new(), &self.events(), &mut orders);
        orders
    }

    /// Every row that a snapshot may have read: of a document that exists after some operation,
    /// labelled with the time of that operation or of one before it, or with a time before all.
    pub(crate) fn snapshot_rows(&self) -> BTreeSet<Record> {
        let mut rows = BTreeSet::new();
        for read in 1..=self.0.len() {
            for (key, image) in Self(self.0[..read].to_vec()).state() {
                for label in 0..=i64::try_from(read).unwrap() {
                    rows.insert(Record {
                        key,
                        version: (10 * label).max(5),
                        image: Some(image),
                        left: false,
                        snapshot: true,
                    });
                }
            }
        }
        rows
    }
}

fn extend(order: &mut Vec<Record>, left: &[Record], orders: &mut Vec<Vec<Record>>) {
    if left.is_empty() {
        orders.push(order.clone());
    }
    for (index, record) in left.iter().enumerate() {
        if left[..index].iter().all(|r| r.key != record.key) {
            order.push(*record);
            let mut rest = left.to_vec();
            rest.remove(index);
            extend(order, &rest, orders);
            order.pop();
        }
    }
}

/// Every order with one more copy of one of its records at any later place.
pub(crate) fn with_late_copy(orders: &BTreeSet<Vec<Record>>) -> BTreeSet<Vec<Record>> {
    let mut all = BTreeSet::new();
    for order in orders {
        for (index, record) in order.iter().enumerate() {
            for place in index + 1..=order.len() {
                all.insert(inserted(order, place, *record));
            }
        }
    }
    all
}

/// The order with a record at that place.
pub(crate) fn inserted(order: &[Record], place: usize, record: Record) -> Vec<Record> {
    let mut longer = order.to_vec();
    longer.insert(place, record);
    longer
}
