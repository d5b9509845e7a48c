//! The mapping as a consumer works with it: every table with its place in the order of writing, its
//! statements, and each collection's plan and topic. Compiled once at the start.

use crate::{
    sink::statement::TableSql,
    transform::{Plan, TableId},
};
use leafcutter_schemas::{
    mapping::{Mapping, Table, TableName, tier},
    name::{self, NameError},
};
use std::{collections::BTreeMap, sync::Arc};

/// One table.
#[derive(Debug)]
pub struct TableModel {
    /// The table.
    pub table: Arc<Table>,
    /// The collection that fills it: a position in [`Model::collections`].
    pub collection: usize,
    /// The tables above a child table, its root first.
    pub above: Vec<TableId>,
    /// The name as it stands in Leafcutter's state tables.
    pub state_name: String,
    /// Its statements.
    pub sql: TableSql,
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
    /// Its root table.
    pub root: TableId,
    /// Its child tables, parents first.
    pub children: Vec<TableId>,
    /// The collections whose rows its own point to, without itself and without those in a cycle
    /// with it: what its gate waits for.
    pub parents: Vec<usize>,
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
        let order: BTreeMap<TableName, TableId> = tiers
            .table_order()
            .into_iter()
            .enumerate()
            .map(|(position, name)| (name, TableId(position)))
            .collect();
        let mut tables: BTreeMap<TableId, TableModel> = BTreeMap::new();
        let mut collections = Vec::new();
        let referrers = mapping.referrers();
        for (index, (collection, topic)) in mapping.collections.iter().zip(topics).enumerate() {
            let plan = Plan::compile(&mapping, collection, &order).map_err(ModelError::Plan)?;
            for (position, entry) in plan.tables.iter().enumerate() {
                let above = above(&plan, position);
                let over: Vec<_> = above
                    .iter()
                    .map(|&p| (&*plan.tables[p].table, plan.tables[p].id))
                    .collect();
                let look_up = |name: &TableName| {
                    let (_, table) = mapping.tables().find(|(_, t)| t.name == *name)?;
                    Some((table.clone(), *order.get(name)?))
                };
                let pointing = referrers
                    .get(&entry.table.name)
                    .map_or(&[][..], Vec::as_slice);
                let sql = TableSql::new(entry.id, &entry.table, &over, pointing, &look_up);
                tables.insert(
                    entry.id,
                    TableModel {
                        table: Arc::clone(&entry.table),
                        collection: index,
                        above: above.iter().map(|&p| plan.tables[p].id).collect(),
                        state_name: entry.table.name.to_string(),
                        sql,
                    },
                );
            }
            collections.push(CollectionModel {
                database: collection.database.clone(),
                name: collection.name.clone(),
                topic,
                root: plan.root().id,
                children: plan.tables.iter().skip(1).map(|t| t.id).collect(),
                parents: tiers.parents(index),
                plan,
            });
        }
        drop(referrers);
        Ok(Self {
            mapping,
            tables: tables.into_values().collect(),
            collections,
        })
    }

    /// A table.
    pub fn table(&self, id: TableId) -> &TableModel {
        &self.tables[id.0]
    }

    /// The root table of that name.
    pub fn root_by_state_name(&self, state_name: &str) -> Option<TableId> {
        self.tables
            .iter()
            .position(|t| t.state_name == state_name && t.above.is_empty())
            .map(TableId)
    }

    /// The collection whose topic this is.
    pub fn collection_of_topic(&self, topic: &str) -> Option<usize> {
        self.collections.iter().position(|c| c.topic == topic)
    }
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
