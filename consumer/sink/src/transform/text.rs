//! Text: what is text already, and what `convert: text` writes as such.

use super::{
    bad::{Bad, wrong},
    bson_type::is_uuid,
    field::field,
    time,
};
use bson::RawBsonRef;
use leafcutter_schemas::mapping::{Conversion, Policies, Policy};
use std::borrow::Cow;
use uuid::Uuid;

/// Appends a field of text, with at most so many characters.
#[inline]
pub(super) fn write(
    conversion: Conversion,
    invalid: Policies,
    value: RawBsonRef<'_>,
    length: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let mut text = text(conversion, value)?;
    if text.as_bytes().contains(&0) {
        if invalid.nul != Policy::Truncate {
            return Err(Bad::Nul);
        }
        text = Cow::Owned(text.replace('\0', ""));
    }
    let Some(most) = length.and_then(|n| usize::try_from(n).ok()) else {
        field(out, text.as_bytes());
        return Ok(());
    };
    // No text has more characters than bytes, so most are not counted.
    if text.len() <= most {
        field(out, text.as_bytes());
        return Ok(());
    }
    match text.char_indices().nth(most) {
        None => field(out, text.as_bytes()),
        Some((end, _)) if invalid.too_long == Policy::Truncate => {
            field(out, &text.as_bytes()[..end]);
        }
        Some(_) => return Err(Bad::TooLong(text.chars().count())),
    }
    Ok(())
}

/// The text of a value, whole.
#[inline]
pub(super) fn text(conversion: Conversion, value: RawBsonRef<'_>) -> Result<Cow<'_, str>, Bad> {
    if let RawBsonRef::String(text) | RawBsonRef::Symbol(text) = value {
        return Ok(text.into());
    }
    if conversion != Conversion::Text {
        return wrong(&value);
    }
    Ok(Cow::Owned(match value {
        RawBsonRef::ObjectId(id) => id.to_hex(),
        RawBsonRef::Int32(n) => n.to_string(),
        RawBsonRef::Int64(n) => n.to_string(),
        RawBsonRef::Double(n) if n.is_infinite() => {
            let sign = if n < 0.0 { "-" } else { "" };
            format!("{sign}Infinity")
        }
        RawBsonRef::Double(n) => n.to_string(),
        RawBsonRef::Decimal128(n) => n.to_string(),
        RawBsonRef::Boolean(b) => b.to_string(),
        RawBsonRef::DateTime(at) => time::timestamp_text(at.timestamp_millis()),
        RawBsonRef::Binary(binary) if is_uuid(binary.subtype) => Uuid::from_slice(binary.bytes)
            .map_err(|_| Bad::WrongType("binData"))?
            .to_string(),
        other => return wrong(&other),
    }))
}
