//! The way to PostgreSQL: a connection, and the certainty that Leafcutter's state is there.

use crate::settings::PostgresSettings;
use leafcutter_consumer::{preflight::causes, sink::session};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
    secret,
};
use tokio_postgres::{Client, Config};

/// A connection to the database that holds Leafcutter's state.
#[derive(Debug)]
pub struct State {
    /// The connection.
    pub client: Client,
    /// How to make another.
    pub config: Config,
    /// The server, as it may be shown.
    pub place: String,
}

/// A person waits for the answer, and must not hold up the consumers.
const SETTINGS: &str = "\
    set statement_timeout = '30s'; set lock_timeout = '10s'; \
    set idle_in_transaction_session_timeout = '30s'; set client_min_messages = warning; \
    set timezone = 'UTC'";

/// Reads the settings.
///
/// # Errors
/// When there is no URI, or it is none.
pub fn config(settings: &PostgresSettings) -> Result<(Config, String), Failure> {
    let wrong = |why: String, next: &str| {
        let fault = Fault::new("could not read the settings", "--postgres-uri", why, next);
        Failure::one(Exit::Settings, fault)
    };
    let uri = secret::resolve(
        settings.postgres_uri.clone(),
        settings.postgres_uri_file.clone(),
        "--postgres-uri",
    )
    .map_err(|why| wrong(why, "Give --postgres-uri, or LEAFCUTTER_POSTGRES_URI."))?;
    let config = session::config(&uri).map_err(|error| {
        wrong(
            causes(&error),
            "Write it as postgres://user:password@host:port/database.",
        )
    })?;
    Ok((config, secret::redact_uri(uri.expose())))
}

/// Connects to a database that may hold no state yet; gives the server as it may be shown, too.
///
/// # Errors
/// When the settings are wrong or the server cannot be reached.
pub async fn client(settings: &PostgresSettings) -> Result<(Client, String), Failure> {
    let (config, place) = config(settings)?;
    Ok((reach(&config, &place).await?, place))
}

async fn reach(config: &Config, place: &str) -> Result<Client, Failure> {
    let connected = session::connect(config, "leafcutter").await;
    let client = connected.map_err(|error| unreachable(place, causes(&error)))?;
    let set = client.batch_execute(SETTINGS).await;
    set.map_err(|error| unreachable(place, causes(&error)))?;
    Ok(client)
}

impl State {
    /// Connects and looks whether the state is there.
    ///
    /// # Errors
    /// When the settings are wrong, the server cannot be reached, or no consumer ever ran on it.
    pub async fn open(settings: &PostgresSettings) -> Result<Self, Failure> {
        let (config, place) = config(settings)?;
        let client = reach(&config, &place).await?;
        let state = Self {
            client,
            config,
            place,
        };
        let there = "select to_regclass('leafcutter.offsets') is not null";
        let row = state
            .client
            .query_one(there, &[])
            .await
            .map_err(|error| state.lost(&error))?;
        if row.get(0) {
            return Ok(state);
        }
        Err(Failure::one(
            Exit::Preflight,
            Fault::new(
                "could not find Leafcutter's state",
                state.place,
                "this database has no schema `leafcutter`: no consumer has run on it",
                "Start leafcutter-consumer once, it creates the schema; or check the database's \
                 name in --postgres-uri.",
            ),
        ))
    }

    /// Connects again after the connection was lost.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn reconnect(&mut self) -> Result<(), Failure> {
        self.client = reach(&self.config, &self.place).await?;
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
