//! Names of tables and columns, from names of collections and fields.
//!
//! A name is in snake case, is no word that PostgreSQL keeps for itself, fits into its 63 bytes, is not
//! one of Leafcutter's own, and stands once in its [`Names`]. Any text gets one, the empty one too.

use std::collections::BTreeSet;

/// PostgreSQL cuts longer identifiers.
const BYTES_MAX: usize = 63;

/// Words that have to be quoted in PostgreSQL (manual, appendix C, "reserved"), columns that every table
/// has, and words that mean something else when they are not quoted, such as `user`.
const RESERVED: &str = "all analyse analyze and any array as asc asymmetric authorization binary both \
    case cast check collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user default \
    deferrable desc distinct do else end except false fetch for foreign freeze from full grant group \
    having ilike in initially inner intersect into is isnull join lateral leading left like limit \
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing \
    primary references returning right select session_user similar some symmetric system_user table \
    tablesample then to trailing true union unique user using variadic verbose when where window with \
    tableoid xmin cmin xmax cmax ctid";

/// Names that are taken.
#[derive(Debug, Default)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// A name for `text` that is not taken yet, and is from now on.
    pub fn take(&mut self, text: &str) -> String {
        let plain = plain(text);
        let mut name = plain.clone();
        let mut number = 2_u32;
        while self.0.contains(&name) {
            let end = format!("_{number}");
            name = format!("{}{end}", cut(&plain, BYTES_MAX - end.len()));
            number += 1;
        }
        self.0.insert(name.clone());
        name
    }

    /// Marks a name as taken.
    pub fn mark(&mut self, name: &str) {
        self.0.insert(name.to_owned());
    }
}

/// `text` as a name of its own.
fn plain(text: &str) -> String {
    let mut name = snake(text);
    if name.is_empty() {
        "field".clone_into(&mut name);
    }
    if name.starts_with(|c: char| c.is_numeric()) {
        name = format!("n_{name}");
    }
    if name.starts_with("lc_") || name.starts_with("pg_") {
        name = format!("x_{name}");
    }
    if RESERVED.split_ascii_whitespace().any(|word| word == name) {
        name.push('_');
    }
    cut(&name, BYTES_MAX).to_owned()
}

/// `emailAddress`, `Email-Address`, `email address` → `email_address`; letters of other scripts stay.
fn snake(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut name = String::new();
    for (index, &c) in characters.iter().enumerate() {
        if !c.is_alphanumeric() {
            if !name.ends_with('_') && !name.is_empty() {
                name.push('_');
            }
            continue;
        }
        let before = index.checked_sub(1).and_then(|i| characters.get(i));
        let after = characters.get(index + 1);
        let begins = c.is_uppercase()
            && (before.is_some_and(|b| b.is_lowercase() || b.is_numeric())
                || (before.is_some_and(|b| b.is_uppercase())
                    && after.is_some_and(|a| a.is_lowercase())));
        if begins && !name.ends_with('_') {
            name.push('_');
        }
        name.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
    }
    name.trim_end_matches('_').to_owned()
}

/// As much of `text` as fits into `bytes`.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_name() {
        for (text, name) in [
            ("emailAddress", "email_address"),
            ("URL", "url"),
            ("HTTPServer", "http_server"),
            ("address line 2", "address_line_2"),
            ("_id", "id"),
            ("$ref", "ref"),
            ("a.b", "a_b"),
            ("", "field"),
            ("…", "field"),
            ("2fa", "n_2fa"),
            ("order", "order_"),
            ("User", "user_"),
            ("ctid", "ctid_"),
            ("lc_version", "x_lc_version"),
            ("Größe", "größe"),
            ("İ", "i"),
        ] {
            assert_eq!(Names::default().take(text), name, "{text}");
        }
    }

    #[test]
    fn names_are_short_and_stand_once() {
        let mut names = Names::default();
        let long = "ä".repeat(80);
        let all: Vec<String> = (0..12).map(|_| names.take(&long)).collect();
        assert!(all.iter().all(|name| name.len() <= 63));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 12);
        assert_eq!(names.take("aB"), "a_b");
        assert_eq!(names.take("a_b"), "a_b_2");
        assert_eq!(names.take("a_b_2"), "a_b_2_2");
    }
}
