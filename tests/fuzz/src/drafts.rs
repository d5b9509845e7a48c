//! `leafcutter draft`: whatever documents there are, the mapping is sound, and both sides make the same of it.

use crate::{documents, mappings::Mapped, rows};
use arbitrary::Unstructured;
use bson::RawDocumentBuf;
use leafcutter_operator::draft::{
    infer::{self, Seen},
    names::Names,
    profile::Profile,
    write::{self, CollectionDraft, References},
};

/// Names that mean something to YAML, to PostgreSQL, to MongoDB or to a mapping.
const NAMES: [&str; 40] = [
    "a",
    "b",
    "name",
    "items",
    "A",
    "a b",
    "a.b",
    "a..b",
    ".",
    "..",
    "$a",
    "$oid",
    "0",
    "-1",
    "",
    " a ",
    "yes",
    "null",
    "~",
    "- a",
    "a: b",
    "#a",
    "\"a\"",
    "'",
    "\\",
    "\n",
    "\t",
    "{}",
    "[a]",
    "*a",
    "&a",
    "!a",
    "%",
    "@",
    "lc_version",
    "select",
    "ünï",
    "日本語",
    "🙂",
    "a_name_that_is_longer_than_the_63_bytes_that_postgresql_takes_of_one",
];

/// Documents become a draft, which is read as the consumers do; then they go through it.
pub fn draft(bytes: &[u8]) {
    let mut from = Unstructured::new(bytes);
    let documents = some(&mut from).unwrap_or_default();
    if documents.is_empty() {
        return;
    }
    let mut profile = Profile::default();
    for document in &documents {
        profile.see(document);
    }
    let mut names = Names::default();
    let seen = Seen {
        name: "things",
        profile: &profile,
        references: &[],
    };
    let (table, _) = infer::tables(seen, &mut names);
    let tables = [table.name.clone()];
    let collection = CollectionDraft {
        name: "things".to_owned(),
        read: String::new(),
        table,
    };
    let references = References {
        tables: &tables,
        sure: &[],
    };
    let text = write::file("d", &[collection], &references);
    let mapped = Mapped::of(text.clone(), false)
        .unwrap_or_else(|why| panic!("{why}\nin\n{text}\nof {documents:?}"));
    for document in &documents {
        rows::compare(&mapped, document);
    }
}

fn some(from: &mut Unstructured<'_>) -> arbitrary::Result<Vec<RawDocumentBuf>> {
    let mut names = Vec::new();
    for _ in 0..from.int_in_range(1..=6)? {
        let name = if from.ratio(1, 6)? {
            from.arbitrary::<&str>()?.to_owned()
        } else {
            (*from.choose(&NAMES)?).to_owned()
        };
        names.push(name);
    }
    let mut all = Vec::new();
    for _ in 0..from.int_in_range(1..=5)? {
        let document = documents::document(from, &names)?;
        let Ok(document) = RawDocumentBuf::try_from(&document) else {
            continue;
        };
        all.push(document);
        if from.is_empty() {
            break;
        }
    }
    Ok(all)
}
