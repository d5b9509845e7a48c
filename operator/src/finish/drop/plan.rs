//! What would go, what needs it, and how that is said.

use crate::{
    figures::counted,
    show::{Show, wrap},
    status::readiness::Reason,
};
use leafcutter_sink::{
    model::Model,
    session::Session,
    state::{
        removal::{self, Contents},
        undo,
    },
    target::own_columns::{self, Found, OwnColumns},
};
use serde::Serialize;
use std::fmt::Write as _;
use tokio_postgres::Error;

/// What keeps it from going.
#[derive(Debug, Serialize)]
pub(crate) struct Dependent {
    /// The object, in PostgreSQL's words.
    pub(crate) object: String,
    /// In which way.
    pub(crate) why: String,
}

/// What would go. Found out twice, it has to be the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    columns: Found,
    schema: Contents,
}

impl Plan {
    /// Finds it out.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub(crate) async fn of(session: &mut Session, model: &Model) -> Result<Self, Error> {
        Ok(Self {
            columns: own_columns::look(session, model).await?,
            schema: removal::contents(session).await?,
        })
    }

    /// What keeps it from going, since nothing of others goes along.
    pub(crate) fn dependents(&self) -> Vec<Dependent> {
        let of = |object: &String, why: String| Dependent {
            object: object.clone(),
            why,
        };
        let columns = self.columns.dependents.iter();
        let columns = columns.map(|d| of(&d.object, format!("it needs {}", d.needs)));
        let schema = self.schema.dependents.iter();
        let schema = schema.map(|object| of(object, "it needs schema leafcutter".to_owned()));
        let strangers = self.schema.strangers.iter().map(|object| {
            let why = "it is in schema leafcutter, and not Leafcutter's";
            of(object, why.to_owned())
        });
        columns.chain(schema).chain(strangers).collect()
    }

    /// The functions that speak of what would go.
    pub(crate) fn mentions(&self) -> impl Iterator<Item = &String> {
        self.columns.functions.iter()
    }

    /// The statements, in their order.
    pub(crate) fn statements(&self) -> Vec<String> {
        let mut all = self.column_statements();
        all.extend(self.schema_statements());
        all
    }

    /// Those for triggers and columns.
    pub(crate) fn column_statements(&self) -> Vec<String> {
        self.columns.statements()
    }

    /// Those for the schema.
    pub(crate) fn schema_statements(&self) -> Vec<String> {
        self.schema.statements()
    }

    /// What would go, for a person.
    pub(crate) fn text(&self) -> String {
        let mut out = "This goes:\n\n".to_owned();
        for own in &self.columns.tables {
            let line = format!("{} of {}", own.columns.join(", "), own.table);
            writeln!(out, "  {}", wrap("    ", &line).trim()).unwrap_or_default();
        }
        for table in &self.columns.triggers {
            let line = format!("trigger {} of {table}", undo::TRIGGER);
            writeln!(out, "  {}", wrap("    ", &line).trim()).unwrap_or_default();
        }
        let names = |list: &[String]| {
            let own = list
                .iter()
                .map(|name| name.trim_start_matches("leafcutter."));
            own.collect::<Vec<_>>().join(", ")
        };
        let schema = &self.schema;
        let number = i64::try_from(schema.tables.len()).unwrap_or(i64::MAX);
        let mut parts = vec![format!(
            "schema leafcutter with {}: {}",
            counted(number, "table"),
            names(&schema.tables)
        )];
        if !schema.functions.is_empty() {
            parts.push(format!("its functions: {}", names(&schema.functions)));
        }
        for part in parts {
            writeln!(out, "  {}", wrap("    ", &part).trim()).unwrap_or_default();
        }
        if !self.columns.elsewhere.is_empty() {
            let text = format!(
                "Not in the mapping, and kept with their columns: {}.",
                self.columns.elsewhere.join(", ")
            );
            write!(out, "\n{}", wrap("", &text)).unwrap_or_default();
        }
        out
    }
}

/// What is told of it as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    done: bool,
    dry_run: bool,
    because: Vec<&'a str>,
    columns: &'a [OwnColumns],
    schema: Vec<&'a str>,
    kept_elsewhere: &'a [String],
    dependents: Vec<Dependent>,
    statements: Vec<String>,
}

impl<'a> Told<'a> {
    /// Of a plan, and the reasons that speak against it.
    pub(super) fn of(plan: &'a Plan, reasons: &'a [Reason], dry_run: bool) -> Self {
        let schema = &plan.schema;
        let own = schema.tables.iter().chain(&schema.functions);
        Self {
            done: false,
            dry_run,
            because: reasons.iter().map(|reason| reason.words.as_str()).collect(),
            columns: &plan.columns.tables,
            schema: own.map(String::as_str).collect(),
            kept_elsewhere: &plan.columns.elsewhere,
            dependents: plan.dependents(),
            statements: plan.statements(),
        }
    }

    /// What would be done.
    pub(super) fn tell(&self, show: &mut Show<'_>, plan: &Plan) {
        if show.json {
            show.json(self);
            return;
        }
        show.text(&plan.text());
        show.text("\nThe statements, in one transaction:\n\n");
        for statement in &self.statements {
            show.line(&format!("{statement};"));
        }
        if !self.dependents.is_empty() {
            show.text("\nIt would refuse, since nothing of others goes along:\n");
            for dependent in &self.dependents {
                let text = format!("{}: {}", dependent.object, dependent.why);
                show.line(&format!("  - {}", wrap("    ", &text).trim()));
            }
        }
        if !self.because.is_empty() {
            show.text("\nIt would refuse without --force, since\n");
            for why in &self.because {
                show.line(&format!("  - {}", wrap("    ", why).trim()));
            }
        }
        show.text("\na dry run: nothing was changed\n");
    }

    /// That it is done.
    pub(super) fn done(mut self, show: &mut Show<'_>) {
        self.done = true;
        if show.json {
            show.json(&self);
            return;
        }
        let columns: usize = self.columns.iter().map(|own| own.columns.len()).sum();
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let text = format!(
            "Done: {} of {} and schema leafcutter are gone. The tables are the application's own.",
            counted(number(columns), "column"),
            counted(number(self.columns.len()), "table")
        );
        show.text(&format!("\n{}", wrap("", &text)));
        let never = "Never start the consumers again: once Kafka has forgotten their group, they would begin \
                     anew, and write old documents over what the application has written. Topics of this \
                     prefix can be deleted now.";
        let never = show.paint.attention(&wrap("", never));
        show.text(&never);
    }
}
