//! A session with what was prepared on it for each table.

use super::{expected::cell::Cell, select::Select, work::Work};
use leafcutter_schemas::mapping::{PgType, Table, TableName};
use leafcutter_sink::{
    names::{qualified, quote},
    session::{Config, ConnectError, Session},
};
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Error, types::ToSql};

/// A session for comparing.
#[derive(Debug)]
pub struct Target {
    /// The session.
    pub session: Session,
    selects: HashMap<(usize, usize), Select>,
}

/// Reading must not stop half way because a table is large.
const SETTINGS: &str = "set statement_timeout = 0; set lock_timeout = '30s'; \
    set idle_in_transaction_session_timeout = 0; set default_transaction_read_only = off";

impl Target {
    /// Connects.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn open(config: &Config) -> Result<Self, ConnectError> {
        let mut session = Session::open(config, "leafcutter verify").await?;
        session
            .batch(SETTINGS)
            .await
            .map_err(ConnectError::Connect)?;
        Ok(Self {
            session,
            selects: HashMap::new(),
        })
    }

    /// Prepares what is asked of a collection's tables, once.
    ///
    /// # Errors
    /// When a table is not as the mapping says, or PostgreSQL is lost.
    pub async fn prepare(&mut self, work: &Work) -> Result<(), Error> {
        for (table, plan) in work.plan.tables.iter().enumerate() {
            let place = (work.index, table);
            if !self.selects.contains_key(&place) {
                let ownership = work.ownership(table);
                let select = Select::prepare(self.session.client(), plan, &ownership).await?;
                self.selects.insert(place, select);
            }
        }
        Ok(())
    }

    /// What is asked of a table; [`Target::prepare`] comes before.
    pub fn select(&self, work: &Work, table: usize) -> Option<&Select> {
        self.selects.get(&(work.index, table))
    }

    /// The bytes of these keys, as Leafcutter's state has them; by the server, which makes them there too.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn key_bytes(
        &mut self,
        table: &Table,
        keys: &[Vec<Cell>],
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut parts = Vec::new();
        let mut arrays = Vec::new();
        let mut texts: Vec<Vec<Option<String>>> = Vec::new();
        for (place, &position) in table.key.iter().enumerate() {
            let pg_type = table.columns[position].pg_type;
            let (send, cast) = (pg_type.send_function(), pg_type.staging_type());
            parts.push(format!("{send}(k.k{place}::{cast})"));
            arrays.push(format!("${}::text[]", place + 1));
            texts.push(
                keys.iter()
                    .map(|key| key.get(place).and_then(|c| c.text(Some(pg_type))))
                    .collect(),
            );
        }
        let bytes = match parts.as_slice() {
            [only] => only.clone(),
            several => {
                let with_length = |part: &String| format!("int4send(length({part})) || {part}");
                several
                    .iter()
                    .map(with_length)
                    .collect::<Vec<_>>()
                    .join(" || ")
            }
        };
        let names: Vec<String> = (0..parts.len()).map(|place| format!("k{place}")).collect();
        let sql = format!(
            "select {bytes} from unnest({}) with ordinality as k({}, n) order by n",
            arrays.join(", "),
            names.join(", ")
        );
        let parameters: Vec<&(dyn ToSql + Sync)> = texts
            .iter()
            .map(|texts| texts as &(dyn ToSql + Sync))
            .collect();
        let rows = self.session.query(&sql, &parameters).await?;
        Ok(rows
            .iter()
            .map(|row| row.get::<_, Option<Vec<u8>>>(0).unwrap_or_default())
            .collect())
    }

    /// Which of these rows of a table are there, by the texts of one column.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn there(
        &mut self,
        table: &TableName,
        column: &str,
        pg_type: PgType,
        texts: &[String],
    ) -> Result<HashSet<String>, Error> {
        let sql = format!(
            "select k.t from unnest($1::text[]) as k(t) where exists \
             (select 1 from {} x where x.{} = k.t::{})",
            qualified(table),
            quote(column),
            pg_type.staging_type()
        );
        let rows = self.session.query(&sql, &[&texts]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
