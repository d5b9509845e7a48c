//! The rows of Olorin's documents, worked out again.

use super::series;
use crate::{
    expected::{Expected, Row},
    source::Source,
};
use bson::{Bson, Document, doc};
use leafcutter_finlit::expected::{
    self as finlit,
    cell::Cell,
    find,
    key::row_key,
    tables::{Column, Kind, column, id, text, varchar},
};

pub(super) const TENANT: Column = varchar("tenant_id", 64).or("default");

static TENANTS: &[Column] = &[
    varchar("tenant_id", 64).at("_id"),
    varchar("name", 255).required(),
    column("settings", Kind::Json),
    column("created_at", Kind::Timestamp),
];
static USERS: &[Column] = &[id("user_id"), TENANT, varchar("email", 255).required()];
static DETECTORS: &[Column] = &[
    id("detector_id"),
    TENANT,
    varchar("name", 255).required(),
    varchar("kind", 40),
    column("enabled", Kind::Bool).or("true"),
    column("parameters", Kind::Json),
];
static PLAYBOOKS: &[Column] = &[
    id("playbook_id"),
    TENANT,
    varchar("title", 255).required(),
    column("severity_from", Kind::Int).or("0"),
];
static STEPS: &[Column] = &[
    varchar("action", 80).required(),
    column("detector_id", Kind::Id),
];
static RUNS: &[Column] = &[
    id("run_id"),
    column("detector_id", Kind::Id).required(),
    column("scanned", Kind::BigInt).or("0"),
    column("cost", Kind::Numeric(Some((12, 4)))),
];
static EVENTS: &[Column] = &[
    id("event_id"),
    TENANT,
    column("detector_id", Kind::Id).required(),
    column("run_id", Kind::Id),
    varchar("severity", 20),
    varchar("source_ip", 45).at("context.ip"),
    column("observed_at", Kind::Timestamp),
];
static INVESTIGATIONS: &[Column] = &[
    id("id"),
    varchar("investigation_id", 64).required(),
    TENANT,
    column("user_id", Kind::Id),
    varchar("lifecycle_stage", 40),
    varchar("status", 40),
    column("settings", Kind::Json),
    column("progress", Kind::Json),
    column("results", Kind::Json),
    column("version", Kind::Int).or("1"),
    column("created_at", Kind::Timestamp),
    column("updated_at", Kind::Timestamp),
];
static FINDINGS: &[Column] = &[text("summary").required(), column("risk", Kind::Real)];
static FLOAT: Column = column("", Kind::Float).at("");
static JSON: Column = column("", Kind::Json).at("");

const OF_TENANT: (&str, &str, &str) = ("tenant_id", "tenants", "tenant_id");
const OF_DETECTOR: (&str, &str, &str) = ("detector_id", "detectors", "detector_id");

pub(super) type Made = Result<Vec<(&'static str, Row)>, &'static str>;

/// All rows, parents before children.
pub(super) fn expected(source: &Source) -> Expected {
    let mut expected = Expected::default();
    for document in source.of("tenants") {
        match tenant(document) {
            Ok(row) => expected.place("tenants", row),
            Err(reason) => expected.dead_letter("tenants", document, reason),
        }
    }
    for document in source.of("embeddings") {
        let id = match document.get("_id") {
            Some(Bson::String(text)) => text.clone(),
            Some(Bson::ObjectId(id)) => id.to_hex(),
            other => other.map_or_else(String::new, ToString::to_string),
        };
        let row = Row::default()
            .with("embedding_id", Cell::Text(id))
            .with("model", Cell::Text("text-embedding-3-small".to_owned()))
            .with(
                "embedding",
                array(document.get("embedding"), &FLOAT).unwrap_or(Cell::Null),
            );
        expected.place("embeddings", row);
    }
    for (collection, make, references) in [
        ("users", user as fn(&Document) -> Made, &[OF_TENANT][..]),
        ("detectors", detector, &[OF_TENANT]),
        ("playbooks", playbook, &[OF_TENANT]),
        ("detection_runs", run, &[OF_DETECTOR]),
        ("anomaly_events", event, &[OF_TENANT, OF_DETECTOR]),
        ("investigations", investigation, &[OF_TENANT]),
        ("audit_log", series::entry_rows, &[OF_TENANT]),
        ("detector_metrics", series::metric_rows, &[OF_DETECTOR]),
    ] {
        for document in source.of(collection) {
            place(&mut expected, (collection, document), make, references);
        }
    }
    expected
}

/// A document's rows, the first of them its own.
fn place(
    expected: &mut Expected,
    (collection, document): (&'static str, &Document),
    make: fn(&Document) -> Made,
    references: &[(&str, &str, &str)],
) {
    let rows = match make(document) {
        Ok(rows) => rows,
        Err(reason) => return expected.dead_letter(collection, document, reason),
    };
    for (at, (table, mut row)) in rows.into_iter().enumerate() {
        // What points to nothing is null, in these columns.
        for (of, column, parent, key) in [
            ("anomaly_events", "run_id", "detection_runs", "run_id"),
            ("investigations", "user_id", "users", "user_id"),
            ("audit_log", "user_id", "users", "user_id"),
            ("playbook_steps", "detector_id", "detectors", "detector_id"),
        ] {
            if table == of && !expected.finds(row.get(column), parent, key) {
                row = row.with(column, Cell::Null);
            }
        }
        let of_event = [("event_id", "anomaly_events", "event_id")];
        let references = match table {
            "finding_events" => &of_event[..],
            _ if at == 0 => references,
            _ => &[],
        };
        let placed = expected.place_child((collection, document), table, row, references);
        if at == 0 && !placed {
            return;
        }
    }
}

fn whole(document: &Document) -> Bson {
    document.clone().into()
}

/// An array, each element as a value of that column; none where there is no array.
fn array(value: Option<&Bson>, of: &Column) -> Result<Cell, &'static str> {
    match value {
        None | Some(Bson::Null) => Ok(Cell::Null),
        Some(Bson::Array(values)) => {
            let cells = values.iter().map(|value| finlit::cell(of, value));
            Ok(Cell::Array(cells.collect::<Result<_, _>>()?))
        }
        Some(_) => Err("wrong-type"),
    }
}

fn tenant(document: &Document) -> Result<Row, &'static str> {
    let plan = match document.get("plan") {
        Some(Bson::Int32(1)) => Cell::Text("basic".to_owned()),
        Some(Bson::Double(2.0)) => Cell::Text("premium".to_owned()),
        Some(Bson::String(plan)) if plan == "premium" => Cell::Text(plan.clone()),
        None | Some(Bson::Null) => Cell::Null,
        Some(Bson::String(plan)) if plan == "trial" => Cell::Null,
        Some(_) => return Err("unlisted"),
    };
    let active = match document.get("active") {
        None => Cell::Bool(true),
        Some(Bson::Null) => Cell::Null,
        Some(Bson::Boolean(active)) => Cell::Bool(*active),
        Some(Bson::String(word)) if word == "Yes" => Cell::Bool(true),
        Some(Bson::String(word)) if word == " off " => Cell::Bool(false),
        Some(_) => return Err("wrong-type"),
    };
    let row = Row::of(TENANTS, &whole(document))?;
    Ok(row.with("plan", plan).with("active", active))
}

fn user(document: &Document) -> Made {
    let text = text("").at("");
    let roles = match document.get("roles") {
        None => Cell::Array(Vec::new()),
        some => array(some, &text)?,
    };
    let login = match document.get("last_login") {
        Some(Bson::Int64(millis)) => Cell::Millis(*millis),
        Some(Bson::Int32(millis)) => Cell::Millis(i64::from(*millis)),
        Some(Bson::Double(_)) => Cell::Millis(1_736_899_200_250),
        _ => Cell::Null,
    };
    let row = Row::of(USERS, &whole(document))?;
    Ok(vec![(
        "users",
        row.with("roles", roles).with("last_login", login),
    )])
}

fn detector(document: &Document) -> Made {
    let made = document
        .get_object_id("_id")
        .map_or(0, |id| id.timestamp().timestamp_millis());
    let row = Row::of(DETECTORS, &whole(document))?;
    let key = row.get("detector_id").clone();
    let mut rows = vec![("detectors", row.with("created_at", Cell::Millis(made)))];
    for (metric, threshold) in document.get_document("thresholds").into_iter().flatten() {
        let row = Row::default()
            .with("detector_id", key.clone())
            .with("metric", Cell::Text(metric.clone()))
            .with("threshold", finlit::cell(&FLOAT, threshold)?);
        rows.push(("detector_thresholds", row));
    }
    Ok(rows)
}

fn playbook(document: &Document) -> Made {
    let row = Row::of(PLAYBOOKS, &whole(document))?;
    let key = row.get("playbook_id").clone();
    let mut rows = vec![("playbooks", row)];
    for (stage, steps) in (0..).zip(document.get_array("stages").into_iter().flatten()) {
        let place = |row: Row| {
            row.with("playbook_id", key.clone())
                .with("stage", Cell::Int(stage))
        };
        rows.push(("playbook_stages", place(Row::default())));
        let steps = steps.as_array().ok_or("wrong-type")?;
        for (step, value) in (0..).zip(steps) {
            let row = place(Row::of(STEPS, value)?);
            rows.push(("playbook_steps", row.with("step", Cell::Int(step))));
        }
    }
    Ok(rows)
}

fn run(document: &Document) -> Made {
    let status = match document.get_str("status") {
        Ok("cancelled") | Err(_) => Cell::Null,
        Ok(status) => Cell::Text(status.to_owned()),
    };
    let started = document
        .get_i32("started_at")
        .map_or(Cell::Null, |seconds| {
            Cell::Millis(i64::from(seconds) * 1_000)
        });
    // A quarter of a second after a whole one.
    let finished = match (&started, document.get_f64("finished_at")) {
        (Cell::Millis(started), Ok(_)) => Cell::Millis(started + 250),
        _ => Cell::Null,
    };
    let row = Row::of(RUNS, &whole(document))?.with("status", status);
    let row = row.with("started_at", started);
    Ok(vec![("detection_runs", row.with("finished_at", finished))])
}

fn event(document: &Document) -> Made {
    let listed = ["low", "medium", "high", "critical"];
    let row = Row::of(EVENTS, &whole(document))?;
    if document
        .get_str("severity")
        .is_ok_and(|severity| !listed.contains(&severity))
    {
        return Err("unlisted");
    }
    let score = match document.get("score") {
        Some(Bson::String(text)) => text
            .trim()
            .parse()
            .map(Cell::Float)
            .map_err(|_| "wrong-type")?,
        Some(number) => finlit::cell(&FLOAT, number)?,
        None => Cell::Null,
    };
    let embedding = array(document.get("embedding"), &FLOAT)?;
    let attributes = finlit::cell(&JSON, &rest(document).into())?;
    let row = row.with("score", score).with("embedding", embedding);
    Ok(vec![("anomaly_events", row.with("attributes", attributes))])
}

/// What no column takes. An object of which all is taken goes as a whole.
fn rest(document: &Document) -> Document {
    let taken = [
        "_id",
        "tenant_id",
        "detector_id",
        "run_id",
        "severity",
        "score",
        "embedding",
        "observed_at",
    ];
    let mut rest = Document::new();
    for (name, value) in document
        .iter()
        .filter(|(name, _)| !taken.contains(&name.as_str()))
    {
        let mut value = value.clone();
        if let (true, Bson::Document(context)) = (name == "context", &mut value)
            && context.remove("ip").is_some()
            && context.is_empty()
        {
            continue;
        }
        rest.insert(name, value);
    }
    rest
}

fn investigation(document: &Document) -> Made {
    let settings = document.get_document("settings").ok();
    let entity = match settings.and_then(|settings| Some((settings, settings.get("entity_value")?)))
    {
        None => Cell::Null,
        Some((settings, Bson::String(value))) => {
            let kind = settings.get_str("entity_type").unwrap_or("entity");
            Cell::Text(format!("{kind}:{value}"))
        }
        Some(_) => return Err("expression"),
    };
    let row = Row::of(INVESTIGATIONS, &whole(document))?;
    let key = row.get("id").clone();
    let mut rows = vec![("investigations", row.with("entity", entity))];
    let findings = match find(&whole(document), "results.findings") {
        None | Some(Bson::Null) => Vec::new(),
        Some(Bson::Array(findings)) => findings.clone(),
        Some(_) => return Err("wrong-type"),
    };
    for (position, element) in (0..).zip(findings) {
        let place = |row: Row| {
            row.with("id", key.clone())
                .with("position", Cell::Int(position))
        };
        let mut plain = match &element {
            Bson::Document(finding) => finding.clone(),
            text => doc! { "summary": text },
        };
        if plain
            .get("summary")
            .is_none_or(|summary| *summary == Bson::Null)
        {
            // Without either name the whole element is taken, which is no text.
            let text = plain.get("text").cloned();
            plain.insert("summary", text.unwrap_or(element));
        }
        rows.push((
            "investigation_findings",
            place(Row::of(FINDINGS, &plain.clone().into())?),
        ));
        let mut seen = Vec::new();
        for event in plain.get_array("events").into_iter().flatten() {
            let event = Cell::Uuid(row_key(event));
            if !seen.contains(&event) {
                seen.push(event.clone());
                rows.push((
                    "finding_events",
                    place(Row::default()).with("event_id", event),
                ));
            }
        }
    }
    Ok(rows)
}
