//! One connection to PostgreSQL, with its time-outs, temporary tables and prepared statements.
//!
//! A session is thrown away after any error of the connection: what it had prepared, its temporary
//! tables and an open transaction go with it. The time-outs bound what a frozen process can hold:
//! its open transaction is ended by the server (`idle_in_transaction_session_timeout`), and with it
//! its locks. Only while PostgreSQL waits for the data of a COPY no time-out holds: there the consumer
//! that takes its partitions over ends the session ([`crate::state::offsets`]).
//!
//! A pooler may give each transaction another session (PgBouncer's `pool_mode = transaction`): settings and prepared
//! statements are gone then, and a temporary table holds what somebody else has staged in it. So each session is marked
//! ([`MARK`]), whoever starts looks whether the mark stays ([`Session::lasts`]), and each transaction that writes rows
//! looks at it before anything is staged ([`crate::state::mappings::begin`]).

mod connect;
mod staged;

pub use self::connect::{Canceller, Config, ConnectError, config, connect};
use self::staged::Staged;
use crate::tls::Tls;
use bytes::Bytes;
use futures_util::{StreamExt as _, future::join, poll};
use std::{collections::HashMap, error::Error as StdError, fmt, task::Poll};
use tokio_postgres::{
    Client, CopyInSink, Error, Row, SimpleQueryMessage, Statement,
    binary_copy::BinaryCopyOutStream,
    types::{FromSql, ToSql, Type},
};
use uuid::Uuid;

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection with what was prepared on it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    tls: Tls,
    statements: HashMap<String, Statement>,
    staged: HashMap<String, Staged>,
    enforced: Option<bool>,
    mark: String,
}

/// A statement, and what it is executed with.
pub struct Bound {
    /// The statement.
    pub sql: String,
    /// Its parameters.
    pub parameters: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bound").field(&self.sql).finish()
    }
}

/// The planner knows nothing of a batch's temporary tables, and what a batch touches is in memory:
/// probing the target's index must look cheaper than reading the whole table. By `leafcutter.session` the
/// application's tables tell Leafcutter's writes from the application's own ([`crate::target::keeping`]).
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
    set leafcutter.session = 'on'";

/// A pooler with sessions to spare may give the same one twice, but hardly so often.
const OTHERS: usize = 3;

/// The setting with the mark of a session.
pub const MARK: &str = "leafcutter.session_mark";

/// A field of any type, as it is encoded.
struct Field<'r>(&'r [u8]);

impl<'r> FromSql<'r> for Field<'r> {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Session {
    /// Connects and sets the time-outs.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn open(config: &Config, name: &str) -> Result<Self, ConnectError> {
        let client = connect(config, name).await?;
        let mark = Uuid::new_v4().to_string();
        let settings = format!("{SETTINGS}; set {MARK} = '{mark}'");
        let set = client.batch_execute(&settings).await;
        set.map_err(ConnectError::Connect)?;
        Ok(Self {
            client,
            tls: config.tls().clone(),
            statements: HashMap::new(),
            staged: HashMap::new(),
            enforced: None,
            mark,
        })
    }

    /// What this session is marked with.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Whether this stays one session while others are opened, and not each transaction has another one.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn lasts(&mut self, config: &Config) -> Result<bool, ConnectError> {
        for _ in 0..OTHERS {
            let _other = Self::open(config, "leafcutter").await?;
            // Unprepared: such a statement is gone, too.
            let asked = format!("select current_setting('{MARK}', true)");
            let told = self.client.simple_query(&asked).await;
            let told = told.map_err(ConnectError::Connect)?;
            let is_own = |message: &SimpleQueryMessage| match message {
                SimpleQueryMessage::Row(row) => row.get(0) == Some(&self.mark),
                _ => false,
            };
            if !told.iter().any(is_own) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What cancels the statements of this session, from beside it.
    pub fn canceller(&self) -> Canceller {
        Canceller::of(&self.client, &self.tls)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The statement of this text, prepared once.
    pub(crate) async fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// The rows that a statement gives. It is prepared once per session.
    ///
    /// # Errors
    /// When the server refuses it or is lost; so for all of these.
    pub async fn query(
        &mut self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, parameters).await
    }

    /// The one row that a statement gives.
    ///
    /// # Errors
    /// As [`Session::query`], or when it gives none or several.
    pub async fn query_one(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<Row, Error> {
        let statement = self.prepared(sql).await?;
        self.client.query_one(&statement, parameters).await
    }

    /// How many rows a statement wrote.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn execute(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<u64, Error> {
        let statement = self.prepared(sql).await?;
        self.client.execute(&statement, parameters).await
    }

    /// Executes statements without parameters, unprepared.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    /// Executes statements without parameters, unprepared, and then one that gives one row, sent together, so
    /// that they cost one round trip. The second begins when the first have succeeded.
    ///
    /// # Errors
    /// As [`Session::query`]; the first of them that failed.
    pub async fn batch_and_one(
        &mut self,
        batch: &str,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Row, Error> {
        let statement = self.prepared(sql).await?;
        // Sent in this order: each is sent when it is first polled.
        let done = join(
            self.client.batch_execute(batch),
            self.client.query_one(&statement, parameters),
        );
        let (first, second) = done.await;
        first?;
        second
    }

    /// The rows that a statement gives, and the one row that another one gives, sent together, so that they cost one
    /// round trip. The second begins when the first has succeeded.
    ///
    /// # Errors
    /// As [`Session::query`]; the first of them that failed.
    pub async fn query_and_one(
        &mut self,
        (first, parameters): (&str, Parameters<'_>),
        second: &str,
    ) -> Result<(Vec<Row>, Row), Error> {
        let (first, second) = (self.prepared(first).await?, self.prepared(second).await?);
        // Sent in this order: each is sent when it is first polled.
        let done = join(
            self.client.query(&first, parameters),
            self.client.query_one(&second, &[]),
        );
        let (rows, row) = done.await;
        Ok((rows?, row?))
    }

    /// Commits, after this last statement if there is one, both sent together, so that they cost one round trip.
    ///
    /// # Errors
    /// As [`Session::query`]. Where the last statement has failed nothing is committed: PostgreSQL then takes COMMIT
    /// for ROLLBACK, and says no error of it (PostgreSQL manual, COMMIT). Nor where it could not be sent.
    pub async fn commit(&mut self, last: Option<Bound>) -> Result<(), Error> {
        let Some(Bound { sql, parameters }) = last else {
            return self.batch("commit").await;
        };
        let statement = self.prepared(&sql).await?;
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters
            .iter()
            .map(|p| &**p as &(dyn ToSql + Sync))
            .collect();
        // Sent in this order, as above. What fails before it is sent is no failure of the transaction: COMMIT would
        // succeed without it.
        let mut last = std::pin::pin!(self.client.execute(&statement, &parameters));
        if let Poll::Ready(done) = poll!(last.as_mut()) {
            done?;
            return self.client.batch_execute("commit").await;
        }
        let (last, committed) = join(last, self.client.batch_execute("commit")).await;
        last.and(committed)
    }

    /// Takes the transaction back.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn roll_back(&mut self) -> Result<(), Error> {
        self.take_back("rollback").await
    }

    /// Takes back what was done since a savepoint.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn roll_back_to(&mut self, savepoint: &str) -> Result<(), Error> {
        self.take_back(&format!("rollback to savepoint {savepoint}"))
            .await
    }

    async fn take_back(&mut self, sql: &str) -> Result<(), Error> {
        // What was emptied is as it was.
        for staged in self.staged.values_mut() {
            staged.holds = true;
        }
        self.client.batch_execute(sql).await
    }

    /// A COPY of so many rows into a temporary table, by this statement. What is in it goes: both are sent together.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn stage(
        &mut self,
        temporary: &str,
        rows: u64,
        sql: &str,
    ) -> Result<CopyInSink<Bytes>, Error> {
        let statement = self.prepared(sql).await?;
        let staged = self.staged.entry(temporary.to_owned()).or_default();
        let emptied = staged.emptied(temporary);
        staged.since_cut += rows;
        staged.holds = true;
        let Some(empty) = emptied else {
            return self.client.copy_in(&statement).await;
        };
        // Sent in this order, as above.
        let (emptied, sink) = join(
            self.client.batch_execute(&empty),
            self.client.copy_in(&statement),
        )
        .await;
        emptied?;
        sink
    }

    /// Empties a temporary table.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn empty(&mut self, temporary: &str) -> Result<(), Error> {
        let staged = self.staged.get_mut(temporary);
        match staged.and_then(|staged| staged.emptied(temporary)) {
            Some(empty) => self.client.batch_execute(&empty).await,
            None => Ok(()),
        }
    }

    /// A COPY into the table of this statement.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn copy_in(&mut self, sql: &str) -> Result<CopyInSink<Bytes>, Error> {
        let statement = self.prepared(sql).await?;
        self.client.copy_in(&statement).await
    }

    /// Shows the first field of each row that a COPY to the client gives in the binary format, but null, to
    /// `each`.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn copy_out(&mut self, sql: &str, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        let statement = self.client.prepare(sql).await?;
        let rows = self.client.copy_out(&statement).await?;
        // The type is not looked at.
        let mut rows = std::pin::pin!(BinaryCopyOutStream::new(rows, &[Type::BYTEA]));
        while let Some(row) = rows.next().await {
            if let Some(Field(bytes)) = row?.try_get::<Option<Field<'_>>>(0)? {
                each(bytes);
            }
        }
        Ok(())
    }

    /// What this session has found out about the database's own constraints, if it has asked.
    pub(crate) fn enforced(&mut self) -> &mut Option<bool> {
        &mut self.enforced
    }
}
