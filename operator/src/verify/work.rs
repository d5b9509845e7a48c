//! One collection, as it is compared: its plan, the names of its state, and whose its rows are.

use super::{expected::plan::Plan, select::Ownership};
use leafcutter_schemas::mapping::{Collection, PgType, Table, TableName};
use leafcutter_sink::{ids::CollectionId, model::Model};
use std::collections::HashMap;

/// A root table.
#[derive(Debug)]
pub struct Root {
    /// Its position in the plan.
    pub table: usize,
    /// Its name in Leafcutter's state.
    pub state_name: String,
    /// Whose its rows are.
    pub ownership: Ownership,
    /// Its key does not follow from `_id`.
    pub natural: bool,
    /// The column of its key that PostgreSQL numbers.
    pub generated: Option<usize>,
    /// The columns that point to it, of whatever collections.
    pub referrers: Vec<(TableName, String)>,
}

/// A collection.
pub struct Work {
    /// Its position among those that are compared.
    pub index: usize,
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// The dates by which it is polled.
    pub poll_by: Vec<String>,
    /// How its documents become rows.
    pub plan: Plan,
    /// Its root tables.
    pub roots: Vec<Root>,
    /// References by `_id`, by table and column: the parent's name in the state.
    pub looked_up: HashMap<(usize, usize), (String, PgType)>,
    /// The mapping's hash.
    pub hash: String,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Work {
    /// A collection of a compiled mapping.
    pub fn of(index: usize, id: CollectionId, model: &Model) -> Self {
        let collection: &Collection = &model.mapping.collections[id.0];
        let compiled = model.collection(id);
        let plan = Plan::of(collection, model.mapping.uuid_namespace);
        let referrers = model.mapping.referrers();
        let root = |table: usize| {
            let name = &plan.tables[table].table.name;
            let entry = compiled.roots.iter().map(|&id| model.table(id));
            let entry = entry.clone().find(|entry| entry.table.name == *name);
            let shared = entry.is_some_and(|entry| entry.shared);
            let source = format!("{}.{}", collection.database, collection.name);
            Root {
                table,
                state_name: entry
                    .map_or_else(|| name.to_string(), |entry| entry.state_name.clone()),
                ownership: Ownership {
                    source: shared.then_some(source),
                    keeps_document: plan.tables[table].table.documents_may_share_key(),
                },
                natural: plan.tables[table].table.has_natural_key(),
                generated: plan.tables[table].table.generated_key(),
                referrers: referrers
                    .get(name)
                    .into_iter()
                    .flatten()
                    .map(|(table, column)| {
                        (table.name.clone(), table.columns[*column].name.clone())
                    })
                    .collect(),
            }
        };
        let roots = plan.roots().map(root).collect();
        let mut looked_up = HashMap::new();
        for (table, entry) in plan.tables.iter().enumerate() {
            for (position, column) in entry.table.columns.iter().enumerate() {
                let Some(reference) = column.looked_up() else {
                    continue;
                };
                let parent = model.roots().map(|id| model.table(id));
                let mut parent = parent.filter(|parent| parent.table.name == reference.table);
                if let Some(parent) = parent.next() {
                    let place = (parent.state_name.clone(), column.pg_type);
                    looked_up.insert((table, position), place);
                }
            }
        }
        Self {
            index,
            database: collection.database.clone(),
            name: collection.name.clone(),
            topic: compiled.topic.clone(),
            poll_by: collection.poll_by.iter().map(ToString::to_string).collect(),
            roots,
            looked_up,
            plan,
            hash: model.mapping.hash.clone(),
        }
    }

    /// A table of the plan.
    pub fn table(&self, position: usize) -> &Table {
        &self.plan.tables[position].table
    }

    /// Whose the rows of a table are: of a child table, as its root.
    pub fn ownership(&self, table: usize) -> Ownership {
        let root = self.roots.iter().find(|root| root.table == table);
        root.map(|root| root.ownership.clone()).unwrap_or_default()
    }

    /// As it is shown: `database.collection`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }
}
