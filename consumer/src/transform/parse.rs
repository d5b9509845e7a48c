//! `convert: parse`: text that is a number, a boolean or a point in time.
//!
//! Spaces around it do not count. Text that is none of the column's type is of the wrong type; a
//! number that is too large, or too small to be told from zero, is out of range.

use super::{Bad, numbers, numeric, time, value};
use leafcutter_schemas::{mapping::PgType, number::Number};

/// Text that is none of the column's type.
const WRONG: Bad = Bad::WrongType("string");

/// Appends the field of a column of this type.
pub(super) fn write(pg_type: PgType, text: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    match pg_type {
        PgType::Bool => value::field(out, &[u8::from(boolean(text)?)]),
        PgType::Int2 | PgType::Int4 | PgType::Int8 => {
            let whole = numbers::whole(&number(text)?)?.ok_or(WRONG)?;
            value::write_integer(pg_type, whole, out)?;
        }
        PgType::Float4 => {
            let parsed = float(text, |text| text.parse::<f32>().ok().map(f64::from))?;
            value::field(out, &numbers::single(parsed)?.to_be_bytes());
        }
        PgType::Float8 => {
            let parsed = float(text, |text| text.parse::<f64>().ok())?;
            value::field(out, &parsed.to_be_bytes());
        }
        PgType::Numeric(limits) => numeric::encode(&number(text)?, limits, out)?,
        PgType::Date | PgType::Timestamp | PgType::Timestamptz => {
            time::parse(text).ok_or(WRONG)?.write(pg_type, out)?;
        }
        // The mapping's check refuses `parse` for these.
        PgType::Text
        | PgType::Varchar(_)
        | PgType::Uuid
        | PgType::Bytea
        | PgType::Json
        | PgType::Jsonb
        | PgType::Array(_) => return Err(WRONG),
    }
    Ok(())
}

fn number(text: &str) -> Result<Number, Bad> {
    Number::parse(text).ok_or(WRONG)
}

/// The words of PostgreSQL's booleans.
fn boolean(text: &str) -> Result<bool, Bad> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err(WRONG),
    }
}

/// Rounded once, from the text: through another type it would be rounded twice.
fn float(text: &str, read: impl Fn(&str) -> Option<f64>) -> Result<f64, Bad> {
    match number(text)? {
        Number::NaN => Ok(f64::NAN),
        Number::Infinity { negative } => Ok(numbers::infinity(negative)),
        Number::Finite(decimal) => read(text)
            .filter(|n| n.is_finite() && (*n != 0.0 || decimal.digits.is_empty()))
            .ok_or(Bad::OutOfRange),
    }
}
