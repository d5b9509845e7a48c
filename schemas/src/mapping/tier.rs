//! The order that references impose: a collection's documents are applied when those it points to
//! are there.
//!
//! Collections form a graph: one that refers points to what it refers to. Collections that refer to
//! each other in a circle are collapsed into one, so that what remains has no circle and every
//! collection gets a tier: 0 for those without parents, otherwise one more than its highest parent.
//! Graphs have as many nodes as a mapping has tables, so plain searches from every node will do.

use super::{Mapping, TableName};

/// The order of a mapping's collections and tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    tiers: Vec<usize>,
    parents: Vec<Vec<usize>>,
    cycles: Vec<Vec<usize>>,
    table_order: Vec<(usize, TableName)>,
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
}

/// Orders a mapping by its references.
pub fn tiers(mapping: &Mapping) -> Tiers {
    let graph = collections(mapping);
    let groups = graph.groups();
    let members = members(&groups);
    let mut tiers: Vec<Option<usize>> = vec![None; graph.0.len()];
    // Parents come first, so their tiers are known; a whole circle gets its tier at once.
    for node in graph.order(&groups) {
        let group = &members[groups[node]];
        let above = group
            .iter()
            .flat_map(|&m| &graph.0[m])
            .filter(|&&p| groups[p] != groups[node]);
        let tier = above
            .filter_map(|&parent| tiers[parent])
            .map(|tier| tier + 1)
            .max();
        for &member in group {
            tiers[member].get_or_insert(tier.unwrap_or(0));
        }
    }
    let parents = graph.0.iter().enumerate().map(|(node, parents)| {
        parents
            .iter()
            .copied()
            .filter(|&parent| groups[parent] != groups[node])
            .collect()
    });
    Tiers {
        parents: parents.collect(),
        tiers: tiers.into_iter().map(|tier| tier.unwrap_or(0)).collect(),
        cycles: members
            .into_iter()
            .filter(|group| group.len() > 1)
            .collect(),
        table_order: table_order(mapping),
    }
}

/// The nodes of each group, at the place of its first.
fn members(groups: &[usize]) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); groups.len()];
    for (node, &group) in groups.iter().enumerate() {
        members[group].push(node);
    }
    members
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
        let members = members(groups);
        // What points out of a circle holds up the whole of it.
        let ready = |node: usize, placed: &[bool]| {
            let group = members[groups[node]].iter();
            let mut outside = group
                .flat_map(|&m| &self.0[m])
                .filter(|&&to| groups[to] != groups[node]);
            outside.all(|&to| placed[to])
        };
        while let Some(node) = (0..self.0.len()).find(|&n| !placed[n] && ready(n, &placed)) {
            placed[node] = true;
            order.push(node);
        }
        order
    }
}

fn collections(mapping: &Mapping) -> Graph {
    let owners: Vec<(&TableName, usize)> = mapping
        .collections
        .iter()
        .enumerate()
        .flat_map(|(index, c)| c.tables.iter().map(move |table| (&table.name, index)))
        .collect();
    let edges = mapping.collections.iter().map(|collection| {
        let tables = collection.with_descendants();
        let columns = tables.iter().flat_map(|table| &table.columns);
        let references = columns.filter_map(|column| column.reference.as_ref());
        references
            .flat_map(|reference| {
                let filled = owners.iter().filter(|(name, _)| **name == reference.table);
                filled.map(|(_, owner)| *owner)
            })
            .collect()
    });
    Graph::new(edges.collect())
}

fn table_order(mapping: &Mapping) -> Vec<(usize, TableName)> {
    let collections = mapping.collections.iter().enumerate();
    let tables: Vec<_> = collections
        .flat_map(|(index, c)| c.with_descendants().into_iter().map(move |t| (index, t)))
        .collect();
    let mut edges: Vec<Vec<usize>> = vec![Vec::new(); tables.len()];
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
        edges[position].extend(
            references
                .filter(|r| r.table != table.name)
                .flat_map(|r| places(&r.table, None)),
        );
        for child in &table.children {
            for child in places(&child.name, Some(*index)) {
                edges[child].push(position);
            }
        }
    }
    let graph = Graph::new(edges);
    let order = graph.order(&graph.groups());
    order
        .into_iter()
        .map(|position| (tables[position].0, tables[position].1.name.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::parse::load;
    use proptest::prelude::*;

    /// A mapping with a collection and a table for each name, pointing to those named behind it;
    /// those behind `/` are pointed to by a child table.
    fn mapping(collections: &[&str]) -> Mapping {
        let mut text = "version: 1\ndatabase: d\ncollections:\n".to_owned();
        for collection in collections {
            let (name, to) = collection.split_once(' ').unwrap_or((collection, ""));
            let (own, childs) = to.split_once('/').unwrap_or((to, ""));
            let references = |to: &str, indent: &str| -> String {
                to.split_whitespace()
                    .map(|to| {
                        format!("{indent}{to}: {{ type: text, references: {{ table: {to} }} }}\n")
                    })
                    .collect()
            };
            text += &format!(
                "  {name}:\n    table: {name}\n    key: id\n    columns:\n      id: {{ path: _id, type: text }}\n{}",
                references(own, "      ")
            );
            text += &format!(
                "    children:\n    - table: {name}_child\n      from: x\n      key: [id, n]\n      columns:\n        \
                 id: {{ parent: id }}\n        n: {{ position: true, type: integer }}\n{}",
                references(childs, "        ")
            );
        }
        load(&text, "mapping.yaml").unwrap_or_else(|faults| panic!("{faults}\n{text}"))
    }

    fn order(tiers: &Tiers) -> String {
        let roots = tiers
            .table_order()
            .into_iter()
            .map(|(_, name)| name.to_string());
        roots
            .filter(|name| !name.ends_with("_child"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn finlits_collections_wait_for_what_they_point_to() {
        let text = include_str!("../../examples/finlit/mapping.yaml");
        let mapping = load(text, "mapping.yaml").unwrap();
        let tiers = tiers(&mapping);
        assert_eq!(tiers.tiers(), [0, 0, 0, 1, 1, 1, 0, 1, 1]);
        assert_eq!(tiers.parents(5), [0, 1, 2]);
        // It points to itself only.
        assert_eq!(tiers.parents(1), [0; 0]);
        assert!(tiers.cycles().is_empty());
        let order: Vec<_> = tiers
            .table_order()
            .iter()
            .map(|(_, name)| name.to_string())
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

    #[test]
    fn a_tier_is_one_more_than_the_highest_parent() {
        let tiers = tiers(&mapping(&["a b d", "b c", "c", "d"]));
        assert_eq!(tiers.tiers(), [2, 1, 0, 0]);
        assert_eq!(tiers.parents(0), [1, 3]);
        assert_eq!(order(&tiers), "c b d a");
    }

    #[test]
    fn a_child_tables_reference_counts_for_its_collection() {
        let tiers = tiers(&mapping(&["a /b", "b"]));
        assert_eq!(tiers.tiers(), [1, 0]);
        assert_eq!(tiers.parents(0), [1]);
        let tables: Vec<_> = tiers
            .table_order()
            .iter()
            .map(|(_, name)| name.to_string())
            .collect();
        // The root itself points to nothing.
        assert_eq!(tables, ["a", "b", "a_child", "b_child"]);
    }

    #[test]
    fn a_circle_is_one_place_in_the_order() {
        // a and b are a circle above c; d is below it, e a circle by itself.
        let tiers = tiers(&mapping(&[
            "d a", "a b", "b a c", "c", "e e", "f /g", "g f",
        ]));
        assert_eq!(tiers.cycles(), [vec![1, 2], vec![5, 6]]);
        assert_eq!(tiers.tiers(), [2, 1, 1, 0, 0, 0, 0]);
        assert_eq!(tiers.parents(0), [1]);
        assert_eq!(tiers.parents(1), [0; 0]);
        assert_eq!(tiers.parents(2), [3]);
        assert_eq!(tiers.parents(4), [0; 0]);
        // Between tables f and g are no circle: f, g, f_child.
        assert_eq!(order(&tiers), "c a d b e f g");
    }

    proptest! {
        #[test]
        fn parents_come_first_whatever_points_where(
            edges in prop::collection::vec((0..9usize, 0..9usize, any::<bool>()), 0..20)
        ) {
            let names: Vec<String> = (0..9)
                .map(|from| {
                    let to = |child: bool| -> String {
                        let of = |n: &usize| edges.contains(&(from, *n, child));
                        (0..9).filter(of).map(|n| format!(" t{n}")).collect()
                    };
                    format!("t{from} {} /{}", to(false), to(true))
                })
                .collect();
            let mapping = mapping(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let tiers = tiers(&mapping);
            let order = tiers.table_order();
            let place = |name: &TableName| order.iter().position(|(_, other)| other == name).unwrap();
            let group = |n: usize| tiers.cycles().into_iter().find(|c| c.contains(&n)).unwrap_or(vec![n]);
            prop_assert_eq!(order.len(), 18);
            for (index, collection) in mapping.collections.iter().enumerate() {
                prop_assert!(place(&collection.tables[0].name) < place(&collection.tables[0].children[0].name));
                for &(from, to, child) in &edges {
                    if from != index || to == index {
                        continue;
                    }
                    let together = group(from).contains(&to);
                    prop_assert_eq!(tiers.parents(from).contains(&to), !together);
                    prop_assert!(together || tiers.tier(from) > tiers.tier(to));
                    let table = if child { &collection.tables[0].children[0] } else { &collection.tables[0] };
                    // A child table is never pointed to, so it is in no circle.
                    if child || !together {
                        prop_assert!(place(&table.name) > place(&mapping.collections[to].tables[0].name));
                    }
                }
            }
        }
    }
}
