//! Constants of the mapping, given as text, as fields.

use super::{
    Bad, array,
    value::{self, Rule, field, json_field},
};
use bson::RawBsonRef;
use leafcutter_schemas::mapping::{Conversion, PgType};
use std::borrow::Cow;
use uuid::Uuid;

/// The field for a constant that the mapping gives as text.
///
/// # Errors
/// Where the text is none of the column's type.
pub(super) fn encode(rule: &Rule, text: &str, namespace: &Uuid) -> Result<Vec<u8>, Bad> {
    const WRONG: Bad = Bad::WrongType("constant");
    let mut out = Vec::new();
    let value = match rule.pg_type {
        PgType::Bool => RawBsonRef::Boolean(match text {
            "true" | "t" | "yes" | "on" | "1" => true,
            "false" | "f" | "no" | "off" | "0" => false,
            _ => return Err(WRONG),
        }),
        PgType::Int2 | PgType::Int4 | PgType::Int8 => {
            RawBsonRef::Int64(text.parse().map_err(|_| WRONG)?)
        }
        PgType::Float4 | PgType::Float8 => RawBsonRef::Double(text.parse().map_err(|_| WRONG)?),
        PgType::Numeric(_) => RawBsonRef::Decimal128(text.parse().map_err(|_| WRONG)?),
        PgType::Date | PgType::Timestamp | PgType::Timestamptz => {
            let full = if text.len() == 10 {
                Cow::from(format!("{text}T00:00:00Z"))
            } else {
                text.into()
            };
            RawBsonRef::DateTime(bson::DateTime::parse_rfc3339_str(&full).map_err(|_| WRONG)?)
        }
        PgType::Uuid => {
            field(
                &mut out,
                Uuid::parse_str(text).map_err(|_| WRONG)?.as_bytes(),
            );
            return Ok(out);
        }
        PgType::Json | PgType::Jsonb => {
            serde_json::from_str::<serde_json::Value>(text).map_err(|_| WRONG)?;
            json_field(rule.pg_type, &mut out, |out| {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            })?;
            return Ok(out);
        }
        PgType::Bytea => {
            field(&mut out, text.as_bytes());
            return Ok(out);
        }
        PgType::Text | PgType::Varchar(_) => RawBsonRef::String(text),
        PgType::Array(element) if text == "{}" => {
            array::empty(element, &mut out);
            return Ok(out);
        }
        PgType::Array(_) => return Err(WRONG),
    };
    let plain = Rule {
        conversion: Conversion::Auto,
        ..*rule
    };
    value::encode_value(&plain, value, namespace, &mut out)?;
    Ok(out)
}
