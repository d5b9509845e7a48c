//! The plan: a mapping compiled so that one walk over a document fills every column.
//!
//! Paths of a table become one trie. The walk goes through the document's elements once, in their
//! order, and looks each name up among the children of the trie's node it stands on; what matches
//! is remembered by reference in a slot per column. Elements that no path names are stepped over by
//! their length alone. Where a name occurs twice, the first one counts, as for MongoDB's own
//! queries. Fields mostly come in the same order in every document, so the look-up begins behind
//! the last match.

use super::{
    Bad, expression,
    extjson::{self, Form},
    filter,
    rest::Rest,
    rows::Rows,
    text,
    value::{self, Target},
};
use bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use leafcutter_schemas::{
    dead_letter::{Reason, Stage},
    key::uuid_of_texts,
    mapping::{
        Collection, Column, ColumnSource, Mapping, Path, PgType, RowSource, Table, TableName,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};
use uuid::Uuid;

/// A table's position among all tables of the mapping, in the order in which rows are written:
/// referenced before referring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub usize);

/// The plan of one collection.
#[derive(Debug)]
pub struct Plan {
    /// Its tables: each root, and behind it each child table after its parent.
    pub tables: Vec<TablePlan>,
    /// The positions of the roots.
    roots: Vec<usize>,
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
    /// What the value of each column becomes.
    targets: Vec<Target>,
    /// Where the value of each column comes from.
    fills: Vec<Fill>,
    /// Constants and defaults, encoded, per column.
    encoded: Vec<Option<Vec<u8>>>,
    /// How many values a walk may find: one for each column, and further ones for further paths.
    slots: usize,
    /// Where in the document or element they are.
    trie: Trie,
    /// Slots whose path is the element itself.
    whole: Vec<usize>,
    /// Which documents or elements have a row.
    filter: filter::Filter,
    /// Conditions on the element itself: positions in the filter.
    whole_conditions: Vec<usize>,
    /// Arrays and maps below, in the order of their slots.
    arrays: Vec<Below>,
    /// Arrays below that are the element itself: their slots.
    whole_arrays: Vec<usize>,
    /// Per source of its rows, the constants that it sets, encoded, by column.
    sets: Vec<Vec<(usize, Vec<u8>)>>,
    /// Whether two elements of a document may have one key.
    may_repeat: bool,
}

/// Where the value of a column comes from.
#[derive(Debug)]
enum Fill {
    /// The slot of the column itself.
    Own,
    /// The first of these slots that has a value.
    First(Vec<usize>),
    /// A column of the parent's row.
    Parent(usize),
    Position,
    Constant,
    /// The name in a map.
    MapKey,
    /// What the element's source sets.
    Set,
    /// Made of these columns.
    Derived(Vec<usize>),
    Null,
    /// What no other column and no child table takes.
    Rest(Form),
    /// What an expression gives.
    Expression(Box<expression::Program>),
}

/// An array or a map whose elements become rows of a table below.
#[derive(Debug)]
struct Below {
    /// The table's position in [`Plan::tables`].
    table: usize,
    /// Which of the table's sources it is.
    source: usize,
    map: bool,
}

/// What a document became in one root table: its rows, or none where the table leaves it out.
pub type Made = (TableId, Option<Range<usize>>);

/// An element's place in the document.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    /// Which of its table's sources it is in.
    source: usize,
    /// Its position there.
    index: usize,
    /// Its name, in a map.
    name: Option<&'a str>,
}

/// Keys of a document's rows, in tables where they may repeat, and where the rows are.
type Seen = HashMap<(usize, Vec<u8>), usize>;

#[derive(Debug, Default)]
pub(super) struct Trie {
    pub(super) nodes: Vec<(Box<str>, Node)>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) slots: Vec<usize>,
    conditions: Vec<usize>,
    pub(super) arrays: Vec<usize>,
    pub(super) below: Trie,
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
    source: RawBsonRef<'a>,
    slots: Vec<Option<RawBsonRef<'a>>>,
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
        for &slot in &node.slots {
            found.slots[slot].get_or_insert(value);
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

impl Found<'_> {
    /// The first of the slots that has a value, else the first with a null.
    fn first(&self, slots: &[usize]) -> Option<usize> {
        let there = |slot: &&usize| self.slots[**slot].is_some();
        let valued = |slot: &&usize| self.slots[**slot].is_some_and(|v| !value::is_null(&v));
        let mut all = slots.iter();
        let found = all.clone().find(valued).or_else(|| all.find(there));
        found.copied()
    }
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
            targets: Vec::new(),
            fills: Vec::new(),
            encoded: Vec::new(),
            slots: table.columns.len(),
            trie: Trie::default(),
            whole: Vec::new(),
            filter: filter::Filter::compile(&table.filter)?,
            whole_conditions: Vec::new(),
            arrays: Vec::new(),
            whole_arrays: Vec::new(),
            sets: Vec::new(),
            may_repeat: false,
        };
        for (position, column) in table.columns.iter().enumerate() {
            let target =
                Target::compile(column, namespace).map_err(|_| does_not_fit(table, column))?;
            let text = match &column.source {
                ColumnSource::Constant(text) => Some(text),
                ColumnSource::Path(_)
                | ColumnSource::FirstOf(_)
                | ColumnSource::Parent(_)
                | ColumnSource::Position
                | ColumnSource::MapKey
                | ColumnSource::Set
                | ColumnSource::Deleted
                | ColumnSource::Derived(_)
                | ColumnSource::Rest
                | ColumnSource::Expression { .. } => column.default.as_ref(),
            };
            let encoded = text.map(|text| constant(table, column, &target, text, namespace));
            plan.encoded.push(encoded.transpose()?);
            plan.targets.push(target);
            let fill = plan.fill(position, column)?;
            plan.fills.push(fill);
        }
        if let RowSource::Elements(sources) = &table.rows {
            for elements in sources {
                let set = elements.set.iter().map(|(position, text)| {
                    let column = &table.columns[*position];
                    let target = &plan.targets[*position];
                    Ok((*position, constant(table, column, target, text, namespace)?))
                });
                plan.sets.push(set.collect::<Result<_, String>>()?);
            }
            let position = |&p: &usize| table.columns[p].source == ColumnSource::Position;
            plan.may_repeat = sources.len() > 1 || !table.key.iter().any(position);
        }
        for (position, condition) in plan.filter.conditions().iter().enumerate() {
            match plan.trie.node(&condition.path) {
                Some(node) => node.conditions.push(position),
                None => plan.whole_conditions.push(position),
            }
        }
        Ok(plan)
    }

    fn fill(&mut self, position: usize, column: &Column) -> Result<Fill, String> {
        Ok(match &column.source {
            ColumnSource::Path(path) => {
                self.watch(path, position);
                Fill::Own
            }
            ColumnSource::FirstOf(paths) => {
                let slots = paths.iter().map(|path| {
                    let slot = self.slots;
                    self.slots += 1;
                    self.watch(path, slot);
                    slot
                });
                Fill::First(slots.collect())
            }
            ColumnSource::Parent(above) => Fill::Parent(*above),
            ColumnSource::Position => Fill::Position,
            ColumnSource::Constant(_) => Fill::Constant,
            ColumnSource::MapKey => Fill::MapKey,
            ColumnSource::Set => Fill::Set,
            ColumnSource::Derived(of) => Fill::Derived(of.clone()),
            // The row of a document that is there was not deleted.
            ColumnSource::Deleted => Fill::Null,
            ColumnSource::Rest => Fill::Rest(Form::of(column.pg_type, column.invalid.nul)),
            ColumnSource::Expression { text, .. } => {
                Fill::Expression(Box::new(expression::compile(text)?))
            }
        })
    }

    /// Has the walk put what is at a path into a slot.
    fn watch(&mut self, path: &Path, slot: usize) {
        match self.trie.node(path) {
            Some(node) => node.slots.push(slot),
            None => self.whole.push(slot),
        }
    }

    /// The position of this table's key columns.
    pub fn key(&self) -> &[usize] {
        &self.table.key
    }

    fn find<'a>(&self, source: RawBsonRef<'a>) -> Result<Found<'a>, Bad> {
        let mut found = Found {
            source,
            slots: vec![None; self.slots],
            conditions: vec![None; self.filter.conditions().len()],
            arrays: vec![None; self.arrays.len()],
        };
        for &slot in &self.whole {
            found.slots[slot] = Some(source);
        }
        for &array in &self.whole_arrays {
            found.arrays[array] = Some(source);
        }
        for &condition in &self.whole_conditions {
            found.conditions[condition] = Some(source);
        }
        match source {
            RawBsonRef::Document(document) => {
                walk(document.iter_elements(), &self.trie, &mut found)?;
            }
            RawBsonRef::Array(array) if !self.trie.nodes.is_empty() => {
                let inner = RawDocument::from_bytes(array.as_bytes());
                let inner = inner.map_err(|_| Bad::Malformed)?;
                walk(inner.iter_elements(), &self.trie, &mut found)?;
            }
            _ => {}
        }
        Ok(found)
    }

    /// The path of a column's value in the document, as far as one can tell.
    fn path_of(
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
        Some(if own == "." {
            above
        } else {
            format!("{above}.{own}")
        })
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

    /// The reason where nobody can tell whether a document or an element has a row.
    fn undecided(&self, bad: &Bad, element: Option<Place<'_>>) -> Reason {
        let path = element.and_then(|place| self.place_of(place));
        bad.of_condition(&self.table.name, path)
    }

    /// Writes what no other column and no child table takes.
    fn rest(&self, form: Form, found: &Found<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
        let mut spare = Vec::new();
        for fill in &self.fills {
            if let Fill::First(slots) = fill {
                let chosen = found.first(slots);
                let mut after = slots.iter().skip_while(|slot| Some(**slot) != chosen);
                after.next();
                spare.extend(after);
            }
        }
        let scalar = !matches!(found.source, RawBsonRef::Document(_) | RawBsonRef::Array(_));
        let taken = self.whole.iter().any(|slot| !spare.contains(slot));
        let nothing = !self.whole_arrays.is_empty() || (scalar && taken);
        let rest = Rest {
            form,
            spare: &spare,
        };
        value::json_field(PgType::Jsonb, out, |out| match found.source {
            _ if nothing => {
                out.extend_from_slice(b"{}");
                Ok(())
            }
            RawBsonRef::Document(document) => rest.write(out, document, &self.trie),
            RawBsonRef::Array(array) => rest.list(out, array, &self.trie, 1),
            other => extjson::write(out, other, form),
        })
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
            roots: Vec::new(),
            namespace: mapping.uuid_namespace,
        };
        for table in &collection.tables {
            let root = plan.add(table, None, order)?;
            plan.roots.push(root);
        }
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
            // Elements that are one row together may have elements that are.
            let repeats = self.tables[position].may_repeat;
            self.tables[below].may_repeat |= repeats;
            let RowSource::Elements(sources) = &child.rows else {
                continue;
            };
            let plan = &mut self.tables[position];
            for (source, elements) in sources.iter().enumerate() {
                let slot = plan.arrays.len();
                plan.arrays.push(Below {
                    table: below,
                    source,
                    map: elements.map,
                });
                match plan.trie.node(&elements.path) {
                    Some(node) => node.arrays.push(slot),
                    None => plan.whole_arrays.push(slot),
                }
            }
        }
        Ok(position)
    }

    /// The tables that get one row per document.
    pub fn roots(&self) -> impl Iterator<Item = &TablePlan> {
        self.roots.iter().map(|&root| &self.tables[root])
    }

    /// Turns a document into its rows, which are appended to `rows`: for each root table in turn, its
    /// own row first. Gives those rows, or none where the table's filter leaves the document out.
    ///
    /// # Errors
    /// The reason for the dead letter. `rows` is left as it was.
    pub fn transform(&self, document: &RawDocument, rows: &mut Rows) -> Result<Vec<Made>, Reason> {
        let mark = rows.mark();
        let whole = RawBsonRef::Document(document);
        let mut made = Vec::with_capacity(self.roots.len());
        for &root in &self.roots {
            let start = rows.len();
            let there = self
                .table_rows(root, whole, None, None, rows, &mut Seen::new())
                .inspect_err(|_| rows.reset(mark))?;
            made.push((self.tables[root].id, there.then(|| start..rows.len())));
        }
        Ok(made)
    }

    /// The key of a root table's row for a document of which only the `_id` is known: a delete.
    ///
    /// # Errors
    /// Where the `_id` cannot be the key.
    pub fn root_key(
        &self,
        root: &TablePlan,
        document_key: &RawDocument,
    ) -> Result<Vec<u8>, Reason> {
        let malformed =
            |bad: Bad| self.refuse(root, &root.table.columns[root.key()[0]], &bad, None, None);
        let found = root
            .find(RawBsonRef::Document(document_key))
            .map_err(malformed)?;
        let mut fields = Vec::with_capacity(32);
        for &position in root.key() {
            let column = &root.table.columns[position];
            self.key_column(root, position, &found, &mut fields)
                .map_err(|bad| self.refuse(root, column, &bad, Some(&found), None))?;
        }
        let positions: Vec<usize> = (0..root.key().len()).collect();
        Ok(super::rows::key_of(&fields, &positions))
    }

    /// One column that follows from the `_id`, and what it is derived from.
    fn key_column(
        &self,
        root: &TablePlan,
        position: usize,
        found: &Found<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        let Fill::Derived(of) = &root.fills[position] else {
            return self.column(root, position, found, None, None, out);
        };
        let mut texts = Vec::with_capacity(of.len());
        for &column in of {
            let mut field = Vec::new();
            self.key_column(root, column, found, &mut field)?;
            let value = super::rows::value_of(&field);
            texts.push(text::text_of(&root.table.columns[column], value));
        }
        self.derived(texts.into_iter().collect(), out)
    }

    fn table_rows(
        &self,
        table: usize,
        source: RawBsonRef<'_>,
        parent_row: Option<usize>,
        element: Option<Place<'_>>,
        rows: &mut Rows,
        seen: &mut Seen,
    ) -> Result<bool, Reason> {
        let plan = &self.tables[table];
        let columns = &plan.table.columns;
        let found = plan
            .find(source)
            .map_err(|bad| self.refuse(plan, &columns[0], &bad, None, element))?;
        let takes = plan.filter.takes(source, &found.conditions);
        if !takes.map_err(|bad| plan.undecided(&bad, element))? {
            return Ok(false);
        }
        let start = rows.begin();
        for (position, column) in columns.iter().enumerate() {
            let parent = match (&plan.fills[position], parent_row) {
                (Fill::Parent(above), Some(row)) => Some(rows.field_of(row, *above)),
                _ => None,
            };
            let encoded = if let Fill::Derived(of) = &plan.fills[position] {
                let texts = of
                    .iter()
                    .map(|&c| text::text_of(&columns[c], rows.field_since(start, c)));
                let texts: Option<Vec<String>> = texts.collect();
                self.derived(texts, rows.buffer())
            } else {
                self.column(plan, position, &found, parent, element, rows.buffer())
            };
            encoded.map_err(|bad| self.refuse(plan, column, &bad, Some(&found), element))?;
        }
        let mut row = rows.finish(start, table, plan.id, plan.key(), parent_row);
        if plan.may_repeat {
            let key = (table, rows.key(row).to_vec());
            match seen.get(&key) {
                None => {
                    seen.insert(key, row);
                }
                Some(&first) if rows.fields(first) == rows.fields(row) => {
                    rows.discard_last();
                    row = first;
                }
                Some(_) => return Err(duplicate(plan, element)),
            }
        }
        for (below, value) in plan.arrays.iter().zip(&found.arrays) {
            match value {
                None | Some(RawBsonRef::Null | RawBsonRef::Undefined) => {}
                Some(RawBsonRef::Array(array)) if !below.map => {
                    for (index, item) in array.into_iter().enumerate() {
                        let item = item.map_err(|_| self.unreadable(below, index))?;
                        let place = Place {
                            source: below.source,
                            index,
                            name: None,
                        };
                        self.table_rows(below.table, item, Some(row), Some(place), rows, seen)?;
                    }
                }
                Some(RawBsonRef::Document(map)) if below.map => {
                    for (index, element) in map.iter_elements().enumerate() {
                        let element = element.map_err(|_| self.unreadable(below, index))?;
                        let item = element.value();
                        let item = item.map_err(|_| self.unreadable(below, index))?;
                        let place = Place {
                            source: below.source,
                            index,
                            name: Some(element.key().as_str()),
                        };
                        self.table_rows(below.table, item, Some(row), Some(place), rows, seen)?;
                    }
                }
                Some(other) => return Err(self.not_elements(below, other)),
            }
        }
        Ok(true)
    }

    fn unreadable(&self, below: &Below, index: usize) -> Reason {
        let child = &self.tables[below.table];
        let place = Place {
            source: below.source,
            index,
            name: None,
        };
        let column = &child.table.columns[0];
        self.refuse(child, column, &Bad::Malformed, None, Some(place))
    }

    /// Appends the UUID made of these texts.
    fn derived(&self, texts: Option<Vec<String>>, out: &mut Vec<u8>) -> Result<(), Bad> {
        let uuid = uuid_of_texts(&self.namespace, &texts.ok_or(Bad::Missing)?);
        out.extend_from_slice(&16i32.to_be_bytes());
        out.extend_from_slice(uuid.as_bytes());
        Ok(())
    }

    fn column(
        &self,
        plan: &TablePlan,
        position: usize,
        found: &Found<'_>,
        parent: Option<Vec<u8>>,
        element: Option<Place<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        let target = &plan.targets[position];
        let slot = match &plan.fills[position] {
            Fill::Own => Some(position),
            Fill::First(slots) => found.first(slots),
            Fill::Parent(_) => {
                out.extend_from_slice(&parent.ok_or(Bad::Missing)?);
                return Ok(());
            }
            Fill::Position => {
                let index = element.map_or(0, |place| place.index);
                let index = i64::try_from(index).map_err(|_| Bad::OutOfRange)?;
                return target.encode(RawBsonRef::Int64(index), &self.namespace, out);
            }
            Fill::MapKey => {
                let name = element.and_then(|place| place.name).ok_or(Bad::Missing)?;
                return target.encode(RawBsonRef::String(name), &self.namespace, out);
            }
            Fill::Set => {
                let sets = element.and_then(|place| plan.sets.get(place.source));
                let mut sets = sets.into_iter().flatten();
                let (_, constant) = sets.find(|(p, _)| *p == position).ok_or(Bad::Missing)?;
                out.extend_from_slice(constant);
                return Ok(());
            }
            // Made of other columns, by those who have them at hand.
            Fill::Derived(_) => return Err(Bad::Missing),
            Fill::Null => return target.encode_null(out),
            Fill::Constant => {
                let constant = plan.encoded[position].as_ref().ok_or(Bad::Missing)?;
                out.extend_from_slice(constant);
                return Ok(());
            }
            Fill::Expression(program) => {
                let given = program.value(found.source)?;
                let document = RawDocumentBuf::try_from(&bson::doc! { "v": given })
                    .map_err(|_| Bad::Malformed)?;
                let given = document.get("v").map_err(|_| Bad::Malformed)?;
                return match given {
                    Some(value) => target.encode(value, &self.namespace, out),
                    None => target.encode_null(out),
                };
            }
            Fill::Rest(form) => {
                let start = out.len();
                let written = plan.rest(*form, found, out);
                return target.settle(written, start, out);
            }
        };
        match (
            slot.and_then(|slot| found.slots[slot]),
            &plan.encoded[position],
        ) {
            (Some(value), _) => target.encode(value, &self.namespace, out),
            (None, Some(default)) => {
                out.extend_from_slice(default);
                Ok(())
            }
            (None, None) => target.encode_null(out),
        }
    }

    fn refuse(
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

    fn not_elements(&self, below: &Below, value: &RawBsonRef<'_>) -> Reason {
        let table = &self.tables[below.table].table;
        let path = match &table.rows {
            RowSource::Elements(sources) => sources.get(below.source).map(|s| s.path.to_string()),
            RowSource::Document => None,
        };
        let should = if below.map { "a document" } else { "an array" };
        Reason {
            stage: Stage::Transform,
            code: "wrong-type",
            message: format!(
                "a value of type {} where the rows of `{}` should be {should}",
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

fn does_not_fit(table: &Table, column: &Column) -> String {
    format!(
        "column `{}` of table `{}`: the constant does not fit",
        column.name, table.name
    )
}

fn constant(
    table: &Table,
    column: &Column,
    target: &Target,
    text: &str,
    namespace: &Uuid,
) -> Result<Vec<u8>, String> {
    let encoded = target.constant(column, text, namespace);
    encoded.map_err(|_| does_not_fit(table, column))
}

/// The reason where two elements that differ would be one row.
fn duplicate(plan: &TablePlan, element: Option<Place<'_>>) -> Reason {
    let table = &plan.table;
    let key: Vec<&str> = table
        .key
        .iter()
        .map(|&p| table.columns[p].name.as_str())
        .collect();
    let key = key.join(", ");
    Reason {
        stage: Stage::Transform,
        code: "duplicate",
        message: format!("two elements that differ have one key, `{key}`"),
        table: Some(table.name.to_string()),
        column: Some(key),
        path: element.and_then(|place| plan.place_of(place)),
        sqlstate: None,
    }
}
