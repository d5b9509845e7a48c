//! `leafcutter pause`: a person keeps the consumers from applying anything of some collections, or of all.
//!
//! It is a row in PostgreSQL, which the consumers look at every second: nothing is stopped, no position moves,
//! and restarts change nothing. `leafcutter resume` takes it away ([`crate::resume`]).

use crate::{
    catalog::Catalog,
    connect::State,
    settings::Installation,
    show::{Show, wrap},
};
use clap::{ArgGroup, Args};
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_runtime::{exit::Exit, report::Failure};
use leafcutter_sink::state::pauses::{self, PauseRow};
use serde::Serialize;

/// What stands below the help.
pub(crate) const HELP: &str = "\
The consumers notice within seconds and go on running: nothing more is read or
written of these collections until `leafcutter resume`, also after restarts.
Their records stay in Kafka, as long as the topic keeps them. With --all
nothing is written at all; with a collection, documents of it that wait
already are still placed when what they wait for comes. /readyz of the
consumers, `status` and the metrics say what is paused.

Examples:
  leafcutter pause learners --reason 'adding an index'
  leafcutter pause --all --reason 'restoring a backup'
  leafcutter resume learners

Exit codes: 0, also when it was paused already; 2; 4.";

/// The settings of `pause`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["collections", "all"]))]
pub struct PauseSettings {
    /// These collections
    #[arg(value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// All collections, also those that come later
    #[arg(long)]
    pub all: bool,
    /// Why; it is shown wherever something waits for it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}

/// A pause, as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct Paused {
    /// None for all.
    collection: Option<String>,
    #[serde(flatten)]
    pub(crate) row: PauseRow,
}

impl Paused {
    pub(crate) fn of(row: PauseRow, catalog: &Catalog) -> Self {
        let topic = row.topic.as_deref();
        Self {
            collection: topic.map(|topic| catalog.short(topic).to_owned()),
            row,
        }
    }

    /// What is paused.
    pub(crate) fn name(&self) -> &str {
        self.collection.as_deref().unwrap_or("all collections")
    }
}

/// The topics of collections that a person names; none where nothing is named.
///
/// # Errors
/// When one is unknown.
pub(crate) fn topics(called: &[String], catalog: &Catalog) -> Result<Option<Vec<String>>, Failure> {
    let topic = |called: &String| {
        let index = catalog.find(called)?;
        Ok(catalog.collections[index].topic.clone())
    };
    let topics: Vec<String> = called.iter().map(topic).collect::<Result<_, Failure>>()?;
    Ok((!topics.is_empty()).then_some(topics))
}

/// Pauses.
///
/// # Errors
/// When PostgreSQL cannot be asked, or a collection is unknown.
pub async fn run(settings: &PauseSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let catalog = Catalog::of(&settings.installation, &mut state).await?;
    let topics = topics(&settings.collections, &catalog)?;
    let group = &settings.installation.group;
    // A line break or a NUL would not survive the ways on which it is shown.
    let reason: Vec<&str> = settings.reason.split_whitespace().collect();
    let reason = reason.join(" ").replace('\0', "");
    let paused = pauses::pause(&mut state.session, group, topics.as_deref(), &reason).await;
    let paused = paused.map_err(|error| state.lost(&error))?;
    for row in paused {
        let paused = Paused::of(row, &catalog);
        if show.json {
            show.json_line(&paused);
        } else {
            let text = format!(
                "{} paused since {}: {}",
                paused.name(),
                paused.row.since,
                paused.row.reason
            );
            show.text(&wrap("", &text));
        }
    }
    if !show.json {
        show.line("The consumers notice within seconds. To go on: leafcutter resume");
    }
    Ok(Exit::Done)
}
