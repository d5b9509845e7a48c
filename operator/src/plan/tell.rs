//! What is said before and after a mapping is put in force.

use super::difference::{Before, Difference};
use crate::{
    figures::counted,
    show::{Show, wrap},
};
use serde::Serialize;

/// How it ended, as `--json` says it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    difference: &'a Difference,
    /// Something was done.
    applied: bool,
    /// The generation that is in force now.
    generation: Option<i64>,
}

/// Nothing was done.
pub(super) fn unchanged(difference: &Difference, words: &str, show: &mut Show<'_>) {
    if show.json {
        show.json(&Told {
            difference,
            applied: false,
            generation: match &difference.before {
                Before::InForce(row) => Some(row.generation),
                Before::Nothing | Before::Unknown => None,
            },
        });
        return;
    }
    show.text(&wrap("", words));
    let number = i64::try_from(difference.disagreements.len()).unwrap_or(i64::MAX);
    if number > 0 {
        let text = format!(
            "A person has to decide about {}: leafcutter plan --postgres",
            counted(number, "thing")
        );
        show.text(&wrap("", &text));
    }
}

/// Something was done.
pub(super) fn done(difference: &Difference, generation: Option<i64>, show: &mut Show<'_>) {
    if show.json {
        show.json(&Told {
            difference,
            applied: true,
            generation,
        });
        return;
    }
    let number = i64::try_from(difference.statements.len()).unwrap_or(i64::MAX);
    let ran = counted(number, "statement");
    let text = match generation {
        Some(generation) => format!(
            "Done: {ran} run, and mapping generation {generation} is in force. Consumers with another \
             mapping stop by themselves; start them with this one, and the producers, too."
        ),
        None if matches!(difference.before, Before::InForce(_)) => format!("Done: {ran} run."),
        None => format!(
            "Done: {ran} run. The first consumer of group {} puts this mapping in force.",
            difference.group
        ),
    };
    show.text(&format!("\n{}", wrap("", &text)));
    let commands = difference
        .changes
        .iter()
        .filter_map(|line| line.command.as_ref());
    let commands: Vec<&String> = commands.collect();
    if !commands.is_empty() {
        show.text("\nThen, since rows and dead letters of before keep their form:\n");
        for command in commands {
            show.line(&format!("  {command}"));
        }
    }
    if !difference.later.is_empty() {
        show.text("\nAnd once all rows have values there:\n");
        for statement in &difference.later {
            show.line(&format!("  {statement};"));
        }
    }
}
