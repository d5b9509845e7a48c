//! Numbers, and what the columns of PostgreSQL's number types hold of them.

use super::{
    cell::{Cell, Reason},
    decimal::Decimal,
};
use bson::RawBsonRef;

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

/// A number that is read.
///
/// # Errors
/// When the text is none.
pub fn read(text: &str) -> Result<Decimal, Reason> {
    Decimal::read(text).ok_or("wrong-type")
}

/// A whole number that a type can be.
///
/// # Errors
/// When it has a fraction, or the type ends before it.
pub fn whole<T: TryFrom<i64>>(number: &Decimal) -> Result<Cell, Reason> {
    let value = number
        .whole()
        .map_err(|_| "out-of-range")?
        .ok_or("wrong-type")?;
    if T::try_from(value).is_ok() {
        Ok(Cell::Int(value))
    } else {
        Err("out-of-range")
    }
}

/// The nearest `double precision`; what would become infinite or zero is out of range.
///
/// # Errors
/// When it is, or the value is no number.
pub fn double(value: RawBsonRef<'_>) -> Result<f64, Reason> {
    match value {
        RawBsonRef::Double(n) => Ok(n),
        other => nearest(&number(other)?),
    }
}

/// The nearest `double precision` of a number.
///
/// # Errors
/// When it would become infinite or zero.
pub fn nearest(number: &Decimal) -> Result<f64, Reason> {
    let double = number.to_f64();
    let finite = matches!(number, Decimal::Finite(_));
    if finite && (double.is_infinite() || (double == 0.0 && !number.is_zero())) {
        return Err("out-of-range");
    }
    Ok(double)
}

/// The nearest `real` of a double.
///
/// # Errors
/// When it would become infinite or zero.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the nearest `real` is what the column holds"
)]
pub fn real(double: f64) -> Result<Cell, Reason> {
    let real = double as f32;
    if (real.is_infinite() && double.is_finite()) || (real == 0.0 && double != 0.0) {
        return Err("out-of-range");
    }
    Ok(Cell::Real(real))
}

/// The nearest `real` of a text that is read: once, since through a double it would be rounded twice.
///
/// # Errors
/// When it is no number, or would become infinite or zero.
pub fn read_real(text: &str) -> Result<Cell, Reason> {
    let number = read(text)?;
    let double = nearest(&number)?;
    let finite = matches!(number, Decimal::Finite(_));
    match text.parse::<f32>() {
        Ok(real) if finite && (real.is_infinite() || (real == 0.0 && !number.is_zero())) => {
            Err("out-of-range")
        }
        Ok(real) if finite => Ok(Cell::Real(real)),
        _ => real(double),
    }
}

/// A `numeric`, rounded to its scale.
///
/// # Errors
/// When it has more digits than the precision.
pub fn numeric(number: Decimal, limits: Option<(u16, u16)>) -> Result<Cell, Reason> {
    match limits {
        None => Ok(Cell::Numeric(number)),
        Some((precision, scale)) => {
            let limited = number.limited(precision, scale);
            limited.map(Cell::Numeric).map_err(|_| "out-of-range")
        }
    }
}
