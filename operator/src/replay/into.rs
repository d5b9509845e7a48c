//! `replay --into`: new tables under a mapping of a person's choice, filled from the topics beside those in use,
//! and exchanged with them (docs/decisions/exchanging-tables.md).
//!
//! A consumer of a group of its own runs in this process and applies the topics from their start, by the rules
//! by which every consumer does. Its positions are in PostgreSQL, so stopping or dying in between loses
//! nothing: the same command goes on. Nothing in use is touched until the exchange, which is one transaction.

mod tables;
mod fill;
mod swap;
mod tell;

use super::settings::ReplaySettings;
use crate::{
    catalog::usage,
    confirm::{Answer, SAY, agreed, somebody},
    connect::State,
    in_force::{self, Purpose},
    show::{Show, wrap},
};
use fill::{Filled, Filler};
use leafcutter_consumer::mapping;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use leafcutter_sink::{
    session::Session,
    state::{
        exchange,
        mappings::{self, MappingRow},
        stagings, tombstones,
    },
    target,
};
use swap::Swapped;
use tables::{Tables, WHAT};
use tell::Told;
use tokio_postgres::Error;

/// Fills new tables in this schema, exchanges them, or gives them up.
///
/// # Errors
/// When a server cannot be asked or refuses, the mapping or the schema cannot be used, or something hangs on the
/// tables in use that the new ones lack.
pub(super) async fn run(
    settings: ReplaySettings,
    schema: &str,
    show: &mut Show<'_>,
) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let group = settings.installation.group.clone();
    let purpose = Purpose {
        what: WHAT,
        group: &group,
        file: settings.installation.mapping.as_deref(),
    };
    let in_force = in_force::look(&mut state, purpose).await?;
    let staged = tables::group(&group, schema);
    let begun = mappings::in_force(&mut state.session, &staged).await;
    let begun = begun.map_err(|error| state.lost(&error))?;
    let tables = Tables::of(&settings, schema, &in_force, begun.as_ref())?;
    if settings.discard {
        return discard(&settings, &mut state, &tables, show).await;
    }
    let begun = admit(&settings, &mut state, &tables, begun).await?;
    let ends = fill::ends(&settings.kafka, &tables.exchange.topics).await?;
    let applied = fill::positions(&mut state.session, &tables.group).await;
    let applied = applied.map_err(|error| state.lost(&error))?;
    ends.all_there(&applied)?;
    let obstacles = tables.obstacles(&mut state.session).await;
    let obstacles = obstacles.map_err(|error| state.lost(&error))?;
    let mut told = Told::of(&settings, &tables, begun, ends.left(&applied), obstacles);
    if !show.json {
        show.text(&tell::plan(&told, &tables));
    }
    if settings.dry_run {
        told.dry_run = true;
        tell::tell(show, &told, &tables);
        return Ok(Exit::Done);
    }
    // Until here a signal ends the program at once, and nothing is changed.
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Bug, fault))?;
    if !settings.yes && !confirmed(&settings, show, &shutdown).await? {
        show.line("nothing was changed");
        return Ok(Exit::Done);
    }
    if !begun {
        let same = tables.same_keys()?;
        let noted = begin(&mut state.session, &tables, &same).await;
        noted.map_err(|error| state.lost(&error))?;
    }
    tracing::info!(
        schema,
        group = tables.group,
        records = told.records,
        "filling new tables"
    );
    let mut filler = Filler::start(&settings, &tables, &shutdown)?;
    let mut filled = filler
        .fill(&mut state, &tables, &ends, (show, &shutdown))
        .await?;
    if settings.swap && filled == Filled::Done {
        match swap::run(&settings, &mut state, &tables, filler, (show, &shutdown)).await? {
            Swapped::Done(generation) => {
                told.exchanged = true;
                told.generation = generation;
            }
            Swapped::Interrupted => filled = Filled::Interrupted,
            Swapped::Obstacles(found) => {
                told.obstacles = found;
                told.filled = true;
                tell::refused(show, &told, &tables);
                return Ok(Exit::Stopped);
            }
        }
    } else {
        filler.stop().await?;
    }
    told.filled = filled == Filled::Done;
    told.count(&mut state, &tables).await?;
    tracing::info!(filled = told.filled, exchanged = told.exchanged, "ended");
    tell::tell(show, &told, &tables);
    Ok(match filled {
        Filled::Done => Exit::Done,
        Filled::Interrupted => Exit::Differences,
    })
}

/// Sees to it that the new tables may be filled; whether that was begun before.
async fn admit(
    settings: &ReplaySettings,
    state: &mut State,
    tables: &Tables,
    begun: Option<MappingRow>,
) -> Result<bool, Failure> {
    let schema = &tables.schema;
    let refused = |exit: Exit, why: String, next: String| {
        Failure::one(
            exit,
            Fault::new(WHAT, format!("schema `{schema}`"), why, next),
        )
    };
    let row = stagings::find(&mut state.session, schema).await;
    let row = row.map_err(|error| state.lost(&error))?;
    if let Some(row) = row {
        if row.live_group != settings.installation.group {
            let why = format!(
                "new tables of group `{}` are being filled there",
                row.live_group
            );
            let next = "Take another schema, or give --group.".to_owned();
            return Err(refused(Exit::Usage, why, next));
        }
        if let Some(Err(other)) = begun.map(|row| row.admit(&tables.model.mapping)) {
            let why = format!(
                "new tables there were begun with another mapping; it differs in {}",
                mapping::difference(&other.changes)
            );
            let next = "Give that mapping, or give those tables up first: the same command with --discard.";
            return Err(refused(Exit::StateMismatch, why, next.to_owned()));
        }
        return Ok(true);
    }
    let new = tables.new_tables();
    let filled = target::exchange::filled(&mut state.session, &new).await;
    if let Some(table) = filled.map_err(|error| state.lost(&error))? {
        let why = format!("table {table} is there and has rows");
        let next = format!(
            "Take another schema, or drop what nobody needs any more: drop schema {schema} cascade"
        );
        return Err(refused(Exit::Preflight, why, next));
    }
    Ok(false)
}

/// Notes that it begins. Deletes that no record tells of, those of a sweep, stay known.
async fn begin(
    session: &mut Session,
    tables: &Tables,
    same_keys: &[(String, String)],
) -> Result<(), Error> {
    session.batch("begin").await?;
    let groups = (tables.exchange.live.as_str(), tables.group.as_str());
    if stagings::begin(session, &tables.schema, groups).await? {
        for (old, new) in same_keys {
            tombstones::copy(session, old, new).await?;
        }
    }
    session.batch("commit").await
}

async fn confirmed(
    settings: &ReplaySettings,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<bool, Failure> {
    somebody(show, WHAT, SAY)?;
    let question = if settings.swap {
        "\nFill the new tables, and exchange? [y/N] "
    } else {
        "\nFill the new tables? [y/N] "
    };
    Ok(agreed(show, question, shutdown).await == Answer::Yes)
}

/// Drops the new tables and forgets what is known of them.
async fn discard(
    settings: &ReplaySettings,
    state: &mut State,
    tables: &Tables,
    show: &mut Show<'_>,
) -> Result<Exit, Failure> {
    let row = stagings::find(&mut state.session, &tables.schema).await;
    if row.map_err(|error| state.lost(&error))?.is_none() {
        let why = "no new tables are being filled there: they were exchanged, or never begun";
        let next =
            "Tables that were exchanged are dropped by hand, when nobody needs them any more.";
        let place = format!("schema `{}`", tables.schema);
        return Err(usage("could not discard new tables", &place, why, next));
    }
    let new = tables.new_tables();
    let names: Vec<String> = new.iter().map(ToString::to_string).collect();
    if !show.json {
        show.text(&wrap("", &format!("To be dropped: {}.", names.join(", "))));
    }
    if settings.dry_run {
        show.line("a dry run: nothing was changed");
        return Ok(Exit::Done);
    }
    if !settings.yes {
        let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Bug, fault))?;
        somebody(show, "could not discard new tables", SAY)?;
        if agreed(show, "\nDrop them? [y/N] ", &shutdown).await != Answer::Yes {
            show.line("nothing was changed");
            return Ok(Exit::Done);
        }
    }
    let gone = async {
        let session = &mut state.session;
        session.batch("begin").await?;
        mappings::lock(session).await?;
        target::exchange::drop_tables(session, &new).await?;
        target::exchange::drop_if_empty(session, &tables.schema).await?;
        exchange::give_up(session, &tables.exchange).await?;
        tables.forget_origins(session).await?;
        mappings::forget(session, &tables.group).await?;
        session.batch("commit").await
    };
    let gone: Result<(), Error> = gone.await;
    gone.map_err(|error| state.lost(&error))?;
    if show.json {
        show.json(&serde_json::json!({ "schema": tables.schema, "discarded": names }));
    } else {
        show.line("the new tables are dropped, and nothing is known of them any more");
    }
    Ok(Exit::Done)
}
