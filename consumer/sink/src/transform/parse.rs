//! Text that is a number or a boolean, for `convert: parse` and for constants.
//!
//! Text that is none of the column's type is of the wrong type; a number that is too large, or too
//! small to be told from zero, is out of range.

use super::{bad::Bad, numbers};
use leafcutter_schemas::number::Number;

/// Text that is none of the column's type.
pub(super) const NOT_READ: Bad = Bad::WrongType("string");

pub(super) fn number(text: &str) -> Result<Number, Bad> {
    Number::parse(text).ok_or(NOT_READ)
}

pub(super) fn single(text: &str) -> Result<f32, Bad> {
    numbers::single(float(text, |text| text.parse::<f32>().ok().map(f64::from))?)
}

pub(super) fn double(text: &str) -> Result<f64, Bad> {
    float(text, |text| text.parse().ok())
}

/// The words of PostgreSQL's booleans.
pub(super) fn boolean(text: &str) -> Result<bool, Bad> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err(NOT_READ),
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
