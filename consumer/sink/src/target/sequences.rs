//! The sequences that number the rows of the mapping's tables: are they ahead of the numbers that rows have?
//!
//! Leafcutter keeps those of generated keys ahead as it goes. Others, of a key that every document brings
//! along, nobody has drawn from: the application's first insert would get the number 1, which a row has. A
//! sequence is only ever moved forward, in the one statement that looks where it is, and by the same rule as
//! everywhere: the last numbers that it can give do not move it ([`super::numbers`]).

use super::{ddl, numbers::highest_moved};
use crate::{
    model::Model,
    names::{qualified, quote},
    session::Session,
    state::origins::PlaceRow,
};
use leafcutter_schemas::mapping::TableName;
use serde::Serialize;
use tokio_postgres::Error;

/// A sequence, and the column that it numbers.
#[derive(Debug, Clone)]
pub struct Sequence {
    table: TableName,
    column: String,
    name: String,
    oid: u32,
    /// Why it is not looked at.
    left_alone: Option<&'static str>,
}

/// Where a sequence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The table.
    pub table: String,
    /// The column that it numbers.
    pub column: String,
    /// Its name.
    pub sequence: String,
    /// The last number that it gave; none where it gave none.
    pub last: Option<i64>,
    /// The highest number that a row has, without those that move no sequence; none where there is none.
    pub highest: Option<i64>,
    /// Where it was moved to, or would be; none where it is ahead already.
    pub moved_to: Option<i64>,
    /// Rows have numbers at the end of what it can give; they do not move it.
    pub rows_at_the_end: bool,
    /// Why it was not looked at, or what PostgreSQL answered.
    pub left_alone: Option<String>,
    /// PostgreSQL refused to look at it, or to move it.
    #[serde(skip)]
    refused: bool,
}

impl Standing {
    /// Whether it may be behind its rows, since PostgreSQL refused to look at it or to move it.
    pub fn is_refused(&self) -> bool {
        self.refused
    }
}

/// Without the right to read a sequence PostgreSQL says that it gave no number yet.
const UNSEEN: &str = "this user may not see where it is";

/// Sequences that columns own, and those that their defaults draw from.
const FIND: &str = "\
    select w.place, a.attname::text, format('%I.%I', n.nspname, s.relname), s.oid, q.seqincrement > 0, \
    coalesce(nullif(y.typbasetype, 0), a.atttypid) in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype), \
    has_sequence_privilege(s.oid, 'SELECT') or has_sequence_privilege(s.oid, 'USAGE') \
    from unnest($1::text[]) with ordinality as w (name, place) \
    join pg_attribute a on a.attrelid = to_regclass(w.name) and a.attnum > 0 and not a.attisdropped \
    join pg_type y on y.oid = a.atttypid \
    cross join lateral (\
      select d.objid as oid from pg_depend d where d.classid = 'pg_class'::regclass \
      and d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid \
      and d.refobjsubid = a.attnum and d.deptype in ('a', 'i') \
      union select d.refobjid from pg_attrdef f join pg_depend d \
      on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid \
      where d.refclassid = 'pg_class'::regclass and f.adrelid = a.attrelid and f.adnum = a.attnum) o \
    join pg_sequence q on q.seqrelid = o.oid join pg_class s on s.oid = o.oid \
    join pg_namespace n on n.oid = s.relnamespace order by w.place, a.attnum, 3";

/// The sequences of the mapping's tables, in the order of writing.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn find(session: &mut Session, model: &Model) -> Result<Vec<Sequence>, Error> {
    let tables = ddl::tables(model);
    let names: Vec<String> = tables
        .iter()
        .map(|entry| qualified(&entry.table.name))
        .collect();
    let mut found = Vec::new();
    for row in session.query(FIND, &[&names]).await? {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        let Some(entry) = tables.get(place) else {
            continue;
        };
        let left_alone = match (row.get(4), row.get(5), row.get(6)) {
            (false, _, _) => Some("it counts downwards"),
            (_, false, _) => Some("its column is no whole number"),
            (_, _, false) => Some(UNSEEN),
            (true, true, true) => None,
        };
        found.push(Sequence {
            table: entry.table.name.clone(),
            column: row.get(1),
            name: row.get(2),
            oid: row.get(3),
            left_alone,
        });
    }
    Ok(found)
}

impl Sequence {
    /// Its table.
    pub(super) fn table(&self) -> &TableName {
        &self.table
    }

    /// Its place, as it is written in a dump; none where this user may not see it.
    pub(super) async fn place(&self, session: &mut Session) -> Result<Option<PlaceRow>, Error> {
        const SEES: &str = "select has_sequence_privilege($1::oid, 'SELECT')";
        let sees = session.query_one(SEES, &[&self.oid]).await?;
        if !sees.get::<_, bool>(0) {
            return Ok(None);
        }
        let sql = format!("select last_value, is_called from {}", self.name);
        let row = session.query_one(&sql, &[]).await?;
        Ok(Some(PlaceRow {
            table: qualified(&self.table),
            column: self.column.clone(),
            sequence: self.name.clone(),
            last: row.get(0),
            is_called: row.get(1),
        }))
    }

    fn sql(&self, moves: bool) -> String {
        let (table, column) = (qualified(&self.table), quote(&self.column));
        let limit = highest_moved("q.seqmax");
        let moved = if moves {
            "setval(w.oid::regclass, w.highest)"
        } else {
            "w.highest"
        };
        format!(
            "select w.last, w.highest, w.at_the_end, case when w.behind then {moved} end from (\
             select q.seqrelid as oid, pg_sequence_last_value(q.seqrelid) as last, h.n as highest, \
             exists (select 1 from {table} x where x.{column} > {limit}) as at_the_end, \
             coalesce(pg_sequence_last_value(q.seqrelid), q.seqstart - 1) < h.n as behind \
             from pg_sequence q cross join lateral (select max(x.{column})::bigint as n from {table} x \
             where x.{column} <= {limit}) h where q.seqrelid = $1) w"
        )
    }

    /// Where it stands; moved ahead of what rows have, if that is wanted and it is not. What PostgreSQL
    /// refuses is part of the answer.
    pub async fn stand(&self, session: &mut Session, moves: bool) -> Standing {
        let mut standing = Standing {
            table: self.table.to_string(),
            column: self.column.clone(),
            sequence: self.name.clone(),
            last: None,
            highest: None,
            moved_to: None,
            rows_at_the_end: false,
            left_alone: self.left_alone.map(str::to_owned),
            refused: self.left_alone == Some(UNSEEN),
        };
        if self.left_alone.is_some() {
            return standing;
        }
        match session.query_one(&self.sql(moves), &[&self.oid]).await {
            Ok(row) => {
                standing.last = row.get(0);
                standing.highest = row.get(1);
                standing.rows_at_the_end = row.get(2);
                standing.moved_to = row.get(3);
            }
            Err(error) => {
                let told = error.as_db_error().map(|told| told.message().to_owned());
                standing.left_alone = Some(told.unwrap_or_else(|| error.to_string()));
                standing.refused = true;
            }
        }
        standing
    }
}
