//! BSON's four number types to PostgreSQL's, exactly or not at all: an integer takes only what has
//! no fraction, a float the nearest value of its own, and what is over a type's range is refused.

use super::bad::{Bad, wrong};
use bson::RawBsonRef;
use leafcutter_schemas::number::{Decimal, Number};

/// A 64-bit integer.
#[inline]
pub(super) fn integer(value: RawBsonRef<'_>) -> Result<i64, Bad> {
    match value {
        RawBsonRef::Int32(n) => Ok(i64::from(n)),
        RawBsonRef::Int64(n) => Ok(n),
        RawBsonRef::Double(_) | RawBsonRef::Decimal128(_) => {
            whole(&number(value)?)?.ok_or_else(|| Bad::of_type(&value))
        }
        other => wrong(&other),
    }
}

/// The integer that a number is; `None` where it has a fraction.
pub(super) fn whole(number: &Number) -> Result<Option<i64>, Bad> {
    let Number::Finite(decimal) = number else {
        return Err(Bad::OutOfRange);
    };
    if decimal.exponent < 0 {
        return Ok(None);
    }
    let scaled = scaled(decimal, 0).ok_or(Bad::OutOfRange)?;
    i64::try_from(scaled).map(Some).map_err(|_| Bad::OutOfRange)
}

/// A number times a power of ten, rounded half away from zero; `None` where it has more than 36
/// digits, which no type here has room for.
pub(super) fn scaled(decimal: &Decimal, power: i32) -> Option<i128> {
    const DIGITS_MAX: usize = 36;
    let exponent = decimal.exponent.checked_add(power)?;
    let (digits, zeros, up) = match usize::try_from(exponent) {
        Ok(zeros) => (decimal.digits.as_str(), zeros, false),
        Err(_) => {
            let cut = usize::try_from(exponent.unsigned_abs()).ok()?;
            match decimal.digits.len().checked_sub(cut) {
                None => ("", 0, false),
                Some(keep) => {
                    let (kept, cut) = decimal.digits.split_at(keep);
                    (
                        kept,
                        0,
                        cut.bytes().next().is_some_and(|digit| digit >= b'5'),
                    )
                }
            }
        }
    };
    if digits.is_empty() {
        return Some(signed(i128::from(up), decimal.negative));
    }
    if digits.len().checked_add(zeros)? > DIGITS_MAX {
        return None;
    }
    let value: i128 = digits.parse().ok()?;
    let value = value * 10i128.pow(u32::try_from(zeros).ok()?) + i128::from(up);
    Some(signed(value, decimal.negative))
}

fn signed(value: i128, negative: bool) -> i128 {
    if negative { -value } else { value }
}

/// A double.
#[inline]
pub(super) fn double(value: RawBsonRef<'_>) -> Result<f64, Bad> {
    match value {
        RawBsonRef::Double(n) => Ok(n),
        RawBsonRef::Int32(n) => Ok(f64::from(n)),
        // The nearest double, by the text: integers over 2^53 lose digits, as the type says.
        RawBsonRef::Int64(n) => n.to_string().parse().map_err(|_| Bad::OutOfRange),
        RawBsonRef::Decimal128(n) => match Number::from_decimal128(&n) {
            Number::NaN => Ok(f64::NAN),
            Number::Infinity { negative } => Ok(infinity(negative)),
            Number::Finite(decimal) => n
                .to_string()
                .parse::<f64>()
                .ok()
                .filter(|n| n.is_finite() && (*n != 0.0 || decimal.digits.is_empty()))
                .ok_or(Bad::OutOfRange),
        },
        other => wrong(&other),
    }
}

/// Infinity, or minus infinity.
pub(super) fn infinity(negative: bool) -> f64 {
    if negative {
        f64::NEG_INFINITY
    } else {
        f64::INFINITY
    }
}

/// The nearest `real`. What would become infinity or zero is out of range, as for PostgreSQL.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to the column's type is what `real` means"
)]
pub(super) fn single(value: f64) -> Result<f32, Bad> {
    let single = value as f32;
    if (single.is_infinite() && value.is_finite()) || (single == 0.0 && value != 0.0) {
        Err(Bad::OutOfRange)
    } else {
        Ok(single)
    }
}

/// A number of any type, exactly; a double as the shortest decimal that reads back as it.
pub(super) fn number(value: RawBsonRef<'_>) -> Result<Number, Bad> {
    match value {
        RawBsonRef::Int32(n) => Ok(Number::from_i64(n.into())),
        RawBsonRef::Int64(n) => Ok(Number::from_i64(n)),
        RawBsonRef::Double(n) => Ok(Number::shortest_of_f64(n)),
        RawBsonRef::Decimal128(n) => Ok(Number::from_decimal128(&n)),
        other => wrong(&other),
    }
}
