//! The exchange: the tables, what the state knows of them, the positions and the mapping, in one transaction.
//!
//! 1. The consumers of the tables in use are paused, so that the new tables can pass them. Readers notice
//!    nothing.
//! 2. Once the new tables are as far in every partition, their consumer ends.
//! 3. In one transaction the mappings are locked, which waits for everybody who writes rows; it is looked once
//!    more whether the new tables are as far; then all is exchanged, and the pause ends with it.
//!
//! So a reader never sees a document in an older state than before. Should anything fail, the transaction is
//! taken back, the pause ended, and the new tables can be followed and exchanged later.

use super::{
    super::settings::ReplaySettings,
    fill::{self, Filled, Filler, is_as_far},
    tables::Tables,
};
use crate::{
    connect::{State, is_stopped, stoppable, told},
    progress::say,
    show::{Show, wrap},
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use leafcutter_schemas::mapping::TableName;
use leafcutter_sink::{
    session::Session,
    sqlstate::is_passing,
    state::{exchange, mappings, pauses, schema, stagings, undo},
    target::{self, exchange::Obstacle},
};
use std::time::{Duration, Instant};
use tokio_postgres::Error;

const WHAT: &str = "could not exchange the tables";
/// What puts the mapping in force.
const PROGRAM: &str = concat!("leafcutter ", env!("CARGO_PKG_VERSION"));
/// The pause of all collections.
const ALL: &str = "";
/// How long the consumers may take to notice a pause, and the new tables to pass them.
const PASS: Duration = Duration::from_secs(60);
/// How long the positions have to stand still.
const STILL: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(200);
const BEGIN: &str = "begin; set local lock_timeout = '10s'; set local statement_timeout = 0";
/// Readers wait behind a lock of ours, so we do not wait long for it; and try again.
const BEFORE_TABLES: &str = "set local lock_timeout = '2s'";
const ATTEMPTS: u32 = 15;

/// How it ended.
pub(super) enum Swapped {
    /// The tables are exchanged; the generation of the mapping that this put in force, if it is another.
    Done(Option<i64>),
    /// A person has stopped it.
    Interrupted,
    /// Something hangs on the tables in use.
    Obstacles(Vec<Obstacle>),
}

/// Why nothing was changed.
enum Why {
    Error(Error),
    /// The new tables are not as far.
    Behind,
    Obstacles(Vec<Obstacle>),
    /// These have rows of the application's that are kept for a rollback.
    Kept(Vec<String>),
    /// These topics were read again since it began.
    ReadAgain(Vec<String>),
    /// A table has the place of a new one, and is not Leafcutter's.
    Taken(TableName),
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Exchanges, and ends the consumer that has filled the new tables.
pub(super) async fn run(
    settings: &ReplaySettings,
    state: &mut State,
    tables: &Tables,
    mut filler: Filler,
    (show, shutdown): (&mut Show<'_>, &Shutdown),
) -> Result<Swapped, Failure> {
    let text = "The new tables are filled, and follow the topics until they are exchanged.";
    say(show, &wrap("", text));
    let followed = filler.follow(state, tables, (&settings.kafka, shutdown));
    if followed.await? == Filled::Interrupted {
        filler.stop().await?;
        return Ok(Swapped::Interrupted);
    }
    // What is known to be in the way is told before anybody is paused.
    if let Err(why) = look(&mut state.session, tables).await {
        filler.stop().await?;
        return refused(state, why, shutdown);
    }
    let paused = pause(state, tables).await?;
    let done = exchange_paused(settings, state, tables, filler, shutdown).await;
    if paused && !matches!(done, Ok(Swapped::Done(_))) {
        resume(state, tables).await?;
    }
    done
}

/// The reason of our pause.
fn reason(tables: &Tables) -> String {
    format!(
        "leafcutter replay --into {}: the tables are being exchanged",
        tables.schema
    )
}

/// Pauses the consumers of the tables in use; whether this pause is ours to end.
async fn pause(state: &mut State, tables: &Tables) -> Result<bool, Failure> {
    let (live, reason) = (&tables.exchange.live, reason(tables));
    let pauses = pauses::rows(&mut state.session, live).await;
    let pauses = pauses.map_err(|error| state.lost(&error))?;
    let mut of_all = pauses.iter().filter(|row| row.topic.is_none());
    // One that a person has made is obeyed, and stays.
    if of_all.any(|row| row.reason != reason) {
        return Ok(false);
    }
    let paused = pauses::pause(&mut state.session, live, None, &reason).await;
    paused.map_err(|error| state.lost(&error))?;
    Ok(true)
}

async fn resume(state: &mut State, tables: &Tables) -> Result<(), Failure> {
    if state.session.is_closed() {
        state.reconnect().await?;
    }
    let (live, all) = (&tables.exchange.live, [ALL.to_owned()]);
    let resumed = pauses::resume(&mut state.session, live, Some(&all)).await;
    resumed.map(drop).map_err(|error| state.lost(&error))
}

/// Waits until the new tables have passed those in use, and exchanges them.
async fn exchange_paused(
    settings: &ReplaySettings,
    state: &mut State,
    tables: &Tables,
    mut filler: Filler,
    shutdown: &Shutdown,
) -> Result<Swapped, Failure> {
    let until = Instant::now() + PASS;
    loop {
        let passed = pass(state, tables, &mut filler, (until, shutdown)).await?;
        filler.stop().await?;
        match passed {
            Passed::Yes => {}
            Passed::Interrupted => return Ok(Swapped::Interrupted),
            Passed::No => {
                let why = "the consumers went on for a minute although they are paused, or the new tables do \
                           not catch up";
                let next = "Nothing was changed. Stop the consumers, and say the command again.";
                let fault = Fault::new(WHAT, state.place.clone(), why, next);
                return Err(Failure::one(Exit::Preflight, fault));
            }
        }
        let canceller = state.session.canceller();
        let work = attempts(&mut state.session, tables);
        let why = match stoppable(canceller, shutdown, work).await {
            Ok(generation) => return Ok(Swapped::Done(generation)),
            Err(why) => why,
        };
        // Where the connection is lost, so is the transaction.
        state.session.batch("rollback").await.unwrap_or_default();
        if !matches!(why, Why::Behind) || shutdown.is_triggered() {
            return refused(state, why, shutdown);
        }
        filler = Filler::start(settings, tables, shutdown)?;
    }
}

enum Passed {
    Yes,
    No,
    Interrupted,
}

/// Waits until the consumers stand still, and the new tables are as far as they.
async fn pass(
    state: &mut State,
    tables: &Tables,
    filler: &mut Filler,
    (until, shutdown): (Instant, &Shutdown),
) -> Result<Passed, Failure> {
    let mut stood: Option<(fill::Positions, Instant)> = None;
    loop {
        filler.look().await?;
        let found = both(&mut state.session, tables).await;
        let (live, staged) = found.map_err(|error| state.lost(&error))?;
        let is_as_far = is_as_far(&tables.exchange.topics, &staged, &live);
        match &stood {
            Some((before, since)) if *before == live => {
                if since.elapsed() > STILL && is_as_far {
                    return Ok(Passed::Yes);
                }
            }
            _ => stood = Some((live, Instant::now())),
        }
        if Instant::now() > until {
            return Ok(Passed::No);
        }
        if !shutdown.sleep(LOOK).await {
            return Ok(Passed::Interrupted);
        }
    }
}

/// How far both groups are.
async fn both(
    session: &mut Session,
    tables: &Tables,
) -> Result<(fill::Positions, fill::Positions), Error> {
    let live = fill::positions(session, &tables.exchange.live).await?;
    Ok((live, fill::positions(session, &tables.group).await?))
}

/// Tries until the tables' locks come in time.
async fn attempts(session: &mut Session, tables: &Tables) -> Result<Option<i64>, Why> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match attempt(session, tables).await {
            Err(Why::Error(error)) if left > 0 && is_passing(&error) => {
                session.batch("rollback").await?;
                tokio::time::sleep(LOOK).await;
            }
            done => return done,
        }
    }
}

/// What keeps the tables from being exchanged, whoever is paused.
async fn look(session: &mut Session, tables: &Tables) -> Result<(), Why> {
    let obstacles = tables.obstacles(session).await?;
    if !obstacles.is_empty() {
        return Err(Why::Obstacles(obstacles));
    }
    let kept = undo::kept(session, &tables.old()).await?;
    if !kept.is_empty() {
        return Err(Why::Kept(kept));
    }
    let topics: Vec<&str> = tables.exchange.topics.iter().map(String::as_str).collect();
    let again = stagings::read_again_since(session, &tables.schema, &topics).await?;
    if !again.is_empty() {
        return Err(Why::ReadAgain(again));
    }
    for (pair, place) in tables.moves.iter().zip(&tables.places) {
        if let (None, Some(place)) = (&pair.old, place)
            && target::exchange::there(session, &[place]).await? == [true]
        {
            return Err(Why::Taken(place.clone()));
        }
    }
    Ok(())
}

/// The one transaction; gives the generation that it puts in force.
async fn attempt(session: &mut Session, tables: &Tables) -> Result<Option<i64>, Why> {
    let live = &tables.exchange.live;
    session.batch(BEGIN).await?;
    schema::lock(session).await?;
    mappings::lock(session).await?;
    let (stands, staged) = both(session, tables).await?;
    if !is_as_far(&tables.exchange.topics, &staged, &stands) {
        return Err(Why::Behind);
    }
    look(session, tables).await?;
    exchange::exchange(session, &tables.exchange).await?;
    tables.rename_origins(session).await?;
    let mut generation = None;
    if !tables.is_same_mapping() {
        let row = mappings::activate(session, live, &tables.model.mapping, PROGRAM).await?;
        generation = Some(row.generation.0);
    }
    mappings::forget(session, &tables.group).await?;
    let pauses = pauses::rows(session, live).await?;
    let (ours, all) = (reason(tables), [ALL.to_owned()]);
    if pauses
        .iter()
        .any(|row| row.topic.is_none() && row.reason == ours)
    {
        pauses::resume(session, live, Some(&all)).await?;
    }
    session.batch(BEFORE_TABLES).await?;
    let (moves, places) = tables.present(session).await?;
    target::exchange::exchange(session, &tables.schema, (&moves, &places)).await?;
    session.batch("commit").await?;
    Ok(generation)
}

fn refused(state: &State, why: Why, shutdown: &Shutdown) -> Result<Swapped, Failure> {
    let (place, why, next) = match why {
        Why::Obstacles(found) => return Ok(Swapped::Obstacles(found)),
        Why::Error(error) if is_stopped(&error, shutdown) => return Ok(Swapped::Interrupted),
        Why::Error(error) if is_passing(&error) => (
            state.place.clone(),
            format!(
                "a transaction has used one of the tables all the time; it was waited for {ATTEMPTS} times: {}",
                told(&error)
            ),
            "End it, or say the command again while less happens.",
        ),
        Why::Error(error) => (
            state.place.clone(),
            told(&error),
            "Run it as the user who owns the tables, and who may create a schema.",
        ),
        Why::Behind => (
            state.place.clone(),
            "the new tables are not as far as those in use".to_owned(),
            "Say the command again.",
        ),
        Why::Kept(kept) => (
            kept.join(", "),
            "rows of the application's own were there before, and are kept for `leafcutter rollback`; the new \
             tables do not have them"
                .to_owned(),
            "Change the tables in use: leafcutter plan --apply, then leafcutter resnapshot.",
        ),
        Why::ReadAgain(topics) => (
            topics.join(", "),
            "it was read again with `leafcutter resnapshot` meanwhile, and no record tells of what was deleted \
             then"
                .to_owned(),
            "Begin anew: the same command with --discard, and then without it.",
        ),
        Why::Taken(table) => (
            table.to_string(),
            "a table of that name is there, and is not one of the mapping in force".to_owned(),
            "Rename it, or the table in the mapping.",
        ),
    };
    let next = format!("Nothing was changed. {next}");
    Err(Failure::one(
        Exit::Preflight,
        Fault::new(WHAT, place, why, next),
    ))
}
