//! SQL text for a table of the mapping.
//!
//! Rows of a batch stand in a temporary table of the session (`lc_<table>`), with the row's
//! version and two positions beside the target's columns: `lc_doc` is the document's place in the
//! batch, `lc_row` the row's. Statements then narrow that table down until it holds exactly what is
//! to be written, and write it. Values never stand in the text; they come by COPY or as
//! parameters.

mod cascade;
mod checks;
mod columns;
mod deletes;
mod equality;
pub mod owner;
mod places;
mod upserts;
mod suppressed;
mod swept;

pub use cascade::{CascadePlace, CascadeSql, Change, Referrer, Write};
pub use checks::{ReferenceCheck, UniqueCheck};
pub(crate) use columns::root_columns;
pub use places::ByTarget;

use crate::{
    ids::TableId,
    names::{list, literal, qualified, quote},
};
use checks::{reference_checks, unique_check};
use columns::{Names, among, deletes_table, typed};
use deletes::{delete, delete_changed, delete_vanished, referenced_deletes, soft_delete};
use leafcutter_schemas::mapping::{RowSource, Table, TableName};
use upserts::{classify, upsert};

/// The statements of one table.
#[derive(Debug, Clone)]
pub struct TableSql {
    /// The temporary table of rows.
    pub temp: String,
    /// The temporary table of keys of rows that are to be deleted.
    pub temp_deletes: String,
    /// Creates the temporary tables.
    pub create_temp: String,
    /// Fills the temporary table.
    pub copy: String,
    /// Fills the temporary table of deletes.
    pub copy_deletes: String,
    /// Writes rows straight into the target, where nothing can be in their way.
    pub copy_direct: String,
    /// Finds what is stale or unchanged: returns `lc_doc` and whether it is stale.
    pub classify: String,
    /// Takes the documents in `$1` out of the temporary table.
    pub take_out: String,
    /// Returns `lc_doc` of the rows whose key is another's, after taking them out; where a key alone does
    /// not say whose it is ([`owner`]).
    pub take_foreign: Option<String>,
    /// Frees the rows to delete, where rows say whose they are and these have to stay.
    pub disown: Option<ByTarget>,
    /// Returns `lc_doc` of the rows to delete and whose they are, document and collection, where rows say so.
    pub owners: Option<String>,
    /// Takes the rows in `$1` out of the temporary table.
    pub take_rows_out: String,
    /// Returns `lc_doc` of the rows that are there in this very version, and locks them.
    pub lock_same: String,
    /// The references of this table.
    pub references: Vec<ReferenceCheck>,
    /// Its further unique keys.
    pub unique: Vec<UniqueCheck>,
    /// Writes what is left.
    pub upsert: String,
    /// The same, and returns `lc_doc` of the rows that were not written.
    pub upsert_seen: String,
    /// For a child table: returns `lc_doc` of the written documents that still have rows which they no
    /// longer have.
    pub vanished_left: Option<String>,
    /// Returns those of the documents in `$1` of which rows are still there after `delete`.
    pub delete_left: String,
    /// For a child table: deletes the rows that the written documents no longer have.
    pub delete_vanished: Option<ByTarget>,
    /// For a child table with further unique keys: deletes the rows whose values there change, with those
    /// below them, so that rows can hand values to each other. They are written anew.
    pub delete_changed: Vec<ByTarget>,
    /// Returns `lc_doc` and version of the rows to delete.
    pub see_deletes: String,
    /// Returns `lc_doc` of the keys of which there is a row, whoever's.
    pub see_arrived: String,
    /// As `see_deletes`, with the rows locked.
    pub lock_deletes: String,
    /// The same, without those that another session has locked.
    pub try_lock_deletes: String,
    /// Returns `lc_doc` of the rows to delete that other rows still reference.
    pub referenced_deletes: Vec<String>,
    /// Takes the rows in `$1` out of those to delete.
    pub keep: String,
    /// Deletes the rows whose `lc_doc` is in `$1`; for a child table, the rows below them.
    pub delete: ByTarget,
    /// Marks the rows whose `lc_doc` is in `$1` as deleted, where they stay.
    pub soft_delete: Option<ByTarget>,
    /// Adds the rows below version `$2` that were not seen to what is gone, for the root table `$1`; none
    /// where the key map tells whose rows are whose.
    pub gone: Option<String>,
    /// How many rows Leafcutter has written here.
    pub count_written: String,
}

impl TableSql {
    /// The statements of the table at this place in the order of writing. `source` is the collection,
    /// where several fill the table; `above` are the tables over a child table, its root first;
    /// `referrers` are the (table, column) pairs that point to it.
    ///
    /// Where the key does not follow from `_id` the guard is kept by the document
    /// ([`crate::write::by_document`]), and a row's version is that of its document, which may be lower
    /// than that of the one before.
    pub fn new(
        (id, source): (TableId, Option<&str>),
        table: &Table,
        above: &[(&Table, TableId)],
        referrers: &[(&Table, usize)],
        tables: &dyn Fn(&TableName) -> Option<Table>,
    ) -> Self {
        let names = Names {
            table,
            temp: format!("pg_temp.lc_{}", id.0),
            deletes: deletes_table(id),
            target: qualified(&table.name),
            source: source.map(literal),
            collection: source,
            keeps_document: table.documents_may_share_key(),
        };
        let n = &names;
        let all = list(table.columns.iter().map(|c| quote(&c.name)));
        let key = n.key_list("");
        let document = n.document_column();
        // In the order of keys, as every transaction locks.
        let deletes = |lock: &str| {
            format!(
                "select d.lc_doc, x.lc_version from (select * from {} order by {key}) d {}",
                n.deletes,
                n.each_by_key("d", &n.own_to_delete("x", "d"), lock),
            )
        };
        let is_root = table.rows == RowSource::Document;
        let version = if is_root { ", lc_version" } else { "" };
        Self {
            create_temp: create_temp(n, is_root),
            copy: format!(
                "copy {} ({all}, lc_version, lc_doc, lc_row{document}) from stdin (format binary)",
                n.temp
            ),
            copy_deletes: format!(
                "copy {} ({key}, lc_version, lc_doc{document}) from stdin (format binary)",
                n.deletes
            ),
            copy_direct: format!(
                "copy {} ({all}{version}{document}) from stdin (format binary)",
                n.target
            ),
            classify: classify(n),
            take_out: format!("delete from {} where {}", n.temp, among("lc_doc")),
            take_foreign: owner::take_foreign(n),
            disown: owner::disown(n),
            owners: owner::owners(n),
            take_rows_out: format!("delete from {} where {}", n.temp, among("lc_row")),
            lock_same: upserts::lock_same(n),
            references: reference_checks(n, tables),
            unique: table
                .unique
                .iter()
                .map(|columns| unique_check(n, columns))
                .collect(),
            upsert_seen: suppressed::upsert_seen(n, &upsert(n, &all, version, &key), is_root),
            vanished_left: above
                .first()
                .map(|(_, root)| suppressed::vanished_left(n, above, *root)),
            delete_left: suppressed::delete_left(n, above),
            upsert: upsert(n, &all, version, &key),
            delete_vanished: above
                .first()
                .map(|(_, root)| delete_vanished(n, above, *root)),
            delete_changed: if is_root {
                Vec::new()
            } else {
                delete_changed(n, id)
            },
            see_arrived: format!(
                "select d.lc_doc from {} d where exists (select 1 from {} x where {} offset 0)",
                n.deletes,
                n.target,
                n.same_key("x", "d")
            ),
            lock_deletes: deletes("for update"),
            try_lock_deletes: deletes("for update skip locked"),
            see_deletes: deletes(""),
            referenced_deletes: referenced_deletes(n, referrers),
            keep: format!("delete from {} where {}", n.deletes, among("lc_doc")),
            delete: delete(n, above),
            soft_delete: table.soft_delete.map(|column| soft_delete(n, column)),
            gone: is_root.then(|| swept::gone(n)).flatten(),
            count_written: swept::count_written(n),
            temp: names.temp,
            temp_deletes: names.deletes,
        }
    }
}

fn create_temp(n: &Names<'_>, is_root: bool) -> String {
    let create = |table: &str, columns: &str| {
        let name = table.trim_start_matches("pg_temp.");
        format!("create temp table if not exists {name} ({columns}, lc_doc int not null")
    };
    let columns = format!(
        "{}, lc_version bigint not null",
        typed(n.table, &mut (0..n.table.columns.len()))
    );
    let document = if n.keeps_document {
        ", lc_document bytea"
    } else {
        ""
    };
    let mut sql = format!(
        "{}, lc_row int not null{document})",
        create(&n.temp, &columns)
    );
    if is_root {
        let key = format!(
            "{}, lc_version bigint not null",
            typed(n.table, &mut n.table.key.iter().copied())
        );
        sql.push_str(&format!("; {}{document})", create(&n.deletes, &key)));
    }
    sql.push_str(&equality::of_target(n));
    sql
}
