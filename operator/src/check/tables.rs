//! Whether the tables in PostgreSQL agree with the mapping.

use crate::{
    connect,
    figures::counted,
    settings::CheckSettings,
    show::{Paint, left, wrap},
};
use leafcutter_consumer::{mapping::difference, settings::Ddl};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
};
use leafcutter_schemas::mapping::Change;
use leafcutter_sink::{
    model::Model,
    session::Session,
    state::{
        mappings,
        schema::{self, LAYOUT},
    },
    target::compare::{self, Disagreement, Kind},
};
use serde::Serialize;
use std::fmt::Write as _;
use textwrap::{core::Word, wrap_algorithms::wrap_first_fit};

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    server: String,
    faults: usize,
    warnings: usize,
    /// What the consumers create at their start.
    to_create: usize,
    disagreements: Vec<Line>,
    /// What differs from the mapping in force, if any is.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<InForce>,
}

/// The mapping in force.
#[derive(Debug, Serialize)]
struct InForce {
    group: String,
    generation: i64,
    mapping: String,
    since: String,
    differs: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Line {
    /// `fault`, `warning` or `to-create`.
    weight: &'static str,
    kind: Kind,
    table: String,
    columns: Vec<String>,
    mapping: String,
    postgres: String,
    means: &'static str,
    sql: Vec<String>,
    or: Option<String>,
    #[serde(skip)]
    place: String,
}

/// Looks at the tables.
pub(super) async fn look(settings: &CheckSettings, model: &Model) -> Result<Report, Failure> {
    let (mut session, server) = connect::session(&settings.server).await?;
    let found = compare::look(&mut session, model).await.map_err(|error| {
        let next = "Let this user read the tables of the mapping, and try again.";
        let what = "could not look at the tables";
        let fault = Fault::new(what, server.clone(), causes(&error), next);
        Failure::one(Exit::Preflight, fault)
    })?;
    let in_force = in_force(&mut session, &settings.group, model).await;
    let in_force = in_force.map_err(|error| {
        let next = "Let this user read schema `leafcutter`, and try again.";
        let what = "could not look which mapping is in force";
        let fault = Fault::new(what, server.clone(), causes(&error), next);
        Failure::one(Exit::Preflight, fault)
    })?;
    let creates = settings.ddl == Ddl::Create;
    let disagreements: Vec<Line> = found.into_iter().map(|d| line(d, creates)).collect();
    let count = |weight| disagreements.iter().filter(|l| l.weight == weight).count();
    Ok(Report {
        server,
        faults: count("fault"),
        warnings: count("warning"),
        to_create: count("to-create"),
        disagreements,
        in_force,
    })
}

/// None is where no consumer of this version has run.
async fn in_force(
    session: &mut Session,
    group: &str,
    model: &Model,
) -> Result<Option<InForce>, tokio_postgres::Error> {
    if schema::layout(session).await? != LAYOUT {
        return Ok(None);
    }
    let row = mappings::in_force(session, group).await?;
    Ok(row.map(|row| InForce {
        group: group.to_owned(),
        generation: row.generation.0,
        differs: row.differs(&model.mapping),
        mapping: row.hash,
        since: row.since,
    }))
}

fn line(found: Disagreement, creates: bool) -> Line {
    let weight = match found.kind.is_fault() {
        _ if creates && found.created => "to-create",
        true => "fault",
        false => "warning",
    };
    Line {
        weight,
        kind: found.kind,
        place: found.place(),
        table: found.table.to_string(),
        columns: found.columns,
        mapping: found.mapping,
        postgres: found.postgres,
        means: found.means,
        sql: found.sql,
        or: found.or,
    }
}

impl Report {
    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        let mut in_force = self.in_force.iter();
        let differs = in_force.any(|row| !row.differs.is_empty());
        match (self.faults, self.warnings) {
            (0, 0) if !differs => Exit::Done,
            (0, _) => Exit::Differences,
            _ => Exit::Preflight,
        }
    }

    /// For a person.
    pub(super) fn render(&self, paint: Paint) -> String {
        let number = |n: usize, noun: &str| counted(i64::try_from(n).unwrap_or(i64::MAX), noun);
        let mut out = String::new();
        let told = match (self.faults, self.warnings) {
            (0, 0) => "agree with it".to_owned(),
            (0, warnings) => format!("differ: {}", number(warnings, "warning")),
            (faults, 0) => format!("do not fit: {}", number(faults, "fault")),
            (faults, warnings) => format!(
                "do not fit: {}, {}",
                number(faults, "fault"),
                number(warnings, "warning")
            ),
        };
        writeln!(out, "\nThe tables of {}\n{told}", self.server).unwrap_or_default();
        if self.to_create > 0 {
            writeln!(
                out,
                "the consumers create what is missing: {} (leafcutter plan)",
                number(self.to_create, "thing")
            )
            .unwrap_or_default();
        }
        if let Some(row) = self.in_force.as_ref().filter(|row| !row.differs.is_empty()) {
            let text = format!(
                "Another mapping is in force in group {}, generation {} since {}. This one differs in \
                 {}. No consumer starts with it before leafcutter plan --apply.",
                row.group,
                row.generation,
                row.since,
                difference(&row.differs)
            );
            write!(out, "\n{}", wrap("", &text)).unwrap_or_default();
        }
        for weight in ["fault", "warning"] {
            for line in self.disagreements.iter().filter(|l| l.weight == weight) {
                out.push_str(&line.render(paint));
            }
        }
        out
    }
}

impl Line {
    fn render(&self, paint: Paint) -> String {
        let weight = left(self.weight, 8);
        let weight = match self.weight {
            "fault" => paint.bad(&weight),
            _ => paint.attention(&weight),
        };
        let mut out = format!("\n{weight} {}\n", paint.bold(&self.place));
        let statements: Vec<String> = self.sql.iter().map(|sql| format!("{sql};")).collect();
        let sql = statements.iter().map(|sql| ("fix", sql.as_str()));
        let rows = [
            ("mapping", self.mapping.as_str()),
            ("table", self.postgres.as_str()),
            ("so", self.means),
        ];
        let or = self.or.as_deref().map(|or| ("or", or));
        for (label, text) in rows.into_iter().chain(sql).chain(or) {
            row(&mut out, label, text);
        }
        out
    }
}

/// A label and its text, broken at blanks that are not within quotes: a name stays whole.
fn row(out: &mut String, label: &str, text: &str) {
    const WIDTH: f64 = 69.0;
    let words: Vec<Word<'_>> = words(text).collect();
    for (index, line) in wrap_first_fit(&words, &[WIDTH]).into_iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        let line: Vec<&str> = line.iter().map(|word| word.word).collect();
        writeln!(out, "  {} {}", left(label, 8), line.join(" ")).unwrap_or_default();
    }
}

fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut quoted = false;
    let words = text.split(move |c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    words.filter(|word| !word.is_empty()).map(|word| Word {
        whitespace: " ",
        ..Word::from(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_blank_stays_whole() {
        let sql = "alter table \"a  b\"\n  drop column \"c d\"";
        let found: Vec<&str> = words(sql).map(|word| word.word).collect();
        assert_eq!(
            found,
            ["alter", "table", "\"a  b\"", "drop", "column", "\"c d\""]
        );
        let mut out = String::new();
        row(&mut out, "fix", &"\"long name\" ".repeat(12));
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
        assert_eq!(out.matches("\"long name\"").count(), 12);
    }
}
