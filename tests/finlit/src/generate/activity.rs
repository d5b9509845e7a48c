//! What learners do: answers, and what the platform makes of them.

use super::{moment, seldom_absent};
use crate::{Collection, FinLit};
use bson::{Bson, Document, doc, spec::BinarySubtype};
use leafcutter_harness::dice::Dice;

impl FinLit {
    pub(super) fn skill_state(&self, dice: &mut Dice) -> Document {
        let learner = self.parent(Collection::Learners, dice);
        let component = self.parent(Collection::KnowledgeComponents, dice);
        let mut document = doc! {
            "learner_id": self.id(Collection::Learners, learner),
            "kc_id": self.id(Collection::KnowledgeComponents, component),
            "p_mastery": dice.fraction(),
            "stability": f64::from(dice.int(1_000_000)) / 7.0,
        };
        let (repetitions, next) = (dice.int(50), moment(dice));
        seldom_absent(dice, &mut document, "repetitions", repetitions);
        seldom_absent(dice, &mut document, "next_review_at", next);
        document.insert("updated_at", moment(dice));
        document
    }

    pub(super) fn interaction(&self, dice: &mut Dice) -> Document {
        let learner = self.parent(Collection::Learners, dice);
        let (item, component) = (
            self.parent(Collection::LearningItems, dice),
            self.parent(Collection::KnowledgeComponents, dice),
        );
        let mut document = doc! { "learner_id": self.id(Collection::Learners, learner) };
        let (item, component) = (
            self.id(Collection::LearningItems, item),
            self.id(Collection::KnowledgeComponents, component),
        );
        seldom_absent(dice, &mut document, "item_id", item);
        seldom_absent(dice, &mut document, "kc_id", component);
        let session = format!("s-{:016x}", dice.number());
        seldom_absent(dice, &mut document, "session_id", session);
        let correct = dice.percent(70);
        seldom_absent(dice, &mut document, "is_correct", correct);
        let response = match dice.below(4) {
            0 => Bson::from("b"),
            1 => Bson::from(vec![Bson::from(1), Bson::from(2.5), Bson::Null]),
            _ => Bson::from(doc! { "choice": dice.int(4), "text": "It depends.\n\"Yes\" / no" }),
        };
        seldom_absent(dice, &mut document, "response", response);
        let millis = i64::from(dice.int(600_000));
        seldom_absent(dice, &mut document, "response_time_ms", millis);
        let score = match dice.below(3) {
            0 => Bson::Int32(dice.int(100)),
            1 => Bson::Double(dice.fraction()),
            _ => Bson::Double(f64::from(dice.int(1_000)) / 3.0),
        };
        seldom_absent(dice, &mut document, "score", score);
        document.insert("created_at", moment(dice));
        document
    }

    /// Ids of every kind. No two are equal for MongoDB, also not across its number types.
    pub(super) fn interaction_id(&self, n: u32) -> Bson {
        let own = self.object_id(Collection::Interactions, n);
        let number = i64::from(n);
        match n % 16 {
            // The digits of another document's ObjectId, which is another key.
            1 if n % 32 == 1 => self
                .object_id(Collection::Interactions, n + 8)
                .to_hex()
                .into(),
            1 => format!("attempt/{n} \u{1f343}").into(),
            2 => i32::try_from(n).map_or(Bson::Int64(number), Bson::Int32),
            3 => Bson::Int64((1 << 40) + number),
            4 => Bson::Double(f64::from(n) + 0.5),
            5 => decimal(&format!("{n}.250")),
            6 => {
                let mut dice = self.dice(Collection::Interactions, n, u32::MAX);
                let mut bytes = dice.number().to_be_bytes().to_vec();
                bytes.extend(dice.number().to_be_bytes());
                Bson::Binary(bson::Binary {
                    subtype: BinarySubtype::Uuid,
                    bytes,
                })
            }
            7 => Bson::from(doc! { "client": "ios", "seq": number, "part": { "of": 2 } }),
            8 => bson::DateTime::from_millis(super::EPOCH_2021 + number).into(),
            _ => own.into(),
        }
    }
}

/// A Decimal128 from its text, which is one.
pub(crate) fn decimal(text: &str) -> Bson {
    text.parse().map_or(Bson::Null, Bson::Decimal128)
}
