//! The mapping as a consumer works with it: every table with its place in the order of writing, its
//! statements, and each collection's plan and topic. Compiled once at the start.

use crate::{
    ids::{CollectionId, ReferenceId, TableId},
    state::parked::WaitTables,
    statement::{CascadePlace, CascadeSql, TableSql},
    transform::Plan,
};
use leafcutter_schemas::{
    mapping::{Mapping, OnDelete, Table, TableName, tier},
    name::{self, NameError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One table.
#[derive(Debug)]
pub struct TableModel {
    /// The table.
    pub table: Arc<Table>,
    /// The collection that fills it.
    pub collection: CollectionId,
    /// The tables above a child table, its root first.
    pub above: Vec<TableId>,
    /// For a root table, the tables below it, parents first.
    pub children: Vec<TableId>,
    /// The name as it stands in Leafcutter's state tables: what is known of its rows. Of a table that
    /// several collections fill, each knows its own.
    pub state_name: String,
    /// Whether several collections fill the table.
    pub shared: bool,
    /// Whether its rows are not found by `_id` alone: see [`crate::write::by_document`].
    pub natural_key: bool,
    /// Whether two documents may have one row key although it follows from `_id`, so that its rows say
    /// whose they are, in `lc_document`: see [`crate::statement::owner`].
    pub keeps_document: bool,
    /// The references that name their parents by `_id`, each with the parent: see
    /// [`crate::write::parent_keys`].
    pub looked_up: Vec<(ReferenceId, TableId)>,
    /// Whether such references point here.
    pub referenced_by_id: bool,
    /// Its statements.
    pub sql: TableSql,
    /// Statements for what goes with its rows, or changes; none where nothing does and its rows go
    /// with no others.
    pub cascade: Option<CascadeSql>,
    /// Whether its rows may go with others.
    pub cascaded: bool,
}

/// One collection.
#[derive(Debug)]
pub struct CollectionModel {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// How its documents become rows.
    pub plan: Plan,
    /// Its root tables.
    pub roots: Vec<TableId>,
    /// The collections whose rows its own point to, without itself and without those in a cycle
    /// with it: what its gate waits for.
    pub parents: Vec<CollectionId>,
}

/// The compiled mapping.
#[derive(Debug)]
pub struct Model {
    /// The mapping.
    pub mapping: Mapping,
    /// All tables, in the order of writing: a [`TableId`] is a position in here.
    pub tables: Vec<TableModel>,
    /// All collections, in the order of the mapping.
    pub collections: Vec<CollectionModel>,
    /// The root tables whose documents may wait for each other in a cycle: they point, themselves or
    /// from the tables below, to themselves, or to each other.
    pub cyclic: Vec<TableId>,
    /// The schema that all tables are in, where they are filled beside those in use until they are exchanged
    /// ([`crate::state::stagings`]); empty for those in use.
    pub staged_in: String,
}

/// Why a mapping cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Topics cannot be named.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Names(Vec<NameError>),
    /// A plan cannot be compiled.
    #[error("{0}")]
    Plan(String),
}

impl Model {
    /// Compiles a mapping for topics with this prefix.
    ///
    /// # Errors
    /// When topics collide or a constant does not fit its column.
    pub fn compile(mapping: Mapping, prefix: &str) -> Result<Self, ModelError> {
        let names = mapping
            .collections
            .iter()
            .map(|c| (c.database.as_str(), c.name.as_str()));
        let topics = name::data_topics(prefix, names).map_err(ModelError::Names)?;
        let tiers = tier::tiers(&mapping);
        let order: BTreeMap<(usize, TableName), TableId> = tiers
            .table_order()
            .into_iter()
            .enumerate()
            .map(|(position, table)| (table, TableId(position)))
            .collect();
        let mut fillers: BTreeMap<&TableName, usize> = BTreeMap::new();
        for (_, table) in mapping.tables() {
            *fillers.entry(&table.name).or_default() += 1;
        }
        let mut tables: BTreeMap<TableId, TableModel> = BTreeMap::new();
        let mut collections = Vec::new();
        let referrers = mapping.referrers();
        for (index, (collection, topic)) in mapping.collections.iter().zip(topics).enumerate() {
            let own: BTreeMap<TableName, TableId> = order
                .iter()
                .filter(|((of, _), _)| *of == index)
                .map(|((_, name), id)| (name.clone(), *id))
                .collect();
            let plan = Plan::compile(&mapping, collection, &own).map_err(ModelError::Plan)?;
            let source = format!("{}.{}", collection.database, collection.name);
            for (position, entry) in plan.tables.iter().enumerate() {
                let above = above(&plan, position);
                let over: Vec<_> = above
                    .iter()
                    .map(|&p| (&*plan.tables[p].table, plan.tables[p].id))
                    .collect();
                let look_up = |name: &TableName| {
                    let (_, table) = mapping.tables().find(|(_, t)| t.name == *name)?;
                    Some(table.clone())
                };
                let pointing = referrers
                    .get(&entry.table.name)
                    .map_or(&[][..], Vec::as_slice);
                let name = entry.table.name.to_string();
                let shared = fillers
                    .get(&entry.table.name)
                    .is_some_and(|count| *count > 1);
                let state_name = if shared {
                    format!("{name} from {source}")
                } else {
                    name
                };
                let place = (entry.id, shared.then_some(&*source));
                let sql = TableSql::new(place, &entry.table, &over, pointing, &look_up);
                tables.insert(
                    entry.id,
                    TableModel {
                        table: Arc::clone(&entry.table),
                        collection: CollectionId(index),
                        above: above.iter().map(|&p| plan.tables[p].id).collect(),
                        children: below(&plan, position),
                        state_name,
                        shared,
                        natural_key: entry.table.has_natural_key(),
                        keeps_document: entry.table.documents_may_share_key(),
                        looked_up: Vec::new(),
                        referenced_by_id: false,
                        sql,
                        cascade: None,
                        cascaded: false,
                    },
                );
            }
            collections.push(CollectionModel {
                database: collection.database.clone(),
                name: collection.name.clone(),
                topic,
                roots: plan.roots().map(|table| table.id).collect(),
                parents: tiers.parents(index).into_iter().map(CollectionId).collect(),
                plan,
            });
        }
        drop(referrers);
        cascades(&mut tables);
        look_ups(&mut tables);
        let cyclic = tiers.cyclic_roots().iter();
        let cyclic = cyclic.filter_map(|root| order.get(root).copied()).collect();
        Ok(Self {
            cyclic,
            staged_in: String::new(),
            mapping,
            tables: tables.into_values().collect(),
            collections,
        })
    }

    /// A table.
    pub fn table(&self, id: TableId) -> &TableModel {
        &self.tables[id.0]
    }

    /// Whether a parent's key is looked up for rows of this root table or below it.
    pub fn looks_up(&self, root: TableId) -> bool {
        let mut tables = std::iter::once(&root).chain(&self.table(root).children);
        tables.any(|&table| !self.table(table).looked_up.is_empty())
    }

    /// The root tables whose rows are not found by `_id` alone.
    pub fn natural_roots(&self) -> impl Iterator<Item = TableId> {
        self.table_ids().filter(|&id| self.table(id).natural_key)
    }

    /// The root table of that name.
    pub fn root_by_state_name(&self, state_name: &str) -> Option<TableId> {
        self.roots()
            .find(|&id| self.table(id).state_name == state_name)
    }

    /// A collection.
    pub fn collection(&self, id: CollectionId) -> &CollectionModel {
        &self.collections[id.0]
    }

    /// All collections, with their positions.
    pub fn collection_ids(&self) -> impl Iterator<Item = CollectionId> {
        (0..self.collections.len()).map(CollectionId)
    }

    /// The collection whose topic this is.
    pub fn collection_of_topic(&self, topic: &str) -> Option<CollectionId> {
        self.collection_ids()
            .find(|&id| self.collection(id).topic == topic)
    }

    /// All tables, with their places in the order of writing.
    pub fn table_ids(&self) -> impl DoubleEndedIterator<Item = TableId> {
        (0..self.tables.len()).map(TableId)
    }

    /// The root tables, in the order of writing.
    pub fn roots(&self) -> impl DoubleEndedIterator<Item = TableId> {
        self.table_ids()
            .filter(|&id| self.table(id).above.is_empty())
    }

    /// The root tables that documents may wait for.
    pub fn wait_tables(&self) -> WaitTables<'_> {
        let mut tables = WaitTables::default();
        for root in self.roots() {
            let entry = self.table(root);
            tables.names.push(entry.table.name.to_string());
            tables.state_names.push(&entry.state_name);
        }
        tables
    }
}

/// Adds the statements for what goes with rows of each root table.
fn cascades(tables: &mut BTreeMap<TableId, TableModel>) {
    let by_name: BTreeMap<TableName, TableId> = tables
        .iter()
        .map(|(id, entry)| (entry.table.name.clone(), *id))
        .collect();
    let mut references = Vec::new();
    for (&id, entry) in &*tables {
        for (column, definition) in entry.table.columns.iter().enumerate() {
            if let Some(reference) = &definition.reference
                && let Some(&parent) = by_name.get(&reference.table)
            {
                references.push((parent, id, column, reference.on_delete));
            }
        }
    }
    let is_root = |id: TableId| tables[&id].above.is_empty();
    let goes = |&(_, id, _, on_delete): &(TableId, TableId, usize, OnDelete)| {
        on_delete == OnDelete::Cascade && is_root(id)
    };
    let mut involved: BTreeSet<TableId> = references
        .iter()
        .filter(|(.., on_delete)| *on_delete != OnDelete::Hold)
        .map(|(parent, ..)| *parent)
        .collect();
    let cascaded: BTreeSet<TableId> = references.iter().filter(|r| goes(r)).map(|r| r.1).collect();
    involved.extend(&cascaded);
    let reach = |from: TableId| {
        let mut found = BTreeSet::from([from]);
        loop {
            let edges = references
                .iter()
                .filter(|r| goes(r) && found.contains(&r.0));
            let next: BTreeSet<TableId> = edges.map(|r| r.1).collect();
            let before = found.len();
            found.extend(next);
            if found.len() == before {
                return found.into_iter().rev().collect::<Vec<_>>();
            }
        }
    };
    let place = |id: TableId| {
        let entry = &tables[&id];
        let chain = |entry: &'_ TableModel| -> Vec<TableId> { entry.above.clone() };
        let over = |ids: &[TableId]| {
            ids.iter()
                .map(|&a| (&*tables[&a].table, a))
                .collect::<Vec<_>>()
        };
        let below = tables.values().filter(|other| chain(other).contains(&id));
        let below = below.map(|other| {
            let from = other.above.iter().position(|&a| a == id).unwrap_or(0);
            (&*other.table, over(&other.above[from..]))
        });
        CascadePlace {
            table: &entry.table,
            id,
            above: over(&entry.above),
            below: below.collect(),
        }
    };
    let made: Vec<(TableId, CascadeSql)> = involved
        .iter()
        .map(|&id| {
            let pointing = references.iter().filter(|r| r.0 == id);
            let referrers: Vec<_> = pointing.map(|r| (place(r.1), r.2, r.3)).collect();
            let own = place(id);
            (
                id,
                CascadeSql::new(
                    &own,
                    &referrers,
                    &|other| involved.contains(&other),
                    reach(id),
                ),
            )
        })
        .collect();
    for (id, sql) in made {
        if let Some(entry) = tables.get_mut(&id) {
            entry.cascade = Some(sql);
            entry.cascaded = cascaded.contains(&id);
        }
    }
}

/// Notes which references name their parents by `_id`, on both sides.
fn look_ups(tables: &mut BTreeMap<TableId, TableModel>) {
    let roots = tables.iter().filter(|(_, entry)| entry.above.is_empty());
    let by_name: BTreeMap<TableName, TableId> = roots
        .map(|(id, entry)| (entry.table.name.clone(), *id))
        .collect();
    let mut told = BTreeSet::new();
    for entry in tables.values_mut() {
        for (position, check) in entry.sql.references.iter().enumerate() {
            if entry.table.columns[check.column].looked_up().is_some()
                && let Some(&parent) = by_name.get(&check.parent)
            {
                entry.looked_up.push((ReferenceId(position), parent));
                told.insert(parent);
            }
        }
    }
    for id in told {
        if let Some(entry) = tables.get_mut(&id) {
            entry.referenced_by_id = true;
        }
    }
}

/// The tables below one, parents first.
fn below(plan: &Plan, position: usize) -> Vec<TableId> {
    (0..plan.tables.len())
        .filter(|&other| above(plan, other).contains(&position))
        .map(|other| plan.tables[other].id)
        .collect()
}

/// The positions of the tables over a child table, its root first.
fn above(plan: &Plan, position: usize) -> Vec<usize> {
    let mut chain = Vec::new();
    let mut next = plan.tables[position].parent;
    while let Some(parent) = next {
        chain.insert(0, parent);
        next = plan.tables[parent].parent;
    }
    chain
}
