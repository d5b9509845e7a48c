//! `leafcutter dead-letters discard`: a person gives dead letters up, and says why.
//!
//! Only the index changes, in one statement that takes open ones only: a retry at the same moment has
//! placed a dead letter before, or finds it discarded. The original stays in its topic.

use super::{
    select::{self, select},
    settings::DiscardSettings,
};
use crate::{
    catalog::Catalog,
    connect::State,
    figures::counted,
    show::{Show, wrap},
};
use leafcutter_runtime::{exit::Exit, report::Failure};
use leafcutter_sink::state::dead_letters;
use serde::Serialize;

/// What was done.
#[derive(Debug, Serialize)]
struct Discarded {
    discarded: i64,
    dry_run: bool,
    reason: String,
    /// Those named that are not open: their names and states.
    not_open: Vec<(String, String)>,
}

/// Discards them.
///
/// # Errors
/// When PostgreSQL cannot be asked, or a name is unknown.
pub async fn run(settings: &DiscardSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.place.postgres).await?;
    let catalog = Catalog::of(&settings.place.installation, &mut state).await?;
    let mut filter = select(&settings.selection, &settings.ids, &catalog)?;
    let closed = select::not_open(&filter, &mut state).await?;
    let closed = closed.into_iter();
    let not_open: Vec<(String, String)> = closed
        .map(|(origin, row)| {
            let called = format!(
                "{}/{}/{}",
                catalog.short(&origin.topic),
                origin.partition,
                origin.offset
            );
            let state = row.map_or_else(|| "not listed".to_owned(), |row| row.state);
            (called, state)
        })
        .collect();
    filter.state = Some("open");
    let reason = settings.because.clone();
    let discarded = if settings.dry_run {
        dead_letters::count(&mut state.session, &filter).await
    } else {
        let discarded = dead_letters::discard(&mut state.session, &filter, &reason).await;
        discarded.map(|number| i64::try_from(number).unwrap_or(i64::MAX))
    };
    let discarded = discarded.map_err(|error| state.lost(&error))?;
    let exit = if not_open.is_empty() {
        Exit::Done
    } else {
        Exit::Differences
    };
    if show.json {
        show.json(&Discarded {
            discarded,
            dry_run: settings.dry_run,
            reason,
            not_open,
        });
        return Ok(exit);
    }
    for (called, state) in &not_open {
        show.text(&wrap("", &format!("{called} is not open: {state}")));
    }
    let number = counted(discarded, "dead letter");
    let text = if settings.dry_run {
        format!("{number} would be discarded: {reason}")
    } else {
        format!("{number} discarded: {reason}")
    };
    show.text(&wrap("", &text));
    Ok(exit)
}
