//! Olorin's two time series: their documents and their rows. Nothing in a series changes, and
//! nothing goes.

use super::{
    documents::{self, at, detector_id, dice, object_id, user_id},
    rows::{Made, TENANT},
};
use crate::{Series, expected::Row};
use bson::{Bson, DateTime, Document, doc};
use leafcutter_finlit::expected::tables::{Column, Kind, column, id, varchar};

/// How their application made them.
pub(super) const ALL: &[Series] = &[
    Series {
        collection: "audit_log",
        time: "timestamp",
        meta: "meta",
    },
    Series {
        collection: "detector_metrics",
        time: "timestamp",
        meta: "meta",
    },
];
/// Entries and measurements at first.
const COUNT: u32 = 90;

static ENTRIES: &[Column] = &[
    id("entry_id"),
    TENANT.at("meta.tenant_id"),
    column("user_id", Kind::Id).at("meta.user_id"),
    varchar("action", 80).required(),
    column("logged_at", Kind::Timestamp)
        .at("timestamp")
        .required(),
    column("details", Kind::Json),
];
static METRICS: &[Column] = &[
    id("metric_id"),
    column("detector_id", Kind::Id)
        .at("meta.detector_id")
        .required(),
    varchar("name", 40).at("meta.name").required(),
    column("measured_at", Kind::Timestamp)
        .at("timestamp")
        .required(),
    column("value", Kind::Float),
];

/// An entry of the audit log. One is without an action.
pub fn entry(n: u32) -> Document {
    let dice = &mut dice(8, n);
    let mut meta = doc! { "user_id": user_id(dice.below_u32(documents::USERS + 5)) };
    if !n.is_multiple_of(3) {
        meta.insert("tenant_id", dice.pick(&["default", "acme", "x"]));
    }
    let mut entry = doc! {
        "_id": object_id(8, n), "timestamp": at(dice), "meta": meta,
        "action": dice.pick(&["login", "detector.update", "investigation.open"]),
    };
    match n % 4 {
        0 => entry.insert(
            "details",
            doc! { "from": { "ip": "::1" }, "n": [n, 0.5, null] },
        ),
        1 => entry.insert("details", Bson::Null),
        2 => entry.insert("details", "only text"),
        _ => None,
    };
    if n == 9 {
        entry.remove("action");
    }
    entry
}

/// A measurement of a detector.
pub fn metric(n: u32) -> Document {
    let dice = &mut dice(9, n);
    let value: Bson = match n % 4 {
        0 => dice.int(1_000).into(),
        1 => f64::NAN.into(),
        2 => Bson::Null,
        _ => dice.fraction().into(),
    };
    let name = dice.pick(&["precision", "recall", "latency_ms"]);
    let detector = detector_id(dice.below_u32(documents::DETECTORS));
    doc! {
        "_id": object_id(9, n), "timestamp": at(dice),
        "meta": { "detector_id": detector, "name": name }, "value": value,
    }
}

/// The same, just now.
pub fn now(mut document: Document) -> Document {
    document.insert("timestamp", DateTime::now());
    document
}

/// All of them.
pub(super) fn all() -> Vec<(&'static str, Document)> {
    let entries = (0..COUNT).map(|n| ("audit_log", entry(n)));
    let metrics = (0..COUNT).map(|n| ("detector_metrics", metric(n)));
    entries.chain(metrics).collect()
}

/// The row of an entry.
pub(super) fn entry_rows(document: &Document) -> Made {
    let row = Row::of(ENTRIES, &document.clone().into())?;
    Ok(vec![("audit_log", row)])
}

/// The row of a measurement.
pub(super) fn metric_rows(document: &Document) -> Made {
    let row = Row::of(METRICS, &document.clone().into())?;
    Ok(vec![("detector_metrics", row)])
}
