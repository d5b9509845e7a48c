//! One connection to PostgreSQL, with its time-outs, temporary tables and prepared statements.
//!
//! A session is thrown away after any error of the connection: what it had prepared, its temporary
//! tables and an open transaction go with it. The time-outs bound what a frozen process can hold:
//! its open transaction is ended by the server (`idle_in_transaction_session_timeout`), and with it
//! its locks. Only while PostgreSQL waits for the data of a COPY no time-out holds: there whoever
//! takes its partitions over ends the session ([`super::fence`]).

use crate::model::Model;
use leafcutter_runtime::secret::Secret;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use std::{collections::HashMap, time::Duration};
use tokio_postgres::{Client, Config, Statement, config::SslMode};

/// A connection with what was prepared on it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
    /// The temporary tables of these positions exist.
    temporary: bool,
    /// Rows that went through each temporary table since its file was cut.
    filled: HashMap<usize, u64>,
    enforced: Option<bool>,
}

/// Rows after which a temporary table's file is cut. Cutting costs a third of a millisecond;
/// deleted rows keep their room until then, since nobody vacuums a temporary table.
const FILLED_MAX: u64 = 2_000;

/// Why no session can be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URI cannot be read.
    #[error("the PostgreSQL URI cannot be read")]
    Uri(#[source] tokio_postgres::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] openssl::error::ErrorStack),
    /// The server does not take the connection.
    #[error("cannot connect to PostgreSQL")]
    Connect(#[source] tokio_postgres::Error),
}

/// The planner knows nothing of a batch's temporary tables, and what a batch touches is in memory:
/// probing the target's index must look cheaper than reading the whole table.
const SETTINGS: &str = "\
    set idle_in_transaction_session_timeout = '30s'; \
    set lock_timeout = '20s'; \
    set statement_timeout = '120s'; \
    set client_min_messages = warning; \
    set plan_cache_mode = force_generic_plan; \
    set jit = off; \
    set random_page_cost = 1; \
    set seq_page_cost = 2; \
    set temp_buffers = '32MB'; \
    set extra_float_digits = 1; \
    set timezone = 'UTC'";

/// Reads a PostgreSQL URI.
///
/// # Errors
/// When it is none.
pub fn config(uri: &Secret) -> Result<Config, ConnectError> {
    let mut config: Config = uri.expose().parse().map_err(ConnectError::Uri)?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    config.tcp_user_timeout(Duration::from_secs(30));
    config.keepalives_idle(Duration::from_secs(30));
    Ok(config)
}

/// Connects, with TLS as the URI's `sslmode` says. `require` encrypts without checking the
/// certificate, as libpq does.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn connect(config: &Config, name: &str) -> Result<Client, ConnectError> {
    let mut config = config.clone();
    config.application_name(name);
    let mut tls = SslConnector::builder(SslMethod::tls())?;
    if config.get_ssl_mode() != SslMode::Disable {
        tls.set_verify(SslVerifyMode::NONE);
    }
    let tls = MakeTlsConnector::new(tls.build());
    let (client, connection) = config.connect(tls).await.map_err(ConnectError::Connect)?;
    // The connection's own error reaches every request that is under way, so it is not lost here.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "PostgreSQL connection ended");
        }
    });
    Ok(client)
}

impl Session {
    /// Connects and sets the time-outs.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn open(config: &Config, name: &str) -> Result<Self, ConnectError> {
        let client = connect(config, name).await?;
        client
            .batch_execute(SETTINGS)
            .await
            .map_err(ConnectError::Connect)?;
        Ok(Self {
            client,
            statements: HashMap::new(),
            temporary: false,
            filled: HashMap::new(),
            enforced: None,
        })
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A prepared statement, prepared once per session.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn prepared(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Notes that rows went through a temporary table; whether its file is to be cut now.
    pub fn filled(&mut self, table: usize, rows: u64) -> bool {
        let filled = self.filled.entry(table).or_default();
        *filled += rows;
        if *filled <= FILLED_MAX {
            return false;
        }
        *filled = 0;
        true
    }

    /// Whether the database itself enforces every reference and unique key of the mapping, so that
    /// a row in the way is an error and not an oversight. Looked up once per session.
    ///
    /// # Errors
    /// When the server is lost.
    pub async fn enforced(&mut self, model: &Model) -> Result<bool, tokio_postgres::Error> {
        if let Some(enforced) = self.enforced {
            return Ok(enforced);
        }
        let enforced = super::ddl::is_enforced(&self.client, model).await?;
        self.enforced = Some(enforced);
        Ok(enforced)
    }

    /// Creates the temporary tables of all tables of the mapping, once per session.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_temporary(&mut self, model: &Model) -> Result<(), tokio_postgres::Error> {
        if self.temporary {
            return Ok(());
        }
        let mut sql = String::new();
        for table in &model.tables {
            sql.push_str(&table.sql.create_temp);
            sql.push(';');
            if table.above.is_empty() {
                sql.push_str(&table.sql.create_temp_deletes);
                sql.push(';');
            }
            if let Some(gone) = &table.gone {
                sql.push_str(&gone.create_temp);
                sql.push(';');
            }
        }
        self.client.batch_execute(&sql).await?;
        self.temporary = true;
        Ok(())
    }
}
