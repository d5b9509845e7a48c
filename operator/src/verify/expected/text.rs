//! What a column of text holds, how JSON is held beside it, and what is a UUID.

use super::{
    cell::{Cell, Reason},
    json::Form,
    key, moment,
};
use bson::{RawBsonRef, spec::BinarySubtype};
use leafcutter_schemas::mapping::{Column, Conversion, PgType, Policy};
use uuid::Uuid;

/// How a column holds JSON.
pub fn form(column: &Column) -> Form {
    Form {
        nul: column.invalid.nul,
        names_once: column.pg_type == PgType::Jsonb,
    }
}

/// The text of a value, by the column's conversion and within its length.
///
/// # Errors
/// When the value is no text, or not to be had as one, or is too long.
pub fn text(column: &Column, value: RawBsonRef<'_>) -> Result<Cell, Reason> {
    let any = column.conversion == Conversion::Text;
    let written = match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => text.to_owned(),
        _ if !any => return Err("wrong-type"),
        RawBsonRef::ObjectId(id) => id.to_hex(),
        RawBsonRef::Boolean(value) => value.to_string(),
        RawBsonRef::Int32(n) => n.to_string(),
        RawBsonRef::Int64(n) => n.to_string(),
        RawBsonRef::Double(n) if n.is_infinite() => {
            if n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
        }
        RawBsonRef::Double(n) => n.to_string(),
        RawBsonRef::Decimal128(n) => n.to_string(),
        RawBsonRef::DateTime(at) => moment::rfc3339(at.timestamp_millis()),
        RawBsonRef::Binary(binary) if is_uuid(binary.subtype) => {
            let uuid = Uuid::from_slice(binary.bytes).map_err(|_| "wrong-type")?;
            uuid.to_string()
        }
        _ => return Err("wrong-type"),
    };
    let written = form(column).text(&written)?;
    let Some(most) = column
        .pg_type
        .length()
        .and_then(|n| usize::try_from(n).ok())
    else {
        return Ok(Cell::Text(written));
    };
    // No text has more characters than bytes.
    if written.len() <= most || written.chars().count() <= most {
        return Ok(Cell::Text(written));
    }
    if column.invalid.too_long == Policy::Truncate {
        return Ok(Cell::Text(written.chars().take(most).collect()));
    }
    Err("too-long")
}

/// A UUID, as it is or made of an `_id`.
///
/// # Errors
/// When the value is none.
pub fn uuid(
    conversion: Conversion,
    value: RawBsonRef<'_>,
    namespace: &Uuid,
) -> Result<Uuid, Reason> {
    if conversion == Conversion::UuidV5 {
        return key::uuid_v5(namespace, value).ok_or("malformed");
    }
    match value {
        RawBsonRef::Binary(binary) if is_uuid(binary.subtype) => {
            Uuid::from_slice(binary.bytes).map_err(|_| "wrong-type")
        }
        RawBsonRef::String(text) => Uuid::parse_str(text).map_err(|_| "wrong-type"),
        _ => Err("wrong-type"),
    }
}

fn is_uuid(subtype: BinarySubtype) -> bool {
    matches!(subtype, BinarySubtype::Uuid | BinarySubtype::UuidOld)
}
