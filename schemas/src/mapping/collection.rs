//! A mapping and its collections, as they are after every check.

use super::{Path, Table, TableName};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A checked mapping file.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The namespace of UUIDs made from document keys.
    pub uuid_namespace: Uuid,
    /// Its collections, in the order of the file.
    pub collections: Vec<Collection>,
    /// A short hash of the file's bytes (16 hex digits), which names this mapping in state, logs
    /// and dead letters.
    pub hash: String,
    /// The file's text, as it was read.
    pub text: String,
}

impl Mapping {
    /// The collection of that database and name.
    pub fn collection(&self, database: &str, name: &str) -> Option<&Collection> {
        self.collections
            .iter()
            .find(|c| c.database == database && c.name == name)
    }

    /// The databases named, each once, in order.
    pub fn databases(&self) -> Vec<&str> {
        let mut seen = Vec::new();
        for collection in &self.collections {
            if !seen.contains(&collection.database.as_str()) {
                seen.push(collection.database.as_str());
            }
        }
        seen
    }

    /// Every table with the collection that fills it, parents before their child tables.
    pub fn tables(&self) -> impl Iterator<Item = (&Collection, &Table)> {
        self.collections
            .iter()
            .flat_map(|c| c.with_descendants().into_iter().map(move |t| (c, t)))
    }

    /// The same mapping with all of its tables in this schema.
    ///
    /// # Errors
    /// When two tables would be one there: the name that both have.
    pub fn in_schema(mut self, schema: &str) -> Result<Self, String> {
        let mut names: BTreeMap<&str, &TableName> = BTreeMap::new();
        for (_, table) in self.tables() {
            let name = &table.name;
            if *names.entry(&name.name).or_insert(name) != name {
                return Err(name.name.clone());
            }
        }
        fn place(table: &mut Table, schema: &str) {
            schema.clone_into(&mut table.name.schema);
            for column in &mut table.columns {
                if let Some(reference) = &mut column.reference {
                    schema.clone_into(&mut reference.table.schema);
                }
            }
            for child in &mut table.children {
                place(child, schema);
            }
        }
        let tables = self.collections.iter_mut();
        for table in tables.flat_map(|collection| &mut collection.tables) {
            place(table, schema);
        }
        Ok(self)
    }

    /// For each table, the references that point to it, as (table, column position).
    pub fn referrers(&self) -> BTreeMap<TableName, Vec<(&Table, usize)>> {
        let mut found: BTreeMap<TableName, Vec<(&Table, usize)>> = BTreeMap::new();
        for (_, table) in self.tables() {
            for (position, column) in table.columns.iter().enumerate() {
                if let Some(reference) = &column.reference {
                    found
                        .entry(reference.table.clone())
                        .or_default()
                        .push((table, position));
                }
            }
        }
        found
    }
}

/// One collection and the tables its documents go to.
#[derive(Debug, Clone)]
pub struct Collection {
    /// The database it is in.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Where it stands in the file: line and column, from 1.
    pub at: (usize, usize),
    /// Where its documents say when they were last written, for a source that has no change stream:
    /// the newest of these dates counts. None: it cannot be polled.
    pub poll_by: Vec<Path>,
    /// The tables that get one row per document, or none where their filter leaves it out; their
    /// children follow inside. Never empty.
    pub tables: Vec<Table>,
}

impl Collection {
    /// Its tables and all below them, parents first.
    pub fn with_descendants(&self) -> Vec<&Table> {
        self.tables
            .iter()
            .flat_map(Table::with_descendants)
            .collect()
    }
}
