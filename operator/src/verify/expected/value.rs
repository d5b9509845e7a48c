//! A BSON value to the value of a column, by the rules of `docs/mapping.md`, "Types and conversions".
//!
//! [`convert`] gives what the column holds, after its policies, or the reason under which the document
//! is refused. What a value is in a column of some type stands in `column_type.rs`.

use super::{
    super::column_type::{constant, typed},
    cell::{Cell, Reason},
    decimal::Decimal,
    key,
    number::number,
};
use bson::RawBsonRef;
use leafcutter_schemas::mapping::{Column, Conversion, Policy, Values};
use uuid::Uuid;

/// What is neither there nor null.
pub fn is_null(value: RawBsonRef<'_>) -> bool {
    matches!(value, RawBsonRef::Null | RawBsonRef::Undefined)
}

/// The value of a column for what the document has there.
///
/// # Errors
/// Why the column cannot hold it.
pub fn convert(column: &Column, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Cell, Reason> {
    if is_null(value) {
        return Ok(Cell::Null);
    }
    if !column.pg_type.is_array() {
        return one(column, value, namespace).or_else(|reason| policy(column, reason));
    }
    let list = match value {
        RawBsonRef::Array(array) => {
            let items = array.into_iter().map(|item| match item {
                Err(_) => Err("malformed"),
                Ok(item) if is_null(item) => Ok(Cell::Null),
                Ok(item) => one(column, item, namespace).or_else(|reason| policy(column, reason)),
            });
            items.collect::<Result<Vec<_>, _>>().map(Cell::List)
        }
        _ => Err("wrong-type"),
    };
    list.or_else(|reason| policy(column, reason))
}

/// What the column does with a value that it cannot hold: null, or a dead letter.
pub fn policy(column: &Column, reason: Reason) -> Result<Cell, Reason> {
    let policy = match reason {
        "wrong-type" => column.invalid.wrong_type,
        "too-long" => column.invalid.too_long,
        "nul" => column.invalid.nul,
        "out-of-range" => column.invalid.out_of_range,
        "unlisted" => column.invalid.unlisted,
        _ => Policy::Reject,
    };
    match policy {
        Policy::Null => Ok(Cell::Null),
        Policy::Reject | Policy::Truncate => Err(reason),
    }
}

/// One value, or one element, that is no null.
fn one(column: &Column, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Cell, Reason> {
    if column.looked_up().is_some() {
        return parent(column.conversion, value);
    }
    let pg_type = column.pg_type.scalar();
    match &column.values {
        None => typed(column, value, namespace),
        Some(Values::Listed(constants)) => {
            let cell = typed(column, value, namespace)?;
            let listed =
                |text: &String| constant(pg_type, text).is_some_and(|c| c.same(&cell, pg_type));
            if constants.iter().any(listed) {
                Ok(cell)
            } else {
                Err("unlisted")
            }
        }
        Some(Values::Mapped(pairs)) => {
            let stands = pairs.iter().rev().find(|(from, _)| stands_for(from, value));
            match (stands, value) {
                (Some((_, None)), _) => Ok(Cell::Null),
                (Some((_, Some(text))), _) => constant(pg_type, text).ok_or("unlisted"),
                (None, value) if is_scalar(value) => Err("unlisted"),
                (None, _) => Err("wrong-type"),
            }
        }
    }
}

/// What can stand on the left of a colon in `values`.
fn is_scalar(value: RawBsonRef<'_>) -> bool {
    matches!(
        value,
        RawBsonRef::String(_)
            | RawBsonRef::Symbol(_)
            | RawBsonRef::Boolean(_)
            | RawBsonRef::ObjectId(_)
    ) || number(value).is_ok()
}

fn stands_for(from: &str, value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => text == from,
        RawBsonRef::Boolean(value) => from == if value { "true" } else { "false" },
        RawBsonRef::ObjectId(id) => from == id.to_hex(),
        other => number(other).is_ok_and(|number| Decimal::read(from) == Some(number)),
    }
}

/// The key of the document that a reference by `_id` names.
fn parent(conversion: Conversion, value: RawBsonRef<'_>) -> Result<Cell, Reason> {
    let key = match (conversion, value) {
        (Conversion::ObjectId, RawBsonRef::String(text)) => {
            let digits = text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| format!("objectId:{}", text.to_ascii_lowercase()))
        }
        (Conversion::ObjectId, RawBsonRef::ObjectId(_)) => key::canonical(value),
        (Conversion::ObjectId, _)
        | (_, RawBsonRef::Array(_) | RawBsonRef::RegularExpression(_)) => None,
        (_, value) => key::canonical(value),
    };
    key.map(Cell::Parent).ok_or("wrong-type")
}
