//! A mapping becomes a plan: constants and defaults are encoded, expressions compiled, paths put into
//! the tables' tries. What cannot be is found here, before the first document.

use super::{
    compiled::{Below, Fill, Plan, TablePlan},
    trie::Trie,
};
use crate::{
    ids::TableId,
    transform::{expression, extjson::Form, filter::Filter, target::Target},
};
use leafcutter_schemas::mapping::{
    Collection, Column, ColumnSource, Mapping, Path, RowSource, Table, TableName,
};
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

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
            filter: Filter::compile(&table.filter)?,
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
