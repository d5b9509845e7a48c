//! What a comparison found.

use super::state::{Counters, DeadLetterEntry, State};
use crate::Collection;
use std::{collections::BTreeMap, fmt};

/// How a document or a row can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    /// A document without its row, and without a reason.
    Missing,
    /// A row without a document.
    Extra,
    /// A row that is not what its document says.
    Different,
    /// A dead letter that should not be, or a document that should be one for another reason.
    DeadLetter,
    /// A held row that nothing points to, or that is not there.
    Held,
    /// A document whose fate is not the one in the ledger.
    Fate,
    /// Records without an outcome.
    Accounting,
}

impl Wrong {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Different => "different",
            Self::DeadLetter => "dead letter",
            Self::Held => "held",
            Self::Fate => "fate",
            Self::Accounting => "accounting",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub wrong: Wrong,
    /// In which collection.
    pub collection: Collection,
    /// The document, by its canonical `_id`, or the row, by its key.
    pub id: String,
    /// What is wrong, for a person.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wrong,
            collection,
            id,
            detail,
        } = self;
        let id: String = id.chars().take(60).collect();
        write!(
            f,
            "{}: {} {id}: {detail}",
            wrong.as_str(),
            collection.name()
        )
    }
}

/// What became of the documents of one collection.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Documents in MongoDB.
    pub documents: u64,
    /// Documents that are in their rows, all of them.
    pub placed: u64,
    /// Rows of the table and of its child tables.
    pub rows: u64,
    /// Rows that stay without their document because others point to them.
    pub held: u64,
    /// Documents in the dead letters, by reason.
    pub dead_letters: BTreeMap<String, u64>,
    /// Among these, documents an older state of which is still in its row.
    pub older_rows: u64,
    /// What the consumers counted.
    pub counters: Counters,
}

/// Findings kept with their detail.
const KEPT: usize = 50;

/// What a comparison found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// By collection.
    pub tallies: BTreeMap<Collection, Tally>,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// All findings, counted.
    pub wrong: BTreeMap<Wrong, u64>,
    /// Fates of the ledger that were looked up.
    pub fates: u64,
    /// The whole index of dead letters.
    pub dead_letters: Vec<(Collection, DeadLetterEntry)>,
    /// Pairs that point to each other and were both placed; and both left out.
    pub circles: (u64, u64),
}

impl Report {
    pub(super) fn new(state: &State) -> Self {
        let mut report = Self::default();
        for collection in Collection::ALL {
            let counters = state.counters(collection);
            report.tallies.insert(
                collection,
                Tally {
                    counters,
                    ..Tally::default()
                },
            );
        }
        report.dead_letters = state
            .dead_letters()
            .map(|(of, dead_letter)| (of, dead_letter.clone()))
            .collect();
        for fault in state.accounting_faults() {
            report.add(fault);
        }
        report
    }

    /// Whether nothing is missing, nothing is extra and nothing differs.
    pub fn is_clean(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Takes a finding in.
    pub fn add(&mut self, finding: Finding) {
        *self.wrong.entry(finding.wrong).or_default() += 1;
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        }
    }

    /// The tally of a collection.
    pub fn tally(&mut self, collection: Collection) -> &mut Tally {
        self.tallies.entry(collection).or_default()
    }

    /// Documents compared.
    pub fn documents(&self) -> u64 {
        self.tallies.values().map(|tally| tally.documents).sum()
    }
}

/// The findings, for a test that fails.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (wrong, count) in &self.wrong {
            writeln!(f, "{count} {}", wrong.as_str())?;
        }
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        Ok(())
    }
}
