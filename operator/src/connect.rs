//! The way to PostgreSQL: a connection, and the certainty that Leafcutter's state is there.

use leafcutter_consumer::{preflight::of_a_pooler, settings::PostgresSettings};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
    shutdown::Shutdown,
};
use leafcutter_sink::{
    session::{Canceller, Config, Session},
    state::schema::{self, LAYOUT},
};
use std::{pin::pin, time::Duration};
use tokio_postgres::{Error, error::SqlState};

/// A connection to the database that holds Leafcutter's state.
#[derive(Debug)]
pub struct State {
    /// The connection.
    pub session: Session,
    /// How to make another.
    pub config: Config,
    /// The server, as it may be shown.
    pub place: String,
}

/// A person waits for the answer, and must not hold up the consumers.
const SETTINGS: &str = "set statement_timeout = '30s'; set lock_timeout = '10s'";

/// Connects to a database that may hold no state yet; gives the server as it may be shown, too.
///
/// # Errors
/// When the settings are wrong or the server cannot be reached.
pub async fn session(settings: &PostgresSettings) -> Result<(Session, String), Failure> {
    let (config, place) = settings.config()?;
    Ok((reach(&config, &place).await?, place))
}

async fn reach(config: &Config, place: &str) -> Result<Session, Failure> {
    let opened = Session::open(config, "leafcutter").await;
    let mut session = opened.map_err(|error| unreachable(place, causes(&error)))?;
    let lasts = session.lasts(config).await;
    if !lasts.map_err(|error| unreachable(place, causes(&error)))? {
        return Err(Failure::one(Exit::Preflight, of_a_pooler(place)));
    }
    let set = session.batch(SETTINGS).await;
    set.map_err(|error| unreachable(place, causes(&error)))?;
    Ok(session)
}

impl State {
    /// Connects and looks whether the state is there.
    ///
    /// # Errors
    /// When the settings are wrong, the server cannot be reached, or no consumer ever ran on it.
    pub async fn open(settings: &PostgresSettings) -> Result<Self, Failure> {
        let (config, place) = settings.config()?;
        let session = reach(&config, &place).await?;
        let mut state = Self {
            session,
            config,
            place,
        };
        let layout = schema::layout(&mut state.session).await;
        let layout = layout.map_err(|error| state.lost(&error))?;
        let (why, next) = match layout {
            LAYOUT => return Ok(state),
            0 => (
                "this database has no schema `leafcutter`: no consumer has run on it, or `leafcutter \
                 finish --drop` has ended the migration"
                    .to_owned(),
                "Start leafcutter-consumer once, it creates the schema; never do so after `finish \
                 --drop`. Or check the database's name in --postgres-uri.",
            ),
            older if older < LAYOUT => (
                format!("its layout is {older}, this program's is {LAYOUT}"),
                "Start a leafcutter-consumer of this version, which brings it up to date.",
            ),
            newer => (
                format!("its layout is {newer}, this program knows layouts up to {LAYOUT}"),
                "Use the `leafcutter` that belongs to the consumers.",
            ),
        };
        let what = "could not use Leafcutter's state";
        let fault = Fault::new(what, state.place, why, next);
        Err(Failure::one(Exit::Preflight, fault))
    }

    /// Connects again after the connection was lost.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn reconnect(&mut self) -> Result<(), Failure> {
        self.session = reach(&self.config, &self.place).await?;
        Ok(())
    }

    /// A statement failed.
    pub fn lost(&self, error: &tokio_postgres::Error) -> Failure {
        Failure::one(
            Exit::Preflight,
            Fault::new(
                "could not ask PostgreSQL",
                self.place.clone(),
                causes(error),
                "Try again; if it says that a relation or column does not exist, the consumers \
                 are of another version than this tool.",
            ),
        )
    }
}

/// Does work that a person may stop: what its session executes then is cancelled, until the work has ended.
/// A statement that nobody cancels would go on, and keep its locks, after the program has ended.
pub async fn stoppable<T>(
    canceller: Canceller,
    shutdown: &Shutdown,
    work: impl Future<Output = T>,
) -> T {
    /// Between two statements there is nothing to cancel, so it is asked again.
    const AGAIN: Duration = Duration::from_millis(200);
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = shutdown.wait() => {}
    }
    loop {
        // Where the server is gone, asking takes longer than the work.
        let asked = tokio::select! {
            biased;
            done = &mut work => return done,
            asked = canceller.cancel() => asked,
        };
        if let Err(error) = asked {
            tracing::warn!(
                error = causes(&error),
                "cannot cancel what PostgreSQL executes"
            );
        }
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Whether a statement failed since it was cancelled for a person who has stopped the program.
pub fn is_stopped(error: &Error, shutdown: &Shutdown) -> bool {
    shutdown.is_triggered() && error.code() == Some(&SqlState::QUERY_CANCELED)
}

/// What PostgreSQL says, with the rows or objects that it names.
pub fn told(error: &Error) -> String {
    let said = causes(error);
    let detail = error.as_db_error().and_then(|told| told.detail());
    match detail.filter(|detail| !said.contains(*detail)) {
        Some(detail) => format!("{said}: {}", detail.replace('\n', "; ")),
        None => said,
    }
}

fn unreachable(place: &str, why: String) -> Failure {
    Failure::one(
        Exit::Preflight,
        Fault::new(
            "could not connect to PostgreSQL",
            place,
            why,
            "Check that the server runs, and host, port, user and password in --postgres-uri.",
        ),
    )
}
