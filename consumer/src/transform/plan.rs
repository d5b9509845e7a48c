//! The plan: a mapping compiled so that one walk over a document fills every column.
//!
//! Paths of a table become one trie. The walk goes through the document's elements once, in their
//! order, and looks each name up among the children of the trie's node it stands on; what matches
//! is remembered by reference in a slot per column. Elements that no path names are stepped over by
//! their length alone. Where a name occurs twice, the first one counts, as for MongoDB's own
//! queries. Fields mostly come in the same order in every document, so the look-up begins behind
//! the last match.

use super::{Bad, filter, rows::Rows, value};
use bson::{RawBsonRef, RawDocument};
use leafcutter_schemas::{
    dead_letter::{Reason, Stage},
    mapping::{Collection, Column, ColumnSource, Mapping, Path, RowSource, Table, TableName},
};
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

/// A table's position among all tables of the mapping, in the order in which rows are written:
/// referenced before referring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub usize);

/// The plan of one collection.
#[derive(Debug)]
pub struct Plan {
    /// Its tables: the root, then each child table after its parent.
    pub tables: Vec<TablePlan>,
    namespace: Uuid,
}

/// The plan of one table.
#[derive(Debug)]
pub struct TablePlan {
    /// The table.
    pub table: Arc<Table>,
    /// Its place in the order of writing.
    pub id: TableId,
    /// The position in [`Plan::tables`] of the table above.
    pub parent: Option<usize>,
    /// Constants and defaults, encoded, per column.
    encoded: Vec<Option<Vec<u8>>>,
    /// Where in the document or element the columns are.
    trie: Trie,
    /// Columns whose path is the element itself.
    whole: Vec<usize>,
    /// Conditions on the element itself: positions in the table's filter.
    whole_conditions: Vec<usize>,
    /// Per array below: the position of its table in [`Plan::tables`].
    arrays: Vec<usize>,
}

#[derive(Debug, Default)]
struct Trie {
    nodes: Vec<(Box<str>, Node)>,
}

#[derive(Debug, Default)]
struct Node {
    columns: Vec<usize>,
    conditions: Vec<usize>,
    arrays: Vec<usize>,
    below: Trie,
}

impl Trie {
    fn node(&mut self, path: &Path) -> Option<&mut Node> {
        let mut steps = path.steps().iter();
        let first = steps.next()?;
        let mut node = self.child(first);
        for step in steps {
            node = node.below.child(step);
        }
        Some(node)
    }

    fn child(&mut self, name: &str) -> &mut Node {
        let position = self
            .nodes
            .iter()
            .position(|(n, _)| &**n == name)
            .unwrap_or_else(|| {
                self.nodes.push((name.into(), Node::default()));
                self.nodes.len() - 1
            });
        &mut self.nodes[position].1
    }
}

/// What one walk found, by reference.
struct Found<'a> {
    columns: Vec<Option<RawBsonRef<'a>>>,
    conditions: Vec<Option<RawBsonRef<'a>>>,
    arrays: Vec<Option<RawBsonRef<'a>>>,
}

fn walk<'a>(
    elements: bson::raw::RawIter<'a>,
    trie: &Trie,
    found: &mut Found<'a>,
) -> Result<(), Bad> {
    let mut next = 0;
    for element in elements {
        let element = element.map_err(|_| Bad::Malformed)?;
        let name = element.key().as_str();
        let (behind, before) = trie.nodes.split_at(next.min(trie.nodes.len()));
        let hit = before
            .iter()
            .position(|(n, _)| &**n == name)
            .map(|p| p + next);
        let hit = hit.or_else(|| behind.iter().position(|(n, _)| &**n == name));
        let Some(position) = hit else { continue };
        next = position + 1;
        let node = &trie.nodes[position].1;
        let value = element.value().map_err(|_| Bad::Malformed)?;
        for &column in &node.columns {
            found.columns[column].get_or_insert(value);
        }
        for &condition in &node.conditions {
            found.conditions[condition].get_or_insert(value);
        }
        for &array in &node.arrays {
            found.arrays[array].get_or_insert(value);
        }
        if !node.below.nodes.is_empty() {
            match value {
                RawBsonRef::Document(inner) => walk(inner.iter_elements(), &node.below, found)?,
                // An array's elements have their positions as names: `items.0.sku`.
                RawBsonRef::Array(inner) => {
                    let inner = RawDocument::from_bytes(inner.as_bytes());
                    walk(
                        inner.map_err(|_| Bad::Malformed)?.iter_elements(),
                        &node.below,
                        found,
                    )?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

impl TablePlan {
    fn compile(
        table: &Table,
        id: TableId,
        parent: Option<usize>,
        namespace: &Uuid,
    ) -> Result<Self, String> {
        let mut plan = Self {
            table: Arc::new(table.clone()),
            id,
            parent,
            encoded: Vec::new(),
            trie: Trie::default(),
            whole: Vec::new(),
            whole_conditions: Vec::new(),
            arrays: Vec::new(),
        };
        for (position, column) in table.columns.iter().enumerate() {
            let text = match &column.source {
                ColumnSource::Constant(text) => Some(text),
                ColumnSource::Path(_) | ColumnSource::Parent(_) | ColumnSource::Position => {
                    column.default.as_ref()
                }
            };
            let encoded = text.map(|text| value::encode_text(column, text, namespace));
            plan.encoded.push(encoded.transpose().map_err(|_| {
                format!(
                    "column `{}` of table `{}`: the constant does not fit",
                    column.name, table.name
                )
            })?);
            if let ColumnSource::Path(path) = &column.source {
                match plan.trie.node(path) {
                    Some(node) => node.columns.push(position),
                    None => plan.whole.push(position),
                }
            }
        }
        for (position, condition) in table.filter.iter().enumerate() {
            match plan.trie.node(&condition.path) {
                Some(node) => node.conditions.push(position),
                None => plan.whole_conditions.push(position),
            }
        }
        Ok(plan)
    }

    /// The position of this table's key columns.
    pub fn key(&self) -> &[usize] {
        &self.table.key
    }

    fn find<'a>(&self, source: RawBsonRef<'a>) -> Result<Found<'a>, Bad> {
        let mut found = Found {
            columns: vec![None; self.table.columns.len()],
            conditions: vec![None; self.table.filter.len()],
            arrays: vec![None; self.arrays.len()],
        };
        for &column in &self.whole {
            found.columns[column] = Some(source);
        }
        for &condition in &self.whole_conditions {
            found.conditions[condition] = Some(source);
        }
        if let RawBsonRef::Document(document) = source {
            walk(document.iter_elements(), &self.trie, &mut found)?;
        }
        Ok(found)
    }

    fn path_of(&self, column: &Column, element: Option<usize>) -> Option<String> {
        let own = match &column.source {
            ColumnSource::Path(path) => path.to_string(),
            ColumnSource::Parent(_) | ColumnSource::Position | ColumnSource::Constant(_) => {
                return None;
            }
        };
        match (&self.table.rows, element) {
            (RowSource::Array(array), Some(index)) if own == "." => {
                Some(format!("{array}.{index}"))
            }
            (RowSource::Array(array), Some(index)) => Some(format!("{array}.{index}.{own}")),
            _ => Some(own),
        }
    }
}

impl Plan {
    /// Compiles the plan of one collection; `order` gives every table's place in the order of
    /// writing.
    ///
    /// # Errors
    /// When a constant does not fit its column, which a checked mapping rules out.
    pub fn compile(
        mapping: &Mapping,
        collection: &Collection,
        order: &BTreeMap<TableName, TableId>,
    ) -> Result<Self, String> {
        let mut plan = Self {
            tables: Vec::new(),
            namespace: mapping.uuid_namespace,
        };
        plan.add(&collection.root, None, order)?;
        Ok(plan)
    }

    fn add(
        &mut self,
        table: &Table,
        parent: Option<usize>,
        order: &BTreeMap<TableName, TableId>,
    ) -> Result<usize, String> {
        let id = *order
            .get(&table.name)
            .ok_or_else(|| format!("table `{}` is missing in the order of writing", table.name))?;
        let position = self.tables.len();
        self.tables
            .push(TablePlan::compile(table, id, parent, &self.namespace)?);
        for child in &table.children {
            let below = self.add(child, Some(position), order)?;
            if let RowSource::Array(path) = &child.rows {
                let slot = self.tables[position].arrays.len();
                self.tables[position].arrays.push(below);
                let node = self.tables[position].trie.node(path);
                node.ok_or("an array's path is never empty")?
                    .arrays
                    .push(slot);
            }
        }
        Ok(position)
    }

    /// The table that gets one row per document.
    pub fn root(&self) -> &TablePlan {
        &self.tables[0]
    }

    /// Turns a document into its rows, which are appended to `rows`, the root's first. `false`
    /// where the root table's filter leaves the document out, so that it has none.
    ///
    /// # Errors
    /// The reason for the dead letter. `rows` is left as it was.
    pub fn transform(&self, document: &RawDocument, rows: &mut Rows) -> Result<bool, Reason> {
        let mark = rows.mark();
        self.table_rows(0, RawBsonRef::Document(document), None, None, rows)
            .inspect_err(|_| rows.reset(mark))
    }

    /// The root row's key for a document of which only the `_id` is known: a delete.
    ///
    /// # Errors
    /// Where the key needs more than the `_id`, or the `_id` cannot be the key.
    pub fn root_key(&self, document_key: &RawDocument) -> Result<Vec<u8>, Reason> {
        let root = self.root();
        let malformed =
            |bad: Bad| self.refuse(root, &root.table.columns[root.key()[0]], &bad, None);
        let found = root
            .find(RawBsonRef::Document(document_key))
            .map_err(malformed)?;
        let mut fields = Vec::with_capacity(32);
        for &position in root.key() {
            let column = &root.table.columns[position];
            self.column(
                root,
                position,
                found.columns[position],
                None,
                None,
                &mut fields,
            )
            .map_err(|bad| self.refuse(root, column, &bad, None))?;
        }
        let positions: Vec<usize> = (0..root.key().len()).collect();
        Ok(super::rows::key_of(&fields, &positions))
    }

    fn table_rows(
        &self,
        table: usize,
        source: RawBsonRef<'_>,
        parent_row: Option<usize>,
        element: Option<usize>,
        rows: &mut Rows,
    ) -> Result<bool, Reason> {
        let plan = &self.tables[table];
        let columns = &plan.table.columns;
        let found = plan
            .find(source)
            .map_err(|bad| self.refuse(plan, &columns[0], &bad, element))?;
        if !filter::holds(&plan.table.filter, &found.conditions) {
            return Ok(false);
        }
        let start = rows.begin();
        for (position, column) in columns.iter().enumerate() {
            let parent = match (&column.source, parent_row) {
                (ColumnSource::Parent(above), Some(row)) => Some(rows.field_of(row, *above)),
                _ => None,
            };
            self.column(
                plan,
                position,
                found.columns[position],
                parent,
                element,
                rows.buffer(),
            )
            .map_err(|bad| self.refuse(plan, column, &bad, element))?;
        }
        let row = rows.finish(start, table, plan.id, plan.key(), parent_row);
        for (slot, value) in found.arrays.iter().enumerate() {
            let below = plan.arrays[slot];
            match value {
                None | Some(RawBsonRef::Null | RawBsonRef::Undefined) => {}
                Some(RawBsonRef::Array(array)) => {
                    for (index, item) in array.into_iter().enumerate() {
                        let child = &self.tables[below];
                        let item = item.map_err(|_| {
                            self.refuse(
                                child,
                                &child.table.columns[0],
                                &Bad::Malformed,
                                Some(index),
                            )
                        })?;
                        self.table_rows(below, item, Some(row), Some(index), rows)?;
                    }
                }
                Some(other) => return Err(self.not_an_array(below, other)),
            }
        }
        Ok(true)
    }

    fn column(
        &self,
        plan: &TablePlan,
        position: usize,
        found: Option<RawBsonRef<'_>>,
        parent: Option<Vec<u8>>,
        element: Option<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        let column = &plan.table.columns[position];
        match &column.source {
            ColumnSource::Parent(_) => {
                out.extend_from_slice(&parent.ok_or(Bad::Missing)?);
                Ok(())
            }
            ColumnSource::Position => {
                let index = i64::try_from(element.unwrap_or(0)).map_err(|_| Bad::OutOfRange)?;
                value::encode(column, RawBsonRef::Int64(index), &self.namespace, out)
            }
            ColumnSource::Constant(_) => {
                let constant = plan.encoded[position].as_ref().ok_or(Bad::Missing)?;
                out.extend_from_slice(constant);
                Ok(())
            }
            ColumnSource::Path(_) => match (found, &plan.encoded[position]) {
                (Some(value), _) => value::encode(column, value, &self.namespace, out),
                (None, Some(default)) => {
                    out.extend_from_slice(default);
                    Ok(())
                }
                (None, None) => value::encode_null(column, out),
            },
        }
    }

    fn refuse(
        &self,
        plan: &TablePlan,
        column: &Column,
        bad: &Bad,
        element: Option<usize>,
    ) -> Reason {
        bad.reason(&plan.table.name, column, plan.path_of(column, element))
    }

    fn not_an_array(&self, below: usize, value: &RawBsonRef<'_>) -> Reason {
        let table = &self.tables[below].table;
        let path = match &table.rows {
            RowSource::Array(path) => Some(path.to_string()),
            RowSource::Document => None,
        };
        Reason {
            stage: Stage::Transform,
            code: "wrong-type",
            message: format!(
                "a value of type {} where the rows of `{}` should be an array",
                value::type_name(value),
                table.name
            ),
            table: Some(table.name.to_string()),
            column: None,
            path,
            sqlstate: None,
        }
    }
}
