//! A BSON value to the value of a column, by the rules of the mapping's reference.

use super::{
    cell::Cell,
    decimal, key,
    tables::{Column, Kind, Then},
};
use bson::{Bson, spec::BinarySubtype};
use serde_json::Value;
use uuid::Uuid;

/// The first and the last millisecond that a timestamp can be.
const TIMESTAMP: std::ops::RangeInclusive<i64> = -210_866_803_200_000..=9_224_318_015_999_999;
/// The first and the last day that a date can be.
const DATE: std::ops::RangeInclusive<i64> = -2_440_588..=2_145_042_905;
const DAY_MILLIS: i64 = 86_400_000;

/// The value of a column for what the document has there.
///
/// # Errors
/// The reason why the column cannot hold it, where its policy is to reject that.
pub fn convert(column: &Column, value: &Bson) -> Result<Cell, &'static str> {
    if *value == Bson::Null {
        return Ok(Cell::Null);
    }
    strict(column, value).or_else(|reason| {
        let then = match reason {
            "wrong-type" => column.wrong_type,
            "too-long" => column.too_long,
            "nul" => column.nul,
            _ => column.out_of_range,
        };
        if then == Then::Null {
            Ok(Cell::Null)
        } else {
            Err(reason)
        }
    })
}

fn strict(column: &Column, value: &Bson) -> Result<Cell, &'static str> {
    match column.kind {
        Kind::Id | Kind::Reference(_) => Ok(Cell::Uuid(key::row_key(value))),
        Kind::Text { max, any } => text(column, value, max, any),
        Kind::Int => {
            let number = decimal::whole(&number(value)?)?;
            i32::try_from(number).map_err(|_| "out-of-range")?;
            Ok(Cell::Int(number))
        }
        Kind::BigInt => Ok(Cell::Int(decimal::whole(&number(value)?)?)),
        Kind::Float => Ok(Cell::Float(float(value)?)),
        Kind::Real => {
            let wide = float(value)?;
            // Rust reads the shortest form of the double as the nearest float.
            let narrow: f32 = wide.to_string().parse().map_err(|_| "wrong-type")?;
            if narrow.is_infinite() && wide.is_finite() {
                Err("out-of-range")
            } else {
                Ok(Cell::Real(narrow))
            }
        }
        Kind::Numeric(limits) => {
            let number = number(value)?;
            match limits {
                None => Ok(Cell::Numeric(decimal::spelling(&number))),
                Some(_) if decimal::spelling(&number).ends_with("Infinity") => Err("out-of-range"),
                Some((precision, scale)) => decimal::rounded(&number, precision, scale)
                    .map(Cell::Numeric)
                    .ok_or("out-of-range"),
            }
        }
        Kind::Bool => value.as_bool().map(Cell::Bool).ok_or("wrong-type"),
        Kind::Timestamp => {
            let millis = millis(value)?;
            if TIMESTAMP.contains(&millis) {
                Ok(Cell::Millis(millis))
            } else {
                Err("out-of-range")
            }
        }
        Kind::Date => {
            let days = millis(value)?.div_euclid(DAY_MILLIS);
            if DATE.contains(&days) {
                Ok(Cell::Days(days))
            } else {
                Err("out-of-range")
            }
        }
        Kind::Bytes => match value {
            Bson::Binary(binary) => Ok(Cell::Bytes(hex(&binary.bytes))),
            Bson::ObjectId(id) => Ok(Cell::Bytes(id.to_hex())),
            _ => Err("wrong-type"),
        },
        Kind::Json => {
            let mut json = value.clone().into_relaxed_extjson();
            three_digits(&mut json);
            if has_nul(&json) {
                if column.nul != Then::Cut {
                    return Err("nul");
                }
                remove_nul(&mut json);
            }
            Ok(Cell::Json(json))
        }
    }
}

fn text(
    column: &Column,
    value: &Bson,
    max: Option<usize>,
    any: bool,
) -> Result<Cell, &'static str> {
    let mut text = match value {
        Bson::String(text) | Bson::Symbol(text) => text.clone(),
        Bson::ObjectId(id) if any => id.to_hex(),
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_) if any => {
            number(value)?
        }
        Bson::Boolean(b) if any => b.to_string(),
        // For the years that FinLit has, this is RFC 3339 but for the zeros.
        Bson::DateTime(at) if any => {
            let text = at.try_to_rfc3339_string().map_err(|_| "wrong-type")?;
            if text.contains('.') {
                padded(&text)
            } else {
                text.replace('Z', ".000Z")
            }
        }
        Bson::Binary(binary) if any && binary.subtype == BinarySubtype::Uuid => {
            Uuid::from_slice(&binary.bytes)
                .map_err(|_| "wrong-type")?
                .to_string()
        }
        _ => return Err("wrong-type"),
    };
    if text.contains('\0') {
        if column.nul != Then::Cut {
            return Err("nul");
        }
        text.retain(|c| c != '\0');
    }
    if let Some(max) = max
        && text.chars().count() > max
    {
        if column.too_long != Then::Cut {
            return Err("too-long");
        }
        text = text.chars().take(max).collect();
    }
    Ok(Cell::Text(text))
}

/// Any number as text: doubles in their shortest form.
fn number(value: &Bson) -> Result<String, &'static str> {
    match value {
        Bson::Int32(n) => Ok(n.to_string()),
        Bson::Int64(n) => Ok(n.to_string()),
        Bson::Double(n) => Ok(n.to_string()),
        Bson::Decimal128(n) => Ok(n.to_string()),
        _ => Err("wrong-type"),
    }
}

fn float(value: &Bson) -> Result<f64, &'static str> {
    match value {
        Bson::Double(n) => Ok(*n),
        other => number(other)?.parse().map_err(|_| "out-of-range"),
    }
}

fn millis(value: &Bson) -> Result<i64, &'static str> {
    value
        .as_datetime()
        .map(|at| at.timestamp_millis())
        .ok_or("wrong-type")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The specification of Extended JSON wants three digits for the fraction of a second, or none;
/// the bson crate leaves zeros out at the end.
fn three_digits(json: &mut Value) {
    match json {
        Value::Array(values) => values.iter_mut().for_each(three_digits),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$date" => *text = padded(text),
                    other => three_digits(other),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn padded(date: &str) -> String {
    match date.strip_suffix('Z').and_then(|rest| rest.split_once('.')) {
        Some((rest, fraction)) => format!("{rest}.{fraction:0<3}Z"),
        None => date.to_owned(),
    }
}

fn has_nul(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.values().any(has_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn remove_nul(json: &mut Value) {
    match json {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(values) => values.iter_mut().for_each(remove_nul),
        Value::Object(fields) => fields.values_mut().for_each(remove_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
