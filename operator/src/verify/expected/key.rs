//! The key of a document and the UUID that stands for it, made again from the rules of
//! `docs/protocol.md`: numbers of one value are one key, and so are a string and a symbol.

use super::decimal::Decimal;
use bson::{RawBsonRef, RawDocument, spec::BinarySubtype};
use std::fmt::Write as _;
use uuid::Uuid;

/// As deep as a key is gone into; MongoDB nests no deeper than 200.
const DEPTH_MAX: usize = 250;

/// The key of an `_id`, as Leafcutter's state has it; `None` where it cannot be read.
pub fn canonical(id: RawBsonRef<'_>) -> Option<String> {
    let mut text = String::with_capacity(40);
    write(&mut text, id, 0)?;
    Some(text)
}

/// The deterministic UUID of a value.
pub fn uuid_v5(namespace: &Uuid, value: RawBsonRef<'_>) -> Option<Uuid> {
    Some(match value {
        RawBsonRef::ObjectId(id) => Uuid::new_v5(namespace, id.to_hex().as_bytes()),
        other => Uuid::new_v5(namespace, canonical(other)?.as_bytes()),
    })
}

/// The deterministic UUID of several texts.
pub fn uuid_of_texts(namespace: &Uuid, texts: &[String]) -> Uuid {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    Uuid::new_v5(namespace, format!("[{}]", quoted.join(",")).as_bytes())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writing to a string cannot fail.
fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).unwrap_or_default();
}

fn number(out: &mut String, value: &Decimal) {
    let text = match value {
        // Whole numbers of up to twenty digits are written out.
        Decimal::Finite(finite)
            if (0..=20).contains(&finite.exponent)
                && finite.digits.len() + usize::try_from(finite.exponent).unwrap_or(0) <= 20 =>
        {
            value.plain(None)
        }
        Decimal::Finite(finite) if finite.exponent == 0 => format!("{}e0", value.canonical()),
        _ => value.canonical(),
    };
    push(out, format_args!("number:{text}"));
}

fn write(out: &mut String, value: RawBsonRef<'_>, depth: usize) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    match value {
        RawBsonRef::ObjectId(id) => push(out, format_args!("objectId:{}", id.to_hex())),
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) if depth == 0 => {
            push(out, format_args!("string:{text}"));
        }
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => {
            push(out, format_args!("string:{}", quoted(text)));
        }
        RawBsonRef::Int32(n) => push(out, format_args!("number:{n}")),
        RawBsonRef::Int64(n) => push(out, format_args!("number:{n}")),
        RawBsonRef::Double(n) => double(out, n),
        RawBsonRef::Decimal128(n) => number(out, &Decimal::read(&n.to_string())?),
        RawBsonRef::Boolean(b) => push(out, format_args!("bool:{b}")),
        RawBsonRef::DateTime(at) => push(out, format_args!("date:{}", at.timestamp_millis())),
        RawBsonRef::Null => out.push_str("null:"),
        RawBsonRef::Undefined => out.push_str("undefined:"),
        RawBsonRef::MinKey => out.push_str("minKey:"),
        RawBsonRef::MaxKey => out.push_str("maxKey:"),
        RawBsonRef::Timestamp(at) => {
            push(out, format_args!("timestamp:{},{}", at.time, at.increment));
        }
        RawBsonRef::Binary(binary) => match (binary.subtype, Uuid::from_slice(binary.bytes)) {
            (BinarySubtype::Uuid, Ok(uuid)) => push(out, format_args!("uuid:{uuid}")),
            (subtype, _) => {
                push(out, format_args!("binary:{}:", u8::from(subtype)));
                for byte in binary.bytes {
                    push(out, format_args!("{byte:02x}"));
                }
            }
        },
        RawBsonRef::Document(document) => {
            out.push_str("document:");
            fields(out, document, depth + 1)?;
        }
        RawBsonRef::Array(array) => {
            out.push_str("array:[");
            for (index, item) in array.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item.ok()?, depth + 1)?;
            }
            out.push(']');
        }
        RawBsonRef::RegularExpression(regex) => {
            let (pattern, options) = (
                quoted(regex.pattern.as_str()),
                quoted(regex.options.as_str()),
            );
            push(out, format_args!("regex:{pattern}{options}"));
        }
        RawBsonRef::JavaScriptCode(code) => push(out, format_args!("code:{}", quoted(code))),
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            push(out, format_args!("codeWithScope:{}", quoted(code.code)));
            fields(out, code.scope, depth + 1)?;
        }
        RawBsonRef::DbPointer(pointer) => push(out, format_args!("dbPointer:{pointer:?}")),
    }
    Some(())
}

fn fields(out: &mut String, document: &RawDocument, depth: usize) -> Option<()> {
    out.push('{');
    for (index, element) in document.iter().enumerate() {
        let (name, value) = element.ok()?;
        let comma = if index > 0 { "," } else { "" };
        push(out, format_args!("{comma}{}:", quoted(name.as_str())));
        write(out, value, depth)?;
    }
    out.push('}');
    Some(())
}

/// MongoDB compares a double by its exact value, so only one that a Decimal128 can equal has the form
/// of a number.
fn double(out: &mut String, value: f64) {
    if !value.is_finite() {
        return number(out, &Decimal::of_f64(value));
    }
    // All digits of the binary fraction: 767 are enough for every double.
    let exact = Decimal::read(&format!("{value:.767e}")).unwrap_or(Decimal::NaN);
    match &exact {
        Decimal::Finite(finite) if finite.digits.len() > 34 => {
            push(out, format_args!("double:{value:e}"));
        }
        _ => number(out, &exact),
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical, uuid_of_texts, uuid_v5};
    use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
    use leafcutter_schemas::key;
    use uuid::Uuid;

    /// The two are written apart; here they meet.
    #[test]
    fn agree_with_the_product_on_every_kind_of_id() {
        let id = ObjectId::parse_str("507f1f77bcf86cd799439011").unwrap();
        let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
        let values = [
            Bson::from(id),
            Bson::from("a\"b"),
            Bson::Symbol("s".into()),
            Bson::from(7),
            Bson::from(i64::MIN),
            Bson::from(0.1),
            Bson::from(0.5),
            Bson::from(-0.0),
            Bson::from(1e300),
            Bson::from(9_007_199_254_740_992.0),
            Bson::from(f64::NAN),
            Bson::from(f64::NEG_INFINITY),
            decimal("1.500"),
            decimal("1E+6000"),
            decimal("12345678901234567890"),
            decimal("123456789012345678901"),
            Bson::from(true),
            Bson::from(bson::DateTime::from_millis(-5)),
            Bson::from(bson::Uuid::from_bytes([7; 16])),
            Bson::from(doc! { "a": 1.0, "b": ["x", { "c": Bson::Null }] }),
            Bson::MinKey,
            Bson::MaxKey,
            Bson::from(bson::Timestamp {
                time: 1,
                increment: 2,
            }),
            Bson::JavaScriptCode("f()".into()),
        ];
        for value in values {
            let raw = RawDocumentBuf::try_from(&doc! { "_id": value.clone() }).unwrap();
            let raw = raw.get("_id").unwrap().unwrap();
            let theirs = key::DocumentKey::of(raw);
            assert_eq!(
                canonical(raw).as_deref(),
                Some(theirs.as_str()),
                "{value:?}"
            );
            let namespace = Uuid::NAMESPACE_OID;
            assert_eq!(uuid_v5(&namespace, raw), key::uuid_v5(&namespace, raw));
        }
        let texts = ["a\"".to_owned(), "ü\n".to_owned()];
        let namespace = Uuid::NAMESPACE_DNS;
        assert_eq!(
            uuid_of_texts(&namespace, &texts),
            key::uuid_of_texts(&namespace, &texts)
        );
    }
}
