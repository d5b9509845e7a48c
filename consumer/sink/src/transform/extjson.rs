//! BSON as relaxed Extended JSON v2 (MongoDB manual, "MongoDB Extended JSON (v2)"), written straight
//! from raw bytes: what `json` and `jsonb` columns hold.

use super::{bad::Bad, time};
use bson::{RawBsonRef, RawDocument, raw::RawArray};
use leafcutter_schemas::mapping::{PgType, Policy};
use std::io::Write as _;

/// Writes to a `Vec`, which cannot fail.
fn push(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args).unwrap_or_default();
}

/// What to do with NUL characters, which PostgreSQL's JSON types do not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nul {
    /// Refuse the value.
    Refuse,
    /// Leave the character out.
    Remove,
}

/// What the column can hold.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    nul: Nul,
    /// `jsonb` keeps the last of two fields of one name, and so would lose the other.
    names_once: bool,
}

impl Form {
    /// What a column of this type can hold, with this policy for NUL characters.
    pub fn of(pg_type: PgType, nul: Policy) -> Self {
        Self {
            nul: match nul {
                Policy::Truncate => Nul::Remove,
                Policy::Reject | Policy::Null => Nul::Refuse,
            },
            names_once: pg_type == PgType::Jsonb,
        }
    }
}

/// MongoDB nests no deeper than 200 (`BSONDepth::kDefaultMaxAllowableDepth`); what pretends to
/// would use up the stack.
const DEPTH_MAX: usize = 250;

/// Appends `value` as JSON.
///
/// # Errors
/// [`Bad::Nul`] where a text has one and it is to be refused, [`Bad::DuplicateName`] where `jsonb`
/// would lose a field, [`Bad::TooDeep`] and [`Bad::Malformed`] for BSON that MongoDB has not made.
pub fn write(out: &mut Vec<u8>, value: RawBsonRef<'_>, form: Form) -> Result<(), Bad> {
    write_at(out, value, form, 0)
}

/// The same for a value that lies so deep.
pub(super) fn write_at(
    out: &mut Vec<u8>,
    value: RawBsonRef<'_>,
    form: Form,
    depth: usize,
) -> Result<(), Bad> {
    let nul = form.nul;
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
        RawBsonRef::Document(document) => object(out, document, form, depth + 1)?,
        RawBsonRef::Array(array) => list(out, array, form, depth + 1)?,
        RawBsonRef::Symbol(text) => wrapped(out, "$symbol", text, nul)?,
        RawBsonRef::JavaScriptCode(code) => wrapped(out, "$code", code, nul)?,
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            out.extend_from_slice(br#"{"$code":"#);
            quote(out, code.code, nul)?;
            out.extend_from_slice(br#","$scope":"#);
            object(out, code.scope, form, depth + 1)?;
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

fn object(out: &mut Vec<u8>, document: &RawDocument, form: Form, depth: usize) -> Result<(), Bad> {
    let mut fields = Fields::open(out, form, depth)?;
    for element in document {
        let (name, value) = element.map_err(|_| Bad::Malformed)?;
        fields.name(out, name.as_str())?;
        write_at(out, value, form, depth)?;
    }
    fields.close(out)
}

/// The fields of an object that is being written.
pub(super) struct Fields<'n> {
    form: Form,
    names: Vec<&'n str>,
    first: bool,
}

impl<'n> Fields<'n> {
    /// Begins an object that lies so deep.
    pub(super) fn open(out: &mut Vec<u8>, form: Form, depth: usize) -> Result<Self, Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::TooDeep);
        }
        out.push(b'{');
        Ok(Self {
            form,
            names: Vec::new(),
            first: true,
        })
    }

    /// Begins a field; its value is to follow.
    pub(super) fn name(&mut self, out: &mut Vec<u8>, name: &'n str) -> Result<(), Bad> {
        if !self.first {
            out.push(b',');
        }
        self.first = false;
        if self.form.names_once {
            self.names.push(name);
        }
        quote(out, name, self.form.nul)?;
        out.push(b':');
        Ok(())
    }

    /// How far the object is.
    pub(super) fn mark(&self) -> (usize, bool) {
        (self.names.len(), self.first)
    }

    /// Forgets the fields after a mark.
    pub(super) fn back(&mut self, (names, first): (usize, bool)) {
        self.names.truncate(names);
        self.first = first;
    }

    /// Ends the object.
    pub(super) fn close(mut self, out: &mut Vec<u8>) -> Result<(), Bad> {
        out.push(b'}');
        self.names.sort_unstable();
        if self.names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Bad::DuplicateName);
        }
        Ok(())
    }
}

fn list(out: &mut Vec<u8>, array: &RawArray, form: Form, depth: usize) -> Result<(), Bad> {
    if depth > DEPTH_MAX {
        return Err(Bad::TooDeep);
    }
    out.push(b'[');
    for (index, element) in array.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_at(out, element.map_err(|_| Bad::Malformed)?, form, depth)?;
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
    let text = time::timestamp_text(millis);
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
    use bson::{Bson, RawBson, RawDocumentBuf, cstr, doc, oid::ObjectId, spec::BinarySubtype};

    const REFUSE: Form = Form {
        nul: Nul::Refuse,
        names_once: true,
    };

    fn json(value: Bson) -> serde_json::Value {
        let document = RawDocumentBuf::try_from(&doc! { "v": value }).unwrap();
        let mut out = Vec::new();
        write(&mut out, document.get("v").unwrap().unwrap(), REFUSE).unwrap();
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
        assert_eq!(write(&mut out, value, REFUSE), Err(Bad::Nul));
        out.clear();
        write(&mut out, value, Form::of(PgType::Jsonb, Policy::Truncate)).unwrap();
        assert_eq!(out, b"\"ab\"");
    }

    #[test]
    fn jsonb_takes_no_name_twice_and_nothing_bottomless() {
        let mut twice = RawDocumentBuf::new();
        twice.append(cstr!("a"), 1);
        twice.append(cstr!("b"), 1);
        twice.append(cstr!("a"), 2);
        let value = RawBsonRef::Document(&twice);
        let mut out = Vec::new();
        assert_eq!(write(&mut out, value, REFUSE), Err(Bad::DuplicateName));
        out.clear();
        write(&mut out, value, Form::of(PgType::Json, Policy::Reject)).unwrap();
        assert_eq!(out, br#"{"a":1,"b":1,"a":2}"#);

        let nested = |depth: usize| {
            let mut inner = RawDocumentBuf::new();
            for level in 0..depth {
                let mut outer = RawDocumentBuf::new();
                if level % 2 == 0 {
                    outer.append(cstr!("a"), inner);
                } else {
                    let array = bson::RawArrayBuf::from_iter([RawBson::Document(inner)]);
                    outer.append(cstr!("a"), array);
                }
                inner = outer;
            }
            inner
        };
        let fine = nested(150);
        assert_eq!(write(&mut out, RawBsonRef::Document(&fine), REFUSE), Ok(()));
        let deep = nested(20_000);
        assert_eq!(
            write(&mut out, RawBsonRef::Document(&deep), REFUSE),
            Err(Bad::TooDeep)
        );
    }
}
