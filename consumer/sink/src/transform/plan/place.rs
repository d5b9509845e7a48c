//! Where the documents and elements of a table are in their documents, and which table tells what is not taken
//! of them.

use super::compiled::Plan;
use crate::ids::TableId;
use leafcutter_schemas::mapping::{Path, RowSource};

impl Plan {
    /// Where in a document a field is that a table did not take, as `orders[].note`. None where another table
    /// tells of the same documents or elements: the first one that leaves none out.
    pub fn unmapped_path(&self, table: TableId, source: usize, field: &[String]) -> Option<String> {
        let position = self.tables.iter().position(|plan| plan.id == table)?;
        let base = self.base(position, source);
        let mut same = (0..self.tables.len()).filter(|&other| {
            let mut sources = self.sources(other);
            sources.any(|source| self.base(other, source) == base)
        });
        let is_open = |table: usize| self.tables[table].filter.is_open();
        let is_told = same.any(|other| is_open(other) && (other < position || !is_open(position)));
        (!is_told).then(|| base + &written(field))
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
        let above = self.base(parent, 0);
        if elements.path.is_self() {
            return above.trim_end_matches('.').to_owned() + each;
        }
        above + &written(elements.path.steps()) + each
    }
}

/// Names as a path of the mapping has them.
fn written(steps: &[String]) -> String {
    let steps: Vec<String> = steps
        .iter()
        .map(|step| Path::name(step).to_string())
        .collect();
    steps.join(".")
}
