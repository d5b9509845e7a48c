//! SQL text for a table of the mapping: the only place that quotes an identifier.
//!
//! Rows of a batch stand in a temporary table of the session (`lc_<table>`), with the row's
//! version and two ordinals beside the target's columns: `lc_doc` is the document's place in the
//! batch, `lc_row` the row's. Statements then narrow that table down until it holds exactly what is
//! to be written, and write it. Values never stand in the text; they come by COPY or as
//! parameters.

use crate::transform::TableId;
use leafcutter_schemas::mapping::{
    Column, ColumnSource, Element, OnMissing, PgType, RowSource, Table, TableName,
};

/// Quotes an identifier (PostgreSQL manual, 4.1.1).
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Quotes a text as a literal; used for names of tables only.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table's name with its schema, quoted.
pub fn qualified(name: &TableName) -> String {
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

fn list(columns: impl IntoIterator<Item = String>) -> String {
    columns.into_iter().collect::<Vec<_>>().join(", ")
}

/// The function whose result is a value's bytes in binary COPY; row keys are made of these.
fn send_function(pg_type: PgType) -> &'static str {
    match pg_type {
        PgType::Bool => "boolsend",
        PgType::Int2 => "int2send",
        PgType::Int4 => "int4send",
        PgType::Int8 => "int8send",
        PgType::Float4 => "float4send",
        PgType::Float8 => "float8send",
        PgType::Numeric(_) => "numeric_send",
        PgType::Text => "textsend",
        PgType::Varchar(_) => "varcharsend",
        PgType::Uuid => "uuid_send",
        PgType::Bytea => "byteasend",
        PgType::Date => "date_send",
        PgType::Timestamp => "timestamp_send",
        PgType::Timestamptz => "timestamptz_send",
        PgType::Json => "json_send",
        PgType::Jsonb => "jsonb_send",
        PgType::Array(_) => "array_send",
    }
}

/// A column's type in a temporary table: the length and the scale were checked when the row was
/// made. An array keeps its element's type, which its binary form names.
fn staging_type(pg_type: PgType) -> String {
    match pg_type {
        PgType::Varchar(_) => "text".to_owned(),
        PgType::Numeric(_) => "numeric".to_owned(),
        PgType::Array(Element::Varchar(_)) => "varchar[]".to_owned(),
        PgType::Array(Element::Numeric(_)) => "numeric[]".to_owned(),
        other => other.to_string(),
    }
}

/// A reference that a table's rows must satisfy.
#[derive(Debug, Clone)]
pub struct ReferenceCheck {
    /// The referring column's position.
    pub column: usize,
    /// Its name.
    pub column_name: String,
    /// Its name, in a child table with the table's in front.
    pub full_name: String,
    /// The table pointed to.
    pub parent: TableName,
    /// The table points to itself.
    pub to_itself: bool,
    /// Returns `lc_doc` and `lc_row` of the rows whose parent is not there, after taking them out of the
    /// temporary table.
    pub take_missing: String,
    /// Sets the column to null for the documents in `$1`.
    pub set_null: String,
}

/// A second unique key.
#[derive(Debug, Clone)]
pub struct UniqueCheck {
    /// The columns' positions.
    pub columns: Vec<usize>,
    /// Returns `lc_doc` of the rows whose value is taken, after taking them out.
    pub take_colliding: String,
    /// Returns pairs of `lc_doc`: a row, and the row of the batch that has its value now.
    pub owners: String,
    /// Gives the present rows of the batch values that nobody wants, so that they can be dealt
    /// anew; none where the type has no such values.
    pub vacate: Option<String>,
}

/// The statements of one table.
#[derive(Debug, Clone)]
pub struct TableSql {
    /// Creates the temporary table for rows.
    pub create_temp: String,
    /// Creates the temporary table for keys of deleted rows.
    pub create_temp_deletes: String,
    /// Fills the temporary table.
    pub copy: String,
    /// Fills the temporary table of deletes.
    pub copy_deletes: String,
    /// Writes rows straight into the target, where nothing can be in their way.
    pub copy_direct: String,
    /// Finds what is stale or unchanged: returns `lc_doc` and whether it is stale. Without and
    /// with a look at the tombstones.
    pub classify: [String; 2],
    /// Takes the documents in `$1` out of the temporary table.
    pub take_out: String,
    /// Returns `lc_doc` of the rows whose key is another collection's, after taking them out; where
    /// several fill the table.
    pub take_foreign: Option<String>,
    /// Takes the rows in `$1` out of the temporary table.
    pub take_rows_out: String,
    /// Returns `lc_doc` of the rows that are there in this very version, and locks them.
    pub lock_same: String,
    /// The references of this table.
    pub references: Vec<ReferenceCheck>,
    /// Its second unique keys.
    pub unique: Vec<UniqueCheck>,
    /// Writes what is left.
    pub upsert: String,
    /// For a child table: deletes the rows that the written documents no longer have.
    pub delete_vanished: Option<String>,
    /// Whether a tombstone is newer than one of the rows.
    pub newer_tombstone: String,
    /// Forgets that rows were lost which were written; or those in `$1`, whose documents were
    /// deleted.
    pub forget_lost: [String; 2],
    /// Forgets tombstones of rows that were written.
    pub forget_tombstones: String,
    /// Forgets what is held of rows that were written.
    pub forget_held: String,
    /// Marks open dead letters that the written rows supersede.
    pub supersede_dead_letters: [String; 2],
    /// Returns `lc_doc` and version of the rows to delete.
    pub see_deletes: String,
    /// The same, with the rows locked.
    pub lock_deletes: String,
    /// The same, without those that somebody else has locked.
    pub try_lock_deletes: String,
    /// Returns `lc_doc` and version of the tombstones of the rows to delete.
    pub tombstones_of_deletes: String,
    /// Returns `lc_doc` of the rows to delete that other rows still point to.
    pub referenced_deletes: Vec<String>,
    /// Deletes the rows whose `lc_doc` is in `$1`; for a child table, the rows below them.
    pub delete: String,
    /// Marks the rows whose `lc_doc` is in `$1` as deleted, where they stay.
    pub soft_delete: Option<String>,
    /// Writes tombstones for the rows whose `lc_doc` is in `$1`.
    pub write_tombstones: String,
    /// Marks as held the rows whose `lc_doc` is in `$1`.
    pub hold: String,
    /// Empties the temporary tables, by the row and by the file.
    pub empty: [String; 2],
}

/// Which of the mapping's tables it is, and whose rows. Where the key does not follow from `_id` the
/// guard is kept by the document ([`super::keys`]), and a row's version is that of its document,
/// which may be lower than that of the one before.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its place in the order of writing.
    pub id: TableId,
    /// Its name in Leafcutter's state tables.
    pub state_name: &'a str,
    /// The collection, where several fill the table.
    pub source: Option<&'a str>,
}

struct Names<'a> {
    table: &'a Table,
    temp: String,
    deletes: String,
    target: String,
    literal: String,
    /// The collection as a literal, where several fill the table.
    source: Option<String>,
}

impl Names<'_> {
    fn column(&self, position: usize) -> &Column {
        &self.table.columns[position]
    }

    /// `left.c = right.c and …` for the key columns.
    fn same_key(&self, left: &str, right: &str) -> String {
        self.same(&self.table.key, left, right)
    }

    fn same(&self, columns: &[usize], left: &str, right: &str) -> String {
        let conditions: Vec<_> = columns
            .iter()
            .map(|&c| {
                let name = quote(&self.column(c).name);
                format!("{left}.{name} = {right}.{name}")
            })
            .collect();
        conditions.join(" and ")
    }

    /// The bytes of a row's key as [`crate::transform::Rows::key`] has them.
    fn key_bytes(&self, alias: &str) -> String {
        row_key_bytes(self.table, alias)
    }

    /// Rows that are not another collection's; those of nobody are free.
    fn own(&self, alias: &str) -> String {
        match &self.source {
            Some(source) => format!(" and {alias}.lc_source in ({source}, '')"),
            None => String::new(),
        }
    }

    /// Whether any column beside the key differs.
    fn differs(&self, left: &str, right: &str) -> String {
        let mut conditions = Vec::new();
        for (position, column) in self.table.columns.iter().enumerate() {
            if self.table.key.contains(&position) {
                continue;
            }
            // `json` has no equality; its text is what is stored.
            let cast = if column.pg_type == PgType::Json {
                "::text"
            } else {
                ""
            };
            let name = quote(&column.name);
            conditions.push(format!(
                "{left}.{name}{cast} is distinct from {right}.{name}{cast}"
            ));
        }
        if conditions.is_empty() {
            "false".to_owned()
        } else {
            conditions.join(" or ")
        }
    }
}

/// The bytes of a row's key.
pub(super) fn row_key_bytes(table: &Table, alias: &str) -> String {
    key_bytes(table.key.iter().map(|&position| {
        let column = &table.columns[position];
        (column.pg_type, format!("{alias}.{}", quote(&column.name)))
    }))
}

/// The bytes of the root row's key of a child table's row; of a root's own without tables above.
pub(super) fn root_key_bytes(table: &Table, above: &[(&Table, TableId)], alias: &str) -> String {
    let Some((root, _)) = above.first() else {
        return row_key_bytes(table, alias);
    };
    let repeated = root_columns(table, above);
    key_bytes(root.key.iter().filter_map(|&position| {
        let (own, _) = repeated.iter().find(|(_, of_root)| *of_root == position)?;
        let column = &table.columns[*own];
        Some((column.pg_type, format!("{alias}.{}", quote(&column.name))))
    }))
}

fn key_bytes(columns: impl Iterator<Item = (PgType, String)>) -> String {
    let sent: Vec<String> = columns
        .map(|(pg_type, value)| {
            // A table of the application's may have another type, of other bytes.
            let send = send_function(pg_type);
            format!("{send}({value}::{})", staging_type(pg_type))
        })
        .collect();
    match sent.as_slice() {
        [only] => only.clone(),
        several => several
            .iter()
            .map(|c| format!("int4send(length({c})) || {c}"))
            .collect::<Vec<_>>()
            .join(" || "),
    }
}

/// The definitions of these columns in a temporary table.
pub(super) fn typed(table: &Table, positions: &mut dyn Iterator<Item = usize>) -> String {
    list(positions.map(|p| {
        let column = &table.columns[p];
        format!("{} {}", quote(&column.name), staging_type(column.pg_type))
    }))
}

impl TableSql {
    /// The statements of `table`. `above` are the tables over a child table, its root first;
    /// `referrers` are the (table, column) pairs that point to it.
    pub fn new(
        origin: Origin<'_>,
        table: &Table,
        above: &[(&Table, TableId)],
        referrers: &[(&Table, usize)],
        tables: &dyn Fn(&TableName) -> Option<Table>,
    ) -> Self {
        let id = origin.id;
        let names = Names {
            table,
            temp: format!("pg_temp.lc_{}", id.0),
            deletes: format!("pg_temp.lc_{}_deletes", id.0),
            target: qualified(&table.name),
            literal: literal(origin.state_name),
            source: origin.source.map(literal),
        };
        let n = &names;
        let all = list(table.columns.iter().map(|c| quote(&c.name)));
        let key = list(table.key.iter().map(|&p| quote(&n.column(p).name)));
        let see_deletes = format!(
            "select d.lc_doc, x.lc_version from {} d join {} x on {}{} order by {}",
            n.deletes,
            n.target,
            n.same_key("d", "x"),
            n.own("x"),
            list(
                table
                    .key
                    .iter()
                    .map(|&p| format!("x.{}", quote(&n.column(p).name)))
            )
        );
        let is_root = table.rows == RowSource::Document;
        let version = if is_root { ", lc_version" } else { "" };
        Self {
            create_temp: format!(
                "create temp table if not exists lc_{} ({}, lc_version bigint not null, lc_doc int not null, lc_row int not null)",
                id.0,
                typed(table, &mut (0..table.columns.len()))
            ),
            create_temp_deletes: format!(
                "create temp table if not exists lc_{}_deletes ({}, lc_version bigint not null, lc_doc int not null)",
                id.0,
                typed(table, &mut table.key.iter().copied())
            ),
            copy: format!(
                "copy {} ({all}, lc_version, lc_doc, lc_row) from stdin (format binary)",
                n.temp
            ),
            copy_deletes: format!(
                "copy {} ({key}, lc_version, lc_doc) from stdin (format binary)",
                n.deletes
            ),
            copy_direct: format!(
                "copy {} ({all}{version}) from stdin (format binary)",
                n.target
            ),
            classify: [classify(n, false), classify(n, true)],
            take_out: format!("delete from {} where lc_doc = any($1)", n.temp),
            take_foreign: n.source.is_some().then(|| {
                format!(
                    "delete from {} t using {} x where {} and not (true{}) returning t.lc_doc",
                    n.temp,
                    n.target,
                    n.same_key("x", "t"),
                    n.own("x"),
                )
            }),
            take_rows_out: format!("delete from {} where lc_row = any($1)", n.temp),
            lock_same: format!(
                "select t.lc_doc from {} t join {} x on {} and x.lc_version = t.lc_version \
                 order by {} for no key update of x",
                n.temp,
                n.target,
                n.same_key("t", "x"),
                list(
                    table
                        .key
                        .iter()
                        .map(|&p| format!("x.{}", quote(&n.column(p).name)))
                )
            ),
            references: reference_checks(n, tables),
            unique: table
                .unique
                .iter()
                .map(|columns| unique_check(n, columns))
                .collect(),
            upsert: upsert(n, &all, version, &key),
            delete_vanished: above
                .first()
                .map(|(_, root)| delete_vanished(n, above, *root)),
            newer_tombstone: format!(
                "select exists (select 1 from {} t join leafcutter.tombstones s on s.table_name = {} \
                 and s.row_key = {} where s.version > t.lc_version)",
                n.temp,
                n.literal,
                n.key_bytes("t")
            ),
            forget_lost: [
                forget_lost(n, &n.temp),
                format!("{} and t.lc_doc = any($1)", forget_lost(n, &n.deletes)),
            ],
            forget_tombstones: format!(
                "delete from leafcutter.tombstones s using {} t where s.table_name = {} and s.row_key = {}",
                n.temp,
                n.literal,
                n.key_bytes("t")
            ),
            forget_held: format!(
                "delete from leafcutter.held s using {} t where s.table_name = {} and s.row_key = {}",
                n.temp,
                n.literal,
                n.key_bytes("t")
            ),
            supersede_dead_letters: [supersede(n, &n.temp), supersede(n, &n.deletes)],
            see_deletes: see_deletes.clone(),
            lock_deletes: format!("{see_deletes} for update of x"),
            try_lock_deletes: format!("{see_deletes} for update of x skip locked"),
            tombstones_of_deletes: format!(
                "select d.lc_doc, s.version from {} d join leafcutter.tombstones s on s.table_name = {} and s.row_key = {}",
                n.deletes,
                n.literal,
                n.key_bytes("d")
            ),
            referenced_deletes: referenced_deletes(n, referrers),
            delete: delete(n, above),
            soft_delete: table.soft_delete.map(|column| soft_delete(n, column)),
            write_tombstones: format!(
                "insert into leafcutter.tombstones as s (table_name, row_key, version) \
                 select {}, {}, d.lc_version from {} d where d.lc_doc = any($1) order by 2 \
                 on conflict (table_name, row_key) do update set version = excluded.version \
                 where s.version < excluded.version",
                n.literal,
                n.key_bytes("d"),
                n.deletes
            ),
            hold: format!(
                "insert into leafcutter.held as s (table_name, row_key, version) \
                 select {}, {}, d.lc_version from {} d where d.lc_doc = any($1) order by 2 \
                 on conflict (table_name, row_key) do update set version = excluded.version \
                 where s.version < excluded.version",
                n.literal,
                n.key_bytes("d"),
                n.deletes
            ),
            empty: [
                format!("delete from {}", n.temp),
                format!("truncate {}", n.temp),
            ],
        }
    }
}

fn classify(n: &Names<'_>, tombstones: bool) -> String {
    let same_version = format!(
        "(x.lc_version = t.lc_version and not ({}))",
        n.differs("t", "x")
    );
    if n.table.has_natural_key() {
        return format!(
            "select t.lc_doc, false as stale from {} t join {} x on {} where {same_version}",
            n.temp,
            n.target,
            n.same_key("x", "t"),
        );
    }
    let (join, older, stale) = if tombstones {
        (
            format!(
                "left join leafcutter.tombstones s on s.table_name = {} and s.row_key = {}",
                n.literal,
                n.key_bytes("t")
            ),
            " or s.version > t.lc_version",
            " or coalesce(s.version > t.lc_version, false)",
        )
    } else {
        (String::new(), "", "")
    };
    format!(
        "select t.lc_doc, coalesce(x.lc_version > t.lc_version, false){stale} as stale \
         from {temp} t left join {target} x on {same} {join} \
         where x.lc_version > t.lc_version{older} \
         or {same_version}",
        temp = n.temp,
        target = n.target,
        same = n.same_key("x", "t"),
    )
}

fn reference_checks(
    n: &Names<'_>,
    tables: &dyn Fn(&TableName) -> Option<Table>,
) -> Vec<ReferenceCheck> {
    let mut checks = Vec::new();
    for (position, column) in n.table.columns.iter().enumerate() {
        let Some(reference) = &column.reference else {
            continue;
        };
        if reference.on_missing == OnMissing::Keep {
            continue;
        }
        let Some(parent) = tables(&reference.table) else {
            continue;
        };
        let to_itself = parent.name == n.table.name;
        let name = quote(&column.name);
        let parent_key = quote(&reference.column);
        let also_in_batch = if to_itself {
            format!(
                " and not exists (select 1 from {} p where p.{parent_key} = t.{name})",
                n.temp
            )
        } else {
            String::new()
        };
        checks.push(ReferenceCheck {
            column: position,
            column_name: column.name.clone(),
            full_name: if n.table.rows == RowSource::Document {
                column.name.clone()
            } else {
                format!("{}.{}", n.table.name, column.name)
            },
            parent: parent.name.clone(),
            to_itself,
            take_missing: format!(
                "delete from {temp} t where t.{name} is not null \
                 and not exists (select 1 from {parent} p where p.{parent_key} = t.{name})\
                 {also_in_batch} returning t.lc_doc, t.lc_row",
                temp = n.temp,
                parent = qualified(&parent.name),
            ),
            set_null: format!(
                "update {temp} t set {name} = null where t.lc_doc = any($1) \
                 and t.{name} is not null \
                 and not exists (select 1 from {parent} p where p.{parent_key} = t.{name}) \
                 returning t.lc_doc",
                temp = n.temp,
                parent = qualified(&parent.name),
            ),
        });
    }
    checks
}

/// A value is taken when another row of the target has it, or another row of the batch that goes
/// first: the one that has the value already, then the one with the lower version. Only values that
/// occur twice are ranked.
fn unique_check(n: &Names<'_>, columns: &[usize]) -> UniqueCheck {
    let names: Vec<_> = columns.iter().map(|&c| quote(&n.column(c).name)).collect();
    let values = |alias: &str| list(names.iter().map(|c| format!("{alias}.{c}")));
    let not_null = names
        .iter()
        .map(|c| format!("t.{c} is not null"))
        .collect::<Vec<_>>()
        .join(" and ");
    let other_key = n
        .table
        .key
        .iter()
        .map(|&c| {
            let name = quote(&n.column(c).name);
            format!("x.{name} <> t.{name}")
        })
        .collect::<Vec<_>>()
        .join(" or ");
    let owner = [n.same_key("o", "t"), n.same(columns, "o", "t")].join(" and ");
    let t_values = values("t");
    UniqueCheck {
        columns: columns.to_vec(),
        owners: format!(
            "select t.lc_doc, o.lc_doc from {temp} t join {target} x on {same} \
             join {temp} o on {owner_key} where {other_key}",
            temp = n.temp,
            target = n.target,
            same = n.same(columns, "x", "t"),
            owner_key = n.same_key("o", "x"),
        ),
        vacate: vacate(n, columns),
        take_colliding: format!(
            "with twice as (select {t_values} from {temp} t where {not_null} \
             group by {t_values} having count(*) > 1), \
             taken as (\
             select t.lc_doc from {temp} t join {target} x on {same} where {other_key} \
             union select lc_doc from (select t.lc_doc, row_number() over \
             (partition by {t_values} order by (exists (select 1 from {target} o where {owner})) desc, \
             t.lc_version, t.lc_doc) as place from {temp} t join twice d on {same_twice}) ranked \
             where place > 1) \
             delete from {temp} t using taken k where t.lc_doc = k.lc_doc returning t.lc_doc",
            temp = n.temp,
            target = n.target,
            same = n.same(columns, "x", "t"),
            same_twice = n.same(columns, "d", "t"),
        ),
    }
}

/// One column with a value of its own is enough to keep two rows apart.
fn vacate(n: &Names<'_>, columns: &[usize]) -> Option<String> {
    let (name, free) = columns.iter().find_map(|&position| {
        let column = n.column(position);
        let free = match column.pg_type {
            _ if !column.required => "null".to_owned(),
            PgType::Text => "md5(random()::text)".to_owned(),
            PgType::Varchar(length) if length >= 16 => {
                format!("left(md5(random()::text), {length})")
            }
            PgType::Uuid => "gen_random_uuid()".to_owned(),
            PgType::Varchar(_)
            | PgType::Bool
            | PgType::Int2
            | PgType::Int4
            | PgType::Int8
            | PgType::Float4
            | PgType::Float8
            | PgType::Numeric(_)
            | PgType::Bytea
            | PgType::Date
            | PgType::Timestamp
            | PgType::Timestamptz
            | PgType::Json
            | PgType::Jsonb
            | PgType::Array(_) => return None,
        };
        Some((quote(&column.name), free))
    })?;
    Some(format!(
        "update {} x set {name} = {free} from {} t where {}",
        n.target,
        n.temp,
        n.same_key("x", "t")
    ))
}

fn upsert(n: &Names<'_>, all: &str, version: &str, key: &str) -> String {
    let mut sets: Vec<_> = n
        .table
        .columns
        .iter()
        .enumerate()
        .filter(|(position, _)| !n.table.key.contains(position))
        .map(|(_, column)| format!("{0} = excluded.{0}", quote(&column.name)))
        .collect();
    if !version.is_empty() {
        sets.push("lc_version = excluded.lc_version".to_owned());
    }
    let (source, value) = match &n.source {
        Some(value) => {
            sets.push("lc_source = excluded.lc_source".to_owned());
            (", lc_source", format!(", {value}"))
        }
        None => ("", String::new()),
    };
    let insert = format!(
        "insert into {target} as x ({all}{version}{source}) \
         select {all}{version}{value} from {temp} order by {key} \
         on conflict ({key})",
        target = n.target,
        temp = n.temp,
    );
    if sets.is_empty() {
        return format!("{insert} do nothing");
    }
    let guard = if version.is_empty() {
        n.differs("x", "excluded")
    } else if n.table.has_natural_key() {
        format!(
            "x.lc_version <> excluded.lc_version or {}",
            n.differs("x", "excluded")
        )
    } else {
        format!(
            "(x.lc_version < excluded.lc_version or (x.lc_version = excluded.lc_version and ({}))){}",
            n.differs("x", "excluded"),
            n.own("x")
        )
    };
    format!("{insert} do update set {} where {guard}", sets.join(", "))
}

/// For each of its columns that repeats a key column of its root: the position here and there.
pub(super) fn root_columns(table: &Table, above: &[(&Table, TableId)]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (own, column) in table.columns.iter().enumerate() {
        let ColumnSource::Parent(mut position) = column.source else {
            continue;
        };
        let mut over = above.iter().rev().map(|(table, _)| *table);
        let mut table = over.next();
        while let Some(current) = table {
            match (over.next(), &current.columns[position].source) {
                (None, _) if current.key.contains(&position) => {
                    found.push((own, position));
                    table = None;
                }
                (Some(next), ColumnSource::Parent(higher)) => {
                    position = *higher;
                    table = Some(next);
                }
                _ => table = None,
            }
        }
    }
    found
}

/// `child.c = root.k and …`: a child row's root, or any table of `above` that it begins with, by
/// the columns that repeat its key.
pub(super) fn on_root(
    table: &Table,
    above: &[(&Table, TableId)],
    child: &str,
    root: &str,
) -> String {
    let Some((first, _)) = above.first() else {
        return "true".to_owned();
    };
    let conditions: Vec<String> = root_columns(table, above)
        .into_iter()
        .map(|(own, of_root)| {
            format!(
                "{child}.{} = {root}.{}",
                quote(&table.columns[own].name),
                quote(&first.columns[of_root].name)
            )
        })
        .collect();
    conditions.join(" and ")
}

fn delete_vanished(n: &Names<'_>, above: &[(&Table, TableId)], root: TableId) -> String {
    format!(
        "delete from {target} c using pg_temp.lc_{root} w where {same_root} \
         and not exists (select 1 from {temp} t where {same})",
        target = n.target,
        root = root.0,
        same_root = on_root(n.table, above, "c", "w"),
        temp = n.temp,
        same = n.same_key("t", "c"),
    )
}

fn supersede(n: &Names<'_>, temp: &str) -> String {
    format!(
        "update leafcutter.dead_letters d set state = 'superseded' from {temp} t \
         where d.state = 'open' and d.table_name = {} and d.row_key = {} and d.version <= t.lc_version",
        n.literal,
        n.key_bytes("t")
    )
}

fn forget_lost(n: &Names<'_>, temp: &str) -> String {
    format!(
        "delete from leafcutter.lost l using {temp} t where l.table_name = {} and l.row_key = {}",
        n.literal,
        n.key_bytes("t")
    )
}

/// Rows that are deleted together with what they point to do not hold it.
fn referenced_deletes(n: &Names<'_>, referrers: &[(&Table, usize)]) -> Vec<String> {
    let key = n
        .table
        .key
        .first()
        .map(|&p| quote(&n.column(p).name))
        .unwrap_or_default();
    referrers
        .iter()
        .map(|(table, column)| {
            let itself = if table.name == n.table.name {
                format!(
                    " and not exists (select 1 from {} e where {})",
                    n.deletes,
                    n.same_key("e", "r")
                )
            } else {
                String::new()
            };
            format!(
                "select d.lc_doc from {deletes} d where exists \
                 (select 1 from {referrer} r where r.{column} = d.{key}{itself})",
                deletes = n.deletes,
                referrer = qualified(&table.name),
                column = quote(&table.columns[*column].name),
            )
        })
        .collect()
}

/// The time of a delete is its cluster time's, whose seconds stand above 31 bits.
fn soft_delete(n: &Names<'_>, column: usize) -> String {
    format!(
        "update {} x set {} = to_timestamp((d.lc_version >> 31)::float8), lc_version = d.lc_version \
         from {} d where {} and d.lc_doc = any($1){}",
        n.target,
        quote(&n.column(column).name),
        n.deletes,
        n.same_key("x", "d"),
        n.own("x"),
    )
}

fn delete(n: &Names<'_>, above: &[(&Table, TableId)]) -> String {
    let (deletes, same) = match above.first() {
        None => (n.deletes.clone(), n.same_key("x", "d")),
        Some((_, root)) => (
            format!("pg_temp.lc_{}_deletes", root.0),
            on_root(n.table, above, "x", "d"),
        ),
    };
    format!(
        "delete from {} x using {deletes} d where {same} and d.lc_doc = any($1){}",
        n.target,
        n.own("x")
    )
}
