//! Generated columns: what is accepted, and what is said about the rest.

use super::{HEAD, assert_faults, mapping};
use crate::mapping::{Identity, PgType};

const POSTS: &str = "  posts:
    table: posts
    key: id
    columns:
      id: { path: old_id, type: bigint, generated: true, start: 1000 }
      number: { type: integer, generated: true }
      title: text
";

#[test]
fn numbers_that_the_document_does_not_have() {
    let posts = mapping(&format!("{HEAD}{POSTS}")).collections[0].tables[0].clone();
    assert!(posts.has_natural_key());
    assert_eq!(posts.generated_key(), Some(0));
    assert_eq!(posts.columns[0].generated, Some(1000));
    assert_eq!(posts.columns.len(), 2);
    let number = Identity {
        name: "number".to_owned(),
        pg_type: PgType::Int4,
        start: 1,
    };
    assert_eq!(posts.identity, Some(number));
}

#[test]
fn what_is_said_about_the_rest() {
    let with = |from: &str, to: &str| {
        let text = POSTS.replacen(from, to, 1);
        assert_ne!(text, POSTS);
        text
    };
    assert_faults(&[
        (
            &with("type: bigint", "type: text"),
            &[
                "mapping.yaml:8:33: collections.posts.columns.id.type: a generated column is a whole number, not `text`; did you mean `bigint`?",
            ],
        ),
        (
            &with("start: 1000", "start: 0"),
            &[
                "mapping.yaml:8:65: collections.posts.columns.id.start: `0` is no whole number from 1 to 9223372036854775807",
            ],
        ),
        (
            &with(", generated: true, start", ", required: true, start"),
            &[
                "mapping.yaml:8:64: collections.posts.columns.id.start: `start` says where a `generated: true` column begins",
            ],
        ),
        (
            &with("old_id", "_id"),
            &[
                "mapping.yaml:8:49: collections.posts.columns.id.generated: every document has an `_id`, so nothing is ever generated",
            ],
        ),
        (
            &with("start: 1000", "required: true"),
            &[
                "mapping.yaml:8:68: collections.posts.columns.id.required: `required` says nothing for a generated key",
            ],
        ),
        (
            &with("key: id", "on_same_key: newest-wins\n    key: id"),
            &[
                "mapping.yaml:9:52: collections.posts.columns.id.generated: no two documents are given one number, so none is the newest",
            ],
        ),
        (
            &with("{ type: integer,", "{ path: n, type: text,"),
            &[
                "mapping.yaml:9:23: collections.posts.columns.number.path: `path` says nothing for a generated column outside the key",
                "mapping.yaml:9:32: collections.posts.columns.number.type: a generated column is a whole number, not `text`; did you mean `bigint`?",
            ],
        ),
        (
            &with("title: text", "again: { type: integer, generated: true }"),
            &[
                "mapping.yaml:10:7: collections.posts.columns.again: a table has one generated column",
            ],
        ),
        (
            &with(
                "title: text",
                "title: text\n    children:\n      - { table: tags, from: tags, key: [id, n], columns: { id: { parent: id }, n: { position: true, type: integer }, k: { type: bigint, generated: true } } }",
            ),
            &[
                "mapping.yaml:12:119: collections.posts.children[0].columns.k: only a collection's own table has a generated column",
            ],
        ),
    ]);
}
