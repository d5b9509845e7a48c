//! Which tables are in use, which are new, and whether they can be exchanged at all.

use super::super::settings::ReplaySettings;
use crate::{catalog::usage, finish::refusal::no_mapping};
use leafcutter_consumer::mapping;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_schemas::mapping::{Mapping, Table, TableName, changes, parse};
use leafcutter_sink::{
    model::{Model, TableModel},
    names::qualified,
    session::Session,
    state::{deferred_constraints, exchange::Exchange, mappings::MappingRow, origins},
    target::exchange::{self, Move, Obstacle},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use tokio_postgres::Error;

/// What could not be done.
pub(super) const WHAT: &str = "could not fill new tables";
/// Where a mapping is that is not read from a file.
const NOTED: &str = "the mapping that is noted in PostgreSQL";
/// The longest name of the schema: as long as PostgreSQL's, less what is added to it for a moment.
const SCHEMA_BYTES_MAX: usize = 54;

/// The tables of both mappings.
pub(super) struct Tables {
    /// The schema of the new tables.
    pub(super) schema: String,
    /// The group that fills them.
    pub(super) group: String,
    /// The mapping, with the names that its tables get.
    pub(super) model: Model,
    /// The mapping of the tables in use.
    live: Model,
    /// What the state calls both.
    pub(super) exchange: Exchange,
    /// The new tables beside those that they replace.
    pub(super) moves: Vec<Move>,
    /// The places that the new ones get, in the order of `moves`.
    pub(super) places: Vec<Option<TableName>>,
    prefix: String,
    file: PathBuf,
}

impl Tables {
    /// Reads both mappings. Of new tables that are to be given up, `begun` is the one that they were begun with,
    /// which the file need not be.
    pub(super) fn of(
        settings: &ReplaySettings,
        schema: &str,
        in_force: &MappingRow,
        begun: Option<&MappingRow>,
    ) -> Result<Self, Failure> {
        let installation = &settings.installation;
        let prefix = installation.prefix.clone();
        let file = installation.mapping.clone();
        let live = noted(in_force, &prefix)?;
        let model = match begun.filter(|_| settings.discard) {
            Some(begun) => noted(begun, &prefix)?,
            None => {
                let file = file.as_deref().ok_or_else(|| no_mapping(WHAT))?;
                mapping::load(file, &prefix)?
            }
        };
        let file = file.unwrap_or_else(|| PathBuf::from(NOTED));
        is_free(schema, &model)?;
        numbers_nothing(&model)?;
        let staged = names(&staged(&model.mapping, schema)?);
        let (old, new) = (old(&live, &model)?, names(&model.mapping));
        let mut moves = Vec::new();
        let mut places = Vec::new();
        for (place, new) in new.iter().zip(&staged) {
            moves.push(Move {
                old: old.contains(place).then(|| place.clone()),
                new: Some(new.clone()),
            });
            places.push(Some(place.clone()));
        }
        for gone in old.iter().filter(|table| !new.contains(table)) {
            moves.push(Move {
                old: Some(gone.clone()),
                new: None,
            });
            places.push(None);
        }
        let group = group(&installation.group, schema);
        let called = staged.iter().zip(&new);
        let exchange = Exchange {
            schema: schema.to_owned(),
            live: installation.group.clone(),
            staged: group.clone(),
            topics: model.collections.iter().map(|c| c.topic.clone()).collect(),
            old: old.iter().map(ToString::to_string).collect(),
            new: called
                .map(|(until, from)| (until.to_string(), from.to_string()))
                .collect(),
        };
        Ok(Self {
            schema: schema.to_owned(),
            group,
            model,
            live,
            exchange,
            moves,
            places,
            prefix,
            file,
        })
    }

    /// The mapping with all tables in the new schema, compiled.
    pub(super) fn staged(&self) -> Result<Model, Failure> {
        let staged = staged(&self.model.mapping, &self.schema)?;
        let mut model = mapping::compile(staged, &self.file, &self.prefix)?;
        model.staged_in.clone_from(&self.schema);
        Ok(model)
    }

    /// The new tables, where they are filled.
    pub(super) fn new_tables(&self) -> Vec<&TableName> {
        let new = self.moves.iter().filter_map(|pair| pair.new.as_ref());
        new.collect()
    }

    /// The tables in use, quoted.
    pub(super) fn old(&self) -> Vec<String> {
        let old = self.moves.iter().filter_map(|pair| pair.old.as_ref());
        old.map(qualified).collect()
    }

    /// Whether the mapping in force means the same.
    pub(super) fn is_same_mapping(&self) -> bool {
        changes(&self.live.mapping, &self.model.mapping).is_empty()
    }

    /// The names in the state of root tables in use, each with that of the new one, where both make the same keys
    /// of the same documents.
    pub(super) fn same_keys(&self) -> Result<Vec<(String, String)>, Failure> {
        let staged = self.staged()?;
        let mut same = Vec::new();
        for root in self.model.roots() {
            let new = self.model.table(root);
            let of = self.model.collection(new.collection);
            let old = self.live.roots().map(|id| self.live.table(id)).find(|old| {
                let collection = self.live.collection(old.collection);
                (&collection.database, &collection.name) == (&of.database, &of.name)
                    && old.table.name == new.table.name
            });
            if let Some(old) = old
                && key(old) == key(new)
            {
                // The order of the tables does not depend on their schema.
                same.push((
                    old.state_name.clone(),
                    staged.table(root).state_name.clone(),
                ));
            }
        }
        Ok(same)
    }

    /// What hangs on the tables in use.
    pub(super) async fn obstacles(&self, session: &mut Session) -> Result<Vec<Obstacle>, Error> {
        exchange::obstacles(session, &self.live, &self.moves).await
    }

    /// The tables that are there among those that are to be exchanged, with their places.
    pub(super) async fn present(
        &self,
        session: &mut Session,
    ) -> Result<(Vec<Move>, Vec<Option<TableName>>), Error> {
        let mut present = Vec::new();
        for pair in &self.moves {
            let mut pair = pair.clone();
            for side in [&mut pair.old, &mut pair.new] {
                if let Some(table) = side
                    && exchange::there(session, &[&*table]).await? != [true]
                {
                    *side = None;
                }
            }
            present.push(pair);
        }
        Ok((present, self.places.clone()))
    }

    /// How the tables were found, by their names from now on.
    pub(super) async fn rename_origins(&self, session: &mut Session) -> Result<(), Error> {
        let pairs = self.moves.iter().zip(&self.places);
        let (until, from): (Vec<String>, Vec<String>) = pairs
            .filter_map(|(pair, place)| {
                Some((qualified(pair.new.as_ref()?), qualified(place.as_ref()?)))
            })
            .unzip();
        deferred_constraints::forget(session, &self.old()).await?;
        origins::exchange(session, &self.old(), (&until, &from)).await
    }

    /// Forgets how the new tables were found.
    pub(super) async fn forget_origins(&self, session: &mut Session) -> Result<(), Error> {
        let new: Vec<String> = self.new_tables().into_iter().map(qualified).collect();
        deferred_constraints::forget(session, &new).await?;
        origins::exchange(session, &new, (&[], &[])).await
    }
}

/// The group that fills the new tables of a group in a schema.
pub(super) fn group(live: &str, schema: &str) -> String {
    format!("{live}-into-{schema}")
}

/// A mapping as the state has it, compiled.
fn noted(row: &MappingRow, prefix: &str) -> Result<Model, Failure> {
    let mapping = parse::load(&row.body, NOTED).map_err(|_| {
        let why = format!("this version cannot read mapping {}", row.hash);
        let next = "Use the `leafcutter` that belongs to the consumers.";
        usage(WHAT, NOTED, why, next)
    })?;
    mapping::compile(mapping, Path::new(NOTED), prefix)
}

/// How a table makes its keys. What prints the same is the same.
fn key(entry: &TableModel) -> (bool, bool, Vec<String>) {
    let columns = entry.table.key.iter();
    let columns = columns.map(|&place| format!("{:?}", entry.table.columns[place]));
    (entry.natural_key, entry.keeps_document, columns.collect())
}

/// The mapping with all tables in the new schema.
fn staged(mapping: &Mapping, schema: &str) -> Result<Mapping, Failure> {
    mapping.clone().in_schema(schema).map_err(|name| {
        let why =
            format!("two schemas of the mapping have a table {name}, and would have one there");
        usage(WHAT, "`--into`", why, "Give one of them another name.")
    })
}

/// The tables of a mapping, each once, in its order.
fn names(mapping: &Mapping) -> Vec<TableName> {
    let mut names: Vec<TableName> = Vec::new();
    for (_, table) in mapping.tables() {
        if !names.contains(&table.name) {
            names.push(table.name.clone());
        }
    }
    names
}

/// The tables in use of the collections that the mapping has.
fn old(live: &Model, model: &Model) -> Result<Vec<TableName>, Failure> {
    let mut old = Vec::new();
    let mut others: BTreeSet<&TableName> = BTreeSet::new();
    for (collection, table) in live.mapping.tables() {
        let (database, name) = (&collection.database, &collection.name);
        if model.mapping.collection(database, name).is_none() {
            others.insert(&table.name);
        } else if !old.contains(&table.name) {
            old.push(table.name.clone());
        }
    }
    let new = names(&model.mapping);
    let mut others = others.into_iter();
    let Some(table) = others.find(|table| old.contains(table) || new.contains(table)) else {
        return Ok(old);
    };
    let why = format!(
        "table {table} also has rows of a collection that this mapping does not have, and they would be missing"
    );
    let next = "Keep the collection in the mapping, or give the table another name.";
    Err(usage(WHAT, "the mapping", why, next))
}

/// Sees to it that the schema is none of those in use.
fn is_free(schema: &str, model: &Model) -> Result<(), Failure> {
    let mut tables = model.mapping.tables();
    let why = if schema.is_empty() || schema.len() > SCHEMA_BYTES_MAX || schema.contains('\0') {
        "a schema's name has 1 to 54 bytes here"
    } else if ["public", "leafcutter", "information_schema"].contains(&schema)
        || schema.starts_with("pg_")
    {
        "this schema is in use"
    } else if tables.any(|(_, table)| table.name.schema == schema) {
        "the mapping has tables in this schema"
    } else {
        return Ok(());
    };
    let next = "Take a name that is free, such as next.";
    Err(usage(WHAT, "`--into`", why, next))
}

/// Numbers that PostgreSQL gives would be given anew, and the application may know those that are in use.
fn numbers_nothing(model: &Model) -> Result<(), Failure> {
    let gives = |table: &Table| {
        let mut columns = table.columns.iter();
        let generated = columns.find(|column| column.generated.is_some());
        let generated = generated.map(|column| &column.name);
        let identity = table.identity.as_ref().map(|identity| &identity.name);
        generated.or(identity).cloned()
    };
    let mut tables = model.mapping.tables();
    let found = tables.find_map(|(_, table)| Some((&table.name, gives(table)?)));
    let Some((table, column)) = found else {
        return Ok(());
    };
    let fault = Fault::new(
        WHAT,
        format!("{table}.{column}"),
        "its numbers are given by PostgreSQL, and new tables would give others to the same documents",
        "Change the tables in use: leafcutter plan --apply, then leafcutter resnapshot.",
    );
    Err(Failure::one(Exit::Preflight, fault))
}
