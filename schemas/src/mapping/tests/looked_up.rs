//! References by `_id`: what becomes of them.

use super::{HEAD, mapping};
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
