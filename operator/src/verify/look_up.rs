//! What only Leafcutter's state knows of a document's rows: the numbers that PostgreSQL gave, and which
//! of several documents is the row of a key.

use super::{
    column_type::Kind,
    expected::{cell::Cell, rows::Rows},
    target::Target,
    work::Work,
};
use leafcutter_schemas::mapping::{OnMissing, PgType};
use leafcutter_sink::state::key_map::{self, KeyEntry};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

/// What is known of the documents of a batch.
#[derive(Debug, Default)]
pub struct Known {
    /// By name in the state and the document's key.
    entries: BTreeMap<String, BTreeMap<Vec<u8>, KeyEntry>>,
}

/// The value of a key of one column that was numbered or brought along.
fn value(bytes: &[u8], pg_type: PgType) -> Option<Cell> {
    Kind::of_column(pg_type)?.read(bytes)
}

impl Known {
    /// Asks for everything that these documents and their references need.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn of(
        target: &mut Target,
        work: &Work,
        documents: &[(&str, Option<&Rows>)],
    ) -> Result<Self, Error> {
        let mut wanted: BTreeMap<&str, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for root in work.roots.iter().filter(|root| root.natural) {
            let keys = documents.iter().map(|(key, _)| key.as_bytes().to_vec());
            wanted.entry(&root.state_name).or_default().extend(keys);
        }
        for ((table, column), (parent, _)) in &work.looked_up {
            for rows in documents.iter().filter_map(|(_, rows)| *rows) {
                for row in &rows.tables[*table] {
                    if let Some(Cell::Parent(key)) = row.get(*column) {
                        wanted
                            .entry(parent)
                            .or_default()
                            .insert(key.as_bytes().to_vec());
                    }
                }
            }
        }
        let mut known = Self::default();
        for (name, keys) in wanted {
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let entries = key_map::of_documents(&mut target.session, name, &keys).await?;
            known.entries.insert(name.to_owned(), entries);
        }
        Ok(known)
    }

    /// What is known of a document in a table.
    pub fn entry(&self, state_name: &str, document: &str) -> Option<&KeyEntry> {
        self.entries.get(state_name)?.get(document.as_bytes())
    }

    /// Puts what is known into a document's rows. What is not known stays open.
    pub fn fill(&self, work: &Work, document: &str, rows: &mut Rows) {
        for ((table, column), (parent, pg_type)) in &work.looked_up {
            let reference = work.table(*table).columns[*column].looked_up();
            let null = reference.is_some_and(|reference| reference.on_missing == OnMissing::Null);
            for row in &mut rows.tables[*table] {
                if let Cell::Parent(key) = &row[*column] {
                    let entry = self.entry(parent, key);
                    match entry.and_then(|entry| value(&entry.row_key, *pg_type)) {
                        Some(value) => row[*column] = value,
                        None if null => row[*column] = Cell::Null,
                        None => {}
                    }
                }
            }
        }
        for root in &work.roots {
            let Some(column) = root.generated else {
                continue;
            };
            let pg_type = work.table(root.table).columns[column].pg_type;
            let entry = self.entry(&root.state_name, document);
            let Some(number) = entry.and_then(|entry| value(&entry.row_key, pg_type)) else {
                continue;
            };
            for table in work.plan.family(root.table) {
                for row in &mut rows.tables[table] {
                    for cell in row.iter_mut().filter(|cell| **cell == Cell::Numbered) {
                        *cell = number.clone();
                    }
                }
            }
        }
    }
}
