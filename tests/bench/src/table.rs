//! The figures for a person, beside the marks, in at most 80 columns.

use super::figures::{Figures, Latency, Phase};
use indicatif::HumanCount;
use std::fmt::{self, Write as _};

const WIDTH: usize = 79;
/// The marks: what a figure of two processors is to reach.
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
    line(text, ("", "", "measured", "mark"))?;
    writeln!(text, "{}", "─".repeat(WIDTH))?;
    for phase in &figures.phases {
        write_phase(text, phase)?;
    }
    if let Some(latency) = &figures.latency {
        write_latency(text, latency)?;
    }
    for (large, title) in [(false, "peak memory"), (true, "  with 1 MB")] {
        for (index, (program, kib)) in figures.peaks(large).iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            let megabytes = *kib as f64 * 1024.0 / 1e6;
            let mark = judged("<", marks::MEMORY, "MB", megabytes < marks::MEMORY);
            line(text, (title, program, &format!("{megabytes:.0} MB"), &mark))?;
        }
    }
    writeln!(text, "{}", "─".repeat(WIDTH))?;
    let load = figures.phases.first().and_then(|phase| phase.load);
    let load = load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.1}"));
    writeln!(
        text,
        "{} processors for everything, load {load} before; {} consumer(s).",
        figures.processors, figures.consumers
    )?;
    match &figures.wrong {
        Some(wrong) => writeln!(text, "WRONG {wrong}"),
        None => writeln!(
            text,
            "Every row was compared after each phase, {} times: none missing, extra or\ndifferent.",
            figures.verified
        ),
    }
}

fn write_phase(text: &mut String, phase: &Phase) -> fmt::Result {
    let rate = format!("{} {}/s", thousands(phase.per_second), phase.unit);
    let mark = match phase.name {
        "snapshot" => {
            let [least, reach, goal] = marks::SNAPSHOT;
            let reached = marks::SNAPSHOT
                .iter()
                .filter(|mark| phase.per_second >= **mark);
            let word = ["missed", "first mark", "reached", "goal reached"];
            let word = word.get(reached.count()).copied().unwrap_or_default();
            let k = |mark: f64| mark / 1000.0;
            format!("≥ {} k, {} k, {} k: {word}", k(least), k(reach), k(goal))
        }
        "updates" => {
            let reached = phase.per_second >= marks::STREAM;
            judged("≥", marks::STREAM / 1000.0, "k", reached)
        }
        _ => String::new(),
    };
    let what = format!("{} {}", HumanCount(phase.count), phase.unit);
    line(text, (phase.name, &what, &rate, &mark))?;
    let (first, last) = (phase.first_seconds, phase.seconds);
    writeln!(
        text,
        "  first row after {first:.1} s, last after {last:.1} s{}",
        cpu(&phase.used)
    )
}

fn write_latency(text: &mut String, latency: &Latency) -> fmt::Result {
    let what = format!("{} updates/s", thousands(latency.rate_reached));
    let (p50, p99) = (latency.whole.p50, latency.whole.p99);
    let millis = |value: f64| format!("{value:.1} ms");
    let mark = judged("<", marks::P50, "ms", p50 < marks::P50);
    line(
        text,
        ("latency", &what, &format!("p50 {}", millis(p50)), &mark),
    )?;
    let mark = judged("<", marks::P99, "ms", p99 < marks::P99);
    line(text, ("", "", &format!("p99 {}", millis(p99)), &mark))?;
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
        "  a commit is seen late by {:.1} ms (p50), {:.1} ms (p99) at most{}",
        latency.looks.p50,
        latency.looks.p99,
        cpu(&latency.used)
    )
}

fn cpu(used: &[super::figures::Used]) -> String {
    let mut text = String::new();
    for used in used {
        let comma = if text.is_empty() { "\n  CPU:" } else { "," };
        // Writing to a string cannot fail.
        write!(text, "{comma} {} {:.1} s", used.program, used.cpu_seconds).unwrap_or_default();
    }
    text
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

#[cfg(test)]
mod tests {
    use super::{WIDTH, render};
    use crate::figures::{Figures, Latency, Phase, Spread, Used};

    fn figures() -> Figures {
        let used = |peak_kib| {
            ["producer", "consumer 1", "consumer 2"].map(|program| Used {
                program: program.to_owned(),
                peak_kib,
                cpu_seconds: 33.3,
            })
        };
        let phase = |name, unit, per_second| Phase {
            name,
            unit,
            count: 50_000_000,
            first_seconds: 1.1,
            seconds: 1005.5,
            per_second,
            load: Some(10.0),
            used: used(150_000).to_vec(),
        };
        let spread = Spread {
            p50: 10.4,
            p99: 100.4,
            max: 3000.0,
        };
        Figures {
            processors: 2,
            consumers: 2,
            phases: vec![
                phase("snapshot", "docs", 84_999.0),
                phase("updates", "events", 31_234.0),
                phase("large snapshot", "docs", 100.0),
            ],
            latency: Some(Latency {
                writes: 1,
                rate: 2000,
                rate_reached: 2000.0,
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
                used: used(10_000).to_vec(),
            }),
            verified: 3,
            wrong: None,
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
    }

    #[test]
    fn what_is_wrong_is_the_last_word() {
        let figures = Figures {
            wrong: Some("after snapshot".to_owned()),
            ..figures()
        };
        assert!(render(&figures).ends_with("WRONG after snapshot\n"));
    }
}
