//! Values as PostgreSQL sends them, in their binary forms; which type has which stands in
//! `column_type.rs`. Text never goes through the server's own formatting, so no setting of a session
//! changes what is found.

use super::expected::{cell::Cell, json::Json, moment::DAY_MICROS};
use std::error::Error;
use tokio_postgres::types::{FromSql, Type};

/// The bytes of any value.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a>(pub &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Days from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_DAYS: i64 = 10_957;

/// A whole number of any width.
pub fn whole(bytes: &[u8]) -> Option<Cell> {
    Some(Cell::Int(match *bytes {
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        _ => i64::from_be_bytes(bytes.try_into().ok()?),
    }))
}

/// A day.
pub fn date(bytes: &[u8]) -> Option<Cell> {
    Some(match i32::from_be_bytes(bytes.try_into().ok()?) {
        i32::MAX => Cell::Text("infinity".to_owned()),
        i32::MIN => Cell::Text("-infinity".to_owned()),
        days => Cell::Date(i64::from(days) + EPOCH_DAYS),
    })
}

/// A point in time.
pub fn moment(bytes: &[u8]) -> Option<Cell> {
    Some(match i64::from_be_bytes(bytes.try_into().ok()?) {
        i64::MAX => Cell::Text("infinity".to_owned()),
        i64::MIN => Cell::Text("-infinity".to_owned()),
        micros => Cell::Moment(i128::from(micros) + i128::from(EPOCH_DAYS) * DAY_MICROS),
    })
}

/// Text.
pub fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Text behind which a column adds blanks, which mean nothing.
pub fn padded(bytes: &[u8]) -> Option<&str> {
    text(bytes).map(|text| text.trim_end_matches(' '))
}

/// JSON.
pub fn json(bytes: &[u8]) -> Option<Cell> {
    Json::read(text(bytes)?).map(Cell::Json)
}

/// The binary form of arrays (`array_send`): dimensions, flags, the element's type, each dimension's
/// length and lower bound, and the elements with their lengths.
pub fn list(bytes: &[u8], read: impl Fn(&[u8]) -> Option<Cell>) -> Option<Cell> {
    let word = |at: usize| -> Option<i32> {
        Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    let dimensions = usize::try_from(word(0)?).ok()?;
    let mut at = 12 + 8 * dimensions;
    let mut items = Vec::new();
    while at < bytes.len() {
        let length = word(at)?;
        at += 4;
        match usize::try_from(length) {
            Err(_) => items.push(Cell::Null),
            Ok(length) => {
                items.push(read(bytes.get(at..at + length)?)?);
                at += length;
            }
        }
    }
    // One of several dimensions is never one that Leafcutter wrote.
    Some(if dimensions > 1 {
        Cell::List(vec![Cell::List(items)])
    } else {
        Cell::List(items)
    })
}
