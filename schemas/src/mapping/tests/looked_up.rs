//! References by `_id`: what is accepted, and what is said about the rest.

use super::{HEAD, assert_faults, mapping};
use crate::mapping::{Conversion, ReferenceBy};

const NAILS: &str = "  posts:
    table: posts
    key: id
    columns:
      id: { path: old_id, type: bigint, generated: true }
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: bigint }
  tryons:
    table: tryons
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      post_id: { path: post, type: bigint, convert: object-id, references: { table: posts, by: _id } }
    children:
      - table: likes
        from: likes
        key: [id, post_id]
        columns:
          id: { parent: id }
          post_id: { path: ., type: bigint, required: true, references: { table: posts, by: _id } }
";

#[test]
fn the_id_of_a_document_whose_key_is_generated() {
    let mapping = mapping(&format!("{HEAD}{NAILS}"));
    let tryons = &mapping.collections[2].tables[0];
    let column = &tryons.columns[1];
    assert_eq!(column.conversion, Conversion::ObjectId);
    let reference = column.looked_up().unwrap();
    assert_eq!((reference.by, &*reference.column), (ReferenceBy::Id, "id"));
    assert!(tryons.children[0].columns[1].looked_up().is_some());
}

#[test]
fn what_is_said_about_the_rest() {
    let with = |from: &str, to: &str| {
        let text = NAILS.replacen(from, to, 1);
        assert_ne!(text, NAILS);
        text
    };
    let own = "{ table: posts, by: _id } }\n    children";
    assert_faults(&[
        (
            &with(own, "{ table: posts, by: id } }\n    children"),
            &[
                "mapping.yaml:19:96: collections.tryons.columns.post_id.references.by: unknown word `id`: known are `_id`; did you mean `_id`?",
            ],
        ),
        (
            &with(own, "{ table: people, by: _id } }\n    children"),
            &[
                "mapping.yaml:19:97: collections.tryons.columns.post_id.references.by: `people.id` is not generated: `by: _id` finds generated keys; leave it out, and give the column the key's own value",
            ],
        ),
        (
            &with(own, "{ table: posts } }\n    children"),
            &[
                "mapping.yaml:19:53: collections.tryons.columns.post_id.convert: `convert: object-id` is for references with `by: _id`",
            ],
        ),
        (
            &with(
                own,
                "{ table: posts, by: _id, on_missing: keep, on_delete: cascade } }\n    children",
            ),
            &[
                "mapping.yaml:19:113: collections.tryons.columns.post_id.references.on_missing: of a parent that is missing there is no key to keep",
                "mapping.yaml:19:130: collections.tryons.columns.post_id.references.on_delete: a reference by `_id` can have nothing but `hold` yet; did you mean `hold`?",
            ],
        ),
        (
            &with("convert: object-id", "convert: parse, default: 7"),
            &[
                "mapping.yaml:19:53: collections.tryons.columns.post_id.convert: what an `_id` is converted to can be `object-id`, or is left out; did you mean `object-id`?",
                "mapping.yaml:19:69: collections.tryons.columns.post_id.default: `default` says nothing of what is looked up",
            ],
        ),
        (
            &with("{ path: post, type", "{ constant: 7, type"),
            &[
                "mapping.yaml:19:54: collections.tryons.columns.post_id.convert: `convert` says nothing for a column with `constant`",
                "mapping.yaml:19:97: collections.tryons.columns.post_id.references.by: an `_id` is looked for that stands at a path",
            ],
        ),
        (
            &with(
                "    key: id\n    columns:\n      id: { path: _id, type: text, convert: text }",
                "    key: post_id\n    columns:\n      id: { path: _id, type: text, convert: text }",
            ),
            &[
                "mapping.yaml:16:10: collections.tryons.key: `post_id` may be missing, so it cannot be in the key: make it `required: true`",
                "mapping.yaml:19:96: collections.tryons.columns.post_id.references.by: the key of a collection's own table has to be known before anything is looked up",
                "mapping.yaml:23:14: collections.tryons.children[0].key: the key lacks the parent's key: a column with `parent: post_id`",
            ],
        ),
        (
            &format!(
                "{NAILS}        children:\n          - table: marks\n            from: marks\n            key: [id, post_id, n]\n            columns:\n              id: {{ parent: id }}\n              post_id: {{ parent: post_id }}\n              n: {{ position: true, type: integer }}\n"
            ),
            &[
                "mapping.yaml:33:34: collections.tryons.children[0].children[0].columns.post_id.parent: `post_id` is looked up by `_id`, so no table below can repeat it",
            ],
        ),
    ]);
}
