//! One document and its rows.

use super::{
    report::{Finding, Report, Wrong},
    state::State,
    target::{Elements, Found, Rows, Target, read_cells, unique_value},
};
use crate::{
    Collection,
    expected::{
        self,
        cell::Cell,
        key,
        tables::{Table, table},
    },
};
use bson::{Bson, Document};
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

/// Goes through the documents of one collection.
pub(super) struct Judge<'a> {
    collection: Collection,
    table: &'static Table,
    target: &'a Target,
    state: &'a State,
    rows: Rows,
    seen: HashSet<String>,
    report: &'a mut Report,
}

/// Why a document may be absent from its row.
struct Excuse {
    reason: &'static str,
    /// The columns any of which the dead letter may name; empty: any column.
    columns: Vec<&'static str>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        collection: Collection,
        target: &'a Target,
        state: &'a State,
        rows: Rows,
        report: &'a mut Report,
    ) -> Self {
        let tally = report.tally(collection);
        tally.rows = count(rows.root.len())
            + rows
                .children
                .values()
                .flat_map(|t| t.values())
                .map(|r| count(r.len()))
                .sum::<u64>();
        let table = table(collection);
        Self {
            collection,
            table,
            target,
            state,
            rows,
            seen: HashSet::new(),
            report,
        }
    }

    /// Judges one document.
    pub(super) fn document(&mut self, document: &Document) {
        let id = document.get("_id").unwrap_or(&Bson::Null);
        let (key, name) = (key::row_key(id), key::canonical(id));
        let row = self.rows.root.remove(&key);
        self.report.tally(self.collection).documents += 1;
        if self.state.is_held(self.table.name, key) {
            self.find(Wrong::Held, &name, "held, though its document is there");
        }
        match expected::rows(self.collection, document) {
            Err(refusal) => {
                self.take_children(key);
                let excuse = Excuse {
                    reason: refusal.reason,
                    columns: vec![refusal.column],
                };
                self.dead_letter(&name, key, row.as_ref(), &excuse);
            }
            Ok(rows) => self.placed(&name, row, rows),
        }
        self.seen.insert(name);
    }

    fn placed(&mut self, name: &str, row: Option<Found>, mut expected: expected::Rows) {
        let orphan = self.missing_parents(&mut expected);
        let taken = self.unique_taken(&expected);
        let children = self.take_children(expected.key);
        let differences = row
            .as_ref()
            .map(|row| self.differences(row, &expected, &children));
        match (&row, differences) {
            (Some(_), Some(differences)) if differences.is_empty() => {
                self.report.tally(self.collection).placed += 1;
                if let Some(excuse) = orphan {
                    let detail = format!("points to no row by {}", excuse.columns.join(", "));
                    self.find(Wrong::Different, name, &detail);
                }
                self.dead_letters_of_placed(name);
            }
            (row, differences) => {
                let excuse = match (orphan, taken) {
                    (Some(orphan), _) if !self.has_dead_letter(name, "unique") => Some(orphan),
                    (_, Some(taken)) => Some(taken),
                    (orphan, None) => orphan,
                };
                match (excuse, differences) {
                    (Some(excuse), _) => {
                        self.dead_letter(name, expected.key, row.as_ref(), &excuse);
                    }
                    (None, Some(differences)) => {
                        self.find(Wrong::Different, name, &differences.join("; "));
                    }
                    (None, None) => {
                        let where_else = self.where_else(name, expected.key);
                        self.find(Wrong::Missing, name, &format!("no row, {where_else}"));
                    }
                }
            }
        }
    }

    /// Sets references that may be null to null where their parent is not there. Gives the others.
    fn missing_parents(&self, expected: &mut expected::Rows) -> Option<Excuse> {
        let mut columns = Vec::new();
        for (position, column) in self.table.columns.iter().enumerate() {
            let expected::tables::Kind::Reference(parent) = column.kind else {
                continue;
            };
            let Some(&Cell::Uuid(points_to)) = expected.root.get(position) else {
                continue;
            };
            let own = parent.collection == self.collection && points_to == expected.key;
            if own || self.target.has(parent.collection, points_to) {
                continue;
            }
            if parent.or_null {
                expected.root[position] = Cell::Null;
            } else {
                columns.push(column.name);
            }
        }
        (!columns.is_empty()).then_some(Excuse {
            reason: "orphan",
            columns,
        })
    }

    /// Whether another row has a value that this one should have alone.
    fn unique_taken(&self, expected: &expected::Rows) -> Option<Excuse> {
        for (values, columns) in self.rows.unique.iter().zip(self.table.unique) {
            let value = unique_value(self.table, columns, &expected.root);
            if values
                .get(&value)
                .is_some_and(|owner| *owner != expected.key)
            {
                return Some(Excuse {
                    reason: "unique",
                    columns: Vec::new(),
                });
            }
        }
        None
    }

    fn differences(
        &self,
        row: &Found,
        expected: &expected::Rows,
        children: &[(&'static str, Elements)],
    ) -> Vec<String> {
        let mut differences = Vec::new();
        let found = row.cells(self.table.columns);
        for ((column, want), have) in self.table.columns.iter().zip(&expected.root).zip(&found) {
            if want != have {
                differences.push(format!("{} {}", column.name, have.difference(want)));
            }
        }
        for child in self.table.children {
            let none = Elements::new();
            let want = expected.children.get(child.name);
            let have = children
                .iter()
                .find(|(name, _)| *name == child.name)
                .map_or(&none, |(_, r)| r);
            let positions: BTreeSet<i64> = have
                .keys()
                .chain(want.into_iter().flat_map(|rows| rows.keys()))
                .copied()
                .collect();
            for position in positions {
                let want = want.and_then(|rows| rows.get(&position));
                let have = have
                    .get(&position)
                    .map(|texts| read_cells(child.columns, texts));
                if want != have.as_ref() {
                    let what = match (want, have) {
                        (Some(_), None) => "is missing",
                        (None, Some(_)) => "is extra",
                        _ => "differs",
                    };
                    differences.push(format!("{} at position {position} {what}", child.name));
                }
            }
        }
        differences
    }

    /// The document is not in its row: the newest dead letter has to say why, and an older state
    /// may still be in the row.
    fn dead_letter(&mut self, name: &str, key: Uuid, row: Option<&Found>, excuse: &Excuse) {
        let Some(dead_letter) = self.state.dead_letter(self.collection, name) else {
            let where_else = self.where_else(name, key);
            let detail = format!("should be a dead letter ({}), {where_else}", excuse.reason);
            let wrong = if row.is_some() {
                Wrong::Different
            } else {
                Wrong::Missing
            };
            return self.find(wrong, name, &detail);
        };
        let columns = &excuse.columns;
        let fits = dead_letter.reason == excuse.reason
            && (columns.is_empty() || columns.iter().any(|column| *column == dead_letter.column))
            && dead_letter.table == self.table.name;
        if !fits {
            let detail = format!(
                "the dead letter says {} of {}.{}, not {} of {}",
                dead_letter.reason,
                dead_letter.table,
                dead_letter.column,
                excuse.reason,
                columns.join("/")
            );
            return self.find(Wrong::DeadLetter, name, &detail);
        }
        let waits = matches!(excuse.reason, "orphan" | "unique");
        if waits
            && self
                .state
                .parked(self.table.name, key)
                .is_none_or(|(state, _)| state != "orphan")
        {
            self.find(Wrong::DeadLetter, name, "does not wait for what it lacks");
        }
        if let Some(row) = row {
            if row.version >= dead_letter.version {
                self.find(
                    Wrong::Different,
                    name,
                    "the row is as new as its dead letter, and differs",
                );
            }
            self.report.tally(self.collection).older_rows += 1;
        }
        let tally = self.report.tally(self.collection);
        *tally
            .dead_letters
            .entry(excuse.reason.to_owned())
            .or_default() += 1;
    }

    /// Whatever was refused of a document before it was placed is superseded.
    fn dead_letters_of_placed(&mut self, name: &str) {
        let open = self
            .state
            .dead_letter(self.collection, name)
            .map(|dead_letter| dead_letter.reason.clone());
        if let Some(reason) = open {
            let detail = format!("placed, and a dead letter ({reason}) is still open");
            self.find(Wrong::DeadLetter, name, &detail);
        }
    }

    fn has_dead_letter(&self, name: &str, reason: &str) -> bool {
        self.state
            .dead_letter(self.collection, name)
            .is_some_and(|dead_letter| dead_letter.reason == reason)
    }

    fn where_else(&self, name: &str, key: Uuid) -> String {
        let dead_letter = self.state.dead_letter(self.collection, name).map_or_else(
            || "no dead letter".to_owned(),
            |l| format!("a dead letter ({} of {}.{})", l.reason, l.table, l.column),
        );
        match self.state.parked(self.table.name, key) {
            None => format!("not parked, {dead_letter}"),
            Some((state, reason)) => format!("parked ({state}, {reason}), {dead_letter}"),
        }
    }

    fn take_children(&mut self, key: Uuid) -> Vec<(&'static str, Elements)> {
        let tables = self.rows.children.iter_mut();
        tables
            .map(|(name, rows)| (*name, rows.remove(&key).unwrap_or_default()))
            .collect()
    }

    fn find(&mut self, wrong: Wrong, id: &str, detail: &str) {
        let collection = self.collection;
        self.report.add(Finding {
            wrong,
            collection,
            id: id.to_owned(),
            detail: detail.to_owned(),
        });
    }

    /// What has no document: rows, and dead letters that should be superseded.
    pub(super) fn finish(mut self) -> Rows {
        let gone: Vec<_> = self
            .state
            .of(self.collection)
            .filter(|(key, dead_letters)| {
                !key.is_empty() && !self.seen.contains(*key) && dead_letters.iter().any(|l| l.open)
            })
            .map(|(key, _)| key.to_owned())
            .collect();
        for key in gone {
            self.find(
                Wrong::DeadLetter,
                &key,
                "a dead letter still open, and its document is deleted",
            );
        }
        self.rows
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
