//! What is said of a finish on the screen.

use super::{
    files::Files,
    refusal::listed,
    report::{CLEAN, Report, UNVERIFIED, in_the_way},
};
use crate::{
    figures::{count, counted},
    show::{Show, left, wrap},
    status::readiness::Reason,
};
use leafcutter_sink::target::{sequences::Standing, unproven::Proof};
use serde::Serialize;
use std::fmt::Write as _;

/// What would be done.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    pub(super) dry_run: bool,
    pub(super) ready: bool,
    pub(super) not_ready_because: Vec<String>,
    pub(super) at: String,
    pub(super) verify: String,
    pub(super) sequences: Vec<Standing>,
    pub(super) constraints: Vec<String>,
    pub(super) report: String,
}

/// Tells what would be done.
pub(super) fn plan(show: &mut Show<'_>, plan: &Plan, force: bool) {
    if show.json {
        show.json(plan);
        return;
    }
    if plan.ready {
        let ready = show.paint.good("ready to cut over");
        show.line(&ready);
    } else {
        let head = show.paint.attention("not ready to cut over");
        show.line(&head);
        let reasons = plan.not_ready_because.iter();
        let reasons: Vec<Reason> = reasons.map(Reason::stored).collect();
        show.text(&listed(&reasons));
    }
    let mut out = "\nIt would\n".to_owned();
    let mut step = |text: &str| {
        let wrapped = wrap("    ", text);
        writeln!(out, "  - {}", wrapped.trim()).unwrap_or_default();
    };
    if !plan.ready && !force {
        step("wait for what passes by itself, and refuse while the rest is there");
    }
    step("wait until everything is applied");
    match plan.verify.as_str() {
        "none" => step("compare nothing (--no-verify)"),
        what => step(&format!("compare {what} with its rows")),
    }
    for line in plan.sequences.iter().filter(|line| line.moved_to.is_some()) {
        step(&moved(line));
    }
    for statement in &plan.constraints {
        step(statement);
    }
    step(&format!(
        "write {}, and the same as JSON beside it",
        plan.report
    ));
    out.push_str("\na dry run: nothing was changed\n");
    show.text(&out);
}

fn moved(line: &Standing) -> String {
    let to = line.moved_to.map_or_else(String::new, count);
    let place = format!("{}.{}", line.table, line.column);
    match line.last {
        None => format!("{place} goes on behind {to}; its sequence had given no number yet"),
        Some(last) => format!(
            "{place} goes on behind {to}, and not behind {}",
            count(last)
        ),
    }
}

/// Tells what was found.
pub(super) fn told(show: &mut Show<'_>, report: &Report, files: &Files) {
    if show.json {
        show.json(report);
        return;
    }
    show.text(&sequences(&report.sequences));
    show.text(&constraints(&report.constraints));
    let mut moved = String::new();
    let rows: i64 = report
        .collections
        .iter()
        .flat_map(|c| &c.tables)
        .map(|t| t.rows)
        .sum();
    let tables: usize = report.collections.iter().map(|c| c.tables.len()).sum();
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let text = format!(
        "{} in {} of {}.",
        counted(rows, "row"),
        counted(number(tables), "table"),
        counted(number(report.collections.len()), "collection")
    );
    moved.push_str(&wrap("", &text));
    if let Some(until) = &report.applied_until {
        moved.push_str(&wrap("", &format!("Everything up to {until} is applied.")));
    }
    show.text(&moved);
    show.line(&format!("Report: {}", files.markdown.display()));
    show.line(&format!("        {}", files.json.display()));
    show.line("");
    verdict(show, report);
}

fn verdict(show: &mut Show<'_>, report: &Report) {
    let next = "Next: stop the producers and the consumers for good, and point the application at \
                PostgreSQL. Days later: leafcutter finish --drop";
    match report.verdict {
        CLEAN => {
            let clean = show.paint.good("clean");
            show.line(&clean);
            show.text(&wrap("", next));
        }
        UNVERIFIED => {
            let text = show
                .paint
                .attention("nothing is known to be wrong; documents were not compared");
            show.line(&text);
            show.text(&wrap("", next));
        }
        _ => {
            let head = show.paint.bad("not clean");
            show.line(&head);
            let reasons: Vec<Reason> = report.because.iter().map(Reason::stored).collect();
            show.text(&listed(&reasons));
            show.text(&wrap("", "Mend this, and say it again: leafcutter finish"));
        }
    }
}

fn sequences(all: &[Standing]) -> String {
    let mut out = String::new();
    if all.is_empty() {
        return out;
    }
    out.push_str("Sequences:\n");
    let mut ahead = 0;
    for line in all {
        let place = format!("{}.{}", line.table, line.column);
        let text = if let Some(why) = &line.left_alone {
            format!("{place} was left alone: {why}")
        } else if line.moved_to.is_some() {
            moved(line)
        } else {
            ahead += 1;
            continue;
        };
        writeln!(out, "  {}", wrap("    ", &text).trim()).unwrap_or_default();
        if line.rows_at_the_end {
            out.push_str(&wrap(
                "    ",
                "rows with numbers at its very end do not move it",
            ));
        }
    }
    if ahead > 0 {
        let were = if ahead == 1 { "was" } else { "were" };
        writeln!(out, "  {} {were} ahead of the rows already", count(ahead)).unwrap_or_default();
    }
    out.push('\n');
    out
}

fn constraints(all: &[Proof]) -> String {
    let mut out = String::new();
    if all.is_empty() {
        return out;
    }
    out.push_str("Constraints that were not known to hold:\n");
    for proof in all {
        let verdict = if proof.valid {
            "holds"
        } else {
            "does not hold"
        };
        let head = format!("{} of {}", proof.constraint, proof.table);
        writeln!(out, "  {} {verdict}", left(&head, 40)).unwrap_or_default();
        if proof.valid {
            continue;
        }
        out.push_str(&wrap("    ", &in_the_way(proof)));
        if let Some(query) = &proof.query {
            out.push_str(&wrap("    ", &format!("all of them: {query}")));
        }
    }
    out.push('\n');
    out
}
