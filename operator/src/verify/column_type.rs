//! What `verify` knows of each type that a column can have, in one place: what a value has to be in such
//! a column, by `docs/mapping.md`, "Types and conversions", and how a stored one is read.
//!
//! A table may have another type than the mapping says, as long as it holds the mapping's values
//! (`docs/mapping.md`, "Tables that exist"). So a stored value is read by the type that the server tells,
//! and both are compared by [`Cell::same`]. Nothing here is the consumer's: its own code is the second
//! opinion on the bytes that `transform/value.rs` of the sink makes.

use super::{
    expected::{
        cell::{Cell, Reason},
        decimal::Decimal,
        json::Json,
        moment, number, text, time,
    },
    found,
};
use bson::RawBsonRef;
use leafcutter_schemas::mapping::{Column, Conversion, PgType};
use tokio_postgres::types::{Kind as TypeKind, Type};
use uuid::Uuid;

/// What a value, or an element, that is no null has to be in a column, by type and conversion alone.
///
/// # Errors
/// Why the column cannot hold it.
pub fn typed(column: &Column, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Cell, Reason> {
    let pg_type = column.pg_type.scalar();
    let conversion = column.conversion;
    if let (Conversion::Parse, RawBsonRef::String(text) | RawBsonRef::Symbol(text)) =
        (conversion, value)
    {
        return read(
            pg_type,
            text.trim_matches(|c: char| c.is_ascii_whitespace()),
        );
    }
    match pg_type {
        PgType::Bool => match value {
            RawBsonRef::Boolean(value) => Ok(Cell::Bool(value)),
            _ => Err("wrong-type"),
        },
        PgType::Int2 => number::whole::<i16>(&number::number(value)?),
        PgType::Int4 => number::whole::<i32>(&number::number(value)?),
        PgType::Int8 => number::whole::<i64>(&number::number(value)?),
        PgType::Float4 => number::real(number::double(value)?),
        PgType::Float8 => number::double(value).map(Cell::Double),
        PgType::Numeric(limits) => number::numeric(number::number(value)?, limits),
        PgType::Text | PgType::Varchar(_) => text::text(column, value),
        PgType::Uuid => text::uuid(conversion, value, namespace).map(Cell::Uuid),
        PgType::Bytea => match value {
            RawBsonRef::Binary(binary) => Ok(Cell::Bytes(binary.bytes.to_vec())),
            RawBsonRef::ObjectId(id) => Ok(Cell::Bytes(id.bytes().to_vec())),
            _ => Err("wrong-type"),
        },
        PgType::Time => time::time_of_day(value),
        PgType::Date => time::day(time::micros(conversion, value)?),
        PgType::Timestamp | PgType::Timestamptz => {
            time::timestamp(time::micros(conversion, value)?)
        }
        PgType::Json | PgType::Jsonb => text::form(column).value(value, 0).map(Cell::Json),
        PgType::Array(_) => Err("wrong-type"),
    }
}

/// Text that is read, under `convert: parse`.
fn read(pg_type: PgType, text: &str) -> Result<Cell, Reason> {
    let moment = || moment::read(text).ok_or("wrong-type");
    match pg_type {
        PgType::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(Cell::Bool(true)),
            "false" | "f" | "no" | "n" | "off" | "0" => Ok(Cell::Bool(false)),
            _ => Err("wrong-type"),
        },
        PgType::Int2 => number::whole::<i16>(&number::read(text)?),
        PgType::Int4 => number::whole::<i32>(&number::read(text)?),
        PgType::Int8 => number::whole::<i64>(&number::read(text)?),
        PgType::Numeric(limits) => number::numeric(number::read(text)?, limits),
        PgType::Float4 => number::read_real(text),
        PgType::Float8 => number::nearest(&number::read(text)?).map(Cell::Double),
        PgType::Date => time::day(moment()?),
        PgType::Timestamp | PgType::Timestamptz => time::timestamp(moment()?),
        PgType::Time => moment::read_time(text).map(Cell::Time).ok_or("wrong-type"),
        _ => Err("wrong-type"),
    }
}

/// A constant of the mapping in a column's type; a mapping that was checked has no others.
pub fn constant(pg_type: PgType, text: &str) -> Option<Cell> {
    match pg_type {
        PgType::Text | PgType::Varchar(_) => Some(Cell::Text(text.to_owned())),
        PgType::Uuid => Uuid::parse_str(text).ok().map(Cell::Uuid),
        PgType::Bytea => Some(Cell::Bytes(text.as_bytes().to_vec())),
        PgType::Json | PgType::Jsonb => Json::read(text).map(Cell::Json),
        PgType::Array(_) => Some(Cell::List(Vec::new())),
        other => read(other, text).ok(),
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

    /// How the values of a column of the mapping are read, as the consumer writes them.
    pub fn of_column(pg_type: PgType) -> Option<Self> {
        let kind = Self::of(&Type::from_oid(pg_type.facts().oid)?)?;
        Some(if pg_type.is_array() {
            Self::List(Box::new(kind))
        } else {
            kind
        })
    }

    /// Reads a value; `None` where its bytes are not of this kind.
    pub fn read(&self, bytes: &[u8]) -> Option<Cell> {
        match self {
            Self::Bool => Some(Cell::Bool(bytes == [1])),
            Self::Whole => found::whole(bytes),
            Self::Real => Some(Cell::Real(f32::from_be_bytes(bytes.try_into().ok()?))),
            Self::Double => Some(Cell::Double(f64::from_be_bytes(bytes.try_into().ok()?))),
            Self::Numeric => Decimal::of_binary(bytes).map(Cell::Numeric),
            Self::Text => found::text(bytes).map(|text| Cell::Text(text.to_owned())),
            Self::Padded => found::padded(bytes).map(|text| Cell::Text(text.to_owned())),
            Self::Uuid => Uuid::from_slice(bytes).ok().map(Cell::Uuid),
            Self::Bytes => Some(Cell::Bytes(bytes.to_vec())),
            Self::Date => found::date(bytes),
            Self::Time => Some(Cell::Time(i64::from_be_bytes(bytes.try_into().ok()?))),
            Self::Moment => found::moment(bytes),
            Self::Json => found::json(bytes),
            Self::Jsonb => found::json(bytes.strip_prefix(&[1])?),
            Self::List(element) => found::list(bytes, |bytes| element.read(bytes)),
        }
    }

    /// Whether a value is what was expected, without reading more of it than that takes.
    pub fn is(&self, expected: &Cell, bytes: &[u8], pg_type: PgType) -> bool {
        match (self, expected) {
            (_, Cell::Null) => false,
            (Self::Text, Cell::Text(text)) => text.as_bytes() == bytes,
            (Self::Uuid, Cell::Uuid(uuid)) => uuid.as_bytes() == bytes,
            (Self::Bytes, Cell::Bytes(expected)) => expected == bytes,
            (Self::Padded, Cell::Text(text)) => {
                found::padded(bytes) == Some(text.trim_end_matches(' '))
            }
            _ => self
                .read(bytes)
                .is_some_and(|found| expected.same(&found, pg_type)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leafcutter_schemas::mapping::{Element, pg_type::SCALARS};

    #[test]
    fn every_type_of_the_mapping_is_read() {
        for pg_type in SCALARS {
            let kind = Kind::of_column(pg_type);
            assert!(kind.is_some(), "{pg_type}");
            let Some(array) = Element::of(pg_type).map(PgType::Array) else {
                continue;
            };
            let of_array = Kind::of_column(array).unwrap();
            assert_eq!(Some(of_array), kind.map(|kind| Kind::List(Box::new(kind))));
        }
    }

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
