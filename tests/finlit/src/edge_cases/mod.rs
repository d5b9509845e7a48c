//! What is wrong with some documents, and what must become of each.
//!
//! Each kind is one line of a table: how a clean document is corrupted, and its fate, written down by
//! hand from the mapping file. The comparison holds the fate against the servers without asking
//! any conversion code, neither the consumer's nor that of [`super::expected`].

mod people;
mod content;
mod activity;

use super::{Collection, FinLit};
use bson::{Bson, Document};

/// One kind of edge case.
pub struct EdgeCase {
    /// What it is, for a person.
    pub what: &'static str,
    /// Puts it on a clean document.
    pub corrupt: fn(&FinLit, u32, &mut Document),
    /// What the next document needs for it, where it takes two.
    pub corrupt_partner: fn(&FinLit, u32, &mut Document),
    /// What must become of the document.
    pub fate: Fate,
}

/// What must become of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in its row, and these columns (or expressions) read so as text.
    Placed(&'static [(&'static str, Option<&'static str>)]),
    /// It is in the dead letters: reason, table, column.
    Refused(&'static str, &'static str, &'static str),
    /// It is in the dead letters, because the parent in this column does not exist.
    Orphan(&'static str),
    /// It shares a unique value with the next document: one is placed, the other a dead letter.
    OneOfTwo,
    /// It and the next document point to each other: both are placed, or both are orphans.
    Circle,
    /// It was deleted: no row, no open dead letter.
    Gone,
}

impl Fate {
    /// Whether the next document is part of it.
    pub fn has_partner(self) -> bool {
        matches!(self, Self::OneOfTwo | Self::Circle)
    }

    /// Whether the document is sure to have its row.
    pub fn is_placed(self) -> bool {
        matches!(self, Self::Placed(_))
    }
}

/// The kinds of edge cases in a collection.
pub fn of(collection: Collection) -> &'static [EdgeCase] {
    match collection {
        Collection::Learners => people::LEARNERS,
        Collection::KnowledgeComponents => content::KNOWLEDGE_COMPONENTS,
        Collection::LearningItems => content::LEARNING_ITEMS,
        Collection::ItemKcMappings => content::ITEM_KC_MAPPINGS,
        Collection::LearnerSkillStates => activity::LEARNER_SKILL_STATES,
        Collection::Interactions => activity::INTERACTIONS,
        Collection::Achievements => people::ACHIEVEMENTS,
        Collection::LearnerAchievements => people::LEARNER_ACHIEVEMENTS,
        Collection::DailyProgress => people::DAILY_PROGRESS,
    }
}

/// A kind that concerns one document.
const fn edge_case(
    what: &'static str,
    corrupt: fn(&FinLit, u32, &mut Document),
    fate: Fate,
) -> EdgeCase {
    EdgeCase {
        what,
        corrupt,
        corrupt_partner: |_, _, _| {},
        fate,
    }
}

/// Puts a value at a path of at most two names.
fn set(document: &mut Document, path: &str, value: impl Into<Bson>) {
    match path.split_once('.') {
        None => {
            document.insert(path, value);
        }
        Some((outer, inner)) => {
            if let Ok(nested) = document.get_document_mut(outer) {
                nested.insert(inner, value);
            }
        }
    }
}

impl FinLit {
    /// Points a document to parents that stay, so that nothing else decides its fate.
    pub(super) fn moor(&self, collection: Collection, n: u32, document: &mut Document) {
        let mut dice = self.dice(collection, n, u32::MAX - 1);
        for (name, parents) in [
            ("learner_id", Collection::Learners),
            ("item_id", Collection::LearningItems),
            ("kc_id", Collection::KnowledgeComponents),
            ("achievement_id", Collection::Achievements),
        ] {
            if document.contains_key(name) {
                let parent = self.anchor(parents, &mut dice);
                document.insert(name, self.id(parents, parent));
            }
        }
    }

    /// The number of the parent that an orphan points to: higher than any that is made, until the
    /// traffic makes it up.
    pub(super) fn nobody(&self, children: Collection, n: u32) -> u32 {
        0x7000_0000 + (u32::from(children.tag()) << 24) + n
    }

    /// Points a document to a parent that nobody knows.
    fn orphan(&self, children: Collection, n: u32, document: &mut Document, parents: Collection) {
        let column = match parents {
            Collection::Learners => "learner_id",
            Collection::LearningItems => "item_id",
            Collection::Achievements => "achievement_id",
            _ if children == Collection::KnowledgeComponents => "parent_kc_id",
            _ => "kc_id",
        };
        document.insert(column, self.object_id(parents, self.nobody(children, n)));
    }
}

/// A date, by its milliseconds since 1970.
fn date(millis: i64) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(millis))
}

/// Before PostgreSQL's first timestamp, which is in 4714 BC.
const BEFORE_4714_BC: i64 = -210_866_803_200_001;
/// The ides of March of 44 BC, at noon.
const IDES_OF_MARCH: i64 = -63_517_780_800_000;
/// 300000-06-15: a `date`, but after the last `timestamp`.
const YEAR_300000: i64 = 9_404_932_723_200_000;
/// Later than the last `date`, in 5874897.
const AFTER_5874897: i64 = 185_331_706_992_000_000 + 86_400_000;
