//! What a draft says of itself: what was read, what will be rejected, what it left out and what it was
//! unsure about; as text, as the head of the mapping, and as JSON.

use super::proof::Proof;
use crate::{
    lists::{self, bounded, visible},
    show::{Show, cut, left, wrap},
};
use leafcutter_runtime::exit::Exit;
use serde_json::{Value, json};
use std::path::Path;

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
        let rejected = self
            .drafted
            .iter()
            .any(|one| one.proof.trial.rejected() > 0);
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
        let all = self.drafted.iter();
        all.flat_map(|one| one.proof.trial.rejections(&one.name))
            .collect()
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
            let row = format!("{name} {:>12}  {}", one.documents, cut(&tables, 36));
            line(&row.chars().map(visible).collect::<String>());
        }
        for (title, list) in self.lists() {
            out.push_str(&lists::render(title, &list, show.paint));
        }
        let file = file.display();
        let next = format!(
            "\nThe mapping is in {file}. Read it, then:\n  leafcutter check --mapping {file}\n"
        );
        out.push_str(&next);
        out
    }

    /// The report as JSON, with the profiles and the mapping.
    pub fn json(&self, mapping: &str) -> Value {
        let drafted = self.drafted.iter().map(|one| {
            json!({
                "collection": one.name, "table": one.table, "tables": one.tables,
                "documents": one.documents, "read": one.read, "whole": one.whole,
                "unreadable": one.unreadable, "rows": one.proof.trial.rows,
                "rejections": one.proof.trial.rejections_json(), "profile": one.profile,
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
