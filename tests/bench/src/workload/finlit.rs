//! FinLit: the application of the demo, nine collections that refer to each other, clean or with dirt.
//!
//! Updates replace documents of all collections by their next revision, and deletes take answers. Documents with
//! an edge case are left alone, so the ledger says what must become of them after every phase. The rows are
//! compared by FinLit's own comparison, which reads the documents from MongoDB and makes their rows itself.

use super::{Verdict, Workload, Write};
use crate::{commands, population::STEP};
use bson::{Bson, Document, doc};
use leafcutter_finlit::{
    Collection, FinLit,
    compare::{Sides, compare, dead_letters},
    ledger::Ledger,
    load::load,
    unsettled,
};
use leafcutter_harness::{failure::Result, world::World};
use mongodb::Database;
use std::collections::BTreeMap;

/// Documents at scale 1, about.
const SCALE_1: f64 = 200_100.0;
/// The collection of single writes: its `_id`s are ObjectIds, and nobody points to it.
const WRITTEN: Collection = Collection::DailyProgress;
/// Replacements in one command: a document has up to 2 KB.
const REPLACEMENTS: usize = 500;

/// The application's data.
#[derive(Debug)]
pub struct Application {
    finlit: FinLit,
    is_clean: bool,
    database: Database,
    ledger: Ledger,
    walked: u64,
    /// Answers below this were deleted, but for those with an edge case.
    first_answer: u32,
    deleted: u64,
    /// Single writes so far.
    writes: u32,
}

impl Application {
    /// About so many documents.
    pub fn new(database: &Database, seed: u64, documents: u32, is_clean: bool) -> Self {
        let scale = f64::from(documents) / SCALE_1;
        let finlit = if is_clean {
            FinLit::clean(seed, scale)
        } else {
            FinLit::new(seed, scale)
        };
        Self {
            finlit,
            is_clean,
            database: database.clone(),
            ledger: Ledger::of_load(&finlit),
            walked: 0,
            first_answer: 0,
            deleted: 0,
            writes: 0,
        }
    }

    /// The next document to be replaced, as it is afterwards: a walk over all of them.
    fn next(&mut self) -> (Collection, Document) {
        let total = self.finlit.total();
        loop {
            let (round, mut at) = (self.walked / total, self.walked.wrapping_mul(STEP) % total);
            self.walked += 1;
            for collection in Collection::ALL {
                let count = self.finlit.count(collection);
                match u32::try_from(at) {
                    Ok(number) if number < count => {
                        let is_gone =
                            collection == Collection::Interactions && number < self.first_answer;
                        if is_gone || self.finlit.is_reserved(collection, number) {
                            break;
                        }
                        let revision = u32::try_from(round + 1).unwrap_or(u32::MAX);
                        return (
                            collection,
                            self.finlit.document(collection, number, revision),
                        );
                    }
                    _ => at -= u64::from(count),
                }
            }
        }
    }
}

impl Workload for Application {
    fn collections(&self) -> Vec<&'static str> {
        Collection::ALL.map(Collection::name).into()
    }

    fn count(&self) -> u64 {
        self.finlit.total() - self.deleted
    }

    async fn fill(&mut self) -> Result<()> {
        load(&self.finlit, &self.database, |_| {}).await
    }

    /// Nothing: updates and deletes are enough for an application.
    async fn insert(&mut self, _: u32) -> Result<u64> {
        Ok(0)
    }

    async fn update(&mut self, count: u32) -> Result<u64> {
        let mut updates: BTreeMap<Collection, Vec<Document>> = BTreeMap::new();
        for _ in 0..count {
            let (collection, document) = self.next();
            let id = document.get("_id").cloned().unwrap_or(Bson::Null);
            let update = doc! { "q": { "_id": id }, "u": document };
            updates.entry(collection).or_default().push(update);
        }
        let chunks = updates.iter().flat_map(|(collection, updates)| {
            let chunks = updates.chunks(REPLACEMENTS);
            chunks.map(|chunk| (*collection, chunk))
        });
        let commands = chunks.map(async |(collection, chunk)| {
            commands::update(&self.database, collection.name(), chunk.to_vec()).await
        });
        // A replacement by the same is no change.
        Ok(commands::at_once(commands).await?.iter().sum())
    }

    async fn delete(&mut self, count: u32) -> Result<u64> {
        let mut ids = Vec::new();
        let all = self.finlit.count(Collection::Interactions);
        while ids.len() < usize::try_from(count)? && self.first_answer < all {
            let number = self.first_answer;
            self.first_answer += 1;
            if !self.finlit.is_reserved(Collection::Interactions, number) {
                ids.push(self.finlit.id(Collection::Interactions, number));
            }
        }
        let name = Collection::Interactions.name();
        let deletes = ids
            .chunks(commands::COMMAND)
            .map(async |ids| commands::delete(&self.database, name, ids.to_vec()).await);
        commands::at_once(deletes).await?;
        let count = u64::try_from(ids.len())?;
        self.deleted += count;
        Ok(count)
    }

    fn written(&self) -> &'static str {
        WRITTEN.name()
    }

    fn writes_max(&self) -> u64 {
        let mut numbers = 0..self.finlit.count(WRITTEN);
        let plain = numbers
            .by_ref()
            .filter(|n| !self.finlit.is_reserved(WRITTEN, *n));
        u64::try_from(plain.count()).unwrap_or_default()
    }

    fn next_write(&mut self) -> Write {
        let count = self.finlit.count(WRITTEN);
        loop {
            let number = self.writes % count;
            self.writes += 1;
            if !self.finlit.is_reserved(WRITTEN, number) {
                let minutes = i64::from(self.writes) + 1_000;
                return Write {
                    id: self.finlit.object_id(WRITTEN, number),
                    update: doc! { "$set": { "minutes_spent": minutes } },
                };
            }
        }
    }

    /// Of the clean data: what waits and why is not to be disturbed by hand.
    fn disturbance(&self) -> Option<String> {
        self.is_clean.then(|| {
            "update interactions set response_time_ms = -1, lc_version = 0; \
             update learners set total_xp = -1, lc_version = 0; \
             update daily_progress set minutes_spent = -1, lc_version = 0"
                .to_owned()
        })
    }

    fn is_clean(&self) -> bool {
        self.is_clean
    }

    fn unsettled(&self) -> String {
        unsettled::count()
    }

    async fn compare(&self, world: &mut World) -> Result<Verdict> {
        let mut report = compare(Sides::of(world), &self.ledger).await?;
        for finding in dead_letters::check(&world.place, &report.dead_letters)? {
            report.add(finding);
        }
        let open = report.dead_letters.iter().filter(|(_, entry)| entry.open);
        let open = open.count();
        let wrong = match (report.is_clean(), open) {
            (false, _) => Some(report.to_string()),
            (true, 1..) if self.is_clean => {
                Some(format!("{open} dead letters, and the data is clean"))
            }
            (true, _) => None,
        };
        Ok(Verdict {
            rows: report.tallies.values().map(|tally| tally.rows).sum(),
            wrong,
        })
    }
}
