//! A profile as JSON, for `--json`.

use super::{Node, Profile};
use crate::draft::kind::Kind;
use serde_json::{Map, Value, json};

impl Profile {
    /// The profile as JSON: every path with its types, and what was seen of the values.
    pub fn json(&self) -> Value {
        json!({
            "documents": self.documents,
            "unreadable": self.unreadable,
            "largest_bytes": self.largest,
            "bytes": self.bytes,
            "fields": fields(&self.root),
            "fields_left_out": self.root.fields.more,
        })
    }
}

fn fields(node: &Node) -> Value {
    let order = node.fields.order.iter();
    let fields =
        order.filter_map(|name| Some((name.clone(), value(node.fields.by_name.get(name)?))));
    Value::Object(fields.collect())
}

fn value(node: &Node) -> Value {
    let types = Kind::ALL.iter().filter(|kind| node.count(**kind) > 0);
    let types: Map<String, Value> = types
        .map(|kind| (kind.name().to_owned(), node.count(*kind).into()))
        .collect();
    let mut out = json!({ "types": types });
    let mut put = |name: &str, what: Value| {
        if let Some(object) = out.as_object_mut() {
            object.insert(name.to_owned(), what);
        }
    };
    if let Some((low, high)) = node.numbers.range {
        put("min", json!(low));
        put("max", json!(high));
    }
    if node.count(Kind::Text) > 0 {
        let texts = &node.texts;
        put(
            "texts",
            json!({
                "longest": texts.longest, "nul": texts.nul, "dates": texts.dates,
                "numbers": texts.numbers, "uuids": texts.uuids, "object_ids": texts.object_ids,
            }),
        );
    }
    if node.count(Kind::Date) > 0 {
        put(
            "dates",
            json!({ "range": node.dates.range, "outside": node.dates.outside }),
        );
    }
    if node.samples.values().next().is_some() {
        put("values", node.samples.json());
        put("values_left_out", node.samples.more.into());
    }
    if !node.fields.order.is_empty() {
        put("fields", fields(node));
        put("fields_left_out", node.fields.more.into());
    }
    if let Some(elements) = &node.elements {
        put("longest", node.longest.into());
        put("elements", value(elements));
    }
    if node.deeper > 0 {
        put("not_looked_into", node.deeper.into());
    }
    out
}
