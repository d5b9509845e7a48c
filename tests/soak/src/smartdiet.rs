//! SmartDiet under an application that does everything at random.
//!
//! An update date that rises with each write decides which logbook of a day is the newest. New
//! documents point to old ones; families of four tiers, which nobody else points to, come and go.

use crate::{
    model::{Model, Write, references},
    workload::Workload,
};
use bson::{Bson, Document};
use leafcutter_harness::dice::Dice;
use leafcutter_systems::{
    System,
    smartdiet::{
        ALL,
        Kind::{self, Coachings, Companies, Days, Logbooks, Periods, Users},
        SMARTDIET, document, id, moment,
    },
    source,
};

/// How many times as many documents there are as in the suite.
const TIMES: u32 = 20;
/// The number of the first new document. Those before have special parts, each once.
const FIRST: u32 = 20_000;
/// How often something that fits is looked for before a step does nothing.
const LOOKS: usize = 20;
/// Long after any update date that a document has before it is changed.
const LATE: u32 = 100;
/// Documents that cannot be rows.
const WRONG: [(Kind, u32); 7] = [
    (Users, 13),
    (Users, 23),
    (Users, 43),
    (Users, 53),
    (Logbooks, 19),
    (Logbooks, 84),
    (Logbooks, 87),
];
/// A family: one of each, each pointing to the one before.
const FAMILY: [(Kind, &str, &str); 4] = [
    (Users, "users", ""),
    (Coachings, "coachings", "user"),
    (Periods, "periods", "coaching"),
    (Days, "days", "period"),
];

/// The application.
#[derive(Debug, Default)]
pub struct SmartDiet {
    /// How many numbers it has given.
    made: u32,
    families: Vec<u32>,
}

impl SmartDiet {
    fn number(&mut self) -> u32 {
        self.made += 1;
        FIRST + self.made
    }

    /// A collection; of those with more documents more often.
    fn kind(dice: &mut Dice) -> (Kind, &'static str) {
        let sum = ALL.iter().map(|(_, _, count)| count).sum();
        let mut at = dice.below_u32(sum);
        for (kind, name, count) in ALL {
            if at < count {
                return (kind, name);
            }
            at -= count;
        }
        (Days, "days")
    }

    /// A document with that `_id`, or one of its own, that points to nobody who is not there.
    fn content(
        &mut self,
        kind: Kind,
        own: Option<Bson>,
        model: &Model,
        dice: &mut Dice,
    ) -> Option<Document> {
        for _ in 0..LOOKS {
            let number = self.number();
            let mut new = match kind {
                Logbooks => self.logbook(number, model, dice)?,
                _ => document(kind, number),
            };
            if let Some(own) = &own {
                new.insert("_id", own.clone());
            }
            if model.is_whole(&new) {
                return Some(new);
            }
        }
        None
    }

    /// A logbook of any user's day that is the newest now.
    fn logbook(&self, number: u32, model: &Model, dice: &mut Dice) -> Option<Document> {
        // One without a part of its own.
        let mut logbook = document(Logbooks, 3 * dice.below_u32(6));
        let user = source::id(model.any("users", dice)?);
        logbook.insert("_id", id(Logbooks, number));
        logbook.insert("user", user);
        logbook.insert("day", moment(dice.below_u32(5), 0));
        logbook.insert("update_date", moment(LATE, self.made.into()));
        Some(logbook)
    }

    /// Any document to which nobody points.
    fn loose<'a>(model: &'a Model, dice: &mut Dice) -> Option<(&'static str, &'a Document)> {
        (0..LOOKS).find_map(|_| {
            let (_, name) = Self::kind(dice);
            let document = model.any(name, dice)?;
            let loose = model.pointed_to(&source::id(document)) == 0;
            (loose && model.count(name) > 3).then_some((name, document))
        })
    }

    fn family_comes(&mut self, model: &Model, dice: &mut Dice) -> Vec<Write> {
        let number = self.number();
        let mut writes = Vec::new();
        let mut before = Bson::Null;
        for (kind, name, field) in FAMILY {
            let Some(mut member) = self.content(kind, Some(id(kind, number)), model, dice) else {
                return Vec::new();
            };
            if !field.is_empty() {
                member.insert(field, before);
            }
            before = id(kind, number);
            writes.push(Write::Put(name, member));
        }
        self.families.push(number);
        shuffle(&mut writes, dice);
        writes
    }

    /// A family of which nobody else knows goes; or its head does, when the rest has moved away.
    fn family_goes(&mut self, model: &Model, dice: &mut Dice) -> Vec<Write> {
        if self.families.is_empty() {
            return Vec::new();
        }
        let number = self.families.swap_remove(dice.below(self.families.len()));
        let members: Vec<(&'static str, &Document)> = FAMILY
            .iter()
            .filter_map(|(kind, name, _)| Some((*name, model.get(name, &id(*kind, number))?)))
            .collect();
        let inside: Vec<String> = members.iter().flat_map(|(_, d)| references(d)).collect();
        let known_outside = members.iter().any(|(_, member)| {
            let own = source::id(member);
            let digits = own.as_object_id().map(|id| id.to_hex());
            let from_inside = inside.iter().filter(|one| Some(*one) == digits.as_ref());
            model.pointed_to(&own) > from_inside.count()
        });
        if known_outside {
            return Vec::new();
        }
        let head = id(Users, number);
        let moved = model.get("coachings", &id(Coachings, number)).cloned();
        let other = model.any("users", dice).map(source::id);
        match (moved, other) {
            (Some(mut moved), Some(other)) if other != head && dice.percent(50) => {
                moved.insert("user", other);
                vec![Write::Put("coachings", moved), Write::Delete("users", head)]
            }
            _ => {
                let gone = members
                    .iter()
                    .map(|(name, member)| Write::Delete(name, source::id(member)));
                let mut writes: Vec<_> = gone.collect();
                shuffle(&mut writes, dice);
                writes
            }
        }
    }
}

fn shuffle(writes: &mut [Write], dice: &mut Dice) {
    for last in (1..writes.len()).rev() {
        writes.swap(last, dice.below(last + 1));
    }
}

impl Workload for SmartDiet {
    fn system(&self) -> System {
        SMARTDIET
    }

    fn documents(&self) -> Vec<(&'static str, Document)> {
        let mut all = Vec::new();
        for (kind, name, count) in ALL {
            // Targets, contents and their like are few, and many point to each of them.
            let times = if kind == Companies { 1 } else { TIMES };
            for n in 0..count * times {
                let mut document = document(kind, n);
                if kind == Logbooks {
                    // Which one is the newest must not depend on when it was read.
                    document.insert("update_date", moment(1, n.into()));
                }
                all.push((name, document));
            }
        }
        all
    }

    fn is_sound(&self, document: &Document) -> bool {
        let own = source::id(document);
        let wrong = |(kind, n): &(Kind, u32)| own == id(*kind, *n);
        !WRONG.iter().any(wrong)
    }

    fn documents_per_second(&self) -> u32 {
        400
    }

    fn step(&mut self, model: &Model, dice: &mut Dice) -> Vec<Write> {
        let (kind, name) = Self::kind(dice);
        let put = |document: Option<Document>| document.map(|d| Write::Put(name, d));
        match dice.below(100) {
            0..45 => {
                let Some(own) = model.any(name, dice).map(source::id) else {
                    return Vec::new();
                };
                let changed = self.content(kind, Some(own), model, dice);
                put(changed).into_iter().collect()
            }
            45..60 => {
                let new = self.content(kind, None, model, dice);
                put(new).into_iter().collect()
            }
            60..75 => {
                let gone = Self::loose(model, dice);
                let gone = gone.map(|(name, document)| Write::Delete(name, source::id(document)));
                gone.into_iter().collect()
            }
            75..80 => {
                let Some((name, document)) = Self::loose(model, dice) else {
                    return Vec::new();
                };
                vec![
                    Write::Delete(name, source::id(document)),
                    Write::Put(name, document.clone()),
                ]
            }
            80..92 => self.family_comes(model, dice),
            _ => self.family_goes(model, dice),
        }
    }
}
