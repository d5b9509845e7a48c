//! `leafcutter dead-letters list`: which records could not be applied, and why.

use super::{Filter, Letter, find};
use crate::{
    catalog::Catalog,
    connect::State,
    figures::{count, counted, span},
    settings::{LetterState, ListSettings},
    show::{Paint, Show, cut, left, wrap},
};
use leafcutter_runtime::{exit::Exit, report::Failure};
use std::fmt::Write as _;

/// Lists them, the newest first.
///
/// # Errors
/// When PostgreSQL cannot be asked, or the collection is unknown.
pub async fn run(settings: ListSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let state = State::open(&settings.postgres).await?;
    let catalog = Catalog::of(&settings.installation, &state).await?;
    let called = settings.collection.as_deref();
    let found = called.map(|called| catalog.find(called)).transpose()?;
    let filter = Filter {
        topic: found.map(|index| catalog.collections[index].topic.clone()),
        reason: settings.reason.clone(),
        state: settings.state.name(),
        ids: None,
    };
    let letters = find(&state, &filter, settings.limit).await?;
    if show.json {
        for letter in &letters {
            show.json_line(letter);
        }
        return Ok(Exit::Done);
    }
    let total = total(&state, &filter).await?;
    show.text(&render(
        &letters,
        &total,
        &catalog,
        settings.state,
        show.paint,
    ));
    Ok(Exit::Done)
}

/// How many there are in all, by reason.
async fn total(state: &State, filter: &Filter) -> Result<Vec<(String, i64)>, Failure> {
    const TOTAL: &str = "\
        select reason, count(*) from leafcutter.dead_letters \
        where ($1::text is null or topic = $1) and ($2::text is null or reason = $2) \
        and ($3::text is null or state = $3) group by 1 order by 2 desc, 1";
    let rows = state
        .client
        .query(TOTAL, &[&filter.topic, &filter.reason, &filter.state])
        .await
        .map_err(|error| state.lost(&error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn render(
    letters: &[Letter],
    total: &[(String, i64)],
    catalog: &Catalog,
    state: LetterState,
    paint: Paint,
) -> String {
    let kind = match state {
        LetterState::Open => "open dead letter",
        LetterState::Superseded => "superseded dead letter",
        LetterState::Retried => "retried dead letter",
        LetterState::All => "dead letter",
    };
    let number: i64 = total.iter().map(|(_, number)| number).sum();
    if number == 0 {
        return format!("no {kind}s\n");
    }
    let mut out = String::new();
    for letter in letters {
        let id = letter.id(catalog);
        let column = letter.column.as_deref().unwrap_or("");
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
        writeln!(out, "{} {rest}{}", paint.bold(&id), paint.dim(&state)).unwrap_or_default();
        let place = if column.is_empty() {
            letter.table.clone()
        } else {
            format!("{}.{column}", letter.table)
        };
        out.push_str(&wrap("    ", &format!("{place}: {}", letter.message)));
    }
    let each: Vec<String> = total
        .iter()
        .map(|(reason, n)| format!("{} {reason}", count(*n)))
        .collect();
    out.push('\n');
    out.push_str(&wrap(
        "",
        &format!("{}: {}", counted(number, kind), each.join(", ")),
    ));
    let shown = i64::try_from(letters.len()).unwrap_or(i64::MAX);
    if shown < number {
        let text = format!("{} not shown; --limit 0 shows all", count(number - shown));
        writeln!(out, "{}", paint.dim(&text)).unwrap_or_default();
    }
    if state == LetterState::Open {
        let next = "when the cause is mended: leafcutter dead-letters retry --all --dry-run";
        writeln!(out, "{}", paint.dim(next)).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(topic: &str) -> Letter {
        Letter {
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
        }
    }

    #[test]
    fn letters_fit_the_screen_and_the_rest_is_counted() {
        let catalog = Catalog::load("leafcutter", None).unwrap();
        let long = format!("leafcutter.finlit.{}", "x".repeat(30));
        let letters = [letter("leafcutter.finlit.learners"), letter(&long)];
        let total = [("wrong-type".to_owned(), 1_002)];
        let text = render(&letters, &total, &catalog, LetterState::Open, Paint::PLAIN);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.starts_with("finlit.learners/3/1204               wrong-type       3 min 20 s ago\n    learners.email: expected"), "{text}");
        assert!(
            text.contains("1,002 open dead letters: 1,002 wrong-type"),
            "{text}"
        );
        assert!(text.contains("1,000 not shown"), "{text}");
        let none = render(&[], &[], &catalog, LetterState::All, Paint::PLAIN);
        assert_eq!(none, "no dead letters\n");
    }
}
