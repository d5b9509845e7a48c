//! A value as PostgreSQL sends it, in its binary form, whatever type the table's column has.
//!
//! A table may have another type than the mapping says, as long as it holds the mapping's values
//! (`docs/mapping.md`, "Tables that exist"). So values are read by the type that the server tells, and
//! compared by [`Cell::same`]. Text never goes through the server's own formatting, so no setting of a
//! session changes what is found.

use super::expected::{cell::Cell, decimal::Decimal, json::Json, moment::DAY_MICROS};
use leafcutter_schemas::mapping::PgType;
use std::error::Error;
use tokio_postgres::types::{FromSql, Kind as TypeKind, Type};
use uuid::Uuid;

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

/// How a column's bytes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `boolean`
    Bool,
    /// Whole numbers of any width.
    Whole,
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `numeric`
    Numeric,
    /// Text of any type.
    Text,
    /// `char(n)`, whose blanks at the end mean nothing.
    Padded,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytes,
    /// `date`
    Date,
    /// `time`
    Time,
    /// Timestamps, with a zone or without.
    Moment,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// An array.
    List(Box<Kind>),
}

/// Days from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_DAYS: i64 = 10_957;

impl Kind {
    /// How values of a type are read; `None` for types that are not known here.
    pub fn of(found: &Type) -> Option<Self> {
        if let TypeKind::Array(element) = found.kind() {
            return Self::of(element).map(|element| Self::List(Box::new(element)));
        }
        Some(match *found {
            Type::BOOL => Self::Bool,
            Type::INT2 | Type::INT4 | Type::INT8 => Self::Whole,
            Type::FLOAT4 => Self::Real,
            Type::FLOAT8 => Self::Double,
            Type::NUMERIC => Self::Numeric,
            Type::TEXT | Type::VARCHAR | Type::NAME => Self::Text,
            Type::BPCHAR => Self::Padded,
            Type::UUID => Self::Uuid,
            Type::BYTEA => Self::Bytes,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMESTAMP | Type::TIMESTAMPTZ => Self::Moment,
            Type::JSON => Self::Json,
            Type::JSONB => Self::Jsonb,
            _ if found.name() == "citext" => Self::Text,
            _ => return None,
        })
    }

    /// Reads a value; `None` where its bytes are not of this kind.
    pub fn read(&self, bytes: &[u8]) -> Option<Cell> {
        Some(match self {
            Self::Bool => Cell::Bool(bytes == [1]),
            Self::Whole => Cell::Int(match *bytes {
                [a, b] => i64::from(i16::from_be_bytes([a, b])),
                [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
                _ => i64::from_be_bytes(bytes.try_into().ok()?),
            }),
            Self::Real => Cell::Real(f32::from_be_bytes(bytes.try_into().ok()?)),
            Self::Double => Cell::Double(f64::from_be_bytes(bytes.try_into().ok()?)),
            Self::Numeric => Cell::Numeric(Decimal::of_binary(bytes)?),
            Self::Text => Cell::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
            Self::Padded => Cell::Text(
                std::str::from_utf8(bytes)
                    .ok()?
                    .trim_end_matches(' ')
                    .to_owned(),
            ),
            Self::Uuid => Cell::Uuid(Uuid::from_slice(bytes).ok()?),
            Self::Bytes => Cell::Bytes(bytes.to_vec()),
            Self::Date => match i32::from_be_bytes(bytes.try_into().ok()?) {
                i32::MAX => Cell::Text("infinity".to_owned()),
                i32::MIN => Cell::Text("-infinity".to_owned()),
                days => Cell::Date(i64::from(days) + EPOCH_DAYS),
            },
            Self::Time => Cell::Time(i64::from_be_bytes(bytes.try_into().ok()?)),
            Self::Moment => match i64::from_be_bytes(bytes.try_into().ok()?) {
                i64::MAX => Cell::Text("infinity".to_owned()),
                i64::MIN => Cell::Text("-infinity".to_owned()),
                micros => Cell::Moment(i128::from(micros) + i128::from(EPOCH_DAYS) * DAY_MICROS),
            },
            Self::Json => Cell::Json(Json::read(std::str::from_utf8(bytes).ok()?)?),
            Self::Jsonb => {
                let text = bytes.strip_prefix(&[1])?;
                Cell::Json(Json::read(std::str::from_utf8(text).ok()?)?)
            }
            Self::List(element) => list(element, bytes)?,
        })
    }

    /// Whether a value is what was expected, without reading more of it than that takes.
    pub fn is(&self, expected: &Cell, bytes: &[u8], pg_type: PgType) -> bool {
        match (self, expected) {
            (_, Cell::Null) => false,
            (Self::Text, Cell::Text(text)) => text.as_bytes() == bytes,
            (Self::Uuid, Cell::Uuid(uuid)) => uuid.as_bytes() == bytes,
            (Self::Bytes, Cell::Bytes(expected)) => expected == bytes,
            (Self::Padded, Cell::Text(text)) => {
                let found = std::str::from_utf8(bytes).map(|found| found.trim_end_matches(' '));
                found == Ok(text.trim_end_matches(' '))
            }
            _ => self
                .read(bytes)
                .is_some_and(|found| expected.same(&found, pg_type)),
        }
    }
}

/// The binary form of arrays (`array_send`): dimensions, flags, the element's type, each dimension's
/// length and lower bound, and the elements with their lengths.
fn list(element: &Kind, bytes: &[u8]) -> Option<Cell> {
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
                items.push(element.read(bytes.get(at..at + length)?)?);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_the_type_that_the_server_tells() {
        let read = |found: &Type, bytes: &[u8]| Kind::of(found).unwrap().read(bytes);
        assert_eq!(read(&Type::INT2, &[255, 254]), Some(Cell::Int(-2)));
        assert_eq!(
            read(&Type::DATE, &0i32.to_be_bytes()),
            Some(Cell::Date(10_957))
        );
        assert_eq!(
            read(&Type::DATE, &i32::MAX.to_be_bytes()),
            Some(Cell::Text("infinity".into()))
        );
        let moment = read(&Type::TIMESTAMPTZ, &0i64.to_be_bytes()).unwrap();
        assert_eq!(moment.text(None).unwrap(), "2000-01-01 00:00:00");
        let json = read(&Type::JSONB, b"\x01{\"a\": 1}").unwrap();
        assert_eq!(json.text(None).unwrap(), "{\"a\": 1}");
        let mut array = Vec::new();
        for word in [1, 1, 23, 3, 1, 4, 7, -1] {
            array.extend_from_slice(&i32::to_be_bytes(word));
        }
        let items = vec![Cell::Int(7), Cell::Null];
        assert_eq!(read(&Type::INT4_ARRAY, &array), Some(Cell::List(items)));
        assert_eq!(read(&Type::INT8, &[1, 2, 3]), None);
        assert_eq!(Kind::of(&Type::POINT), None);
    }

    #[test]
    fn blanks_at_the_end_mean_nothing_where_the_column_adds_them() {
        let padded = Kind::of(&Type::BPCHAR).unwrap();
        assert!(padded.is(&Cell::Text("a".into()), b"a   ", PgType::Text));
        assert!(!Kind::Text.is(&Cell::Text("a".into()), b"a   ", PgType::Text));
    }
}
