//! What has to be there before the first write, so that everything can be taken back.
//!
//! **A table's origin is noted once**, when a consumer first comes to it: whether it was created, was empty, or
//! had rows. Whoever starts first does it in the transaction that adds Leafcutter's own columns, so nothing has
//! been written by then. Where an earlier version has written already, that is noted instead, since what it
//! took is lost.
//!
//! **The application's rows are kept by a trigger**, and not by the statements that write: an upsert, a delete,
//! a cascade, a sweep, a foreign key's own action take rows in their own ways, and so will what is built later.
//! It exists only on tables that had rows. It runs after a row was changed or deleted (so it can swallow
//! nothing, and no row waits for it), where the row is not Leafcutter's yet, and in Leafcutter's own sessions:
//! what the application does to its rows is the application's. So each of its rows is kept once, and everything
//! else costs the look at one column. It has its own user's rights: a foreign key's own action is the table owner's.
//!
//! **Whose a row is** says `lc_version` in the table of a collection. A child table with rows of the
//! application's own gets the column `lc_written`: its default is true in Leafcutter's sessions, and false in
//! all others, so that no statement has to name it. In other child tables the root row says it.
//!
//! **Tables outside the mapping** take part where a foreign key deletes or changes their rows with rows of such
//! a table. All their rows are the application's.

use super::{
    catalogue::Catalogue,
    ddl::{self, Lacking, Makes},
    sequences,
};
use crate::{
    model::{Model, TableModel},
    names::{list, literal, qualified, quote},
    session::Session,
    state::{
        offsets,
        origins::{self, Found, Made, Origin, PlaceRow},
        undo,
    },
};
use leafcutter_schemas::mapping::TableName;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

/// The column of a child table that says whether Leafcutter wrote a row.
pub const WRITTEN: &str = "lc_written";

/// Evaluated once for the rows that are there, in a session that is none of those that write; afterwards for
/// each row.
const WRITTEN_DEFINITION: &str = "lc_written boolean not null \
    default coalesce(current_setting('leafcutter.session', true), '') = 'on'";

/// What is known before anything is made.
#[derive(Debug)]
pub(super) struct Before {
    known: BTreeMap<String, Origin>,
    /// The tables that were there already when Leafcutter wrote to them, and noted nothing.
    written: BTreeSet<TableName>,
    places: Vec<PlaceRow>,
}

impl Before {
    /// Looks at the tables that nothing is known of.
    pub(super) async fn look(
        session: &mut Session,
        model: &Model,
        there: &Catalogue,
    ) -> Result<Self, Error> {
        let known = origins::all(session).await?;
        let mut before = Self {
            known,
            written: BTreeSet::new(),
            places: Vec::new(),
        };
        let news: Vec<&TableModel> = ddl::tables(model)
            .into_iter()
            .filter(|entry| before.is_new(&entry.table.name))
            .filter(|entry| there.tables.contains_key(&entry.table.name))
            .collect();
        if news.is_empty() {
            return Ok(before);
        }
        let topics = offsets::topics(session).await?;
        for entry in news {
            if was_written(session, model, entry, there, &topics).await? {
                before.written.insert(entry.table.name.clone());
            }
        }
        for sequence in sequences::find(session, model).await? {
            if before.is_new(sequence.table()) {
                before.places.extend(sequence.place(session).await?);
            }
        }
        Ok(before)
    }

    fn is_new(&self, table: &TableName) -> bool {
        !self.known.contains_key(&qualified(table))
    }

    /// Notes the origins of the tables that nothing was known of, and has the application's rows there kept;
    /// `made` is what was made just now.
    pub(super) async fn keep(
        self,
        session: &mut Session,
        model: &Model,
        there: &Catalogue,
        made: &[Makes],
        create: bool,
    ) -> Result<(), Error> {
        let mut filled = Vec::new();
        for entry in ddl::tables(model) {
            let name = &entry.table.name;
            let target = qualified(name);
            let columns = entry.table.key.iter();
            let key: Vec<String> = columns
                .map(|&place| entry.table.columns[place].name.clone())
                .collect();
            let found = there.tables.get(name);
            if !self.is_new(name) || found.is_some_and(|found| found.no_table.is_some()) {
                continue;
            }
            if found.is_none() {
                if create {
                    origins::note(session, &target, Found::Created, true, &key).await?;
                }
                continue;
            }
            // Nobody fills it between the look and the trigger.
            let lock = format!("lock table {target} in share row exclusive mode");
            session.batch(&lock).await?;
            let rows = format!("select exists (select 1 from {target})");
            let has_rows: bool = session.query_one(&rows, &[]).await?.get(0);
            let found = match (self.written.contains(name), has_rows) {
                (true, _) => Found::Unknown,
                (false, true) => Found::Filled,
                (false, false) => Found::Empty,
            };
            let mut is_kept = found == Found::Empty;
            if found == Found::Filled && create && is_owner(session, &target).await? {
                has_kept(session, entry, &key).await?;
                is_kept = true;
            }
            origins::note(session, &target, found, is_kept, &key).await?;
            if is_kept && found == Found::Filled {
                filled.push(target);
            }
        }
        for place in &self.places {
            origins::note_place(session, place).await?;
        }
        keep_outside(session, model, &filled).await?;
        note_made(session, there, made).await
    }
}

/// Whether something was written to a table, or deleted there, before anything was noted of it.
async fn was_written(
    session: &mut Session,
    model: &Model,
    entry: &TableModel,
    there: &Catalogue,
    topics: &[String],
) -> Result<bool, Error> {
    let root = entry.above.first().map_or(entry, |&root| model.table(root));
    let found = there.tables.get(&root.table.name);
    if !found.is_some_and(|found| found.no_table.is_none() && found.column("lc_version").is_some())
    {
        return Ok(false);
    }
    let mut fillers = model.tables.iter();
    let is_consumed = fillers.any(|other| {
        other.table.name == root.table.name
            && topics.contains(&model.collection(other.collection).topic)
    });
    if is_consumed {
        return Ok(true);
    }
    let rows = format!(
        "select exists (select 1 from {} where lc_version > 0)",
        qualified(&root.table.name)
    );
    Ok(session.query_one(&rows, &[]).await?.get(0))
}

async fn is_owner(session: &mut Session, target: &str) -> Result<bool, Error> {
    const OWNER: &str =
        "select pg_has_role(c.relowner, 'usage') from pg_class c where c.oid = to_regclass($1)";
    Ok(session.query_one(OWNER, &[&target]).await?.get(0))
}

/// Has the application's rows of a table of the mapping kept.
async fn has_kept(session: &mut Session, entry: &TableModel, key: &[String]) -> Result<(), Error> {
    let target = qualified(&entry.table.name);
    let (mark, theirs) = if entry.above.is_empty() {
        ("lc_version", "old.lc_version = 0")
    } else {
        let column = format!("alter table {target} add column if not exists {WRITTEN_DEFINITION}");
        session.batch(&column).await?;
        (WRITTEN, "not old.lc_written")
    };
    session
        .batch(&trigger(&target, (mark, Some(theirs)), key))
        .await
}

/// The statement that has rows kept, where they are the application's.
fn trigger(target: &str, (mark, theirs): (&str, Option<&str>), key: &[String]) -> String {
    let ours = format!("current_setting({}, true) = 'on'", literal(undo::SESSION));
    let when = theirs.map_or_else(|| ours.clone(), |theirs| format!("{theirs} and {ours}"));
    format!(
        "create trigger {} after update or delete on {target} for each row when ({when}) \
         execute function leafcutter.keep_for_undo({}, {}, {})",
        undo::TRIGGER,
        literal(target),
        literal(mark),
        literal(&hash(key))
    )
}

/// What stands for a row's key, as an expression of the row `$1`; null where a part of it is, since then no
/// other row is the same. A hash, for keys of any length.
fn hash(key: &[String]) -> String {
    if key.is_empty() {
        return "null::bytea".to_owned();
    }
    let values = list(key.iter().map(|column| format!("($1).{}", quote(column))));
    format!(
        "case when num_nulls({values}) = 0 \
         then sha256(convert_to(row({values})::text, getdatabaseencoding())) end"
    )
}

/// Tables outside the mapping whose rows a foreign key changes with rows of these, and so on; what the others
/// are, and their keys.
const OUTSIDE: &str = "\
    with recursive reached (oid) as (\
      select to_regclass(w.name)::oid from unnest($1::text[]) w (name) \
      union select k.conrelid from pg_constraint k join reached r on r.oid = k.confrelid \
      where k.contype = 'f' and k.conparentid = 0 and k.confdeltype in ('c', 'n', 'd')) \
    select format('\"%s\".\"%s\"', replace(n.nspname, '\"', '\"\"'), replace(c.relname, '\"', '\"\"')), \
    has_table_privilege(c.oid, 'TRIGGER'), \
    coalesce((select array_agg(a.attname::text order by i.place) from pg_index x \
      cross join lateral unnest(x.indkey::int2[]) with ordinality i (number, place) \
      join pg_attribute a on a.attrelid = x.indrelid and a.attnum = i.number \
      where x.indrelid = c.oid and x.indisprimary), '{}'::text[]) \
    from reached r join pg_class c on c.oid = r.oid join pg_namespace n on n.oid = c.relnamespace \
    where c.oid <> all (select coalesce(to_regclass(w.name)::oid, 0) from unnest($2::text[]) w (name)) \
    and not exists (select 1 from pg_trigger g where g.tgrelid = c.oid and g.tgname = $3) order by 1";

/// Has the rows of tables outside the mapping kept that a foreign key may change.
async fn keep_outside(
    session: &mut Session,
    model: &Model,
    filled: &[String],
) -> Result<(), Error> {
    if filled.is_empty() {
        return Ok(());
    }
    let tables = ddl::tables(model).into_iter();
    let mapped: Vec<String> = tables.map(|entry| qualified(&entry.table.name)).collect();
    let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&filled, &mapped, &undo::TRIGGER];
    for row in session.query(OUTSIDE, parameters).await? {
        let (target, may, key): (String, bool, Vec<String>) = (row.get(0), row.get(1), row.get(2));
        if may {
            session.batch(&trigger(&target, ("", None), &key)).await?;
        }
        origins::note(session, &target, Found::Outside, may, &key).await?;
    }
    Ok(())
}

/// Whether there is something of the name that a statement makes: then it makes nothing.
pub(super) async fn is_there(session: &mut Session, lacking: &Lacking) -> Result<bool, Error> {
    const SCHEMA: &str = "select to_regnamespace($1) is not null";
    const RELATION: &str = "select to_regclass($1) is not null";
    const KEY: &str = "select exists (select 1 from pg_constraint \
        where conrelid = to_regclass($1) and conname = $2)";
    let row = match &lacking.makes {
        Makes::Schema(name) => session.query_one(SCHEMA, &[&quote(name)]).await?,
        Makes::Index(table, name) => {
            let index = format!("{}.{}", quote(&table.schema), quote(name));
            session.query_one(RELATION, &[&index]).await?
        }
        Makes::Key(table, name) => session.query_one(KEY, &[&qualified(table), name]).await?,
        Makes::Table(_) | Makes::Columns(..) | Makes::Numbers(..) => return Ok(false),
    };
    Ok(row.get(0))
}

/// Notes what was made on tables that were there, and schemas.
async fn note_made(session: &mut Session, there: &Catalogue, made: &[Makes]) -> Result<(), Error> {
    let mut by_table: BTreeMap<&TableName, Made> = BTreeMap::new();
    for makes in made {
        let of = |table| there.tables.contains_key(table);
        match makes {
            Makes::Schema(schema) => {
                let created = made.iter().filter_map(|other| match other {
                    Makes::Table(table) if table.schema == *schema => Some(table),
                    _ => None,
                });
                for table in created {
                    origins::note_schema(session, &qualified(table)).await?;
                }
            }
            Makes::Columns(table, names) if of(table) => {
                let own = |name: &&String| !super::own_columns::NAMES.contains(&name.as_str());
                let names = names.iter().filter(own).cloned();
                by_table.entry(table).or_default().columns.extend(names);
            }
            Makes::Index(table, name) if of(table) => {
                by_table
                    .entry(table)
                    .or_default()
                    .indexes
                    .push(name.clone());
            }
            Makes::Key(table, name) if of(table) => {
                by_table.entry(table).or_default().keys.push(name.clone());
            }
            Makes::Numbers(table, column) if of(table) => {
                by_table
                    .entry(table)
                    .or_default()
                    .numbers
                    .push(column.clone());
            }
            Makes::Table(_)
            | Makes::Columns(..)
            | Makes::Index(..)
            | Makes::Key(..)
            | Makes::Numbers(..) => {}
        }
    }
    for (table, made) in by_table {
        origins::note_made(session, &qualified(table), &made).await?;
    }
    Ok(())
}
