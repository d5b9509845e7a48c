//! What Leafcutter says in its own schema: dead letters, parked, held, and the counters.

use super::report::{Finding, Wrong};
use crate::Collection;
use leafcutter_harness::failure::{Attempt, Failure, Result};
use leafcutter_schemas::name::data_topic;
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

/// A row of `leafcutter.dead_letters`.
#[derive(Debug, Clone)]
pub struct DeadLetterEntry {
    /// The partition and offset of the record.
    pub origin: (i32, i64),
    /// The table.
    pub table: String,
    /// The document, by its canonical `_id`; empty where the record could not be read.
    pub source_key: String,
    /// The version of the record.
    pub version: i64,
    /// The reason's code.
    pub reason: String,
    /// The column; empty where it is not one column's fault.
    pub column: String,
    /// Whether it still waits for somebody.
    pub open: bool,
}

/// What became of the records of a topic, as the consumers counted it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records consumed: the sum of the partitions' next offsets.
    pub consumed: i64,
    /// Written.
    pub applied: i64,
    /// Same as what was there.
    pub unchanged: i64,
    /// Older than what was there.
    pub stale: i64,
    /// Deleted.
    pub deleted: i64,
    /// Deleted, but the row stays.
    pub held: i64,
    /// Not of the mapping's filter.
    pub filtered: i64,
    /// Set to wait.
    pub parked: i64,
    /// Swallowed by the target.
    pub suppressed: i64,
    /// Nothing to do.
    pub ignored: i64,
    /// Refused.
    pub dead_lettered: i64,
}

impl Counters {
    fn outcomes(&self) -> i64 {
        self.applied
            + self.unchanged
            + self.stale
            + self.deleted
            + self.held
            + self.filtered
            + self.parked
            + self.suppressed
            + self.ignored
            + self.dead_lettered
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct State {
    dead_letters: HashMap<(Collection, String), Vec<DeadLetterEntry>>,
    /// (table, row key) → (state, reason)
    parked: HashMap<(String, Uuid), (String, String)>,
    held: HashSet<(String, Uuid)>,
    partitions: Vec<(Collection, i32, Counters)>,
}

impl State {
    pub(super) async fn read(
        view: &Transaction<'_>,
        prefix: &str,
        database: &str,
        group: &str,
    ) -> Result<Self> {
        let mut topics = BTreeMap::new();
        for collection in Collection::ALL {
            topics.insert(data_topic(prefix, database, collection.name())?, collection);
        }
        let mut state = Self::default();
        let dead_letters = view
            .query(
                "select topic, partition, \"offset\", table_name, coalesce(source_key, ''), \
                 coalesce(version, 0), reason, coalesce(column_name, ''), state = 'open' \
                 from leafcutter.dead_letters where topic = any($1)",
                &[&topics.keys().collect::<Vec<_>>()],
            )
            .await
            .attempt("read leafcutter.dead_letters")?;
        for row in dead_letters {
            let collection = collection_of(&topics, row.get(0))?;
            let dead_letter = dead_letter(&row);
            state
                .dead_letters
                .entry((collection, dead_letter.source_key.clone()))
                .or_default()
                .push(dead_letter);
        }
        let parked = view
            .query(
                "select table_name, row_key, state, reason from leafcutter.parked",
                &[],
            )
            .await
            .attempt("read leafcutter.parked")?;
        for row in parked {
            if let Ok(key) = Uuid::from_slice(row.get(1)) {
                state
                    .parked
                    .insert((row.get(0), key), (row.get(2), row.get(3)));
            }
        }
        let held = view
            .query("select table_name, row_key from leafcutter.held", &[])
            .await
            .attempt("read leafcutter.held")?;
        for row in held {
            state
                .held
                .insert((row.get(0), Uuid::from_slice(row.get(1))?));
        }
        state.read_offsets(view, &topics, group).await?;
        Ok(state)
    }

    async fn read_offsets(
        &mut self,
        view: &Transaction<'_>,
        topics: &BTreeMap<String, Collection>,
        group: &str,
    ) -> Result<()> {
        let offsets = view
            .query(
                "select topic, partition, next_offset, applied, unchanged, stale, deleted, held, \
                 filtered, parked, suppressed, ignored, dead_lettered \
                 from leafcutter.offsets where consumer_group = $1",
                &[&group],
            )
            .await
            .attempt("read leafcutter.offsets")?;
        for row in offsets {
            let collection = collection_of(topics, row.get(0))?;
            let counters = Counters {
                consumed: row.get(2),
                applied: row.get(3),
                unchanged: row.get(4),
                stale: row.get(5),
                deleted: row.get(6),
                held: row.get(7),
                filtered: row.get(8),
                parked: row.get(9),
                suppressed: row.get(10),
                ignored: row.get(11),
                dead_lettered: row.get(12),
            };
            self.partitions.push((collection, row.get(1), counters));
        }
        Ok(())
    }

    /// The newest open dead letter of a document.
    pub fn dead_letter(
        &self,
        collection: Collection,
        source_key: &str,
    ) -> Option<&DeadLetterEntry> {
        self.all(collection, source_key)
            .filter(|dead_letter| dead_letter.open)
            .max_by_key(|dead_letter| (dead_letter.version, dead_letter.origin.1))
    }

    /// All dead letters.
    pub fn dead_letters(&self) -> impl Iterator<Item = (Collection, &DeadLetterEntry)> {
        let all = self.dead_letters.iter();
        all.flat_map(|((of, _), dead_letters)| {
            dead_letters.iter().map(|dead_letter| (*of, dead_letter))
        })
    }

    /// All dead letters of a document.
    pub fn all(
        &self,
        collection: Collection,
        source_key: &str,
    ) -> impl Iterator<Item = &DeadLetterEntry> {
        self.dead_letters
            .get(&(collection, source_key.to_owned()))
            .into_iter()
            .flatten()
    }

    /// All dead letters of a collection, by document.
    pub fn of(&self, collection: Collection) -> impl Iterator<Item = (&str, &[DeadLetterEntry])> {
        self.dead_letters
            .iter()
            .filter(move |((of, _), _)| *of == collection)
            .map(|((_, key), dead_letters)| (key.as_str(), dead_letters.as_slice()))
    }

    /// How a row is parked: its state and the reason.
    pub fn parked(&self, table: &str, key: Uuid) -> Option<(&str, &str)> {
        let (state, reason) = self.parked.get(&(table.to_owned(), key))?;
        Some((state, reason))
    }

    /// Whether a row is held.
    pub fn is_held(&self, table: &str, key: Uuid) -> bool {
        self.held.contains(&(table.to_owned(), key))
    }

    /// The rows of a table that are held.
    pub fn held<'a>(&'a self, table: &'a str) -> impl Iterator<Item = Uuid> + 'a {
        self.held
            .iter()
            .filter(move |(of, _)| of == table)
            .map(|(_, key)| *key)
    }

    pub(super) fn counters(&self, collection: Collection) -> Counters {
        let mut sum = Counters::default();
        for (_, _, counters) in self
            .partitions
            .iter()
            .filter(|(of, _, _)| *of == collection)
        {
            sum.consumed += counters.consumed;
            sum.applied += counters.applied;
            sum.unchanged += counters.unchanged;
            sum.stale += counters.stale;
            sum.deleted += counters.deleted;
            sum.held += counters.held;
            sum.filtered += counters.filtered;
            sum.parked += counters.parked;
            sum.ignored += counters.ignored;
            sum.dead_lettered += counters.dead_lettered;
        }
        sum
    }

    pub(super) fn accounting_faults(&self) -> impl Iterator<Item = Finding> {
        self.partitions
            .iter()
            .filter(|(_, _, c)| c.consumed != c.outcomes())
            .map(|(collection, partition, counters)| Finding {
                wrong: Wrong::Accounting,
                collection: *collection,
                id: format!("partition {partition}"),
                detail: format!(
                    "{} records consumed, {} outcomes counted",
                    counters.consumed,
                    counters.outcomes()
                ),
            })
    }

    pub(super) fn dead_letters_of_unknown_records(&self) -> Vec<(Collection, String)> {
        let unknown = self
            .dead_letters
            .iter()
            .filter(|((_, key), _)| key.is_empty());
        unknown
            .flat_map(|((collection, _), dead_letters)| {
                dead_letters.iter().map(|l| (*collection, l))
            })
            .map(|(collection, l)| {
                (
                    collection,
                    format!("partition {} offset {}", l.origin.0, l.origin.1),
                )
            })
            .collect()
    }
}

fn collection_of(topics: &BTreeMap<String, Collection>, topic: &str) -> Result<Collection> {
    topics
        .get(topic)
        .copied()
        .ok_or_else(|| Failure::new(format!("topic `{topic}` is none of FinLit's collections")))
}

fn dead_letter(row: &Row) -> DeadLetterEntry {
    DeadLetterEntry {
        origin: (row.get(1), row.get(2)),
        table: row.get(3),
        source_key: row.get(4),
        version: row.get(5),
        reason: row.get(6),
        column: row.get(7),
        open: row.get(8),
    }
}
