//! What the rows of a mapping have to do with each other: which columns refer to which keys, and which values
//! may stand in one row only. Compiled once.

use super::keys::{Keys, SetId};
use leafcutter_schemas::mapping::{OnMissing, ReferenceBy, SameKey, Table, TableName};
use leafcutter_sink::{
    ids::CollectionId,
    model::{Model, TableModel},
};
use std::collections::BTreeMap;

/// A column that refers to a table.
#[derive(Debug)]
pub(super) struct Reference {
    /// The collection of its table.
    pub(super) collection: CollectionId,
    /// Its table.
    pub(super) table: String,
    /// The column.
    pub(super) column: String,
    /// Its position in the table.
    pub(super) position: usize,
    /// The table that it refers to.
    pub(super) parent: String,
    /// The collections that fill that table.
    pub(super) fillers: Vec<CollectionId>,
    /// The keys that are there.
    pub(super) set: SetId,
    /// What becomes of a row without a parent.
    pub(super) on_missing: OnMissing,
}

/// Values of which one row only can have the same.
#[derive(Debug)]
pub(super) struct Unique {
    /// The collection of its table.
    pub(super) collection: CollectionId,
    /// The table.
    pub(super) table: String,
    /// The columns.
    pub(super) columns: String,
    /// Their positions; none where they are the row's key.
    pub(super) positions: Option<Vec<usize>>,
    /// The values that are taken.
    pub(super) set: SetId,
    /// The newest document has the row, and the others wait for nothing.
    pub(super) newest_wins: bool,
}

/// What is asked of the rows of one table of a plan.
#[derive(Debug, Default)]
pub(super) struct OfTable {
    /// Positions in [`Links::references`].
    pub(super) references: Vec<usize>,
    /// Positions in [`Links::uniques`].
    pub(super) uniques: Vec<usize>,
    /// Where its key goes, of a root table that is referred to by it.
    pub(super) key: Option<SetId>,
    /// Where its document's key goes, of a root table that is referred to by `_id`.
    pub(super) by_id: Option<SetId>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Links {
    /// By collection, and by the position in its plan.
    pub(super) tables: Vec<Vec<OfTable>>,
    /// All references.
    pub(super) references: Vec<Reference>,
    /// All unique values.
    pub(super) uniques: Vec<Unique>,
}

/// The sets of a mapping, by table and by what is in them.
struct Sets<'k> {
    keys: &'k mut Keys,
    known: BTreeMap<(TableName, Vec<String>), SetId>,
}

impl Sets<'_> {
    fn of(&mut self, table: &TableName, columns: &[&str]) -> SetId {
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        let keys = &mut *self.keys;
        let set = self.known.entry((table.clone(), columns));
        *set.or_insert_with(|| keys.set())
    }
}

/// In the place of columns: the key of the document.
const DOCUMENT: &str = "";

impl Links {
    /// Those of a mapping; the sets are added to `keys`.
    pub(super) fn of(model: &Model, keys: &mut Keys) -> Self {
        let referrers = model.mapping.referrers();
        let mut sets = Sets {
            keys,
            known: BTreeMap::new(),
        };
        let mut links = Self {
            tables: Vec::new(),
            references: Vec::new(),
            uniques: Vec::new(),
        };
        for (index, collection) in model.collections.iter().enumerate() {
            let id = CollectionId(index);
            let mut all = Vec::new();
            for entry in &collection.plan.tables {
                let table = &*entry.table;
                let is_root = entry.parent.is_none();
                let mut of = OfTable::default();
                let names = names(table, &table.key);
                let pointing = referrers.get(&table.name).map_or(&[][..], Vec::as_slice);
                for (referring, column) in pointing.iter().filter(|_| is_root) {
                    match referring.columns[*column].reference.as_ref().map(|r| r.by) {
                        Some(ReferenceBy::Id) => {
                            of.by_id = Some(sets.of(&table.name, &[DOCUMENT]));
                        }
                        Some(ReferenceBy::Key) | None => {
                            of.key = Some(sets.of(&table.name, &names));
                        }
                    }
                }
                // A child row's key has its parent's in it.
                let shares = |of: &TableModel| of.natural_key || of.keeps_document || of.shared;
                let may_meet = is_root && shares(model.table(entry.id));
                let keys = may_meet.then_some(&table.key).into_iter();
                let others = table.unique.iter();
                for (positions, is_key) in keys.map(|k| (k, true)).chain(others.map(|u| (u, false)))
                {
                    let columns = self::names(table, positions);
                    let newest = matches!(table.same_key, SameKey::NewestWins { .. });
                    of.uniques.push(links.uniques.len());
                    links.uniques.push(Unique {
                        collection: id,
                        table: table.name.to_string(),
                        columns: columns.join(", "),
                        positions: (!is_key).then(|| positions.clone()),
                        set: sets.of(&table.name, &columns),
                        newest_wins: is_key && newest,
                    });
                }
                for (position, column) in table.columns.iter().enumerate() {
                    let Some(reference) = &column.reference else {
                        continue;
                    };
                    let fillers = fillers(model, &reference.table);
                    let columns = match reference.by {
                        ReferenceBy::Id => [DOCUMENT],
                        ReferenceBy::Key => [reference.column.as_str()],
                    };
                    of.references.push(links.references.len());
                    links.references.push(Reference {
                        collection: id,
                        table: table.name.to_string(),
                        column: column.name.clone(),
                        position,
                        parent: reference.table.to_string(),
                        fillers,
                        set: sets.of(&reference.table, &columns),
                        on_missing: reference.on_missing,
                    });
                }
                all.push(of);
            }
            links.tables.push(all);
        }
        links
    }
}

fn names<'t>(table: &'t Table, positions: &[usize]) -> Vec<&'t str> {
    let names = positions.iter().map(|&p| table.columns[p].name.as_str());
    names.collect()
}

fn fillers(model: &Model, table: &TableName) -> Vec<CollectionId> {
    let all = model.mapping.collections.iter().enumerate();
    let filling = all.filter(|(_, c)| c.tables.iter().any(|t| t.name == *table));
    filling.map(|(index, _)| CollectionId(index)).collect()
}
