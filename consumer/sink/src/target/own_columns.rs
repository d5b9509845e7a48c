//! Leafcutter's own columns and triggers on the application's tables, and their end.
//!
//! `lc_version` and its like, and one trigger where the application had rows ([`super::keeping`]), are all that
//! Leafcutter adds to a table beside what the mapping names: no index and no constraint needs them. So the
//! tables are the application's once they are gone. What the application made of them itself (a view that takes all columns, an index) is looked
//! for and named; nothing of it is dropped along.

use super::ddl;
use crate::{
    model::Model,
    names::{qualified, quote},
    session::Session,
    state::undo,
};
use leafcutter_schemas::mapping::TableName;
use serde::Serialize;
use tokio_postgres::Error;

/// Every name that Leafcutter gives to a column of its own; no mapping may use them.
pub const NAMES: [&str; 4] = ["lc_version", "lc_document", "lc_source", "lc_written"];

/// The own columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnColumns {
    /// The table.
    #[serde(serialize_with = "shown")]
    pub table: TableName,
    /// The columns that are there.
    pub columns: Vec<String>,
}

fn shown<S: serde::Serializer>(name: &TableName, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(name)
}

/// What needs one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The object, in PostgreSQL's words.
    pub object: String,
    /// What it needs: table and column.
    pub needs: String,
}

/// All that is known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The mapping's tables that have some.
    pub tables: Vec<OwnColumns>,
    /// Every table that has Leafcutter's trigger, as it has to be written.
    pub triggers: Vec<String>,
    /// Other tables that have some: of another mapping, or of an earlier one.
    pub elsewhere: Vec<String>,
    /// What needs them.
    pub dependents: Vec<Dependent>,
    /// Functions whose text speaks of them or of schema `leafcutter`; PostgreSQL does not know what it means.
    pub functions: Vec<String>,
}

const COLUMNS: &str = "\
    select w.place, array_agg(a.attname::text order by a.attnum) \
    from unnest($1::text[]) with ordinality as w (name, place) \
    join pg_attribute a on a.attrelid = to_regclass(w.name) \
    where a.attname = any($2::text[]) and not a.attisdropped group by 1 order by 1";

/// A column that came from a table above counts there.
const ELSEWHERE: &str = "\
    select distinct format('%I.%I', n.nspname, c.relname) from pg_attribute a \
    join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
    where a.attname = any($2::text[]) and not a.attisdropped and a.attinhcount = 0 \
    and c.relkind in ('r', 'p') and c.relpersistence <> 't' and n.nspname <> 'leafcutter' \
    and c.oid <> all (select coalesce(to_regclass(w.name)::oid, 0) from unnest($1::text[]) w (name)) \
    order by 1";

/// Its own default, its numbers, and that it is not null, are parts of a column. Partitions and heirs have it too.
const DEPENDENTS: &str = "\
    with recursive tables (oid) as (\
      select to_regclass(w.name)::oid from unnest($1::text[]) w (name) \
      union select i.inhrelid from pg_inherits i join tables t on t.oid = i.inhparent) \
    select distinct case when r.oid is null then pg_describe_object(d.classid, d.objid, d.objsubid) \
    else pg_describe_object('pg_class'::regclass, r.ev_class, 0) end, \
    a.attrelid::regclass::text || '.' || a.attname \
    from tables t join pg_attribute a on a.attrelid = t.oid and a.attname = any($2::text[]) \
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid \
    and d.refobjsubid = a.attnum \
    left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid \
    left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid \
    left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid \
    left join pg_trigger g on d.classid = 'pg_trigger'::regclass and g.oid = d.objid \
    where not a.attisdropped and (f.adrelid, f.adnum) is distinct from (a.attrelid, a.attnum) \
    and k.contype is distinct from 'n' and g.tgname is distinct from $3 \
    and (a.attidentity = '' or (d.deptype <> 'i' and k.contype is distinct from 'u')) order by 1, 2";

/// What partitions have of their tables' triggers goes with these.
const TRIGGERS: &str = "\
    select format('%I.%I', n.nspname, c.relname) from pg_trigger g join pg_class c on c.oid = g.tgrelid \
    join pg_namespace n on n.oid = c.relnamespace where g.tgname = $1 and g.tgparentid = 0 order by 1";

/// A function's body is text, and what it needs is seen when it runs.
const FUNCTIONS: &str = "\
    select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
    where n.nspname not in ('pg_catalog', 'information_schema', 'leafcutter') \
    and n.nspname !~ '^pg_temp' and not exists (select 1 from pg_depend d \
    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e') \
    and p.prosrc ~ ('\\m(' || array_to_string($1::text[], '|') || ')\\M|\\mleafcutter\\M\"?\\.') order by 1";

/// Looks what is there.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn look(session: &mut Session, model: &Model) -> Result<Found, Error> {
    let tables = ddl::tables(model);
    let names: Vec<String> = tables
        .iter()
        .map(|entry| qualified(&entry.table.name))
        .collect();
    let own = NAMES.as_slice();
    let mut found = Found::default();
    for row in session.query(COLUMNS, &[&names, &own]).await? {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        found
            .tables
            .extend(tables.get(place).map(|entry| OwnColumns {
                table: entry.table.name.clone(),
                columns: row.get(1),
            }));
    }
    let elsewhere = session.query(ELSEWHERE, &[&names, &own]).await?;
    found.elsewhere = elsewhere.iter().map(|row| row.get(0)).collect();
    let triggers = session.query(TRIGGERS, &[&undo::TRIGGER]).await?;
    found.triggers = triggers.iter().map(|row| row.get(0)).collect();
    found.dependents = dependents(session, &names, own).await?;
    let functions = session.query(FUNCTIONS, &[&own]).await?;
    found.functions = functions.iter().map(|row| row.get(0)).collect();
    Ok(found)
}

/// What needs columns of these names, in these tables as they have to be written.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn dependents(
    session: &mut Session,
    tables: &[String],
    columns: &[&str],
) -> Result<Vec<Dependent>, Error> {
    let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&tables, &columns, &undo::TRIGGER];
    let rows = session.query(DEPENDENTS, parameters).await?;
    let dependent = |row: &tokio_postgres::Row| Dependent {
        object: row.get(0),
        needs: row.get(1),
    };
    Ok(rows.iter().map(dependent).collect())
}

impl Found {
    /// The statements that take triggers and columns away, in their order.
    pub fn statements(&self) -> Vec<String> {
        let triggers = self.triggers.iter();
        let triggers = triggers.map(|table| format!("drop trigger {} on {table}", undo::TRIGGER));
        triggers
            .chain(self.tables.iter().map(OwnColumns::statement))
            .collect()
    }
}

impl OwnColumns {
    /// The statement that takes them away.
    pub fn statement(&self) -> String {
        let columns = self.columns.iter();
        let drops: Vec<String> = columns
            .map(|column| format!("drop column {} restrict", quote(column)))
            .collect();
        format!(
            "alter table {}\n  {}",
            qualified(&self.table),
            drops.join(",\n  ")
        )
    }
}
