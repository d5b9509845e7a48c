//! How a connection is made, and what its statements mean whatever the database or the user has set.

use crate::tls::{Tls, TlsError, take_settings};
use leafcutter_runtime::secret::Secret;
use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};
use tokio_postgres::{CancelToken, Client};

/// Why no session can be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URI cannot be read.
    #[error("the PostgreSQL URI cannot be read")]
    Uri(#[source] tokio_postgres::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The server does not take the connection.
    #[error("cannot connect to PostgreSQL")]
    Connect(#[source] tokio_postgres::Error),
    /// Something takes the connection, and says nothing: another program, or a server that hangs.
    #[error("cannot connect to PostgreSQL: no answer for {} s", .0.as_secs())]
    Silent(Duration),
}

/// How long a server may take to be reached, where `connect_timeout` does not say it.
const CONNECT: Duration = Duration::from_secs(5);

/// What a person may have set otherwise for a database or a user, and what the statements rely on. Each statement has to
/// see what was committed before it began (PostgreSQL manual, 13.2.1): the protocol takes a lock, and then looks in
/// another statement. And text has to mean what it says. Times are without a limit where a later version has one.
const MEANING: &str = "\
    set default_transaction_isolation = 'read committed'; \
    set default_transaction_deferrable = off; \
    set standard_conforming_strings = on; \
    set quote_all_identifiers = off; \
    set transform_null_equals = off; \
    set array_nulls = on; \
    set datestyle = 'ISO, MDY'; \
    set intervalstyle = 'postgres'; \
    set bytea_output = 'hex'; \
    set xmloption = content; \
    set extra_float_digits = 1; \
    set timezone = 'UTC'; \
    select set_config(name, '0', false) from pg_settings \
    where name in ('transaction_timeout', 'idle_session_timeout')";

/// How to connect: what the client library knows, and how to speak TLS.
#[derive(Debug, Clone)]
pub struct Config {
    client: tokio_postgres::Config,
    tls: Tls,
}

impl From<tokio_postgres::Config> for Config {
    /// TLS as the client's own settings say, and nothing of it checked.
    fn from(client: tokio_postgres::Config) -> Self {
        let tls = Tls::default();
        Self { client, tls }
    }
}

impl Config {
    /// How to speak TLS.
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }
}

impl Deref for Config {
    type Target = tokio_postgres::Config;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl DerefMut for Config {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

/// Reads a PostgreSQL URI, or libpq's `key = value` pairs.
///
/// # Errors
/// When it is none, or what it says of TLS cannot be done.
pub fn config(uri: &Secret) -> Result<Config, ConnectError> {
    let (text, settings) = take_settings(uri.expose());
    let (tls, mode) = Tls::read(&settings)?;
    let client: tokio_postgres::Config = text.parse().map_err(ConnectError::Uri)?;
    let mut config = Config { client, tls };
    config.ssl_mode(mode);
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    config.tcp_user_timeout(Duration::from_secs(30));
    config.keepalives_idle(Duration::from_secs(30));
    Ok(config)
}

/// Connects, with TLS as the URI says ([`crate::tls`]). What a statement means does not depend on what the database or
/// the user has set.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn connect(config: &Config, name: &str) -> Result<Client, ConnectError> {
    let tls = config.tls.connector()?;
    let mut config = config.client.clone();
    config.application_name(name);
    let patience = patience(&config);
    let opened = async {
        let (client, connection) = config.connect(tls).await?;
        // The connection's own error reaches every request that is under way, so it is not lost here.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "PostgreSQL connection ended");
            }
        });
        client.batch_execute(MEANING).await?;
        Ok(client)
    };
    let opened = tokio::time::timeout(patience, opened).await;
    opened
        .map_err(|_| ConnectError::Silent(patience))?
        .map_err(ConnectError::Connect)
}

/// How long it may take until there is a session. `connect_timeout` speaks of each address alone, and of nothing that
/// comes after it: a server that looks up who comes may take much longer.
fn patience(config: &tokio_postgres::Config) -> Duration {
    let addresses = config.get_hosts().len().max(config.get_hostaddrs().len());
    let addresses = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    let each = config.get_connect_timeout().copied().unwrap_or(CONNECT);
    each.saturating_mul(addresses.saturating_add(5))
}

/// Cancels the statement that a session executes (PostgreSQL manual, Canceling Requests in Progress).
pub struct Canceller {
    token: CancelToken,
    tls: Tls,
}

impl Canceller {
    /// One for the session of this client.
    pub(super) fn of(client: &Client, tls: &Tls) -> Self {
        Self {
            token: client.cancel_token(),
            tls: tls.clone(),
        }
    }

    /// Asks the server to cancel it; between two statements that does nothing.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let connector = self.tls.connector()?;
        let asked = self.token.cancel_query(connector).await;
        asked.map_err(ConnectError::Connect)
    }
}
