//! One value to one field, type by type: what a type of PostgreSQL takes of BSON, of text that is read
//! (`convert: parse`) and of the mapping's constants, and what the bytes become. No other file of the
//! transform knows the types one by one.
//!
//! Nothing is rounded or guessed: an integer takes a double only if it has no fraction.

use super::{
    array,
    bad::{Bad, out_of_range, wrong},
    bson_type::is_uuid,
    extjson,
    field::{JSON, JSONB, field, json_field},
    numbers, numeric,
    parse::{self, NOT_READ},
    text,
    time::{self, Moment},
};
use bson::RawBsonRef;
use leafcutter_schemas::{
    key::uuid_v5,
    mapping::{Column, Conversion, PgType, Policies},
    number::Number,
};
use uuid::Uuid;

/// What one value has to become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) pg_type: PgType,
    pub(super) conversion: Conversion,
    pub(super) invalid: Policies,
}

/// What there is for a field.
#[derive(Clone, Copy)]
enum Given<'a> {
    /// A value of a document.
    Value(RawBsonRef<'a>),
    /// Text of a document that is to be read.
    Text(&'a str),
    /// A constant, which the mapping's check has read.
    Constant(&'a str),
}

/// Appends the field for one value that is no null, by its rule alone.
#[inline]
pub(super) fn encode_value(
    rule: &Rule,
    value: RawBsonRef<'_>,
    namespace: &Uuid,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let given = match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text)
            if rule.conversion == Conversion::Parse =>
        {
            Given::Text(text.trim_matches(|c: char| c.is_ascii_whitespace()))
        }
        value => Given::Value(value),
    };
    encode(rule, given, namespace, out)
}

/// The field for a constant that the mapping gives as text.
///
/// # Errors
/// Where the text is none of the column's type.
pub(super) fn encode_constant(rule: &Rule, text: &str, namespace: &Uuid) -> Result<Vec<u8>, Bad> {
    let plain = Rule {
        conversion: Conversion::Auto,
        ..*rule
    };
    let mut out = Vec::new();
    encode(&plain, Given::Constant(text), namespace, &mut out)?;
    Ok(out)
}

#[inline]
fn encode(rule: &Rule, given: Given<'_>, namespace: &Uuid, out: &mut Vec<u8>) -> Result<(), Bad> {
    match rule.pg_type {
        PgType::Bool => field(out, &[u8::from(boolean(given)?)]),
        PgType::Int2 => {
            let small = i16::try_from(whole(given)?).map_err(out_of_range)?;
            field(out, &small.to_be_bytes());
        }
        PgType::Int4 => {
            let small = i32::try_from(whole(given)?).map_err(out_of_range)?;
            field(out, &small.to_be_bytes());
        }
        PgType::Int8 => field(out, &whole(given)?.to_be_bytes()),
        PgType::Float4 => {
            let single = match given {
                Given::Value(value) => numbers::single(numbers::double(value)?)?,
                Given::Text(text) | Given::Constant(text) => parse::single(text)?,
            };
            field(out, &single.to_be_bytes());
        }
        PgType::Float8 => {
            let double = match given {
                Given::Value(value) => numbers::double(value)?,
                Given::Text(text) | Given::Constant(text) => parse::double(text)?,
            };
            field(out, &double.to_be_bytes());
        }
        PgType::Numeric(limits) => numeric::encode(&number(given)?, limits, out)?,
        PgType::Text => write_text(rule, given, None, out)?,
        PgType::Varchar(length) => write_text(rule, given, Some(length), out)?,
        PgType::Uuid => field(out, uuid(rule.conversion, given, namespace)?.as_bytes()),
        PgType::Bytea => match given {
            Given::Value(RawBsonRef::Binary(binary)) => field(out, binary.bytes),
            Given::Value(RawBsonRef::ObjectId(id)) => field(out, &id.bytes()),
            Given::Value(other) => return wrong(&other),
            Given::Text(_) => return Err(NOT_READ),
            Given::Constant(text) => field(out, text.as_bytes()),
        },
        PgType::Date => moment(rule.conversion, given)?.write_date(out)?,
        PgType::Time => write_time_of_day(given, out)?,
        PgType::Timestamp | PgType::Timestamptz => {
            moment(rule.conversion, given)?.write_timestamp(out)?;
        }
        PgType::Json => write_json(rule, JSON, given, out)?,
        PgType::Jsonb => write_json(rule, JSONB, given, out)?,
        // An array's rule is its element's, and elements are no arrays.
        PgType::Array(_) => match given {
            Given::Value(value) => return wrong(&value),
            Given::Constant("{}") => array::empty(rule.pg_type.facts().oid, out),
            Given::Text(_) | Given::Constant(_) => return Err(NOT_READ),
        },
    }
    Ok(())
}

fn boolean(given: Given<'_>) -> Result<bool, Bad> {
    match given {
        Given::Value(RawBsonRef::Boolean(boolean)) => Ok(boolean),
        Given::Value(other) => wrong(&other),
        Given::Text(text) | Given::Constant(text) => parse::boolean(text),
    }
}

#[inline]
fn whole(given: Given<'_>) -> Result<i64, Bad> {
    match given {
        Given::Value(value) => numbers::integer(value),
        Given::Text(text) | Given::Constant(text) => {
            numbers::whole(&parse::number(text)?)?.ok_or(NOT_READ)
        }
    }
}

fn number(given: Given<'_>) -> Result<Number, Bad> {
    match given {
        Given::Value(value) => numbers::number(value),
        Given::Text(text) | Given::Constant(text) => parse::number(text),
    }
}

#[inline]
fn write_text(
    rule: &Rule,
    given: Given<'_>,
    length: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let value = match given {
        Given::Value(value) => value,
        Given::Text(text) | Given::Constant(text) => RawBsonRef::String(text),
    };
    text::write(rule.conversion, rule.invalid, value, length, out)
}

fn uuid(conversion: Conversion, given: Given<'_>, namespace: &Uuid) -> Result<Uuid, Bad> {
    match given {
        Given::Value(value) if conversion == Conversion::UuidV5 => {
            uuid_v5(namespace, value).ok_or(Bad::Malformed)
        }
        Given::Value(value @ RawBsonRef::Binary(binary)) if is_uuid(binary.subtype) => {
            Uuid::from_slice(binary.bytes).map_err(|_| Bad::of_type(&value))
        }
        Given::Value(RawBsonRef::String(text)) | Given::Text(text) | Given::Constant(text) => {
            Uuid::parse_str(text).map_err(|_| NOT_READ)
        }
        Given::Value(other) => wrong(&other),
    }
}

#[inline]
fn moment(conversion: Conversion, given: Given<'_>) -> Result<Moment, Bad> {
    match given {
        Given::Value(value) => time::moment(conversion, value),
        Given::Text(text) | Given::Constant(text) => time::parse(text).ok_or(NOT_READ),
    }
}

/// Microseconds since midnight; so a text's are those of its timestamp on 2000-01-01, where timestamps
/// begin.
fn write_time_of_day(given: Given<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    const DAY_MILLIS: i64 = 86_400_000;
    match given {
        Given::Value(RawBsonRef::DateTime(at)) => {
            let micros = at.timestamp_millis().rem_euclid(DAY_MILLIS) * 1000;
            field(out, &micros.to_be_bytes());
            Ok(())
        }
        Given::Value(other) => wrong(&other),
        Given::Text(text) | Given::Constant(text) => {
            let seconds = if text.len() == 5 { ":00" } else { "" };
            let moment = time::parse(&format!("2000-01-01T{text}{seconds}Z"));
            moment.ok_or(NOT_READ)?.write_timestamp(out)
        }
    }
}

fn write_json(rule: &Rule, version: &[u8], given: Given<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    json_field(version, out, |out| match given {
        Given::Value(value) => {
            let form = extjson::Form::of(rule.pg_type, rule.invalid.nul);
            extjson::write(out, value, form)
        }
        Given::Text(_) => Err(NOT_READ),
        Given::Constant(text) => {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
    })
}

/// The text of an encoded field, as PostgreSQL's `::text` writes it; `None` for null, and for types
/// whose values have no one text, from which nothing is derived.
pub(super) fn text_of(column: &Column, field: Option<&[u8]>) -> Option<String> {
    let field = field?;
    Some(match column.pg_type {
        PgType::Text | PgType::Varchar(_) => std::str::from_utf8(field).ok()?.to_owned(),
        PgType::Bool => (field == [1]).to_string(),
        PgType::Int2 => i16::from_be_bytes(field.try_into().ok()?).to_string(),
        PgType::Int4 => i32::from_be_bytes(field.try_into().ok()?).to_string(),
        PgType::Int8 => i64::from_be_bytes(field.try_into().ok()?).to_string(),
        PgType::Uuid => Uuid::from_slice(field).ok()?.to_string(),
        PgType::Date => time::date_text(i32::from_be_bytes(field.try_into().ok()?)),
        PgType::Float4
        | PgType::Float8
        | PgType::Numeric(_)
        | PgType::Bytea
        | PgType::Time
        | PgType::Timestamp
        | PgType::Timestamptz
        | PgType::Json
        | PgType::Jsonb
        | PgType::Array(_) => return None,
    })
}
