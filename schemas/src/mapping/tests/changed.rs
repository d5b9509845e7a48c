//! What differs between two mappings, and what it means for rows that are there.

use super::{FINLIT, mapping};
use crate::mapping::{Change, Effect, changes};

const BEFORE: &str = "\
version: 1
database: shop
collections:
  authors:
    table: authors
    key: id
    columns:
      id: { path: _id, type: bigint }
      name: { type: varchar(20), required: true }
      mood: { type: text, values: [good, bad] }
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: bigint }
      title: text
      author_id: { type: bigint, references: { table: authors } }
    children:
      - table: book_tags
        from: tags
        key: [book_id, position]
        columns:
          book_id: { parent: id }
          position: { position: true, type: integer }
          tag: { path: ., type: text, required: true }
";

fn differs(old: &str, new: &str) -> Vec<Change> {
    changes(&mapping(old), &mapping(new))
}

/// What one replacement in the file changes: the one collection, its words, the effect.
#[track_caller]
fn replaced(from: &str, to: &str) -> (String, Vec<String>, Effect) {
    let after = BEFORE.replacen(from, to, 1);
    assert_ne!(after, BEFORE, "{from}");
    let mut found = differs(BEFORE, &after);
    assert_eq!(found.len(), 1, "{found:#?}");
    let change = found.remove(0);
    assert_eq!(change.database, "shop");
    (change.collection, change.what, change.effect)
}

#[track_caller]
fn one(from: &str, to: &str, words: &str, effect: Effect) {
    let (_, what, found) = replaced(from, to);
    assert_eq!((what.join("; ").as_str(), found), (words, effect), "{to}");
}

#[test]
fn what_means_the_same_is_no_change() {
    assert_eq!(differs(FINLIT, FINLIT), []);
    for (from, to) in [
        ("version: 1", "# a comment\nversion: 1"),
        ("title: text", "title: { type: text }"),
        ("title: text", "title: { path: title, type: text }"),
        (
            "      name: { type: varchar(20), required: true }\n      mood: { type: text, values: [good, bad] }\n",
            "      mood: { type: text, values: [good, bad] }\n      name: { type: varchar(20), required: true }\n",
        ),
        (
            "          position: { position: true, type: integer }\n          tag: { path: ., type: text, required: true }\n",
            "          tag: { path: ., type: text, required: true }\n          position: { position: true, type: integer }\n",
        ),
    ] {
        let after = BEFORE.replacen(from, to, 1);
        assert_ne!(after, BEFORE, "{from}");
        assert_eq!(differs(BEFORE, &after), [], "{to}");
    }
    let (head, authors) = BEFORE.split_once("  authors:").unwrap();
    let (authors, books) = authors.split_once("  books:").unwrap();
    let turned = format!("{head}  books:{books}  authors:{authors}");
    assert_eq!(differs(BEFORE, &turned), []);
}

#[test]
fn what_is_new_has_to_be_filled() {
    one(
        "title: text",
        "title: text\n      year: int",
        "column books.year is new",
        Effect::Roots,
    );
    one(
        "          tag: {",
        "          size: { path: size, type: int }\n          tag: {",
        "column book_tags.size is new",
        Effect::Children,
    );
    one(
        "    children:\n",
        "    children:\n      - table: book_pages\n        from: pages\n        key: [book_id, n]\n        columns: { book_id: { parent: id }, n: { position: true, type: integer } }\n",
        "table book_pages is new",
        Effect::Children,
    );
    let more = format!(
        "{BEFORE}  clubs: {{ table: clubs, key: id, columns: {{ id: {{ path: _id, type: bigint }} }} }}\n"
    );
    let found = differs(BEFORE, &more);
    assert_eq!((found.len(), found[0].effect), (1, Effect::Nothing));
    assert_eq!(found[0].what, ["new"]);
    let gone = differs(&more, BEFORE);
    assert_eq!(
        (gone.len(), gone[0].collection.as_str(), gone[0].effect),
        (1, "clubs", Effect::Nothing)
    );
}

#[test]
fn what_takes_more_leaves_the_rows_as_they_are() {
    let letters = Effect::DeadLetters;
    one(
        "required: true }",
        "required: true, convert: text }",
        "the conversion of authors.name",
        letters,
    );
    one(
        "varchar(20), required: true }",
        "varchar(20) }",
        "`required` of authors.name",
        letters,
    );
    one(
        "varchar(20)",
        "varchar(40)",
        "the type of authors.name",
        letters,
    );
    one(
        "[good, bad]",
        "[bad, good, odd]",
        "the values of authors.mood",
        letters,
    );
    one(
        "[good, bad] }",
        "[good, bad], invalid: \"null\" }",
        "`invalid` of authors.mood",
        letters,
    );
}

#[test]
fn what_makes_other_rows_puts_them_behind() {
    let roots = Effect::Roots;
    one(
        "varchar(20)",
        "varchar(10)",
        "the type of authors.name",
        roots,
    );
    one(
        "title: text",
        "title: { type: text, required: true }",
        "`required` of books.title",
        roots,
    );
    one(
        "title: text",
        "title: { path: name, type: text }",
        "where books.title comes from",
        roots,
    );
    one(
        "title: text",
        "title: { type: text, default: none }",
        "the default of books.title",
        roots,
    );
    one("[good, bad]", "[good]", "the values of authors.mood", roots);
    one(
        "    table: authors\n",
        "    table: authors\n    where: { name: exists }\n",
        "conditions of authors",
        roots,
    );
    one(
        "from: tags",
        "from: labels",
        "elements of book_tags",
        Effect::Children,
    );
    one(
        "key: [book_id, position]",
        "key: [book_id, tag]",
        "key of book_tags",
        Effect::Children,
    );
    one(
        "references: { table: authors }",
        "references: { table: authors, on_missing: keep }",
        "the reference of books.author_id",
        roots,
    );
}

#[test]
fn what_is_left_out_or_about_later_leaves_the_rows_as_they_are() {
    one(
        "      title: text\n",
        "",
        "column books.title is left out: it stays",
        Effect::Nothing,
    );
    one(
        "references: { table: authors }",
        "references: { table: authors, on_delete: cascade }",
        "`on_delete` of books.author_id",
        Effect::Nothing,
    );
    one(
        "title: text",
        "title: { type: text, index: true }",
        "indexes of books",
        Effect::Nothing,
    );
    one(
        "title: text",
        "title: { type: text, unique: true }",
        "unique keys of books",
        Effect::Nothing,
    );
    one(
        "    table: books\n",
        "    table: books\n    poll_by: updated\n",
        "poll_by",
        Effect::Nothing,
    );
}

#[test]
fn what_no_other_column_takes_is_looked_at_where_one_goes() {
    let with_rest = BEFORE.replacen(
        "title: text",
        "title: text\n      more: { type: jsonb, rest: true }",
        1,
    );
    let without = with_rest.replacen("      title: text\n", "", 1);
    let found = differs(&with_rest, &without);
    assert_eq!(found[0].effect, Effect::Children, "{found:#?}");
    assert!(
        found[0]
            .what
            .contains(&"what is left for books.more".to_owned()),
        "{found:#?}"
    );
}
