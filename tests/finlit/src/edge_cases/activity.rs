//! Edge cases of answers and of what the platform makes of them.

use super::{BEFORE_4714_BC, EdgeCase, Fate, YEAR_300000, date, edge_case, set};
use crate::{Collection, generate::decimal};
use bson::{Bson, doc};

const S: &str = "learner_skill_states";

pub(super) const LEARNER_SKILL_STATES: &[EdgeCase] = &[
    edge_case(
        "a learner nobody knows",
        |f, n, d| f.orphan(Collection::LearnerSkillStates, n, d, Collection::Learners),
        Fate::Orphan("learner_id"),
    ),
    edge_case(
        "a learner by the digits of the ObjectId",
        |_, _, d| {
            if let Ok(id) = d.get_object_id("learner_id") {
                set(d, "learner_id", id.to_hex());
            }
        },
        Fate::Orphan("learner_id"),
    ),
    edge_case(
        "component null",
        |_, _, d| set(d, "kc_id", Bson::Null),
        Fate::Refused("missing", S, "kc_id"),
    ),
    edge_case(
        "mastery infinite, stability a decimal",
        |_, _, d| {
            set(d, "p_mastery", f64::INFINITY);
            set(d, "stability", decimal("-1E-7"));
        },
        Fate::Placed(&[
            ("p_mastery", Some("Infinity")),
            ("stability", Some("-1e-07")),
        ]),
    ),
    edge_case(
        "more repetitions than fit",
        |_, _, d| set(d, "repetitions", i64::MAX),
        Fate::Refused("out-of-range", S, "repetitions"),
    ),
    edge_case(
        "next review in the year 300000",
        |_, _, d| {
            set(d, "next_review_at", date(YEAR_300000));
        },
        Fate::Placed(&[("next_review_at", None)]),
    ),
    edge_case(
        "updated before 4714 BC",
        |_, _, d| set(d, "updated_at", date(BEFORE_4714_BC)),
        Fate::Refused("out-of-range", S, "updated_at"),
    ),
];

const X: &str = "interactions";

pub(super) const INTERACTIONS: &[EdgeCase] = &[
    edge_case(
        "an item nobody knows",
        |f, n, d| f.orphan(Collection::Interactions, n, d, Collection::LearningItems),
        Fate::Placed(&[("item_id", None)]),
    ),
    edge_case(
        "a component nobody knows",
        |f, n, d| {
            f.orphan(
                Collection::Interactions,
                n,
                d,
                Collection::KnowledgeComponents,
            );
        },
        Fate::Orphan("kc_id"),
    ),
    edge_case(
        "a learner nobody knows",
        |f, n, d| f.orphan(Collection::Interactions, n, d, Collection::Learners),
        Fate::Orphan("learner_id"),
    ),
    edge_case(
        "no learner",
        |_, _, d| {
            d.remove("learner_id");
        },
        Fate::Refused("missing", X, "learner_id"),
    ),
    edge_case(
        "a number as session",
        |_, _, d| set(d, "session_id", 77),
        Fate::Refused("wrong-type", X, "session_id"),
    ),
    edge_case(
        "session over length",
        |_, _, d| set(d, "session_id", "s".repeat(65)),
        Fate::Refused("too-long", X, "session_id"),
    ),
    edge_case(
        "NUL in the response",
        |_, _, d| {
            set(d, "response", doc! { "te\u{1}xt": "a\0b\0" });
        },
        Fate::Placed(&[("response", Some(r#"{"te\u0001xt": "ab"}"#))]),
    ),
    edge_case(
        "half a millisecond",
        |_, _, d| set(d, "response_time_ms", 12.5),
        Fate::Refused("wrong-type", X, "response_time_ms"),
    ),
    edge_case(
        "more milliseconds than fit",
        |_, _, d| set(d, "response_time_ms", 1e19),
        Fate::Refused("out-of-range", X, "response_time_ms"),
    ),
    edge_case(
        "a score of 34 digits",
        |_, _, d| {
            set(d, "score", decimal("0.1234567890123456789012345678901234"));
            set(d, "response_time_ms", decimal("9223372036854775807"));
        },
        Fate::Placed(&[
            ("score", Some("0.1234567890123456789012345678901234")),
            ("response_time_ms", Some("9223372036854775807")),
        ]),
    ),
    edge_case(
        "score NaN",
        |_, _, d| {
            set(d, "score", f64::NAN);
        },
        Fate::Placed(&[("score", Some("NaN"))]),
    ),
    edge_case(
        "score infinite",
        |_, _, d| {
            set(d, "score", decimal("-Infinity"));
        },
        Fate::Placed(&[("score", Some("-Infinity"))]),
    ),
    edge_case(
        "a score very close to zero",
        |_, _, d| {
            set(d, "score", 1.5e-9);
        },
        Fate::Placed(&[("score", Some("0.0000000015"))]),
    ),
    edge_case(
        "text as score",
        |_, _, d| set(d, "score", "7"),
        Fate::Refused("wrong-type", X, "score"),
    ),
];
