//! The report as a page for people: what moved, what did not, and how sure one may be.

use super::report::{CauseLine, CollectionLine, Report, in_the_way};
use crate::{
    figures::{count, span},
    status::report::outcome_words,
    verify::report::percent,
};
use std::{collections::BTreeMap, fmt::Write as _};

/// The page.
#[must_use]
pub(super) fn render(report: &Report) -> String {
    let mut out = "# Migration report\n\n".to_owned();
    summary(&mut out, report);
    moved(&mut out, &report.collections);
    records(&mut out, report);
    letters(&mut out, &report.dead_letters);
    verified(&mut out, report);
    sequences(&mut out, report);
    constraints(&mut out, report);
    out
}

/// A cell must not end its row.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn row(out: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    writeln!(out, "| {} |", cells.join(" | ")).unwrap_or_default();
}

/// The head of a table; a column that ends with a colon holds numbers.
fn head(out: &mut String, columns: &[&str]) {
    let names: Vec<&str> = columns
        .iter()
        .map(|name| name.trim_end_matches(':'))
        .collect();
    row(out, &names);
    let lines = columns
        .iter()
        .map(|name| if name.ends_with(':') { "--:" } else { "---" });
    writeln!(out, "|{}|", lines.collect::<Vec<_>>().join("|")).unwrap_or_default();
}

fn summary(out: &mut String, report: &Report) {
    writeln!(out, "**{}**, {}\n", report.verdict, report.at).unwrap_or_default();
    for why in &report.because {
        writeln!(out, "- {}", cell(why)).unwrap_or_default();
    }
    if !report.because.is_empty() {
        out.push('\n');
    }
    head(out, &["", ""]);
    row(out, &["target", &format!("`{}`", report.target)]);
    row(out, &["group", &report.group]);
    row(out, &["mapping", &format!("`{}`", report.mapping)]);
    row(out, &["Leafcutter", report.leafcutter]);
    let until = report.applied_until.as_deref();
    row(out, &["applied up to", until.unwrap_or("not known")]);
    let times = &report.times;
    row(
        out,
        &["begun", times.begun.as_deref().unwrap_or("not known")],
    );
    row(
        out,
        &[
            "last applied",
            times.last_applied.as_deref().unwrap_or("never"),
        ],
    );
    if let Some(seconds) = times.seconds {
        row(out, &["took", &span(seconds)]);
    }
    out.push('\n');
}

fn moved(out: &mut String, collections: &[CollectionLine]) {
    out.push_str("## What moved\n\nDocuments with ~ are an estimate of the server's.\n\n");
    head(
        out,
        &[
            "collection",
            "documents:",
            "table",
            "rows:",
            "rows of others:",
            "last applied",
        ],
    );
    for line in collections {
        let about = if line.documents_exact { "" } else { "~" };
        let documents = line.documents.map_or_else(
            || "not asked".to_owned(),
            |documents| {
                format!(
                    "{about}{}",
                    count(i64::try_from(documents).unwrap_or(i64::MAX))
                )
            },
        );
        for (place, table) in line.tables.iter().enumerate() {
            let first = place == 0;
            let name = match &table.parent {
                Some(parent) => format!("{} (of {parent})", table.table),
                None => table.table.clone(),
            };
            let others = if table.others > 0 {
                count(table.others)
            } else {
                String::new()
            };
            let last = line.last_applied.as_deref().unwrap_or("never");
            row(
                out,
                &[
                    if first { &line.collection } else { "" },
                    if first { &documents } else { "" },
                    &name,
                    &count(table.rows),
                    &others,
                    if first { last } else { "" },
                ],
            );
        }
    }
    out.push('\n');
}

fn records(out: &mut String, report: &Report) {
    out.push_str("## What became of the records\n\n");
    let words = outcome_words(&report.records);
    let words = if words.is_empty() {
        "none were taken"
    } else {
        &words
    };
    writeln!(out, "{words}.\n").unwrap_or_default();
    let mut told = |what: &str, tables: &BTreeMap<String, i64>| {
        let tables = tables
            .iter()
            .map(|(table, rows)| format!("{} in {table}", count(*rows)));
        let tables: Vec<String> = tables.collect();
        if !tables.is_empty() {
            writeln!(out, "{what}: {}.\n", tables.join(", ")).unwrap_or_default();
        }
    };
    told(
        "Rows of deleted documents that stay, since others refer to them",
        &report.held,
    );
    told(
        "Rows that went, or forgot a reference, with a deleted parent",
        &report.cascaded,
    );
}

fn letters(out: &mut String, causes: &[CauseLine]) {
    out.push_str("## Dead letters\n\n");
    if causes.is_empty() {
        out.push_str("None is open, and none was given up.\n\n");
        return;
    }
    head(
        out,
        &[
            "dead letters:",
            "state",
            "collection",
            "place",
            "reason",
            "given up because",
        ],
    );
    for cause in causes {
        let place = match &cause.column {
            Some(column) => format!("{}.{column}", cause.table),
            None => cause.table.clone(),
        };
        let sqlstate = cause
            .sqlstate
            .as_ref()
            .map_or_else(String::new, |code| format!(" ({code})"));
        let reason = format!("{}{sqlstate}", cause.reason);
        let why = cause.discard_reason.as_deref().unwrap_or_default();
        let number = count(cause.dead_letters);
        row(
            out,
            &[
                &number,
                &cause.state,
                &cause.collection,
                &place,
                &reason,
                why,
            ],
        );
    }
    out.push('\n');
}

fn verified(out: &mut String, report: &Report) {
    out.push_str("## Verify\n\n");
    let Some(compared) = &report.verified.report else {
        out.push_str("Documents were not compared with rows (`--no-verify`).\n\n");
        return;
    };
    if let Some(sample) = report.verified.sample {
        let sample = count(i64::from(sample));
        writeln!(out, "A sample of {sample} documents of each collection.\n").unwrap_or_default();
    }
    writeln!(out, "{}\n", compared.last()).unwrap_or_default();
    head(
        out,
        &[
            "collection",
            "documents:",
            "rejected:",
            "waiting:",
            "missing:",
            "extra:",
            "passed:",
        ],
    );
    let number = |n: u64| count(i64::try_from(n).unwrap_or(i64::MAX));
    for part in &compared.collections {
        row(
            out,
            &[
                &part.collection,
                &number(part.counts.documents),
                &number(part.counts.rejected()),
                &number(part.counts.waiting),
                &number(part.missing),
                &number(part.extra),
                &percent(&part.counts),
            ],
        );
    }
    out.push('\n');
}

fn sequences(out: &mut String, report: &Report) {
    if report.sequences.is_empty() {
        return;
    }
    out.push_str("## Sequences\n\n");
    head(
        out,
        &[
            "column",
            "sequence",
            "highest row:",
            "stood at:",
            "moved to:",
            "",
        ],
    );
    let number = |n: Option<i64>| n.map_or_else(|| "-".to_owned(), count);
    for line in &report.sequences {
        let note = match (&line.left_alone, line.rows_at_the_end) {
            (Some(why), _) => format!("left alone: {why}"),
            (None, true) => "rows with numbers at its very end do not move it".to_owned(),
            (None, false) => String::new(),
        };
        row(
            out,
            &[
                &format!("{}.{}", line.table, line.column),
                &line.sequence,
                &number(line.highest),
                &number(line.last),
                &number(line.moved_to),
                &note,
            ],
        );
    }
    out.push('\n');
}

fn constraints(out: &mut String, report: &Report) {
    if report.constraints.is_empty() {
        return;
    }
    out.push_str("## Constraints that were not known to hold\n\n");
    head(out, &["constraint", "table", "says", "holds", "why not"]);
    for proof in &report.constraints {
        let holds = if proof.valid { "yes" } else { "no" };
        let why = if proof.valid {
            String::new()
        } else {
            in_the_way(proof)
        };
        let says = format!("`{}`", proof.definition);
        row(out, &[&proof.constraint, &proof.table, &says, holds, &why]);
    }
    out.push('\n');
}
