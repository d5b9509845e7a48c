//! What there is to learn: the tree of knowledge components, items with their media and tags, and
//! which item teaches what.

use super::{moment, seldom_absent};
use crate::{Collection, FinLit, LARGE_ITEM};
use bson::{Bson, Document, doc};
use leafcutter_harness::dice::Dice;

/// Bytes of the large item's content.
const LARGE: usize = 5_000_000;
const DOMAINS: [&str; 5] = ["saving", "credit", "taxes", "insurance", "banking"];

impl FinLit {
    pub(super) fn knowledge_component(&self, n: u32, dice: &mut Dice) -> Document {
        let mut document = doc! {
            "slug": slug(n),
            "name": format!("About {} {n}", dice.pick(&DOMAINS)),
        };
        seldom_absent(
            dice,
            &mut document,
            "description",
            "Why it matters, and how it works.",
        );
        let domain = dice.pick(&DOMAINS);
        seldom_absent(dice, &mut document, "domain", domain);
        let difficulty = dice.fraction();
        seldom_absent(dice, &mut document, "difficulty", difficulty);
        // The same in all revisions: the tree does not move.
        match self.parent_component(n) {
            Some(parent) => {
                let id = self.id(Collection::KnowledgeComponents, parent);
                document.insert("parent_kc_id", id);
            }
            None => seldom_absent(dice, &mut document, "parent_kc_id", Bson::Null),
        }
        document.insert("created_at", moment(dice));
        document
    }

    /// A chain first, each link's parent behind it; then a forest, most parents behind their
    /// children too, so that whoever inserts in order meets children first.
    fn parent_component(&self, n: u32) -> Option<u32> {
        let (chain, count) = (self.chain(), self.count(Collection::KnowledgeComponents));
        if n < chain {
            return (n + 1 < chain).then_some(n + 1);
        }
        match n % 3 {
            0 => {
                let mut dice = self.dice(Collection::KnowledgeComponents, n, u32::MAX);
                let start = n + 1 + dice.below_u32(20);
                (start..count).find(|&p| !self.is_reserved(Collection::KnowledgeComponents, p))
            }
            1 => Some(n % chain),
            _ => None,
        }
    }

    pub(super) fn learning_item(&self, n: u32, dice: &mut Dice) -> Document {
        let kind = dice.pick(&["question", "video", "article"]);
        let body = if n == LARGE_ITEM {
            "Long text. ".repeat(LARGE / 11)
        } else {
            "Short.".into()
        };
        let mut document = doc! {
            "title": format!("Item {n}: {}", dice.pick(&DOMAINS)),
            "item_type": kind,
            "content": {
                "question": { "text": "Which is true? \u{2713}", "choices": ["a", "b", { "rich": true }] },
                "weight": dice.fraction(),
                "reviewed": moment(dice),
                "price": super::activity::decimal("1.50"),
                "body": body,
            },
            "difficulty": dice.fraction(),
            "discrimination": f64::from(dice.int(40_000)) / 10_000.0,
            "created_at": moment(dice),
        };
        let active = dice.percent(90);
        seldom_absent(dice, &mut document, "is_active", active);
        let media: Vec<Bson> = (0..dice.below(5))
            .map(|i| medium(n, i, dice).into())
            .collect();
        seldom_absent(dice, &mut document, "media", media);
        let tags: Vec<Bson> = (0..dice.below(6))
            .map(|_| dice.pick(&DOMAINS).into())
            .collect();
        seldom_absent(dice, &mut document, "tags", tags);
        document
    }

    /// Each pair of item and component comes once. Some of them are edge cases, and then the mapping
    /// is an orphan, as its neighbours in real life are.
    pub(super) fn mapping(&self, n: u32, dice: &mut Dice) -> Document {
        let items = self.count(Collection::LearningItems);
        let components = self.count(Collection::KnowledgeComponents);
        let item = n % items;
        let component = (n / items + item * 3) % components;
        let mut document = doc! {
            "item_id": self.id(Collection::LearningItems, item),
            "kc_id": self.id(Collection::KnowledgeComponents, component),
        };
        let weight = dice.fraction();
        seldom_absent(dice, &mut document, "weight", weight);
        document
    }
}

/// One picture or film.
pub(crate) fn medium(n: u32, index: usize, dice: &mut Dice) -> Document {
    let mut document = doc! { "url": format!("https://media.finlit.example/{n}/{index}?v=1&q=ü") };
    let kind = dice.pick(&["image", "video", "audio"]);
    seldom_absent(dice, &mut document, "kind", kind);
    let seconds = dice.int(900);
    seldom_absent(dice, &mut document, "seconds", seconds);
    document
}

/// The slug of component number `n`.
pub(crate) fn slug(n: u32) -> String {
    format!("component-{n:05}")
}
