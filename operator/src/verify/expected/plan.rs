//! The tables of a collection, flattened, with what is made once for all documents: expressions, and
//! the columns by which child rows name their document's row.

use super::{super::column_type, cel::Program, cell::Cell};
use leafcutter_schemas::mapping::{
    Collection, Column, ColumnSource, RowSource, Table, condition::Filter,
};
use uuid::Uuid;

/// How the documents of a collection become rows.
pub struct Plan {
    /// Its tables: each root, and behind it all below it, parents first.
    pub tables: Vec<TablePlan>,
    /// The namespace of `uuid-v5`.
    pub namespace: Uuid,
}

/// How documents or elements become the rows of one table.
pub struct TablePlan {
    /// The table.
    pub table: Table,
    /// The position of the table above; none for a root.
    pub parent: Option<usize>,
    /// The position of its root table; its own for a root.
    pub root: usize,
    /// For each key column of the root, the column here that repeats it.
    pub root_key: Vec<usize>,
    /// The tables right below: their positions.
    pub children: Vec<usize>,
    /// Two elements may have one key.
    pub may_repeat: bool,
    /// What decides which documents or elements have a row.
    pub condition: Option<Program>,
    /// The expressions of its columns.
    pub expressions: Vec<Option<Program>>,
    /// Constants and defaults of its columns.
    pub constants: Vec<Option<Cell>>,
    /// For each source of its elements, the constants that it sets.
    pub sets: Vec<Vec<(usize, Cell)>>,
}

impl Plan {
    /// The plan of a collection.
    pub fn of(collection: &Collection, namespace: Uuid) -> Self {
        let mut plan = Self {
            tables: Vec::new(),
            namespace,
        };
        for table in &collection.tables {
            plan.add(table, None);
        }
        plan
    }

    /// The positions of the root tables.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        (0..self.tables.len()).filter(|&table| self.tables[table].parent.is_none())
    }

    /// The positions of a root and of all tables below it.
    pub fn family(&self, root: usize) -> impl Iterator<Item = usize> {
        (0..self.tables.len()).filter(move |&table| self.tables[table].root == root)
    }

    fn add(&mut self, table: &Table, parent: Option<usize>) {
        let position = self.tables.len();
        let root = parent.map_or(position, |parent| self.tables[parent].root);
        let mut plan = TablePlan::of(table, parent, root);
        plan.root_key = match parent {
            None => table.key.clone(),
            Some(parent) => {
                let above = &self.tables[parent];
                let repeats = |&wanted: &usize| {
                    let same = |c: &Column| c.source == ColumnSource::Parent(wanted);
                    table.columns.iter().position(same)
                };
                above.root_key.iter().filter_map(repeats).collect()
            }
        };
        plan.may_repeat |= parent.is_some_and(|parent| self.tables[parent].may_repeat);
        self.tables.push(plan);
        if let Some(parent) = parent {
            self.tables[parent].children.push(position);
        }
        for child in &table.children {
            self.add(child, Some(position));
        }
    }
}

impl TablePlan {
    fn of(table: &Table, parent: Option<usize>, root: usize) -> Self {
        let constant = |column: &Column| {
            let text = match &column.source {
                ColumnSource::Constant(text) => Some(text),
                _ => column.default.as_ref(),
            };
            text.and_then(|text| column_type::constant(column.pg_type, text))
        };
        let expression = |column: &Column| match &column.source {
            ColumnSource::Expression { text, .. } => Program::read(text),
            _ => None,
        };
        let (mut sets, mut may_repeat) = (Vec::new(), false);
        if let RowSource::Elements(sources) = &table.rows {
            for elements in sources {
                let set = elements.set.iter().filter_map(|(position, text)| {
                    let cell = column_type::constant(table.columns[*position].pg_type, text)?;
                    Some((*position, cell))
                });
                sets.push(set.collect());
            }
            let position = |&key: &usize| table.columns[key].source == ColumnSource::Position;
            may_repeat = sources.len() > 1 || !table.key.iter().any(position);
        }
        Self {
            parent,
            root,
            root_key: Vec::new(),
            children: Vec::new(),
            may_repeat,
            condition: match &table.filter {
                Filter::Expression(text) => Program::read(text),
                Filter::Block(_) => None,
            },
            expressions: table.columns.iter().map(expression).collect(),
            constants: table.columns.iter().map(constant).collect(),
            sets,
            table: table.clone(),
        }
    }
}
