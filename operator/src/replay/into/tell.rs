//! How it is said.

use super::{super::settings::ReplaySettings, tables::Tables};
use crate::{
    connect::State,
    figures::{count, counted},
    show::{Show, cut, left, wrap},
};
use leafcutter_runtime::report::Failure;
use leafcutter_sink::{
    state::{
        dead_letters::{self, Filter},
        parked,
    },
    target::exchange::Obstacle,
};
use serde::Serialize;
use std::fmt::Write as _;

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// The schema of the new tables.
    schema: String,
    /// The group that fills them.
    group: String,
    /// The tables, as they are called and where they are filled.
    tables: Vec<Pair>,
    /// It goes on where it was stopped before.
    goes_on: bool,
    /// Records to be applied.
    pub(super) records: i64,
    pub(super) dry_run: bool,
    /// The new tables are as far as the topics.
    pub(super) filled: bool,
    /// They are in use.
    pub(super) exchanged: bool,
    /// The generation of the mapping that this put in force.
    pub(super) generation: Option<i64>,
    /// Documents of the new tables that wait.
    waiting: Option<i64>,
    /// Dead letters that are open once the new tables are in use.
    dead_letters: Option<i64>,
    /// What hangs on the tables in use, and would not be on the new ones.
    pub(super) obstacles: Vec<Obstacle>,
    #[serde(skip)]
    swap: bool,
}

#[derive(Debug, Serialize)]
struct Pair {
    table: String,
    new: Option<String>,
}

impl Told {
    pub(super) fn of(
        settings: &ReplaySettings,
        tables: &Tables,
        goes_on: bool,
        records: i64,
        obstacles: Vec<Obstacle>,
    ) -> Self {
        let mut pairs = Vec::new();
        for (pair, place) in tables.moves.iter().zip(&tables.places) {
            let table = place.as_ref().or(pair.old.as_ref());
            pairs.push(Pair {
                table: table.map(ToString::to_string).unwrap_or_default(),
                new: pair.new.as_ref().map(ToString::to_string),
            });
        }
        Self {
            schema: tables.schema.clone(),
            group: tables.group.clone(),
            tables: pairs,
            goes_on,
            records,
            dry_run: false,
            filled: false,
            exchanged: false,
            generation: None,
            waiting: None,
            dead_letters: None,
            obstacles,
            swap: settings.swap,
        }
    }

    /// Counts what waits and what was refused.
    pub(super) async fn count(
        &mut self,
        state: &mut State,
        tables: &Tables,
    ) -> Result<(), Failure> {
        let group = match self.exchanged {
            true => &tables.exchange.live,
            false => &tables.group,
        };
        let waiting = parked::of_group(&mut state.session, group).await;
        self.waiting = Some(waiting.map_err(|error| state.lost(&error))?);
        if self.exchanged {
            let open = Filter {
                state: Some("open"),
                ..Filter::default()
            };
            let open = dead_letters::count(&mut state.session, &open).await;
            self.dead_letters = Some(open.map_err(|error| state.lost(&error))?);
        }
        Ok(())
    }
}

/// What will happen.
pub(super) fn plan(told: &Told, tables: &Tables) -> String {
    let doing = if told.goes_on {
        "Go on filling"
    } else {
        "Fill"
    };
    let (schema, group) = (&tables.schema, &told.group);
    let records = counted(told.records, "record");
    let mut out = wrap(
        "",
        &format!("{doing} new tables in schema {schema}, by group {group}: {records}."),
    );
    writeln!(out, "\n{} new", left("table", 38)).unwrap_or_default();
    for pair in &told.tables {
        let new = pair.new.as_deref().unwrap_or("none: not in the mapping");
        let table = left(&cut(&pair.table, 38), 38);
        writeln!(out, "{table} {}", cut(new, 41)).unwrap_or_default();
    }
    let then = format!(
        "Then both are exchanged in one transaction; the old ones are in schema {schema} after it."
    );
    let text = match (told.swap, tables.is_same_mapping()) {
        (false, _) => "The tables in use stay as they are. --swap exchanges both.".to_owned(),
        (true, true) => format!(
            "{then} The mapping means the same as the one in force, so the consumers go on."
        ),
        (true, false) => format!(
            "{then} The mapping is in force then: consumers with the old one stop (exit code 7), and start \
             again with it."
        ),
    };
    format!("{out}\n{}{}", wrap("", &text), hanging(told, tables))
}

/// What hangs on the tables in use, if anything does.
fn hanging(told: &Told, tables: &Tables) -> String {
    if told.obstacles.is_empty() {
        return String::new();
    }
    let text = format!(
        "This hangs on the tables in use, and not on the new ones. Before the exchange, make it on those in \
         schema {}, or drop it:",
        tables.schema
    );
    let mut out = format!("\n{}", wrap("", &text));
    for found in &told.obstacles {
        let line = wrap("    ", &format!("{}: {}", found.table, found.what));
        writeln!(out, "  - {}", line.trim()).unwrap_or_default();
    }
    out
}

/// That they cannot be exchanged.
pub(super) fn refused(show: &mut Show<'_>, told: &Told, tables: &Tables) {
    if show.json {
        show.json(told);
        return;
    }
    let head = show.paint.attention("The tables were not exchanged.");
    show.line(&head);
    show.text(&hanging(told, tables));
    let text = "The new tables are filled and stay. Say the command again after that.";
    show.text(&wrap("", text));
}

/// How it ended.
pub(super) fn tell(show: &mut Show<'_>, told: &Told, tables: &Tables) {
    if show.json {
        show.json(told);
        return;
    }
    let mut text = ended(told, &tables.schema);
    match told.waiting.unwrap_or_default() {
        0 => {}
        1 => text.push_str(" 1 document of them waits for a parent or a value."),
        n => {
            let part = format!(
                " {} documents of them wait for a parent or a value.",
                count(n)
            );
            text.push_str(&part);
        }
    }
    show.text(&format!("\n{}", wrap("", &text)));
}

fn ended(told: &Told, schema: &str) -> String {
    if told.dry_run {
        return "a dry run: nothing was changed".to_owned();
    }
    if !told.exchanged && told.filled {
        return format!(
            "The new tables in schema {schema} are as far as the topics were when it began. Look at them, and \
             exchange: the same command with --swap. Or give them up: --discard."
        );
    }
    if !told.exchanged {
        return "Interrupted: the tables in use are as they were. The same command goes on; --discard gives \
                the new tables up."
            .to_owned();
    }
    let mut text = format!(
        "The new tables are in use. The old ones are in schema {schema}; when nobody needs them any more: drop \
         schema {schema} cascade."
    );
    if let Some(generation) = told.generation {
        let part = format!(
            " The mapping is in force, as generation {generation}: start the consumers with it."
        );
        text.push_str(&part);
    }
    match told.dead_letters.unwrap_or_default() {
        0 => {}
        1 => text.push_str(" 1 dead letter is open: leafcutter dead-letters list."),
        n => {
            let part = format!(
                " {} dead letters are open: leafcutter dead-letters list.",
                count(n)
            );
            text.push_str(&part);
        }
    }
    text
}
