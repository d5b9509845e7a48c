//! Keys, made again: the canonical text of an `_id`, and the UUID that stands for it.
//!
//! Written from the rules, for the kinds of `_id` that FinLit has. A number reads
//! `number:<digits>`, or `number:<digits>e<exponent>` where it has a fraction.

use bson::{Bson, spec::BinarySubtype};
use std::fmt::Write as _;
use uuid::Uuid;

/// The canonical text of an `_id`.
pub fn canonical(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => format!("objectId:{}", id.to_hex()),
        Bson::String(text) => format!("string:{text}"),
        other => nested(other),
    }
}

/// The key of the row of the document with this `_id`.
pub fn row_key(id: &Bson) -> Uuid {
    let name = match id {
        Bson::ObjectId(id) => id.to_hex(),
        other => canonical(other),
    };
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

fn nested(value: &Bson) -> String {
    match value {
        Bson::Int32(n) => number(&n.to_string()),
        Bson::Int64(n) => number(&n.to_string()),
        // Only halves are used as keys: their shortest form is exact.
        Bson::Double(n) => number(&n.to_string()),
        Bson::Decimal128(n) => number(&n.to_string()),
        Bson::Boolean(b) => format!("bool:{b}"),
        Bson::DateTime(at) => format!("date:{}", at.timestamp_millis()),
        Bson::Binary(b) if b.subtype == BinarySubtype::Uuid => {
            format!("uuid:{}", Uuid::from_slice(&b.bytes).unwrap_or_default())
        }
        Bson::String(text) => format!("string:{}", serde_json::Value::from(text.as_str())),
        Bson::ObjectId(id) => format!("objectId:{}", id.to_hex()),
        Bson::Document(document) => {
            let mut text = String::from("document:{");
            for (index, (name, value)) in document.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let name = serde_json::Value::from(name.as_str());
                // Writing to a string cannot fail.
                write!(text, "{comma}{name}:{}", nested(value)).unwrap_or_default();
            }
            text + "}"
        }
        other => format!("not a key of FinLit: {other}"),
    }
}

/// From plain decimal notation, as all numbers used as keys have it.
fn number(plain: &str) -> String {
    let (sign, digits) = plain
        .strip_prefix('-')
        .map_or(("", plain), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let joined = format!("{whole}{fraction}");
    let joined = joined.trim_start_matches('0');
    match (joined, fraction.len()) {
        ("", _) => "number:0".to_owned(),
        (digits, 0) => format!("number:{sign}{digits}"),
        (digits, places) => format!("number:{sign}{digits}e-{places}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical, row_key};
    use crate::{Collection, FinLit};
    use bson::{RawDocumentBuf, doc};
    use leafcutter_schemas::key::{DocumentKey, uuid_v5};

    /// The two are written apart; here they meet.
    #[test]
    fn agree_with_the_product_on_every_kind_of_id() {
        let finlit = FinLit::new(3, 0.02);
        for n in 0..64 {
            let id = finlit.id(Collection::Interactions, n);
            let raw = RawDocumentBuf::try_from(&doc! { "_id": id.clone() }).unwrap();
            let raw = raw.get("_id").unwrap().unwrap();
            assert_eq!(canonical(&id), DocumentKey::of(raw).as_str(), "{id}");
            assert_eq!(
                Some(row_key(&id)),
                uuid_v5(&uuid::Uuid::NAMESPACE_OID, raw),
                "{id}"
            );
        }
    }
}
