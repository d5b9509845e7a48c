//! `leafcutter plan`: the tables, indexes and constraints that a mapping needs, as SQL; what a database lacks
//! of them; and another mapping put in force (docs/decisions/a-changed-mapping.md).
//!
//! Unless it is told to, it asks no server and changes nothing. Nothing that is there is ever dropped or
//! narrowed: what would take that is told as comments.

mod apply;
mod difference;
pub(crate) mod settings;
mod sql;
mod tell;

pub use settings::PlanSettings;

use crate::{
    connect::{self, State},
    figures::counted,
    in_force::{self, Purpose},
    show::Show,
};
use difference::Difference;
use leafcutter_consumer::mapping;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_sink::{model::Model, target::ddl};
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Serialize)]
struct Plan<'a> {
    /// The mapping's hash.
    mapping: &'a str,
    statements: Vec<String>,
}

/// Prints the statements, or writes them into a file; applies them where that is wanted.
///
/// # Errors
/// Every fault of the mapping; that the file cannot be written, or PostgreSQL not be asked, or refuses.
pub async fn run(settings: PlanSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    if settings.in_force {
        return in_force(&settings, show).await;
    }
    let installation = &settings.installation;
    let file = installation.mapping.as_deref().ok_or_else(no_mapping)?;
    let model = mapping::load(file, &installation.prefix)?;
    if !settings.postgres && !settings.apply {
        return needed(&settings, &model, show);
    }
    let (mut session, place) = connect::session(&settings.server).await?;
    let at = (&*place, &*installation.group);
    let difference = Difference::look(&mut session, &model, at).await?;
    write(&settings, &difference.sql(), show)?;
    if settings.apply {
        return apply::run(&settings, (session, &model), difference, show).await;
    }
    if show.json {
        show.json(&difference);
    } else if settings.out.is_none() {
        show.text(&difference.sql());
    }
    Ok(
        if difference.is_nothing() && difference.disagreements.is_empty() {
            Exit::Done
        } else {
            Exit::Differences
        },
    )
}

/// What any database needs.
fn needed(settings: &PlanSettings, model: &Model, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let statements = ddl::statements(model);
    let sql: String = statements.iter().map(|s| format!("{s};\n\n")).collect();
    let number = i64::try_from(statements.len()).unwrap_or(i64::MAX);
    if let Some(file) = &settings.out {
        std::fs::write(file, &sql).map_err(|error| unwritten(file, &error))?;
    }
    match (&settings.out, show.json) {
        (_, true) => show.json(&Plan {
            mapping: &model.mapping.hash,
            statements,
        }),
        (None, false) => show.text(&sql),
        (Some(file), false) => {
            show.line(&format!(
                "{} in {}",
                counted(number, "statement"),
                file.display()
            ));
        }
    }
    Ok(Exit::Done)
}

/// Writes the file, if one is wanted.
fn write(settings: &PlanSettings, sql: &str, show: &mut Show<'_>) -> Result<(), Failure> {
    let Some(file) = &settings.out else {
        return Ok(());
    };
    std::fs::write(file, sql).map_err(|error| unwritten(file, &error))?;
    if !show.json {
        show.line(&format!("the difference is in {}", file.display()));
    }
    Ok(())
}

/// The mapping in force, as a file.
async fn in_force(settings: &PlanSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.server).await?;
    let purpose = Purpose {
        what: "could not print the mapping in force",
        group: &settings.installation.group,
        file: None,
    };
    let row = in_force::look(&mut state, purpose).await?;
    if show.json {
        show.json(&serde_json::json!({
            "group": settings.installation.group, "generation": row.generation.0,
            "mapping": row.hash, "since": row.since, "program": row.program, "body": row.body,
        }));
    } else {
        show.text(&row.body);
    }
    Ok(Exit::Done)
}

fn no_mapping() -> Failure {
    let fault = Fault::new(
        "could not plan",
        "--mapping",
        "there is no mapping to plan for",
        "Give --mapping or LEAFCUTTER_MAPPING.",
    );
    Failure::one(Exit::Usage, fault)
}

fn unwritten(file: &Path, error: &std::io::Error) -> Failure {
    let fault = Fault::new(
        "could not write the SQL",
        format!("`{}`", file.display()),
        error.to_string(),
        "Check the path in `--out`.",
    );
    Failure::one(Exit::Settings, fault)
}
