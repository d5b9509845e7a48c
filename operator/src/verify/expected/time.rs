//! Points in time of BSON, and what the columns of PostgreSQL's types of time hold of them.

use super::{
    cell::{Cell, Reason},
    decimal::{Decimal, Finite},
    moment,
    number::number,
};
use bson::RawBsonRef;
use leafcutter_schemas::mapping::Conversion;

/// The microseconds since 1970 that a value is under a conversion.
///
/// # Errors
/// When it is no point in time.
pub fn micros(conversion: Conversion, value: RawBsonRef<'_>) -> Result<i128, Reason> {
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

/// The day of a point in time.
///
/// # Errors
/// When no `date` is that day.
pub fn day(micros: i128) -> Result<Cell, Reason> {
    let day = i64::try_from(micros.div_euclid(moment::DAY_MICROS)).map_err(|_| "out-of-range")?;
    if moment::DATES.contains(&day) {
        Ok(Cell::Date(day))
    } else {
        Err("out-of-range")
    }
}

/// A point in time, to the microsecond.
///
/// # Errors
/// When no timestamp is that.
pub fn timestamp(micros: i128) -> Result<Cell, Reason> {
    if moment::MOMENTS.contains(&micros) {
        Ok(Cell::Moment(micros))
    } else {
        Err("out-of-range")
    }
}

/// The time of day of a BSON date.
///
/// # Errors
/// When the value is none.
pub fn time_of_day(value: RawBsonRef<'_>) -> Result<Cell, Reason> {
    match value {
        RawBsonRef::DateTime(at) => Ok(Cell::Time(
            at.timestamp_millis().rem_euclid(86_400_000) * 1000,
        )),
        _ => Err("wrong-type"),
    }
}
