//! What became of each letter, and how it is told.

use crate::{
    catalog::Catalog,
    figures::count,
    show::{Paint, left, wrap},
};
use serde::Serialize;
use std::fmt::Write as _;

/// Letters up to which each is shown, also those without anything to say.
const SHOWN_MAX: usize = 30;

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Applied,
    Superseded,
    Waiting,
    Failed,
    Missing,
    Unmapped,
    Closed,
    Discarded,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Applied,
        Self::Superseded,
        Self::Waiting,
        Self::Failed,
        Self::Missing,
        Self::Unmapped,
        Self::Closed,
        Self::Discarded,
    ];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Superseded => "superseded: not newer than what is there",
            Self::Waiting => "waiting for parent or value",
            Self::Failed => "failed again",
            Self::Missing => "missing in the dead-letter topic",
            Self::Unmapped => "of a collection outside the mapping",
            Self::Closed => "not open any more",
            Self::Discarded => "refused: discarded by a person",
        }
    }

    fn short(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Superseded => "superseded",
            Self::Waiting => "waiting",
            Self::Failed => "failed again",
            Self::Missing => "missing",
            Self::Unmapped => "not mapped",
            Self::Closed => "not open",
            Self::Discarded => "discarded",
        }
    }

    /// Whether a person has to look at it.
    pub(super) fn is_bad(self) -> bool {
        match self {
            Self::Failed | Self::Missing | Self::Unmapped | Self::Discarded => true,
            Self::Applied | Self::Superseded | Self::Waiting | Self::Closed => false,
        }
    }
}

#[derive(Debug, Serialize)]
/// A letter, and what became of it.
pub(super) struct Line {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) outcome: Outcome,
    pub(super) dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// The text for a person: each letter where there are few, the bad ones, and the sums.
pub(super) fn render(lines: &[Line], catalog: &Catalog, dry_run: bool, paint: Paint) -> String {
    if lines.is_empty() {
        return "no open dead letters of that kind\n".to_owned();
    }
    let mut out = String::new();
    let all = lines.len() <= SHOWN_MAX;
    for line in lines {
        if !all && !line.outcome.is_bad() {
            continue;
        }
        let id = format!(
            "{}/{}/{}",
            catalog.short(&line.topic),
            line.partition,
            line.offset
        );
        let outcome = line.outcome.short();
        let outcome = if line.outcome.is_bad() {
            paint.bad(outcome)
        } else {
            outcome.to_owned()
        };
        writeln!(out, "{} {outcome}", left(&id, 44)).unwrap_or_default();
        if let Some(message) = &line.message {
            out.push_str(&paint.dim(&wrap("    ", message)));
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let would = if dry_run { "would be " } else { "" };
    for outcome in Outcome::ALL {
        let number = lines.iter().filter(|line| line.outcome == outcome).count();
        if number > 0 {
            let number = count(i64::try_from(number).unwrap_or(i64::MAX));
            writeln!(out, "{number:>9} {would}{}", outcome.words()).unwrap_or_default();
        }
    }
    if dry_run {
        writeln!(out, "{}", paint.dim("a dry run: nothing was changed")).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(offset: i64, outcome: Outcome) -> Line {
        Line {
            topic: "lc.shop.orders".to_owned(),
            partition: 0,
            offset,
            outcome,
            dry_run: false,
            reason: None,
            message: outcome.is_bad().then(|| "why ".repeat(40)),
        }
    }

    #[test]
    fn many_letters_are_counted_and_only_bad_ones_shown() {
        let catalog = Catalog::load("lc", None).unwrap();
        let mut lines: Vec<Line> = (0..2_000).map(|n| line(n, Outcome::Applied)).collect();
        lines.push(line(7_777, Outcome::Failed));
        let text = render(&lines, &catalog, false, Paint::PLAIN);
        assert!(text.starts_with("shop.orders/0/7777 "), "{text}");
        assert!(
            text.ends_with("    2,000 applied\n        1 failed again\n"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        let few = render(&lines[..2], &catalog, true, Paint::PLAIN);
        assert!(
            few.contains("shop.orders/0/1 ") && few.contains("2 would be applied"),
            "{few}"
        );
    }
}
