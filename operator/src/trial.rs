//! What the consumers' own transform makes of documents, counted: rows by table, rejections by reason and
//! place with a few keys.
//!
//! Nothing is guessed: each rejection is one that the transform gave. It keeps figures and a few keys, and
//! no documents, so its size does not grow with the collections. `draft` proves its mapping by it, `dry-run`
//! any mapping.

use crate::{figures, show::cut};
use leafcutter_schemas::{dead_letter::Reason, key::DocumentKey};
use std::collections::BTreeMap;

/// Keys that are told of the documents that are rejected for one reason.
pub const EXAMPLES_MAX: usize = 3;
/// Characters of a key that are kept.
const KEY_MAX: usize = 200;
/// Characters of a key that a line shows.
const SHOWN_MAX: usize = 40;

/// What became of documents.
#[derive(Debug, Default)]
pub struct Trial {
    /// Documents tried.
    pub documents: u64,
    /// Rows, by table.
    pub rows: BTreeMap<String, u64>,
    /// Rejections.
    pub refused: BTreeMap<Refusal, Examples>,
}

/// Why documents are rejected, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The reason's code.
    pub reason: &'static str,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
}

/// How many, and some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examples {
    /// How many.
    pub count: u64,
    /// Keys of some of their documents.
    pub keys: Vec<String>,
}

impl Examples {
    /// One more.
    pub fn add(&mut self, key: &DocumentKey) {
        self.count += 1;
        if self.keys.len() < EXAMPLES_MAX {
            self.keys.push(cut(key.as_str(), KEY_MAX));
        }
    }

    /// `, for example …`; nothing where there is none.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.keys.is_empty() {
            return String::new();
        }
        let keys = self.keys.iter().map(|key| cut(key, SHOWN_MAX));
        format!(", for example {}", keys.collect::<Vec<_>>().join(", "))
    }
}

impl Trial {
    /// Documents that were rejected.
    pub fn rejected(&self) -> u64 {
        self.refused.values().map(|refused| refused.count).sum()
    }

    /// A document was rejected.
    pub fn refuse(&mut self, reason: &Reason, key: &DocumentKey) {
        let refusal = Refusal {
            reason: reason.code,
            table: reason.table.clone().unwrap_or_default(),
            column: reason.column.clone().unwrap_or_default(),
        };
        self.refused.entry(refusal).or_default().add(key);
    }

    /// A line for each reason and place.
    pub fn rejections(&self, collection: &str) -> Vec<String> {
        let line = |(refusal, refused): (&Refusal, &Examples)| {
            let place = place(&refusal.table, &refusal.column);
            format!(
                "{collection}: {} of {} documents, {} in {place}{}",
                number(refused.count),
                number(self.documents),
                refusal.reason,
                refused.shown()
            )
        };
        self.refused.iter().map(line).collect()
    }

    /// The same for programs.
    pub fn rejections_json(&self) -> Vec<serde_json::Value> {
        let one = |(refusal, refused): (&Refusal, &Examples)| {
            serde_json::json!({
                "reason": refusal.reason, "table": refusal.table, "column": refusal.column,
                "documents": refused.count, "examples": refused.keys,
            })
        };
        self.refused.iter().map(one).collect()
    }
}

/// `1,203,441`.
#[must_use]
pub fn number(number: u64) -> String {
    figures::count(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A table, or a column of it.
#[must_use]
pub fn place(table: &str, column: &str) -> String {
    match (table, column) {
        ("", _) => "the document".to_owned(),
        (table, "") => table.to_owned(),
        (table, column) => format!("{table}.{column}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::RawBsonRef;
    use leafcutter_schemas::dead_letter::Stage;

    #[test]
    fn rejections_are_counted_by_reason_and_place_with_a_few_keys() {
        let mut trial = Trial {
            documents: 7,
            ..Trial::default()
        };
        for n in 0..5 {
            let reason = Reason::new(Stage::Transform, "too-long", "x");
            let reason = reason.at("public.t".to_owned(), "c".to_owned());
            trial.refuse(&reason, &DocumentKey::of(RawBsonRef::Int32(n)));
        }
        let undecided = Reason::new(Stage::Decode, "malformed", "x");
        trial.refuse(&undecided, &DocumentKey::missing());
        assert_eq!(trial.rejected(), 6);
        assert_eq!(
            trial.rejections("shop"),
            [
                "shop: 1 of 7 documents, malformed in the document, for example none:",
                "shop: 5 of 7 documents, too-long in public.t.c, for example number:0, number:1, number:2",
            ]
        );
    }
}
