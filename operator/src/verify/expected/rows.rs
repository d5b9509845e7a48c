//! The rows that a document must become, worked out a second time.
//!
//! It takes a document and the parsed mapping, and gives the values of its row in each root table and
//! of all rows below it, or the reason under which the document is refused. The consumer's transform
//! has no part in it, so that a mistake there cannot hide in the comparison. It is pure.

use super::{
    cell::{Cell, Reason},
    find::Source,
    key,
    plan::{Plan, TablePlan},
    rest, value,
};
use bson::{RawBsonRef, RawDocument, RawDocumentBuf, doc};
use leafcutter_schemas::mapping::{Column, ColumnSource, RowSource, condition::Filter};
use std::collections::HashMap;

/// A row: the values of its table's columns.
pub type Row = Vec<Cell>;

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, as its dead letter says it.
    pub reason: Reason,
    /// The table.
    pub table: usize,
    /// The column, where it is one column's.
    pub column: Option<usize>,
}

/// The rows of a document, by the plan's tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// The rows in each table; none where the conditions leave it out.
    pub tables: Vec<Vec<Row>>,
}

/// Where an element stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: usize,
    index: usize,
    name: Option<&'a str>,
}

/// The rows of elements that may repeat, by their keys.
type Seen = HashMap<(usize, Vec<u8>), usize>;

impl Plan {
    /// The rows of a document.
    ///
    /// # Errors
    /// Why it has to go to the dead letters instead.
    pub fn rows(&self, document: &RawDocument) -> Result<Rows, Refusal> {
        let mut rows = Rows {
            tables: vec![Vec::new(); self.tables.len()],
        };
        let source = Source::of(RawBsonRef::Document(document));
        let mut seen = Seen::new();
        for root in self.roots() {
            self.add_row(root, &source, None, None, &mut rows, &mut seen)?;
        }
        Ok(rows)
    }

    /// The key of the row that a document wants in a root table, whether it has one or not; `None` where
    /// a value of the key cannot be made.
    pub fn root_key(&self, root: usize, document: &RawDocument) -> Option<Row> {
        let plan = &self.tables[root];
        let source = Source::of(RawBsonRef::Document(document));
        let mut row = vec![Cell::Null; plan.table.columns.len()];
        let columns = plan.table.columns.iter().enumerate();
        // A derived column is made of others, which may not be in the key.
        for (position, column) in columns {
            match self.cell(plan, position, column, &source, &row, None) {
                Ok(cell) => row[position] = cell,
                Err(_) if plan.table.key.contains(&position) => return None,
                Err(_) => {}
            }
        }
        Some(
            plan.table
                .key
                .iter()
                .map(|&position| row[position].clone())
                .collect(),
        )
    }

    fn add_row(
        &self,
        table: usize,
        source: &Source<'_>,
        above: Option<&Row>,
        place: Option<Place<'_>>,
        rows: &mut Rows,
        seen: &mut Seen,
    ) -> Result<(), Refusal> {
        let plan = &self.tables[table];
        let refuse = |reason: Reason, column: Option<usize>| Refusal {
            reason,
            table,
            column,
        };
        let takes = match (&plan.table.filter, &plan.condition) {
            (Filter::Block(conditions), _) => source.meets(conditions),
            (Filter::Expression(_), Some(program)) => program.holds(source.whole),
            (Filter::Expression(_), None) => Err("expression"),
        };
        if !takes.map_err(|reason| refuse(reason, None))? {
            return Ok(());
        }
        let mut row = Row::with_capacity(plan.table.columns.len());
        for (position, column) in plan.table.columns.iter().enumerate() {
            let cell = match (&column.source, place) {
                (ColumnSource::Parent(of), _) => above
                    .and_then(|above| above.get(*of))
                    .cloned()
                    .ok_or("missing"),
                _ => self.cell(plan, position, column, source, &row, place),
            };
            row.push(cell.map_err(|reason| refuse(reason, Some(position)))?);
        }
        if plan.may_repeat {
            let mut key = Vec::new();
            plan.table
                .key
                .iter()
                .for_each(|&position| row[position].write_key(&mut key));
            match seen.get(&(table, key.clone())) {
                Some(&first) if rows.tables[table][first] == row => {}
                Some(_) => return Err(refuse("duplicate", None)),
                None => {
                    seen.insert((table, key), rows.tables[table].len());
                    rows.tables[table].push(row.clone());
                }
            }
        } else {
            rows.tables[table].push(row.clone());
        }
        for &child in &plan.children {
            self.add_elements(child, source, &row, rows, seen)?;
        }
        Ok(())
    }

    fn add_elements(
        &self,
        child: usize,
        source: &Source<'_>,
        above: &Row,
        rows: &mut Rows,
        seen: &mut Seen,
    ) -> Result<(), Refusal> {
        let refuse = |reason: Reason| Refusal {
            reason,
            table: child,
            column: None,
        };
        let RowSource::Elements(sources) = &self.tables[child].table.rows else {
            return Ok(());
        };
        for (number, elements) in sources.iter().enumerate() {
            let place = |index, name| {
                Some(Place {
                    source: number,
                    index,
                    name,
                })
            };
            match source.at(&elements.path).map_err(refuse)? {
                None | Some(RawBsonRef::Null | RawBsonRef::Undefined) => {}
                Some(RawBsonRef::Array(array)) if !elements.map => {
                    for (index, item) in array.into_iter().enumerate() {
                        let item = Source::of(item.map_err(|_| refuse("malformed"))?);
                        self.add_row(child, &item, Some(above), place(index, None), rows, seen)?;
                    }
                }
                Some(RawBsonRef::Document(map)) if elements.map => {
                    for (index, element) in map.iter().enumerate() {
                        let (name, item) = element.map_err(|_| refuse("malformed"))?;
                        let place = place(index, Some(name.as_str()));
                        self.add_row(child, &Source::of(item), Some(above), place, rows, seen)?;
                    }
                }
                Some(_) => return Err(refuse("wrong-type")),
            }
        }
        Ok(())
    }

    /// One value of a row of which those before it are made.
    fn cell(
        &self,
        plan: &TablePlan,
        position: usize,
        column: &Column,
        source: &Source<'_>,
        row: &[Cell],
        place: Option<Place<'_>>,
    ) -> Result<Cell, Reason> {
        let found = match &column.source {
            ColumnSource::Path(path) => source.at(path)?,
            ColumnSource::FirstOf(paths) => source.first_of(paths)?.map(|(_, value)| value),
            ColumnSource::Expression { .. } => {
                let program = plan.expressions[position].as_ref().ok_or("expression")?;
                let given = program.value(source.whole)?;
                let given =
                    RawDocumentBuf::try_from(&doc! { "v": given }).map_err(|_| "malformed")?;
                let value = given.get("v").map_err(|_| "malformed")?;
                let value = value.unwrap_or(RawBsonRef::Null);
                return settle(column, value::convert(column, value, &self.namespace)?);
            }
            ColumnSource::Position => {
                let index = place.and_then(|place| i64::try_from(place.index).ok());
                let index = RawBsonRef::Int64(index.unwrap_or_default());
                return value::convert(column, index, &self.namespace);
            }
            ColumnSource::MapKey => {
                let name = place.and_then(|place| place.name).ok_or("missing")?;
                return value::convert(column, RawBsonRef::String(name), &self.namespace);
            }
            ColumnSource::Set => {
                let sets = place.and_then(|place| plan.sets.get(place.source));
                let set = sets.into_iter().flatten().find(|(set, _)| *set == position);
                return set.map(|(_, cell)| cell.clone()).ok_or("missing");
            }
            ColumnSource::Derived(of) => {
                let texts = of.iter().map(|&c| {
                    let pg_type = plan.table.columns[c].pg_type;
                    row.get(c).and_then(|cell| cell.text(Some(pg_type)))
                });
                let texts: Option<Vec<String>> = texts.collect();
                let texts = texts.ok_or("missing")?;
                return Ok(Cell::Uuid(key::uuid_of_texts(&self.namespace, &texts)));
            }
            ColumnSource::Constant(_) => {
                return plan.constants[position].clone().ok_or("missing");
            }
            ColumnSource::Deleted => return Ok(Cell::Null),
            ColumnSource::Rest => {
                let rest = rest::rest(&plan.table, column, source).map(Cell::Json);
                let rest = rest.or_else(|reason| value::policy(column, reason))?;
                return settle(column, rest);
            }
            ColumnSource::Parent(_) => return Err("missing"),
        };
        match (found, &plan.constants[position]) {
            (Some(value), _) => settle(column, value::convert(column, value, &self.namespace)?),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => settle(column, Cell::Null),
        }
    }
}

/// What becomes of a null.
fn settle(column: &Column, cell: Cell) -> Result<Cell, Reason> {
    match cell {
        Cell::Null if column.generated.is_some() => Ok(Cell::Numbered),
        Cell::Null if column.required => Err("missing"),
        cell => Ok(cell),
    }
}
