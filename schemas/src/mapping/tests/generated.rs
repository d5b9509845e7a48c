//! Generated columns: what becomes of them.

use super::{HEAD, mapping};
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
