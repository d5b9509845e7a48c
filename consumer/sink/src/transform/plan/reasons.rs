//! Why a document cannot be rows, and where in it the fault is.

use super::{
    compiled::{Below, Fill, Plan, TablePlan},
    trie::Found,
};
use crate::transform::{bad::Bad, bson_type};
use bson::RawBsonRef;
use leafcutter_schemas::{
    dead_letter::{Reason, Stage},
    mapping::{Column, ColumnSource, RowSource},
};

/// An element's place in the document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Which of its table's sources it is in.
    pub(super) source: usize,
    /// Its position there.
    pub(super) index: usize,
    /// Its name, in a map.
    pub(super) name: Option<&'a str>,
}

impl TablePlan {
    /// The path of a column's value in the document, as far as one can tell.
    pub(super) fn path_of(
        &self,
        column: &Column,
        found: Option<&Found<'_>>,
        element: Option<Place<'_>>,
    ) -> Option<String> {
        let own = match &column.source {
            ColumnSource::Path(path) => path.to_string(),
            ColumnSource::FirstOf(paths) => {
                let slots = self
                    .fills
                    .iter()
                    .zip(&self.table.columns)
                    .find_map(|(fill, c)| {
                        let Fill::First(slots) = fill else {
                            return None;
                        };
                        (c.name == column.name).then_some(slots)
                    })?;
                let chosen = found.and_then(|found| found.first(slots));
                let index = slots.iter().position(|slot| Some(*slot) == chosen);
                paths.get(index.unwrap_or(0))?.to_string()
            }
            ColumnSource::Rest => ".".to_owned(),
            ColumnSource::Parent(_)
            | ColumnSource::Position
            | ColumnSource::MapKey
            | ColumnSource::Set
            | ColumnSource::Deleted
            | ColumnSource::Derived(_)
            | ColumnSource::Constant(_)
            | ColumnSource::Expression { .. } => return None,
        };
        let Some(above) = element.and_then(|place| self.place_of(place)) else {
            return Some(own);
        };
        Some(join(&above, &own))
    }

    fn place_of(&self, place: Place<'_>) -> Option<String> {
        let RowSource::Elements(sources) = &self.table.rows else {
            return None;
        };
        let path = &sources.get(place.source)?.path;
        let element = place
            .name
            .map_or_else(|| place.index.to_string(), str::to_owned);
        Some(if path.is_self() {
            element
        } else {
            format!("{path}.{element}")
        })
    }

    /// A reason that says where within an element the fault is, said of the whole document.
    pub(super) fn within(&self, mut reason: Reason, element: Option<Place<'_>>) -> Reason {
        let above = element.and_then(|place| self.place_of(place));
        match (above, reason.path.take()) {
            (Some(above), Some(path)) => reason.path(join(&above, &path)),
            (_, path) => {
                reason.path = path;
                reason
            }
        }
    }

    /// The reason where it cannot be told whether a document or an element has a row.
    pub(super) fn undecided(&self, bad: &Bad, element: Option<Place<'_>>) -> Reason {
        let path = element.and_then(|place| self.place_of(place));
        bad.of_condition(&self.table.name, path)
    }
}

impl Plan {
    pub(super) fn unreadable(&self, below: &Below, index: usize) -> Reason {
        let child = &self.tables[below.table];
        let place = Place {
            source: below.source,
            index,
            name: None,
        };
        let column = &child.table.columns[0];
        self.refuse(child, column, &Bad::Malformed, None, Some(place))
    }

    pub(super) fn refuse(
        &self,
        plan: &TablePlan,
        column: &Column,
        bad: &Bad,
        found: Option<&Found<'_>>,
        element: Option<Place<'_>>,
    ) -> Reason {
        let path = plan.path_of(column, found, element);
        bad.reason(&plan.table.name, column, path)
    }

    pub(super) fn not_elements(&self, below: &Below, value: &RawBsonRef<'_>) -> Reason {
        let table = &self.tables[below.table].table;
        let path = match &table.rows {
            RowSource::Elements(sources) => sources.get(below.source).map(|s| s.path.to_string()),
            RowSource::Document => None,
        };
        let should = if below.map { "a document" } else { "an array" };
        let message = format!(
            "a value of type {} where the rows of `{}` should be {should}",
            bson_type::type_name(value),
            table.name
        );
        Reason::new(Stage::Transform, "wrong-type", message)
            .at(table.name.to_string(), None)
            .path(path)
    }
}

/// The path of something within an element; `.` is the element itself.
fn join(above: &str, path: &str) -> String {
    if path == "." {
        above.to_owned()
    } else {
        format!("{above}.{path}")
    }
}

/// The reason where two elements that differ would be one row.
pub(super) fn duplicate(plan: &TablePlan, element: Option<Place<'_>>) -> Reason {
    let table = &plan.table;
    let key: Vec<&str> = table
        .key
        .iter()
        .map(|&p| table.columns[p].name.as_str())
        .collect();
    let key = key.join(", ");
    let message = format!("two elements that differ have one key, `{key}`");
    Reason::new(Stage::Transform, "duplicate", message)
        .at(table.name.to_string(), key)
        .path(element.and_then(|place| plan.place_of(place)))
}
