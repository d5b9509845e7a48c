//! Constants: text that has to mean the same to PostgreSQL, as a column's default, and to
//! Leafcutter, as a value. Where the two would read a text differently it is refused: a timestamp
//! with an offset, for one, is another moment to PostgreSQL, which ignores the offset.

use crate::{
    mapping::PgType,
    number::{Decimal, Number},
};
use bson::{DateTime, Decimal128};
use serde_json::Value;
use uuid::Uuid;

/// Whether a text is a constant of that type.
///
/// # Errors
/// Why it is not.
pub(super) fn fits(text: &str, pg_type: PgType) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("`{text}` is no `{pg_type}`: {why}"));
    if text.contains('\0') {
        return refuse("it contains a NUL character");
    }
    let fits = match pg_type {
        PgType::Bool => boolean(text),
        PgType::Int2 => integer(text, i16::MIN.into(), i16::MAX.into()),
        PgType::Int4 => integer(text, i32::MIN.into(), i32::MAX.into()),
        PgType::Int8 => integer(text, i64::MIN, i64::MAX),
        PgType::Float4 => float(text, text.parse::<f32>().ok().map(f64::from)),
        PgType::Float8 => float(text, text.parse().ok()),
        PgType::Numeric(limits) => numeric(text, limits),
        PgType::Text => Ok(()),
        PgType::Varchar(length) => varchar(text, length),
        PgType::Uuid => uuid(text),
        // As a default, PostgreSQL would take it for the beginning of an escape.
        PgType::Bytea if text.contains('\\') => Err("a backslash cannot be written"),
        PgType::Bytea => Ok(()),
        PgType::Date => date(text),
        PgType::Time => time(text),
        PgType::Timestamp => timestamp(text, true),
        PgType::Timestamptz => timestamp(text, false),
        PgType::Json => json(text).map(|_| ()),
        PgType::Jsonb => jsonb(text),
        PgType::Array(_) if text == "{}" => Ok(()),
        PgType::Array(_) => Err("write \"{}\", the empty array"),
    };
    fits.or_else(refuse)
}

type Fits = Result<(), &'static str>;

fn boolean(text: &str) -> Fits {
    match text {
        "true" | "t" | "yes" | "on" | "1" | "false" | "f" | "no" | "off" | "0" => Ok(()),
        _ => Err("write true or false"),
    }
}

fn integer(text: &str, least: i64, most: i64) -> Fits {
    match text.parse::<i64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(()),
        Ok(_) => Err("out of range"),
        Err(_) => Err("write a whole number in range"),
    }
}

fn float(text: &str, value: Option<f64>) -> Fits {
    let Some(value) = value.filter(|_| written_as_number(text)) else {
        return Err("write a number");
    };
    // Leafcutter reads the digits exactly, also those of zero.
    if Number::parse(text).is_none() {
        return Err("its exponent is too large");
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = |c: char| c.is_ascii_digit();
    let too_large = value.is_infinite() && text.contains(digits);
    let too_small = value == 0.0 && mantissa.contains(|c: char| c != '0' && digits(c));
    if too_large || too_small {
        Err("out of range")
    } else {
        Ok(())
    }
}

fn numeric(text: &str, limits: Option<(u16, u16)>) -> Fits {
    let value = if written_as_number(text) {
        text.parse::<Decimal128>().ok()
    } else {
        None
    };
    let Some(value) = value else {
        return Err("write a number of at most 34 digits");
    };
    if Number::parse(text).is_none() {
        return Err("its exponent is too large");
    }
    let Some((precision, scale)) = limits else {
        return Ok(());
    };
    match Number::from_decimal128(&value) {
        Number::NaN => Ok(()),
        Number::Infinity { .. } => Err("out of range"),
        Number::Finite(Decimal {
            digits, exponent, ..
        }) => {
            let whole = i64::try_from(digits.len()).unwrap_or(i64::MAX) + i64::from(exponent);
            if exponent < -i32::from(scale) {
                Err("too many digits after the point")
            } else if !digits.is_empty() && whole > i64::from(precision) - i64::from(scale) {
                Err("out of range")
            } else {
                Ok(())
            }
        }
    }
}

/// Digits with at most a sign, a point and an exponent; or what is no finite number.
fn written_as_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if ["nan", "infinity"].contains(&unsigned.to_lowercase().as_str()) {
        return true;
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits && !exponent.is_empty() && digits(whole) && digits(fraction) && digits(exponent)
}

fn varchar(text: &str, length: u32) -> Fits {
    let most = usize::try_from(length).unwrap_or(usize::MAX);
    if text.chars().count() > most {
        Err("too long")
    } else {
        Ok(())
    }
}

fn uuid(text: &str) -> Fits {
    // PostgreSQL knows no `urn:uuid:`.
    let plain = !text.starts_with("urn:");
    if plain && Uuid::parse_str(text).is_ok() {
        Ok(())
    } else {
        Err("write a UUID")
    }
}

fn date(text: &str) -> Fits {
    let whole_day = text.len() == 10;
    if whole_day && moment(&format!("{text}T00:00:00Z")) {
        Ok(())
    } else {
        Err("write 2026-12-31")
    }
}

fn time(text: &str) -> Fits {
    let seconds = if text.len() == 5 { ":00" } else { "" };
    if moment(&format!("2000-01-01T{text}{seconds}Z")) {
        Ok(())
    } else {
        Err("write 23:59 or 23:59:59.999")
    }
}

fn timestamp(text: &str, utc_only: bool) -> Fits {
    if date(text).is_ok() || (moment(text) && (!utc_only || text.ends_with('Z'))) {
        return Ok(());
    }
    Err("write 2026-12-31 or 2026-12-31T23:59:59.999Z")
}

/// RFC 3339, from year 1, with no more than the milliseconds that BSON has, and without a leap second,
/// which PostgreSQL takes for the next minute.
fn moment(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let leap = text.get(17..19) == Some("60");
    digits <= 3 && !leap && !text.starts_with("0000") && DateTime::parse_rfc3339_str(text).is_ok()
}

fn json(text: &str) -> Result<Value, &'static str> {
    serde_json::from_str(text).map_err(|_| "write JSON")
}

fn jsonb(text: &str) -> Fits {
    if holds_nul(&json(text)?) {
        Err("it contains a NUL character")
    } else {
        Ok(())
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(k, v)| k.contains('\0') || holds_nul(v)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Element;

    const NUMERIC_6_2: PgType = PgType::Numeric(Some((6, 2)));

    #[test]
    fn constants_that_fit() {
        for (pg_type, texts) in [
            (PgType::Bool, &["true", "f", "0"][..]),
            (PgType::Int2, &["-32768", "32767", "+1", "007"]),
            (PgType::Int4, &["2147483647"]),
            (PgType::Int8, &["-9223372036854775808"]),
            (
                PgType::Float4,
                &["1", "-0.5", "1e38", "NaN", "-Infinity", "0e99"],
            ),
            (PgType::Float8, &["1e308", ".5"]),
            (PgType::Numeric(None), &["1", "1e6144", "NaN"]),
            (
                NUMERIC_6_2,
                &["9999.99", "-0.01", "0", "1e3", "1.2300", "NaN"],
            ),
            (PgType::Text, &["", "anything"]),
            (PgType::Varchar(2), &["", "äö"]),
            (PgType::Uuid, &["6ba7b812-9dad-11d1-80b4-00c04fd430c8"]),
            (PgType::Bytea, &["abc", ""]),
            (PgType::Date, &["2024-02-29", "0001-01-01"]),
            (PgType::Time, &["23:59", "00:00:00", "12:30:00.125"]),
            (
                PgType::Timestamp,
                &["2024-02-29", "2024-02-29T23:59:59.999Z"],
            ),
            (
                PgType::Timestamptz,
                &["2024-02-29T23:59:59+02:00", "2024-02-29"],
            ),
            (PgType::Json, &["{}", "[1, null]", "\"\\u0000\""]),
            (PgType::Jsonb, &["{\"a\": [true]}", "0"]),
            (PgType::Array(Element::Int4), &["{}"]),
        ] {
            for text in texts {
                assert_eq!(fits(text, pg_type), Ok(()));
            }
        }
    }

    #[test]
    fn constants_that_do_not() {
        for (pg_type, texts) in [
            (PgType::Bool, &["True", "2", ""][..]),
            (PgType::Int2, &["32768", "-32769"]),
            (PgType::Int4, &["2147483648", "1.0", "0x10", "", " 1"]),
            (PgType::Int8, &["9223372036854775808"]),
            (PgType::Float4, &["1e39", "1e-60", "one", "0e99999999999"]),
            (
                PgType::Float8,
                &[
                    "1e309",
                    "-1e309",
                    "1e-400",
                    "",
                    "0e2147483648",
                    "0.0e-2147483648",
                ],
            ),
            (
                PgType::Numeric(None),
                &["", "a", "1e6145", ".", "1e", "--1", "1.2.3", "1_0"],
            ),
            (NUMERIC_6_2, &["10000", "0.001", "1e4", "Infinity"]),
            (PgType::Text, &["a\0"]),
            (PgType::Varchar(2), &["äöü"]),
            (
                PgType::Uuid,
                &["6ba7b812", "urn:uuid:6ba7b812-9dad-11d1-80b4-00c04fd430c8"],
            ),
            (PgType::Bytea, &["\\x41"]),
            (
                PgType::Date,
                &["2024-02-30", "24-1-1", "0000-01-01", "2024-02-29T00:00:00Z"],
            ),
            (
                PgType::Time,
                &[
                    "",
                    "7:00",
                    "24:00",
                    "12:60",
                    "12:30Z",
                    "12:30+01:00",
                    "2024-02-29",
                ],
            ),
            (
                PgType::Timestamp,
                &[
                    "2024-02-29T23:59:59+02:00",
                    "2024-02-29 10:00",
                    "2016-12-31T23:59:60Z",
                    "now",
                ],
            ),
            (
                PgType::Timestamptz,
                &["2024-02-29T23:59:59.123456Z", "0000-01-01T00:00:00Z"],
            ),
            (PgType::Json, &["", "{a: 1}"]),
            (PgType::Jsonb, &["[\"\\u0000\"]", "{\"\\u0000\": 1}"]),
            (PgType::Array(Element::Int4), &["", "{1}", "[]", "1"]),
        ] {
            for text in texts {
                assert!(fits(text, pg_type).is_err(), "{text} as {pg_type}");
            }
        }
    }
}
