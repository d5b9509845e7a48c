//! A BSON value to the value of a column, by the rules of `docs/mapping.md`, "Types and conversions".
//!
//! [`convert`] gives what the column holds, after its policies, or the reason under which the document
//! is refused. Constants of the mapping are read by [`constant`].

use super::{
    cell::Cell,
    decimal::{Decimal, Finite},
    json::{Form, Json},
    key, moment,
};
use bson::{RawBsonRef, spec::BinarySubtype};
use leafcutter_schemas::mapping::{Column, Conversion, PgType, Policy, Values};
use uuid::Uuid;

/// Why a document is refused, as its dead letter says it.
pub type Reason = &'static str;

/// What is neither there nor null.
pub fn is_null(value: RawBsonRef<'_>) -> bool {
    matches!(value, RawBsonRef::Null | RawBsonRef::Undefined)
}

/// The value of a column for what the document has there.
///
/// # Errors
/// Why the column cannot hold it.
pub fn convert(column: &Column, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Cell, Reason> {
    if is_null(value) {
        return Ok(Cell::Null);
    }
    if !column.pg_type.is_array() {
        return one(column, value, namespace).or_else(|reason| policy(column, reason));
    }
    let list = match value {
        RawBsonRef::Array(array) => {
            let items = array.into_iter().map(|item| match item {
                Err(_) => Err("malformed"),
                Ok(item) if is_null(item) => Ok(Cell::Null),
                Ok(item) => one(column, item, namespace).or_else(|reason| policy(column, reason)),
            });
            items.collect::<Result<Vec<_>, _>>().map(Cell::List)
        }
        _ => Err("wrong-type"),
    };
    list.or_else(|reason| policy(column, reason))
}

/// What the column does with a value that it cannot hold: null, or a dead letter.
pub fn policy(column: &Column, reason: Reason) -> Result<Cell, Reason> {
    let policy = match reason {
        "wrong-type" => column.invalid.wrong_type,
        "too-long" => column.invalid.too_long,
        "nul" => column.invalid.nul,
        "out-of-range" => column.invalid.out_of_range,
        "unlisted" => column.invalid.unlisted,
        _ => Policy::Reject,
    };
    match policy {
        Policy::Null => Ok(Cell::Null),
        Policy::Reject | Policy::Truncate => Err(reason),
    }
}

/// One value, or one element, that is no null.
fn one(column: &Column, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Cell, Reason> {
    if column.looked_up().is_some() {
        return parent(column.conversion, value);
    }
    let pg_type = column.pg_type.scalar();
    match &column.values {
        None => plain(column, value, namespace),
        Some(Values::Listed(constants)) => {
            let cell = plain(column, value, namespace)?;
            let listed =
                |text: &String| constant(pg_type, text).is_some_and(|c| c.same(&cell, pg_type));
            if constants.iter().any(listed) {
                Ok(cell)
            } else {
                Err("unlisted")
            }
        }
        Some(Values::Mapped(pairs)) => {
            let stands = pairs.iter().rev().find(|(from, _)| stands_for(from, value));
            match (stands, value) {
                (Some((_, None)), _) => Ok(Cell::Null),
                (Some((_, Some(text))), _) => constant(pg_type, text).ok_or("unlisted"),
                (None, value) if is_scalar(value) => Err("unlisted"),
                (None, _) => Err("wrong-type"),
            }
        }
    }
}

/// What can stand on the left of a colon in `values`.
fn is_scalar(value: RawBsonRef<'_>) -> bool {
    matches!(
        value,
        RawBsonRef::String(_)
            | RawBsonRef::Symbol(_)
            | RawBsonRef::Boolean(_)
            | RawBsonRef::ObjectId(_)
    ) || number(value).is_ok()
}

fn stands_for(from: &str, value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => text == from,
        RawBsonRef::Boolean(value) => from == if value { "true" } else { "false" },
        RawBsonRef::ObjectId(id) => from == id.to_hex(),
        other => number(other).is_ok_and(|number| Decimal::read(from) == Some(number)),
    }
}

/// The key of the document that a reference by `_id` names.
fn parent(conversion: Conversion, value: RawBsonRef<'_>) -> Result<Cell, Reason> {
    let key = match (conversion, value) {
        (Conversion::ObjectId, RawBsonRef::String(text)) => {
            let digits = text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| format!("objectId:{}", text.to_ascii_lowercase()))
        }
        (Conversion::ObjectId, RawBsonRef::ObjectId(_)) => key::canonical(value),
        (Conversion::ObjectId, _)
        | (_, RawBsonRef::Array(_) | RawBsonRef::RegularExpression(_)) => None,
        (_, value) => key::canonical(value),
    };
    key.map(Cell::Parent).ok_or("wrong-type")
}

/// A value by type and conversion alone.
fn plain(column: &Column, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Cell, Reason> {
    let pg_type = column.pg_type.scalar();
    let written = match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => Some(text),
        _ => None,
    };
    if let (Conversion::Parse, Some(text)) = (column.conversion, written) {
        return parsed(
            pg_type,
            text.trim_matches(|c: char| c.is_ascii_whitespace()),
        );
    }
    match pg_type {
        PgType::Bool => match value {
            RawBsonRef::Boolean(value) => Ok(Cell::Bool(value)),
            _ => Err("wrong-type"),
        },
        PgType::Int2 | PgType::Int4 | PgType::Int8 => whole(&number(value)?, pg_type),
        PgType::Float4 | PgType::Float8 => float(value, pg_type),
        PgType::Numeric(limits) => numeric(number(value)?, limits),
        PgType::Text | PgType::Varchar(_) => text(column, value),
        PgType::Uuid => uuid(column.conversion, value, namespace).map(Cell::Uuid),
        PgType::Bytea => match value {
            RawBsonRef::Binary(binary) => Ok(Cell::Bytes(binary.bytes.to_vec())),
            RawBsonRef::ObjectId(id) => Ok(Cell::Bytes(id.bytes().to_vec())),
            _ => Err("wrong-type"),
        },
        PgType::Time => match value {
            RawBsonRef::DateTime(at) => Ok(Cell::Time(
                at.timestamp_millis().rem_euclid(86_400_000) * 1000,
            )),
            _ => Err("wrong-type"),
        },
        PgType::Date | PgType::Timestamp | PgType::Timestamptz => {
            in_time(micros(column.conversion, value)?, pg_type)
        }
        PgType::Json | PgType::Jsonb => form(column).value(value, 0).map(Cell::Json),
        PgType::Array(_) => Err("wrong-type"),
    }
}

/// How a column holds JSON.
pub fn form(column: &Column) -> Form {
    Form {
        nul: column.invalid.nul,
        names_once: column.pg_type == PgType::Jsonb,
    }
}

/// Any number, exactly; a double as the shortest decimal that reads back as it.
pub fn number(value: RawBsonRef<'_>) -> Result<Decimal, Reason> {
    match value {
        RawBsonRef::Int32(n) => Ok(Decimal::of_i64(n.into())),
        RawBsonRef::Int64(n) => Ok(Decimal::of_i64(n)),
        RawBsonRef::Double(n) => Ok(Decimal::of_f64(n)),
        RawBsonRef::Decimal128(n) => Decimal::read(&n.to_string()).ok_or("wrong-type"),
        _ => Err("wrong-type"),
    }
}

fn whole(number: &Decimal, pg_type: PgType) -> Result<Cell, Reason> {
    let value = number
        .whole()
        .map_err(|_| "out-of-range")?
        .ok_or("wrong-type")?;
    let fits = match pg_type {
        PgType::Int2 => i16::try_from(value).is_ok(),
        PgType::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    };
    if fits {
        Ok(Cell::Int(value))
    } else {
        Err("out-of-range")
    }
}

/// The nearest float; what would become infinite or zero is out of range.
fn float(value: RawBsonRef<'_>, pg_type: PgType) -> Result<Cell, Reason> {
    let double = match value {
        RawBsonRef::Double(n) => n,
        other => {
            let number = number(other)?;
            let double = number.to_f64();
            if matches!(number, Decimal::Finite(_))
                && (double.is_infinite() || (double == 0.0 && !number.is_zero()))
            {
                return Err("out-of-range");
            }
            double
        }
    };
    if pg_type == PgType::Float8 {
        Ok(Cell::Double(double))
    } else {
        real(double)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the nearest `real` is what the column holds"
)]
fn real(double: f64) -> Result<Cell, Reason> {
    let real = double as f32;
    if (real.is_infinite() && double.is_finite()) || (real == 0.0 && double != 0.0) {
        return Err("out-of-range");
    }
    Ok(Cell::Real(real))
}

fn numeric(number: Decimal, limits: Option<(u16, u16)>) -> Result<Cell, Reason> {
    match limits {
        None => Ok(Cell::Numeric(number)),
        Some((precision, scale)) => {
            let limited = number.limited(precision, scale);
            limited.map(Cell::Numeric).map_err(|_| "out-of-range")
        }
    }
}

fn text(column: &Column, value: RawBsonRef<'_>) -> Result<Cell, Reason> {
    let any = column.conversion == Conversion::Text;
    let written = match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => text.to_owned(),
        _ if !any => return Err("wrong-type"),
        RawBsonRef::ObjectId(id) => id.to_hex(),
        RawBsonRef::Boolean(value) => value.to_string(),
        RawBsonRef::Int32(n) => n.to_string(),
        RawBsonRef::Int64(n) => n.to_string(),
        RawBsonRef::Double(n) if n.is_infinite() => {
            if n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
        }
        RawBsonRef::Double(n) => n.to_string(),
        RawBsonRef::Decimal128(n) => n.to_string(),
        RawBsonRef::DateTime(at) => moment::rfc3339(at.timestamp_millis()),
        RawBsonRef::Binary(binary) if is_uuid(binary.subtype) => {
            let uuid = Uuid::from_slice(binary.bytes).map_err(|_| "wrong-type")?;
            uuid.to_string()
        }
        _ => return Err("wrong-type"),
    };
    let written = form(column).text(&written)?;
    let Some(most) = column
        .pg_type
        .length()
        .and_then(|n| usize::try_from(n).ok())
    else {
        return Ok(Cell::Text(written));
    };
    // No text has more characters than bytes.
    if written.len() <= most || written.chars().count() <= most {
        return Ok(Cell::Text(written));
    }
    if column.invalid.too_long == Policy::Truncate {
        return Ok(Cell::Text(written.chars().take(most).collect()));
    }
    Err("too-long")
}

fn is_uuid(subtype: BinarySubtype) -> bool {
    matches!(subtype, BinarySubtype::Uuid | BinarySubtype::UuidOld)
}

fn uuid(conversion: Conversion, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Uuid, Reason> {
    if conversion == Conversion::UuidV5 {
        return key::uuid_v5(namespace, value).ok_or("malformed");
    }
    match value {
        RawBsonRef::Binary(binary) if is_uuid(binary.subtype) => {
            Uuid::from_slice(binary.bytes).map_err(|_| "wrong-type")
        }
        RawBsonRef::String(text) => Uuid::parse_str(text).map_err(|_| "wrong-type"),
        _ => Err("wrong-type"),
    }
}

/// The microseconds since 1970 that a value is under a conversion.
fn micros(conversion: Conversion, value: RawBsonRef<'_>) -> Result<i128, Reason> {
    let unit = match (conversion, value) {
        (Conversion::ObjectIdTime, RawBsonRef::ObjectId(id)) => {
            let [a, b, c, d, ..] = id.bytes();
            return Ok(i128::from(u32::from_be_bytes([a, b, c, d])) * 1_000_000);
        }
        (Conversion::ObjectIdTime, _) => return Err("wrong-type"),
        (Conversion::EpochSeconds, _) => 6,
        (Conversion::EpochMillis, _) => 3,
        (_, RawBsonRef::DateTime(at)) => return Ok(i128::from(at.timestamp_millis()) * 1000),
        _ => return Err("wrong-type"),
    };
    match number(value)? {
        Decimal::Finite(number) => scaled(&number, unit),
        Decimal::NaN | Decimal::Infinity(_) => Err("out-of-range"),
    }
}

fn scaled(number: &Finite, unit: i64) -> Result<i128, Reason> {
    number.scaled(unit).ok_or("out-of-range")
}

fn in_time(micros: i128, pg_type: PgType) -> Result<Cell, Reason> {
    if pg_type != PgType::Date {
        return if moment::MOMENTS.contains(&micros) {
            Ok(Cell::Moment(micros))
        } else {
            Err("out-of-range")
        };
    }
    let day = i64::try_from(micros.div_euclid(moment::DAY_MICROS)).map_err(|_| "out-of-range")?;
    if moment::DATES.contains(&day) {
        Ok(Cell::Date(day))
    } else {
        Err("out-of-range")
    }
}

/// Text that is read, under `convert: parse`.
fn parsed(pg_type: PgType, text: &str) -> Result<Cell, Reason> {
    let number = || Decimal::read(text).ok_or("wrong-type");
    match pg_type {
        PgType::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(Cell::Bool(true)),
            "false" | "f" | "no" | "n" | "off" | "0" => Ok(Cell::Bool(false)),
            _ => Err("wrong-type"),
        },
        PgType::Int2 | PgType::Int4 | PgType::Int8 => whole(&number()?, pg_type),
        PgType::Numeric(limits) => numeric(number()?, limits),
        PgType::Float4 | PgType::Float8 => {
            let number = number()?;
            let double = number.to_f64();
            let finite = matches!(number, Decimal::Finite(_));
            if finite && (double.is_infinite() || (double == 0.0 && !number.is_zero())) {
                return Err("out-of-range");
            }
            if pg_type == PgType::Float8 {
                return Ok(Cell::Double(double));
            }
            // Once, from the text: through a double it would be rounded twice.
            match text.parse::<f32>() {
                Ok(real)
                    if finite && (real.is_infinite() || (real == 0.0 && !number.is_zero())) =>
                {
                    Err("out-of-range")
                }
                Ok(real) if finite => Ok(Cell::Real(real)),
                _ => real(double),
            }
        }
        PgType::Date | PgType::Timestamp | PgType::Timestamptz => {
            in_time(moment::read(text).ok_or("wrong-type")?, pg_type)
        }
        PgType::Time => moment::read_time(text).map(Cell::Time).ok_or("wrong-type"),
        _ => Err("wrong-type"),
    }
}

/// A constant of the mapping in a column's type; a mapping that was checked has no others.
pub fn constant(pg_type: PgType, text: &str) -> Option<Cell> {
    match pg_type {
        PgType::Text | PgType::Varchar(_) => Some(Cell::Text(text.to_owned())),
        PgType::Uuid => Uuid::parse_str(text).ok().map(Cell::Uuid),
        PgType::Bytea => Some(Cell::Bytes(text.as_bytes().to_vec())),
        PgType::Json | PgType::Jsonb => Json::read(text).map(Cell::Json),
        PgType::Array(_) => Some(Cell::List(Vec::new())),
        other => parsed(other, text).ok(),
    }
}
