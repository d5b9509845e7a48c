//! `leafcutter dead-letters list`: why records could not be applied, and which ones.
//!
//! One fault makes many dead letters, so they are shown by their cause, with the newest one as an example;
//! `--all` shows each.

use super::{
    find, id,
    select::select,
    settings::{LetterState, ListSettings},
};
use crate::{
    catalog::Catalog,
    connect::State,
    figures::{count, counted, span},
    show::{Paint, Show, cut, left, right, wrap},
};
use leafcutter_runtime::{exit::Exit, report::Failure};
use leafcutter_sink::state::dead_letters::{self, Cause, DeadLetterRow, Filter};
use serde::Serialize;
use std::fmt::Write as _;

/// A cause as JSON tells it.
#[derive(Debug, Serialize)]
struct CauseLine<'c> {
    collection: &'c str,
    table: &'c str,
    column: Option<&'c str>,
    reason: &'c str,
    sqlstate: Option<&'c str>,
    dead_letters: i64,
    example: &'c DeadLetterRow,
}

/// Lists them, the newest or the most first.
///
/// # Errors
/// When PostgreSQL cannot be asked, or the collection is unknown.
pub async fn run(settings: ListSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.place.postgres).await?;
    let catalog = Catalog::of(&settings.place.installation, &mut state).await?;
    let mut filter = select(&settings.which, &[], &catalog)?;
    filter.state = settings.state.name();
    let (text, total) = if settings.all {
        let letters = find(&mut state, &filter, settings.limit).await?;
        if show.json {
            letters.iter().for_each(|letter| show.json_line(letter));
            return Ok(Exit::Done);
        }
        let total = total(&mut state, &filter).await?;
        let lines = letters
            .iter()
            .map(|letter| line(letter, &catalog, show.paint));
        let rest = total - i64::try_from(letters.len()).unwrap_or(i64::MAX);
        (lines.collect::<String>() + &hidden(rest, show.paint), total)
    } else {
        let causes = dead_letters::causes(&mut state.session, &filter).await;
        let causes = causes.map_err(|error| state.lost(&error))?;
        let limit = usize::try_from(settings.limit).unwrap_or(usize::MAX);
        let shown = if limit == 0 {
            causes.len()
        } else {
            limit.min(causes.len())
        };
        if show.json {
            causes[..shown]
                .iter()
                .for_each(|cause| show.json_line(&told(cause, &catalog)));
            return Ok(Exit::Done);
        }
        let lines = causes[..shown]
            .iter()
            .map(|cause| grouped(cause, &catalog, show.paint));
        let rest: i64 = causes[shown..].iter().map(|cause| cause.dead_letters).sum();
        let total = causes.iter().map(|cause| cause.dead_letters).sum();
        (lines.collect::<String>() + &hidden(rest, show.paint), total)
    };
    show.text(&text);
    show.text(&end(total, settings.state, settings.all, show.paint));
    Ok(Exit::Done)
}

/// How many there are in all.
async fn total(state: &mut State, filter: &Filter) -> Result<i64, Failure> {
    let counted = dead_letters::count(&mut state.session, filter).await;
    counted.map_err(|error| state.lost(&error))
}

fn told<'c>(cause: &'c Cause, catalog: &Catalog) -> CauseLine<'c> {
    let example = &cause.example;
    CauseLine {
        collection: catalog.short(&example.topic),
        table: &example.table,
        column: example.column.as_deref(),
        reason: &example.reason,
        sqlstate: example.sqlstate.as_deref(),
        dead_letters: cause.dead_letters,
        example,
    }
}

/// Where in the target it was refused.
fn place(letter: &DeadLetterRow) -> String {
    match letter.column.as_deref() {
        None | Some("") => letter.table.clone(),
        Some(column) => format!("{}.{column}", letter.table),
    }
}

/// `637  people.url unique (23505)`, the newest one's message, and its name.
fn grouped(cause: &Cause, catalog: &Catalog, paint: Paint) -> String {
    const NUMBER: usize = 9;
    let letter = &cause.example;
    let state = letter
        .sqlstate
        .as_ref()
        .map_or_else(String::new, |state| format!(" ({state})"));
    let what = format!("{} {}{state}", place(letter), letter.reason);
    let indent = " ".repeat(NUMBER + 2);
    let head = wrap(&indent, &what);
    let mut out = format!(
        "{}  {}",
        right(&count(cause.dead_letters), NUMBER),
        paint.bold(head.trim())
    );
    out.push('\n');
    out.push_str(&wrap(&indent, &letter.message));
    let example = format!(
        "for example {}, {} ago",
        id(letter, catalog),
        span(letter.age_seconds)
    );
    out.push_str(&paint.dim(&wrap(&indent, &example)));
    out.push('\n');
    out
}

fn line(letter: &DeadLetterRow, catalog: &Catalog, paint: Paint) -> String {
    let id = id(letter, catalog);
    let age = format!("{} ago", span(letter.age_seconds));
    // A long name has its line to itself, so that it can be copied whole.
    let id = if id.chars().count() > 36 {
        format!("{id}\n{}", " ".repeat(36))
    } else {
        left(&id, 36)
    };
    let rest = format!("{} {}", left(&cut(&letter.reason, 16), 16), cut(&age, 16));
    let state = if letter.state == "open" {
        String::new()
    } else {
        format!("  {}", letter.state)
    };
    let mut out = format!("{} {rest}{}\n", paint.bold(&id), paint.dim(&state));
    out.push_str(&wrap(
        "    ",
        &format!("{}: {}", place(letter), letter.message),
    ));
    if let Some(why) = &letter.discard_reason {
        out.push_str(&paint.dim(&wrap("    ", &format!("discarded: {why}"))));
    }
    out
}

fn hidden(number: i64, paint: Paint) -> String {
    if number == 0 {
        return String::new();
    }
    let text = format!("{} not shown; --limit 0 shows all", count(number));
    format!("{}\n", paint.dim(&text))
}

/// The sum, and what to do next.
fn end(number: i64, state: LetterState, all: bool, paint: Paint) -> String {
    let kind = match state {
        LetterState::Open => "open dead letter",
        LetterState::Superseded => "superseded dead letter",
        LetterState::Retried => "retried dead letter",
        LetterState::Discarded => "discarded dead letter",
        LetterState::All => "dead letter",
    };
    if number == 0 {
        return format!("no {kind}s\n");
    }
    let gap = if all { "\n" } else { "" };
    let mut out = format!("{gap}{}\n", counted(number, kind));
    let mut next = |text: &str| writeln!(out, "{}", paint.dim(text)).unwrap_or_default();
    if !all {
        next("each of them: leafcutter dead-letters list --all");
    }
    if state == LetterState::Open {
        next("when the cause is mended: leafcutter dead-letters retry --all --dry-run");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(topic: &str) -> DeadLetterRow {
        DeadLetterRow {
            topic: topic.to_owned(),
            partition: 3,
            offset: 1204,
            table: "learners".to_owned(),
            document_key: None,
            version: None,
            stage: "transform".to_owned(),
            reason: "wrong-type".to_owned(),
            column: Some("email".to_owned()),
            path: None,
            sqlstate: None,
            message: "expected text, found int32 ".repeat(5),
            state: "open".to_owned(),
            mapping: String::new(),
            age_seconds: 200,
            discard_reason: None,
            discarded_at: None,
        }
    }

    #[test]
    fn letters_fit_the_screen_and_the_rest_is_counted() {
        let catalog = Catalog::load("leafcutter", None).unwrap();
        let long = format!("leafcutter.finlit.{}", "x".repeat(30));
        let mut text: String = [letter("leafcutter.finlit.learners"), letter(&long)]
            .iter()
            .map(|letter| line(letter, &catalog, Paint::PLAIN))
            .collect();
        text += &hidden(1_000, Paint::PLAIN);
        text += &end(1_002, LetterState::Open, true, Paint::PLAIN);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.starts_with("finlit.learners/3/1204               wrong-type       3 min 20 s ago\n    learners.email: expected"), "{text}");
        assert!(text.contains("1,002 open dead letters\n"), "{text}");
        assert!(text.contains("1,000 not shown"), "{text}");
        let none = end(0, LetterState::All, true, Paint::PLAIN);
        assert_eq!(none, "no dead letters\n");
    }

    #[test]
    fn a_cause_is_told_with_its_number_and_an_example() {
        let catalog = Catalog::load("leafcutter", None).unwrap();
        let mut example = letter("leafcutter.finlit.learners");
        example.sqlstate = Some("23505".to_owned());
        let cause = Cause {
            dead_letters: 1_637,
            example,
        };
        let text = grouped(&cause, &catalog, Paint::PLAIN);
        assert!(
            text.starts_with("    1,637  learners.email wrong-type (23505)\n           expected"),
            "{text}"
        );
        assert!(
            text.contains("\n           for example finlit.learners/3/1204, 3 min 20 s ago\n"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}
