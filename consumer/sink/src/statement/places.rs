//! Rows that staged ones lead to are found by an index one by one, and deleted or changed by their places (`ctid`,
//! PostgreSQL manual, 5.5).
//!
//! A batch is small, its table may be large, and the planner takes the staged rows for a thousand, whatever they are. As
//! a join such a statement may be, and was, planned as one that reads a whole index for a batch of any size. A lateral
//! subquery with an `offset` is never made one.
//!
//! A row that somebody else changes meanwhile has another place then, and is left out (READ COMMITTED, PostgreSQL
//! manual, 13.2.1). So these statements tell how many rows they found and how many they wrote; where the numbers differ,
//! the form that looks for rows by their keys is executed after them ([`crate::write::rows_led_to`]).

/// A statement that deletes or changes rows, in two forms.
#[derive(Debug, Clone)]
pub struct ByTarget {
    /// For any target.
    pub(super) by_keys: String,
    /// For a target that is a table and nothing else.
    pub(super) by_places: Option<String>,
}

impl ByTarget {
    /// By places, for a target that is nothing but a table: a view has no places, and a partitioned table has no rows of
    /// its own. Gives how many rows were found, and how many were written.
    pub fn by_places(&self) -> Option<&str> {
        self.by_places.as_deref()
    }

    /// For any target.
    pub fn by_keys(&self) -> &str {
        &self.by_keys
    }
}

/// Deletes the rows whose places (`place`) a query gives. `only`: a table may get an heir at any time, whose rows have
/// the same places.
pub(super) fn delete_at(target: &str, places: &str) -> String {
    counted(places, &format!("delete from only {target} where {AT}"))
}

/// Changes them.
pub(super) fn update_at(target: &str, set: &str, places: &str) -> String {
    counted(
        places,
        &format!("update only {target} set {set} where {AT}"),
    )
}

/// Changes them by what else the query gives, as `d`.
pub(super) fn update_from(target: &str, name: &str, set: &str, places: &str) -> String {
    let update =
        format!("update only {target} {name} set {set} from found d where {name}.ctid = d.place");
    counted(places, &update)
}

const AT: &str = "ctid = any(array(select place from found))";

fn counted(places: &str, write: &str) -> String {
    format!(
        "with found as materialized ({places}), written as ({write} returning 1) \
         select (select count(distinct place) from found), (select count(*) from written)"
    )
}

/// Joins what of a table fulfils a condition, by an index, under a name.
pub(super) fn each(target: &str, name: &str, condition: &str, lock: &str) -> String {
    format!(
        "cross join lateral (select {name}.* from {target} {name} where {condition} offset 0 {lock}) {name}"
    )
}

/// The same with the places of the rows, of a plain table.
pub(super) fn each_place(target: &str, name: &str, condition: &str) -> String {
    format!(
        "cross join lateral (select {name}.ctid, {name}.* from only {target} {name} where {condition} offset 0) {name}"
    )
}
