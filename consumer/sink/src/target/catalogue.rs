//! What PostgreSQL's catalogue says of the mapping's tables.

use super::{
    special::{self, Special},
    types::FoundType,
};
use crate::{names::qualified, session::Session, state::deferred_constraints::DeferredRow};
use leafcutter_schemas::mapping::TableName;
use std::collections::BTreeMap;

/// The tables that are there.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// By the name that the mapping has for them.
    pub tables: BTreeMap<TableName, FoundTable>,
    /// For those that are not there, tables of that name that the search path finds.
    pub elsewhere: BTreeMap<TableName, Vec<TableName>>,
}

/// One table.
#[derive(Debug, Default)]
pub struct FoundTable {
    /// What it is, where rows cannot be written to it as to a table.
    pub no_table: Option<&'static str>,
    /// It is divided by these columns; an empty name stands for an expression.
    pub divided_by: Option<Vec<String>>,
    /// It holds rows.
    pub filled: bool,
    /// What it is beyond a plain table.
    pub special: Special,
    /// Its columns, in their order.
    pub columns: Vec<FoundColumn>,
    /// Its indexes.
    pub indexes: Vec<FoundIndex>,
    /// Its foreign keys.
    pub foreign_keys: Vec<FoundForeignKey>,
    /// The foreign keys of other tables that point to it.
    pub referrers: Vec<FoundForeignKey>,
    /// Indexes and foreign keys that are added when the table is filled.
    pub deferred: Vec<DeferredRow>,
}

impl FoundTable {
    /// A column.
    pub fn column(&self, name: &str) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// A usable index that begins with exactly these columns, in whatever order.
    pub fn index_on(&self, columns: &[&str]) -> bool {
        let mut usable = self.indexes.iter().filter(|index| index.finds_rows());
        self.is_deferred(columns, None)
            || usable.any(|index| {
                let first = index.columns.get(..columns.len());
                first.is_some_and(|first| columns.iter().all(|c| first.iter().any(|f| f == c)))
            })
    }

    /// An index that keeps exactly these columns unique, row by row.
    pub fn unique_on(&self, columns: &[&str]) -> bool {
        let mut unique = self.indexes.iter().filter(|index| index.is_key());
        unique.any(|index| index.is_of(columns))
    }

    /// A foreign key from these columns to those of a table.
    pub fn foreign_key_to(&self, pairs: &[(&str, &str)], table: &TableName) -> bool {
        let mut keys = self.foreign_keys.iter();
        let own: Vec<&str> = pairs.iter().map(|(own, _)| *own).collect();
        self.is_deferred(&own, Some(&qualified(table))) || keys.any(|key| key.is_of(pairs, table))
    }

    /// Whether an index on these columns, or a foreign key from them to a table, is added when this one is filled.
    fn is_deferred(&self, columns: &[&str], parent: Option<&str>) -> bool {
        self.deferred.iter().any(|row| {
            row.columns == columns && row.parent.as_ref().map(|(table, _)| &**table) == parent
        })
    }
}

/// Who gives a column its value where a statement gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filler {
    /// Nobody.
    Nothing,
    /// Its default.
    Default,
    /// It is numbered, unless a value is given.
    Numbered,
    /// It is numbered, and refuses values.
    AlwaysNumbered,
    /// It is computed, and refuses values.
    Computed,
}

/// A column.
#[derive(Debug)]
pub struct FoundColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub pg_type: FoundType,
    /// It refuses null.
    pub required: bool,
    /// Who fills it.
    pub filler: Filler,
    /// It has a sequence of its own.
    pub sequence: bool,
    /// Its collation, where that is not deterministic: it finds texts equal that differ (PostgreSQL manual,
    /// 24.2.2.4).
    pub folding: Option<String>,
}

/// An index.
#[derive(Debug)]
pub struct FoundIndex {
    /// Its name.
    pub name: String,
    /// Its columns, without those that are only included; an empty name stands for an expression.
    pub columns: Vec<String>,
    /// It is the primary key's.
    pub primary: bool,
    /// It refuses equal values.
    pub unique: bool,
    /// It is finished.
    pub valid: bool,
    /// It refuses equal values at once, and not only at a statement's or transaction's end.
    pub immediate: bool,
    /// It leaves rows out.
    pub partial: bool,
    /// It finds rows by equality.
    pub by_equality: bool,
    /// The constraint that it belongs to.
    pub constraint: Option<String>,
    /// The statement that would make it.
    pub definition: String,
}

impl FoundIndex {
    fn finds_rows(&self) -> bool {
        self.valid && !self.partial && self.by_equality
    }

    /// Whether `on conflict` can name its columns.
    pub fn is_key(&self) -> bool {
        let plain = self.columns.iter().all(|column| !column.is_empty());
        self.unique && self.valid && self.immediate && !self.partial && plain
    }

    /// Whether its columns are these, in whatever order.
    pub fn is_of(&self, columns: &[&str]) -> bool {
        self.columns.len() == columns.len()
            && columns
                .iter()
                .all(|c| self.columns.iter().any(|own| own == c))
    }
}

/// A foreign key.
#[derive(Debug, Clone)]
pub struct FoundForeignKey {
    /// Its name.
    pub name: String,
    /// The table that has it.
    pub of: TableName,
    /// The table that it points to.
    pub to: TableName,
    /// Its columns, each with the one that it points to.
    pub pairs: Vec<(String, String)>,
    /// It is looked at when a transaction ends.
    pub deferred: bool,
    /// A row that is pointed to can be deleted: what points to it goes with it, or forgets it.
    pub gives_way: bool,
}

impl FoundForeignKey {
    /// Whether it points from these columns to those of that table.
    pub fn is_of(&self, pairs: &[(&str, &str)], table: &TableName) -> bool {
        let has = |(own, other): &(&str, &str)| {
            let mut all = self.pairs.iter();
            all.any(|(of, to)| of == own && to == other)
        };
        self.to == *table && self.pairs.len() == pairs.len() && pairs.iter().all(has)
    }
}

/// The tables named in `$1` and `$2`, and those of the same name on the search path.
const TABLES: &str = "\
    select n.nspname::text, c.relname::text, c.relkind::text, c.oid, w.schema, \
    (select array_agg(coalesce(a.attname::text, '') order by k.o) \
      from pg_partitioned_table p \
      cross join lateral unnest(p.partattrs::int2[]) with ordinality k (n, o) \
      left join pg_attribute a on a.attrelid = c.oid and a.attnum = k.n \
      where p.partrelid = c.oid) \
    from unnest($1::text[], $2::text[]) w (schema, name) \
    join pg_class c on c.relname = w.name and c.relkind in ('r', 'p', 'v', 'm', 'f') \
    join pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = w.schema \
    or (n.nspname = any (current_schemas(false)) and n.nspname <> 'leafcutter')";

const COLUMNS: &str = "\
    select a.attname::text, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), \
    a.attnotnull, a.atthasdef, a.attidentity::text, a.attgenerated::text, \
    exists (select 1 from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S' \
      where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass \
      and d.refobjid = a.attrelid and d.refobjsubid = a.attnum and d.deptype in ('a', 'i')), \
    (select l.collname::text from pg_collation l where l.oid = a.attcollation \
      and to_jsonb(l) ->> 'collisdeterministic' = 'false') \
    from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped \
    order by a.attnum";

const TYPES: &str = "\
    select oid, typname::text, typtype = 'd', typbasetype, typtypmod, \
    case when typcategory = 'A' then typelem else 0::oid end, typnotnull, \
    typdefault is not null from pg_type";

const INDEXES: &str = "\
    select x.relname::text, i.indisprimary, i.indisunique, i.indisvalid and i.indisready, \
    i.indimmediate, i.indpred is not null, m.amname in ('btree', 'hash'), \
    (select array_agg(coalesce(a.attname::text, '') order by k.o) \
      from unnest(i.indkey::int2[]) with ordinality k (n, o) \
      left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n \
      where k.o <= i.indnkeyatts), \
    (select c.conname::text from pg_constraint c \
      where c.conindid = i.indexrelid and c.conrelid = i.indrelid \
      and c.contype in ('p', 'u', 'x')), \
    pg_get_indexdef(i.indexrelid) \
    from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam \
    where i.indrelid = $1 order by x.relname";

/// Foreign keys of the table in `$1`, and those that point to it; not those that partitions have
/// of their tables.
const FOREIGN_KEYS: &str = "\
    select f.conname::text, n.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, \
    (select array_agg(a.attname::text order by k.o) \
      from unnest(f.conkey) with ordinality k (n, o) \
      join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.n), \
    (select array_agg(a.attname::text order by k.o) \
      from unnest(f.confkey) with ordinality k (n, o) \
      join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.n), \
    f.condeferred, f.confdeltype in ('c', 'n', 'd') \
    from pg_constraint f \
    join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace \
    join pg_class p on p.oid = f.confrelid join pg_namespace pn on pn.oid = p.relnamespace \
    where f.contype = 'f' and f.conparentid = 0 and $1 in (f.conrelid, f.confrelid) \
    order by f.conname";

struct TypeRow {
    name: String,
    domain: bool,
    base: u32,
    modifier: i32,
    element: u32,
    required: bool,
    default: bool,
}

/// Reads what is there of these tables.
///
/// # Errors
/// When the server is lost, or does not let its catalogue be read.
pub async fn read(
    session: &mut Session,
    wanted: &[&TableName],
) -> Result<Catalogue, tokio_postgres::Error> {
    let mut catalogue = Catalogue::default();
    let types = types(session).await?;
    let schemas: Vec<&str> = wanted.iter().map(|t| t.schema.as_str()).collect();
    let names: Vec<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
    for row in session.query(TABLES, &[&schemas, &names]).await? {
        let found = TableName {
            schema: row.get(0),
            name: row.get(1),
        };
        let asked = TableName {
            schema: row.get(4),
            name: found.name.clone(),
        };
        if found != asked {
            catalogue.elsewhere.entry(asked).or_default().push(found);
            continue;
        }
        let mut table = FoundTable {
            no_table: match row.get::<_, &str>(2) {
                "v" => Some("a view"),
                "m" => Some("a materialized view"),
                "f" => Some("a foreign table"),
                _ => None,
            },
            divided_by: row.get(5),
            ..FoundTable::default()
        };
        let oid: u32 = row.get(3);
        read_table(session, oid, &found, &types, &mut table).await?;
        catalogue.tables.insert(found, table);
    }
    let tables = &catalogue.tables;
    catalogue
        .elsewhere
        .retain(|asked, _| !tables.contains_key(asked));
    Ok(catalogue)
}

async fn types(session: &mut Session) -> Result<BTreeMap<u32, TypeRow>, tokio_postgres::Error> {
    let rows = session.query(TYPES, &[]).await?;
    let types = rows.iter().map(|row| {
        let found = TypeRow {
            name: row.get(1),
            domain: row.get(2),
            base: row.get(3),
            modifier: row.get(4),
            element: row.get(5),
            required: row.get(6),
            default: row.get(7),
        };
        (row.get(0), found)
    });
    Ok(types.collect())
}

async fn read_table(
    session: &mut Session,
    oid: u32,
    name: &TableName,
    types: &BTreeMap<u32, TypeRow>,
    table: &mut FoundTable,
) -> Result<(), tokio_postgres::Error> {
    if table.no_table.is_none() {
        let sql = format!("select exists (select 1 from {})", qualified(name));
        table.filled = session.query_one(&sql, &[]).await?.get(0);
        table.special = special::read(session, oid).await?;
    }
    for row in session.query(COLUMNS, &[&oid]).await? {
        table.columns.push(column(&row, types));
    }
    for row in session.query(INDEXES, &[&oid]).await? {
        table.indexes.push(FoundIndex {
            name: row.get(0),
            primary: row.get(1),
            unique: row.get(2),
            valid: row.get(3),
            immediate: row.get(4),
            partial: row.get(5),
            by_equality: row.get(6),
            columns: row.get(7),
            constraint: row.get(8),
            definition: row.get(9),
        });
    }
    for row in session.query(FOREIGN_KEYS, &[&oid]).await? {
        let (own, other): (Vec<String>, Vec<String>) = (row.get(5), row.get(6));
        let key = FoundForeignKey {
            name: row.get(0),
            of: TableName {
                schema: row.get(1),
                name: row.get(2),
            },
            to: TableName {
                schema: row.get(3),
                name: row.get(4),
            },
            pairs: own.into_iter().zip(other).collect(),
            deferred: row.get(7),
            gives_way: row.get(8),
        };
        if key.of == *name {
            table.foreign_keys.push(key);
        } else {
            table.referrers.push(key);
        }
    }
    Ok(())
}

fn column(row: &tokio_postgres::Row, types: &BTreeMap<u32, TypeRow>) -> FoundColumn {
    let (mut oid, mut modifier): (u32, i32) = (row.get(1), row.get(2));
    let mut required: bool = row.get(4);
    let mut default: bool = row.get(5);
    // A domain is what the type below it is, with conditions of its own.
    while let Some(domain) = types.get(&oid).filter(|found| found.domain) {
        required |= domain.required;
        default |= domain.default;
        (oid, modifier) = (domain.base, domain.modifier);
    }
    let name = |oid: u32| types.get(&oid).map(|found| found.name.clone());
    let element = types.get(&oid).and_then(|found| name(found.element));
    let filler = match (row.get::<_, &str>(6), row.get::<_, &str>(7)) {
        ("a", _) => Filler::AlwaysNumbered,
        ("d", _) => Filler::Numbered,
        (_, "s" | "v") => Filler::Computed,
        _ if default => Filler::Default,
        _ => Filler::Nothing,
    };
    FoundColumn {
        name: row.get(0),
        pg_type: FoundType {
            name: name(oid).unwrap_or_default(),
            element,
            modifier,
            shown: row.get(3),
        },
        required,
        filler,
        sequence: row.get(8),
        folding: row.get(9),
    }
}
