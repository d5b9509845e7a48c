//! What is written next. It follows from the seed and from what was planned before, never from the
//! servers or the clock.

use super::Write;
use crate::{
    Collection, FinLit,
    generate::{email, medium},
    ledger::Ledger,
};
use bson::{Bson, Document, doc};
use leafcutter_harness::dice::Dice;
use std::collections::{BTreeMap, HashMap, HashSet};

/// One step: a write, or several in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it is, for a person.
    pub what: &'static str,
    /// One write, or those of a transaction.
    pub writes: Vec<Write>,
}

/// Documents without children, which may come and go.
const LEAVES: [Collection; 5] = [
    Collection::ItemKcMappings,
    Collection::LearnerSkillStates,
    Collection::Interactions,
    Collection::LearnerAchievements,
    Collection::DailyProgress,
];

/// Collections in the proportion in which an application writes to them.
const BUSY: [Collection; 12] = [
    Collection::Learners,
    Collection::Learners,
    Collection::KnowledgeComponents,
    Collection::LearningItems,
    Collection::LearningItems,
    Collection::ItemKcMappings,
    Collection::LearnerSkillStates,
    Collection::LearnerSkillStates,
    Collection::Interactions,
    Collection::Achievements,
    Collection::LearnerAchievements,
    Collection::DailyProgress,
];

/// The plan, step by step.
#[derive(Debug)]
pub struct Plan {
    pub(super) finlit: FinLit,
    pub(super) dice: Dice,
    /// Steps so far.
    pub(super) steps: u64,
    /// Per collection, the number of the next new document.
    new: HashMap<Collection, u32>,
    /// Leaves that are deleted for now.
    pub(super) gone: HashSet<(Collection, u32)>,
    /// Addresses that are not those learners began with.
    pub(super) emails: HashMap<u32, String>,
    /// What is to follow, by the step at which it is due.
    later: BTreeMap<(u64, u64), Step>,
    promises: u64,
    /// Parents whose story was told.
    pub(super) told: HashSet<(Collection, u32)>,
    pub(super) ledger: Ledger,
}

impl Plan {
    /// The plan for this data.
    pub fn new(finlit: FinLit) -> Self {
        let new = Collection::ALL.map(|collection| (collection, finlit.count(collection)));
        Self {
            finlit,
            dice: Dice::new(&[finlit.seed(), u64::MAX]),
            steps: 0,
            new: new.into(),
            gone: HashSet::new(),
            emails: HashMap::new(),
            later: BTreeMap::new(),
            promises: 0,
            told: HashSet::new(),
            ledger: Ledger::default(),
        }
    }

    /// The next step.
    pub fn next_step(&mut self) -> Step {
        self.steps += 1;
        if let Some(due) = self
            .later
            .first_entry()
            .filter(|due| due.key().0 <= self.steps)
        {
            return due.remove();
        }
        match self.dice.below_u32(100) {
            0..40 => self.change(),
            40..52 => self.change_array(),
            52..70 => self.insert(),
            70..80 => self.replace(),
            80..90 => self.delete(),
            90..95 => self.delete_and_return(),
            _ => self.story(),
        }
    }

    /// What was promised for later, when there is no later.
    pub fn remaining(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.later).into_values().collect()
    }

    /// The fates that were decided on the way.
    pub fn into_ledger(self) -> Ledger {
        self.ledger
    }

    /// Promises a step.
    pub(super) fn promise(&mut self, after: u64, step: Step) {
        self.promises += 1;
        self.later.insert((self.steps + after, self.promises), step);
    }

    /// The number of a document that is made now.
    pub(super) fn number(&mut self, collection: Collection) -> u32 {
        let next = self.new.entry(collection).or_default();
        *next += 1;
        *next - 1
    }

    /// A document for later revisions of which there is no limit.
    pub(super) fn revision(&mut self) -> u32 {
        1 + self.dice.below_u32(1_000_000)
    }

    /// A document as it is written now.
    pub(super) fn document(&mut self, collection: Collection, n: u32) -> Document {
        let revision = self.revision();
        let mut document = self.finlit.document(collection, n, revision);
        if collection == Collection::Learners {
            let address = self.emails.get(&n).cloned().unwrap_or_else(|| email(n));
            document.insert("email", address);
        }
        document
    }

    fn leaf(&mut self) -> (Collection, u32) {
        let collection = self.dice.pick(&LEAVES);
        (collection, self.finlit.plain(collection, &mut self.dice))
    }

    fn change(&mut self) -> Step {
        let collection = self.dice.pick(&BUSY);
        let n = self.finlit.plain(collection, &mut self.dice);
        let id = self.finlit.id(collection, n);
        let fraction = self.dice.fraction();
        let text = format!("changed at step {}", self.steps);
        let number = self.dice.int(50);
        let change = match collection {
            Collection::Learners => match self.dice.below(4) {
                0 => doc! { "$inc": { "gamification.total_xp": number } },
                1 => {
                    doc! { "$set": { "display_name": text }, "$unset": { "profile.visa_type": "" } }
                }
                2 => {
                    doc! { "$set": { "profile.financial_goals": [text], "profile.has_ssn": true } }
                }
                _ => doc! { "$currentDate": { "last_active_at": true } },
            },
            Collection::KnowledgeComponents => {
                doc! { "$set": { "description": text, "difficulty": fraction } }
            }
            Collection::LearningItems => match self.dice.below(8) {
                // Every now and then the large one.
                0 => {
                    let large = self.finlit.id(collection, crate::LARGE_ITEM);
                    return Step {
                        what: "change a large document",
                        writes: vec![Write::update(
                            collection,
                            large,
                            doc! { "$set": { "difficulty": fraction } },
                        )],
                    };
                }
                1 => {
                    doc! { "$set": { "content.question.text": text }, "$unset": { "content.weight": "" } }
                }
                _ => doc! { "$set": { "title": text, "discrimination": fraction } },
            },
            Collection::ItemKcMappings => doc! { "$set": { "weight": fraction } },
            Collection::LearnerSkillStates => {
                doc! { "$set": { "p_mastery": fraction }, "$inc": { "stability": 0.1 } }
            }
            Collection::Interactions => match self.dice.below(3) {
                0 => doc! { "$set": { "response": { "text": text } } },
                1 => doc! { "$unset": { "session_id": "" }, "$set": { "score": number } },
                _ => {
                    doc! { "$set": { "score": fraction }, "$rename": { "is_correct": "was_correct" } }
                }
            },
            Collection::Achievements => doc! { "$set": { "title": text, "xp_reward": number } },
            Collection::LearnerAchievements => doc! { "$set": { "progress": fraction } },
            Collection::DailyProgress => {
                doc! { "$set": { "minutes_spent": number }, "$unset": { "goal_met": "" } }
            }
        };
        Step {
            what: "update",
            writes: vec![Write::update(collection, id, change)],
        }
    }

    fn change_array(&mut self) -> Step {
        let collection = Collection::LearningItems;
        let n = self.finlit.plain(collection, &mut self.dice);
        let id = self.finlit.id(collection, n);
        let index = self.dice.below(9) + 10;
        let new = medium(n, index, &mut self.dice);
        let tag = self.dice.pick(&["credit", "taxes", "saving"]);
        let number = self.dice.int(900);
        // Null and missing arrays stay: MongoDB would refuse, or make a document of them.
        let (filter, change) = match self.dice.below(7) {
            0 => (
                doc! { "media": { "$type": "array" } },
                doc! { "$push": { "media": new } },
            ),
            1 => (
                doc! { "media": { "$type": "array" } },
                doc! { "$push": { "media": { "$each": [new], "$position": 0 } } },
            ),
            2 => (
                doc! { "media": { "$type": "array" } },
                doc! { "$pop": { "media": -1 } },
            ),
            3 => (
                doc! { "media.1": { "$exists": true } },
                doc! { "$set": { "media.1.seconds": number } },
            ),
            4 => (
                doc! { "tags": { "$type": "array" } },
                doc! { "$push": { "tags": tag } },
            ),
            5 => (
                doc! { "tags": { "$type": "array" } },
                doc! { "$pull": { "tags": tag } },
            ),
            _ => (
                doc! {},
                doc! { "$set": { "tags": [tag, "new"], "media": [new] } },
            ),
        };
        let mut filter: Document = filter;
        filter.insert("_id", id);
        Step {
            what: "change an array",
            writes: vec![Write::Update(collection, filter, change)],
        }
    }

    fn insert(&mut self) -> Step {
        let collection = self.dice.pick(&BUSY);
        let n = self.number(collection);
        let document = self.document(collection, n);
        Step {
            what: "insert",
            writes: vec![Write::Insert(collection, document)],
        }
    }

    fn replace(&mut self) -> Step {
        let collection = self.dice.pick(&BUSY);
        let n = self.finlit.plain(collection, &mut self.dice);
        let document = self.document(collection, n);
        Step {
            what: "replace",
            writes: vec![Write::Replace(collection, document)],
        }
    }

    fn delete(&mut self) -> Step {
        let (collection, n) = self.leaf();
        self.gone.insert((collection, n));
        let id = self.finlit.id(collection, n);
        Step {
            what: "delete",
            writes: vec![Write::Delete(collection, id)],
        }
    }

    /// The same `_id` again: at once, in one transaction, or after a while.
    fn delete_and_return(&mut self) -> Step {
        let (collection, n) = self.leaf();
        if self.gone.contains(&(collection, n)) {
            self.gone.remove(&(collection, n));
            let document = self.document(collection, n);
            // It may be promised by an earlier step already.
            let clear = Write::Delete(collection, self.finlit.id(collection, n));
            return Step {
                what: "re-insert in a transaction",
                writes: vec![clear, Write::Insert(collection, document)],
            };
        }
        let id: Bson = self.finlit.id(collection, n);
        let delete = Write::Delete(collection, id.clone());
        let back = Write::Insert(collection, self.document(collection, n));
        match self.dice.below(3) {
            0 => Step {
                what: "delete and re-insert in a transaction",
                writes: vec![delete, back],
            },
            1 => Step {
                what: "delete, re-insert and delete in a transaction",
                writes: vec![delete.clone(), back, delete],
            },
            _ => {
                let after = u64::from(self.dice.below_u32(30)) + 1;
                let writes = vec![delete.clone(), back];
                self.promise(
                    after,
                    Step {
                        what: "re-insert in a transaction",
                        writes,
                    },
                );
                Step {
                    what: "delete",
                    writes: vec![delete],
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use crate::FinLit;

    #[test]
    fn the_same_seed_plans_the_same_steps() {
        let steps = |seed| {
            let mut plan = Plan::new(FinLit::new(seed, 0.01));
            (0..400).map(|_| plan.next_step()).collect::<Vec<_>>()
        };
        assert!(steps(1) == steps(1));
        assert!(steps(1) != steps(2));
    }
}
