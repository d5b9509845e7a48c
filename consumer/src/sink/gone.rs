//! SQL text for what goes, or changes, with a deleted row: `on_delete` of the references to it.
//!
//! Beside each root table that has such references, or that goes with another, stands a temporary
//! table `lc_<table>_gone`: the keys of its rows that are to go, with the ordinal of the delete that
//! takes them along. It begins with the deleted rows themselves and grows by those that point to
//! them with `cascade`, until nothing is added; what points there with `hold` takes a whole delete
//! out again.

use super::statement::{literal, on_root, qualified, quote, root_key_bytes, row_key_bytes, typed};
use crate::transform::TableId;
use leafcutter_schemas::mapping::{OnDelete, Table};

/// A table as references see it.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its place in the order of writing.
    pub id: TableId,
    /// The tables above it, its root first; none for a root.
    pub above: Vec<(&'a Table, TableId)>,
    /// The tables below it, parents first, each with all above it.
    pub below: Vec<(&'a Table, Vec<(&'a Table, TableId)>)>,
}

impl<'a> Place<'a> {
    fn root(&self) -> (&'a Table, TableId) {
        self.above.first().copied().unwrap_or((self.table, self.id))
    }

    /// Conditions that a row of this table belongs to that row of its root table.
    fn on_root(&self, own: &str, root: &str) -> String {
        if self.above.is_empty() {
            same_key(self.table, own, root)
        } else {
            on_root(self.table, &self.above, own, root)
        }
    }
}

/// Rows that are changed though their document stays: references set to null, child rows deleted.
#[derive(Debug, Clone)]
pub struct Change {
    /// How many rows there are for each `lc_doc`, and the newest version of their documents.
    pub count: String,
    /// `lc_doc` of those that nobody else has locked, which are locked then.
    pub lock: String,
    /// Lists the documents.
    pub list: String,
    /// The change itself, in this order.
    pub write: Vec<String>,
}

/// The statements of one root table.
#[derive(Debug, Clone)]
pub struct GoneSql {
    /// Creates the temporary table.
    pub create_temp: String,
    /// Begins with the rows to delete whose `lc_doc` is in `$1`.
    pub seed: String,
    /// Adds what goes with the rows of this table.
    pub reach: Vec<String>,
    /// Returns `lc_doc` where a row points here that holds.
    pub holders: Vec<String>,
    /// How many rows go for each `lc_doc`, and the newest of their versions.
    pub count: String,
    /// `lc_doc` of those that nobody else has locked, which are locked then.
    pub lock: String,
    /// What changes with the rows of this table.
    pub changes: Vec<Change>,
    /// Lists the documents that go with rows of this table.
    pub list: Vec<String>,
    /// Takes the deletes in `$1` out.
    pub leave: String,
    /// Writes tombstones for the rows that go with others.
    pub tombstones: String,
    /// Forgets what is held of them.
    pub forget_held: String,
    /// Deletes the rows below, then the rows.
    pub delete: Vec<String>,
    /// Empties the temporary table.
    pub empty: String,
    /// This table and those whose rows may go with its own, referring ones first.
    pub reaches: Vec<TableId>,
    /// The root tables of what goes or changes with its rows.
    pub takes: Vec<TableId>,
}

fn same_key(table: &Table, left: &str, right: &str) -> String {
    let conditions: Vec<_> = table
        .key
        .iter()
        .map(|&p| {
            let name = quote(&table.columns[p].name);
            format!("{left}.{name} = {right}.{name}")
        })
        .collect();
    conditions.join(" and ")
}

fn key_list(table: &Table, alias: &str) -> String {
    let names = table.key.iter().map(|&p| {
        let name = quote(&table.columns[p].name);
        if alias.is_empty() {
            name
        } else {
            format!("{alias}.{name}")
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

fn gone(id: TableId) -> String {
    format!("pg_temp.lc_{}_gone", id.0)
}

/// A reference to the table, as its referring side: the place, the column, what becomes of it.
pub type Referrer<'a> = (Place<'a>, usize, OnDelete);

impl GoneSql {
    /// The statements of `own`, which these references point to. `involved` tells the root tables
    /// that have such statements.
    pub fn new(
        own: &Place<'_>,
        referrers: &[Referrer<'_>],
        involved: &dyn Fn(TableId) -> bool,
        reaches: Vec<TableId>,
    ) -> Self {
        let (table, id) = (own.table, own.id);
        let target = qualified(&table.name);
        let (gone, deletes) = (gone(id), format!("pg_temp.lc_{}_deletes", id.0));
        let state = literal(&table.name.to_string());
        let mut sql = Self {
            create_temp: format!(
                "create temp table if not exists lc_{}_gone ({}, lc_version bigint not null, lc_doc int not null)",
                id.0,
                typed(table, &mut table.key.iter().copied())
            ),
            seed: format!(
                "insert into {gone} ({key}, lc_version, lc_doc) \
                 select {x_key}, x.lc_version, d.lc_doc from {deletes} d join {target} x on {same} \
                 where d.lc_doc = any($1)",
                key = key_list(table, ""),
                x_key = key_list(table, "x"),
                same = same_key(table, "x", "d"),
            ),
            reach: Vec::new(),
            holders: Vec::new(),
            count: format!("select lc_doc, count(*), max(lc_version) from {gone} group by 1"),
            lock: format!(
                "select g.lc_doc from {gone} g join {target} x on {} order by {} \
                 for update of x skip locked",
                same_key(table, "x", "g"),
                key_list(table, "x"),
            ),
            changes: Vec::new(),
            list: Vec::new(),
            leave: format!("delete from {gone} where lc_doc = any($1)"),
            tombstones: format!(
                "insert into leafcutter.tombstones as s (table_name, row_key, version) \
                 select {state}, {bytes}, g.lc_version from {gone} g \
                 where not exists (select 1 from {deletes} d where {same}) order by 2 \
                 on conflict (table_name, row_key) do update set version = excluded.version \
                 where s.version < excluded.version",
                bytes = row_key_bytes(table, "g"),
                same = same_key(table, "d", "g"),
            ),
            forget_held: format!(
                "delete from leafcutter.held s using {gone} g \
                 where s.table_name = {state} and s.row_key = {}",
                row_key_bytes(table, "g"),
            ),
            delete: own
                .below
                .iter()
                .rev()
                .map(|(child, above)| {
                    let name = qualified(&child.name);
                    let belongs = on_root(child, above, "x", "g");
                    format!("delete from {name} x using {gone} g where {belongs}")
                })
                .collect(),
            empty: format!("delete from {gone}"),
            reaches,
            takes: Vec::new(),
        };
        sql.delete.push(format!(
            "delete from {target} x using {gone} g where {}",
            same_key(table, "x", "g")
        ));
        for (place, column, on_delete) in referrers {
            sql.add(own, place, *column, *on_delete, involved);
        }
        sql
    }

    fn add(
        &mut self,
        own: &Place<'_>,
        place: &Place<'_>,
        column: usize,
        on_delete: OnDelete,
        involved: &dyn Fn(TableId) -> bool,
    ) {
        let referring = qualified(&place.table.name);
        let name = quote(&place.table.columns[column].name);
        let points = format!("r.{name} = g.{}", key_list(own.table, ""));
        let here = gone(own.id);
        let (root, root_id) = place.root();
        let there = gone(root_id);
        // A row that goes itself is nobody's obstacle and needs no change.
        let stays = if involved(root_id) {
            let same = place.on_root("r", "o");
            format!(" and not exists (select 1 from {there} o where {same})")
        } else {
            String::new()
        };
        let pointing = format!("from {here} g join {referring} r on {points}");
        let column_name = &place.table.columns[column].name;
        let reference = if place.above.is_empty() {
            column_name.clone()
        } else {
            format!("{}.{column_name}", place.table.name)
        };
        let list = |word: &str, stays: &str| {
            format!(
                "insert into leafcutter.lost (table_name, row_key, column_name, parent_table, parent_key, on_delete) \
                 select {}, {}, {}, {}, {}, '{word}' {pointing} where true{stays} order by 2 \
                 on conflict do nothing",
                literal(&root.name.to_string()),
                root_key_bytes(place.table, &place.above, "r"),
                literal(&reference),
                literal(&own.table.name.to_string()),
                row_key_bytes(own.table, "g"),
            )
        };
        let write = match (on_delete, place.above.is_empty()) {
            (OnDelete::Hold, _) => {
                let held = format!("select distinct g.lc_doc {pointing} where true{stays}");
                self.holders.push(held);
                return;
            }
            (OnDelete::Cascade, true) => {
                self.reach.push(format!(
                    "insert into {there} ({key}, lc_version, lc_doc) \
                     select {r_key}, r.lc_version, min(g.lc_doc) {pointing} where true{stays} \
                     group by {r_key}, r.lc_version",
                    key = key_list(place.table, ""),
                    r_key = key_list(place.table, "r"),
                ));
                self.takes.push(root_id);
                // What is deleted itself is not lost.
                let kept = format!(
                    " and not exists (select 1 from pg_temp.lc_{}_deletes o where {})",
                    root_id.0,
                    same_key(place.table, "r", "o")
                );
                self.list.push(list("cascade", &kept));
                return;
            }
            (OnDelete::Cascade, false) => {
                let mut write: Vec<String> = place
                    .below
                    .iter()
                    .rev()
                    .map(|(child, above)| {
                        let belongs = on_root(child, above, "x", "r");
                        let name = qualified(&child.name);
                        format!(
                            "delete from {name} x using {here} g, {referring} r \
                             where {points} and {belongs}{stays}"
                        )
                    })
                    .collect();
                write.push(format!(
                    "delete from {referring} r using {here} g where {points}{stays}"
                ));
                write
            }
            (OnDelete::SetNull, _) => vec![format!(
                "update {referring} r set {name} = null from {here} g where {points}{stays}"
            )],
        };
        self.takes.push(root_id);
        let word = if on_delete == OnDelete::Cascade {
            "cascade"
        } else {
            "set-null"
        };
        // The root row's lock keeps other writers of the document away.
        let (with_root, root_row, root_lock) = if place.above.is_empty() {
            (String::new(), "r", "")
        } else {
            let belongs = place.on_root("r", "x");
            (
                format!(" join {} x on {belongs}", qualified(&root.name)),
                "x",
                " for no key update of x skip locked",
            )
        };
        self.changes.push(Change {
            count: format!(
                "select g.lc_doc, count(*), max({root_row}.lc_version) {pointing}{with_root} \
                 where true{stays} group by 1"
            ),
            lock: format!(
                "select g.lc_doc {pointing}{with_root} where true{stays} \
                 for update of r skip locked{root_lock}"
            ),
            list: list(word, &stays),
            write,
        });
    }
}
