//! The order that references impose: a collection's documents are applied when those it points to
//! are there.
//!
//! Collections form a graph: one that refers points to what it refers to. Collections that refer to
//! each other in a circle are collapsed into one (Tarjan's strongly connected components), so that
//! what remains has no circle and every collection gets a tier: 0 for those without parents, otherwise
//! one more than its highest parent.

use super::{Mapping, OnMissing, Reference, Table, TableName};
use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};

/// Positions, each with an edge to those it points to.
type Graph = DiGraphMap<usize, ()>;

/// The order of a mapping's collections and tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    tiers: Vec<usize>,
    parents: Vec<Vec<usize>>,
    cycles: Vec<Vec<usize>>,
    table_order: Vec<(usize, TableName)>,
    cyclic_roots: Vec<(usize, TableName)>,
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

    /// All tables, each with the collection that fills it: the referenced before the referring (but
    /// for cycles) and a root before its children; otherwise in the order of the mapping. A table
    /// that several collections fill stands there for each.
    pub fn table_order(&self) -> Vec<(usize, TableName)> {
        self.table_order.clone()
    }

    /// The root tables whose rows may wait for each other in a cycle: they point, themselves or from
    /// the tables below, to themselves, or to each other. In the order of [`Tiers::table_order`].
    pub fn cyclic_roots(&self) -> &[(usize, TableName)] {
        &self.cyclic_roots
    }
}

/// Orders a mapping by its references.
pub fn tiers(mapping: &Mapping) -> Tiers {
    let graph = collections(mapping);
    let mut tiers = vec![0; mapping.collections.len()];
    let mut parents = vec![Vec::new(); mapping.collections.len()];
    let mut cycles = Vec::new();
    // Those pointed to come first, so their tiers are known; a whole circle gets its tier at once.
    for mut group in tarjan_scc(&graph) {
        group.sort_unstable();
        let above = outside(&graph, &group).map(|parent| tiers[parent] + 1);
        let tier = above.max().unwrap_or(0);
        for &member in &group {
            tiers[member] = tier;
            parents[member] = graph.neighbors(member).collect();
            parents[member].retain(|parent| !group.contains(parent));
            parents[member].sort_unstable();
        }
        if group.len() > 1 {
            cycles.push(group);
        }
    }
    cycles.sort_unstable();
    let table_order = table_order(mapping);
    let cyclic = cyclic_roots(mapping);
    let cyclic_roots = table_order.iter().filter(|table| cyclic.contains(table));
    Tiers {
        tiers,
        parents,
        cycles,
        cyclic_roots: cyclic_roots.cloned().collect(),
        table_order,
    }
}

/// So many nodes, and what points to what.
fn graph(nodes: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Graph {
    let mut graph = Graph::from_edges(edges);
    for node in 0..nodes {
        graph.add_node(node);
    }
    graph
}

/// What a circle points to beside itself.
fn outside(graph: &Graph, group: &[usize]) -> impl Iterator<Item = usize> {
    let all = group.iter().flat_map(|&member| graph.neighbors(member));
    all.filter(|to| !group.contains(to))
}

/// All nodes, those pointed to first (but for circles); otherwise in their own order.
fn order(graph: &Graph) -> Vec<usize> {
    // What points out of a circle holds up the whole of it.
    let mut waits_for = vec![Vec::new(); graph.node_count()];
    for group in tarjan_scc(graph) {
        for &member in &group {
            waits_for[member] = outside(graph, &group).collect();
        }
    }
    let mut order: Vec<usize> = Vec::with_capacity(waits_for.len());
    let mut placed = vec![false; waits_for.len()];
    while let Some(node) = (0..placed.len())
        .find(|&node| !placed[node] && waits_for[node].iter().all(|&to: &usize| placed[to]))
    {
        placed[node] = true;
        order.push(node);
    }
    order
}

/// What these tables and those below them point to.
fn references(tables: &[Table]) -> impl Iterator<Item = &Reference> {
    let tables = tables.iter().flat_map(Table::with_descendants);
    let columns = tables.flat_map(|table| &table.columns);
    columns.filter_map(|column| column.reference.as_ref())
}

fn collections(mapping: &Mapping) -> Graph {
    let all = || mapping.collections.iter().enumerate();
    let edges = all().flat_map(|(from, collection)| {
        references(&collection.tables).flat_map(move |reference| {
            let owners = all().filter(|(_, c)| c.tables.iter().any(|t| t.name == reference.table));
            owners.map(move |(to, _)| (from, to))
        })
    });
    graph(mapping.collections.len(), edges)
}

fn table_order(mapping: &Mapping) -> Vec<(usize, TableName)> {
    let collections = mapping.collections.iter().enumerate();
    let tables: Vec<_> = collections
        .flat_map(|(index, c)| c.with_descendants().into_iter().map(move |t| (index, t)))
        .collect();
    let mut edges = Vec::new();
    let places = |wanted: &TableName, of: Option<usize>| -> Vec<usize> {
        let all = tables.iter().enumerate();
        all.filter(|(_, (index, table))| {
            table.name == *wanted && of.is_none_or(|collection| collection == *index)
        })
        .map(|(position, _)| position)
        .collect()
    };
    for (position, (index, table)) in tables.iter().enumerate() {
        let references = table
            .columns
            .iter()
            .filter_map(|column| column.reference.as_ref());
        // A table that points to itself is in no circle with itself, whoever fills it.
        let others = references.filter(|reference| reference.table != table.name);
        let others = others.flat_map(|reference| places(&reference.table, None));
        edges.extend(others.map(|other| (position, other)));
        for child in &table.children {
            let children = places(&child.name, Some(*index)).into_iter();
            edges.extend(children.map(|child| (child, position)));
        }
    }
    order(&graph(tables.len(), edges))
        .into_iter()
        .map(|position| (tables[position].0, tables[position].1.name.clone()))
        .collect()
}

/// The root tables in a circle, each alone or several. Rows do not wait for a parent where a missing
/// one is kept as it is.
fn cyclic_roots(mapping: &Mapping) -> Vec<(usize, TableName)> {
    let collections = mapping.collections.iter().enumerate();
    let roots: Vec<_> = collections
        .flat_map(|(index, c)| c.tables.iter().map(move |table| (index, table)))
        .collect();
    let mut edges = Vec::new();
    for (position, (_, root)) in roots.iter().enumerate() {
        for reference in references(std::slice::from_ref(*root)) {
            let parents = roots.iter().enumerate().filter(|(_, (_, parent))| {
                parent.name == reference.table && reference.on_missing != OnMissing::Keep
            });
            edges.extend(parents.map(|(parent, _)| (position, parent)));
        }
    }
    let graph = graph(roots.len(), edges);
    let circles = tarjan_scc(&graph).into_iter();
    circles
        .filter(|circle| circle.len() > 1 || graph.contains_edge(circle[0], circle[0]))
        .flatten()
        .map(|position| (roots[position].0, roots[position].1.name.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
