//! What a draft says of itself: what was read, what will be rejected, what it left out and what it was
//! unsure about; as text, as the head of the mapping, and as JSON.

use super::proof::Proof;
use crate::show::{Show, cut, left, wrap};
use leafcutter_runtime::exit::Exit;
use serde_json::{Value, json};
use std::{fmt::Write as _, path::Path};

/// Lines of each list; the others are counted.
const LINES_MAX: usize = 40;

/// A drafted collection.
#[derive(Debug)]
pub struct Drafted {
    /// Its name.
    pub name: String,
    /// Its own table.
    pub table: String,
    /// How many tables there are with those below.
    pub tables: usize,
    /// All documents were read.
    pub whole: bool,
    /// How many there are, about.
    pub documents: u64,
    /// How many were read.
    pub read: u64,
    /// How many of them are not BSON throughout.
    pub unreadable: u64,
    /// The profile.
    pub profile: Value,
    /// What became of the documents.
    pub proof: Proof,
}

/// A collection that is not in the mapping.
#[derive(Debug)]
pub struct LeftOut {
    /// Its name.
    pub collection: String,
    /// Why.
    pub why: String,
}

/// All that is said.
#[derive(Debug)]
pub struct Report {
    /// The database.
    pub database: String,
    /// The collections.
    pub drafted: Vec<Drafted>,
    /// Those left out.
    pub left_out: Vec<LeftOut>,
    /// What a person has to look at.
    pub unsure: Vec<String>,
}

impl Report {
    /// 1 where there is something to look at that will not arrive.
    pub fn exit(&self) -> Exit {
        let rejected = self.drafted.iter().any(|one| one.proof.rejected() > 0);
        if rejected || !self.left_out.is_empty() {
            Exit::Differences
        } else {
            Exit::Done
        }
    }

    /// The lists that are not empty, each with its title.
    fn lists(&self) -> Vec<(&'static str, Vec<String>)> {
        let left_out = self.left_out.iter();
        let left_out = left_out.map(|one| format!("{}: {}", one.collection, one.why));
        let sampled = self.drafted.iter().filter(|one| !one.whole);
        let sampled = sampled.map(|one| {
            format!(
                "{}: {} of about {} documents were read; what is in fewer than 3 of {} may not have \
                 been seen, and a type that was not is rejected as wrong-type (--all reads every one)",
                one.name, one.read, one.documents, one.read
            )
        });
        let unreadable = self.drafted.iter().filter(|one| one.unreadable > 0);
        let unreadable = unreadable.map(|one| {
            format!(
                "{}: {} documents are not BSON throughout",
                one.name, one.unreadable
            )
        });
        let unsure = self.unsure.iter().cloned();
        let lists = [
            (
                "Rejected as the mapping stands, by the documents that were read:",
                self.rejections(),
            ),
            ("Left out:", left_out.collect()),
            (
                "To look at:",
                sampled.chain(unreadable).chain(unsure).collect(),
            ),
        ];
        let lists = lists
            .into_iter()
            .filter(|(_, lines): &(_, Vec<String>)| !lines.is_empty());
        lists
            .map(|(title, lines)| (title, bounded(lines)))
            .collect()
    }

    fn rejections(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for one in &self.drafted {
            for (refusal, refused) in &one.proof.refused {
                let place = match refusal.column.as_str() {
                    "" => refusal.table.clone(),
                    column => format!("{}.{column}", refusal.table),
                };
                let mut line = format!(
                    "{}: {} of {} documents, {} in {place}",
                    one.name, refused.documents, one.proof.documents, refusal.reason
                );
                let keys: Vec<String> = refused.examples.iter().map(|key| cut(key, 40)).collect();
                write!(line, ", for example {}", keys.join(", ")).unwrap_or_default();
                lines.push(line);
            }
        }
        lines
    }

    /// The comment at the top of the mapping.
    pub fn head(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "Drafted by `leafcutter draft` from the database `{}`. Edit it as you like.",
            self.database
        )];
        for (title, list) in self.lists() {
            lines.push(String::new());
            lines.push(title.to_owned());
            for line in list {
                let text = wrap("  ", &line);
                lines.extend(text.lines().map(str::to_owned));
            }
        }
        lines
            .iter()
            .map(|line| line.chars().map(visible).collect())
            .collect()
    }

    /// The report for a person.
    pub fn render(&self, file: &Path, show: &Show<'_>) -> String {
        let mut out = String::new();
        let mut line = |text: &str| out.push_str(&format!("{text}\n"));
        line(&show.paint.bold(&format!(
            "{} {:>12}  tables",
            left("collection", 28),
            "documents"
        )));
        for one in &self.drafted {
            let tables = match one.tables {
                1 => one.table.clone(),
                many => format!("{} and {} below", one.table, many - 1),
            };
            let name = left(&cut(&one.name, 28), 28);
            line(&format!(
                "{name} {:>12}  {}",
                one.documents,
                cut(&tables, 36)
            ));
        }
        for (title, list) in self.lists() {
            line("");
            line(&show.paint.attention(title));
            for text in list {
                line(wrap("  ", &text).trim_end());
            }
        }
        line("");
        line(&format!(
            "The mapping is in {}. Read it, then:",
            file.display()
        ));
        line(&format!("  leafcutter check --mapping {}", file.display()));
        out.chars()
            .map(|c| {
                if c == '\n' || c == '\u{1b}' {
                    c
                } else {
                    visible(c)
                }
            })
            .collect()
    }

    /// The report as JSON, with the profiles and the mapping.
    pub fn json(&self, mapping: &str) -> Value {
        let drafted = self.drafted.iter().map(|one| {
            let refused = one.proof.refused.iter();
            let rejections = refused.map(|(refusal, refused)| {
                json!({
                    "reason": refusal.reason, "table": refusal.table, "column": refusal.column,
                    "documents": refused.documents, "examples": refused.examples,
                })
            });
            json!({
                "collection": one.name, "table": one.table, "tables": one.tables,
                "documents": one.documents, "read": one.read, "whole": one.whole,
                "unreadable": one.unreadable, "rows": one.proof.rows,
                "rejections": rejections.collect::<Vec<_>>(), "profile": one.profile,
            })
        });
        let left_out = self.left_out.iter();
        let left_out = left_out.map(|one| json!({ "collection": one.collection, "why": one.why }));
        json!({
            "database": self.database,
            "collections": drafted.collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
            "unsure": self.unsure,
            "mapping": mapping,
        })
    }
}

/// Names come from the database: none of their controls reaches a terminal or ends a comment.
fn visible(c: char) -> char {
    let breaks = matches!(u32::from(c), 0x2028 | 0x2029 | 0xFEFF | 0xFFFE | 0xFFFF);
    if c.is_control() || breaks { '?' } else { c }
}

fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more, all of them with --json"));
    }
    lines
}
