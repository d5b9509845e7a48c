//! The real servers: where they are, and connections to them.
//!
//! Their addresses come from the environment, where `make test` and `make demo` put them. Nothing
//! here starts a server, and nothing is tried without one: a suite that cannot reach its servers
//! fails.

use crate::failure::{Attempt, Failure, Result};
use leafcutter_runtime::kafka::KafkaSettings;
use std::time::Duration;

/// How long MongoDB may take to be found.
const MONGODB_ANSWERS: Duration = Duration::from_secs(5);

/// Addresses of the three servers.
#[derive(Debug, Clone)]
pub struct Stack {
    /// MongoDB's connection string.
    pub mongodb_uri: String,
    /// Kafka's brokers.
    pub kafka_brokers: String,
    /// PostgreSQL's connection string.
    pub postgres_uri: String,
}

const OWN_SETTINGS: &str = "\
    set time zone 'UTC'; set application_name = 'leafcutter-tests'; \
    set default_transaction_isolation = 'read committed'; set standard_conforming_strings = on; \
    set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set bytea_output = 'hex'; \
    set transform_null_equals = off; set quote_all_identifiers = off; set array_nulls = on";

impl Stack {
    /// The servers named in the environment.
    ///
    /// # Errors
    /// When one of them is not named there.
    pub fn from_env() -> Result<Self> {
        let read = |name: &str| {
            std::env::var(name).map_err(|_| {
                Failure::new(format!(
                    "{name} is not set: run `make test`, which starts the servers"
                ))
            })
        };
        Ok(Self {
            mongodb_uri: read("LEAFCUTTER_MONGODB_URI")?,
            kafka_brokers: read("LEAFCUTTER_KAFKA_BROKERS")?,
            postgres_uri: read("LEAFCUTTER_POSTGRES_URI")?,
        })
    }

    /// A client of MongoDB.
    ///
    /// # Errors
    /// When the connection string cannot be read.
    pub async fn mongodb(&self) -> Result<mongodb::Client> {
        let mut options = mongodb::options::ClientOptions::parse(&self.mongodb_uri)
            .await
            .attempt("read LEAFCUTTER_MONGODB_URI")?;
        options.server_selection_timeout = Some(MONGODB_ANSWERS);
        mongodb::Client::with_options(options).attempt("connect to MongoDB")
    }

    /// A session of PostgreSQL, in UTC, with PostgreSQL's own defaults ([`crate::target`] makes others). It ends when the
    /// client is dropped.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn postgres(&self) -> Result<tokio_postgres::Client> {
        let (client, connection) =
            tokio_postgres::connect(&self.postgres_uri, tokio_postgres::NoTls)
                .await
                .attempt("connect to PostgreSQL")?;
        // Owned by the client: it ends with it, and what it says then the client has said already.
        drop(tokio::spawn(connection));
        client.batch_execute(OWN_SETTINGS).await?;
        Ok(client)
    }

    /// The builder of Kafka clients.
    pub fn kafka(&self) -> KafkaSettings {
        KafkaSettings::new(&self.kafka_brokers)
    }

    /// The same servers with another database of PostgreSQL.
    ///
    /// # Errors
    /// When the connection string has no form in which the database can be replaced.
    pub fn with_postgres_database(&self, database: &str) -> Result<Self> {
        let (address, options) = match self.postgres_uri.split_once('?') {
            Some((address, options)) => (address, format!("?{options}")),
            None => (self.postgres_uri.as_str(), String::new()),
        };
        let authority_start = address.find("://").map_or(0, |at| at + 3);
        if authority_start == 0 {
            return Err(Failure::new(
                "LEAFCUTTER_POSTGRES_URI has to be a postgres:// address",
            ));
        }
        let end = address[authority_start..]
            .find('/')
            .map_or(address.len(), |at| authority_start + at);
        Ok(Self {
            postgres_uri: format!("{}/{database}{options}", &address[..end]),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Stack;

    #[test]
    fn another_database_keeps_the_rest_of_the_address() {
        let stack = |uri: &str| Stack {
            mongodb_uri: String::new(),
            kafka_brokers: String::new(),
            postgres_uri: uri.into(),
        };
        for (from, to) in [
            ("postgres://a:b@h:1/x", "postgres://a:b@h:1/y"),
            ("postgres://h", "postgres://h/y"),
            (
                "postgresql://h/x?sslmode=require",
                "postgresql://h/y?sslmode=require",
            ),
        ] {
            assert_eq!(
                stack(from)
                    .with_postgres_database("y")
                    .unwrap()
                    .postgres_uri,
                to
            );
        }
        assert!(
            stack("host=h dbname=x")
                .with_postgres_database("y")
                .is_err()
        );
    }
}
