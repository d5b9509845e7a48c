//! What a verification came to: for a person, or as JSON.

use super::{
    board::{Board, Counts},
    counted::Counted,
    difference::{Difference, Kind},
    integrity::Integrity,
    job::Job,
};
use crate::{
    figures::{count, counted, span},
    show::{Show, cut, left, right, wrap},
};
use leafcutter_runtime::exit::Exit;
use serde::Serialize;
use std::fmt::Write as _;

/// A collection's part of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Its name, with the database.
    pub collection: String,
    /// What was compared, and what became of it.
    #[serde(flatten)]
    pub counts: Counts,
    /// Rows that are not there.
    pub missing: u64,
    /// Rows that no document has.
    pub extra: u64,
    /// Documents that do not differ.
    pub passed_percent: f64,
}

/// The whole of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `clean`, `differences` or `interrupted`.
    pub verdict: &'static str,
    /// Each collection.
    pub collections: Vec<Part>,
    integrity: Option<Integrity>,
    /// Differences that nobody could prove, since nothing moved any more.
    unproven: u64,
    /// Whether rows without a document were looked for.
    extra_rows_looked_for: bool,
    first: Vec<Difference>,
    seconds: u64,
}

/// How the verification was.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// What holds within PostgreSQL, where it was looked at.
    pub integrity: Option<Integrity>,
    /// Rows without a document were looked for.
    pub whole: bool,
    /// It was stopped before its end.
    pub interrupted: bool,
    /// How long it took.
    pub seconds: u64,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Report {
    /// What the board says.
    pub fn of(job: &Job, board: &Board, how: &How) -> Self {
        let parts = job
            .works
            .iter()
            .zip(board.counts())
            .map(|(work, counts)| Part {
                collection: work.full_name(),
                missing: counts.of(Kind::MissingRow) + counts.of(Kind::MissingChild),
                extra: counts.of(Kind::ExtraRow) + counts.of(Kind::ExtraChild) + counts.more_extra,
                passed_percent: counts.passed(),
                counts,
            });
        let collections: Vec<Part> = parts.collect();
        let differs = collections.iter().any(|part| part.counts.all() > 0);
        Self {
            verdict: match (differs, how.interrupted) {
                (true, _) => "differences",
                (false, true) => "interrupted",
                (false, false) => "clean",
            },
            collections,
            integrity: how.integrity,
            unproven: board.unproven_count(),
            extra_rows_looked_for: how.whole,
            first: board.first(),
            seconds: how.seconds,
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        if self.verdict == "clean" {
            Exit::Done
        } else {
            Exit::Differences
        }
    }

    /// Shows it.
    pub fn tell(&self, show: &mut Show<'_>, values: bool) {
        if show.json {
            show.json(self);
            return;
        }
        let text = self.text(values);
        show.text(&text);
        let verdict = self.last();
        let painted = if self.verdict == "clean" {
            show.paint.good(&verdict)
        } else {
            show.paint.bad(&verdict)
        };
        show.line(&painted);
    }

    fn text(&self, values: bool) -> String {
        let mut out = String::new();
        let heads = ["documents", "rows", "children", "differ", "passed"];
        let widths = [11, 11, 11, 8, 9];
        let head: String = heads
            .iter()
            .zip(widths)
            .map(|(head, width)| right(head, width))
            .collect();
        writeln!(out, "{}{head}", left("collection", 30)).unwrap_or_default();
        for part in &self.collections {
            let counts = &part.counts;
            let cells = [
                count(signed(counts.documents)),
                count(signed(counts.rows)),
                count(signed(counts.children)),
                count(signed(
                    counts.differ
                        + counts.of(Kind::ExtraRow)
                        + counts.of(Kind::Held)
                        + counts.more_extra,
                )),
                percent(counts),
            ];
            let cells: String = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| right(cell, width))
                .collect();
            writeln!(out, "{}{cells}", left(&cut(&part.collection, 30), 30)).unwrap_or_default();
            for (number, words) in beside(counts) {
                writeln!(out, "  {} {words}", right(&count(signed(number)), 9)).unwrap_or_default();
            }
        }
        out.push('\n');
        if let Some(integrity) = &self.integrity {
            out.push_str(&told(integrity));
        }
        if !self.extra_rows_looked_for {
            out.push_str("Rows without a document were not looked for.\n");
        }
        if self.unproven > 0 {
            let text = format!(
                "Of {}, it is not known whether the changes are still on their way: nothing was \
                 applied, and the producer said nothing new.",
                counted(signed(self.unproven), "difference")
            );
            out.push_str(&wrap("", &text));
        }
        if !self.first.is_empty() {
            out.push_str("\nThe first differences:\n\n");
            self.first
                .iter()
                .for_each(|difference| out.push_str(&one(difference, values)));
        }
        out
    }

    /// The verdict in a sentence.
    pub fn last(&self) -> String {
        let all: u64 = self.collections.iter().map(|part| part.counts.all()).sum();
        let documents: u64 = self
            .collections
            .iter()
            .map(|part| part.counts.documents)
            .sum();
        let took = span(signed(self.seconds));
        match self.verdict {
            "clean" => format!(
                "Clean: {} compared in {took}.",
                counted(signed(documents), "document")
            ),
            "interrupted" => format!("Interrupted after {took}; nothing differs so far."),
            _ => format!("{} in {took}.", counted(signed(all), "difference")),
        }
    }
}

/// How many documents do not differ, in percent.
pub fn percent(counts: &Counts) -> String {
    let passed = counts.passed();
    // Only the whole is 100.
    let passed = if counts.differ > 0 {
        passed.min(99.99)
    } else {
        passed
    };
    format!("{passed:.2} %")
}

/// What became of documents that are not the same, in words.
fn beside(counts: &Counts) -> Vec<(u64, String)> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for (reason, number) in &counts.rejected {
        lines.push((
            *number,
            format!("rejected, with their dead letters: {reason}"),
        ));
    }
    let told = [
        (counts.waiting, "waiting"),
        (counts.cascaded, "gone with a parent"),
        (
            counts.shared,
            "not the row of their key: another document is",
        ),
        (counts.outside, "outside the filter"),
        (counts.kept, "rows kept: still referenced"),
        (counts.deleted, "deleted meanwhile"),
        (counts.changing, "never stood still, not compared"),
        (
            counts.unreadable,
            "with an _id that cannot be read, not compared",
        ),
        (
            counts.unknown,
            "rows of which it cannot be told whose they are",
        ),
        (
            counts.more_extra,
            "more extra rows, not looked at one by one",
        ),
    ];
    lines.extend(told.map(|(number, words)| (number, words.to_owned())));
    for (words, number) in &counts.differences {
        lines.push((*number, format!("differ: {words}")));
    }
    lines.retain(|(number, _)| *number > 0);
    lines
}

fn told(found: &Integrity) -> String {
    let line = |number: u64, of: u64, what: &str, of_what: &str| {
        let number = if number == 0 {
            "no".to_owned()
        } else {
            count(signed(number))
        };
        format!("  {number} {what}, of {}\n", counted(signed(of), of_what))
    };
    let mut out = "Within PostgreSQL:\n".to_owned();
    out.push_str(&line(
        found.orphans,
        found.references,
        "row without its parent",
        "reference",
    ));
    out.push_str(&line(
        found.twice,
        found.unique,
        "value that stands twice",
        "unique key",
    ));
    out.push_str(&line(
        found.nulls,
        found.required,
        "null",
        "required column",
    ));
    out
}

/// A difference in a few lines of at most 80 columns.
fn one(difference: &Difference, values: bool) -> String {
    let place = match &difference.column {
        None => difference.table.clone(),
        Some(column) => format!("{}.{column}", difference.table),
    };
    let mut out = format!(
        "  {}  {}\n",
        left(difference.kind.words(), 15),
        cut(&place, 61)
    );
    let mut line = |name: &str, text: &str| {
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        writeln!(out, "    {} {}", left(name, 7), cut(&text, 68)).unwrap_or_default();
    };
    if let Some(id) = &difference.id {
        line("_id", id);
    }
    if !difference.row.is_empty() {
        line("row", &difference.row);
    }
    let both = matches!(
        difference.kind,
        Kind::Value | Kind::Refused | Kind::NotRefused
    );
    if values && both {
        line("source", difference.source.as_deref().unwrap_or("null"));
        line("target", difference.target.as_deref().unwrap_or("null"));
    } else if let (true, Some(found)) = (values, &difference.target) {
        line("value", found);
    }
    out
}

/// Shows the counts of both sides.
pub fn tell_counts(show: &mut Show<'_>, all: &[Counted]) {
    let fits = all.iter().all(Counted::fits);
    if show.json {
        show.json(&serde_json::json!({ "fits": fits, "collections": all }));
    } else {
        let heads = ["documents", "rows", "children", "rejected", "waiting"];
        let widths = [11, 11, 11, 9, 8];
        let head: String = heads
            .iter()
            .zip(widths)
            .map(|(head, width)| right(head, width))
            .collect();
        show.line(&format!("{}{head}", left("collection", 29)));
        for counted in all {
            let cells = [
                counted.documents,
                counted.rows,
                counted.children,
                counted.rejected,
                counted.waiting,
            ];
            let cells: String = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| right(&count(signed(*cell)), width))
                .collect();
            show.line(&format!(
                "{}{cells}",
                left(&cut(&counted.collection, 29), 29)
            ));
            let note = match (counted.fits(), counted.inexact) {
                (false, _) => Some("the counts do not fit: compare with `leafcutter verify`"),
                (true, true) => Some("a document need not be one row here: the counts say little"),
                (true, false) => None,
            };
            if let Some(note) = note {
                show.line(&format!("  {note}"));
            }
            if counted.kept > 0 {
                show.line(&format!(
                    "  {} kept: still referenced",
                    count(signed(counted.kept))
                ));
            }
        }
    }
}
