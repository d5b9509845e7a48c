//! The document key: one text for every value of `_id` that MongoDB takes for the same key.
//!
//! It is the key of the Kafka record, so it decides the partition and thereby the order; and it is
//! what the key map looks rows up by. It reads `<type>:<canonical form>`: `objectId:507f…`,
//! `string:abc`, `number:1`. Numbers of equal value share one form, whatever their BSON type, and
//! so do strings and symbols (manual, "Comparison/Sort Order"); inside an embedded document too.
//! Two different keys never share a text: the prefix separates the types, and within documents
//! strings and field names are quoted as JSON.
//!
//! What cannot be read, since its text is not UTF-8 ([`crate::id`]), is kept as raw bytes in hex:
//! `broken:2:…` for an `_id` of type 2. What is nested deeper than MongoDB nests anything is kept so
//! too, since keys are made of bytes of foreign writers, and each level takes a place on the stack.

use crate::{id, number::Number};
use bson::{RawBsonRef, RawDocument, raw::RawArray, spec::BinarySubtype};
use std::fmt::Write as _;
use uuid::Uuid;

/// The canonical text of an `_id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey(String);

impl DocumentKey {
    /// The key of an `_id` value.
    pub fn of(id: RawBsonRef<'_>) -> Self {
        let mut text = String::with_capacity(40);
        write_value(&mut text, id, None);
        Self(text)
    }

    /// The key of a document, or of a change event's `documentKey`; `None` where it has no `_id`
    /// or its structure is not that of BSON.
    pub fn of_document(document: &RawDocument) -> Option<Self> {
        if let Ok(id) = document.get("_id") {
            return id.map(Self::of);
        }
        let found = id::elements(document).find(|element| element.name == b"_id")?;
        let alone = id::key_document(document)?;
        // Only what stands before it cannot be read.
        if let Ok(Some(id)) = alone.get("_id") {
            return Some(Self::of(id));
        }
        let mut text = format!("broken:{}:", found.kind);
        write_hex(&mut text, found.value);
        Some(Self(text))
    }

    /// The key of a document that has no `_id`.
    pub fn missing() -> Self {
        Self("none:".to_owned())
    }

    /// The text; also the bytes of the Kafka record's key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The deterministic UUID of a value (RFC 9562, version 5). The name of an ObjectId is its 24 hex
/// digits, as existing migrations have it; of anything else its [`DocumentKey`], so that a string
/// equal to an ObjectId's digits is another key. None where something in it cannot be read.
pub fn uuid_v5(namespace: &Uuid, value: RawBsonRef<'_>) -> Option<Uuid> {
    Some(match value {
        RawBsonRef::ObjectId(id) => {
            let mut hex = [0u8; 24];
            for (pair, byte) in hex.chunks_exact_mut(2).zip(id.bytes()) {
                pair.copy_from_slice(&hex_pair(byte));
            }
            Uuid::new_v5(namespace, &hex)
        }
        other if !is_whole(other, 0) => return None,
        other => Uuid::new_v5(namespace, DocumentKey::of(other).0.as_bytes()),
    })
}

/// Whether everything in a value can be read, and nothing lies deeper than MongoDB nests.
fn is_whole(value: RawBsonRef<'_>, depth: usize) -> bool {
    let fields = |document: &RawDocument| {
        let mut elements = document.iter();
        elements.all(|element| element.is_ok_and(|(_, value)| is_whole(value, depth + 1)))
    };
    depth <= DEPTH_MAX
        && match value {
            RawBsonRef::Document(document) => fields(document),
            RawBsonRef::JavaScriptCodeWithScope(code) => fields(code.scope),
            RawBsonRef::Array(array) => {
                let mut elements = array.into_iter();
                elements.all(|element| element.is_ok_and(|value| is_whole(value, depth + 1)))
            }
            _ => true,
        }
}

/// The deterministic UUID of several texts: of their JSON array without spaces, which in PostgreSQL is
/// `to_json(array[a::text, b::text])::text`.
pub fn uuid_of_texts(namespace: &Uuid, texts: &[String]) -> Uuid {
    let array: serde_json::Value = texts.iter().map(String::as_str).collect();
    Uuid::new_v5(namespace, array.to_string().as_bytes())
}

fn hex_pair(byte: u8) -> [u8; 2] {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        out.extend(hex_pair(byte).map(char::from));
    }
}

fn write_quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Writes to a `String`, which cannot fail.
fn push(out: &mut String, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args).unwrap_or_default();
}

fn write_number(out: &mut String, number: &Number) {
    push(out, format_args!("number:{number}"));
}

/// MongoDB nests no deeper than 200 (`BSONDepth::kDefaultMaxAllowableDepth`).
const DEPTH_MAX: usize = 250;

/// Writes a value that lies so deep in an `_id`, or is the `_id` itself.
fn write_value(out: &mut String, value: RawBsonRef<'_>, depth: Option<usize>) {
    let below = depth.unwrap_or_default() + 1;
    match value {
        RawBsonRef::ObjectId(id) => {
            out.push_str("objectId:");
            write_hex(out, &id.bytes());
        }
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => {
            out.push_str("string:");
            if depth.is_some() {
                write_quoted(out, text);
            } else {
                out.push_str(text);
            }
        }
        RawBsonRef::Int32(n) => push(out, format_args!("number:{n}")),
        RawBsonRef::Int64(n) => push(out, format_args!("number:{n}")),
        RawBsonRef::Double(n) => write_double(out, n),
        RawBsonRef::Decimal128(n) => write_number(out, &Number::from_decimal128(&n)),
        RawBsonRef::Boolean(b) => push(out, format_args!("bool:{b}")),
        RawBsonRef::DateTime(at) => push(out, format_args!("date:{}", at.timestamp_millis())),
        RawBsonRef::Null => out.push_str("null:"),
        RawBsonRef::Undefined => out.push_str("undefined:"),
        RawBsonRef::MinKey => out.push_str("minKey:"),
        RawBsonRef::MaxKey => out.push_str("maxKey:"),
        RawBsonRef::Timestamp(t) => push(out, format_args!("timestamp:{},{}", t.time, t.increment)),
        RawBsonRef::Binary(binary) => write_binary(out, binary.subtype, binary.bytes),
        RawBsonRef::Document(document) => {
            out.push_str("document:");
            write_document(out, document, below);
        }
        RawBsonRef::Array(array) => {
            out.push_str("array:");
            write_array(out, array, below);
        }
        RawBsonRef::RegularExpression(regex) => {
            out.push_str("regex:");
            write_quoted(out, regex.pattern.as_str());
            write_quoted(out, regex.options.as_str());
        }
        RawBsonRef::JavaScriptCode(code) => {
            out.push_str("code:");
            write_quoted(out, code);
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            out.push_str("codeWithScope:");
            write_quoted(out, code.code);
            write_document(out, code.scope, below);
        }
        RawBsonRef::DbPointer(pointer) => push(out, format_args!("dbPointer:{pointer:?}")),
    }
}

/// Whole doubles take the short way; a double that no Decimal128 can equal has a form of its own,
/// since its exact digits may be hundreds.
fn write_double(out: &mut String, value: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        // Adding zero turns -0 into 0.
        push(out, format_args!("number:{}", value + 0.0));
        return;
    }
    let number = Number::from_f64(value);
    if number.fits_decimal128() {
        write_number(out, &number);
    } else {
        push(out, format_args!("double:{value:e}"));
    }
}

fn write_binary(out: &mut String, subtype: BinarySubtype, bytes: &[u8]) {
    match (subtype, <[u8; 16]>::try_from(bytes)) {
        (BinarySubtype::Uuid, Ok(uuid)) => {
            push(out, format_args!("uuid:{}", Uuid::from_bytes(uuid)));
        }
        (subtype, _) => {
            push(out, format_args!("binary:{}:", u8::from(subtype)));
            write_hex(out, bytes);
        }
    }
}

/// What cannot be gone through is kept as raw bytes, so that the key stays unambiguous.
fn write_broken(out: &mut String, bytes: &[u8]) {
    out.push_str("broken:");
    write_hex(out, bytes);
}

fn write_document(out: &mut String, document: &RawDocument, depth: usize) {
    if depth > DEPTH_MAX {
        return write_broken(out, document.as_bytes());
    }
    out.push('{');
    for (index, element) in document.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match element {
            Ok((name, value)) => {
                write_quoted(out, name.as_str());
                out.push(':');
                write_value(out, value, Some(depth));
            }
            Err(_) => {
                write_broken(out, document.as_bytes());
                break;
            }
        }
    }
    out.push('}');
}

fn write_array(out: &mut String, array: &RawArray, depth: usize) {
    if depth > DEPTH_MAX {
        return write_broken(out, array.as_bytes());
    }
    out.push('[');
    for (index, element) in array.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match element {
            Ok(value) => write_value(out, value, Some(depth)),
            Err(_) => {
                write_broken(out, array.as_bytes());
                break;
            }
        }
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, Decimal128, RawDocumentBuf, doc};

    fn key(id: impl Into<Bson>) -> String {
        let document = RawDocumentBuf::try_from(&doc! { "_id": id.into() }).unwrap();
        DocumentKey::of_document(&document).unwrap().0
    }

    #[test]
    fn equal_keys_of_mongodb_share_one_text() {
        let one = "1.0".parse::<Decimal128>().unwrap();
        for same in [
            Bson::from(1),
            Bson::from(1i64),
            Bson::from(1.0),
            Bson::from(one),
        ] {
            assert_eq!(key(same), "number:1");
        }
        assert_eq!(key(Bson::from(-0.0)), "number:0");
        assert_eq!(key(Bson::Symbol("a".into())), key("a"));
        assert_eq!(
            key(doc! { "a": 1, "b": "x" }),
            key(doc! { "a": 1.0, "b": "x" })
        );
    }

    #[test]
    fn different_keys_never_share_a_text() {
        let tenth = "0.1".parse::<Decimal128>().unwrap();
        let keys = [
            key(1),
            key("1"),
            key(true),
            key(Bson::Null),
            key(0.1),
            key(Bson::from(tenth)),
            key(doc! { "a": 1 }),
            key("document:{\"a\":number:1}"),
            key(doc! { "a": "1" }),
            key(doc! { "a": 1, "b": 2 }),
            key(doc! { "b": 2, "a": 1 }),
            key(doc! { "a": "x\",\"b\":string:\"y" }),
            key(doc! { "a": "x", "b": "y" }),
            key("507f1f77bcf86cd799439011"),
            key(bson::oid::ObjectId::parse_str("507f1f77bcf86cd799439011").unwrap()),
            key(bson::DateTime::from_millis(1)),
            key(Bson::MinKey),
            key(Bson::MaxKey),
            key(9_007_199_254_740_993i64),
            key(9_007_199_254_740_992.0),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:#?}");
        assert_eq!(key(9_007_199_254_740_992.0), key(9_007_199_254_740_992i64));
    }

    /// `{ _id: "cafe" }` with the last letter as Latin-1 has it.
    fn latin1(id: impl Into<Bson>) -> Vec<u8> {
        let mut bytes = doc! { "_id": id.into() }.to_vec().unwrap();
        let at = bytes.windows(4).position(|at| at == b"cafe").unwrap();
        bytes[at + 3] = 0xe9;
        bytes
    }

    #[test]
    fn an_id_that_cannot_be_read_has_a_key_of_its_own() {
        let key = |bytes: Vec<u8>| {
            DocumentKey::of_document(&RawDocumentBuf::from_bytes(bytes).unwrap()).unwrap()
        };
        let text = key(latin1("cafe"));
        assert_eq!(text.as_str(), "broken:2:05000000636166e900");
        let others = [
            key(latin1("a cafe")),
            key(latin1(Bson::JavaScriptCode("cafe".into()))),
            key(latin1(doc! { "cafe": 1 })),
            key(latin1(doc! { "a": "cafe" })),
            key(latin1(doc! { "a": "cafe", "b": 1 })),
            key(doc! { "_id": "caf\u{fffd}" }.to_vec().unwrap()),
        ];
        let distinct: std::collections::BTreeSet<_> = others.iter().chain([&text]).collect();
        assert_eq!(distinct.len(), 7, "{distinct:#?}");
        // A name that cannot be read, before an `_id` that can.
        let mut bytes = doc! { "cafe": 1, "_id": "x" }.to_vec().unwrap();
        let at = bytes.windows(4).position(|at| at == b"cafe").unwrap();
        bytes[at + 3] = 0xe9;
        assert_eq!(key(bytes).as_str(), "string:x");
    }

    #[test]
    fn what_cannot_be_read_whole_has_no_uuid() {
        for inner in [doc! { "a": { "b": "cafe" } }, doc! { "a": ["cafe"] }] {
            let whole = RawDocumentBuf::try_from(&doc! { "_id": inner }).unwrap();
            let uuid = |document: &RawDocument| {
                let id = document.get("_id").unwrap().unwrap();
                uuid_v5(&Uuid::NAMESPACE_OID, id)
            };
            assert!(uuid(&whole).is_some());
            let mut bytes = whole.into_bytes();
            let at = bytes.windows(4).position(|four| four == b"cafe").unwrap();
            bytes[at + 3] = 0xe9;
            assert_eq!(uuid(RawDocument::from_bytes(&bytes).unwrap()), None);
        }
    }

    #[test]
    fn an_id_of_any_depth_leaves_the_stack_alone() {
        for kind in [3u8, 4] {
            let mut inner = vec![5, 0, 0, 0, 0];
            for _ in 0..100_000 {
                let size = i32::try_from(inner.len() + 8).unwrap();
                let mut outer = size.to_le_bytes().to_vec();
                outer.extend_from_slice(&[kind, b'0', 0]);
                outer.append(&mut inner);
                outer.push(0);
                inner = outer;
                if inner.len() > 40_000 {
                    break;
                }
            }
            let document = RawDocument::from_bytes(&inner).unwrap();
            let key = DocumentKey::of(RawBsonRef::Document(document));
            assert!(key.as_str().contains("broken:"), "{kind}");
        }
    }

    #[test]
    fn uuid_of_an_object_id_is_named_by_its_digits() {
        let digits = "507f1f77bcf86cd799439011";
        let id = bson::oid::ObjectId::parse_str(digits).unwrap();
        let expected = Uuid::new_v5(&Uuid::NAMESPACE_OID, digits.as_bytes());
        assert_eq!(
            uuid_v5(&Uuid::NAMESPACE_OID, RawBsonRef::ObjectId(id)).unwrap(),
            expected
        );
        assert_ne!(
            uuid_v5(&Uuid::NAMESPACE_OID, RawBsonRef::String(digits)).unwrap(),
            expected
        );
    }
}
