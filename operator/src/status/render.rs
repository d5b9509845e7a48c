//! The report as text, at most 80 columns wide.

use super::report::{CollectionLine, Report, SnapshotState, gate_words, outcome_words};
use crate::{
    figures::{bar, count, count_within, counted, percent, short_span, span},
    show::{Paint, cut, left, right, wrap},
};
use std::fmt::Write as _;

const NAME: usize = 20;
const BAR: usize = 11;

/// What to do once it is ready.
const NEXT: &str = "next: nobody writes to the source any more, then leafcutter finish";

/// Renders it.
#[must_use]
pub fn render(report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    head(&mut out, report, paint);
    if !report.collections.is_empty() {
        let heading = format!(
            "{} {} {} {} {} {}",
            left("collection", NAME + BAR + 7),
            right("applied", 12),
            right("behind", 11),
            right("per s", 8),
            right("lag", 7),
            ""
        );
        writeln!(out, "\n{}", paint.dim(heading.trim_end())).unwrap_or_default();
        for line in &report.collections {
            collection(&mut out, line, paint);
        }
    }
    beside(&mut out, report, paint);
    accounting(&mut out, report, paint);
    verdict(&mut out, report, paint);
    out
}

fn head(out: &mut String, report: &Report, paint: Paint) {
    let title = format!("Leafcutter, group {}", cut(&report.group, 35));
    let at = right(&report.at, 80 - title.chars().count());
    writeln!(out, "{}{}\n", paint.bold(&title), paint.dim(&at)).unwrap_or_default();
    for producer in &report.producers {
        let age = producer.heartbeat_age_seconds;
        let seen = format!("seen {} ago", short_span(age));
        let seen = if age > 10 { paint.bad(&seen) } else { seen };
        let reach = producer.source_time.as_ref().map_or_else(
            || "nothing certain yet".to_owned(),
            |time| format!("at {time}"),
        );
        let name = left(&cut(&producer.name, 22), 22);
        writeln!(out, "producer   {name} {seen}, {reach}").unwrap_or_default();
        if producer.polled {
            let polled = "polls: deletes in the source are not seen, their rows stay";
            writeln!(out, "{}{}", " ".repeat(11), paint.attention(polled)).unwrap_or_default();
        }
    }
    if report.producers.is_empty() {
        let silent = paint.attention("none has sent a heartbeat");
        writeln!(out, "producer   {silent}").unwrap_or_default();
    }
    for consumer in &report.consumers {
        let name = left(&cut(&consumer.id, 22), 22);
        let seen = format!("seen {} ago", short_span(consumer.seen_seconds_ago));
        let seen = if consumer.alive {
            seen
        } else {
            paint.bad(&seen)
        };
        let held = counted(consumer.partitions, "partition");
        writeln!(
            out,
            "consumer   {name} {seen}, {held}, mapping {}",
            cut(&consumer.mapping, 8)
        )
        .unwrap_or_default();
    }
    if report.consumers.is_empty() {
        writeln!(out, "consumer   {}", paint.attention("none is running")).unwrap_or_default();
    }
}

fn collection(out: &mut String, line: &CollectionLine, paint: Paint) {
    // Where nobody has said anything, nothing is no whole.
    let least = i64::from(line.snapshot == SnapshotState::Unknown);
    let whole = line.expected.max(least);
    let part = percent(line.applied, whole);
    let part = if line.snapshot == SnapshotState::Running {
        part.min(99)
    } else {
        part
    };
    let rate = line
        .rate
        .map_or_else(|| "-".to_owned(), |rate| count_within(rate, 8));
    let lag = line.lag_seconds.map_or_else(|| "-".to_owned(), short_span);
    writeln!(
        out,
        "{} {} {} % {} {} {} {}",
        left(&cut(&line.collection, NAME), NAME),
        paint.good(&bar(line.applied, line.in_kafka, whole, BAR)),
        right(&part.to_string(), 3),
        right(&count_within(line.applied, 12), 12),
        right(&count_within(line.behind, 11), 11),
        right(&rate, 8),
        right(&lag, 7),
    )
    .unwrap_or_default();
    let mut notes = Vec::new();
    match line.snapshot {
        SnapshotState::Running => {
            let read = i64::try_from(line.snapshot_read).unwrap_or(i64::MAX);
            let estimated = i64::try_from(line.snapshot_estimated).unwrap_or(i64::MAX);
            let (done, all) = line.snapshot_splits;
            notes.push(format!(
                "snapshot {} % read, {done} of {all} splits",
                percent(read, estimated).min(99)
            ));
        }
        SnapshotState::Unknown => notes.push("no snapshot is known".to_owned()),
        SnapshotState::Complete | SnapshotState::None => {}
    }
    if !line.gate_waits_for.is_empty() {
        notes.push(format!(
            "waiting for parents: {}",
            gate_words(&line.gate_waits_for)
        ));
    }
    if let Some(left) = line.seconds_left.filter(|&left| left >= 10) {
        notes.push(format!("{} to go", span(left)));
    }
    if !notes.is_empty() {
        out.push_str(&paint.dim(&wrap(&" ".repeat(NAME + 1), &notes.join("; "))));
    }
}

/// What stands beside the flow: waiting, held, dead letters.
fn beside(out: &mut String, report: &Report, paint: Paint) {
    let mut lines: Vec<(String, i64, String)> = Vec::new();
    for (kind, orphans, words) in [
        ("parent", false, "waiting for parent"),
        ("unique", false, "waiting for value"),
        ("parent", true, "parent is missing"),
        ("unique", true, "value is taken"),
    ] {
        let of_kind = report
            .waiting
            .iter()
            .filter(|w| w.waits_for == kind && w.orphans == orphans);
        let mut number = 0;
        let mut each = Vec::new();
        for waiting in of_kind {
            number += waiting.documents;
            let documents = count(waiting.documents);
            each.push(match kind {
                "parent" => format!("{documents} {} for {}", waiting.collection, waiting.table),
                _ => format!("{documents} {}", waiting.collection),
            });
        }
        lines.push((words.to_owned(), number, each.join(", ")));
    }
    let each = |list: &std::collections::BTreeMap<String, i64>| {
        list.iter()
            .map(|(name, n)| format!("{} {name}", count(*n)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let by_table = |list: &std::collections::BTreeMap<String, i64>| {
        list.iter()
            .map(|(table, n)| format!("{} in {table}", count(*n)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (words, rows) in [
        ("kept: still referenced", &report.held),
        ("gone with a parent", &report.cascaded),
    ] {
        lines.push((words.to_owned(), rows.values().sum(), by_table(rows)));
    }
    let open = report.dead_letters.values().sum();
    lines.push(("dead letters".to_owned(), open, each(&report.dead_letters)));
    let unmapped = report.unmapped_fields.values().sum();
    lines.push((
        "fields without column".to_owned(),
        unmapped,
        format!("{}: leafcutter drift", each(&report.unmapped_fields)),
    ));
    let older: Vec<&str> = report
        .older_rows
        .iter()
        .map(|o| o.collection.as_str())
        .collect();
    lines.push((
        "older mapping".to_owned(),
        i64::try_from(older.len()).unwrap_or(i64::MAX),
        format!("rows of {}", older.join(", ")),
    ));
    let deferred = &report.deferred_constraints;
    let keys = deferred.iter().filter(|row| row.parent.is_some());
    let keys = i64::try_from(keys.count()).unwrap_or(i64::MAX);
    let number = i64::try_from(deferred.len()).unwrap_or(i64::MAX);
    lines.push((
        "constraints to come".to_owned(),
        number,
        format!(
            "{} foreign keys, {} indexes, once the tables are filled",
            count(keys),
            count(number - keys)
        ),
    ));
    lines.retain(|(_, number, _)| *number > 0);
    if lines.is_empty() {
        out.push('\n');
        writeln!(
            out,
            "{}",
            paint.dim("nothing waits, no deleted row is kept, no dead letters")
        )
        .unwrap_or_default();
        return;
    }
    out.push('\n');
    for (words, number, each) in lines {
        let lead = format!("{} {}", left(&words, 22), right(&count(number), 11));
        let rest = wrap(&" ".repeat(36), &each);
        let first = rest.trim_start();
        out.push_str(&paint.attention(&lead));
        write!(out, "  {first}").unwrap_or_default();
    }
}

fn accounting(out: &mut String, report: &Report, paint: Paint) {
    let accounting = &report.accounting;
    let outcomes = outcome_words(&accounting.outcomes);
    out.push('\n');
    if accounting.broken.is_empty() {
        let taken = counted(accounting.consumed, "record");
        let text = if outcomes.is_empty() {
            format!("{taken} taken from Kafka.")
        } else {
            format!("{taken} taken from Kafka, each accounted for: {outcomes}.")
        };
        out.push_str(&paint.dim(&wrap("", &text)));
        return;
    }
    let heading = "THE ACCOUNTING IS BROKEN. Please report this with these lines:";
    writeln!(out, "{}", paint.bad(heading)).unwrap_or_default();
    for broken in &accounting.broken {
        let text = format!(
            "{} partition {}: {} records taken, {} outcomes",
            broken.topic,
            broken.partition,
            count(broken.consumed),
            count(broken.accounted)
        );
        out.push_str(&wrap("  ", &text));
    }
}

fn verdict(out: &mut String, report: &Report, paint: Paint) {
    /// More reasons than this do not help.
    const SHOWN: usize = 8;
    out.push('\n');
    if report.ready {
        writeln!(out, "{}", paint.good("ready to cut over")).unwrap_or_default();
        out.push_str(&paint.dim(&wrap("  ", NEXT)));
        return;
    }
    writeln!(out, "{}", paint.attention("not ready to cut over")).unwrap_or_default();
    for reason in report.not_ready_because.iter().take(SHOWN) {
        let wrapped = wrap("    ", reason);
        writeln!(out, "  - {}", wrapped.trim()).unwrap_or_default();
    }
    let more = report.not_ready_because.len().saturating_sub(SHOWN);
    if more > 0 {
        writeln!(out, "  - and {more} more").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::report::{
        Accounting, Broken, ConsumerLine, InForceLine, OlderLine, ParentLine, ProducerLine,
        WaitingLine,
    };
    use std::collections::BTreeMap;

    fn line(name: &str, applied: i64, in_kafka: i64) -> CollectionLine {
        CollectionLine {
            collection: name.to_owned(),
            topic: format!("leafcutter.finlit.{name}"),
            snapshot: SnapshotState::Complete,
            snapshot_read: 620,
            snapshot_estimated: 1_000,
            snapshot_splits: (3, 12),
            applied,
            in_kafka,
            behind: in_kafka - applied,
            expected: in_kafka,
            rate: Some(41_203),
            seconds_left: Some(75),
            lag_seconds: Some(3),
            gate_waits_for: Vec::new(),
        }
    }

    fn report() -> Report {
        let mut children = line("a_collection_with_a_long_name", 26_000, 40_000);
        children.snapshot = SnapshotState::Running;
        children.expected = 100_000;
        children.gate_waits_for = vec![ParentLine {
            collection: "learners".to_owned(),
            percent: 62,
            waiting: 0,
        }];
        Report {
            at: "2025-11-21 11:02:25 UTC".to_owned(),
            group: "a-group-with-a-name-that-nobody-would-type-twice".to_owned(),
            mapping: None,
            in_force: Some(InForceLine {
                generation: 3,
                mapping: "0123456789abcdef".to_owned(),
                since: "2025-11-21 11:02:25 UTC".to_owned(),
                differs: Vec::new(),
            }),
            deferred_constraints: Vec::new(),
            older_rows: vec![OlderLine {
                collection: "a_collection_with_a_long_name".to_owned(),
                generation: 3,
                what: "column a_collection_with_a_long_name.a_column is new".to_owned(),
                command: "leafcutter replay a_collection_with_a_long_name".to_owned(),
                running: false,
            }],
            ready: false,
            not_ready_because: (0..10)
                .map(|n| format!("reason {n} {}", "x ".repeat(50)))
                .collect(),
            producers: vec![ProducerLine {
                name: "leafcutter.a_long_database_name".to_owned(),
                heartbeat_age_seconds: 90_000,
                source_time: Some("2025-11-21 11:02:25 UTC".to_owned()),
                polled: true,
            }],
            consumers: vec![ConsumerLine {
                id: "consumer-0123456789ab".to_owned(),
                host: "h".to_owned(),
                program: "p".to_owned(),
                mapping: "0123456789abcdef".to_owned(),
                partitions: 16,
                admin: None,
                seen_seconds_ago: 2,
                alive: true,
                problem: None,
            }],
            collections: vec![line("learners", 9_999_999_999, 99_999_999_999), children],
            paused: Vec::new(),
            stopped: Vec::new(),
            read_again: Vec::new(),
            waiting: vec![WaitingLine {
                collection: "quiz_attempts".to_owned(),
                waits_for: "parent",
                table: "learners".to_owned(),
                orphans: false,
                documents: 12,
            }],
            held: BTreeMap::from([("learners".to_owned(), 1)]),
            cascaded: BTreeMap::new(),
            dead_letters: BTreeMap::from([("wrong-type".to_owned(), 2_000)]),
            unmapped_fields: BTreeMap::from([("learners".to_owned(), 3)]),
            accounting: Accounting {
                consumed: 1_203_441,
                outcomes: BTreeMap::from([("applied", 1_203_408), ("stale", 33), ("held", 0)]),
                broken: Vec::new(),
            },
            kafka: None,
        }
    }

    #[test]
    fn everything_fits_eighty_columns_and_is_in_plain_words() {
        let text = render(&report(), Paint::PLAIN);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}\n{text}");
        }
        for words in [
            "waiting for parents: learners 62 %",
            "snapshot 62 % read, 3 of 12 splits",
            "12 quiz_attempts for learners",
            "33 older than what is there",
            "not ready to cut over",
            "polls: deletes in the source are not seen",
            "  - and 2 more",
        ] {
            let whole = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                text.contains(words) || whole.contains(words),
                "no {words:?} in {text}"
            );
        }
    }

    #[test]
    fn colours_do_not_move_columns() {
        let plain = render(&report(), Paint::PLAIN);
        let mut coloured = render(&report(), Paint::COLOURED);
        for code in ["0", "1", "2", "31", "32", "33"] {
            coloured = coloured.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(coloured, plain);
    }

    #[test]
    fn a_broken_accounting_is_not_to_be_overlooked() {
        let mut report = report();
        report.accounting.broken.push(Broken {
            topic: "leafcutter.finlit.learners".to_owned(),
            partition: 3,
            consumed: 10,
            accounted: 11,
        });
        let text = render(&report, Paint::PLAIN);
        assert!(text.contains("THE ACCOUNTING IS BROKEN"), "{text}");
        assert!(
            text.contains("partition 3: 10 records taken, 11 outcomes"),
            "{text}"
        );
    }

    #[test]
    fn a_collection_that_nobody_spoke_of_is_not_done() {
        let mut report = report();
        report.collections = vec![line("learners", 0, 0)];
        report.collections[0].snapshot = SnapshotState::Unknown;
        let text = render(&report, Paint::PLAIN);
        assert!(text.contains("···   0 % "), "{text}");
        report.collections[0].snapshot = SnapshotState::Complete;
        let text = render(&report, Paint::PLAIN);
        assert!(text.contains("███ 100 % "), "{text}");
    }

    #[test]
    fn ready_is_said_on_a_line_of_its_own_with_the_next_step() {
        let mut report = report();
        report.ready = true;
        report.not_ready_because.clear();
        let text = render(&report, Paint::PLAIN);
        let (_, last) = text.split_once("\nready to cut over\n").unwrap();
        assert!(last.contains("then leafcutter finish"), "{text}");
    }
}
