//! `leafcutter plan`: the tables, indexes and constraints that a mapping needs, as SQL. Asks no server
//! and changes nothing; the statements may run on any database, whatever is there already.

use crate::{figures::counted, settings::PlanSettings, show::Show};
use leafcutter_consumer::mapping;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_sink::target::ddl;
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Serialize)]
struct Plan {
    /// The mapping's hash.
    mapping: String,
    statements: Vec<String>,
}

/// Prints the statements, or writes them into a file.
///
/// # Errors
/// Every fault of the mapping; that the file cannot be written.
pub fn run(settings: &PlanSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let model = mapping::load(&settings.mapping.mapping, &settings.mapping.prefix)?;
    let statements = ddl::statements(&model);
    let sql: String = statements.iter().map(|s| format!("{s};\n\n")).collect();
    if let Some(file) = &settings.out {
        std::fs::write(file, &sql).map_err(|error| unwritten(file, &error))?;
    }
    match (&settings.out, show.json) {
        (_, true) => show.json(&Plan {
            mapping: model.mapping.hash.clone(),
            statements,
        }),
        (None, false) => show.text(&sql),
        (Some(file), false) => {
            let number = i64::try_from(statements.len()).unwrap_or(i64::MAX);
            show.line(&format!(
                "{} in {}",
                counted(number, "statement"),
                file.display()
            ));
        }
    }
    Ok(Exit::Done)
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
