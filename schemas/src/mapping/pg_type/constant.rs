//! The forms that constants have, each a question to a text: does PostgreSQL, which reads it as a column's
//! default, read it as Leafcutter does? A timestamp with an offset, for one, is another moment to
//! PostgreSQL, which ignores the offset. Which type has which form stands in
//! [`PgType::takes`](super::PgType::takes).

use crate::number::{Decimal, Number};
use bson::{DateTime, Decimal128};
use serde_json::Value;
use uuid::Uuid;

/// Whether a text has a form, or why not.
pub(super) type Fits = Result<(), &'static str>;

pub(super) fn boolean(text: &str) -> Fits {
    match text {
        "true" | "t" | "yes" | "on" | "1" | "false" | "f" | "no" | "off" | "0" => Ok(()),
        _ => Err("write true or false"),
    }
}

pub(super) fn integer(text: &str, least: i64, most: i64) -> Fits {
    match text.parse::<i64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(()),
        Ok(_) => Err("out of range"),
        Err(_) => Err("write a whole number in range"),
    }
}

pub(super) fn float(text: &str, value: Option<f64>) -> Fits {
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

pub(super) fn numeric(text: &str, limits: Option<(u16, u16)>) -> Fits {
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

pub(super) fn short(text: &str, length: u32) -> Fits {
    let most = usize::try_from(length).unwrap_or(usize::MAX);
    if text.chars().count() > most {
        Err("too long")
    } else {
        Ok(())
    }
}

/// As a default, PostgreSQL would take a backslash for the beginning of an escape.
pub(super) fn bytes(text: &str) -> Fits {
    if text.contains('\\') {
        Err("a backslash cannot be written")
    } else {
        Ok(())
    }
}

pub(super) fn uuid(text: &str) -> Fits {
    // PostgreSQL knows no `urn:uuid:`.
    let plain = !text.starts_with("urn:");
    if plain && Uuid::parse_str(text).is_ok() {
        Ok(())
    } else {
        Err("write a UUID")
    }
}

pub(super) fn date(text: &str) -> Fits {
    let whole_day = text.len() == 10;
    if whole_day && moment(&format!("{text}T00:00:00Z")) {
        Ok(())
    } else {
        Err("write 2026-12-31")
    }
}

pub(super) fn time(text: &str) -> Fits {
    let seconds = if text.len() == 5 { ":00" } else { "" };
    if moment(&format!("2000-01-01T{text}{seconds}Z")) {
        Ok(())
    } else {
        Err("write 23:59 or 23:59:59.999")
    }
}

pub(super) fn timestamp(text: &str, utc_only: bool) -> Fits {
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

pub(super) fn json(text: &str) -> Fits {
    read(text).map(drop)
}

fn read(text: &str) -> Result<Value, &'static str> {
    serde_json::from_str(text).map_err(|_| "write JSON")
}

pub(super) fn jsonb(text: &str) -> Fits {
    if holds_nul(&read(text)?) {
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

pub(super) fn array(text: &str) -> Fits {
    if text == "{}" {
        Ok(())
    } else {
        Err("write \"{}\", the empty array")
    }
}
