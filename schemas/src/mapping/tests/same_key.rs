//! Keys that do not follow from `_id`: what becomes of them.

use super::{HEAD, mapping};
use crate::mapping::SameKey;

const DAYS: &str = "  days:
    table: days
    key: [person, day]
    on_same_key: newest-wins
    newest_by: at
    columns:
      person: { type: bigint, required: true }
      day: { type: date, required: true }
      at: timestamptz
";

#[test]
fn keys_that_the_document_tells() {
    let table = |text: &str| mapping(&format!("{HEAD}{text}")).collections[0].tables[0].clone();
    let days = table(DAYS);
    assert!(days.has_natural_key());
    assert_eq!(days.same_key, SameKey::NewestWins { by: Some(2) });
    let plain = table(&DAYS.replace("    newest_by: at\n", ""));
    assert_eq!(plain.same_key, SameKey::NewestWins { by: None });
    for without in ["", "    on_same_key: first-stays\n"] {
        let lines = "    on_same_key: newest-wins\n    newest_by: at\n";
        let first = table(&DAYS.replace(lines, without));
        assert!(first.has_natural_key());
        assert_eq!(first.same_key, SameKey::FirstStays);
    }
    // Part of the `_id` and part of the document.
    let mixed = DAYS.replace("person: {", "person: { path: _id,");
    assert!(table(&mixed).has_natural_key());
    let from_id = DAYS.replace("[person, day]", "person");
    let from_id = from_id.replace("person: {", "person: { path: _id.n,");
    let from_id = from_id.replace("    on_same_key: newest-wins\n    newest_by: at\n", "");
    assert!(!table(&from_id).has_natural_key());
}
