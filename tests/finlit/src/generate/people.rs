//! Learners, their badges and their days.

use super::{day, moment, seldom_absent, whole};
use crate::{Collection, FinLit};
use bson::{Bson, Document, doc};
use leafcutter_harness::dice::Dice;

const FIRST: [&str; 8] = [
    "Ada", "Zoë", "Nguyễn", "Omar", "Łucja", "佐藤", "Mbali", "O'Neil",
];
const LAST: [&str; 8] = [
    "Lovelace",
    "García",
    "Okafor",
    "Müller",
    "Ивано́ва",
    "Kim",
    "Santos",
    "Singh",
];
const LANGUAGES: [&str; 6] = [
    "Spanish",
    "Tiếng Việt",
    "Tagalog",
    "العربية",
    "Hindi",
    "Português",
];
const GOALS: [&str; 5] = [
    "save",
    "invest",
    "send money home",
    "buy a house",
    "credit \"score\"",
];

impl FinLit {
    pub(super) fn learner(&self, n: u32, dice: &mut Dice) -> Document {
        let mut profile = doc! {};
        seldom_absent(
            dice,
            &mut profile,
            "native_language",
            dice.clone().pick(&LANGUAGES),
        );
        let level = dice.pick(&["beginner", "intermediate", "advanced"]);
        seldom_absent(dice, &mut profile, "english_proficiency", level);
        let status = dice.pick(&["H1B", "F1", "green card", "citizen"]);
        seldom_absent(dice, &mut profile, "immigration_status", status);
        let country = dice.pick(&["Mexico", "Việt Nam", "Côte d'Ivoire", "India"]);
        seldom_absent(dice, &mut profile, "country_of_origin", country);
        seldom_absent(
            dice,
            &mut profile,
            "visa_type",
            dice.clone().pick(&["H1B", "L2", "none"]),
        );
        let (has_ssn, remits) = (dice.percent(60), dice.percent(40));
        seldom_absent(dice, &mut profile, "has_ssn", has_ssn);
        seldom_absent(dice, &mut profile, "sends_remittances", remits);
        let goals: Vec<Bson> = (0..dice.below(4))
            .map(|_| dice.pick(&GOALS).into())
            .collect();
        seldom_absent(dice, &mut profile, "financial_goals", goals);

        let mut gamification =
            doc! { "total_xp": whole(dice, 100_000), "streak_count": whole(dice, 365) };
        let last_day = day(dice);
        seldom_absent(dice, &mut gamification, "streak_last_date", last_day);
        let minutes = whole(dice, 60);
        seldom_absent(dice, &mut gamification, "daily_goal_minutes", minutes);

        let name = format!("{} {}", dice.pick(&FIRST), dice.pick(&LAST));
        let mut document = doc! { "email": email(n) };
        seldom_absent(dice, &mut document, "display_name", name);
        document.insert("profile", profile);
        document.insert("gamification", gamification);
        // What nobody maps.
        document.insert(
            "settings",
            doc! { "theme": "dark", "digest": { "weekly": true } },
        );
        let level = dice.pick(&["novice", "some", "expert"]);
        seldom_absent(dice, &mut document, "financial_experience_level", level);
        let zone = dice.pick(&["America/New_York", "America/Chicago", "Europe/Warsaw"]);
        seldom_absent(dice, &mut document, "timezone", zone);
        document.insert("created_at", moment(dice));
        let active = moment(dice);
        seldom_absent(dice, &mut document, "last_active_at", active);
        document
    }

    pub(super) fn learner_achievement(&self, dice: &mut Dice) -> Document {
        let learner = self.parent(Collection::Learners, dice);
        let badge = self.parent(Collection::Achievements, dice);
        let mut document = doc! {
            "learner_id": self.id(Collection::Learners, learner),
            "achievement_id": self.id(Collection::Achievements, badge),
            "progress": dice.fraction(),
        };
        let earned = moment(dice);
        seldom_absent(dice, &mut document, "earned_at", earned);
        document
    }

    pub(super) fn daily_progress(&self, dice: &mut Dice) -> Document {
        let learner = self.parent(Collection::Learners, dice);
        let mut document = doc! {
            "learner_id": self.id(Collection::Learners, learner),
            "date": day(dice),
        };
        let (minutes, xp, met) = (whole(dice, 120), whole(dice, 900), dice.percent(50));
        seldom_absent(dice, &mut document, "minutes_spent", minutes);
        seldom_absent(dice, &mut document, "xp_earned", xp);
        seldom_absent(dice, &mut document, "goal_met", met);
        document
    }
}

/// The address of learner number `n`.
pub(crate) fn email(n: u32) -> String {
    format!("learner{n}@finlit.example")
}
