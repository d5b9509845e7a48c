//! A database of PostgreSQL for one test, which goes away with the test however it ends.

use crate::{
    failure::{Attempt, Failure, Result},
    stack::Stack,
};
use std::io::Write as _;

/// What a person may have set for whoever connects to a database, or for a user, and what must make no difference: how
/// much a transaction sees, how values are written as text, what literals mean (PostgreSQL manual, 20.11 and 20.13).
const ODD_DEFAULTS: [&str; 10] = [
    "default_transaction_isolation = 'repeatable read'",
    "default_transaction_deferrable = on",
    "standard_conforming_strings = off",
    "escape_string_warning = off",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "transform_null_equals = on",
    "quote_all_identifiers = on",
    "array_nulls = off",
];

/// The database. It is dropped with this value, whoever is connected and also when the test
/// fails, unless the environment says `KEEP=1`.
#[derive(Debug)]
pub struct Target {
    /// The servers, with this database in place of the environment's.
    pub stack: Stack,
    name: String,
    servers: Stack,
}

impl Target {
    /// Makes it, anew if there is one of this name, with odd defaults.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn create(servers: Stack, name: &str) -> Result<Self> {
        let admin = servers.postgres().await?;
        for sql in ["drop database if exists", "create database"] {
            let sql = format!("{sql} \"{name}\"");
            admin.batch_execute(&sql).await.attempt(&sql)?;
        }
        for default in ODD_DEFAULTS {
            let sql = format!("alter database \"{name}\" set {default}");
            admin.batch_execute(&sql).await.attempt(&sql)?;
        }
        Ok(Self {
            stack: servers.with_postgres_database(name)?,
            name: name.to_owned(),
            servers,
        })
    }

    fn remove(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let admin = self.servers.postgres().await?;
            let sql = format!("drop database \"{}\" with (force)", self.name);
            admin.batch_execute(&sql).await.attempt(&sql)
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
            return;
        }
        // On a thread of its own: a test's runtime cannot be waited for from inside of it.
        let removed = std::thread::scope(|scope| scope.spawn(|| self.remove()).join())
            .unwrap_or_else(|_| Err(Failure::new("the thread that drops it panicked")));
        if let Err(failure) = removed {
            let said = writeln!(std::io::stderr(), "a database of a test is left: {failure}");
            drop(said);
        }
    }
}
