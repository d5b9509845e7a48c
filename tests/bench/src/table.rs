//! The figures for a person, beside the marks, in at most 80 columns.

use super::figures::{Figures, Latency, Limit, Phase, Run, ServerUsed, Used};
use indicatif::HumanCount;
use std::fmt::{self, Write as _};

const WIDTH: usize = 79;
/// The marks: what a figure of two processors is to reach with learners.
mod marks {
    /// Documents of a snapshot per second: the least, what is to be reached, the goal.
    pub(super) const SNAPSHOT: [f64; 3] = [45_000.0, 65_000.0, 85_000.0];
    /// Events of a backlog per second.
    pub(super) const STREAM: f64 = 30_000.0;
    /// Milliseconds of half of the writes.
    pub(super) const P50: f64 = 20.0;
    /// Milliseconds of 99 of 100.
    pub(super) const P99: f64 = 60.0;
    /// Megabytes of a program.
    pub(super) const MEMORY: f64 = 150.0;
}

/// All of it.
pub fn render(figures: &Figures) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    write(&mut text, figures).unwrap_or_default();
    text
}

fn write(text: &mut String, figures: &Figures) -> fmt::Result {
    for run in &figures.workloads {
        write_run(text, run)?;
    }
    writeln!(text, "{}", "─".repeat(WIDTH))?;
    let first = figures.workloads.first().and_then(|run| run.phases.first());
    let load = first.and_then(|phase| phase.load);
    let load = load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.1}"));
    writeln!(
        text,
        "{} processors for everything, load {load} before; {} consumer(s).",
        figures.processors, figures.consumers
    )?;
    let wrong = figures.workloads.iter().find_map(|run| {
        let wrong = run.wrong.as_ref()?;
        Some((run.workload, wrong))
    });
    match wrong {
        Some((workload, wrong)) => writeln!(text, "WRONG {workload}, {wrong}"),
        None => writeln!(
            text,
            "Every row was compared after each phase, {} times: none missing, extra or\ndifferent.",
            figures
                .workloads
                .iter()
                .map(|run| run.verified)
                .sum::<usize>()
        ),
    }
}

fn write_run(text: &mut String, run: &Run) -> fmt::Result {
    let marked = run.workload.starts_with("learners");
    let what = format!(
        "{}: {} documents of {} bytes",
        run.workload,
        HumanCount(run.documents),
        HumanCount(run.document_bytes)
    );
    let mark = if marked { "mark" } else { "" };
    if !text.is_empty() {
        writeln!(text)?;
    }
    writeln!(text, "{}", format!("{what:<51} {mark}").trim_end())?;
    writeln!(text, "{}", "─".repeat(WIDTH))?;
    for phase in &run.phases {
        write_phase(text, phase, run.workload == "learners")?;
        if phase.name == "snapshot"
            && let Some(limit) = &run.limit
        {
            write_limit(text, limit)?;
        }
    }
    for latency in &run.latencies {
        write_latency(text, latency, run.workload == "learners")?;
    }
    for (index, (program, kib)) in run.peaks().iter().enumerate() {
        let title = if index == 0 { "peak memory" } else { "" };
        let megabytes = *kib as f64 * 1024.0 / 1e6;
        let mark = judged("<", marks::MEMORY, "MB", megabytes < marks::MEMORY);
        let mark = if marked { mark } else { String::new() };
        line(text, (title, program, &format!("{megabytes:.0} MB"), &mark))?;
    }
    Ok(())
}

fn write_phase(text: &mut String, phase: &Phase, marked: bool) -> fmt::Result {
    let rate = format!("{} {}/s", thousands(phase.per_second), phase.unit);
    let mark = match phase.name {
        "snapshot" if marked => {
            let [least, reach, goal] = marks::SNAPSHOT;
            let reached = marks::SNAPSHOT
                .iter()
                .filter(|mark| phase.per_second >= **mark);
            let word = ["missed", "first mark", "reached", "goal reached"];
            let word = word.get(reached.count()).copied().unwrap_or_default();
            let k = |mark: f64| mark / 1000.0;
            format!("≥ {} k, {} k, {} k: {word}", k(least), k(reach), k(goal))
        }
        "updates" if marked => {
            let reached = phase.per_second >= marks::STREAM;
            judged("≥", marks::STREAM / 1000.0, "k", reached)
        }
        _ => String::new(),
    };
    let what = format!("{} {}", HumanCount(phase.count), phase.unit);
    line(text, (phase.name, &what, &rate, &mark))?;
    let (first, last) = (phase.first_seconds, phase.seconds);
    // What is less follows from how often it is looked.
    let settled = if phase.settled_seconds - last >= 1.0 {
        format!(", all settled after {:.1} s", phase.settled_seconds)
    } else {
        String::new()
    };
    writeln!(
        text,
        "  first row after {first:.1} s, last after {last:.1} s{settled}"
    )?;
    write_cpu(text, &phase.used, &phase.servers)?;
    let kafka = phase.kafka_bytes_each;
    let kafka = kafka.map_or_else(String::new, |bytes| {
        format!("{} bytes in Kafka, ", thousands_of(bytes))
    });
    let wal = thousands_of(phase.wal_bytes_each);
    let unchanged = phase.unchanged.map_or_else(String::new, |unchanged| {
        format!("; {} records unchanged", HumanCount(unchanged))
    });
    writeln!(text, "  each: {kafka}{wal} bytes of WAL{unchanged}")
}

fn write_limit(text: &mut String, limit: &Limit) -> fmt::Result {
    let percent = |part: f64| format!("the snapshot reaches {:.0} %", part * 100.0);
    let rate = |per_second: f64| format!("{} docs/s", thousands(per_second));
    let copy = rate(limit.copy_per_second);
    let reached = percent(limit.snapshot_to_copy);
    line(text, ("limit", "COPY, then keys", &copy, &reached))?;
    let scan = rate(limit.scan_per_second);
    line(
        text,
        (
            "",
            "MongoDB's scan",
            &scan,
            &percent(limit.snapshot_to_scan),
        ),
    )?;
    writeln!(
        text,
        "  {} rows copied in {:.1} s, their keys and indexes in {:.1} s",
        HumanCount(limit.rows),
        limit.copy_seconds,
        limit.constraints_seconds
    )
}

fn write_latency(text: &mut String, latency: &Latency, marked: bool) -> fmt::Result {
    let what = format!("{} updates/s", thousands(latency.rate_reached));
    let (p50, p99) = (latency.whole.p50, latency.whole.p99);
    let millis = |value: f64| format!("{value:.1} ms");
    let mark = |mark: f64, reached: bool| {
        let judged = judged("<", mark, "ms", reached);
        if marked { judged } else { String::new() }
    };
    line(
        text,
        (
            "latency",
            &what,
            &format!("p50 {}", millis(p50)),
            &mark(marks::P50, p50 < marks::P50),
        ),
    )?;
    let asked = format!("of {} asked for", HumanCount(latency.rate.into()));
    line(
        text,
        (
            "",
            &asked,
            &format!("p99 {}", millis(p99)),
            &mark(marks::P99, p99 < marks::P99),
        ),
    )?;
    line(
        text,
        ("", "", &format!("max {}", millis(latency.whole.max)), ""),
    )?;
    writeln!(
        text,
        "  MongoDB to Kafka p50 {:.0}, p99 {:.0} ms; Kafka to rows p50 {:.0}, p99 {:.0} ms",
        latency.to_kafka.p50, latency.to_kafka.p99, latency.from_kafka.p50, latency.from_kafka.p99
    )?;
    writeln!(
        text,
        "  a commit is seen late by {:.1} ms (p50), {:.1} ms (p99) at most",
        latency.looks.p50, latency.looks.p99,
    )?;
    write_cpu(text, &latency.used, &latency.servers)
}

/// CPU of programs and servers, in as many lines as it takes.
fn write_cpu(text: &mut String, used: &[Used], servers: &[ServerUsed]) -> fmt::Result {
    let programs = used
        .iter()
        .map(|used| (used.program.as_str(), used.cpu_seconds));
    let servers = servers.iter().map(|used| (used.server, used.cpu_seconds));
    let parts: Vec<_> = programs
        .chain(servers)
        .map(|(name, seconds)| format!("{name} {seconds:.1} s"))
        .collect();
    let mut line = String::from("  CPU:");
    for (index, part) in parts.iter().enumerate() {
        let comma = if index + 1 < parts.len() { "," } else { "" };
        if line.chars().count() + part.chars().count() + 2 > WIDTH {
            writeln!(text, "{line}")?;
            line = String::from("   ");
        }
        line += &format!(" {part}{comma}");
    }
    writeln!(text, "{line}")
}

fn judged(sign: &str, mark: f64, unit: &str, reached: bool) -> String {
    let word = if reached { "reached" } else { "missed" };
    format!("{sign} {mark} {unit}: {word}")
}

fn line(text: &mut String, cells: (&str, &str, &str, &str)) -> fmt::Result {
    let (title, what, measured, mark) = cells;
    let line = format!("{title:<14} {what:<17} {measured:>17}  {mark}");
    writeln!(text, "{}", line.trim_end())
}

/// A rate with commas, rounded to what it is worth.
fn thousands(rate: f64) -> String {
    let digits = format!("{:.0}", rate / 10.0)
        .parse::<u64>()
        .unwrap_or_default()
        * 10;
    HumanCount(digits).to_string()
}

/// A number of bytes with commas.
fn thousands_of(bytes: f64) -> String {
    let digits = format!("{bytes:.0}").parse::<u64>().unwrap_or_default();
    HumanCount(digits).to_string()
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, render};
    use crate::figures::{Figures, Latency, Limit, Phase, Run, ServerUsed, Spread, Used};

    fn servers() -> Vec<ServerUsed> {
        let names = ["mongodb", "kafka", "postgres"];
        let used = names.map(|server| ServerUsed {
            server,
            cpu_seconds: 2345.6,
        });
        used.to_vec()
    }

    fn used(peak_kib: u64) -> Vec<Used> {
        let programs = (0..9).map(|number| match number {
            0 => "producer".to_owned(),
            _ => format!("consumer {number}"),
        });
        let used = programs.map(|program| Used {
            program,
            peak_kib,
            cpu_seconds: 1333.3,
        });
        used.collect()
    }

    fn phase(name: &'static str, unit: &'static str, per_second: f64) -> Phase {
        Phase {
            name,
            unit,
            count: 50_000_000,
            first_seconds: 1.1,
            seconds: 1005.5,
            settled_seconds: 1012.5,
            per_second,
            load: Some(10.0),
            used: used(150_000),
            servers: servers(),
            kafka_bytes_each: (unit != "records").then_some(1_000_000.0),
            wal_bytes_each: 1_000_000.0,
            unchanged: (unit == "records").then_some(50_000_000),
        }
    }

    fn latency() -> Latency {
        let spread = Spread {
            p50: 10.4,
            p99: 100.4,
            max: 3000.0,
        };
        Latency {
            writes: 1,
            rate: 100_000,
            rate_reached: 100_000.0,
            whole: spread,
            to_kafka: spread,
            from_kafka: spread,
            acknowledge: spread,
            looks: Spread {
                p50: 1.1,
                p99: 9.9,
                max: 9.9,
            },
            load: None,
            used: used(10_000),
            servers: servers(),
        }
    }

    fn run(workload: &'static str) -> Run {
        let mut limit = Limit {
            documents: 50_000_000,
            scan_seconds: 250.0,
            rows: 650_000_000,
            copy_seconds: 400.0,
            constraints_seconds: 100.0,
            ..Limit::default()
        };
        limit.against(84_999.0);
        Run {
            workload,
            documents: 50_000_000,
            document_bytes: 1_000_000,
            phases: vec![
                phase("snapshot", "docs", 84_999.0),
                phase("replay, other", "records", 84_999.0),
                phase("updates", "events", 31_234.0),
            ],
            limit: Some(limit),
            latencies: vec![latency()],
            verified: 3,
            wrong: None,
        }
    }

    fn figures() -> Figures {
        Figures {
            processors: 2,
            consumers: 8,
            workloads: vec![run("learners"), run("finlit, dirt")],
        }
    }

    #[test]
    fn the_table_fits_its_width_and_judges_by_the_marks() {
        let text = render(&figures());
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        let has = |line: &str| assert!(text.contains(line), "{line} in\n{text}");
        has("85,000 docs/s  ≥ 45 k, 65 k, 85 k: reached");
        has("31,230 events/s  ≥ 30 k: reached");
        has("p50 10.4 ms  < 20 ms: reached");
        has("p99 100.4 ms  < 60 ms: missed");
        has("154 MB  < 150 MB: missed");
        has("100,000 docs/s  the snapshot reaches 85 %");
        has("200,000 docs/s  the snapshot reaches 42 %");
        has("6 times: none missing");
    }

    #[test]
    fn marks_are_for_learners() {
        let figures = Figures {
            workloads: vec![run("wide")],
            ..figures()
        };
        let text = render(&figures);
        assert!(
            !text.contains("reached") && !text.contains("missed"),
            "{text}"
        );
    }

    #[test]
    fn what_is_wrong_is_the_last_word() {
        let mut figures = figures();
        figures.workloads[1].wrong = Some("after snapshot".to_owned());
        assert!(render(&figures).ends_with("WRONG finlit, dirt, after snapshot\n"));
    }
}
