//! What is said of a read, before and after.

use crate::{
    figures::{count, counted, span},
    show::{Show, left, wrap},
};
use leafcutter_sink::change::{Counts, Outcome};
use serde::Serialize;
use std::fmt::Write as _;

/// What is known before anything is done.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Partitions of the topic.
    pub(super) partitions: i32,
    /// The source does not have what happened after the checkpoint.
    pub(super) lost: bool,
    /// Partitions that stand before their first record, and where that is.
    pub(super) expired: Vec<(i32, i64)>,
    /// Consumers that run.
    pub(super) consumers: usize,
    /// Documents to be read, about or exactly.
    pub(super) documents: u64,
    /// Rows that Leafcutter has written.
    pub(super) rows: i64,
    /// Whether the sweep follows, or why not.
    pub(super) sweep: Sweep,
}

/// Whether there is a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sweep {
    /// Rows that the source does not have are deleted.
    #[default]
    Yes,
    /// Each document that is named and not there is deleted.
    OfIds,
    /// The person does not want it.
    No,
    /// A time series has no index on `_id`.
    Series,
}

/// How it ended.
#[derive(Debug, Default, Serialize)]
pub(super) struct Told {
    /// The collection.
    pub(super) collection: String,
    /// Which documents.
    pub(super) part: &'static str,
    /// Nothing was changed.
    pub(super) dry_run: bool,
    /// It came to its end.
    pub(super) done: bool,
    /// Documents that were read, or would be.
    pub(super) documents: u64,
    /// Rows that Leafcutter had written before.
    pub(super) rows: i64,
    /// The changes of the time before are lost, and the producer follows the collection anew.
    pub(super) history_lost: bool,
    /// Records that Kafka has no more, and that were passed by.
    pub(super) passed_by: i64,
    /// Documents that are stored and not in the source; none where it was not looked.
    pub(super) gone: Option<i64>,
    /// Of these, those whose rows were deleted.
    pub(super) deleted: i64,
    /// Those that stay while others refer to them.
    pub(super) held: i64,
    /// Those that came back meanwhile, or changed.
    pub(super) newer: i64,
    /// Those that PostgreSQL, or a trigger or rule of the target, does not let go.
    pub(super) refused: i64,
    /// Why not, the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// Seconds that it took.
    pub(super) seconds: u64,
}

impl Told {
    /// Takes in what became of documents that are gone.
    pub(super) fn take(&mut self, counts: &Counts) {
        self.deleted += counts.of(Outcome::Deleted) + counts.of(Outcome::Unchanged);
        self.held += counts.of(Outcome::Held);
        self.newer += counts.of(Outcome::Stale);
        self.refused += counts.of(Outcome::Suppressed);
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    writeln!(out, "  {} {text}", left(name, 12)).unwrap_or_default();
}

/// What will be done.
pub(super) fn plan(name: &str, part: &'static str, facts: &Facts, truncate: bool) -> String {
    let mut out = format!("Read {name} again:\n\n");
    let documents = count(i64::try_from(facts.documents).unwrap_or(i64::MAX));
    let documents = match part {
        "whole" => format!("about {documents}, all of them"),
        "ids" => format!("{documents}, by their ids"),
        word => format!("{documents}, as --{word} says"),
    };
    line(&mut out, "documents", &documents);
    line(&mut out, "rows", &count(facts.rows));
    let sweep = match facts.sweep {
        Sweep::Yes if truncate => "all rows are deleted first",
        Sweep::Yes => "what the source does not have is deleted at the end",
        Sweep::OfIds => "what the source does not have of them is deleted",
        Sweep::No => "none",
        Sweep::Series => "none: it is a time series",
    };
    line(&mut out, "sweep", sweep);
    if facts.lost {
        line(
            &mut out,
            "history",
            "lost; the producer can follow it again from now on",
        );
    }
    if !facts.expired.is_empty() {
        let partitions = i64::try_from(facts.expired.len()).unwrap_or(i64::MAX);
        let text = format!(
            "Kafka has removed records of {} unread",
            counted(partitions, "partition")
        );
        line(&mut out, "topic", &text);
    }
    out.push('\n');
    let consumers = match facts.consumers {
        0 => "No consumer is running: it ends when one has done it.".to_owned(),
        n => format!(
            "{} will do it.",
            counted(i64::try_from(n).unwrap_or(i64::MAX), "running consumer")
        ),
    };
    let text = "Documents go through Kafka, as in a snapshot; changes that happen meanwhile win.";
    out.push_str(&wrap("", &format!("{text} {consumers}")));
    out
}

/// The last word.
pub(super) fn tell(show: &mut Show<'_>, told: &Told) {
    if show.json {
        show.json_line(told);
        return;
    }
    let documents = i64::try_from(told.documents).unwrap_or(i64::MAX);
    let mut text = String::new();
    if told.dry_run {
        write!(
            text,
            "a dry run: nothing was changed; {} to be read",
            counted(documents, "document")
        )
        .unwrap_or_default();
        if let Some(gone) = told.gone {
            write!(text, ", {} to be deleted", count(gone)).unwrap_or_default();
        }
    } else if !told.done {
        write!(
            text,
            "{}: stopped. What was sent is applied, and nothing is lost. Begin it again: leafcutter resnapshot {}",
            told.collection, told.collection
        )
        .unwrap_or_default();
    } else {
        let seconds = i64::try_from(told.seconds).unwrap_or(i64::MAX);
        write!(
            text,
            "{}: {} read again in {}",
            told.collection,
            counted(documents, "document"),
            span(seconds)
        )
        .unwrap_or_default();
        if told.passed_by > 0 {
            let records = counted(told.passed_by, "record");
            write!(text, "; {records} that Kafka has no more passed by").unwrap_or_default();
        }
        if let Some(gone) = told.gone {
            write!(text, "; {} gone in the source", count(gone)).unwrap_or_default();
            let each = [
                (told.deleted, "deleted"),
                (told.held, "kept while others refer to them"),
                (told.newer, "changed meanwhile"),
                (told.refused, "refused by the target"),
            ];
            let each = each.iter().filter(|(number, _)| *number > 0);
            let each: Vec<String> = each
                .map(|(number, words)| format!("{} {words}", count(*number)))
                .collect();
            if !each.is_empty() {
                write!(text, ": {}", each.join(", ")).unwrap_or_default();
            }
        }
        if let Some(why) = &told.why {
            write!(text, ". The first one that was refused: {why}").unwrap_or_default();
        }
    }
    show.text(&format!("\n{}", wrap("", &text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_be_done_fits_the_columns() {
        let facts = Facts {
            partitions: 8,
            lost: true,
            expired: vec![(0, 12), (3, 1)],
            consumers: 2,
            documents: 1_203_441,
            rows: 1_203_000,
            sweep: Sweep::Yes,
        };
        for (part, truncate) in [
            ("whole", true),
            ("whole", false),
            ("ids", false),
            ("since", false),
        ] {
            let text = plan("learners", part, &facts, truncate);
            let fits = |line: &str| line.chars().count() <= 80;
            assert!(text.lines().all(fits), "{text}");
            assert!(
                text.contains("1,203,441") && text.contains("2 partitions"),
                "{text}"
            );
        }
    }
}
