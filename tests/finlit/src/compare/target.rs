//! What is in the tables.

use crate::{
    Collection,
    expected::{
        cell::Cell,
        tables::{Column, Table, table},
    },
};

use futures_util::TryStreamExt;
use leafcutter_harness::failure::{Attempt, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

/// Which rows there are to point to.
#[derive(Debug, Default)]
pub struct Target {
    keys: HashMap<Collection, HashSet<Uuid>>,
}

impl Target {
    pub(super) async fn read_keys(view: &Transaction<'_>) -> Result<Self> {
        let mut keys = HashMap::new();
        for collection in Collection::ALL {
            let table = table(collection);
            let sql = format!("select \"{}\"::text from \"{}\"", table.key(), table.name);
            let rows = view
                .query(&sql, &[])
                .await
                .attempt(&format!("read `{}`", table.name))?;
            keys.insert(
                collection,
                rows.iter().filter_map(|row| uuid(row, 0)).collect(),
            );
        }
        Ok(Self { keys })
    }

    /// Whether the row is there.
    pub fn has(&self, collection: Collection, key: Uuid) -> bool {
        self.keys
            .get(&collection)
            .is_some_and(|keys| keys.contains(&key))
    }
}

/// A row as it is in its table.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its `lc_version`.
    pub version: i64,
    /// Its values, as text.
    texts: Vec<Option<String>>,
}

impl Found {
    /// Its values, in the order of the table's columns.
    pub fn cells(&self, columns: &[Column]) -> Vec<Cell> {
        read_cells(columns, &self.texts)
    }
}

/// The rows of a child table that belong to one parent, by position, as text.
pub type Elements = BTreeMap<i64, Vec<Option<String>>>;

/// The rows of a table and of its child tables.
#[derive(Debug, Default)]
pub struct Rows {
    /// By key.
    pub root: HashMap<Uuid, Found>,
    /// Per child table, by the parent's key and the position.
    pub children: HashMap<&'static str, HashMap<Uuid, Elements>>,
    /// Per unique key, who has which value.
    pub unique: Vec<HashMap<String, Uuid>>,
}

/// All rows of a collection's tables.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn rows(view: &Transaction<'_>, collection: Collection) -> Result<Rows> {
    let table = table(collection);
    let mut rows = Rows {
        unique: vec![HashMap::new(); table.unique.len()],
        ..Rows::default()
    };
    let columns = list(table.columns);
    let sql = format!(
        "select \"{}\"::text, lc_version, {columns} from \"{}\"",
        table.key(),
        table.name
    );
    let mut stream = Box::pin(
        view.query_raw(&sql, [] as [i64; 0])
            .await
            .attempt(&format!("read `{}`", table.name))?,
    );
    while let Some(row) = stream.try_next().await? {
        let Some(key) = uuid(&row, 0) else { continue };
        let found = Found {
            version: row.get(1),
            texts: texts(&row, 2),
        };
        for (values, columns) in rows.unique.iter_mut().zip(table.unique) {
            let cells = found.cells(table.columns);
            values.insert(unique_value(table, columns, &cells), key);
        }
        rows.root.insert(key, found);
    }
    for child in table.children {
        let columns = list(child.columns);
        let sql = format!(
            "select \"{}\"::text, position::bigint, {columns} from \"{}\"",
            table.key(),
            child.name
        );
        let of_table: &mut HashMap<_, Elements> = rows.children.entry(child.name).or_default();
        for row in view
            .query(&sql, &[])
            .await
            .attempt(&format!("read `{}`", child.name))?
        {
            if let Some(key) = uuid(&row, 0) {
                of_table
                    .entry(key)
                    .or_default()
                    .insert(row.get(1), texts(&row, 2));
            }
        }
    }
    Ok(rows)
}

/// The values of a unique key as one text.
pub fn unique_value(table: &Table, columns: &[&str], cells: &[Cell]) -> String {
    let named = table
        .columns
        .iter()
        .zip(cells)
        .filter(|(column, _)| columns.contains(&column.name));
    named.map(|(_, cell)| format!("{cell:?}/")).collect()
}

/// Values read as the types of their columns.
pub fn read_cells(columns: &[Column], texts: &[Option<String>]) -> Vec<Cell> {
    columns
        .iter()
        .zip(texts)
        .map(|(column, text)| {
            text.as_ref()
                .map_or(Cell::Null, |text| Cell::read(column.kind, text))
        })
        .collect()
}

fn list(columns: &[Column]) -> String {
    let columns: Vec<_> = columns.iter().map(|c| Cell::sql(c.kind, c.name)).collect();
    columns.join(", ")
}

fn texts(row: &Row, from: usize) -> Vec<Option<String>> {
    (from..row.len())
        .map(|position| row.get(position))
        .collect()
}

fn uuid(row: &Row, position: usize) -> Option<Uuid> {
    row.get::<_, Option<&str>>(position)?.parse().ok()
}
