//! The examples of `docs/mapping.md` are mappings: whole files, or columns of one.

use super::mapping;

const DOCUMENT: &str = include_str!("../../../../docs/mapping.md");

/// What stands between "```yaml" and "```".
fn examples() -> Vec<&'static str> {
    let blocks = DOCUMENT.split("```yaml\n").skip(1);
    blocks
        .filter_map(|block| block.split("```").next())
        .collect()
}

#[test]
fn the_documented_examples_load() {
    let examples = examples();
    assert!(examples.len() >= 6, "{}", examples.len());
    for example in examples {
        if example.starts_with("version:") {
            mapping(example);
            continue;
        }
        let columns: String = example
            .lines()
            .map(|line| format!("      {line}\n"))
            .collect();
        mapping(&format!(
            "version: 1
database: shop
collections:
  people:
    table: people
    key: person_id
    columns:
      person_id: {{ path: _id, type: uuid, convert: uuid-v5 }}
{columns}"
        ));
    }
}
