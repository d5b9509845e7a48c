//! Constraints of the mapping's tables that PostgreSQL keeps for new rows only (`not valid`): proving them for
//! all rows, and the rows that are in the way.
//!
//! `validate constraint` reads the whole table and keeps nobody from writing to it meanwhile (PostgreSQL
//! manual, ALTER TABLE). Each is proven in a transaction of its own, so that one that fails leaves the others.

use super::ddl;
use crate::{
    model::Model,
    names::{qualified, quote},
    session::Session,
};
use leafcutter_schemas::mapping::{Table, TableName};
use serde::Serialize;
use tokio_postgres::{Error, Row};

/// A constraint that is not proven.
#[derive(Debug, Clone)]
pub struct Unproven {
    table: TableName,
    name: String,
    definition: String,
    /// The columns of the table's key, quoted.
    key: Vec<String>,
    /// What is true of the rows in the way, of the table as `x`.
    broken: String,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The table.
    pub table: String,
    /// The constraint's name.
    pub constraint: String,
    /// What it says.
    pub definition: String,
    /// It holds for all rows now.
    pub valid: bool,
    /// Why not, as PostgreSQL says.
    pub why: Option<String>,
    /// How many rows are in the way.
    pub rows_in_the_way: i64,
    /// The keys of the first of them.
    pub first: Vec<String>,
    /// What finds them all.
    pub query: Option<String>,
}

/// Rows that are named at most.
const NAMED: i64 = 5;

/// In PostgreSQL 18 a constraint may not be enforced at all; that is nobody's oversight.
const FIND: &str = "\
    select w.place, c.conname::text, pg_get_constraintdef(c.oid), c.contype::text, \
    pg_get_expr(c.conbin, c.conrelid), c.confmatchtype = 'f', \
    (select format('%I.%I', n.nspname, p.relname) from pg_class p \
      join pg_namespace n on n.oid = p.relnamespace where p.oid = c.confrelid), \
    (select array_agg(quote_ident(a.attname) order by k.o) \
      from unnest(c.conkey) with ordinality k (n, o) \
      join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n), \
    (select array_agg(quote_ident(a.attname) order by k.o) \
      from unnest(c.confkey) with ordinality k (n, o) \
      join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n) \
    from unnest($1::text[]) with ordinality as w (name, place) \
    join pg_constraint c on c.conrelid = to_regclass(w.name) \
    where not c.convalidated and c.contype in ('f', 'c', 'n') and c.conparentid = 0 \
    and coalesce(to_jsonb(c) ->> 'conenforced', 'true') = 'true' order by w.place, c.conname";

/// The constraints that are not proven, in the order of writing.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn find(session: &mut Session, model: &Model) -> Result<Vec<Unproven>, Error> {
    let tables = ddl::tables(model);
    let names: Vec<String> = tables
        .iter()
        .map(|entry| qualified(&entry.table.name))
        .collect();
    let mut found = Vec::new();
    for row in session.query(FIND, &[&names]).await? {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        if let Some(entry) = tables.get(place) {
            found.push(read(&row, &entry.table));
        }
    }
    Ok(found)
}

fn read(row: &Row, table: &Table) -> Unproven {
    let columns: Vec<String> = row.get::<_, Option<_>>(7).unwrap_or_default();
    let broken = match row.get::<_, &str>(3) {
        "f" => without_parent(
            &columns,
            &row.get::<_, Option<Vec<String>>>(8).unwrap_or_default(),
            &row.get::<_, Option<String>>(6).unwrap_or_default(),
            row.get(5),
        ),
        "c" => {
            let expression: Option<String> = row.get(4);
            format!("not ({})", expression.unwrap_or_default())
        }
        _ => {
            let nulls = columns.iter().map(|column| format!("x.{column} is null"));
            nulls.collect::<Vec<_>>().join(" or ")
        }
    };
    let key = table.key.iter();
    Unproven {
        table: table.name.clone(),
        name: row.get(1),
        definition: row
            .get::<_, &str>(2)
            .trim_end_matches(" NOT VALID")
            .to_owned(),
        key: key.map(|&p| quote(&table.columns[p].name)).collect(),
        broken,
    }
}

/// A reference with a null points nowhere; of one that is `match full`, all columns or none are null.
fn without_parent(columns: &[String], to: &[String], parent: &str, full: bool) -> String {
    let all = |test: &str| {
        let each = columns.iter().map(|column| format!("x.{column} {test}"));
        each.collect::<Vec<_>>().join(" and ")
    };
    let pairs = columns.iter().zip(to);
    let same: Vec<String> = pairs
        .map(|(own, other)| format!("p.{other} = x.{own}"))
        .collect();
    let there = all("is not null");
    let missing = format!(
        "{there} and not exists (select 1 from {parent} p where {})",
        same.join(" and ")
    );
    if full {
        let none = all("is null");
        format!("({missing}) or not (({there}) or ({none}))")
    } else {
        missing
    }
}

impl Unproven {
    /// How it is called: the table and the name.
    pub fn shown(&self) -> (String, &str) {
        (self.table.to_string(), &self.name)
    }

    /// The statement that proves it.
    pub fn statement(&self) -> String {
        let (table, name) = (qualified(&self.table), quote(&self.name));
        format!("alter table {table} validate constraint {name}")
    }

    /// Proves it; where that fails, looks for the rows that are in the way.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn prove(&self, session: &mut Session) -> Result<Proof, Error> {
        let mut proof = Proof {
            table: self.table.to_string(),
            constraint: self.name.clone(),
            definition: self.definition.clone(),
            valid: false,
            why: None,
            rows_in_the_way: 0,
            first: Vec::new(),
            query: None,
        };
        match session.batch(&self.statement()).await {
            Ok(()) => proof.valid = true,
            Err(error) => {
                let Some(told) = error.as_db_error() else {
                    return Err(error);
                };
                proof.why = Some(told.message().to_owned());
                if told.code().code().starts_with("23") {
                    self.look(session, &mut proof).await?;
                }
            }
        }
        Ok(proof)
    }

    async fn look(&self, session: &mut Session, proof: &mut Proof) -> Result<(), Error> {
        let from = format!("from {} x where {}", qualified(&self.table), self.broken);
        let count = format!("select count(*) {from}");
        proof.rows_in_the_way = session.query_one(&count, &[]).await?.get(0);
        let texts: Vec<String> = self
            .key
            .iter()
            .map(|column| format!("x.{column}::text"))
            .collect();
        let order: Vec<String> = self
            .key
            .iter()
            .map(|column| format!("x.{column}"))
            .collect();
        let first = format!(
            "select concat_ws(', ', {}) {from} order by {} limit {NAMED}",
            texts.join(", "),
            order.join(", ")
        );
        let rows = session.query(&first, &[]).await?;
        proof.first = rows.iter().map(|row| row.get(0)).collect();
        proof.query = Some(format!("select x.* {from}"));
        Ok(())
    }
}
