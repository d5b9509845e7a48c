//! What waits for what, from small mappings.

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

fn cyclic(tiers: &Tiers) -> String {
    let roots = tiers.cyclic_roots().iter();
    let roots = roots.map(|(_, name)| name.to_string());
    roots.collect::<Vec<_>>().join(" ")
}

#[test]
fn nobody_waits_in_a_cycle_for_what_may_be_missing() {
    let text = "
version: 1
database: d
collections:
  a:
    table: a
    key: id
    columns:
      id: { path: _id, type: text }
      a: { type: text, references: { table: a, on_missing: keep } }
      b: { type: text, references: { table: b } }
  b:
    table: b
    key: id
    columns:
      id: { path: _id, type: text }
      a: { type: text, references: { table: a, on_missing: keep } }
  c:
    table: c
    key: id
    columns:
      id: { path: _id, type: text }
      c: { type: text, references: { table: c, on_missing: null } }
  d:
    table: c
    key: id
    columns:
      id: { path: _id, type: text }
      c: { type: text, references: { table: c, on_missing: null } }
";
    let mapping = load(text, "mapping.yaml").unwrap_or_else(|faults| panic!("{faults}"));
    // Each collection that fills a table has its own documents that wait.
    let c = |collection| (collection, mapping.collections[2].tables[0].name.clone());
    assert_eq!(tiers(&mapping).cyclic_roots(), [c(2), c(3)]);
}

#[test]
fn finlits_collections_wait_for_what_they_point_to() {
    let text = include_str!("../../../examples/finlit/mapping.yaml");
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
    // But f's documents wait for g's, and g's for f's.
    assert_eq!(cyclic(&tiers), "a b e f g");
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
        let reaches_itself = |(from, name): &&(usize, TableName)| {
            let points = |at: usize| edges.iter().filter(move |e| e.0 == at).map(|e| e.1);
            let mut reached: Vec<usize> = Vec::new();
            let mut open: Vec<usize> = points(*from).collect();
            while let Some(at) = open.pop() {
                if !reached.contains(&at) {
                    reached.push(at);
                    open.extend(points(at));
                }
            }
            *name == mapping.collections[*from].tables[0].name && reached.contains(from)
        };
        let cyclic: Vec<_> = order.iter().filter(reaches_itself).cloned().collect();
        prop_assert_eq!(tiers.cyclic_roots(), cyclic);
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
