//! Tables that the application made: do they agree with the mapping?
//!
//! It takes the mapping and what the catalogue says ([`super::catalogue`]), compares them without asking
//! anybody further, and gives every disagreement at once: where it is, what either side says, what
//! follows, and the SQL that mends it. What makes writing impossible is a fault; what is only unwise,
//! or leads some documents to the dead letters, is a warning. The statements are in an order in which
//! they can be run. Nothing is changed here.

mod disagreement;
mod columns;
mod keys;
mod special;

pub use disagreement::{Disagreement, Kind};

use super::{
    catalogue::{self, Catalogue, FoundTable},
    ddl,
};
use crate::{
    model::{Model, TableModel},
    names::qualified,
    session::Session,
    state::{
        deferred_constraints,
        schema::{self, LAYOUT},
    },
};
use leafcutter_schemas::mapping::TableName;

/// Looks at the tables of the mapping.
///
/// # Errors
/// When the server is lost or does not let them be read.
pub async fn look(
    session: &mut Session,
    model: &Model,
) -> Result<Vec<Disagreement>, tokio_postgres::Error> {
    Ok(compare(model, &read(session, model).await?))
}

/// Reads what the catalogue says of the mapping's tables.
///
/// # Errors
/// As for [`look`].
pub async fn read(
    session: &mut Session,
    model: &Model,
) -> Result<Catalogue, tokio_postgres::Error> {
    let tables = ddl::tables(model);
    let names: Vec<&TableName> = tables.iter().map(|entry| &entry.table.name).collect();
    let mut there = catalogue::read(session, &names).await?;
    if schema::layout(session).await? == LAYOUT {
        for row in deferred_constraints::rows(session).await? {
            let mut tables = there.tables.iter_mut();
            let of = tables.find(|(name, _)| qualified(name) == row.table);
            if let Some((_, table)) = of {
                table.deferred.push(row);
            }
        }
    }
    Ok(there)
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
    special::judge(&entry.table.name, &found.special, all);
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
