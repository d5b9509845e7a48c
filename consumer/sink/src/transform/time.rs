//! Points in time: BSON's milliseconds, an ObjectId's own seconds, numbers of seconds or
//! milliseconds, and RFC 3339 text, to PostgreSQL's dates and timestamps, all of them in UTC.

use super::{
    bad::{Bad, out_of_range, wrong},
    field::field,
    numbers,
};
use bson::RawBsonRef;
use leafcutter_schemas::{mapping::Conversion, number::Number};

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

/// A point in time: milliseconds since 1970, and microseconds after that, of which only numbers
/// and texts have any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    millis: i64,
    micros: i64,
}

impl Moment {
    fn of_micros(micros: i128) -> Result<Self, Bad> {
        let micros = i64::try_from(micros).map_err(|_| Bad::OutOfRange)?;
        Ok(Self {
            millis: micros.div_euclid(1000),
            micros: micros.rem_euclid(1000),
        })
    }

    fn of_seconds(seconds: i64) -> Result<Self, Bad> {
        let millis = seconds.checked_mul(1000).ok_or(Bad::OutOfRange)?;
        Ok(Self { millis, micros: 0 })
    }

    /// Appends the field of a `date`.
    pub(super) fn write_date(self, out: &mut Vec<u8>) -> Result<(), Bad> {
        let days = self.millis.div_euclid(DAY_MILLIS) - EPOCH_2000_MILLIS / DAY_MILLIS;
        if !(DATE_MIN..DATE_END).contains(&days) {
            return Err(Bad::OutOfRange);
        }
        let days = i32::try_from(days).map_err(out_of_range)?;
        field(out, &days.to_be_bytes());
        Ok(())
    }

    /// Appends the field of a timestamp.
    #[inline]
    pub(super) fn write_timestamp(self, out: &mut Vec<u8>) -> Result<(), Bad> {
        let micros = self
            .millis
            .checked_sub(EPOCH_2000_MILLIS)
            .and_then(|millis| millis.checked_mul(1000)?.checked_add(self.micros))
            .filter(|micros| (TIMESTAMP_MIN..TIMESTAMP_END).contains(micros))
            .ok_or(Bad::OutOfRange)?;
        field(out, &micros.to_be_bytes());
        Ok(())
    }
}

/// The point in time that a value is under a conversion.
#[inline]
pub(super) fn moment(conversion: Conversion, value: RawBsonRef<'_>) -> Result<Moment, Bad> {
    match (conversion, value) {
        (Conversion::ObjectIdTime, RawBsonRef::ObjectId(id)) => {
            let bytes = id.bytes();
            let seconds = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            Moment::of_seconds(seconds.into())
        }
        (Conversion::EpochSeconds, value) => epoch(value, 6),
        (Conversion::EpochMillis, value) => epoch(value, 3),
        (Conversion::ObjectIdTime, other) => wrong(&other),
        (
            Conversion::Auto
            | Conversion::Text
            | Conversion::UuidV5
            | Conversion::Parse
            | Conversion::ObjectId,
            RawBsonRef::DateTime(at),
        ) => Ok(Moment {
            millis: at.timestamp_millis(),
            micros: 0,
        }),
        (
            Conversion::Auto
            | Conversion::Text
            | Conversion::UuidV5
            | Conversion::Parse
            | Conversion::ObjectId,
            other,
        ) => wrong(&other),
    }
}

/// A number of which one is `10^power` microseconds, rounded to them.
fn epoch(value: RawBsonRef<'_>, power: i32) -> Result<Moment, Bad> {
    match numbers::number(value)? {
        Number::Finite(decimal) => {
            // Dates go further than 64 bits of microseconds do.
            if power == 3 && decimal.exponent >= 0 {
                let millis = numbers::scaled(&decimal, 0).ok_or(Bad::OutOfRange)?;
                let millis = i64::try_from(millis).map_err(out_of_range)?;
                return Ok(Moment { millis, micros: 0 });
            }
            if decimal.exponent >= 0 {
                let seconds = numbers::scaled(&decimal, 0).ok_or(Bad::OutOfRange)?;
                return Moment::of_seconds(i64::try_from(seconds).map_err(out_of_range)?);
            }
            Moment::of_micros(numbers::scaled(&decimal, power).ok_or(Bad::OutOfRange)?)
        }
        Number::NaN | Number::Infinity { .. } => Err(Bad::OutOfRange),
    }
}

/// Reads `2026-12-31` or RFC 3339 (`2026-12-31T23:59:59.999999+02:00`), rounded to microseconds.
/// There are no leap seconds in PostgreSQL, so there are none here.
pub(super) fn parse(text: &str) -> Option<Moment> {
    let (date, rest) = (text.get(..10)?, &text[10..]);
    let days = days_of(date)?;
    if rest.is_empty() {
        return Moment::of_seconds(days * 86_400).ok();
    }
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let [hour, minute, second] = fields(clock.get(..8)?, ':')?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, zone) = fraction(&clock[8..])?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - zone_seconds(zone)?;
    Moment::of_micros(i128::from(seconds) * 1_000_000 + i128::from(micros)).ok()
}

/// `2026-12-31` as days since 1970.
fn days_of(text: &str) -> Option<i64> {
    let (year, rest) = (number_of(text.get(..4)?)?, text.get(4..)?);
    let [month, day] = fields(rest.strip_prefix('-')?, '-')?;
    let days = days_since_1970(year, month, day);
    // Only days that there are come back as they were.
    ((1..=12).contains(&month) && civil_date(days) == (year, month, day)).then_some(days)
}

/// Numbers of two digits each between separators.
fn fields<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for number in &mut numbers {
        *number = parts
            .next()
            .filter(|part| part.len() == 2)
            .and_then(number_of)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn number_of(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The microseconds of `.123456789`, rounded, and what follows.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, zone) = rest.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let six: String = digits.chars().chain("000000".chars()).take(6).collect();
    let up = digits.as_bytes().get(6).is_some_and(|&digit| digit >= b'5');
    Some((number_of(&six)? + i64::from(up), zone))
}

fn zone_seconds(text: &str) -> Option<i64> {
    if text == "Z" || text == "z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = fields(text.strip_prefix(['+', '-'])?, ':')?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
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

/// A date as PostgreSQL's `::text` writes it, given in its days since 2000.
pub(super) fn date_text(days: i32) -> String {
    let days = i64::from(days) + EPOCH_2000_MILLIS / DAY_MILLIS;
    let (year, month, day) = civil_date(days);
    if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} BC", 1 - year)
    }
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

/// The number of days since 1970 of a date in the proleptic Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<i64> {
        parse(text).map(|moment| moment.millis * 1000 + moment.micros)
    }

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        for days in (-800_000..3_000_000).step_by(97) {
            let (year, month, day) = civil_date(days);
            assert_eq!(days_since_1970(year, month, day), days);
        }
    }

    #[test]
    fn texts_are_moments() {
        let second = 1_735_689_599_000_000;
        for (text, expected) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2024-12-31T23:59:59Z", second),
            ("2024-12-31 23:59:59.1z", second + 100_000),
            ("2024-12-31T23:59:59.123456789Z", second + 123_457),
            ("2024-12-31T23:59:59.9999995Z", second + 1_000_000),
            ("2025-01-01T01:59:59+02:00", second),
            ("2024-12-31T22:29:59-01:30", second),
            ("0000-01-01", -62_167_219_200_000_000),
            ("2024-02-29", 1_709_164_800_000_000),
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not() {
        for text in [
            "",
            "2024",
            "2024-1-1",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-12-31T",
            "2024-12-31T23:59:59",
            "2024-12-31T24:00:00Z",
            "2024-12-31T23:59:60Z",
            "2024-12-31T23:59Z",
            "2024-12-31T23:59:59.Z",
            "2024-12-31T23:59:59+0200",
            "2024-12-31T23:59:59+24:00",
            "2024-12-31T23:59:59ZZ",
            "+024-12-31",
            "2024-12-31x",
            "2024-12-3ü",
            "ü024-12-311",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
