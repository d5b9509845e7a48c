//! Olorin's documents. Each is a function of its number.

use bson::{Array, Bson, DateTime, Decimal128, Document, doc, oid::ObjectId};
use leafcutter_harness::dice::Dice;

const TENANTS: [&str; 5] = ["default", "acme", "Ünïcode GmbH", "x", "empty"];
pub(super) const USERS: u32 = 60;
pub(super) const DETECTORS: u32 = 30;
const PLAYBOOKS: u32 = 20;
const RUNS: u32 = 120;
const EVENTS: u32 = 150;
const EMBEDDINGS: u32 = 24;
const INVESTIGATIONS: u32 = 100;
const YEAR_2025: i64 = 1_735_689_600_000;

pub(super) fn dice(what: u64, n: u32) -> Dice {
    Dice::new(&[0x0010_0217, what, n.into()])
}

pub(super) fn object_id(what: u8, n: u32) -> ObjectId {
    let mut bytes = [0x67, 0x10, 0, 0, what, 0, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&n.to_be_bytes()[2..]);
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// The `_id` of a user: an address, for those that came by single sign-on.
pub fn user_id(n: u32) -> Bson {
    if n.is_multiple_of(4) {
        format!("sso|{n}@example.org").into()
    } else {
        object_id(1, n).into()
    }
}

/// The `_id` of a detector.
pub fn detector_id(n: u32) -> Bson {
    object_id(2, n).into()
}

/// The `_id` of a playbook.
pub fn playbook_id(n: u32) -> Bson {
    object_id(3, n).into()
}

/// The `_id` of a run.
pub fn run_id(n: u32) -> Bson {
    object_id(4, n).into()
}

/// The `_id` of an event.
pub fn event_id(n: u32) -> Bson {
    object_id(5, n).into()
}

/// The `_id` of an investigation.
pub fn investigation_id(n: u32) -> Bson {
    object_id(6, n).into()
}

pub(super) fn at(dice: &mut Dice) -> DateTime {
    DateTime::from_millis(YEAR_2025 + i64::from(dice.below_u32(2_000_000_000)))
}

/// Sometimes not there, which means the default; sometimes null.
fn tenant(document: &mut Document, dice: &mut Dice) {
    match dice.below(6) {
        0 => None,
        1 => document.insert("tenant_id", Bson::Null),
        _ => document.insert("tenant_id", dice.pick(&TENANTS[..4])),
    };
}

fn tenants() -> Vec<Document> {
    vec![
        doc! { "_id": "default", "name": "Default", "plan": 1, "active": "Yes", "settings": { "a": { "b": [1, 2.5, null] } } },
        doc! { "_id": "acme", "name": "Acme", "plan": 2.0, "active": false, "created_at": DateTime::from_millis(-1) },
        doc! { "_id": "Ünïcode GmbH", "name": "", "plan": "trial", "active": " off ", "settings": [] },
        doc! { "_id": "x", "name": "X", "plan": "premium", "settings": null },
        doc! { "_id": "empty", "name": "E", "plan": null, "active": null },
        doc! { "_id": "broken", "name": "B", "plan": 3 },
        doc! { "_id": "unsure", "name": "U", "plan": 1, "active": "perhaps" },
    ]
}

/// A user.
pub fn user(n: u32) -> Document {
    let dice = &mut dice(1, n);
    let mut user = doc! { "_id": user_id(n), "email": format!("u{n}@example.org") };
    tenant(&mut user, dice);
    let millis = YEAR_2025 + i64::from(dice.below_u32(2_000_000_000));
    let (roles, login): (Bson, Bson) = match n % 5 {
        0 => (Bson::Null, Bson::Null),
        1 => (Array::new().into(), Bson::Int64(millis)),
        2 => (
            bson::bson!(["analyst", null, "with \"quotes\", {commas} and \\"]),
            Bson::Int32(0),
        ),
        3 => (bson::bson!([""]), Bson::Double(1_736_899_200_250.0)),
        _ => return user,
    };
    user.extend(doc! { "roles": roles, "last_login": login });
    user
}

/// A detector.
pub fn detector(n: u32) -> Document {
    let dice = &mut dice(2, n);
    let mut detector = doc! {
        "_id": detector_id(n), "name": format!("detector {n}"), "kind": dice.pick(&["isolation_forest", "z-score"]),
        "parameters": { "window": dice.int(90), "deep": { "": [ { "$odd": true, "a.b": 1 } ] }, "limit": Decimal128::from_bytes([0; 16]) },
    };
    tenant(&mut detector, dice);
    let thresholds = match n % 4 {
        0 => doc! { "amount": dice.fraction(), "velocity": 3, "a.b $c ñ": -0.0 },
        1 => doc! { "amount": f64::NAN, "": f64::INFINITY, "none": null },
        2 => return detector,
        _ => Document::new(),
    };
    detector.insert("thresholds", thresholds);
    detector
}

fn playbook(n: u32) -> Document {
    let dice = &mut dice(3, n);
    let mut playbook = doc! { "_id": playbook_id(n), "title": format!("playbook {n}") };
    tenant(&mut playbook, dice);
    let stages = (0..dice.below(4)).map(|stage| {
        let steps = (0..dice.below(3)).map(|step| {
            // One in ten names a detector that there is not.
            let of = if dice.percent(10) {
                999
            } else {
                dice.below_u32(DETECTORS)
            };
            Bson::Document(
                doc! { "action": format!("do {stage}.{step}"), "detector_id": detector_id(of) },
            )
        });
        Bson::Array(steps.collect())
    });
    playbook.insert("stages", stages.collect::<Array>());
    if n == 7 {
        playbook.insert("stages", bson::bson!([{ "action": "not side by side" }]));
    }
    if n.is_multiple_of(3) {
        playbook.insert("severity_from", 2.0);
    }
    playbook
}

/// A run.
pub fn run(n: u32) -> Document {
    let dice = &mut dice(4, n);
    let seconds = 1_736_899_200 + dice.int(1_000_000);
    doc! {
        "_id": run_id(n), "detector_id": detector_id(dice.below_u32(DETECTORS)),
        "status": dice.pick(&["queued", "running", "done", "failed", "cancelled"]),
        "started_at": seconds, "finished_at": f64::from(seconds) + 0.25,
        "scanned": i64::from(dice.below_u32(4_000_000_000)) * 1_000_000,
        "cost": f64::from(dice.int(1_000_000)) / 16.0,
    }
}

/// 384 numbers, or whatever else got into the field over time.
fn vector(dice: &mut Dice, length: u32) -> Array {
    let odd = [
        Bson::Double(-0.0),
        Bson::Double(5e-324),
        Bson::Double(f64::MAX),
        Bson::Double(f64::NAN),
        Bson::Int32(1),
        Bson::Int64(-2),
        Bson::Null,
    ];
    (0..length)
        .map(|n| match n % 50 {
            49 => odd[dice.below(odd.len())].clone(),
            _ => Bson::Double((dice.fraction() - 0.5) / 3.0),
        })
        .collect()
}

/// An event. One in ten names a run that there is not.
pub fn event(n: u32) -> Document {
    let dice = &mut dice(5, n);
    let run = if dice.percent(10) {
        9_999
    } else {
        dice.below_u32(RUNS)
    };
    let mut event = doc! {
        "_id": event_id(n), "detector_id": detector_id(dice.below_u32(DETECTORS)), "run_id": run_id(run),
        "severity": dice.pick(&["low", "medium", "high", "critical"]), "observed_at": at(dice),
        "context": { "ip": "10.0.0.1", "agent": { "os": "β", "n": n } },
    };
    tenant(&mut event, dice);
    match n % 5 {
        0 => event.extend(doc! { "score": dice.fraction(), "context": { "ip": "::1" } }),
        1 => event.extend(
            doc! { "score": " 1e-3 ", "raw": { "a": [ { "b": Bson::Null } ] }, "context": "none" },
        ),
        2 => event.extend(doc! { "score": 7, "context": null, "note": "new\nline" }),
        3 => event.extend(doc! { "score": Decimal128::from_bytes([0; 16]), "context": {} }),
        _ => {}
    }
    match n % 6 {
        0 => event.insert("embedding", Array::new()),
        1 => event.insert("embedding", Bson::Null),
        2 => None,
        _ => event.insert("embedding", vector(dice, 384)),
    };
    match n {
        13 => event.insert("severity", "High"),
        29 => event.insert("embedding", bson::bson!([[1.0]])),
        43 => event.insert("score", "high"),
        _ => None,
    };
    event
}

fn embedding(n: u32) -> Document {
    let dice = &mut dice(7, n);
    let id: Bson = match n % 3 {
        0 => object_id(7, n).into(),
        1 => format!("doc/{n}#0").into(),
        _ => i64::from(n).into(),
    };
    let values = vector(dice, if n == 5 { 1 } else { 1_536 });
    doc! { "_id": id, "model": "text-embedding-3-small", "embedding": values }
}

/// An investigation. One in ten names a user that there is not.
pub fn investigation(n: u32) -> Document {
    let dice = &mut dice(6, n);
    let user = if dice.percent(10) {
        999
    } else {
        dice.below_u32(USERS)
    };
    let mut investigation = doc! {
        "_id": investigation_id(n), "investigation_id": format!("inv-{n}"), "user_id": user_id(user),
        "lifecycle_stage": dice.pick(&["draft", "in_progress", "completed"]), "status": "ok",
        "progress": { "percent": dice.int(101), "phases": [ { "name": "a", "done": true } ] },
        "created_at": at(dice), "updated_at": at(dice),
    };
    tenant(&mut investigation, dice);
    match n % 5 {
        0 => investigation.insert(
            "settings",
            doc! { "entity_type": "ip", "entity_value": "10.0.0.1", "range": { "from": at(dice) } },
        ),
        1 => investigation.insert("settings", doc! { "entity_value": "someone" }),
        2 => investigation.insert("settings", doc! {}),
        3 => investigation.insert("settings", Bson::Null),
        _ => None,
    };
    let findings = (0..dice.below(4)).map(|k| finding(dice, k));
    let results = doc! { "summary": "s", "findings": findings.collect::<Array>() };
    match n % 7 {
        0 => None,
        1 => investigation.insert("results", doc! { "findings": null }),
        _ => investigation.insert("results", results),
    };
    match n {
        // A finding without a word, findings that are none, and an entity that is no text.
        11 => investigation.insert("results", doc! { "findings": [ { "risk": 0.5 } ] }),
        22 => investigation.insert("results", doc! { "findings": { "0": "a" } }),
        35 => investigation.insert("settings", doc! { "entity_value": 7 }),
        n if n.is_multiple_of(2) => investigation.insert("version", dice.int(9)),
        _ => None,
    };
    investigation
}

fn finding(dice: &mut Dice, k: usize) -> Bson {
    // An event twice is an event once.
    let events = [0, 1, 2].map(|_| event_id(dice.below_u32(EVENTS)));
    match k {
        0 => doc! { "summary": "first", "risk": dice.fraction(), "events": [&events[0], &events[1], &events[0]] }.into(),
        1 => doc! { "summary": null, "text": "old name", "risk": 1, "events": [&events[2]] }.into(),
        _ => "only text".into(),
    }
}

/// All of them, children first.
pub(super) fn all() -> Vec<(&'static str, Document)> {
    let mut all = super::series::all();
    let mut add = |name, count, make: fn(u32) -> Document| {
        all.extend((0..count).map(|n| (name, make(n))));
    };
    add("investigations", INVESTIGATIONS, investigation);
    add("anomaly_events", EVENTS, event);
    add("detection_runs", RUNS, run);
    add("playbooks", PLAYBOOKS, playbook);
    add("detectors", DETECTORS, detector);
    add("users", USERS, user);
    add("embeddings", EMBEDDINGS, embedding);
    all.extend(tenants().into_iter().map(|tenant| ("tenants", tenant)));
    all
}
