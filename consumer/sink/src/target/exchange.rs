//! Tables that were filled beside those in use take their places, and their rights.
//!
//! It takes pairs of tables; gives what is in the way, and exchanges them within a transaction of the caller's.
//! PostgreSQL binds views, foreign keys and triggers to the table itself and not to its name, so whatever else
//! hangs on an old table would go away with it, or point to it for ever: that is found before
//! ([`obstacles`]), and a person decides. Who may read the old table may read the new one.
//!
//! **Nobody sees a mixture.** All tables are locked against reading first. A transaction that has read one of
//! them holds it until it ends, so either it has ended, or it has read none: then it sees all new ones.

use super::ddl::{self, Makes};
use crate::{
    model::Model,
    names::{literal, qualified, quote},
    session::Session,
    state::undo,
};
use leafcutter_schemas::mapping::TableName;
use serde::Serialize;
use std::collections::BTreeSet;
use tokio_postgres::Error;

/// A table that changes places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The one that is in use, if there is one.
    pub old: Option<TableName>,
    /// The new one, if the mapping still has it.
    pub new: Option<TableName>,
}

/// What hangs on an old table and would not be on the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The old table.
    pub table: String,
    /// What it is.
    pub what: String,
}

/// What Leafcutter makes itself, by table: columns, indexes, foreign keys.
fn ours(model: &Model) -> BTreeSet<(String, String)> {
    let mut ours = BTreeSet::new();
    for entry in ddl::tables(model) {
        let table = qualified(&entry.table.name);
        let columns = entry.table.columns.iter().map(|column| column.name.clone());
        let identity = entry
            .table
            .identity
            .iter()
            .map(|column| column.name.clone());
        let own = super::own_columns::NAMES.map(str::to_owned);
        for name in columns.chain(identity).chain(own) {
            ours.insert((table.clone(), name));
        }
    }
    for lacking in ddl::all(model) {
        match lacking.makes {
            Makes::Index(table, name) | Makes::Key(table, name) => {
                ours.insert((qualified(&table), name));
            }
            Makes::Schema(_) | Makes::Table(_) | Makes::Columns(..) | Makes::Numbers(..) => {}
        }
    }
    ours
}

/// `$1` are the old tables, `$2` beside each the new one, if any; `$3` and `$4` what Leafcutter made on which
/// table, by name; `$5` its own trigger.
const OBSTACLES: &str = "\
    with t as (select to_regclass(w.old)::oid as oid, to_regclass(w.new)::oid as new, w.old as name \
      from unnest($1::text[], $2::text[]) as w(old, new)), \
    ours as (select * from unnest($3::text[], $4::text[]) as w(name, what)) \
    select name, what from (\
    select t.name, format('foreign key %I of %s refers to it', k.conname, k.conrelid::regclass) as what \
      from t join pg_constraint k on k.confrelid = t.oid and k.contype = 'f' and k.conparentid = 0 \
      where k.conrelid not in (select oid from t) \
    union select t.name, format('%s reads it', pg_describe_object('pg_class'::regclass, r.ev_class, 0)) \
      from t join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid \
      join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.ev_class <> t.oid \
    union select t.name, format('rule %I', r.rulename) from t join pg_rewrite r on r.ev_class = t.oid \
    union select t.name, format('%s uses it', pg_describe_object(d.classid, d.objid, d.objsubid)) from t \
      join pg_class c on c.oid = t.oid join pg_depend d on d.deptype = 'n' \
      and ((d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid) \
        or (d.refclassid = 'pg_type'::regclass and d.refobjid = c.reltype)) \
      where d.classid = 'pg_proc'::regclass \
        or (d.classid = 'pg_class'::regclass and d.refclassid = 'pg_type'::regclass) \
    union select t.name, format('trigger %I', g.tgname) from t join pg_trigger g on g.tgrelid = t.oid \
      where not g.tgisinternal and g.tgname <> $5 and not exists (select 1 from pg_trigger n \
      where n.tgrelid = t.new and n.tgname = g.tgname) \
    union select t.name, format('policy %I', p.polname) from t join pg_policy p on p.polrelid = t.oid \
      where not exists (select 1 from pg_policy n where n.polrelid = t.new and n.polname = p.polname) \
    union select t.name, 'row security' from t join pg_class c on c.oid = t.oid and c.relrowsecurity \
      where not exists (select 1 from pg_class n where n.oid = t.new and n.relrowsecurity) \
    union select t.name, format('publication %I', b.pubname) from t \
      join pg_publication_rel p on p.prrelid = t.oid join pg_publication b on b.oid = p.prpubid \
      where not exists (select 1 from pg_publication_rel n where n.prrelid = t.new and n.prpubid = b.oid) \
    union select t.name, format('%s inherits from it', i.inhrelid::regclass) from t \
      join pg_inherits i on i.inhparent = t.oid \
    union select t.name, format('it inherits from %s', i.inhparent::regclass) from t \
      join pg_inherits i on i.inhrelid = t.oid \
    union select t.name, format('column %I', a.attname) from t join pg_attribute a on a.attrelid = t.oid \
      and a.attnum > 0 and not a.attisdropped where (t.name, a.attname::text) not in (select * from ours) \
      and not exists (select 1 from pg_attribute n where n.attrelid = t.new and n.attname = a.attname \
      and not n.attisdropped) \
    union select t.name, format('index %I', i.relname) from t join pg_index x on x.indrelid = t.oid \
      and not x.indisprimary join pg_class i on i.oid = x.indexrelid \
      where (t.name, i.relname::text) not in (select * from ours) and not exists (select 1 from pg_index y \
      join pg_class j on j.oid = y.indexrelid where y.indrelid = t.new and j.relname = i.relname) \
    union select t.name, format('constraint %I', k.conname) from t join pg_constraint k on k.conrelid = t.oid \
      and k.contype in ('c', 'f', 'x') where (t.name, k.conname::text) not in (select * from ours) \
      and not exists (select 1 from pg_constraint n where n.conrelid = t.new and n.conname = k.conname) \
    union select t.name, 'replica identity' from t join pg_class c on c.oid = t.oid and c.relreplident <> 'd' \
      where not exists (select 1 from pg_class n where n.oid = t.new and n.relreplident = c.relreplident) \
    ) found order by 1, 2";

/// What hangs on the old tables, which were made under this mapping, and is not on the new ones. A table whose
/// new one is not there yet has all that it has by itself.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn obstacles(
    session: &mut Session,
    model: &Model,
    moves: &[Move],
) -> Result<Vec<Obstacle>, Error> {
    let pairs = moves.iter().filter_map(|pair| {
        let new = pair.new.as_ref().map(qualified);
        Some((qualified(pair.old.as_ref()?), new))
    });
    let (old, new): (Vec<String>, Vec<Option<String>>) = pairs.unzip();
    let (tables, what): (Vec<String>, Vec<String>) = ours(model).into_iter().unzip();
    let rows = session
        .query(OBSTACLES, &[&old, &new, &tables, &what, &undo::TRIGGER])
        .await?;
    let read = |row: &tokio_postgres::Row| Obstacle {
        table: row.get(0),
        what: row.get(1),
    };
    Ok(rows.iter().map(read).collect())
}

/// Which of these tables are there.
///
/// # Errors
/// As [`obstacles`].
pub async fn there(session: &mut Session, tables: &[&TableName]) -> Result<Vec<bool>, Error> {
    const THERE: &str = "\
        select to_regclass(w.name) is not null from unnest($1::text[]) with ordinality as w(name, place) \
        order by w.place";
    let names: Vec<String> = tables.iter().map(|table| qualified(table)).collect();
    let rows = session.query(THERE, &[&names]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The first of these tables that has rows.
///
/// # Errors
/// As [`obstacles`].
pub async fn filled<'t>(
    session: &mut Session,
    tables: &[&'t TableName],
) -> Result<Option<&'t TableName>, Error> {
    let there = there(session, tables).await?;
    for (table, _) in tables.iter().zip(there).filter(|(_, there)| *there) {
        let sql = format!("select exists (select 1 from {})", qualified(table));
        if session.query_one(&sql, &[]).await?.get(0) {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// What gives the new table the owner and the rights of the old one; the owner's own follow from that.
const RIGHTS: &str = "\
    with t as (select $1::text::regclass::oid as old, $2::text::regclass::oid as new, $2::text as name) \
    select s from (\
    select 0 as place, format('alter table %s owner to %I', t.name, pg_get_userbyid(o.relowner)) as s \
      from t join pg_class o on o.oid = t.old join pg_class n on n.oid = t.new where o.relowner <> n.relowner \
    union all select 1, format('grant %s on table %s to %s%s', a.privilege_type, t.name, \
      case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, \
      case when a.is_grantable then ' with grant option' else '' end) \
      from t join pg_class o on o.oid = t.old cross join lateral aclexplode(o.relacl) a \
      where a.grantee <> o.relowner \
    union all select 2, format('grant %s (%I) on table %s to %s%s', a.privilege_type, c.attname, t.name, \
      case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, \
      case when a.is_grantable then ' with grant option' else '' end) \
      from t join pg_attribute c on c.attrelid = t.old and not c.attisdropped \
      cross join lateral aclexplode(c.attacl) a \
      where exists (select 1 from pg_attribute n where n.attrelid = t.new and n.attname = c.attname \
      and not n.attisdropped)) rights order by place, s";

/// Gives the new tables, in schema `staged`, the places and the rights of the old ones, which go to that schema.
/// `places` are the new tables' from now on, in the order of `moves`.
///
/// # Errors
/// When PostgreSQL refuses or is lost, or a lock does not come in time.
pub async fn exchange(
    session: &mut Session,
    staged: &str,
    (moves, places): (&[Move], &[Option<TableName>]),
) -> Result<(), Error> {
    let new = moves.iter().filter_map(|pair| pair.new.as_ref());
    let old = moves.iter().filter_map(|pair| pair.old.as_ref());
    let mut all: Vec<String> = new.chain(old).map(qualified).collect();
    all.sort_unstable();
    session
        .batch(&format!(
            "lock table {} in access exclusive mode",
            all.join(", ")
        ))
        .await?;
    for pair in moves {
        if let Move {
            old: Some(old),
            new: Some(new),
        } = pair
        {
            let names = (qualified(old), qualified(new));
            for row in session.query(RIGHTS, &[&names.0, &names.1]).await? {
                session.batch(row.get(0)).await?;
            }
        }
    }
    // Two tables cannot have one name in a schema, not for a moment either.
    let between = format!("{staged}_exchange");
    let mut sql = format!("create schema {};", quote(&between));
    let mut put = |table: &TableName, schema: &str| {
        sql.push_str(&format!(
            "alter table {} set schema {};",
            qualified(table),
            quote(schema)
        ));
        TableName {
            schema: schema.to_owned(),
            name: table.name.clone(),
        }
    };
    let old = moves.iter().filter_map(|pair| pair.old.as_ref());
    let aside: Vec<TableName> = old.map(|table| put(table, &between)).collect();
    for (pair, place) in moves.iter().zip(places) {
        if let (Some(new), Some(place)) = (&pair.new, place) {
            put(new, &place.schema);
        }
    }
    for table in &aside {
        put(table, staged);
    }
    sql.push_str(&format!("drop schema {}", quote(&between)));
    session.batch(&sql).await
}

/// Drops these tables, all at once, since they may refer to each other; nothing else goes with them.
///
/// # Errors
/// As [`exchange`].
pub async fn drop_tables(session: &mut Session, tables: &[&TableName]) -> Result<(), Error> {
    let names: Vec<String> = tables.iter().map(|table| qualified(table)).collect();
    if names.is_empty() {
        return Ok(());
    }
    session
        .batch(&format!(
            "drop table if exists {} restrict",
            names.join(", ")
        ))
        .await
}

/// Drops a schema where nothing is in it.
///
/// # Errors
/// As [`exchange`].
pub async fn drop_if_empty(session: &mut Session, schema: &str) -> Result<(), Error> {
    let sql = format!(
        "do $leafcutter$ begin if not exists (select 1 from pg_class c join pg_namespace n \
         on n.oid = c.relnamespace where n.nspname = {}) then drop schema if exists {}; end if; \
         end $leafcutter$",
        literal(schema),
        quote(schema)
    );
    session.batch(&sql).await
}
