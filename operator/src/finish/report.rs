//! What a finish came to: as `--json` prints it, and as it is in the report's JSON file.

use crate::{
    figures::{count, counted},
    verify,
};
use leafcutter_sink::{
    state::finished::Finished,
    target::{sequences::Standing, unproven::Proof},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything is as it has to be.
pub const CLEAN: &str = "clean";
/// Something is not.
pub const NOT_CLEAN: &str = "not-clean";
/// Nothing is known to be wrong, and documents were not compared with rows.
pub const UNVERIFIED: &str = "unverified";

/// The whole of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// It came to its end.
    pub done: bool,
    /// `clean`, `not-clean` or `unverified`.
    pub verdict: &'static str,
    /// Why it is not clean.
    pub because: Vec<String>,
    /// When.
    pub at: String,
    /// Leafcutter's version.
    pub leafcutter: &'static str,
    /// The consumer group.
    pub group: String,
    /// The mapping's hash.
    pub mapping: String,
    /// PostgreSQL, as it may be shown.
    pub target: String,
    /// Everything that had happened in the source up to this time is applied; none where it was not waited
    /// for, or nobody knows the time.
    pub applied_until: Option<String>,
    /// What moved.
    pub collections: Vec<CollectionLine>,
    /// Records taken from Kafka, by what became of them.
    pub records: BTreeMap<&'static str, i64>,
    /// Dead letters that are open, or were given up by a person, by their causes.
    pub dead_letters: Vec<CauseLine>,
    /// Rows of deleted documents that stay since others refer to them, by table.
    pub held: BTreeMap<String, i64>,
    /// Rows that went, or lost a reference, with a deleted parent, by table.
    pub cascaded: BTreeMap<String, i64>,
    /// How documents and rows were compared.
    pub verified: Verified,
    /// The sequences of the tables.
    pub sequences: Vec<Standing>,
    /// Constraints that were not known to hold for all rows.
    pub constraints: Vec<Proof>,
    /// When what happened.
    pub times: Times,
}

/// How documents and rows were compared.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// `all`, `sample` or `none`.
    pub what: &'static str,
    /// Documents of each collection in the sample.
    pub sample: Option<u32>,
    /// As `leafcutter verify --json` says it.
    pub report: Option<verify::report::Report>,
}

/// A collection, on both sides.
#[derive(Debug, Serialize)]
pub struct CollectionLine {
    /// Its name, with the database.
    pub collection: String,
    /// Its documents; none where the source was not asked.
    pub documents: Option<u64>,
    /// They were counted, and not estimated by the server.
    pub documents_exact: bool,
    /// Its tables.
    pub tables: Vec<TableLine>,
    /// When anything of it was applied last.
    pub last_applied: Option<String>,
}

/// A table of a collection.
#[derive(Debug, Serialize)]
pub struct TableLine {
    /// Its name.
    pub table: String,
    /// The table above it, of a child table.
    pub parent: Option<String>,
    /// Rows of this collection; those that are marked as deleted are left out.
    pub rows: i64,
    /// Rows that Leafcutter has never written.
    pub others: i64,
}

/// Dead letters of one cause.
#[derive(Debug, Serialize)]
pub struct CauseLine {
    /// `open` or `discarded`.
    pub state: String,
    /// Their collection, with the database.
    pub collection: String,
    /// The table.
    pub table: String,
    /// The column, where one is at fault.
    pub column: Option<String>,
    /// Why, in a word.
    pub reason: String,
    /// What PostgreSQL answered.
    pub sqlstate: Option<String>,
    /// How many.
    pub dead_letters: i64,
    /// Why a person gave the newest one up.
    pub discard_reason: Option<String>,
}

/// When what happened, as far as it is known.
#[derive(Debug, Default, Serialize)]
pub struct Times {
    /// When the first consumer started.
    pub begun: Option<String>,
    /// When anything was applied last.
    pub last_applied: Option<String>,
    /// Seconds between both.
    pub seconds: Option<i64>,
    /// Seconds that this finish waited until everything was applied.
    pub waited_seconds: u64,
}

impl Report {
    /// The verdict, from what is in it and from what was passed over.
    pub(super) fn judge(&mut self, passed_over: Vec<String>) {
        self.because = passed_over;
        if let Some(report) = &self.verified.report
            && report.verdict != CLEAN
        {
            let why = format!("verify: {} (leafcutter verify)", report.last());
            self.because.push(why);
        }
        for proof in self.constraints.iter().filter(|proof| !proof.valid) {
            let (name, table) = (&proof.constraint, &proof.table);
            self.because
                .push(format!("constraint {name} of {table} does not hold"));
        }
        let refused = self.sequences.iter().filter(|line| line.is_refused());
        let refused = refused.map(|line| {
            format!(
                "sequence {} could not be looked at: {}",
                line.sequence,
                line.left_alone.as_deref().unwrap_or_default()
            )
        });
        self.because.extend(refused);
        self.verdict = match (self.because.is_empty(), &self.verified.report) {
            (false, _) => NOT_CLEAN,
            (true, Some(_)) => CLEAN,
            (true, None) => UNVERIFIED,
        };
    }

    /// What is kept of it in PostgreSQL.
    pub(super) fn kept(&self) -> Finished {
        Finished {
            at: self.at.clone(),
            group: self.group.clone(),
            mapping: self.mapping.clone(),
            verdict: self.verdict.to_owned(),
            because: self.because.clone(),
        }
    }
}

/// Why a constraint does not hold: the rows that are in the way, or what PostgreSQL says.
pub(super) fn in_the_way(proof: &Proof) -> String {
    if proof.rows_in_the_way == 0 {
        return proof.why.clone().unwrap_or_default();
    }
    let more = proof.rows_in_the_way - i64::try_from(proof.first.len()).unwrap_or(0);
    let more = if more > 0 {
        format!(" and {} more", count(more))
    } else {
        String::new()
    };
    format!(
        "{} in the way, by key: {}{more}",
        counted(proof.rows_in_the_way, "row"),
        proof.first.join("; ")
    )
}
