//! Tables become the text of a mapping, with a comment beside each column.
//!
//! Every text that comes from the database is written so that YAML gives it back as it is: plain where it
//! is a plain word, else in double quotes with what cannot be printed escaped. Comments hold no line break.

use super::infer::{ColumnDraft, Origin, TableDraft, show_path};
use std::fmt::Write as _;

/// A collection as it is written.
#[derive(Debug)]
pub struct CollectionDraft {
    /// Its name.
    pub name: String,
    /// What was read of it.
    pub read: String,
    /// Its table.
    pub table: TableDraft,
}

/// How references are written: which tables have the keys, and which of the references are sure.
#[derive(Debug)]
pub struct References<'r> {
    /// By the position of a collection, its table.
    pub tables: &'r [String],
    /// Tables and columns whose values all have their parents.
    pub sure: &'r [(String, String)],
}

/// The whole file.
pub fn file(
    database: &str,
    collections: &[CollectionDraft],
    references: &References<'_>,
) -> String {
    let mut out = String::new();
    line_out(&mut out, "version: 1");
    line_out(&mut out, &format!("database: {}", word(database)));
    line_out(&mut out, "");
    line_out(&mut out, "collections:");
    for collection in collections {
        out.push_str(&one(collection, references));
    }
    out
}

/// One collection, as it stands under `collections`.
pub fn one(collection: &CollectionDraft, references: &References<'_>) -> String {
    let mut out = String::new();
    line_out(&mut out, &format!("  # {}", printable(&collection.read)));
    line_out(&mut out, &format!("  {}:", word(&collection.name)));
    table(&mut out, &collection.table, 4, references);
    out
}

fn table(out: &mut String, table: &TableDraft, indent: usize, references: &References<'_>) {
    let pad = " ".repeat(indent);
    line_out(out, &format!("{pad}table: {}", word(&table.name)));
    body(out, table, &pad, references);
}

fn body(out: &mut String, table: &TableDraft, pad: &str, references: &References<'_>) {
    if let Some(from) = &table.from {
        line_out(out, &format!("{pad}from: {}", word(&show_path(from))));
    }
    let key: Vec<String> = table.key.iter().map(|name| word(name)).collect();
    match key.as_slice() {
        [only] => line_out(out, &format!("{pad}key: {only}")),
        several => line_out(out, &format!("{pad}key: [{}]", several.join(", "))),
    }
    line_out(out, &format!("{pad}columns:"));
    for column in &table.columns {
        let text = self::column(table, column, references);
        line_out(out, &format!("{pad}  {text}"));
    }
    if table.children.is_empty() {
        return;
    }
    line_out(out, &format!("{pad}children:"));
    for child in &table.children {
        line_out(out, &format!("{pad}  - table: {}", word(&child.name)));
        let inner = format!("{pad}    ");
        body(out, child, &inner, references);
    }
}

/// `name: { path: a.b, type: text }  # 97 % text`.
fn column(table: &TableDraft, column: &ColumnDraft, references: &References<'_>) -> String {
    let typed = format!("type: {}", column.typed.name);
    let mut keys: Vec<String> = Vec::new();
    match &column.origin {
        Origin::Path(path) => {
            if path.len() != 1 || path.first() != Some(&column.name) {
                keys.push(format!("path: {}", word(&show_path(path))));
            }
            keys.push(typed);
        }
        Origin::Parent(of) => keys.push(format!("parent: {}", word(of))),
        Origin::Position => keys.extend(["position: true".to_owned(), typed]),
        Origin::Rest => keys.extend(["rest: true".to_owned(), typed]),
    }
    if let (Some(convert), false) = (
        column.typed.convert,
        matches!(column.origin, Origin::Parent(_)),
    ) {
        keys.push(format!("convert: {convert}"));
    }
    if column.without_nul {
        keys.push("invalid: { nul: truncate }".to_owned());
    }
    let mut comment = column.comment.clone();
    if let Some(parent) = column
        .parent
        .and_then(|parent| references.tables.get(parent))
    {
        let place = (table.name.clone(), column.name.clone());
        if references.sure.contains(&place) {
            keys.push(format!("references: {{ table: {} }}", word(parent)));
        } else {
            let parent = word(parent);
            keys.push(format!(
                "references: {{ table: {parent}, on_missing: keep }}"
            ));
            comment.push_str("; no foreign key, since not every value is known to have its parent");
        }
    }
    let mut text = format!("{}: {{ {} }}", word(&column.name), keys.join(", "));
    if !comment.is_empty() {
        write!(text, "  # {}", printable(&comment)).unwrap_or_default();
    }
    text
}

fn line_out(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// Words that YAML takes for something else than text.
const TAKEN: [&str; 12] = [
    "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "exists",
];

/// A text as YAML has it.
pub fn word(text: &str) -> String {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let taken = TAKEN.contains(&text.to_ascii_lowercase().as_str());
    if begins && text.chars().all(plain) && !taken {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => write!(out, "\\U{:08X}", u32::from(c)).unwrap_or_default(),
        }
    }
    out.push('"');
    out
}

/// What stays as it is in a file that a person reads: no controls, no line breaks of any kind, nothing that
/// turns the direction of writing or is not seen.
fn is_printable(c: char) -> bool {
    let hidden = matches!(u32::from(c), 0x85 | 0xA0 | 0xAD | 0x200B..=0x200F | 0x2028..=0x202F
        | 0x2060..=0x206F | 0xFEFF | 0xFFF0..=0xFFFF);
    !c.is_control() && !hidden
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_printable(c) { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_stands_in_yaml() {
        assert_eq!(word("a_b"), "a_b");
        assert_eq!(word("no"), "\"no\"");
        assert_eq!(word("12"), "\"12\"");
        assert_eq!(word("a b"), "\"a b\"");
        assert_eq!(word("a\\.b"), "\"a\\\\.b\"");
        assert_eq!(word("a\"\n\u{2028}é"), "\"a\\\"\\U0000000A\\U00002028é\"");
    }
}
