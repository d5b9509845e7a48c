//! The workloads: data of one kind each, and how much of it is carried.
//!
//! Each has a file of its own with its documents, their updates, its mapping, and the rows that the documents
//! must become. [`learners`], [`orders`] and [`wide`] are numbered documents of one collection
//! ([`Population`]), [`finlit`] is a whole application. The phases know them by [`Workload`].
//!
//! [`Population`]: super::population::Population

pub mod finlit;
pub mod learners;
pub mod orders;
pub mod wide;

use super::args::Settings;
use bson::{Document, oid::ObjectId};
use clap::ValueEnum;
use leafcutter_harness::{failure::Result, world::World};

/// What the phases ask of a workload.
pub trait Workload {
    /// The collections, each with a topic.
    fn collections(&self) -> Vec<&'static str>;

    /// How many documents there are.
    fn count(&self) -> u64;

    /// Fills MongoDB for the snapshot.
    ///
    /// # Errors
    /// When MongoDB refuses a document.
    fn fill(&mut self) -> impl Future<Output = Result<()>>;

    /// Inserts so many new documents; gives how many there were.
    ///
    /// # Errors
    /// When MongoDB refuses one.
    fn insert(&mut self, count: u32) -> impl Future<Output = Result<u64>>;

    /// Changes so many documents, one after the other, beginning anew after the last; gives how many
    /// changed.
    ///
    /// # Errors
    /// When MongoDB refuses one.
    fn update(&mut self, count: u32) -> impl Future<Output = Result<u64>>;

    /// Deletes so many documents, the oldest first; gives how many there were.
    ///
    /// # Errors
    /// When MongoDB refuses one.
    fn delete(&mut self, count: u32) -> impl Future<Output = Result<u64>>;

    /// The collection of [`Self::next_write`].
    fn written(&self) -> &'static str;

    /// How many documents single writes can change before one of them comes again.
    fn writes_max(&self) -> u64;

    /// A write to one document of [`Self::written`], which whoever asks has to send.
    fn next_write(&mut self) -> Write;

    /// SQL that makes rows differ from what their records say, and older than them, so that a replay writes
    /// them again; none where a replay is not to.
    fn disturbance(&self) -> Option<String>;

    /// Whether every document is in its row, so that a replay finds each one unchanged.
    fn is_clean(&self) -> bool;

    /// A query that counts what is still to be settled when everything is applied (`$1`: since when).
    fn unsettled(&self) -> String;

    /// Compares all rows with what they must be.
    ///
    /// # Errors
    /// When a server fails; what is wrong is in the verdict.
    fn compare(&self, world: &mut World) -> impl Future<Output = Result<Verdict>>;
}

/// A single write.
#[derive(Debug, Clone)]
pub struct Write {
    /// Whose.
    pub id: ObjectId,
    /// What changes.
    pub update: Document,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that were compared.
    pub rows: u64,
    /// What is wrong with them.
    pub wrong: Option<String>,
}

/// A workload that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// 540 bytes and 19 columns, one table
    Learners,
    /// Nine collections of an application with references, clean and with dirt
    Finlit,
    /// 2 KB and two levels of arrays: a row and twelve child rows
    Orders,
    /// 20 KB: 150 columns and the rest as jsonb
    Wide,
}

/// How much of a workload is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Documents of the snapshot.
    pub documents: u32,
    /// Updates of the backlog.
    pub updates: u32,
    /// Inserts of the backlog after it.
    pub inserts: u32,
    /// Deletes of the backlog after that.
    pub deletes: u32,
    /// Writes a second, at each of which the latency is measured.
    pub rates: Vec<u32>,
}

impl Choice {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Learners, Self::Finlit, Self::Orders, Self::Wide];

    /// Documents of the snapshot and updates of the backlog, where nobody says how many: together the
    /// workloads take about six minutes on two processors.
    fn usual(self) -> (u32, u32) {
        match self {
            Self::Learners => (500_000, 200_000),
            Self::Finlit => (60_000, 12_000),
            Self::Orders => (40_000, 16_000),
            Self::Wide => (6_000, 3_000),
        }
    }

    /// Its size by these settings. A number of documents or updates is that of the first workload that is
    /// chosen; the others keep their proportion to it.
    pub fn size(self, settings: &Settings) -> Size {
        let first = settings.workload.first().copied().unwrap_or(self);
        let (first_documents, first_updates) = first.usual();
        let (own_documents, own_updates) = self.usual();
        let scaled = |asked: Option<u32>, first: u32, own: u32| {
            asked.map_or(own, |asked| {
                let scaled = u64::from(asked) * u64::from(own) / u64::from(first);
                u32::try_from(scaled).unwrap_or(u32::MAX)
            })
        };
        let documents = scaled(settings.documents, first_documents, own_documents);
        let updates = scaled(settings.updates, first_updates, own_updates);
        let rates = match (settings.rate, self) {
            (Some(rate), _) => vec![rate],
            (None, Self::Learners) => settings.rates.clone(),
            (None, Self::Finlit | Self::Orders) => vec![500],
            (None, Self::Wide) => vec![200],
        };
        let quarter = updates / 4;
        Size {
            documents,
            updates,
            inserts: if self == Self::Learners { quarter } else { 0 },
            deletes: quarter.min(documents / 2),
            rates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Choice;
    use crate::args::Settings;
    use clap::Parser as _;

    fn size(line: &str, choice: Choice) -> super::Size {
        choice.size(&Settings::try_parse_from(line.split(' ')).unwrap())
    }

    #[test]
    fn learners_have_three_rates_and_the_others_one() {
        assert_eq!(size("b", Choice::Learners).rates, [500, 2_000, 5_000]);
        assert_eq!(size("b", Choice::Orders).rates, [500]);
        assert_eq!(size("b --rate 50", Choice::Learners).rates, [50]);
        assert_eq!(size("b --rate 50", Choice::Wide).rates, [50]);
        assert_eq!(size("b --rates 1,2", Choice::Learners).rates, [1, 2]);
        assert_eq!(size("b --rates 1,2", Choice::Finlit).rates, [500]);
    }

    #[test]
    fn numbers_are_those_of_the_first_workload_and_the_others_keep_their_proportion() {
        let documents = |line, choice| size(line, choice).documents;
        assert_eq!(documents("b --documents 50000", Choice::Learners), 50_000);
        assert_eq!(documents("b --documents 50000", Choice::Wide), 600);
        let orders = "b --workload orders --documents 2000";
        assert_eq!(documents(orders, Choice::Orders), 2_000);
        assert_eq!(size("b --updates 0", Choice::Wide).updates, 0);
        assert_eq!(size("b", Choice::Learners).deletes, 50_000);
    }
}
