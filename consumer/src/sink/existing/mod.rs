//! Tables that the application made: do they agree with the mapping?
//!
//! It takes the mapping and what the catalogue says ([`catalogue`]), compares them without asking
//! anybody further, and gives every disagreement at once: where it is, what either side says, what
//! follows, and the SQL that mends it. What makes writing impossible is a fault; what is only unwise,
//! or leads some documents to the dead letters, is a warning. The statements are in an order in which
//! they can be run. Nothing is changed here.

pub mod types;
pub mod catalogue;
mod columns;
mod keys;

use super::{ddl, statement::qualified};
use crate::model::{Model, TableModel};
use catalogue::{Catalogue, FoundTable};
use leafcutter_schemas::mapping::TableName;
use serde::Serialize;
use tokio_postgres::Client;

/// What the mapping and a table do not agree about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The table is not there.
    MissingTable,
    /// It is a view or the like.
    NotATable,
    /// A column is not there.
    MissingColumn,
    /// A column's type does not take what the mapping writes.
    Type,
    /// A column refuses to be written.
    NotWritable,
    /// A column that the mapping does not fill needs a value.
    Unfilled,
    /// A column whose numbers nothing gives.
    Unnumbered,
    /// Nothing keeps the key unique.
    MissingKey,
    /// A column's type is another one that takes what is written.
    OtherType,
    /// One side takes nulls, the other does not.
    Nullability,
    /// Nothing keeps a further unique key unique.
    MissingUnique,
    /// The table keeps something unique of which the mapping does not know.
    UnknownUnique,
    /// Rows are looked for that no index finds.
    MissingIndex,
    /// A reference that the database does not keep.
    MissingForeignKey,
    /// A reference of which the mapping does not know.
    UnknownForeignKey,
    /// A reference that is looked at too late.
    DeferredForeignKey,
}

impl Kind {
    /// Whether rows cannot be written.
    pub fn is_fault(self) -> bool {
        match self {
            Self::MissingTable
            | Self::NotATable
            | Self::MissingColumn
            | Self::Type
            | Self::NotWritable
            | Self::Unfilled
            | Self::Unnumbered
            | Self::MissingKey => true,
            Self::OtherType
            | Self::Nullability
            | Self::MissingUnique
            | Self::UnknownUnique
            | Self::MissingIndex
            | Self::MissingForeignKey
            | Self::UnknownForeignKey
            | Self::DeferredForeignKey => false,
        }
    }
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// About what.
    pub kind: Kind,
    /// The table.
    pub table: TableName,
    /// The columns.
    pub columns: Vec<String>,
    /// What the mapping says.
    pub mapping: String,
    /// What PostgreSQL has.
    pub postgres: String,
    /// What follows.
    pub means: &'static str,
    /// The statements that mend it.
    pub sql: Vec<String>,
    /// What mends it in the mapping or otherwise.
    pub or: Option<String>,
    /// A consumer mends it by itself at its start, with `--ddl create`.
    pub created: bool,
}

impl Disagreement {
    fn new(kind: Kind, table: &TableName, columns: &[&str], means: &'static str) -> Self {
        Self {
            kind,
            table: table.clone(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            mapping: String::new(),
            postgres: String::new(),
            means,
            sql: Vec::new(),
            or: None,
            created: false,
        }
    }

    fn says(mut self, mapping: impl Into<String>, postgres: impl Into<String>) -> Self {
        (self.mapping, self.postgres) = (mapping.into(), postgres.into());
        self
    }

    fn mended_by(mut self, sql: impl Into<String>) -> Self {
        self.sql.push(sql.into());
        self
    }

    fn or(mut self, words: impl Into<String>) -> Self {
        self.or = Some(words.into());
        self
    }

    fn created(mut self, created: bool) -> Self {
        self.created = created;
        self
    }

    /// The table and its columns, as people write them.
    pub fn place(&self) -> String {
        match self.columns.as_slice() {
            [] => self.table.to_string(),
            [only] => format!("{}.{only}", self.table),
            several => format!("{} ({})", self.table, several.join(", ")),
        }
    }
}

/// Looks at the tables of the mapping.
///
/// # Errors
/// When the server is lost or does not let them be read.
pub async fn look(
    client: &Client,
    model: &Model,
) -> Result<Vec<Disagreement>, tokio_postgres::Error> {
    Ok(compare(model, &read(client, model).await?))
}

/// Reads what the catalogue says of the mapping's tables.
///
/// # Errors
/// As for [`look`].
pub async fn read(client: &Client, model: &Model) -> Result<Catalogue, tokio_postgres::Error> {
    let tables = ddl::tables(model);
    let names: Vec<&TableName> = tables.iter().map(|entry| &entry.table.name).collect();
    catalogue::read(client, &names).await
}

/// Compares the mapping's tables with those that are there.
pub fn compare(model: &Model, catalogue: &Catalogue) -> Vec<Disagreement> {
    let mut all = Vec::new();
    let entries = ddl::tables(model);
    for entry in &entries {
        match catalogue.tables.get(&entry.table.name) {
            None => all.push(missing(entry, catalogue)),
            Some(found) => match found.no_table {
                Some(kind) => all.push(no_table(entry, kind)),
                None => one(entry, found, &mut all),
            },
        }
    }
    // The tables that they point to are mended by now.
    for entry in &entries {
        let name = &entry.table.name;
        let there = catalogue.tables.get(name);
        if let Some(found) = there.filter(|found| found.no_table.is_none()) {
            keys::foreign(model, entry, found, &mut all);
        }
    }
    all
}

fn one(entry: &TableModel, found: &FoundTable, all: &mut Vec<Disagreement>) {
    columns::mapped(entry, found, all);
    columns::own(entry, found, all);
    columns::others(entry, found, all);
    keys::key(entry, found, all);
    keys::unique(entry, found, all);
    keys::indexes(entry, found, all);
}

fn missing(entry: &TableModel, catalogue: &Catalogue) -> Disagreement {
    let name = &entry.table.name;
    let means = "nothing can be written to it";
    let there = Disagreement::new(Kind::MissingTable, name, &[], means)
        .says("a table", "none")
        .mended_by(ddl::create_table(entry))
        .created(true);
    let others = catalogue.elsewhere.get(name).map_or(&[][..], Vec::as_slice);
    match others {
        [] => there,
        [other, ..] => there
            .says(
                "a table",
                format!("none in this schema, but `{}.{}`", other.schema, other.name),
            )
            .or(format!(
                "`table: {}.{}` in the mapping",
                other.schema, other.name
            )),
    }
}

fn no_table(entry: &TableModel, kind: &'static str) -> Disagreement {
    let name = &entry.table.name;
    let means = "rows are not written to it";
    Disagreement::new(Kind::NotATable, name, &[], means)
        .says("a table", kind)
        .or("the name of the table below it, in the mapping")
}

/// `alter table … `, and what.
fn alter(table: &TableName, what: &str) -> String {
    format!("alter table {} {what}", qualified(table))
}
