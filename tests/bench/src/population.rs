//! Which learners there are in MongoDB, at which revision, and the writes that change them.
//!
//! Writes are sent in commands of many, some commands at a time. Commands under way at once never
//! touch the same learner: which one comes next is a walk that returns only after all the others,
//! so the outcome does not hang on their order.

use super::learner::{BYTES, LARGE_BYTES, Learner, id};
use bson::{Document, RawDocumentBuf, doc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use leafcutter_harness::failure::{Attempt, Failure, Result};
use mongodb::{Collection, Database};

/// Writes in one command.
const COMMAND: usize = 1_000;
/// Bytes of documents in one command, about.
const COMMAND_BYTES: usize = 4 << 20;
/// Commands under way at once.
const AT_ONCE: usize = 4;
/// The step of the walk: a prime above any population, so that it meets every learner.
const STEP: u64 = 4_294_967_291;
/// The collection.
pub const COLLECTION: &str = "learners";

/// The learners, by number.
#[derive(Debug)]
pub struct Population {
    database: Database,
    seed: u64,
    large: bool,
    /// Nothing where a learner was deleted.
    revisions: Vec<Option<u32>>,
    /// Learners below this were deleted.
    first: usize,
    walked: u64,
}

impl Population {
    /// Nobody yet.
    pub fn new(database: &Database, seed: u64, large: bool) -> Self {
        Self {
            database: database.clone(),
            seed,
            large,
            revisions: Vec::new(),
            first: 0,
            walked: 0,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.revisions.len() - self.first
    }

    /// Bytes of one of their documents.
    pub fn document_bytes(&self) -> usize {
        if self.large { LARGE_BYTES } else { BYTES }
    }

    /// Every one of them, as it has to be now.
    pub fn learners(&self) -> impl Iterator<Item = Learner> + '_ {
        let alive = (0_u32..).zip(&self.revisions);
        alive.filter_map(|(number, revision)| {
            revision.map(|revision| Learner::new(self.seed, number, revision, self.large))
        })
    }

    /// The collection.
    pub fn collection(&self) -> Collection<RawDocumentBuf> {
        self.database.collection(COLLECTION)
    }

    /// Inserts so many new ones.
    ///
    /// # Errors
    /// When MongoDB refuses one.
    pub async fn insert(&mut self, count: u32) -> Result<()> {
        let from = u32::try_from(self.revisions.len())?;
        let numbers: Vec<u32> = (from..from + count).collect();
        let size = if self.large {
            COMMAND_BYTES / LARGE_BYTES
        } else {
            COMMAND
        };
        let commands = numbers.chunks(size).map(async |numbers| {
            let documents: bson::error::Result<Vec<_>> = numbers
                .iter()
                .map(|&number| Learner::new(self.seed, number, 0, self.large).document())
                .collect();
            let collection = self.collection();
            let inserted = collection.insert_many(documents?).ordered(false).await;
            inserted.attempt("insert learners").map(|_| ())
        });
        at_once(commands).await?;
        self.revisions
            .resize(self.revisions.len() + numbers.len(), Some(0));
        Ok(())
    }

    /// Updates so many, one after the other, beginning anew after the last.
    ///
    /// # Errors
    /// When MongoDB refuses one.
    pub async fn update(&mut self, count: u32) -> Result<()> {
        let updates: Vec<_> = (0..count).map(|_| self.next_update()).collect();
        let commands = updates.chunks(COMMAND).map(async |updates| {
            let updates: Vec<Document> = updates
                .iter()
                .map(
                    |(number, learner)| doc! { "q": { "_id": id(*number) }, "u": learner.update() },
                )
                .collect();
            let count = updates.len();
            self.command(
                doc! { "update": COLLECTION, "updates": updates, "ordered": false },
                count,
            )
            .await
        });
        at_once(commands).await
    }

    /// Deletes so many, the oldest first.
    ///
    /// # Errors
    /// When MongoDB refuses one.
    pub async fn delete(&mut self, count: u32) -> Result<()> {
        let end = (self.first + usize::try_from(count)?).min(self.revisions.len());
        let numbers: Vec<u32> = (u32::try_from(self.first)?..u32::try_from(end)?).collect();
        let commands = numbers.chunks(COMMAND).map(async |numbers| {
            let deletes: Vec<Document> = numbers
                .iter()
                .map(|&number| doc! { "q": { "_id": id(number) }, "limit": 1 })
                .collect();
            self.command(
                doc! { "delete": COLLECTION, "deletes": deletes, "ordered": false },
                numbers.len(),
            )
            .await
        });
        at_once(commands).await?;
        self.revisions[self.first..end].fill(None);
        self.first = end;
        Ok(())
    }

    /// The next learner to be updated, as it is to be afterwards; who asks writes it.
    pub fn next_update(&mut self) -> (u32, Learner) {
        let alive = u64::try_from(self.count()).unwrap_or(u64::MAX).max(1);
        let at = self.walked.wrapping_mul(STEP) % alive;
        self.walked += 1;
        let index = self.first + usize::try_from(at).unwrap_or_default();
        let number = u32::try_from(index).unwrap_or_default();
        let revision = self.revisions.get_mut(index).and_then(Option::as_mut);
        let revision = revision.map_or(0, |revision| {
            *revision += 1;
            *revision
        });
        (
            number,
            Learner::new(self.seed, number, revision, self.large),
        )
    }

    async fn command(&self, command: Document, count: usize) -> Result<()> {
        let reply = self
            .database
            .run_command(command)
            .await
            .attempt("write to MongoDB")?;
        let done = reply
            .get_i32("n")
            .ok()
            .and_then(|n| usize::try_from(n).ok());
        if done == Some(count) && !reply.contains_key("writeErrors") {
            return Ok(());
        }
        Err(Failure::new(format!(
            "MongoDB did {done:?} of {count} writes"
        )))
    }
}

async fn at_once(commands: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    stream::iter(commands)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
