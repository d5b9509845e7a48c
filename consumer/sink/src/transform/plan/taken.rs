//! Whether anything takes a field: what one table leaves another one of the same documents or elements may take.

use super::{
    compiled::{Fill, Plan, TablePlan},
    trie::Trie,
};
use crate::{ids::TableId, transform::filter::Filter};
use leafcutter_schemas::mapping::RowSource;

impl Plan {
    /// Where in a document a field is that a table did not take, as `orders[].note`. None where something else
    /// takes it: another table of the same documents or elements, a `rest` column, an expression; or where
    /// another table tells of the same documents or elements.
    pub fn unmapped_path(&self, table: TableId, source: usize, field: &[String]) -> Option<String> {
        let position = self.tables.iter().position(|plan| plan.id == table)?;
        let base = self.base(position, source);
        let mut same = (0..self.tables.len()).filter(|&other| {
            let mut sources = self.sources(other);
            sources.any(|source| self.base(other, source) == base)
        });
        let is_open = |table: usize| self.tables[table].filter.is_open();
        // The first that takes all documents tells of them; those that leave some out tell where there is none.
        let tells_first = |other: usize| is_open(other) && (other < position || !is_open(position));
        let tells = same.all(|other| !self.tables[other].takes(field) && !tells_first(other));
        tells.then(|| base + &field.join("."))
    }

    /// Whether anything takes what stands at such a path.
    pub fn takes_path(&self, path: &str) -> bool {
        let tables = (0..self.tables.len())
            .flat_map(|table| self.sources(table).map(move |source| (table, source)));
        let bases: Vec<(usize, String)> = tables
            .map(|(table, source)| (table, self.base(table, source)))
            .filter(|(_, base)| path.starts_with(&**base))
            .collect();
        let longest = bases.iter().map(|(_, base)| base.len()).max();
        let mut nearest = bases.iter().filter(|(_, base)| Some(base.len()) == longest);
        nearest.any(|(table, base)| {
            let field: Vec<String> = path[base.len()..].split('.').map(str::to_owned).collect();
            self.tables[*table].takes(&field)
        })
    }

    fn sources(&self, position: usize) -> std::ops::Range<usize> {
        match &self.tables[position].table.rows {
            RowSource::Elements(sources) => 0..sources.len(),
            RowSource::Document => 0..1,
        }
    }

    /// Where the documents or elements of a table are. Below elements of several sources, those of the first.
    fn base(&self, position: usize, source: usize) -> String {
        let plan = &self.tables[position];
        let (Some(parent), RowSource::Elements(sources)) = (plan.parent, &plan.table.rows) else {
            return String::new();
        };
        let Some(elements) = sources.get(source) else {
            return String::new();
        };
        let each = if elements.map { ".*." } else { "[]." };
        self.base(parent, 0) + &elements.path.steps().join(".") + each
    }
}

impl TablePlan {
    /// Whether any of it is used.
    fn takes(&self, field: &[String]) -> bool {
        let is_rest = |fill: &Fill| matches!(fill, Fill::Rest(_));
        !self.whole.is_empty()
            || !self.whole_arrays.is_empty()
            || self.fills.iter().any(is_rest)
            || self.names(&field[0])
            || self.trie.takes(field)
    }

    /// Whether an expression names this field.
    fn names(&self, field: &str) -> bool {
        let mut programs = Vec::new();
        if let Filter::Expression(program) = &self.filter {
            programs.push(program);
        }
        for fill in &self.fills {
            if let Fill::Expression(program) = fill {
                programs.push(program);
            }
        }
        programs.iter().any(|program| program.names(field))
    }
}

impl Trie {
    fn takes(&self, field: &[String]) -> bool {
        let mut trie = self;
        for name in field {
            let Some((_, node)) = trie.nodes.iter().find(|(known, _)| **known == **name) else {
                return false;
            };
            if !(node.slots.is_empty() && node.conditions.is_empty() && node.arrays.is_empty()) {
                return true;
            }
            trie = &node.below;
        }
        // Its own fields are.
        true
    }
}
