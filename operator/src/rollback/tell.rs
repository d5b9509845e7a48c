//! How it is said what would be done, and what was.

use super::{
    course::Outcome,
    look::{InTheWay, Looked},
    settings::RollbackSettings,
};
use crate::{
    catalog::Catalog,
    figures::{count, counted},
    lists::bounded,
    show::{Show, wrap},
};
use leafcutter_sink::{
    ids::CollectionId,
    rollback::{
        Blocked, Count,
        apart::{Created, SequenceBack},
    },
    state::origins::Found,
};
use serde::Serialize;
use std::fmt::Write as _;

/// What is told, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    done: bool,
    dry_run: bool,
    because: Vec<String>,
    collections: Option<Vec<String>>,
    tables: Vec<Count>,
    cannot_come_back: Vec<Blocked>,
    in_the_way: Vec<InTheWay>,
    created_tables: Created,
    sequences: Vec<SequenceBack>,
    statements: Vec<String>,
    finished: Option<String>,
    #[serde(skip)]
    prefix: String,
    #[serde(skip)]
    drops: bool,
}

impl Told {
    /// Of what was found.
    pub(super) fn of(
        looked: &Looked,
        settings: &RollbackSettings,
        catalog: &Catalog,
        chosen: Option<&[CollectionId]>,
    ) -> Self {
        let reasons = looked.running.iter().chain(&looked.reasons);
        let names = chosen.map(|chosen| {
            let topics = chosen.iter().map(|id| &catalog.collections[id.0].topic);
            topics
                .map(|topic| catalog.short(topic).to_owned())
                .collect()
        });
        let plan = looked.plan.as_ref();
        let mut created = Created::default();
        if chosen.is_none() {
            let places = looked.prepared.places.iter();
            let made = places.filter(|place| {
                let origin = place.origin.as_ref();
                origin.is_some_and(|origin| origin.found == Found::Created)
            });
            created.kept = made.map(|place| place.shown.clone()).collect();
        }
        Self {
            done: false,
            dry_run: settings.dry_run,
            because: reasons.map(|reason| reason.words.clone()).collect(),
            collections: names,
            tables: looked.prepared.counts.clone(),
            cannot_come_back: looked.prepared.blocked.clone(),
            in_the_way: looked.faults(),
            created_tables: created,
            sequences: Vec::new(),
            statements: plan.map_or_else(Vec::new, crate::finish::drop::Plan::statements),
            finished: looked.finished.clone(),
            prefix: catalog.prefix.clone(),
            drops: settings.drop_tables,
        }
    }

    /// What would be done, for a person.
    pub(super) fn text(&self, looked: &Looked) -> String {
        let mut out = match &self.collections {
            None => "This is taken back:\n\n".to_owned(),
            Some(names) => wrap("", &format!("This is taken back of {}:", names.join(", "))) + "\n",
        };
        let lines = self
            .tables
            .iter()
            .filter(|line| line.written + line.overwritten + line.deleted > 0);
        let lines: Vec<String> = lines.map(line).collect();
        if lines.is_empty() {
            out.push_str("  no row: nothing was written\n");
        }
        for line in bounded(lines) {
            writeln!(out, "  {}", wrap("    ", &line).trim()).unwrap_or_default();
        }
        if !self.created_tables.kept.is_empty() {
            let what = if self.drops {
                "Created by Leafcutter, and dropped where empty"
            } else {
                "Created by Leafcutter, and kept (--drop-tables)"
            };
            let text = format!("{what}: {}.", self.created_tables.kept.join(", "));
            write!(out, "\n{}", wrap("", &text)).unwrap_or_default();
        }
        if let Some(plan) = &looked.plan {
            write!(out, "\n{}", plan.text()).unwrap_or_default();
            let made: Vec<String> = looked.prepared.places.iter().filter_map(made).collect();
            for line in bounded(made) {
                writeln!(out, "  {}", wrap("    ", &line).trim()).unwrap_or_default();
            }
        }
        if let Some(at) = &self.finished {
            let text = format!(
                "leafcutter finish was run at {at}. If the application has moved since, this takes away rows that it \
                 has changed: what it wrote to rows of Leafcutter's goes with them."
            );
            write!(out, "\n{}", wrap("", &text)).unwrap_or_default();
        }
        out
    }

    /// Says what would be done.
    pub(super) fn would(&self, show: &mut Show<'_>, looked: &Looked) {
        if show.json {
            show.json(self);
            return;
        }
        show.text(&self.text(looked));
        if !self.in_the_way.is_empty() {
            show.text("\nIt would refuse, since this is in the way:\n");
            for found in &self.in_the_way {
                let text = format!("{}: {}", found.what, found.why);
                show.line(&format!("  - {}", wrap("    ", &text).trim()));
            }
        }
        if !looked.running.is_empty() {
            show.text("\nIt would refuse, since consumers run:\n");
            show.text(&crate::finish::refusal::listed(&looked.running));
        }
        if !looked.reasons.is_empty() {
            show.text("\nIt would refuse without --force, since\n");
            show.text(&crate::finish::refusal::listed(&looked.reasons));
        }
        show.text("\na dry run: nothing was changed\n");
    }

    /// Says what was done.
    pub(super) fn done(mut self, show: &mut Show<'_>, outcome: &Outcome) {
        self.done = true;
        self.created_tables = outcome.created.clone();
        self.sequences = outcome.sequences.clone();
        if show.json {
            show.json(&self);
            return;
        }
        let rows = outcome.rows;
        let text = format!(
            "Done: {} of Leafcutter's gone, {} of the application's as before.",
            counted(rows.deleted, "row"),
            counted(rows.overwritten + rows.inserted, "row"),
        );
        show.text(&format!("\n{}", wrap("", &text)));
        for back in &self.sequences {
            let text = match &back.left {
                None => format!(
                    "Sequence {} stands at {} again.",
                    back.sequence,
                    count(back.before)
                ),
                Some(why) => format!(
                    "Sequence {} stood at {}, and was left at {}: {why}.",
                    back.sequence,
                    count(back.before),
                    count(back.last)
                ),
            };
            show.text(&wrap("", &text));
        }
        for (what, tables) in [
            ("Dropped", &self.created_tables.dropped),
            (
                "Created by Leafcutter, and still there",
                &self.created_tables.kept,
            ),
        ] {
            if !tables.is_empty() {
                show.text(&wrap("", &format!("{what}: {}.", tables.join(", "))));
            }
        }
        let next = match &self.collections {
            None => format!(
                "Stop the producer, too. Topics of prefix {} are still in Kafka, and can be deleted. To begin \
                 again, delete them, or start the programs with another --prefix.",
                self.prefix
            ),
            Some(names) => format!(
                "Consumers that start again apply {} from the first record on that Kafka has. Leave it out of the \
                 mapping, or say --except, if it is to stay away.",
                names.join(", ")
            ),
        };
        show.text(&wrap("", &next));
    }
}

fn line(count_of: &Count) -> String {
    let of = |rows: i64, one: &str, many: &str| {
        let words = if rows == 1 { one } else { many };
        format!("{} {words}", count(rows))
    };
    let mut parts = Vec::new();
    if count_of.written > 0 {
        let (one, many) = ("row of Leafcutter's goes", "rows of Leafcutter's go");
        parts.push(of(count_of.written, one, many));
    }
    if count_of.overwritten > 0 {
        let (one, many) = ("row gets its values back", "rows get their values back");
        parts.push(of(count_of.overwritten, one, many));
    }
    if count_of.deleted > 0 {
        let (one, many) = ("deleted row comes back", "deleted rows come back");
        parts.push(of(count_of.deleted, one, many));
    }
    parts.push(of(count_of.untouched, "stays as it is", "stay as they are"));
    format!("{}: {}", count_of.table, parts.join(", "))
}

/// What was added to a table beside Leafcutter's own columns.
fn made(place: &leafcutter_sink::rollback::Place) -> Option<String> {
    let made = &place.origin.as_ref()?.made;
    let kinds = [
        ("column", &made.columns),
        ("index", &made.indexes),
        ("foreign key", &made.keys),
        ("numbers of", &made.numbers),
    ];
    let parts: Vec<String> = kinds
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| format!("{kind} {}", names.join(", ")))
        .collect();
    (!parts.is_empty()).then(|| format!("{} of {}", parts.join("; "), place.shown))
}
