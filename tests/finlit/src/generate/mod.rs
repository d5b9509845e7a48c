//! Clean documents, as FinLit's clients write them, and the edge cases on some.
//!
//! Clean does not mean uniform: fields are missing or null, whole numbers come as int, long or
//! double, and nobody reads half of the fields.

mod people;
mod content;
mod activity;

use super::{Collection, FinLit};
use bson::{Bson, DateTime, Document, doc};
use leafcutter_harness::dice::Dice;

pub(crate) use activity::decimal;
pub(crate) use content::{medium, slug};
pub(crate) use people::email;

/// Milliseconds from 2021 to 2025, when most of it happened.
const EPOCH_2021: i64 = 1_609_459_200_000;
const DAYS: i32 = 1_800;
const DAY_MILLIS: i64 = 86_400_000;

impl FinLit {
    /// Document number `n` in one of its revisions. The edge cases are in revision 0.
    pub fn document(&self, collection: Collection, n: u32, revision: u32) -> Document {
        let mut dice = self.dice(collection, n, revision);
        let mut document = doc! { "_id": self.id(collection, n) };
        document.extend(match collection {
            Collection::Learners => self.learner(n, &mut dice),
            Collection::KnowledgeComponents => self.knowledge_component(n, &mut dice),
            Collection::LearningItems => self.learning_item(n, &mut dice),
            Collection::ItemKcMappings => self.mapping(n, &mut dice),
            Collection::LearnerSkillStates => self.skill_state(&mut dice),
            Collection::Interactions => self.interaction(&mut dice),
            Collection::Achievements => achievement(n, &mut dice),
            Collection::LearnerAchievements => self.learner_achievement(&mut dice),
            Collection::DailyProgress => self.daily_progress(&mut dice),
        });
        if revision == 0 {
            if let Some(edge_case) = self.edge_case(collection, n) {
                self.moor(collection, n, &mut document);
                (edge_case.corrupt)(self, n, &mut document);
            }
            if let Some(edge_case) = self.partner_edge_case(collection, n) {
                (edge_case.corrupt_partner)(self, n, &mut document);
            }
        }
        document
    }

    /// The `_id` of document number `n`.
    pub fn id(&self, collection: Collection, n: u32) -> Bson {
        if collection == Collection::Interactions {
            self.interaction_id(n)
        } else {
            Bson::ObjectId(self.object_id(collection, n))
        }
    }
}

fn achievement(n: u32, dice: &mut Dice) -> Document {
    let mut document = doc! {
        "code": format!("badge-{n:04}"),
        "title": format!("{} {}", dice.pick(&["Steady", "Curious", "Thrifty"]), dice.pick(&["saver", "reader"])),
        "xp_reward": whole(dice, 500),
    };
    seldom_absent(
        dice,
        &mut document,
        "description",
        "For those who keep going.",
    );
    let icon: Vec<u8> = (0..32).map(|_| dice.number().to_be_bytes()[0]).collect();
    let icon = bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: icon,
    };
    seldom_absent(dice, &mut document, "icon", icon);
    document
}

/// A moment, to the millisecond.
fn moment(dice: &mut Dice) -> DateTime {
    let day = i64::from(dice.int(DAYS));
    let of_day = i64::from(dice.int(86_400_000));
    DateTime::from_millis(EPOCH_2021 + day * DAY_MILLIS + of_day)
}

/// A day, as clients store one: midnight.
fn day(dice: &mut Dice) -> DateTime {
    DateTime::from_millis(EPOCH_2021 + i64::from(dice.int(DAYS)) * DAY_MILLIS)
}

/// A whole number, as any of the types that clients send.
fn whole(dice: &mut Dice, end: i32) -> Bson {
    let number = dice.int(end);
    match dice.below(8) {
        0 => Bson::Int64(number.into()),
        1 => Bson::Double(number.into()),
        _ => Bson::Int32(number),
    }
}

/// Sets a field; one time in ten it is null or not there.
fn seldom_absent(dice: &mut Dice, document: &mut Document, name: &str, value: impl Into<Bson>) {
    match dice.below(20) {
        0 => {
            document.insert(name, Bson::Null);
        }
        1 => {}
        _ => {
            document.insert(name, value);
        }
    }
}
