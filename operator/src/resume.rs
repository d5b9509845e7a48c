//! `leafcutter resume`: a person says that collections go on, which `leafcutter pause` keeps waiting, or for
//! which the consumers stopped since too many records in a row could not be applied.
//!
//! Both are kept in PostgreSQL, so that a supervisor's restarts do not drain a topic into the dead letters,
//! and a pause holds. Nothing else than this ends either. The positions do not move: the consumers go on where
//! they were, behind the last dead letter.

use crate::{
    catalog::{Catalog, usage},
    connect::State,
    figures::{count, span},
    pause::{Paused, topics},
    settings::ResumeSettings,
    show::{Show, wrap},
};
use leafcutter_runtime::{exit::Exit, report::Failure};
use leafcutter_sink::state::{
    breakers::{self, BreakerRow},
    pauses,
};
use serde::Serialize;

/// A collection that goes on.
#[derive(Debug, Serialize)]
struct Resumed {
    collection: String,
    #[serde(flatten)]
    breaker: BreakerRow,
}

/// Resumes.
///
/// # Errors
/// When PostgreSQL cannot be asked, or a collection is unknown.
pub async fn run(settings: &ResumeSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let catalog = Catalog::of(&settings.installation, &mut state).await?;
    let topics = topics(&settings.collections, &catalog)?;
    let topics = topics.as_deref();
    let group = &settings.installation.group;
    if topics.is_some() {
        let paused = pauses::rows(&mut state.session, group).await;
        let paused = paused.map_err(|error| state.lost(&error))?;
        if paused.iter().any(|pause| pause.topic.is_none()) {
            return Err(usage(
                "could not resume single collections",
                &format!("group `{group}`"),
                "all collections are paused",
                "Say `leafcutter resume` without names; then pause those that shall wait.",
            ));
        }
    }
    let paused = pauses::resume(&mut state.session, group, topics).await;
    let paused = paused.map_err(|error| state.lost(&error))?;
    let paused: Vec<Paused> = paused
        .into_iter()
        .map(|row| Paused::of(row, &catalog))
        .collect();
    let open = breakers::resume(&mut state.session, group, topics).await;
    let open = open.map_err(|error| state.lost(&error))?;
    let resumed = open.into_iter().map(|breaker| Resumed {
        collection: catalog.short(&breaker.topic).to_owned(),
        breaker,
    });
    let resumed: Vec<Resumed> = resumed.collect();
    if show.json {
        for line in &paused {
            show.json_line(line);
        }
        for line in &resumed {
            show.json_line(line);
        }
        return Ok(Exit::Done);
    }
    for pause in &paused {
        let (name, row) = (pause.name(), &pause.row);
        let (verb, age) = (
            if row.topic.is_some() { "goes" } else { "go" },
            span(row.paused_seconds),
        );
        let text = format!("{name} {verb} on, paused {age} ago: {}", row.reason);
        show.text(&wrap("", &text));
    }
    if resumed.is_empty() {
        if paused.is_empty() {
            show.line("nothing had stopped");
        }
        return Ok(Exit::Done);
    }
    for line in &resumed {
        let failures = count(line.breaker.failures);
        let why = line.breaker.reason.as_deref().unwrap_or("unknown");
        let text = format!(
            "{} goes on. {failures} records in a row could not be applied; the last one: {why}",
            line.collection
        );
        show.text(&wrap("", &text));
    }
    show.line("Start the consumers, then try the dead letters again:");
    show.line("leafcutter dead-letters retry");
    Ok(Exit::Done)
}
