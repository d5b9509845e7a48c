//! What was found so far: counts for each collection, the first differences, and all of them in a file.

use super::difference::{Difference, Kind, State};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What became of a collection's documents and rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Documents that were read.
    pub documents: u64,
    /// Documents whose rows are all as they should be.
    pub same: u64,
    /// Their rows.
    pub rows: u64,
    /// Their child rows.
    pub children: u64,
    /// Documents that the conditions leave out.
    pub outside: u64,
    /// Documents that are not there as they are, and whose dead letters say why, by reason: `nul`, or `nul, discarded`.
    pub rejected: BTreeMap<String, u64>,
    /// Documents that wait, or of which child rows do.
    pub waiting: u64,
    /// Documents whose rows went with their parents.
    pub cascaded: u64,
    /// Documents of which another one is the row of the same key.
    pub shared: u64,
    /// Documents whose `_id` cannot be read here.
    pub unreadable: u64,
    /// Documents that were deleted meanwhile.
    pub deleted: u64,
    /// Documents that never stood still.
    pub changing: u64,
    /// Documents that differ.
    pub differ: u64,
    /// Differences, by what differs.
    pub differences: BTreeMap<String, u64>,
    /// Rows whose documents were deleted, and that other rows refer to.
    pub kept: u64,
    /// Rows of which it cannot be told whose they are.
    pub unknown: u64,
    /// Rows without a document, beyond those that were looked at one by one.
    pub more_extra: u64,
}

impl Counts {
    /// A document's end: what became of it, and of how many rows and child rows it is.
    pub fn take(&mut self, state: &State, (rows, children): (u64, u64)) {
        match state {
            State::Same => self.same += 1,
            State::Outside => self.outside += 1,
            State::Rejected(reason) => *self.rejected.entry(reason.clone()).or_default() += 1,
            State::Waiting => self.waiting += 1,
            State::Cascaded => self.cascaded += 1,
            State::Shared => self.shared += 1,
            State::Unreadable => self.unreadable += 1,
            State::Differs(_) => self.differ += 1,
        }
        if matches!(state, State::Same | State::Differs(_)) {
            self.rows += rows;
            self.children += children;
        }
    }

    /// Adds what was counted in one range at the first look.
    pub fn add(&mut self, range: &Self) {
        self.documents += range.documents;
        self.same += range.same;
        self.rows += range.rows;
        self.children += range.children;
        self.outside += range.outside;
        self.waiting += range.waiting;
        self.cascaded += range.cascaded;
        self.shared += range.shared;
        self.unreadable += range.unreadable;
        for (reason, count) in &range.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
    }

    /// All rejected documents.
    pub fn rejected(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Documents that were not compared, for whatever reason.
    pub fn not_compared(&self) -> u64 {
        self.unreadable + self.changing + self.unknown
    }

    /// Of one kind of difference.
    pub fn of(&self, kind: Kind) -> u64 {
        self.differences
            .get(kind.words())
            .copied()
            .unwrap_or_default()
    }

    /// All differences.
    pub fn all(&self) -> u64 {
        self.differences.values().sum::<u64>() + self.more_extra
    }

    /// How many in a hundred documents of those that should have rows are as they should be.
    pub fn passed(&self) -> f64 {
        let whole = self.same + self.differ;
        if whole == 0 {
            return 100.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share is shown with two digits"
        )]
        let share = self.same as f64 / whole as f64;
        share * 100.0
    }
}

/// What of a collection is to be sent again.
#[derive(Debug, Clone, Default)]
pub struct ToRepair {
    /// Documents, by their `_id`s in Extended JSON.
    pub ids: Vec<String>,
    /// There are rows without a document.
    pub extra: bool,
}

/// Documents of a collection that one repair sends at most.
const REPAIRED: usize = 100_000;

#[derive(Debug, Default)]
struct Inner {
    repair: Vec<ToRepair>,
    counts: Vec<Counts>,
    first: Vec<Difference>,
    unproven: u64,
    out: Option<BufWriter<File>>,
    sql: Option<BufWriter<File>>,
    broken: Option<String>,
}

/// The board.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    show: usize,
}

/// Opens a file of the flag `--{name}`.
fn open(name: &str, path: Option<&Path>) -> Result<Option<BufWriter<File>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    File::create(path)
        .map(BufWriter::new)
        .map(Some)
        .map_err(|error| {
            let fault = Fault::new(
                "could not write a file",
                format!("`{}`", path.display()),
                error.to_string(),
                format!("Check the path in `--{name}`."),
            );
            Failure::one(Exit::Settings, fault)
        })
}

impl Board {
    /// An empty one for so many collections.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn new(
        collections: usize,
        show: usize,
        (out, sql): (Option<&Path>, Option<&Path>),
    ) -> Result<Self, Failure> {
        let inner = Inner {
            counts: vec![Counts::default(); collections],
            repair: vec![ToRepair::default(); collections],
            out: open("out", out)?,
            sql: open("repair-sql", sql)?,
            ..Inner::default()
        };
        Ok(Self {
            inner: Mutex::new(inner),
            show,
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a document that was in doubt.
    pub fn end(&self, work: usize, state: &State, rows: (u64, u64)) {
        let mut inner = self.inner();
        inner.counts[work].take(state, rows);
        if let State::Differs(differences) = state {
            inner.add(work, differences, self.show);
        }
    }

    /// Counts a document or a row otherwise.
    pub fn count(&self, work: usize, count: impl FnOnce(&mut Counts)) {
        count(&mut self.inner().counts[work]);
    }

    /// Differences of rows.
    pub fn add(&self, work: usize, differences: &[Difference]) {
        let show = self.show;
        self.inner().add(work, differences, show);
    }

    /// A difference that nobody could prove, since nothing moved any more.
    pub fn unproven(&self) {
        self.inner().unproven += 1;
    }

    /// A document that differs, by its `_id` in Extended JSON.
    pub fn to_repair(&self, work: usize, id: String) {
        let mut inner = self.inner();
        let ids = &mut inner.repair[work].ids;
        if ids.len() < REPAIRED {
            ids.push(id);
        }
    }

    /// What is to be sent again, of each collection.
    pub fn repairs(&self) -> Vec<ToRepair> {
        let inner = self.inner();
        let mut repairs = inner.repair.clone();
        for (repair, counts) in repairs.iter_mut().zip(&inner.counts) {
            repair.extra =
                counts.of(Kind::ExtraRow) + counts.of(Kind::Held) + counts.more_extra > 0;
        }
        repairs
    }

    /// Statements that would mend rows.
    pub fn sql(&self, statements: &str) {
        let mut inner = self.inner();
        if let Some(sql) = &mut inner.sql
            && let Err(error) = sql.write_all(statements.as_bytes())
        {
            inner.broken = Some(error.to_string());
        }
    }

    /// Whether statements are wanted.
    pub fn wants_sql(&self) -> bool {
        self.inner().sql.is_some()
    }

    /// The counts so far.
    pub fn counts(&self) -> Vec<Counts> {
        self.inner().counts.clone()
    }

    /// The first differences.
    pub fn first(&self) -> Vec<Difference> {
        self.inner().first.clone()
    }

    /// How many differences nobody could prove.
    pub fn unproven_count(&self) -> u64 {
        self.inner().unproven
    }

    /// Has the files written out.
    ///
    /// # Errors
    /// When they cannot be.
    pub fn flush(&self) -> Result<(), Failure> {
        let mut inner = self.inner();
        let Inner {
            out, sql, broken, ..
        } = &mut *inner;
        for file in out.iter_mut().chain(sql.iter_mut()) {
            if let Err(error) = file.flush() {
                broken.get_or_insert(error.to_string());
            }
        }
        match broken.take() {
            None => Ok(()),
            Some(why) => {
                let next =
                    "Check the room on the disk of --out and --repair-sql; the counts are right.";
                let fault = Fault::new("could not write the differences", "the file", why, next);
                Err(Failure::one(Exit::Settings, fault))
            }
        }
    }
}

impl Inner {
    fn add(&mut self, work: usize, differences: &[Difference], show: usize) {
        for difference in differences {
            let words = difference.kind.words().to_owned();
            *self.counts[work].differences.entry(words).or_default() += 1;
            if self.first.len() < show {
                self.first.push(difference.clone());
            }
            if let Some(out) = &mut self.out {
                // Texts and numbers only, which cannot fail.
                let line = serde_json::to_string(difference).unwrap_or_default();
                if let Err(error) = writeln!(out, "{line}") {
                    self.broken = Some(error.to_string());
                }
            }
        }
    }
}
