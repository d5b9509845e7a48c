//! SQL text for what goes, or changes, with a deleted row: `on_delete` of the references to it.
//!
//! Beside each root table that has such references, or that goes with another, stands a temporary
//! table `lc_<table>_cascade`: the keys of its rows that are to go, with the ordinal of the delete that
//! takes them along. It begins with the deleted rows themselves and grows by those that point to
//! them with `cascade`, until nothing is added; what points there with `hold` takes a whole delete
//! out again.

use super::{
    columns::{
        among, deletes_table, each_below, leads_to_root, on_root, root_key_bytes, row_key_bytes,
        typed,
    },
    owner::is_free,
    places::{ByTarget, delete_at, each, each_place, update_at},
};
use crate::{
    ids::TableId,
    names::{list, literal, qualified, quote},
    state::{cascaded_rows::Cascaded, held, tombstones},
};
use leafcutter_schemas::mapping::{OnDelete, Table};

/// A table as references see it.
#[derive(Debug, Clone)]
pub struct CascadePlace<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its place in the order of writing.
    pub id: TableId,
    /// The tables above it, its root first; none for a root.
    pub above: Vec<(&'a Table, TableId)>,
    /// The tables below it, parents first, each with all above it.
    pub below: Vec<(&'a Table, Vec<(&'a Table, TableId)>)>,
}

impl<'a> CascadePlace<'a> {
    /// A column behind others that says whose a row is, of a root table whose rows say so.
    fn document(&self, alias: &str) -> String {
        if self.table.documents_may_share_key() {
            format!(", {alias}lc_document")
        } else {
            String::new()
        }
    }

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

/// A statement that deletes or changes rows, and one that tells what it should have and did not: the target may
/// swallow it without an error (`docs/protocol.md`, B1).
#[derive(Debug, Clone)]
pub struct Write {
    /// The statement.
    pub sql: ByTarget,
    /// `lc_doc` of the deletes of which something is left.
    pub left: String,
    /// The table.
    pub table: String,
}

impl Write {
    fn new(table: &Table, sql: ByTarget, left: &str) -> Self {
        Self {
            sql,
            left: format!("select distinct g.lc_doc {left}"),
            table: table.name.to_string(),
        }
    }
}

/// Rows that are changed though their document stays: references set to null, child rows deleted.
#[derive(Debug, Clone)]
pub struct Change {
    /// How many rows there are for each `lc_doc`, and the newest version of their documents.
    pub count: String,
    /// `lc_doc` of those that no other session has locked, which are locked then.
    pub lock: String,
    /// Lists the documents.
    pub list: String,
    /// The change itself, in this order.
    pub write: Vec<Write>,
}

/// The statements of one root table.
#[derive(Debug, Clone)]
pub struct CascadeSql {
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
    /// `lc_doc` of those that no other session has locked, which are locked then.
    pub lock: String,
    /// What changes with the rows of this table.
    pub changes: Vec<Change>,
    /// Lists the documents that go with rows of this table.
    pub list: Vec<String>,
    /// Takes the deletes in `$1` out.
    pub leave: String,
    /// Writes tombstones for the rows that go with others.
    pub tombstones: Vec<String>,
    /// They are held no more.
    pub remove_held: String,
    /// Deletes the rows below, then the rows.
    pub delete: Vec<Write>,
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
    list(table.key.iter().map(|&p| {
        let name = quote(&table.columns[p].name);
        if alias.is_empty() {
            name
        } else {
            format!("{alias}.{name}")
        }
    }))
}

fn cascading(id: TableId) -> String {
    format!("pg_temp.lc_{}_cascade", id.0)
}

/// Tombstones for the rows that go with others: under the key by which the guard knows them; where that
/// is the document's, under the row's too ([`tombstones::of_rows`]).
fn leave_tombstones(own: &CascadePlace<'_>, state: &str) -> Vec<String> {
    let (rows, deletes) = (cascading(own.id), deletes_table(own.id));
    let from = format!(
        "{rows} g where not exists (select 1 from {deletes} d where {})",
        same_key(own.table, "d", "g")
    );
    let row_key = row_key_bytes(own.table, "g");
    if !own.table.documents_may_share_key() {
        return vec![tombstones::insert(state, &from, (&row_key, "g.lc_version"))];
    }
    let known = format!("{from} and g.lc_document <> '' and not {}", is_free("g"));
    let of_rows = literal(&tombstones::of_rows(&own.table.name.to_string()));
    vec![
        tombstones::insert(state, &known, ("g.lc_document", "g.lc_version")),
        tombstones::insert(&of_rows, &from, (&row_key, "g.lc_version")),
    ]
}

/// Deletes the rows of a table that belong to rows that go: their own, or those below them.
fn delete_going(table: &Table, above: &[(&Table, TableId)], rows: &str) -> Write {
    let name = qualified(&table.name);
    let (belongs, leads) = if above.is_empty() {
        (same_key(table, "x", "g"), true)
    } else {
        (on_root(table, above, "x", "g"), leads_to_root(table, above))
    };
    let places = format!(
        "select x.ctid as place from {rows} g {}",
        each_place(&name, "x", &belongs)
    );
    let sql = ByTarget {
        by_keys: format!("delete from {name} x using {rows} g where {belongs}"),
        by_places: leads.then(|| delete_at(&name, &places)),
    };
    let left = if leads {
        each(&name, "x", &belongs, "")
    } else {
        format!("join {name} x on {belongs}")
    };
    Write::new(table, sql, &format!("from {rows} g {left}"))
}

/// A reference to the table, as its referring side: the place, the column, what becomes of it.
pub type Referrer<'a> = (CascadePlace<'a>, usize, OnDelete);

impl CascadeSql {
    /// The statements of `own`, which these references point to. `involved` tells the root tables
    /// that have such statements.
    pub fn new(
        own: &CascadePlace<'_>,
        referrers: &[Referrer<'_>],
        involved: &dyn Fn(TableId) -> bool,
        reaches: Vec<TableId>,
    ) -> Self {
        let (table, id) = (own.table, own.id);
        let target = qualified(&table.name);
        let (rows, deletes) = (cascading(id), deletes_table(id));
        let state = literal(&table.name.to_string());
        let document = own.document("");
        let mut sql = Self {
            create_temp: format!(
                "create temp table if not exists lc_{}_cascade \
                 ({}, lc_version bigint not null, lc_doc int not null{})",
                id.0,
                typed(table, &mut table.key.iter().copied()),
                if document.is_empty() {
                    ""
                } else {
                    ", lc_document bytea"
                },
            ),
            seed: format!(
                "insert into {rows} ({key}, lc_version, lc_doc{document}) \
                 select {x_key}, x.lc_version, d.lc_doc{} from (select * from {deletes} d where {}) d {}",
                own.document("x."),
                among("d.lc_doc"),
                each(&target, "x", &same_key(table, "x", "d"), ""),
                key = key_list(table, ""),
                x_key = key_list(table, "x"),
            ),
            reach: Vec::new(),
            holders: Vec::new(),
            count: format!("select lc_doc, count(*), max(lc_version) from {rows} group by 1"),
            lock: format!(
                "select g.lc_doc from (select * from {rows} order by {}) g {}",
                key_list(table, ""),
                each(
                    &target,
                    "x",
                    &same_key(table, "x", "g"),
                    "for update skip locked"
                ),
            ),
            changes: Vec::new(),
            list: Vec::new(),
            leave: format!("delete from {rows} where {}", among("lc_doc")),
            tombstones: leave_tombstones(own, &state),
            remove_held: held::remove_all(&state, &format!("{rows} g"), &row_key_bytes(table, "g")),
            delete: own
                .below
                .iter()
                .rev()
                .map(|(child, above)| delete_going(child, above, &rows))
                .chain([delete_going(table, &[], &rows)])
                .collect(),
            empty: format!("delete from {rows}"),
            reaches,
            takes: Vec::new(),
        };
        for (place, column, on_delete) in referrers {
            sql.add(own, place, *column, *on_delete, involved);
        }
        sql
    }

    fn add(
        &mut self,
        own: &CascadePlace<'_>,
        place: &CascadePlace<'_>,
        column: usize,
        on_delete: OnDelete,
        involved: &dyn Fn(TableId) -> bool,
    ) {
        let referring = qualified(&place.table.name);
        let name = quote(&place.table.columns[column].name);
        let points = format!("r.{name} = g.{}", key_list(own.table, ""));
        let here = cascading(own.id);
        let (root, root_id) = place.root();
        let there = cascading(root_id);
        // A row that goes itself blocks nothing and needs no change.
        let stays = if involved(root_id) {
            let same = place.on_root("r", "o");
            format!(" and not exists (select 1 from {there} o where {same})")
        } else {
            String::new()
        };
        let pointing = format!("from {here} g {}", each(&referring, "r", &points, ""));
        let pointing_still = format!("{pointing} where true{stays}");
        let places = each_place(&referring, "r", &points);
        let places = format!("select r.ctid as place from {here} g {places} where true{stays}");
        let column_name = &place.table.columns[column].name;
        let reference = if place.above.is_empty() {
            column_name.clone()
        } else {
            format!("{}.{column_name}", place.table.name)
        };
        let list = |word: &str, stays: &str| {
            let listed = Cascaded {
                table: &literal(&root.name.to_string()),
                key: &root_key_bytes(place.table, &place.above, "r"),
                column: &literal(&reference),
                parent_table: &literal(&own.table.name.to_string()),
                parent_key: &row_key_bytes(own.table, "g"),
                on_delete: &literal(word),
            };
            listed.insert(&format!("{pointing} where true{stays}"))
        };
        let write = match (on_delete, place.above.is_empty()) {
            (OnDelete::Hold, _) => {
                let held = format!("select distinct g.lc_doc {pointing} where true{stays}");
                self.holders.push(held);
                return;
            }
            (OnDelete::Cascade, true) => {
                self.reach.push(format!(
                    "insert into {there} ({key}, lc_version, lc_doc{document}) \
                     select {r_key}, r.lc_version, min(g.lc_doc){of_r} {pointing} where true{stays} \
                     group by {r_key}, r.lc_version{of_r}",
                    document = place.document(""),
                    of_r = place.document("r."),
                    key = key_list(place.table, ""),
                    r_key = key_list(place.table, "r"),
                ));
                self.takes.push(root_id);
                // What is deleted itself did not go with a parent.
                let kept = format!(
                    " and not exists (select 1 from {} o where {})",
                    deletes_table(root_id),
                    same_key(place.table, "r", "o")
                );
                self.list.push(list("cascade", &kept));
                return;
            }
            (OnDelete::Cascade, false) => {
                let mut write: Vec<Write> = place
                    .below
                    .iter()
                    .rev()
                    .map(|(child, above)| {
                        let name = qualified(&child.name);
                        let belongs = on_root(child, above, "x", "r");
                        let by_keys = format!(
                            "delete from {name} x using {here} g, {referring} r \
                             where {points} and {belongs}{stays}"
                        );
                        let places = format!(
                            "select x.ctid as place {pointing} {} where true{stays}",
                            each_place(&name, "x", &belongs)
                        );
                        let by_places =
                            leads_to_root(child, above).then(|| delete_at(&name, &places));
                        let left = each_below((&name, child), above, "x", &belongs);
                        let left = format!("{pointing} {left} where true{stays}");
                        Write::new(child, ByTarget { by_keys, by_places }, &left)
                    })
                    .collect();
                let delete = ByTarget {
                    by_keys: format!(
                        "delete from {referring} r using {here} g where {points}{stays}"
                    ),
                    by_places: Some(delete_at(&referring, &places)),
                };
                write.push(Write::new(place.table, delete, &pointing_still));
                write
            }
            (OnDelete::SetNull, _) => {
                let update = ByTarget {
                    by_keys: format!(
                        "update {referring} r set {name} = null from {here} g where {points}{stays}"
                    ),
                    by_places: Some(update_at(&referring, &format!("{name} = null"), &places)),
                };
                vec![Write::new(place.table, update, &pointing_still)]
            }
        };
        self.takes.push(root_id);
        let word = if on_delete == OnDelete::Cascade {
            "cascade"
        } else {
            "set-null"
        };
        // The root row's lock keeps other writers of the document away.
        let above = |lock: &str| {
            let belongs = place.on_root("r", "x");
            if place.above.is_empty() {
                String::new()
            } else {
                let root = qualified(&root.name);
                format!(" {}", each(&root, "x", &belongs, lock))
            }
        };
        let root_row = if place.above.is_empty() { "r" } else { "x" };
        let with_root = above("");
        self.changes.push(Change {
            count: format!(
                "select g.lc_doc, count(*), max({root_row}.lc_version) {pointing}{with_root} \
                 where true{stays} group by 1"
            ),
            lock: format!(
                "select g.lc_doc from {here} g {}{}",
                each(
                    &referring,
                    "r",
                    &format!("{points}{stays}"),
                    "for update of r skip locked"
                ),
                above("for no key update skip locked"),
            ),
            list: list(word, &stays),
            write,
        });
    }
}
