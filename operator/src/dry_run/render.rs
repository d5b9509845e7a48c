//! A dry run's report for a person, in 80 columns.

use super::report::{Estimate, OfCollection, OfLoss, OfReference, OfUnique, Report, rounded};
use crate::{
    figures::{bytes, counted, span},
    lists::{self, bounded, visible},
    show::{Paint, cut, left, wrap},
    trial::{number, place},
};
use leafcutter_sink::transform::Loss;
use std::fmt::Write as _;

/// The report as text.
pub(super) fn render(report: &Report, paint: Paint) -> String {
    let mut out = head(paint);
    for one in &report.collections {
        out.push_str(&collection(one));
    }
    let parents = report.references.iter().filter(|one| one.rows > 0);
    let each = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>();
    let collections = || report.collections.iter();
    let lists = [
        (
            "Rejected, by reason:",
            each(&mut collections().flat_map(|one| one.lines.clone())),
        ),
        (
            "References without a parent:",
            each(&mut parents.map(orphans)),
        ),
        (
            "Values that another row has; the first keeps it, the others wait:",
            each(&mut report.taken.iter().filter(|one| one.rows > 0).map(taken)),
        ),
        (
            "Values that lose something on their way:",
            each(&mut collections().flat_map(|one| one.lost.iter().map(lost))),
        ),
        (
            "Fields that no column takes:",
            each(&mut collections().flat_map(fields)),
        ),
        ("Not looked at:", not_looked(report)),
    ];
    for (title, lines) in lists {
        if !lines.is_empty() {
            out.push_str(&lists::render(title, &bounded(lines), paint));
        }
    }
    out.push_str(&lists::render(
        "Estimate for the whole:",
        &estimate(&report.estimate),
        Paint::PLAIN,
    ));
    out.push_str("\nNothing was written.\n");
    out
}

fn several(number: u64, noun: &str) -> String {
    counted(i64::try_from(number).unwrap_or(i64::MAX), noun)
}

fn size(number: u64) -> String {
    bytes(usize::try_from(number).unwrap_or(usize::MAX))
}

fn row(name: &str, documents: &str, rows: &str, bytes: &str) -> String {
    let name: String = cut(name, 40).chars().map(visible).collect();
    let line = format!("{} {documents:>12} {rows:>12} {bytes:>11}", left(&name, 40));
    format!("{}\n", line.trim_end())
}

fn head(paint: Paint) -> String {
    let line = row("collection, tables", "documents", "rows", "bytes");
    format!("{}\n", paint.bold(line.trim_end()))
}

fn collection(one: &OfCollection) -> String {
    let (documents, records) = (number(one.documents), size(one.record_bytes));
    let mut out = row(&one.collection, &documents, "", &records);
    for table in &one.tables {
        let name = format!("  {}", table.table);
        out.push_str(&row(&name, "", &number(table.rows), &size(table.bytes)));
    }
    let mut notes = Vec::new();
    if !one.whole {
        notes.push(format!(
            "{} of about {} read",
            number(one.read),
            number(one.all)
        ));
    }
    for (count, what) in [
        (one.rejected, "rejected"),
        (one.filtered, "outside the filter"),
        (one.without_parent, "waiting for a parent"),
        (one.without_value, "waiting for a value"),
        (one.outdone, "whose row another document has (newest-wins)"),
        (one.deleted, "deleted"),
        (one.superseded, "older records of the same documents"),
    ] {
        if count > 0 {
            notes.push(format!("{} {what}", number(count)));
        }
    }
    if !one.newest_only {
        notes.push("older records of the same documents are counted too".to_owned());
    }
    if !notes.is_empty() {
        out.push_str(&wrap("    ", &notes.join(", ")));
    }
    out
}

fn orphans(one: &OfReference) -> String {
    let what = match one.on_missing {
        "null" => "the reference becomes null",
        "keep" => "they stay without one",
        _ => "they wait, and become dead letters",
    };
    format!(
        "{} ({}): no row of {} for {}, {what}{}",
        place(&one.table, &one.column),
        one.collection,
        one.parent,
        several(one.rows, "row"),
        one.shown
    )
}

fn taken(one: &OfUnique) -> String {
    format!(
        "{} ({}): {}{}",
        place(&one.table, &one.columns),
        one.collection,
        several(one.rows, "row"),
        one.shown
    )
}

fn lost(one: &OfLoss) -> String {
    let what = match one.kind {
        Loss::Cut => "cut to the column's length",
        Loss::Nul => "NUL characters taken out",
        Loss::Rounded => "rounded",
        Loss::Part => "only the day, or only the time of day, is kept",
        Loss::Null => "null, since they do not fit",
    };
    let place = place(&one.table, &one.column);
    format!(
        "{place}: {}, {what}{}",
        several(one.values, "value"),
        one.shown
    )
}

fn fields(one: &OfCollection) -> Vec<String> {
    let line = |path: &super::report::OfPath| {
        format!(
            "{}: {} in {} of {} documents",
            one.collection,
            cut(&path.path, 100),
            number(path.documents),
            number(one.documents)
        )
    };
    let mut lines: Vec<String> = one.left.iter().map(line).collect();
    if one.left_more > 0 {
        lines.push(format!(
            "{}: {} of further paths",
            one.collection,
            several(one.left_more, "field")
        ));
    }
    lines
}

fn not_looked(report: &Report) -> Vec<String> {
    let references = report.references.iter().filter_map(|one| {
        let why = one.not_looked?;
        let place = place(&one.table, &one.column);
        Some(format!(
            "{place}, whether {} has its parents: {why}",
            one.parent
        ))
    });
    let given_up = report.taken.iter().filter(|one| one.given_up);
    let taken = given_up.map(|one| {
        let place = place(&one.table, &one.columns);
        format!("{place}, whether all values differ: given up: more keys than --keys-max")
    });
    references.chain(taken).collect()
}

fn estimate(estimate: &Estimate) -> Vec<String> {
    let seconds = |seconds: f64| match i64::try_from(rounded(seconds)).unwrap_or(i64::MAX) {
        0 => "less than a second".to_owned(),
        seconds => span(seconds),
    };
    let mut speed = String::new();
    if estimate.transform_seconds > 0.0 {
        let documents = estimate.documents.to_string().parse().unwrap_or(0.0);
        let rate: f64 = documents / estimate.transform_seconds;
        write!(speed, ", {} documents a second", number(rounded(rate))).unwrap_or_default();
    }
    vec![
        format!(
            "{}: {} of records in Kafka, before it compresses them",
            several(estimate.documents, "document"),
            size(estimate.record_bytes)
        ),
        format!(
            "{}: {} of fields, without what PostgreSQL adds to each row, and without indexes",
            several(estimate.rows, "row"),
            size(estimate.row_bytes)
        ),
        format!(
            "{} for this transform alone on one core{speed}; {} to read and try all of it as here. \
             Kafka and PostgreSQL come on top",
            seconds(estimate.transform_seconds),
            seconds(estimate.read_seconds)
        ),
    ]
}
