//! What a database lacks of a mapping, and what the mapping changes of the one in force.
//!
//! Looked at twice, once to be shown and once under the locks of `--apply`, it has to be the same.

use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
};
use leafcutter_schemas::mapping::{Change, Effect, Mapping};
use leafcutter_sink::{
    model::Model,
    names::{qualified, quote},
    orphan::Progress,
    session::Session,
    state::{
        mappings::{self, MappingRow},
        offsets,
        schema::{self, LAYOUT},
    },
    target::{
        catalogue::Catalogue,
        compare::{self, Disagreement, Kind},
        ddl,
    },
};
use serde::Serialize;
use tokio_postgres::Error;

/// The mapping that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct InForce {
    pub(super) generation: i64,
    pub(super) mapping: String,
    pub(super) since: String,
}

/// What is known of the mapping before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Before {
    /// No consumer of the group has run here: nothing is written.
    Nothing,
    /// This one is in force.
    InForce(InForce),
    /// Consumers of an earlier version have run here, which did not note it.
    Unknown,
}

/// A collection that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ChangeLine {
    #[serde(flatten)]
    pub(super) change: Change,
    /// Its topic; none where the new mapping leaves it out.
    pub(super) topic: Option<String>,
    /// What is to be done afterwards.
    pub(super) command: Option<String>,
}

/// What a person has to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Undecided {
    /// Consumers do not start.
    pub(super) fault: bool,
    pub(super) kind: Kind,
    pub(super) place: String,
    pub(super) mapping: String,
    pub(super) postgres: String,
    pub(super) means: &'static str,
    pub(super) sql: Vec<String>,
    pub(super) or: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    pub(super) server: String,
    pub(super) group: String,
    /// The hash of the mapping that is looked at.
    pub(super) mapping: String,
    pub(super) before: Before,
    /// Where no consumer of the group has run, the groups whose consumers have.
    pub(super) other_groups: Vec<String>,
    pub(super) changes: Vec<ChangeLine>,
    /// What the database lacks, in an order in which it can be run.
    pub(super) statements: Vec<String>,
    /// What may be run once all rows have values.
    pub(super) later: Vec<String>,
    pub(super) disagreements: Vec<Undecided>,
}

impl Difference {
    /// Looks at a database for a group.
    ///
    /// # Errors
    /// When PostgreSQL cannot be asked, or a newer Leafcutter has migrated it.
    pub(super) async fn look(
        session: &mut Session,
        model: &Model,
        (server, group): (&str, &str),
    ) -> Result<Self, Failure> {
        let layout = schema::layout(session).await;
        let layout = layout.map_err(|error| unasked(server, &error))?;
        if layout > LAYOUT {
            let why = format!("its layout is {layout}, this program knows layouts up to {LAYOUT}");
            let next = "Use the `leafcutter` that belongs to the consumers.";
            let fault = Fault::new("could not use Leafcutter's state", server, why, next);
            return Err(Failure::one(Exit::Preflight, fault));
        }
        let looked = Self::of(session, model, (server, group), layout).await;
        looked.map_err(|error| unasked(server, &error))
    }

    /// The same, of a database with this layout.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub(super) async fn of(
        session: &mut Session,
        model: &Model,
        (server, group): (&str, &str),
        layout: usize,
    ) -> Result<Self, Error> {
        let in_force = match layout {
            LAYOUT => mappings::in_force(session, group).await?,
            _ => None,
        };
        // Of layouts before the first one there is nothing.
        let progress = match layout {
            0 => Progress::new(),
            _ => offsets::progress(session, group).await?,
        };
        let before = before(in_force.as_ref(), &progress);
        let other_groups = match (&before, layout) {
            (Before::Nothing, 1..) => offsets::groups(session).await?,
            _ => Vec::new(),
        };
        let there = compare::read(session, model).await?;
        let found = compare::compare(model, &there);
        let changes = in_force.as_ref().map(|row| row.differs(&model.mapping));
        let changes = changes.unwrap_or_default().into_iter();
        Ok(Self {
            server: server.to_owned(),
            group: group.to_owned(),
            mapping: model.mapping.hash.clone(),
            changes: changes
                .map(|change| line(model, &progress, change))
                .collect(),
            before,
            other_groups,
            statements: ddl::missing(model, &there)
                .into_iter()
                .map(|lacking| lacking.sql)
                .collect(),
            later: later(model, &there),
            disagreements: found
                .into_iter()
                .filter(|d| !d.created)
                .map(undecided)
                .collect(),
        })
    }

    /// Whether there is nothing to do for `--apply`.
    pub(super) fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.statements.is_empty()
    }

    /// Whether another mapping is to be put in force.
    pub(super) fn is_of_mapping(&self) -> bool {
        matches!(self.before, Before::InForce(_)) && !self.changes.is_empty()
    }
}

fn unasked(server: &str, error: &Error) -> Failure {
    let next =
        "Let this user read the tables of the mapping and schema `leafcutter`, and try again.";
    let fault = Fault::new(
        "could not look at the database",
        server,
        causes(error),
        next,
    );
    Failure::one(Exit::Preflight, fault)
}

fn before(in_force: Option<&MappingRow>, progress: &Progress) -> Before {
    match in_force {
        Some(row) => Before::InForce(InForce {
            generation: row.generation.0,
            mapping: row.hash.clone(),
            since: row.since.clone(),
        }),
        None if progress.is_empty() => Before::Nothing,
        None => Before::Unknown,
    }
}

fn line(model: &Model, progress: &Progress, change: Change) -> ChangeLine {
    let mut collections = model.collections.iter();
    let of = collections.find(|c| (&c.database, &c.name) == (&change.database, &change.collection));
    let topic = of.map(|collection| collection.topic.clone());
    // Wherever a position is: it may have been taken back, and the rows are there.
    let any = topic
        .as_ref()
        .is_some_and(|topic| progress.contains_key(topic));
    let command = any.then(|| command(&model.mapping, &change)).flatten();
    ChangeLine {
        change,
        topic,
        command,
    }
}

fn command(mapping: &Mapping, change: &Change) -> Option<String> {
    let same = mapping
        .collections
        .iter()
        .filter(|c| c.name == change.collection);
    let name = match same.count() {
        0 | 1 => change.collection.clone(),
        _ => format!("{}.{}", change.database, change.collection),
    };
    match change.effect {
        Effect::Nothing => None,
        Effect::DeadLetters => Some(format!("leafcutter dead-letters retry --collection {name}")),
        Effect::Roots => Some(crate::status::judge::again(true, &name)),
        Effect::Children => Some(crate::status::judge::again(false, &name)),
    }
}

/// Columns that are required, and are added to rows without a value.
fn later(model: &Model, there: &Catalogue) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for entry in &model.tables {
        let table = &entry.table;
        let Some(found) = there.tables.get(&table.name).filter(|found| found.filled) else {
            continue;
        };
        let added = table.columns.iter().filter(|column| {
            let has_value = column.default.is_some() || column.generated.is_some();
            column.required && !has_value && found.column(&column.name).is_none()
        });
        all.extend(added.map(|column| {
            let (table, column) = (qualified(&table.name), quote(&column.name));
            format!("alter table {table} alter column {column} set not null")
        }));
    }
    all.dedup();
    all
}

fn undecided(found: Disagreement) -> Undecided {
    Undecided {
        fault: found.kind.is_fault(),
        kind: found.kind,
        place: found.place(),
        mapping: found.mapping,
        postgres: found.postgres,
        means: found.means,
        sql: found.sql,
        or: found.or,
    }
}
