//! SQL text for a table of the mapping: the only place that quotes an identifier.
//!
//! Rows of a batch stand in a temporary table of the session (`lc_<table>`), with the row's
//! version and two ordinals beside the target's columns: `lc_doc` is the document's place in the
//! batch, `lc_row` the row's. Statements then narrow that table down until it holds exactly what is
//! to be written, and write it. Values never stand in the text; they come by COPY or as
//! parameters.

mod checks;
mod deletes;
mod names;
mod upserts;

pub use names::{literal, qualified, quote};
pub(super) use names::{on_root, root_columns, root_key_bytes, row_key_bytes, typed};

use crate::transform::TableId;
use checks::{reference_checks, unique_check};
use deletes::{delete, delete_vanished, referenced_deletes, soft_delete};
use leafcutter_schemas::mapping::{RowSource, Table, TableName};
use names::{Names, list};
use upserts::{classify, upsert};

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
        let keys = table.key.iter();
        let keys_of_x = list(keys.map(|&p| format!("x.{}", quote(&n.column(p).name))));
        let see_deletes = format!(
            "select d.lc_doc, x.lc_version from {} d join {} x on {}{} order by {}",
            n.deletes,
            n.target,
            n.same_key("d", "x"),
            n.own("x"),
            keys_of_x
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
                keys_of_x
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
                forget(n, "lost", &n.temp),
                format!("{} and t.lc_doc = any($1)", forget(n, "lost", &n.deletes)),
            ],
            forget_tombstones: forget(n, "tombstones", &n.temp),
            forget_held: forget(n, "held", &n.temp),
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
            write_tombstones: remember(n, "tombstones"),
            hold: remember(n, "held"),
            empty: [
                format!("delete from {}", n.temp),
                format!("truncate {}", n.temp),
            ],
        }
    }
}

fn supersede(n: &Names<'_>, temp: &str) -> String {
    format!(
        "update leafcutter.dead_letters d set state = 'superseded' from {temp} t \
         where d.state = 'open' and d.table_name = {} and d.row_key = {} and d.version <= t.lc_version",
        n.literal,
        n.key_bytes("t")
    )
}

/// Notes the versions of deleted rows in one of Leafcutter's tables.
fn remember(n: &Names<'_>, state: &str) -> String {
    format!(
        "insert into leafcutter.{state} as s (table_name, row_key, version) \
         select {}, {}, d.lc_version from {} d where d.lc_doc = any($1) order by 2 \
         on conflict (table_name, row_key) do update set version = excluded.version \
         where s.version < excluded.version",
        n.literal,
        n.key_bytes("d"),
        n.deletes
    )
}

/// Forgets what one of Leafcutter's tables says of these rows.
fn forget(n: &Names<'_>, state: &str, temp: &str) -> String {
    format!(
        "delete from leafcutter.{state} s using {temp} t where s.table_name = {} and s.row_key = {}",
        n.literal,
        n.key_bytes("t")
    )
}
