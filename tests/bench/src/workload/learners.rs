//! Learners: documents of 540 bytes that become rows of 19 columns in one table, or of 1 MB.
//!
//! Document and row are made here from the same numbers, and the row by nothing of the consumer's: a field that
//! is carried wrongly shows. A learner is a function of (seed, number, revision); an update raises
//! the revision, and with it some of the fields.

use crate::{
    population::{Documents, id},
    verify::Table,
};
use bson::{DateTime, Document, RawDocumentBuf, doc, oid::ObjectId};
use leafcutter_finlit::MAPPING;
use leafcutter_harness::{
    dice::Dice,
    failure::{Failure, Result},
};
use uuid::Uuid;

/// Bytes of a document.
const BYTES: usize = 540;
/// Bytes of a large one, within a few hundred.
const LARGE_BYTES: usize = 1_000_000;
/// A goal of a large document has so many characters.
const LARGE_GOAL: usize = 16 * 600;
/// 2024-01-01.
const EPOCH_MILLIS: i64 = 1_704_067_200_000;
const DAY_MILLIS: i64 = 86_400_000;

const GOALS: [&str; 4] = ["save", "invest", "travel", "a house"];

/// One learner at one revision.
#[derive(Debug)]
struct Learner {
    id: ObjectId,
    email: String,
    name: String,
    words: [&'static str; 7],
    minutes: i32,
    streak: i32,
    /// Days after the beginning of 2024, all in January.
    streak_day: i64,
    xp: i32,
    has_ssn: bool,
    remits: bool,
    goals: Vec<String>,
    created: i64,
    active: i64,
}

/// The learners of a seed.
#[derive(Debug, Clone, Copy)]
pub struct Learners {
    /// Which data.
    pub seed: u64,
    /// Of 1 MB each.
    pub large: bool,
}

impl Learners {
    fn learner(&self, number: u32, revision: u32) -> Learner {
        Learner::new(self.seed, number, revision, self.large)
    }
}

impl Documents for Learners {
    /// FinLit's, with nothing in it but the learners.
    fn mapping(&self) -> Result<String> {
        let unknown = || Failure::new("FinLit's mapping no longer begins with its learners");
        let start = MAPPING.find("\n  learners:\n").ok_or_else(unknown)?;
        let next = MAPPING[start + 1..].find("\n\n").ok_or_else(unknown)?;
        Ok(MAPPING[..=start + 1 + next].to_owned())
    }

    fn collection(&self) -> &'static str {
        "learners"
    }

    fn bytes(&self) -> usize {
        if self.large { LARGE_BYTES } else { BYTES }
    }

    fn tables(&self) -> Vec<Table> {
        vec![Table {
            name: "learners",
            row: ROW.to_owned(),
        }]
    }

    fn document(&self, number: u32, revision: u32) -> bson::error::Result<RawDocumentBuf> {
        self.learner(number, revision).document()
    }

    fn update(&self, number: u32, revision: u32) -> Document {
        self.learner(number, revision).update()
    }

    fn rows(&self, number: u32, revision: u32, see: &mut dyn FnMut(usize, &str)) {
        see(0, &self.learner(number, revision).row());
    }

    fn disturbance(&self) -> &'static str {
        "update learners set total_xp = -1, lc_version = 0"
    }
}

impl Learner {
    /// Learner `number` as revision `revision` has it.
    fn new(seed: u64, number: u32, revision: u32, large: bool) -> Self {
        let mut dice = Dice::new(&[seed, u64::from(number)]);
        let words = [
            dice.pick(&["Spanish", "Tiếng Việt", "Arabic", "Português"]),
            dice.pick(&["basic", "medium", "fluent"]),
            dice.pick(&["H1B", "F1", "L1", "citizen"]),
            dice.pick(&["novice", "some", "expert"]),
            dice.pick(&["Asia/Tokyo", "Asia/Seoul", "UTC"]),
            dice.pick(&["Mexico", "Việt Nam", "India"]),
            dice.pick(&["H1B", "L2", "none"]),
        ];
        let name = format!(
            "{} {}",
            dice.pick(&["Ada", "Zoë", "Omar", "佐藤"]),
            dice.pick(&["García", "Okafor", "Kim"])
        );
        let (minutes, has_ssn, remits) = (dice.int(60), dice.percent(60), dice.percent(40));
        let goals = if large {
            large_goals(&mut dice)
        } else {
            vec![dice.pick(&GOALS).to_owned()]
        };
        let created = EPOCH_MILLIS + i64::from(dice.int(i32::MAX));
        // What an update changes.
        let mut dice = Dice::new(&[seed, u64::from(number), u64::from(revision)]);
        Self {
            id: id(number),
            email: format!("l{number}@f.example"),
            name,
            words,
            minutes,
            streak: dice.int(365),
            streak_day: i64::from(dice.int(31)),
            xp: dice.int(1_000_000),
            has_ssn,
            remits,
            goals,
            created,
            active: created + i64::from(dice.int(i32::MAX)),
        }
    }

    /// The document, filled up to its size with what nobody maps.
    ///
    /// # Errors
    /// When it cannot be written as BSON, which the bounds of its fields exclude.
    fn document(&self) -> bson::error::Result<RawDocumentBuf> {
        let [language, english, status, level, zone, country, visa] = self.words;
        let mut document = doc! {
            "_id": self.id,
            "email": &self.email,
            "display_name": &self.name,
            "profile": {
                "native_language": language,
                "english_proficiency": english,
                "immigration_status": status,
                "country_of_origin": country,
                "visa_type": visa,
                "has_ssn": self.has_ssn,
                "sends_remittances": self.remits,
                "financial_goals": &self.goals,
            },
            "gamification": {
                "total_xp": self.xp,
                "streak_count": self.streak,
                "streak_last_date": DateTime::from_millis(self.streak_midnight()),
                "daily_goal_minutes": self.minutes,
            },
            "financial_experience_level": level,
            "timezone": zone,
            "created_at": DateTime::from_millis(self.created),
            "last_active_at": DateTime::from_millis(self.active),
            "note": "",
        };
        let short = RawDocumentBuf::try_from(&document)?.as_bytes().len();
        let rest = BYTES.saturating_sub(short);
        document.insert("note", ".".repeat(rest));
        RawDocumentBuf::try_from(&document)
    }

    /// The update that makes the revision before this one this one.
    fn update(&self) -> Document {
        doc! { "$set": {
            "gamification.total_xp": self.xp,
            "gamification.streak_count": self.streak,
            "gamification.streak_last_date": DateTime::from_millis(self.streak_midnight()),
            "last_active_at": DateTime::from_millis(self.active),
        } }
    }

    /// The row as [`ROW`] writes it.
    fn row(&self) -> String {
        let key = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.id.to_hex().as_bytes());
        let [language, english, status, level, zone, country, visa] = self.words;
        let goals: Vec<_> = self
            .goals
            .iter()
            .map(|goal| format!("\"{goal}\""))
            .collect();
        format!(
            "{key}|{}|{}|{language}|{english}|{status}|{level}|{}|{zone}|{}|2024-01-{:02}|{}|{country}|{visa}|{}|{}|[{}]|{}|{}",
            self.email,
            self.name,
            self.minutes,
            self.streak,
            self.streak_day + 1,
            self.xp,
            self.has_ssn,
            self.remits,
            goals.join(", "),
            self.created,
            self.active,
        )
    }

    fn streak_midnight(&self) -> i64 {
        EPOCH_MILLIS + self.streak_day * DAY_MILLIS
    }
}

/// A row of the table `learners` as one text.
const ROW: &str = "concat_ws('|', learner_id, email, display_name, native_language, \
    english_proficiency, immigration_status, financial_experience_level, daily_goal_minutes, \
    timezone, streak_count, to_char(streak_last_date, 'YYYY-MM-DD'), total_xp, country_of_origin, \
    visa_type, has_ssn::text, sends_remittances::text, financial_goals::jsonb::text, \
    (extract(epoch from created_at) * 1000)::bigint, (extract(epoch from last_active_at) * 1000)::bigint)";

/// A megabyte that does not compress to nothing.
fn large_goals(dice: &mut Dice) -> Vec<String> {
    let goal = |dice: &mut Dice| {
        let digits = (0..LARGE_GOAL / 16).map(|_| format!("{:016x}", dice.number()));
        digits.collect::<String>()
    };
    let overhead = LARGE_GOAL / 100;
    let count = (LARGE_BYTES - BYTES) / (LARGE_GOAL + overhead) + 1;
    (0..count).map(|_| goal(dice)).collect()
}

#[cfg(test)]
mod tests {
    use super::{BYTES, LARGE_BYTES, Learner, Learners};
    use crate::population::Documents as _;
    use leafcutter_schemas::mapping::parse;

    #[test]
    fn only_the_learners_are_left_with_their_19_columns() {
        let learners = Learners {
            seed: 1,
            large: false,
        };
        let mapping = parse::load(&learners.mapping().unwrap(), "mapping").unwrap();
        let tables: Vec<_> = mapping.tables().collect();
        assert_eq!(tables.len(), 1);
        let (collection, table) = tables[0];
        assert_eq!(
            (collection.name.as_str(), table.columns.len()),
            ("learners", 19)
        );
        assert_eq!(mapping.databases(), ["finlit"]);
    }

    #[test]
    fn every_document_has_its_size_whatever_is_in_it() {
        for number in 0..3_000 {
            for revision in [0, 7] {
                let document = Learner::new(1, number, revision, false).document().unwrap();
                assert_eq!(document.as_bytes().len(), BYTES, "{number}");
            }
        }
        let large = Learner::new(1, 1, 0, true).document().unwrap();
        assert!(
            large.as_bytes().len().abs_diff(LARGE_BYTES) < 10_000,
            "{}",
            large.as_bytes().len()
        );
    }

    /// `deploy/local/rivals/learner.py` makes the same learners, and looks at the same file.
    #[test]
    fn the_first_learners_are_those_of_the_file() {
        let rows = (0..5).map(|number| Learner::new(1, number, 0, false).row());
        let rows: Vec<String> = rows.collect();
        let known: Vec<&str> = include_str!("learners.rows").lines().collect();
        assert_eq!(rows, known, "\n{}", rows.join("\n"));
    }

    #[test]
    fn an_update_changes_the_row_and_nothing_else_of_the_person() {
        let (before, after) = (Learner::new(1, 5, 0, false), Learner::new(1, 5, 1, false));
        assert_ne!(before.row(), after.row());
        assert_eq!(before.email, after.email);
        assert_eq!(before.row().matches('|').count(), 18);
        assert_ne!(before.row(), Learner::new(2, 5, 0, false).row());
    }
}
