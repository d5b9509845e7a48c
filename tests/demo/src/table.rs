//! The result, in at most 80 columns.

use super::{
    args::Settings,
    measured::{Faults, Measured},
    screen::number,
};
use leafcutter_finlit::{
    Collection,
    compare::report::{Report, Wrong},
};
use leafcutter_harness::{fault::course::Mark, program};
use std::fmt::Write as _;

const WIDTH: usize = 80;
/// Findings that are spelled out.
const SPELLED_OUT: usize = 8;

/// Everything there is to say at the end.
pub fn render(settings: &Settings, report: &Report, measured: &Measured) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    collections(&mut text, report, measured)
        .and_then(|()| dead_letters(&mut text, report))
        .and_then(|()| programs(&mut text, measured))
        .and_then(|()| faults(&mut text, measured))
        .and_then(|()| verdict(&mut text, settings, report, measured))
        .unwrap_or_default();
    text
}

fn collections(text: &mut String, report: &Report, measured: &Measured) -> std::fmt::Result {
    writeln!(
        text,
        "{:<20} {:>7} {:>7} {:>5} {:>5} {:>6} {:>4} {:>5} {:>4} {:>7}",
        "collection", "docs", "rows", "same", "older", "waited", "held", "dead", "sec", "docs/s"
    )?;
    writeln!(text, "{}", "─".repeat(79))?;
    let mut sums = [0u64; 7];
    for collection in Collection::ALL {
        let Some(tally) = report.tallies.get(&collection) else {
            continue;
        };
        let positive = |n: i64| u64::try_from(n).unwrap_or(0);
        let counters = &tally.counters;
        let values = [
            tally.documents,
            tally.rows,
            positive(counters.unchanged),
            positive(counters.stale),
            positive(counters.parked),
            tally.held,
            tally.dead_letters.values().sum(),
        ];
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
        let (seconds, rate) = measured.snapshot(collection).map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |(seconds, rate)| (format!("{seconds:.1}"), number(rate)),
        );
        row(text, collection.name(), values, &seconds, &rate)?;
    }
    writeln!(text, "{}", "─".repeat(79))?;
    let (seconds, rate) = measured.whole_snapshot();
    row(text, "all", sums, &format!("{seconds:.1}"), &number(rate))?;
    writeln!(text)?;
    paragraph(
        text,
        "",
        "same: records equal to what was there. older: records that something newer had overtaken. \
         waited: for a parent, or for a unique value to become free. held: rows that stay though \
         their document is gone, because others point to them. dead: documents in the dead letters. \
         sec, docs/s: until the snapshot was in PostgreSQL.",
    )
}

fn row(
    text: &mut String,
    name: &str,
    values: [u64; 7],
    seconds: &str,
    rate: &str,
) -> std::fmt::Result {
    let [documents, rows, same, older, waited, held, dead] = values;
    writeln!(
        text,
        "{name:<20} {:>7} {:>7} {:>5} {:>5} {:>6} {:>4} {:>5} {seconds:>4} {rate:>7}",
        number(documents),
        number(rows),
        short(same),
        short(older),
        short(waited),
        short(held),
        short(dead),
    )
}

/// At most five characters.
fn short(n: u64) -> String {
    match n {
        0..10_000 => number(n),
        10_000..1_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

fn dead_letters(text: &mut String, report: &Report) -> std::fmt::Result {
    let documents: u64 = report
        .tallies
        .values()
        .flat_map(|t| t.dead_letters.values())
        .sum();
    if documents == 0 {
        return Ok(());
    }
    writeln!(
        text,
        "\nDead letters, each with its whole record in a topic of its own:"
    )?;
    for (collection, tally) in &report.tallies {
        let mut reasons: Vec<_> = tally.dead_letters.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let reasons: Vec<_> = reasons
            .into_iter()
            .map(|(reason, count)| format!("{} {reason}", number(*count)))
            .collect();
        if !reasons.is_empty() {
            paragraph(
                text,
                &format!("  {:<21}", collection.name()),
                &reasons.join(", "),
            )?;
        }
    }
    Ok(())
}

fn programs(text: &mut String, measured: &Measured) -> std::fmt::Result {
    let peaks: Vec<_> = measured
        .peaks
        .iter()
        .map(|(name, kib)| format!("{name} {} MB", kib * 1024 / 1_000_000))
        .collect();
    writeln!(text)?;
    paragraph(text, "Peak memory: ", &peaks.join(", "))?;
    paragraph(
        text,
        "Meanwhile:   ",
        &format!(
            "the application made {} writes in {} s, {} of them transactions",
            number(measured.writes),
            measured.traffic.as_secs(),
            number(measured.transactions)
        ),
    )
}

/// Who was killed, and what had to be done again.
fn faults(text: &mut String, measured: &Measured) -> std::fmt::Result {
    let Some(Faults {
        seed,
        struck,
        again,
    }) = &measured.faults
    else {
        return Ok(());
    };
    writeln!(
        text,
        "\nFaults (KILL_SEED={seed} makes them in the same way):"
    )?;
    writeln!(
        text,
        "{:>7}  {:<30} {:>7}  when there were",
        "at s", "what", "down s"
    )?;
    for one in struck {
        let down = one.down.map_or(0.0, |down| down.as_secs_f64());
        writeln!(
            text,
            "{:>7.1}  {:<30} {down:>7.1}  {}",
            one.at.as_secs_f64(),
            format!("{} {}", one.how.done(), one.victim),
            state(one.mark)
        )?;
    }
    writeln!(text)?;
    paragraph(
        text,
        "Read again:    ",
        &format!(
            "{} documents of the snapshot and {} changes were published a second time, of {} records",
            number(again.read),
            number(again.changes),
            number(again.records)
        ),
    )?;
    paragraph(
        text,
        "Applied again: ",
        &format!(
            "{} of them, since the transactions they were in were cut off and rolled back",
            number(again.applied)
        ),
    )
}

fn state(mark: Mark) -> String {
    let all = Collection::ALL.len();
    let what = if mark.read < all {
        format!("{} of {all} snapshots read", mark.read)
    } else if mark.done < all {
        format!("{} of {all} snapshots applied", mark.done)
    } else {
        "all snapshots applied".to_owned()
    };
    format!("{} records applied, {what}", number(mark.applied))
}

fn verdict(
    text: &mut String,
    settings: &Settings,
    report: &Report,
    measured: &Measured,
) -> std::fmt::Result {
    let rows: u64 = report.tallies.values().map(|tally| tally.rows).sum();
    writeln!(text)?;
    paragraph(
        text,
        "Compared ",
        &format!(
            "{} documents with {} rows in {:.1} s, and {} dead letters with their records; looked up {} \
             documents whose fate was known beforehand.",
            number(report.documents()),
            number(rows),
            measured.comparison.as_secs_f64(),
            number(u64::try_from(report.dead_letters.len()).unwrap_or(0)),
            number(report.fates),
        ),
    )?;
    if report.is_clean() {
        let held: u64 = report.tallies.values().map(|tally| tally.held).sum();
        let but = if held > 0 { " (held rows aside)" } else { "" };
        writeln!(
            text,
            "Nothing is missing, nothing is extra{but}, nothing differs."
        )?;
    } else {
        let kinds: Vec<_> = report
            .wrong
            .iter()
            .map(|(wrong, count)| format!("{} {}", number(*count), name(*wrong)))
            .collect();
        paragraph(text, "It is not right: ", &kinds.join(", "))?;
        for finding in report.findings.iter().take(SPELLED_OUT) {
            paragraph(text, "  ", &finding.to_string())?;
        }
        writeln!(
            text,
            "  The programs' logs are in {}",
            settings.folder().display()
        )?;
    }
    next(text, settings)
}

fn name(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Missing => "missing",
        Wrong::Extra => "extra",
        Wrong::Different => "different",
        Wrong::DeadLetter => "wrong in the dead letters",
        Wrong::Held => "wrongly held",
        Wrong::Fate => "with another fate than foreseen",
        Wrong::Accounting => "partitions with records unaccounted for",
    }
}

fn next(text: &mut String, settings: &Settings) -> std::fmt::Result {
    let tool = program::find("leafcutter").unwrap_or_else(|_| "leafcutter".into());
    let tool = match std::env::current_dir()
        .ok()
        .and_then(|here| tool.strip_prefix(here).ok().map(Into::into))
    {
        Some(relative) => relative,
        None => tool,
    };
    let mapping = settings.folder().join("mapping.yaml");
    writeln!(
        text,
        "\nThree commands to try next (`KEEP=1 make demo` leaves the servers up):"
    )?;
    let (tool, mapping) = (tool.display(), mapping.display());
    writeln!(text, "  export LEAFCUTTER_MAPPING={mapping}")?;
    for (variable, value) in [("PREFIX", &settings.prefix), ("GROUP", &settings.group)] {
        if value != "leafcutter" {
            writeln!(text, "  export LEAFCUTTER_{variable}={value}")?;
        }
    }
    writeln!(text, "  {tool} status")?;
    writeln!(text, "  {tool} dead-letters list --reason orphan")?;
    writeln!(text, "  {tool} peek learners --documents")
}

/// Words filled into lines; lines after the first begin below the first word.
fn paragraph(text: &mut String, label: &str, words: &str) -> std::fmt::Result {
    let indent = label.chars().count();
    let mut line = label.to_owned();
    let mut length = indent;
    for word in words.split_whitespace() {
        let more = word.chars().count() + usize::from(length > indent);
        if length + more > WIDTH && length > indent {
            writeln!(text, "{line}")?;
            line = " ".repeat(indent);
            length = indent;
        }
        if length > indent {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += word.chars().count();
    }
    writeln!(text, "{line}")
}
