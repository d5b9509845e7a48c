//! Keys that do not follow from `_id`: what is accepted, and what is said about the rest.

use super::{HEAD, assert_faults, mapping};
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

#[test]
fn what_is_said_about_the_rest() {
    let with = |from: &str, to: &str| {
        let text = DAYS.replacen(from, to, 1);
        assert_ne!(text, DAYS);
        text
    };
    assert_faults(&[
        (
            &with("newest-wins", "newest-win"),
            &["mapping.yaml:7:18: collections.days.on_same_key: unknown word `newest-win`: known are `first-stays`, `newest-wins`; did you mean `newest-wins`?"],
        ),
        (
            &with("newest_by: at", "newest_by: ad"),
            &["mapping.yaml:8:16: collections.days.newest_by: the table has no column `ad`; did you mean `at`?"],
        ),
        (
            &with("at: timestamptz", "at: text"),
            &["mapping.yaml:8:16: collections.days.newest_by: `at` is `text`: how new a document is, a date, a time or a whole number says"],
        ),
        (
            &with("    on_same_key: newest-wins\n", ""),
            &["mapping.yaml:7:16: collections.days.newest_by: `newest_by` says what `on_same_key: newest-wins` goes by"],
        ),
        (
            &with("[person, day]", "[day]").replace("day: {", "day: { path: _id,"),
            &["mapping.yaml:7:18: collections.days.on_same_key: the key follows from `_id`, so no two documents have the same one"],
        ),
        (
            &with("type: bigint", "type: double precision"),
            &["mapping.yaml:6:11: collections.days.key[0]: `person` is `double precision`, in which equal values may look different: a key that does not follow from `_id` has none"],
        ),
        (
            &with("    key:", "    delete: { soft: gone }\n    key:"),
            &["mapping.yaml:6:21: collections.days.delete.soft: a row whose key does not follow from `_id` may become another document's, so it cannot stay behind"],
        ),
        (
            &with("person: { type: bigint, required: true }", "person: { type: bigint, required: true, references: { table: people, on_delete: cascade } }")
                .replace("  days:\n", "  people: { table: people, key: id, columns: { id: { path: _id, type: bigint } } }\n  days:\n"),
            &["mapping.yaml:11:87: collections.days.columns.person.references.on_delete: with a key that does not follow from `_id`, `on_delete` can be nothing but `hold` yet; did you mean `hold`?"],
        ),
        (
            &format!("{DAYS}{}", DAYS.replace("  days:", "  nights:")),
            &[
                "mapping.yaml:6:10: collections.days.key: the key of a table that several collections fill has to follow from `_id` yet",
                "mapping.yaml:15:10: collections.nights.key: the key of a table that several collections fill has to follow from `_id` yet",
            ],
        ),
    ]);
}
