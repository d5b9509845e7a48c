//! The order that references impose: a collection's documents are applied when those it points to
//! are there.
//!
//! Collections form a graph: one that refers points to what it refers to. Collections that refer to
//! each other in a circle are collapsed into one, so that what remains has no circle and every
//! collection gets a tier: 0 for those without parents, otherwise one more than its highest parent.
//! Graphs have as many nodes as a mapping has tables, so plain searches from every node will do.

use super::{Mapping, TableName};
use std::collections::BTreeMap;

/// The order of a mapping's collections and tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    tiers: Vec<usize>,
    parents: Vec<Vec<usize>>,
    cycles: Vec<Vec<usize>>,
    table_order: Vec<TableName>,
}

impl Tiers {
    /// The tier of each collection, in the order of the mapping.
    pub fn tiers(&self) -> &[usize] {
        &self.tiers
    }

    /// The tier of a collection: 0 if it has no parents.
    pub fn tier(&self, collection: usize) -> usize {
        self.tiers[collection]
    }

    /// The collections that the rows of this one point to, in the order of the mapping, without
    /// itself and without those in the same cycle.
    pub fn parents(&self, collection: usize) -> Vec<usize> {
        self.parents[collection].clone()
    }

    /// The groups of collections that refer to each other in a circle.
    pub fn cycles(&self) -> Vec<Vec<usize>> {
        self.cycles.clone()
    }

    /// All tables, the referenced before the referring (but for cycles) and a root before its
    /// children; otherwise in the order of the mapping.
    pub fn table_order(&self) -> Vec<TableName> {
        self.table_order.clone()
    }
}

/// Orders a mapping by its references.
pub fn tiers(mapping: &Mapping) -> Tiers {
    let graph = collections(mapping);
    let groups = graph.groups();
    let mut tiers = vec![0; graph.0.len()];
    // The order has parents first, so their tiers are known.
    for node in graph.order(&groups) {
        let above = graph.0[node]
            .iter()
            .filter(|parent| groups[**parent] != groups[node]);
        let tier = above.map(|&parent| tiers[parent] + 1).max().unwrap_or(0);
        for member in (0..graph.0.len()).filter(|&other| groups[other] == groups[node]) {
            tiers[member] = tiers[member].max(tier);
        }
    }
    let parents = graph.0.iter().enumerate().map(|(node, parents)| {
        parents
            .iter()
            .copied()
            .filter(|&parent| groups[parent] != groups[node])
            .collect()
    });
    let mut cycles: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (node, group) in groups.iter().enumerate() {
        cycles.entry(*group).or_default().push(node);
    }
    Tiers {
        parents: parents.collect(),
        cycles: cycles
            .into_values()
            .filter(|cycle| cycle.len() > 1)
            .collect(),
        tiers,
        table_order: table_order(mapping),
    }
}

/// For each node, those it points to: sorted, without itself.
struct Graph(Vec<Vec<usize>>);

impl Graph {
    fn new(mut edges: Vec<Vec<usize>>) -> Self {
        for (node, to) in edges.iter_mut().enumerate() {
            to.sort_unstable();
            to.dedup();
            to.retain(|&other| other != node);
        }
        Self(edges)
    }

    fn reachable(&self, from: usize) -> Vec<bool> {
        let mut seen = vec![false; self.0.len()];
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            for &next in &self.0[node] {
                if !seen[next] {
                    seen[next] = true;
                    open.push(next);
                }
            }
        }
        seen
    }

    /// For each node the first of those it is in a circle with, or itself.
    fn groups(&self) -> Vec<usize> {
        let reachable: Vec<_> = (0..self.0.len()).map(|node| self.reachable(node)).collect();
        let circle = |a: usize, b: usize| reachable[a][b] && reachable[b][a];
        (0..self.0.len())
            .map(|node| (0..node).find(|&other| circle(node, other)).unwrap_or(node))
            .collect()
    }

    /// All nodes, those pointed to first (but for circles); otherwise in their own order.
    fn order(&self, groups: &[usize]) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::with_capacity(self.0.len());
        let mut placed = vec![false; self.0.len()];
        // What points into another group waits for all of that group.
        let ready = |node: usize, placed: &[bool]| {
            (0..self.0.len())
                .filter(|&member| groups[member] == groups[node])
                .all(|member| {
                    self.0[member]
                        .iter()
                        .all(|&to| groups[to] == groups[node] || placed[to])
                })
        };
        while let Some(node) = (0..self.0.len()).find(|&n| !placed[n] && ready(n, &placed)) {
            placed[node] = true;
            order.push(node);
        }
        order
    }
}

fn collections(mapping: &Mapping) -> Graph {
    let owners: BTreeMap<&TableName, usize> = mapping
        .collections
        .iter()
        .enumerate()
        .map(|(index, c)| (&c.root.name, index))
        .collect();
    let edges = mapping.collections.iter().map(|collection| {
        let tables = collection.root.with_descendants();
        let columns = tables.iter().flat_map(|table| &table.columns);
        let references = columns.filter_map(|column| column.reference.as_ref());
        references
            .filter_map(|reference| owners.get(&reference.table).copied())
            .collect()
    });
    Graph::new(edges.collect())
}

fn table_order(mapping: &Mapping) -> Vec<TableName> {
    let tables: Vec<_> = mapping.tables().map(|(_, table)| table).collect();
    let positions: BTreeMap<&TableName, usize> = tables
        .iter()
        .enumerate()
        .map(|(position, table)| (&table.name, position))
        .collect();
    let mut edges: Vec<Vec<usize>> = vec![Vec::new(); tables.len()];
    for (position, table) in tables.iter().enumerate() {
        let references = table
            .columns
            .iter()
            .filter_map(|column| column.reference.as_ref());
        edges[position].extend(references.filter_map(|r| positions.get(&r.table)));
        for child in &table.children {
            if let Some(&child) = positions.get(&child.name) {
                edges[child].push(position);
            }
        }
    }
    let graph = Graph::new(edges);
    let order = graph.order(&graph.groups());
    order
        .into_iter()
        .map(|position| tables[position].name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::parse::load;

    fn finlit() -> Mapping {
        load(
            include_str!("../../examples/finlit/mapping.yaml"),
            "mapping.yaml",
        )
        .unwrap()
    }

    #[test]
    fn finlits_collections_wait_for_what_they_point_to() {
        let mapping = finlit();
        let tiers = tiers(&mapping);
        assert_eq!(tiers.tiers(), [0, 0, 0, 1, 1, 1, 0, 1, 1]);
        assert_eq!(tiers.parents(5), [0, 1, 2]);
        assert_eq!(tiers.parents(1), [0; 0]);
        assert!(tiers.cycles().is_empty());
        let order: Vec<_> = tiers
            .table_order()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            order,
            [
                "learners",
                "knowledge_components",
                "learning_items",
                "learning_item_media",
                "learning_item_tags",
                "item_kc_mappings",
                "learner_skill_states",
                "interactions",
                "achievements",
                "learner_achievements",
                "daily_progress",
            ]
        );
    }
}
