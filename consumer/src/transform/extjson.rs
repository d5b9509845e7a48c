//! BSON as relaxed Extended JSON v2 (MongoDB manual, "MongoDB Extended JSON (v2)"), written straight
//! from raw bytes: what `json` and `jsonb` columns hold.

use super::Bad;
use bson::{RawBsonRef, RawDocument, raw::RawArray};
use std::io::Write as _;

/// Writes to a `Vec`, which cannot fail.
fn push(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args).unwrap_or_default();
}

/// What to do with NUL characters, which PostgreSQL's JSON types do not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nul {
    /// Refuse the value.
    Refuse,
    /// Leave the character out.
    Remove,
}

/// Appends `value` as JSON.
///
/// # Errors
/// [`Bad::Nul`] where a text has one and it is to be refused; [`Bad::Malformed`] for broken BSON.
pub fn write(out: &mut Vec<u8>, value: RawBsonRef<'_>, nul: Nul) -> Result<(), Bad> {
    match value {
        RawBsonRef::String(text) => quote(out, text, nul)?,
        RawBsonRef::Int32(n) => push(out, format_args!("{n}")),
        RawBsonRef::Int64(n) => push(out, format_args!("{n}")),
        RawBsonRef::Double(n) if n.is_finite() => push(out, format_args!("{n:?}")),
        RawBsonRef::Double(n) if n.is_nan() => out.extend_from_slice(br#"{"$numberDouble":"NaN"}"#),
        RawBsonRef::Double(n) => {
            let sign = if n < 0.0 { "-" } else { "" };
            push(out, format_args!(r#"{{"$numberDouble":"{sign}Infinity"}}"#));
        }
        RawBsonRef::Decimal128(n) => push(out, format_args!(r#"{{"$numberDecimal":"{n}"}}"#)),
        RawBsonRef::Boolean(b) => push(out, format_args!("{b}")),
        RawBsonRef::Null => out.extend_from_slice(b"null"),
        RawBsonRef::Undefined => out.extend_from_slice(br#"{"$undefined":true}"#),
        RawBsonRef::MinKey => out.extend_from_slice(br#"{"$minKey":1}"#),
        RawBsonRef::MaxKey => out.extend_from_slice(br#"{"$maxKey":1}"#),
        RawBsonRef::ObjectId(id) => push(out, format_args!(r#"{{"$oid":"{id}"}}"#)),
        RawBsonRef::DateTime(at) => date(out, at.timestamp_millis()),
        RawBsonRef::Timestamp(at) => push(
            out,
            format_args!(
                r#"{{"$timestamp":{{"t":{},"i":{}}}}}"#,
                at.time, at.increment
            ),
        ),
        RawBsonRef::Binary(binary) => {
            out.extend_from_slice(br#"{"$binary":{"base64":""#);
            base64(out, binary.bytes);
            push(
                out,
                format_args!(r#"","subType":"{:02x}"}}}}"#, u8::from(binary.subtype)),
            );
        }
        RawBsonRef::Document(document) => object(out, document, nul)?,
        RawBsonRef::Array(array) => list(out, array, nul)?,
        RawBsonRef::Symbol(text) => wrapped(out, "$symbol", text, nul)?,
        RawBsonRef::JavaScriptCode(code) => wrapped(out, "$code", code, nul)?,
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            out.extend_from_slice(br#"{"$code":"#);
            quote(out, code.code, nul)?;
            out.extend_from_slice(br#","$scope":"#);
            object(out, code.scope, nul)?;
            out.push(b'}');
        }
        RawBsonRef::RegularExpression(regex) => {
            out.extend_from_slice(br#"{"$regularExpression":{"pattern":"#);
            quote(out, regex.pattern.as_str(), nul)?;
            out.extend_from_slice(br#","options":"#);
            quote(out, regex.options.as_str(), nul)?;
            out.extend_from_slice(b"}}");
        }
        // The crate shows the parts of this deprecated type only through its own JSON.
        RawBsonRef::DbPointer(_) => {
            let owned = bson::Bson::try_from(value).map_err(|_| Bad::Malformed)?;
            push(out, format_args!("{}", owned.into_relaxed_extjson()));
        }
    }
    Ok(())
}

fn wrapped(out: &mut Vec<u8>, name: &str, text: &str, nul: Nul) -> Result<(), Bad> {
    push(out, format_args!(r#"{{"{name}":"#));
    quote(out, text, nul)?;
    out.push(b'}');
    Ok(())
}

fn object(out: &mut Vec<u8>, document: &RawDocument, nul: Nul) -> Result<(), Bad> {
    out.push(b'{');
    for (index, element) in document.iter().enumerate() {
        let (name, value) = element.map_err(|_| Bad::Malformed)?;
        if index > 0 {
            out.push(b',');
        }
        quote(out, name.as_str(), nul)?;
        out.push(b':');
        write(out, value, nul)?;
    }
    out.push(b'}');
    Ok(())
}

fn list(out: &mut Vec<u8>, array: &RawArray, nul: Nul) -> Result<(), Bad> {
    out.push(b'[');
    for (index, element) in array.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, element.map_err(|_| Bad::Malformed)?, nul)?;
    }
    out.push(b']');
    Ok(())
}

fn quote(out: &mut Vec<u8>, text: &str, nul: Nul) -> Result<(), Bad> {
    out.push(b'"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..index]);
        plain = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0 if nul == Nul::Refuse => return Err(Bad::Nul),
            0 => {}
            control => push(out, format_args!("\\u{control:04x}")),
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
    Ok(())
}

/// Years 1970 to 9999 in RFC 3339, others as milliseconds, as the specification has it.
fn date(out: &mut Vec<u8>, millis: i64) {
    const YEAR_10000: i64 = 253_402_300_800_000;
    if (0..YEAR_10000).contains(&millis) {
        push(out, format_args!(r#"{{"$date":"{}"}}"#, rfc3339(millis)));
    } else {
        push(
            out,
            format_args!(r#"{{"$date":{{"$numberLong":"{millis}"}}}}"#),
        );
    }
}

/// A date as `2025-01-15T10:30:00Z`, with milliseconds only where there are any, as MongoDB's
/// drivers write it.
fn rfc3339(millis: i64) -> String {
    let text = super::value::timestamp_text(millis);
    match text.strip_suffix(".000Z") {
        Some(whole) => format!("{whole}Z"),
        None => text,
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let mut group = [0u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for position in 0..4 {
            if position <= chunk.len() {
                let index = (bits >> (18 - 6 * position)) & 63;
                out.push(ALPHABET[index as usize]);
            } else {
                out.push(b'=');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId, spec::BinarySubtype};

    fn json(value: Bson) -> serde_json::Value {
        let document = RawDocumentBuf::try_from(&doc! { "v": value }).unwrap();
        let mut out = Vec::new();
        write(&mut out, document.get("v").unwrap().unwrap(), Nul::Refuse).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn agrees_with_the_bson_crate() {
        let binary = |bytes: &[u8]| {
            Bson::Binary(bson::Binary {
                subtype: BinarySubtype::Generic,
                bytes: bytes.to_vec(),
            })
        };
        let values = [
            Bson::from(1),
            Bson::from(i64::MAX),
            Bson::from(0.1),
            Bson::from(1.0),
            Bson::from(-0.0),
            Bson::from(f64::NAN),
            Bson::from(f64::NEG_INFINITY),
            Bson::from(1e300),
            Bson::from("a\"b\\c\n\u{1}ü🦀"),
            Bson::from(true),
            Bson::Null,
            Bson::MinKey,
            Bson::MaxKey,
            Bson::Undefined,
            Bson::Symbol("s".into()),
            Bson::JavaScriptCode("f()".into()),
            Bson::from(ObjectId::parse_str("507f1f77bcf86cd799439011").unwrap()),
            Bson::from(bson::DateTime::from_millis(1_736_899_200_000)),
            Bson::from(bson::DateTime::from_millis(1_736_899_200_001)),
            Bson::from(bson::DateTime::from_millis(-1)),
            Bson::from(bson::DateTime::from_millis(253_402_300_799_999)),
            Bson::from(bson::Timestamp {
                time: 1,
                increment: 2,
            }),
            Bson::from("1.50".parse::<bson::Decimal128>().unwrap()),
            binary(b""),
            binary(b"a"),
            binary(b"ab"),
            binary(b"abc"),
            binary(b"\xff\xfe\xfd\xfc"),
            Bson::from(doc! { "a": [1, { "b": "c" }], "": {} }),
            Bson::from(bson::Regex {
                pattern: "a+".try_into().unwrap(),
                options: "i".try_into().unwrap(),
            }),
            Bson::from(bson::JavaScriptCodeWithScope {
                code: "x".into(),
                scope: doc! { "y": 1 },
            }),
        ];
        for value in values {
            assert_eq!(
                json(value.clone()),
                value.clone().into_relaxed_extjson(),
                "{value:?}"
            );
        }
    }

    /// The crate shows such dates as the last nanosecond of 9999; the specification wants this.
    #[test]
    fn dates_after_9999_are_milliseconds() {
        let value = json(Bson::from(bson::DateTime::from_millis(253_402_300_800_000)));
        assert_eq!(
            value,
            serde_json::json!({ "$date": { "$numberLong": "253402300800000" } })
        );
    }

    #[test]
    fn nul_is_refused_or_left_out() {
        let document = RawDocumentBuf::try_from(&doc! { "v": "a\0b" }).unwrap();
        let value = document.get("v").unwrap().unwrap();
        let mut out = Vec::new();
        assert_eq!(write(&mut out, value, Nul::Refuse), Err(Bad::Nul));
        out.clear();
        write(&mut out, value, Nul::Remove).unwrap();
        assert_eq!(out, b"\"ab\"");
    }
}
