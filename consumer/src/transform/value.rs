//! BSON values to fields of binary COPY: which BSON types a column takes, and what each becomes.
//!
//! [`encode`] is total: every BSON type meets every column type here, and the outcome is a field,
//! a null where the policy says so, or the reason why not. Nothing is rounded or guessed: an
//! integer column takes a double only if it has no fraction.

use super::{Bad, extjson, numeric};
use bson::{RawBsonRef, spec::BinarySubtype};
use leafcutter_schemas::{
    key::uuid_v5,
    mapping::{Column, Conversion, PgType, Policy},
    number::Number,
};
use std::borrow::Cow;
use uuid::Uuid;

/// PostgreSQL counts dates and timestamps from 2000-01-01 (`POSTGRES_EPOCH_JDATE`).
const EPOCH_2000_MILLIS: i64 = 946_684_800_000;
/// The smallest timestamp, 4714-11-24 BC, and the first one too large, year 294277
/// (`MIN_TIMESTAMP`, `END_TIMESTAMP` in `datatype/timestamp.h`), in microseconds since 2000.
const TIMESTAMP_MIN: i64 = -211_813_488_000_000_000;
const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;
/// The smallest date and the first one too large (`DATE_END_JULIAN`), in days since 2000.
const DATE_MIN: i64 = -2_451_545;
const DATE_END: i64 = 2_147_483_494 - 2_451_545;
const DAY_MILLIS: i64 = 86_400_000;

/// A value's BSON type, in the words of MongoDB's `$type`.
pub fn type_name(value: &RawBsonRef<'_>) -> &'static str {
    match value {
        RawBsonRef::Double(_) => "double",
        RawBsonRef::String(_) => "string",
        RawBsonRef::Array(_) => "array",
        RawBsonRef::Document(_) => "object",
        RawBsonRef::Boolean(_) => "bool",
        RawBsonRef::Null => "null",
        RawBsonRef::RegularExpression(_) => "regex",
        RawBsonRef::JavaScriptCode(_) => "javascript",
        RawBsonRef::JavaScriptCodeWithScope(_) => "javascriptWithScope",
        RawBsonRef::Int32(_) => "int",
        RawBsonRef::Int64(_) => "long",
        RawBsonRef::Timestamp(_) => "timestamp",
        RawBsonRef::Binary(_) => "binData",
        RawBsonRef::ObjectId(_) => "objectId",
        RawBsonRef::DateTime(_) => "date",
        RawBsonRef::Symbol(_) => "symbol",
        RawBsonRef::Decimal128(_) => "decimal",
        RawBsonRef::Undefined => "undefined",
        RawBsonRef::MaxKey => "maxKey",
        RawBsonRef::MinKey => "minKey",
        RawBsonRef::DbPointer(_) => "dbPointer",
    }
}

/// Appends the field for `value`, after the column's policies.
///
/// # Errors
/// Why the column cannot hold the value. `out` may then hold a part of it.
pub fn encode(
    column: &Column,
    value: RawBsonRef<'_>,
    namespace: &Uuid,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    if matches!(value, RawBsonRef::Null | RawBsonRef::Undefined) {
        return encode_null(column, out);
    }
    let start = out.len();
    let Err(bad) = encode_value(column, value, namespace, out) else {
        return Ok(());
    };
    let policy = match bad {
        Bad::WrongType(_) => column.invalid.wrong_type,
        Bad::TooLong(_) => column.invalid.too_long,
        Bad::Nul => column.invalid.nul,
        Bad::OutOfRange => column.invalid.out_of_range,
        Bad::Missing | Bad::Malformed => Policy::Reject,
    };
    match policy {
        Policy::Null => {
            out.truncate(start);
            encode_null(column, out)
        }
        // What can be cut was cut on the way; what is left cannot be.
        Policy::Reject | Policy::Truncate => Err(bad),
    }
}

/// Appends a null field.
///
/// # Errors
/// Where the column is required.
pub fn encode_null(column: &Column, out: &mut Vec<u8>) -> Result<(), Bad> {
    if column.required {
        return Err(Bad::Missing);
    }
    out.extend_from_slice(&(-1i32).to_be_bytes());
    Ok(())
}

/// The field for a constant that the mapping gives as text.
///
/// # Errors
/// Where the text is none of the column's type.
pub fn encode_text(column: &Column, text: &str, namespace: &Uuid) -> Result<Vec<u8>, Bad> {
    const WRONG: Bad = Bad::WrongType("constant");
    let mut out = Vec::new();
    let value = match column.pg_type {
        PgType::Bool => RawBsonRef::Boolean(match text {
            "true" | "t" | "yes" | "on" | "1" => true,
            "false" | "f" | "no" | "off" | "0" => false,
            _ => return Err(WRONG),
        }),
        PgType::Int2 | PgType::Int4 | PgType::Int8 => {
            RawBsonRef::Int64(text.parse().map_err(|_| WRONG)?)
        }
        PgType::Float4 | PgType::Float8 => RawBsonRef::Double(text.parse().map_err(|_| WRONG)?),
        PgType::Numeric(_) => RawBsonRef::Decimal128(text.parse().map_err(|_| WRONG)?),
        PgType::Date | PgType::Timestamp | PgType::Timestamptz => {
            let full = if text.len() == 10 {
                Cow::from(format!("{text}T00:00:00Z"))
            } else {
                text.into()
            };
            RawBsonRef::DateTime(bson::DateTime::parse_rfc3339_str(&full).map_err(|_| WRONG)?)
        }
        PgType::Uuid => {
            field(
                &mut out,
                Uuid::parse_str(text).map_err(|_| WRONG)?.as_bytes(),
            );
            return Ok(out);
        }
        PgType::Json | PgType::Jsonb => {
            serde_json::from_str::<serde_json::Value>(text).map_err(|_| WRONG)?;
            json_field(column, &mut out, |out| {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            })?;
            return Ok(out);
        }
        PgType::Bytea => {
            field(&mut out, text.as_bytes());
            return Ok(out);
        }
        PgType::Text | PgType::Varchar(_) => RawBsonRef::String(text),
    };
    encode_value(column, value, namespace, &mut out)?;
    Ok(out)
}

/// The text of an encoded field, as PostgreSQL's `::text` writes it; `None` for null, and for types
/// from which nothing is derived.
pub(super) fn text_of(column: &Column, field: Option<&[u8]>) -> Option<String> {
    let field = field?;
    Some(match column.pg_type {
        PgType::Text | PgType::Varchar(_) => std::str::from_utf8(field).ok()?.to_owned(),
        PgType::Bool => (field == [1]).to_string(),
        PgType::Int2 => i16::from_be_bytes(field.try_into().ok()?).to_string(),
        PgType::Int4 => i32::from_be_bytes(field.try_into().ok()?).to_string(),
        PgType::Int8 => i64::from_be_bytes(field.try_into().ok()?).to_string(),
        PgType::Uuid => Uuid::from_slice(field).ok()?.to_string(),
        PgType::Date => {
            let days = i32::from_be_bytes(field.try_into().ok()?);
            let days = i64::from(days) + EPOCH_2000_MILLIS / DAY_MILLIS;
            let (year, month, day) = civil_date(days);
            if year > 0 {
                format!("{year:04}-{month:02}-{day:02}")
            } else {
                format!("{:04}-{month:02}-{day:02} BC", 1 - year)
            }
        }
        PgType::Float4
        | PgType::Float8
        | PgType::Numeric(_)
        | PgType::Bytea
        | PgType::Timestamp
        | PgType::Timestamptz
        | PgType::Json
        | PgType::Jsonb => return None,
    })
}

fn encode_value(
    column: &Column,
    value: RawBsonRef<'_>,
    namespace: &Uuid,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    match column.pg_type {
        PgType::Bool => match value {
            RawBsonRef::Boolean(b) => field(out, &[u8::from(b)]),
            other => return wrong(&other),
        },
        PgType::Int2 => {
            field(
                out,
                &i16::try_from(integer(value)?)
                    .map_err(out_of_range)?
                    .to_be_bytes(),
            );
        }
        PgType::Int4 => {
            field(
                out,
                &i32::try_from(integer(value)?)
                    .map_err(out_of_range)?
                    .to_be_bytes(),
            );
        }
        PgType::Int8 => field(out, &integer(value)?.to_be_bytes()),
        PgType::Float4 => field(out, &single(double(value)?)?.to_be_bytes()),
        PgType::Float8 => field(out, &double(value)?.to_be_bytes()),
        PgType::Numeric(limits) => numeric::encode(&number(value)?, limits, out)?,
        PgType::Text => text_field(column, value, None, out)?,
        PgType::Varchar(length) => text_field(column, value, Some(length), out)?,
        PgType::Uuid => field(out, uuid(column, value, namespace)?.as_bytes()),
        PgType::Bytea => match value {
            RawBsonRef::Binary(binary) => field(out, binary.bytes),
            RawBsonRef::ObjectId(id) => field(out, &id.bytes()),
            other => return wrong(&other),
        },
        PgType::Date => {
            let days = date(value)?.div_euclid(DAY_MILLIS) - EPOCH_2000_MILLIS / DAY_MILLIS;
            if !(DATE_MIN..DATE_END).contains(&days) {
                return Err(Bad::OutOfRange);
            }
            field(
                out,
                &i32::try_from(days).map_err(out_of_range)?.to_be_bytes(),
            );
        }
        PgType::Timestamp | PgType::Timestamptz => {
            let micros = date(value)?
                .checked_sub(EPOCH_2000_MILLIS)
                .and_then(|millis| millis.checked_mul(1000))
                .filter(|micros| (TIMESTAMP_MIN..TIMESTAMP_END).contains(micros))
                .ok_or(Bad::OutOfRange)?;
            field(out, &micros.to_be_bytes());
        }
        PgType::Json | PgType::Jsonb => {
            let nul = match column.invalid.nul {
                Policy::Truncate => extjson::Nul::Remove,
                Policy::Reject | Policy::Null => extjson::Nul::Refuse,
            };
            json_field(column, out, |out| extjson::write(out, value, nul))?;
        }
    }
    Ok(())
}

fn wrong<T>(value: &RawBsonRef<'_>) -> Result<T, Bad> {
    Err(Bad::WrongType(type_name(value)))
}

fn out_of_range(_: std::num::TryFromIntError) -> Bad {
    Bad::OutOfRange
}

/// Appends a field: its length and its bytes. No field of a 16 MB document reaches 2 GiB.
fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn json_field(
    column: &Column,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    if column.pg_type == PgType::Jsonb {
        // The version of jsonb's binary form (`jsonb_recv`).
        out.push(1);
    }
    write(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(out_of_range)?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn integer(value: RawBsonRef<'_>) -> Result<i64, Bad> {
    match value {
        RawBsonRef::Int32(n) => Ok(i64::from(n)),
        RawBsonRef::Int64(n) => Ok(n),
        RawBsonRef::Double(_) | RawBsonRef::Decimal128(_) => match number(value)? {
            Number::Finite(decimal) if decimal.exponent >= 0 => {
                let zeros = usize::try_from(decimal.exponent).map_err(out_of_range)?;
                if decimal.digits.len() + zeros > 19 {
                    return Err(Bad::OutOfRange);
                }
                let sign = if decimal.negative { "-" } else { "" };
                let digits = if decimal.digits.is_empty() {
                    "0"
                } else {
                    &decimal.digits
                };
                format!("{sign}{digits}{:0>zeros$}", "")
                    .parse()
                    .map_err(|_| Bad::OutOfRange)
            }
            Number::Finite(_) => wrong(&value),
            Number::NaN | Number::Infinity { .. } => Err(Bad::OutOfRange),
        },
        other => wrong(&other),
    }
}

fn double(value: RawBsonRef<'_>) -> Result<f64, Bad> {
    match value {
        RawBsonRef::Double(n) => Ok(n),
        RawBsonRef::Int32(n) => Ok(f64::from(n)),
        // The nearest double, by the text: integers over 2^53 lose digits, as the type says.
        RawBsonRef::Int64(n) => n.to_string().parse().map_err(|_| Bad::OutOfRange),
        RawBsonRef::Decimal128(n) => match Number::from_decimal128(&n) {
            Number::NaN => Ok(f64::NAN),
            Number::Infinity { negative } => Ok(if negative {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            }),
            Number::Finite(_) => n
                .to_string()
                .parse::<f64>()
                .ok()
                .filter(|n| n.is_finite())
                .ok_or(Bad::OutOfRange),
        },
        other => wrong(&other),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to the column's type is what `real` means"
)]
fn single(value: f64) -> Result<f32, Bad> {
    let single = value as f32;
    if single.is_infinite() && value.is_finite() {
        Err(Bad::OutOfRange)
    } else {
        Ok(single)
    }
}

fn number(value: RawBsonRef<'_>) -> Result<Number, Bad> {
    match value {
        RawBsonRef::Int32(n) => Ok(Number::from_i64(n.into())),
        RawBsonRef::Int64(n) => Ok(Number::from_i64(n)),
        RawBsonRef::Double(n) => Ok(Number::shortest_of_f64(n)),
        RawBsonRef::Decimal128(n) => Ok(Number::from_decimal128(&n)),
        other => wrong(&other),
    }
}

fn date(value: RawBsonRef<'_>) -> Result<i64, Bad> {
    match value {
        RawBsonRef::DateTime(at) => Ok(at.timestamp_millis()),
        other => wrong(&other),
    }
}

fn uuid(column: &Column, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Uuid, Bad> {
    if column.conversion == Conversion::UuidV5 {
        return Ok(uuid_v5(namespace, value));
    }
    match value {
        RawBsonRef::Binary(binary) if binary.subtype == BinarySubtype::Uuid => {
            Uuid::from_slice(binary.bytes).map_err(|_| Bad::WrongType("binData"))
        }
        RawBsonRef::String(text) => Uuid::parse_str(text).map_err(|_| Bad::WrongType("string")),
        other => wrong(&other),
    }
}

fn text_field(
    column: &Column,
    value: RawBsonRef<'_>,
    length: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let mut text = text(column.conversion, value)?;
    if text.as_bytes().contains(&0) {
        if column.invalid.nul != Policy::Truncate {
            return Err(Bad::Nul);
        }
        text = Cow::Owned(text.replace('\0', ""));
    }
    let Some(most) = length.and_then(|n| usize::try_from(n).ok()) else {
        field(out, text.as_bytes());
        return Ok(());
    };
    // No text has more characters than bytes, so most are not counted.
    if text.len() <= most {
        field(out, text.as_bytes());
        return Ok(());
    }
    match text.char_indices().nth(most) {
        None => field(out, text.as_bytes()),
        Some((end, _)) if column.invalid.too_long == Policy::Truncate => {
            field(out, &text.as_bytes()[..end]);
        }
        Some(_) => return Err(Bad::TooLong(text.chars().count())),
    }
    Ok(())
}

fn text(conversion: Conversion, value: RawBsonRef<'_>) -> Result<Cow<'_, str>, Bad> {
    if let RawBsonRef::String(text) | RawBsonRef::Symbol(text) = value {
        return Ok(text.into());
    }
    if conversion != Conversion::Text {
        return wrong(&value);
    }
    Ok(Cow::Owned(match value {
        RawBsonRef::ObjectId(id) => id.to_hex(),
        RawBsonRef::Int32(n) => n.to_string(),
        RawBsonRef::Int64(n) => n.to_string(),
        RawBsonRef::Double(n) => n.to_string(),
        RawBsonRef::Decimal128(n) => n.to_string(),
        RawBsonRef::Boolean(b) => b.to_string(),
        RawBsonRef::DateTime(at) => timestamp_text(at.timestamp_millis()),
        RawBsonRef::Binary(binary) if binary.subtype == BinarySubtype::Uuid => {
            Uuid::from_slice(binary.bytes)
                .map_err(|_| Bad::WrongType("binData"))?
                .to_string()
        }
        other => return wrong(&other),
    }))
}

/// A date as RFC 3339 in UTC with milliseconds; years of more than four digits have a sign, as
/// ISO 8601 has it.
pub(super) fn timestamp_text(millis: i64) -> String {
    let (year, month, day) = civil_date(millis.div_euclid(DAY_MILLIS));
    let of_day = millis.rem_euclid(DAY_MILLIS);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        10_000.. => format!("+{year}"),
        _ => format!("-{:04}", -year),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Year, month and day of a number of days since 1970, in the proleptic Gregorian calendar. Years
/// are counted from March, so that a leap day is the last of its year.
fn civil_date(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let days = days + 719_468;
    let era = days.div_euclid(ERA_DAYS);
    let of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (0, month + 3)
    } else {
        (1, month - 9)
    };
    (year_of_era + era * 400 + year, month, day)
}
