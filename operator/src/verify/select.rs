//! The rows of some documents: what is asked of a table, and the rows as they come.
//!
//! Rows are found by the columns that hold their root row's key, so a child table's rows come with their
//! document, whatever their own keys are. Keys go as text and are cast by the server to the mapping's
//! type, so that the table's own index serves.

use super::{
    column_type::Kind,
    expected::{cell::Cell, plan::TablePlan},
    found::Raw,
};
use leafcutter_schemas::{mapping::Table, version::Version};
use leafcutter_sink::names::{qualified, quote};
use std::collections::HashMap;
use tokio_postgres::{Client, Error, Row, Statement, types::ToSql};

/// What is asked of a table.
#[derive(Debug)]
pub struct Select {
    statement: Statement,
    kinds: Vec<Kind>,
    /// Where the root's key is among the table's columns.
    root_key: Vec<usize>,
    has_version: bool,
    has_document: bool,
}

/// A row as it was found.
#[derive(Debug, Clone)]
pub struct FoundRow {
    row: Row,
    /// Its version; zero where it has none.
    pub version: Version,
    /// The key of the document that it says it is.
    pub document: Option<Vec<u8>>,
}

/// How a table is told apart from others of its name or its documents.
#[derive(Debug, Clone, Default)]
pub struct Ownership {
    /// The collection of its rows, where several fill the table.
    pub source: Option<String>,
    /// Its rows say whose they are.
    pub keeps_document: bool,
}

/// The rows of a table by the keys of their roots.
pub type ByRoot = HashMap<Vec<u8>, Vec<FoundRow>>;

/// The columns of a table, each behind `x.`.
fn columns(table: &Table, casts: &[bool]) -> Vec<String> {
    let columns = table.columns.iter().enumerate().map(|(position, column)| {
        let name = format!("x.{}", quote(&column.name));
        match casts.get(position) {
            Some(true) => format!("{name}::{}", column.pg_type.staging_type()),
            _ => name,
        }
    });
    columns.collect()
}

fn sql(plan: &TablePlan, ownership: &Ownership, casts: &[bool]) -> String {
    let table = &plan.table;
    let mut list = columns(table, casts);
    if plan.parent.is_none() {
        list.push("x.lc_version".to_owned());
    }
    if ownership.keeps_document {
        list.push("x.lc_document".to_owned());
    }
    let key: Vec<(String, String)> = plan
        .root_key
        .iter()
        .map(|&position| {
            let column = &table.columns[position];
            (quote(&column.name), column.pg_type.staging_type())
        })
        .collect();
    let own = match &ownership.source {
        Some(_) => format!(" and x.lc_source = ${}", key.len() + 1),
        None => String::new(),
    };
    let (list, target) = (list.join(", "), qualified(&table.name));
    if let [(name, pg_type)] = key.as_slice() {
        return format!(
            "select {list} from {target} x where x.{name} = any($1::text[]::{pg_type}[]){own}"
        );
    }
    let arrays = key.iter().enumerate();
    let arrays: Vec<_> = arrays
        .map(|(n, (_, t))| format!("${}::text[]::{t}[]", n + 1))
        .collect();
    let names: Vec<_> = (0..key.len()).map(|n| format!("k{n}")).collect();
    let same = key.iter().enumerate();
    let same: Vec<_> = same
        .map(|(n, (name, _))| format!("x.{name} = k.k{n}"))
        .collect();
    format!(
        "select {list} from (select distinct * from unnest({}) as k({})) k join {target} x on {}{own}",
        arrays.join(", "),
        names.join(", "),
        same.join(" and "),
    )
}

impl Select {
    /// Prepares what is asked of a table. A column of a type that is not known here is cast to the
    /// mapping's.
    ///
    /// # Errors
    /// When the table is not as the mapping says, or PostgreSQL is lost.
    pub async fn prepare(
        client: &Client,
        plan: &TablePlan,
        ownership: &Ownership,
    ) -> Result<Self, Error> {
        let mut statement = client.prepare(&sql(plan, ownership, &[])).await?;
        let width = plan.table.columns.len();
        let read = |statement: &Statement| -> Vec<Option<Kind>> {
            statement.columns()[..width]
                .iter()
                .map(|column| Kind::of(column.type_()))
                .collect()
        };
        let mut kinds = read(&statement);
        if kinds.contains(&None) {
            let casts: Vec<bool> = kinds.iter().map(Option::is_none).collect();
            statement = client.prepare(&sql(plan, ownership, &casts)).await?;
            kinds = read(&statement);
        }
        Ok(Self {
            statement,
            // The mapping's own types are all known.
            kinds: kinds
                .into_iter()
                .map(|kind| kind.unwrap_or(Kind::Bytes))
                .collect(),
            root_key: plan.root_key.clone(),
            has_version: plan.parent.is_none(),
            has_document: ownership.keeps_document,
        })
    }

    /// The rows of these roots, each key as its cells.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost.
    pub async fn rows(
        &self,
        client: &Client,
        table: &Table,
        ownership: &Ownership,
        keys: &[Vec<Cell>],
    ) -> Result<ByRoot, Error> {
        if keys.is_empty() {
            return Ok(ByRoot::new());
        }
        let mut texts: Vec<Vec<Option<String>>> = Vec::new();
        for (place, &position) in self.root_key.iter().enumerate() {
            let pg_type = Some(table.columns[position].pg_type);
            texts.push(
                keys.iter()
                    .map(|key| key.get(place).and_then(|cell| cell.text(pg_type)))
                    .collect(),
            );
        }
        let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
        parameters.extend(texts.iter().map(|texts| texts as &(dyn ToSql + Sync)));
        if let Some(source) = &ownership.source {
            parameters.push(source);
        }
        let found = client.query(&self.statement, &parameters).await?;
        let mut rows = ByRoot::with_capacity(found.len());
        for row in found {
            let mut key = Vec::new();
            for &position in &self.root_key {
                self.cell(&row, position).write_key(&mut key);
            }
            let width = self.kinds.len();
            let version = if self.has_version { row.get(width) } else { 0 };
            let document = self.has_document.then(|| row.get::<_, Vec<u8>>(width + 1));
            rows.entry(key).or_default().push(FoundRow {
                row,
                version: Version::from_i64(version).unwrap_or(Version::ZERO),
                document,
            });
        }
        Ok(rows)
    }

    fn cell(&self, row: &Row, position: usize) -> Cell {
        match row.get::<_, Option<Raw<'_>>>(position) {
            None => Cell::Null,
            Some(Raw(bytes)) => {
                let unread = || Cell::Text("what cannot be read".to_owned());
                self.kinds[position].read(bytes).unwrap_or_else(unread)
            }
        }
    }

    /// The values of a row.
    pub fn cells(&self, found: &FoundRow) -> Vec<Cell> {
        (0..self.kinds.len())
            .map(|position| self.cell(&found.row, position))
            .collect()
    }

    /// The columns in which a row is not what was expected.
    pub fn differing(&self, table: &Table, found: &FoundRow, expected: &[Cell]) -> Vec<usize> {
        let differs = |&position: &usize| {
            let bytes = found.row.get::<_, Option<Raw<'_>>>(position);
            match (bytes, &expected[position]) {
                (None, Cell::Null) => false,
                (None, _) => true,
                (Some(Raw(bytes)), cell) => {
                    !self.kinds[position].is(cell, bytes, table.columns[position].pg_type)
                }
            }
        };
        (0..self.kinds.len()).filter(differs).collect()
    }

    /// The key of a row in its own table.
    pub fn own_key(&self, table: &Table, found: &FoundRow) -> Vec<u8> {
        let mut key = Vec::new();
        for &position in &table.key {
            self.cell(&found.row, position).write_key(&mut key);
        }
        key
    }
}
