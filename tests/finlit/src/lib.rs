//! FinLit, a learning platform: the application that the demo and the suites migrate.
//!
//! Nine collections, as `schemas/examples/finlit/mapping.yaml` maps them, with the edge cases that eight
//! years of clients leave behind. A document is a function of (seed, collection, number,
//! revision), so whoever wants one again makes it again: the loader, the traffic, the ledger.
//!
//! - [`generate`]: clean documents; [`edge_cases`]: what is wrong with some, and what must become of it.
//! - [`load`]: into MongoDB; [`traffic`]: the application goes on writing.
//! - [`ledger`]: every document whose fate was decided by whoever made it.
//! - [`expected`]: the rows of a document, by code that shares nothing with the consumer's.
//! - [`compare`]: every document with every row, in both directions; [`unsettled`]: whether it is
//!   time for that.

pub mod generate;
pub mod edge_cases;
pub mod ledger;
pub mod load;
pub mod traffic;
pub mod expected;
pub mod compare;
pub mod unsettled;

use bson::oid::ObjectId;
use edge_cases::EdgeCase;
use leafcutter_harness::{dice::Dice, failure::Result, stack::Stack, world::World};

/// FinLit's mapping, as it is in `schemas/examples`.
pub const MAPPING: &str = include_str!("../../../schemas/examples/finlit/mapping.yaml");

/// A world for FinLit on the servers of the environment. `name` is the test's own.
///
/// # Errors
/// When the environment names no servers, or one of them fails.
pub async fn world(name: &str) -> Result<World> {
    world_on(Stack::from_env()?, name).await
}

/// A world for FinLit on other servers.
///
/// # Errors
/// When one of them fails.
pub async fn world_on(servers: Stack, name: &str) -> Result<World> {
    World::new(MAPPING, servers, name).await
}

/// A collection, and the table of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Collection {
    /// People.
    Learners,
    /// What can be learnt, as a tree.
    KnowledgeComponents,
    /// Questions and films, with two child tables.
    LearningItems,
    /// Which item teaches what.
    ItemKcMappings,
    /// How well a learner knows something.
    LearnerSkillStates,
    /// Every answer ever given, with `_id`s of every kind.
    Interactions,
    /// Badges.
    Achievements,
    /// Who has which badge.
    LearnerAchievements,
    /// Minutes a day.
    DailyProgress,
}

impl Collection {
    /// All of them, parents before children.
    pub const ALL: [Self; 9] = [
        Self::Learners,
        Self::KnowledgeComponents,
        Self::LearningItems,
        Self::Achievements,
        Self::ItemKcMappings,
        Self::LearnerSkillStates,
        Self::Interactions,
        Self::LearnerAchievements,
        Self::DailyProgress,
    ];

    /// The collection's name and its table's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Learners => "learners",
            Self::KnowledgeComponents => "knowledge_components",
            Self::LearningItems => "learning_items",
            Self::ItemKcMappings => "item_kc_mappings",
            Self::LearnerSkillStates => "learner_skill_states",
            Self::Interactions => "interactions",
            Self::Achievements => "achievements",
            Self::LearnerAchievements => "learner_achievements",
            Self::DailyProgress => "daily_progress",
        }
    }

    /// The collection of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|collection| collection.name() == name)
    }

    /// How many documents at scale 1, and at least: below that not every kind of edge case has room.
    fn documents(self) -> (u32, u32) {
        match self {
            Self::Learners => (20_000, 160),
            Self::KnowledgeComponents => (2_000, 80),
            Self::LearningItems => (10_000, 120),
            Self::ItemKcMappings => (15_000, 80),
            Self::LearnerSkillStates => (40_000, 80),
            Self::Interactions => (80_000, 160),
            Self::Achievements => (100, 40),
            Self::LearnerAchievements => (15_000, 60),
            Self::DailyProgress => (18_000, 60),
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::Learners => 1,
            Self::KnowledgeComponents => 2,
            Self::LearningItems => 3,
            Self::ItemKcMappings => 4,
            Self::LearnerSkillStates => 5,
            Self::Interactions => 6,
            Self::Achievements => 7,
            Self::LearnerAchievements => 8,
            Self::DailyProgress => 9,
        }
    }
}

/// The item whose content is 5 MB.
pub const LARGE_ITEM: u32 = 0;

/// Of this many parents one may be deleted while its children stay.
const EXPENDABLE: u32 = 16;

/// One set of data: everything about it follows from these two numbers, and from whether it is clean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinLit {
    seed: u64,
    scale: f64,
    is_clean: bool,
}

impl FinLit {
    /// The data of this seed; at scale 1 about 200,000 documents.
    pub fn new(seed: u64, scale: f64) -> Self {
        Self {
            seed,
            scale,
            is_clean: false,
        }
    }

    /// The same without edge cases: every document has its row.
    pub fn clean(seed: u64, scale: f64) -> Self {
        Self {
            is_clean: true,
            ..Self::new(seed, scale)
        }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many documents a collection has before the traffic starts. They are numbered from 0.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded, and a scale that overflows is caught by the cast's saturation"
    )]
    pub fn count(&self, collection: Collection) -> u32 {
        let (documents, least) = collection.documents();
        let scaled = (f64::from(documents) * self.scale).round() as u32;
        scaled.max(least)
    }

    /// How many documents there are in all.
    pub fn total(&self) -> u64 {
        Collection::ALL
            .into_iter()
            .map(|c| u64::from(self.count(c)))
            .sum()
    }

    /// The dice for one document's content.
    fn dice(&self, collection: Collection, n: u32, revision: u32) -> Dice {
        Dice::new(&[
            self.seed,
            collection.tag().into(),
            n.into(),
            revision.into(),
        ])
    }

    /// An ObjectId as a driver would have made it, rising with `n`.
    pub fn object_id(&self, collection: Collection, n: u32) -> ObjectId {
        const YEAR_2020: u32 = 1_577_836_800;
        let mut bytes = [0u8; 12];
        bytes[..4].copy_from_slice(&YEAR_2020.wrapping_add(n.wrapping_mul(61)).to_be_bytes());
        bytes[4] = collection.tag();
        bytes[5..8].copy_from_slice(&self.seed.to_be_bytes()[5..8]);
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        ObjectId::from_bytes(bytes)
    }

    /// What is wrong with a document, where something is.
    pub fn edge_case(&self, collection: Collection, n: u32) -> Option<&'static EdgeCase> {
        let first = self.first_plain(collection);
        let kinds = edge_cases::of(collection);
        if self.is_clean || n >= self.count(collection) || n < first {
            return None;
        }
        let kinds_len = u32::try_from(kinds.len()).unwrap_or(1);
        let room = self.count(collection) - first;
        let stride = (room / (kinds_len * 3)).clamp(4, 400);
        let place = n - first;
        if place % stride != 1 || n + 1 >= self.count(collection) {
            return None;
        }
        kinds.get(usize::try_from(place / stride % kinds_len).ok()?)
    }

    /// What is wrong with the document before, where that concerns this one.
    pub fn partner_edge_case(&self, collection: Collection, n: u32) -> Option<&'static EdgeCase> {
        let before = n.checked_sub(1)?;
        self.edge_case(collection, before)
            .filter(|edge_case| edge_case.fate.has_partner())
    }

    /// Whether the fate of a document is in the ledger, or it has a part of its own in the play:
    /// the traffic leaves it alone.
    pub fn is_reserved(&self, collection: Collection, n: u32) -> bool {
        n < self.first_plain(collection)
            || self.edge_case(collection, n).is_some()
            || self.partner_edge_case(collection, n).is_some()
    }

    /// Whether the traffic may delete this parent while documents still point to it.
    pub fn is_expendable(&self, collection: Collection, n: u32) -> bool {
        let parent = matches!(collection, Collection::Learners | Collection::LearningItems);
        parent && n % EXPENDABLE == EXPENDABLE - 1 && !self.is_reserved(collection, n)
    }

    /// The first documents of some collections have special parts: the chain of knowledge
    /// components and the large item.
    fn first_plain(&self, collection: Collection) -> u32 {
        match collection {
            Collection::KnowledgeComponents => self.chain(),
            Collection::LearningItems => LARGE_ITEM + 1,
            _ => 0,
        }
    }

    /// How long the chain of parents is with which the knowledge components begin.
    pub fn chain(&self) -> u32 {
        (self.count(Collection::KnowledgeComponents) / 4).min(100)
    }

    /// A document for another one to point to. It is placed, but for the learner that loses its
    /// address to another: such a one takes its children along.
    pub fn parent(&self, collection: Collection, dice: &mut Dice) -> u32 {
        self.find(collection, dice, |n| {
            let may_lose = self.partner_edge_case(collection, n).is_some();
            let is_placed = self
                .edge_case(collection, n)
                .is_none_or(|edge_case| edge_case.fate.is_placed());
            is_placed && (collection == Collection::Learners || !may_lose)
        })
    }

    /// The same, and it stays where it is, whatever the traffic does.
    pub fn anchor(&self, collection: Collection, dice: &mut Dice) -> u32 {
        self.find(collection, dice, |n| {
            !self.is_reserved(collection, n) && !self.is_expendable(collection, n)
        })
    }

    /// A document for the traffic to change.
    pub fn plain(&self, collection: Collection, dice: &mut Dice) -> u32 {
        self.anchor(collection, dice)
    }

    /// The first document from a random one on that will do. There always is one close by.
    fn find(&self, collection: Collection, dice: &mut Dice, will_do: impl Fn(u32) -> bool) -> u32 {
        let count = self.count(collection);
        let start = dice.below_u32(count);
        (0..count)
            .map(|step| (start + step) % count)
            .find(|&n| will_do(n))
            .unwrap_or(start)
    }
}

#[cfg(test)]
mod tests {
    use super::{Collection, FinLit};
    use std::collections::BTreeSet;

    #[test]
    fn the_same_seed_gives_the_same_documents() {
        let (one, same, other) = (
            FinLit::new(1, 0.02),
            FinLit::new(1, 0.02),
            FinLit::new(2, 0.02),
        );
        for collection in Collection::ALL {
            for n in [3, 17] {
                let document = one.document(collection, n, 0);
                assert_eq!(document, same.document(collection, n, 0));
                assert_ne!(document, other.document(collection, n, 0));
            }
        }
    }

    #[test]
    fn every_edge_case_and_kind_of_id_is_there_at_every_scale() {
        for scale in [0.01, 0.02, 1.0] {
            let finlit = FinLit::new(7, scale);
            for collection in Collection::ALL {
                let found: BTreeSet<_> = (0..finlit.count(collection))
                    .filter_map(|n| {
                        finlit
                            .edge_case(collection, n)
                            .map(|edge_case| edge_case.what)
                    })
                    .collect();
                let all: BTreeSet<_> = super::edge_cases::of(collection)
                    .iter()
                    .map(|d| d.what)
                    .collect();
                assert_eq!(found, all, "{} at {scale}", collection.name());
            }
        }
        assert!((190_000..210_000).contains(&FinLit::new(7, 1.0).total()));
    }

    #[test]
    fn clean_data_has_no_edge_case_and_is_as_much() {
        let (clean, with) = (FinLit::clean(7, 0.02), FinLit::new(7, 0.02));
        for collection in Collection::ALL {
            let mut all = 0..clean.count(collection);
            assert!(all.all(|n| clean.edge_case(collection, n).is_none()));
        }
        assert_eq!(clean.total(), with.total());
    }
}
