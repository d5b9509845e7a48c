//! What stands beside a column: how often which type was seen, and what a person may make of it.

use crate::draft::{kind::Kind, profile::Node, types::Type};

/// `97 % text, 3 % missing`.
pub(super) fn coverage(node: &Node, rows: u64) -> String {
    let mut parts: Vec<String> = Vec::new();
    let seen = Kind::ALL.iter().filter(|kind| node.count(**kind) > 0);
    let mut seen: Vec<(u64, &str)> = seen.map(|k| (node.count(*k), k.name())).collect();
    seen.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let missing = rows.saturating_sub(node.seen());
    if missing > 0 {
        seen.push((missing, "missing"));
    }
    let whole = rows.max(node.seen());
    for (count, name) in seen {
        parts.push(format!("{} {name}", share(count, whole)));
    }
    parts.join(", ")
}

fn share(part: u64, whole: u64) -> String {
    if part == whole {
        return "100 %".to_owned();
    }
    match part.saturating_mul(100) / whole.max(1) {
        0 => "< 1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// All that is said of a column.
pub(super) fn column(node: &Node, rows: u64, typed: &Type) -> String {
    let mut notes = vec![coverage(node, rows)];
    let texts = node.count(Kind::Text);
    if texts > 0 && node.valued() == texts && !typed.is_json() {
        notes.extend(of_texts(node, texts));
    }
    if let (Some((low, high)), false) = (node.numbers.range, typed.is_json()) {
        notes.push(format!("{low} to {high}"));
        if node.count(Kind::Double) > 0 && node.numbers.fractions == 0 && typed.name != "bigint" {
            notes.push("whole numbers only".to_owned());
        }
    }
    if node.dates.outside > 0 && !typed.is_json() {
        notes.push(format!(
            "{} beyond PostgreSQL: rejected, or `invalid: null`",
            node.dates.outside
        ));
    }
    let nul = node.texts.nul + node.elements.as_ref().map_or(0, |e| e.texts.nul);
    if nul > 0 {
        notes.push(format!("{nul} with NUL: rejected, or `invalid: truncate`"));
    }
    if let Some(elements) = node.elements.as_ref().filter(|_| !typed.is_json()) {
        notes.push(format!("up to {}", plural(node.longest)));
        if elements.valued() == 0 {
            notes.push("always empty".to_owned());
        }
    }
    let many = node.valued() >= 50 && node.valued() == rows;
    if many && node.samples.all_different() && !typed.is_json() {
        notes.push("looks unique".to_owned());
    }
    if let Some(words) = node.samples.words() {
        let shown: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        notes.push(format!("one of {}", shown.join(" ")));
    }
    notes.join("; ")
}

fn of_texts(node: &Node, texts: u64) -> Vec<String> {
    let facts = &node.texts;
    let mut notes = vec![format!("up to {} characters", facts.longest)];
    let looks = [
        (
            facts.dates,
            "reads as a date: timestamptz with `convert: parse`",
        ),
        (
            facts.numbers,
            "reads as a number: numeric with `convert: parse`",
        ),
        (facts.uuids, "reads as a UUID: type uuid"),
        (facts.object_ids, "reads as an ObjectId"),
    ];
    let all = looks.into_iter().find(|(count, _)| *count == texts);
    notes.extend(all.map(|(_, note)| note.to_owned()));
    notes
}

fn plural(elements: usize) -> String {
    match elements {
        1 => "1 element".to_owned(),
        many => format!("{many} elements"),
    }
}
