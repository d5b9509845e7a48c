//! Which documents of a collection there are in MongoDB, at which revision, and the writes that change them.
//!
//! Commands under way at once never touch the same document: which one comes next is a walk that
//! returns only after all the others, so the outcome does not hang on their order.

use super::{
    commands,
    verify::{self, Table},
    workload::{Verdict, Workload, Write},
};
use bson::{Document, RawDocumentBuf, doc, oid::ObjectId};
use leafcutter_harness::{failure::Result, world::World};
use mongodb::Database;

/// The step of the walk: a prime above any population, so that it meets every document.
pub const STEP: u64 = 4_294_967_291;

/// Documents of one collection, each a function of its number and its revision, and the rows that they must
/// become, made from the same numbers by nothing of the consumer's.
pub trait Documents: std::fmt::Debug {
    /// The mapping of the collection and nothing else.
    ///
    /// # Errors
    /// When it is made of a file that has another form now.
    fn mapping(&self) -> Result<String>;

    /// The collection.
    fn collection(&self) -> &'static str;

    /// Bytes of a document.
    fn bytes(&self) -> usize;

    /// The tables, each with a row of it as one text.
    fn tables(&self) -> Vec<Table>;

    /// A document whose `_id` is [`id`].
    ///
    /// # Errors
    /// When it cannot be written as BSON, which the bounds of its fields exclude.
    fn document(&self, number: u32, revision: u32) -> bson::error::Result<RawDocumentBuf>;

    /// The update that makes any revision of a document this one.
    fn update(&self, number: u32, revision: u32) -> Document;

    /// The rows of a document, each with the place of its table among [`Self::tables`].
    fn rows(&self, number: u32, revision: u32, see: &mut dyn FnMut(usize, &str));

    /// SQL that makes rows differ from their records, and older than them.
    fn disturbance(&self) -> &'static str;
}

/// The `_id` of a document: ascending, as a driver would make them.
pub fn id(number: u32) -> ObjectId {
    let mut bytes = [0x66, 0x5a, 0x10, 0x20, 1, 2, 3, 4, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// The documents, by number.
#[derive(Debug)]
pub struct Population {
    database: Database,
    documents: Box<dyn Documents>,
    /// How many the snapshot carries.
    at_first: u32,
    /// Nothing where a document was deleted.
    revisions: Vec<Option<u32>>,
    /// Documents below this were deleted.
    first: usize,
    walked: u64,
}

impl Population {
    /// Nothing yet; `at_first` documents after it was filled.
    pub fn new(database: &Database, documents: Box<dyn Documents>, at_first: u32) -> Self {
        Self {
            database: database.clone(),
            documents,
            at_first,
            revisions: Vec::new(),
            first: 0,
            walked: 0,
        }
    }

    fn alive(&self) -> usize {
        self.revisions.len() - self.first
    }

    /// The next document to be changed, and its revision afterwards; who asks writes it.
    fn next(&mut self) -> (u32, u32) {
        let alive = u64::try_from(self.alive()).unwrap_or(u64::MAX).max(1);
        let at = self.walked.wrapping_mul(STEP) % alive;
        self.walked += 1;
        let index = self.first + usize::try_from(at).unwrap_or_default();
        let revision = self.revisions.get_mut(index).and_then(Option::as_mut);
        let revision = revision.map_or(0, |revision| {
            *revision += 1;
            *revision
        });
        (u32::try_from(index).unwrap_or_default(), revision)
    }
}

impl Workload for Population {
    fn collections(&self) -> Vec<&'static str> {
        vec![self.documents.collection()]
    }

    fn count(&self) -> u64 {
        u64::try_from(self.alive()).unwrap_or(u64::MAX)
    }

    async fn fill(&mut self) -> Result<()> {
        self.insert(self.at_first).await.map(drop)
    }

    async fn insert(&mut self, count: u32) -> Result<u64> {
        let from = u32::try_from(self.revisions.len())?;
        let numbers: Vec<u32> = (from..from + count).collect();
        let collection = self.documents.collection();
        let size = commands::size(self.documents.bytes());
        let inserts = numbers.chunks(size).map(async |numbers| {
            let documents: bson::error::Result<Vec<_>> = numbers
                .iter()
                .map(|&number| self.documents.document(number, 0))
                .collect();
            commands::insert(&self.database, collection, documents?).await
        });
        commands::at_once(inserts).await?;
        self.revisions
            .resize(self.revisions.len() + numbers.len(), Some(0));
        Ok(count.into())
    }

    async fn update(&mut self, count: u32) -> Result<u64> {
        let next: Vec<_> = (0..count).map(|_| self.next()).collect();
        let collection = self.documents.collection();
        let updates = next.chunks(commands::COMMAND).map(async |next| {
            let updates = next.iter().map(|&(number, revision)| {
                let update = self.documents.update(number, revision);
                doc! { "q": { "_id": id(number) }, "u": update }
            });
            commands::update(&self.database, collection, updates.collect()).await
        });
        commands::at_once(updates).await?;
        // Each of them has another revision, so each of them is a change.
        Ok(count.into())
    }

    async fn delete(&mut self, count: u32) -> Result<u64> {
        let end = (self.first + usize::try_from(count)?).min(self.revisions.len());
        let numbers: Vec<u32> = (u32::try_from(self.first)?..u32::try_from(end)?).collect();
        let collection = self.documents.collection();
        let deletes = numbers.chunks(commands::COMMAND).map(async |numbers| {
            let ids = numbers.iter().map(|&number| id(number).into()).collect();
            commands::delete(&self.database, collection, ids).await
        });
        commands::at_once(deletes).await?;
        self.revisions[self.first..end].fill(None);
        self.first = end;
        Ok(u64::try_from(numbers.len())?)
    }

    fn written(&self) -> &'static str {
        self.documents.collection()
    }

    fn writes_max(&self) -> u64 {
        self.count()
    }

    fn next_write(&mut self) -> Write {
        let (number, revision) = self.next();
        Write {
            id: id(number),
            update: self.documents.update(number, revision),
        }
    }

    fn disturbance(&self) -> Option<String> {
        Some(self.documents.disturbance().to_owned())
    }

    fn is_clean(&self) -> bool {
        true
    }

    fn unsettled(&self) -> String {
        let count = "select count(*) from leafcutter.deferred_constraints";
        format!("{count} where $1::timestamptz is not null")
    }

    async fn compare(&self, world: &mut World) -> Result<Verdict> {
        let tables = self.documents.tables();
        let alive = (0_u32..).zip(&self.revisions);
        let alive = alive.filter_map(|(number, revision)| revision.map(|r| (number, r)));
        let expected = verify::expected(&*self.documents, tables.len(), alive);
        let found = verify::found(&world.target, &tables).await?;
        Ok(verify::verdict(&tables, &expected, &found))
    }
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn ids_rise_with_the_numbers() {
        assert!((0..1_000).all(|number| id(number) < id(number + 1)));
        assert_eq!(id(258).to_hex(), "665a10200102030400000102");
    }
}
