//! SmartDiet's logbooks: what somebody noted of a day, often more than once, and sometimes without
//! saying who. Of those of one user and day, the one that was updated last is the row.

use super::{
    documents::{Kind, YEAR_2025, id, oid},
    rows::{CREATED, UPDATED, USER, parsed},
};
use crate::{
    expected::{Expected, Row},
    numbers::Numbers,
    source::{self, Source},
};
use bson::{Bson, DateTime, Document, doc};
use leafcutter_finlit::expected::{
    cell::Cell,
    key,
    tables::{self, Column, column, text},
};
use leafcutter_harness::dice::Dice;
use std::collections::BTreeMap;

/// How many there are before anything changes: three of each day, two days of each of the first
/// users.
pub(super) const LOGBOOKS: u32 = 96;

const DAY: i64 = 86_400_000;

/// A moment of a day.
pub fn moment(day: u32, millis: i64) -> DateTime {
    DateTime::from_millis(YEAR_2025 + DAY * i64::from(day) + millis)
}

/// The n-th one, without what all documents have.
pub(super) fn fill(logbook: &mut Document, n: u32, dice: &mut Dice) {
    let (user, day) = (n / 6, n / 3 % 2);
    let hour = dice.pick(&[0, 1, DAY / 2, DAY - 1]);
    let user = if dice.percent(30) {
        oid(Kind::Users, user).to_hex().into()
    } else {
        id(Kind::Users, user)
    };
    let weights: [Bson; 5] = [
        72.into(),
        " 71.505 ".into(),
        "72,5".into(),
        70.125.into(),
        Bson::Null,
    ];
    logbook.extend(doc! {
        "user": user, "day": moment(day, hour), "weight": weights[dice.below(5)].clone(), "mood": dice.int(10),
        "meals": [{ "at": "midi", "what": [id(Kind::Recipes, dice.below_u32(30)), "café"] }],
    });
    if n.is_multiple_of(4) {
        logbook.insert("notes", "mangé\ttard \"😀\"");
    }
    match n {
        // Of nobody, whatever else it says; of a day that is no day; of a user that there is not.
        19 => logbook.extend(doc! { "user": Bson::Null, "day": "?" }),
        84 => logbook.extend(doc! { "day": "2025-01-01" }),
        87 => logbook.extend(doc! { "user": id(Kind::Users, 9_999) }),
        _ if n % 24 == 7 => drop(logbook.remove("user")),
        _ if n % 12 == 7 => drop(logbook.insert("user", Bson::Null)),
        _ => {}
    }
}

static COLUMNS: &[Column] = &[
    CREATED,
    UPDATED,
    USER,
    column("day", tables::Kind::Date).required(),
    column("mood", tables::Kind::Int),
    text("notes").or(""),
    column("meals", tables::Kind::Json),
];

/// Their rows; those of the users are there already.
pub(super) fn place(expected: &mut Expected, source: &Source) {
    expected.numbers.push(Numbers {
        table: "users_logbook",
        column: "id",
        by: &["user_id", "day"],
        start: 1,
    });
    // The last is the newest: by its date, then by its `_id`, since those without a date, or with the
    // same one, were all read by one snapshot.
    let mut days: BTreeMap<String, BTreeMap<(Option<i64>, String), Row>> = BTreeMap::new();
    for logbook in source.of("coachinglogbooks") {
        if matches!(logbook.get("user"), None | Some(Bson::Null)) {
            continue;
        }
        match Row::of(COLUMNS, &logbook.clone().into()) {
            Err(reason) => expected.dead_letter("coachinglogbooks", logbook, reason),
            Ok(row) if !expected.finds(row.get("user_id"), "users", "id") => {
                expected.orphan("coachinglogbooks", logbook);
            }
            Ok(row) => {
                let updated = match row.get("updated_at") {
                    Cell::Millis(millis) => Some(*millis),
                    _ => None,
                };
                let day = format!("{} {}", row.get("user_id"), row.get("day"));
                let row = row.with("weight", parsed(logbook.get("weight"), (5, 2)));
                let rank = (updated, key::canonical(&source::id(logbook)));
                days.entry(day).or_default().insert(rank, row);
            }
        }
    }
    for (day, mut rows) in days {
        if let Some((_, row)) = rows.pop_last() {
            let number = Cell::Given(format!("users_logbook {day}"));
            expected.place("users_logbook", row.with("id", number));
        }
    }
}
