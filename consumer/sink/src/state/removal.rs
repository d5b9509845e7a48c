//! Schema `leafcutter` as a whole: what is in it, what others have made of it, and its end.
//!
//! Leafcutter's own tables and functions are known by name, and dropped with `restrict`, never with `cascade`:
//! what somebody else has made of them, a view or a reference, makes PostgreSQL refuse, and then nothing goes.
//! What else is in the schema is not Leafcutter's. It may well be the application's: where its user is called
//! `leafcutter`, new tables without a schema land here (PostgreSQL manual, 5.9.3).

use super::{FUNCTIONS, TABLES, undo};
use crate::session::Session;
use tokio_postgres::Error;

/// What is in the schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Leafcutter's tables, each as it has to be written.
    pub tables: Vec<String>,
    /// Leafcutter's functions, with their parameters.
    pub functions: Vec<String>,
    /// What else is in it, in PostgreSQL's words.
    pub strangers: Vec<String>,
    /// What is outside of it and needs something in it, in PostgreSQL's words.
    pub dependents: Vec<String>,
}

/// Indexes, and sequences of columns, are parts of their tables; the types of rows, too.
const CONTENTS: &str = "\
    with own as (select oid from pg_namespace where nspname = 'leafcutter') \
    select c.relname::text, format('leafcutter.%I', c.relname), c.relkind = 'r', false, \
    pg_describe_object('pg_class'::regclass, c.oid, 0) from pg_class c join own on own.oid = c.relnamespace \
    where c.relkind not in ('i', 'I', 't') and not (c.relkind = 'S' and exists \
    (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid \
    and d.deptype in ('a', 'i'))) \
    union all select p.proname::text, \
    format('leafcutter.%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)), false, true, \
    pg_describe_object('pg_proc'::regclass, p.oid, 0) from pg_proc p join own on own.oid = p.pronamespace \
    union all select y.typname::text, '', false, false, pg_describe_object('pg_type'::regclass, y.oid, 0) \
    from pg_type y join own on own.oid = y.typnamespace where y.typrelid = 0 and y.typelem = 0 \
    order by 2, 5";

/// A view depends by its rule, a reference by its constraint: what counts is the table that it is of.
/// Leafcutter's own trigger `$1` goes before the schema does.
const DEPENDENTS: &str = "\
    with own as (select oid from pg_namespace where nspname = 'leafcutter'), \
    inside (class, oid) as (\
      select 'pg_class'::regclass::oid, c.oid from pg_class c join own s on s.oid = c.relnamespace \
      union all select 'pg_proc'::regclass, p.oid from pg_proc p join own s on s.oid = p.pronamespace \
      union all select 'pg_type'::regclass, y.oid from pg_type y join own s on s.oid = y.typnamespace \
      union all select 'pg_namespace'::regclass, s.oid from own s), \
    needs as (select d.classid, d.objid, d.objsubid, r.ev_class, g.tgname::text as trigger, \
      coalesce(r.ev_class, nullif(k.conrelid, 0), f.adrelid, g.tgrelid, o.polrelid, \
        case when d.classid = 'pg_class'::regclass then d.objid end) as of \
      from pg_depend d join inside i on i.class = d.refclassid and i.oid = d.refobjid \
      left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid \
      left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid \
      left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid \
      left join pg_trigger g on d.classid = 'pg_trigger'::regclass and g.oid = d.objid \
      left join pg_policy o on d.classid = 'pg_policy'::regclass and o.oid = d.objid \
      where d.deptype = 'n') \
    select distinct case when n.ev_class is null then pg_describe_object(n.classid, n.objid, n.objsubid) \
    else pg_describe_object('pg_class'::regclass, n.ev_class, 0) end from needs n \
    where not exists (select 1 from inside i where i.class = n.classid and i.oid = n.objid) \
    and not exists (select 1 from inside i where i.class = 'pg_class'::regclass and i.oid = n.of) \
    and n.trigger is distinct from $1 order by 1";

/// Looks what is there.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn contents(session: &mut Session) -> Result<Contents, Error> {
    let mut contents = Contents::default();
    for row in session.query(CONTENTS, &[]).await? {
        let name: &str = row.get(0);
        if row.get(2) && TABLES.contains(&name) {
            contents.tables.push(row.get(1));
        } else if row.get(3) && FUNCTIONS.contains(&name) {
            contents.functions.push(row.get(1));
        } else {
            contents.strangers.push(row.get(4));
        }
    }
    let dependents = session.query(DEPENDENTS, &[&undo::TRIGGER]).await?;
    contents.dependents = dependents.iter().map(|row| row.get(0)).collect();
    Ok(contents)
}

impl Contents {
    /// The statements that take the schema away, in their order; for one transaction.
    pub fn statements(&self) -> Vec<String> {
        let kinds = [("table", &self.tables), ("function", &self.functions)];
        let kinds = kinds.iter().filter(|(_, names)| !names.is_empty());
        let mut all: Vec<String> = kinds
            .map(|(kind, names)| format!("drop {kind}\n  {}\nrestrict", names.join(",\n  ")))
            .collect();
        all.push("drop schema leafcutter restrict".to_owned());
        all
    }
}
