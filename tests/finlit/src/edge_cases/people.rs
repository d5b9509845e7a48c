//! Edge cases of learners, badges and days.

use super::{
    AFTER_5874897, BEFORE_4714_BC, EdgeCase, Fate, IDES_OF_MARCH, YEAR_300000, date, edge_case, set,
};
use crate::{
    Collection,
    generate::{decimal, email},
};
use bson::{Bson, doc, oid::ObjectId};

const T: &str = "learners";

pub(super) const LEARNERS: &[EdgeCase] = &[
    edge_case(
        "no e-mail",
        |_, _, d| {
            d.remove("email");
        },
        Fate::Refused("missing", T, "email"),
    ),
    edge_case(
        "e-mail null",
        |_, _, d| set(d, "email", Bson::Null),
        Fate::Refused("missing", T, "email"),
    ),
    edge_case(
        "a number as e-mail",
        |_, _, d| set(d, "email", 5_551_234),
        Fate::Refused("wrong-type", T, "email"),
    ),
    edge_case(
        "e-mail over length",
        |_, n, d| set(d, "email", format!("{n}{}@finlit.example", "é".repeat(250))),
        Fate::Refused("too-long", T, "email"),
    ),
    edge_case(
        "NUL in the e-mail",
        |_, n, d| set(d, "email", format!("nul\0{n}@finlit.example")),
        Fate::Refused("nul", T, "email"),
    ),
    EdgeCase {
        what: "an e-mail used twice",
        corrupt: |_, n, d| set(d, "email", email(n + 1)),
        corrupt_partner: |_, _, _| {},
        fate: Fate::OneOfTwo,
    },
    edge_case(
        "e-mail of exactly the length",
        |_, n, d| {
            let head = format!("{n}@");
            let tail = "ü".repeat(255 - head.len());
            set(d, "email", head + &tail);
        },
        Fate::Placed(&[("length(email)", Some("255"))]),
    ),
    edge_case(
        "a number as name",
        |_, _, d| set(d, "display_name", 4711),
        Fate::Placed(&[("display_name", Some("4711"))]),
    ),
    edge_case(
        "a double as name",
        |_, _, d| set(d, "display_name", 12.5),
        Fate::Placed(&[("display_name", Some("12.5"))]),
    ),
    edge_case(
        "a decimal as name",
        |_, _, d| set(d, "display_name", decimal("0.10")),
        Fate::Placed(&[("display_name", Some("0.10"))]),
    ),
    edge_case(
        "a boolean as name",
        |_, _, d| set(d, "display_name", true),
        Fate::Placed(&[("display_name", Some("true"))]),
    ),
    edge_case(
        "a date as name",
        |_, _, d| set(d, "display_name", date(1_736_899_200_000)),
        Fate::Placed(&[("display_name", Some("2025-01-15T00:00:00.000Z"))]),
    ),
    edge_case(
        "an ObjectId as name",
        |_, _, d| set(d, "display_name", ObjectId::from_bytes([0xab; 12])),
        Fate::Placed(&[("display_name", Some("abababababababababababab"))]),
    ),
    edge_case(
        "a document as name",
        |_, _, d| set(d, "display_name", doc! { "first": "Ada" }),
        Fate::Refused("wrong-type", T, "display_name"),
    ),
    edge_case(
        "name over length",
        |_, _, d| set(d, "display_name", "ж🍃".repeat(200)),
        Fate::Placed(&[
            ("length(display_name)", Some("255")),
            ("right(display_name, 2)", Some("🍃ж")),
        ]),
    ),
    edge_case(
        "NUL in the name",
        |_, _, d| set(d, "display_name", "Ada\0 Love\0lace"),
        Fate::Placed(&[("display_name", Some("Ada Lovelace"))]),
    ),
    edge_case(
        "language over length",
        |_, _, d| set(d, "profile.native_language", "Español ".repeat(10)),
        Fate::Placed(&[(
            "native_language",
            Some("Español Español Español Español Español Español Es"),
        )]),
    ),
    edge_case(
        "status over length",
        |_, _, d| set(d, "profile.immigration_status", "pending ".repeat(10)),
        Fate::Refused("too-long", T, "immigration_status"),
    ),
    edge_case(
        "no profile",
        |_, _, d| {
            d.remove("profile");
        },
        Fate::Placed(&[
            ("english_proficiency", Some("intermediate")),
            ("visa_type", None),
        ]),
    ),
    edge_case(
        "profile null",
        |_, _, d| set(d, "profile", Bson::Null),
        Fate::Placed(&[
            ("english_proficiency", Some("intermediate")),
            ("has_ssn", None),
        ]),
    ),
    edge_case(
        "a text as profile",
        |_, _, d| set(d, "profile", "n/a"),
        Fate::Placed(&[
            ("english_proficiency", Some("intermediate")),
            ("financial_goals", None),
        ]),
    ),
    edge_case(
        "null where there is a default",
        |_, _, d| {
            set(d, "timezone", Bson::Null);
            d.remove("financial_experience_level");
        },
        Fate::Placed(&[
            ("timezone", None),
            ("financial_experience_level", Some("novice")),
        ]),
    ),
    edge_case(
        "text as boolean",
        |_, _, d| set(d, "profile.has_ssn", "yes"),
        Fate::Refused("wrong-type", T, "has_ssn"),
    ),
    edge_case(
        "NaN, a decimal and a date among the goals",
        |_, _, d| {
            set(
                d,
                "profile.financial_goals",
                vec![Bson::from(f64::NAN), decimal("1.50"), date(0)],
            );
        },
        Fate::Placed(&[(
            "financial_goals::jsonb",
            Some(
                r#"[{"$numberDouble": "NaN"}, {"$numberDecimal": "1.50"}, {"$date": "1970-01-01T00:00:00Z"}]"#,
            ),
        )]),
    ),
    edge_case(
        "half a point",
        |_, _, d| set(d, "gamification.total_xp", 10.5),
        Fate::Refused("wrong-type", T, "total_xp"),
    ),
    edge_case(
        "more points than fit",
        |_, _, d| set(d, "gamification.total_xp", 3_000_000_000_i64),
        Fate::Refused("out-of-range", T, "total_xp"),
    ),
    edge_case(
        "NaN points",
        |_, _, d| set(d, "gamification.total_xp", f64::NAN),
        Fate::Refused("out-of-range", T, "total_xp"),
    ),
    edge_case(
        "whole numbers of other types",
        |_, _, d| {
            set(d, "gamification.total_xp", decimal("1.5E+3"));
            set(d, "gamification.streak_count", -0.0);
        },
        Fate::Placed(&[("total_xp", Some("1500")), ("streak_count", Some("0"))]),
    ),
    edge_case(
        "a day in the year 300000, last seen before 4714 BC",
        |_, _, d| {
            set(d, "gamification.streak_last_date", date(YEAR_300000));
            set(d, "last_active_at", date(BEFORE_4714_BC));
        },
        Fate::Placed(&[
            ("streak_last_date", Some("300000-06-15")),
            ("last_active_at", None),
        ]),
    ),
    edge_case(
        "a day after the last one, last seen in the year 300000",
        |_, _, d| {
            set(d, "gamification.streak_last_date", date(AFTER_5874897));
            set(d, "last_active_at", date(YEAR_300000));
        },
        Fate::Placed(&[("streak_last_date", None), ("last_active_at", None)]),
    ),
    edge_case(
        "joined on the ides of March",
        |_, _, d| set(d, "created_at", date(IDES_OF_MARCH)),
        Fate::Placed(&[("created_at", Some("0044-03-15 12:00:00 BC"))]),
    ),
    edge_case(
        "joined before 4714 BC",
        |_, _, d| set(d, "created_at", date(BEFORE_4714_BC)),
        Fate::Refused("out-of-range", T, "created_at"),
    ),
    edge_case(
        "joined on a text",
        |_, _, d| set(d, "created_at", "2021-01-01"),
        Fate::Refused("wrong-type", T, "created_at"),
    ),
];

const A: &str = "achievements";

pub(super) const ACHIEVEMENTS: &[EdgeCase] = &[
    EdgeCase {
        what: "a code used twice",
        corrupt: |_, n, d| set(d, "code", format!("badge-{:04}", n + 1)),
        corrupt_partner: |_, _, _| {},
        fate: Fate::OneOfTwo,
    },
    edge_case(
        "text as icon",
        |_, _, d| set(d, "icon", "star.png"),
        Fate::Refused("wrong-type", A, "icon"),
    ),
    edge_case(
        "an ObjectId as icon, no reward",
        |_, _, d| {
            set(d, "icon", ObjectId::from_bytes([0xab; 12]));
            d.remove("xp_reward");
        },
        Fate::Placed(&[
            ("icon", Some("\\xabababababababababababab")),
            ("xp_reward", Some("0")),
        ]),
    ),
    edge_case(
        "no title",
        |_, _, d| {
            d.remove("title");
        },
        Fate::Refused("missing", A, "title"),
    ),
];

const L: &str = "learner_achievements";

pub(super) const LEARNER_ACHIEVEMENTS: &[EdgeCase] = &[
    edge_case(
        "a badge nobody knows",
        |f, n, d| {
            f.orphan(
                Collection::LearnerAchievements,
                n,
                d,
                Collection::Achievements,
            );
        },
        Fate::Orphan("achievement_id"),
    ),
    edge_case(
        "a decimal as progress",
        |_, _, d| {
            set(d, "progress", decimal("0.100000001"));
        },
        Fate::Placed(&[("progress", Some("0.1"))]),
    ),
    edge_case(
        "more progress than fits",
        |_, _, d| set(d, "progress", 1e300),
        Fate::Refused("out-of-range", L, "progress"),
    ),
    edge_case(
        "no learner",
        |_, _, d| {
            d.remove("learner_id");
        },
        Fate::Refused("missing", L, "learner_id"),
    ),
];

const D: &str = "daily_progress";

pub(super) const DAILY_PROGRESS: &[EdgeCase] = &[
    edge_case(
        "no date",
        |_, _, d| {
            d.remove("date");
        },
        Fate::Refused("missing", D, "day"),
    ),
    edge_case(
        "text as date",
        |_, _, d| set(d, "date", "today"),
        Fate::Refused("wrong-type", D, "day"),
    ),
    edge_case(
        "a date before 4714 BC",
        |_, _, d| set(d, "date", date(BEFORE_4714_BC)),
        Fate::Refused("out-of-range", D, "day"),
    ),
    edge_case(
        "a second before 1970",
        |_, _, d| {
            set(d, "date", date(-1));
            d.remove("goal_met");
        },
        Fate::Placed(&[("day", Some("1969-12-31")), ("goal_met", Some("false"))]),
    ),
];
