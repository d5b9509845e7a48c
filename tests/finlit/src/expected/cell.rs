//! One value of a row, as the comparison sees it, from either side.

use super::{decimal, tables::Kind};
use serde_json::Value;
use std::fmt;
use uuid::Uuid;

/// A value of a row.
#[derive(Debug, Clone)]
pub enum Cell {
    /// No value.
    Null,
    /// Text.
    Text(String),
    /// `integer` and `bigint`.
    Int(i64),
    /// `double precision`.
    Float(f64),
    /// `real`.
    Real(f32),
    /// `numeric`, in the spelling of [`decimal::spelling`].
    Numeric(String),
    /// `boolean`.
    Bool(bool),
    /// `uuid`.
    Uuid(Uuid),
    /// `bytea`, in hexadecimal digits.
    Bytes(String),
    /// `timestamp` and `timestamptz`: milliseconds since 1970.
    Millis(i64),
    /// `date`: days since 1970.
    Days(i64),
    /// `json` and `jsonb`.
    Json(Value),
    /// An array of scalars.
    Array(Vec<Self>),
    /// A number that PostgreSQL gave, by the name of what it was given to.
    Given(String),
    /// Something that is none of the column's type.
    Unreadable(String),
}

impl Cell {
    /// The SQL that gives a column as text for [`Cell::read`].
    pub fn sql(kind: Kind, column: &str) -> String {
        match kind {
            Kind::Timestamp => {
                format!("trim_scale(extract(epoch from \"{column}\") * 1000)::text")
            }
            Kind::Date => format!("(\"{column}\" - date '1970-01-01')::text"),
            Kind::Bytes => format!("encode(\"{column}\", 'hex')"),
            _ => format!("\"{column}\"::text"),
        }
    }

    /// A value from its text; also the way in which defaults are given.
    pub fn read(kind: Kind, text: &str) -> Self {
        let read = match kind {
            Kind::Id | Kind::Reference(_) => text.parse().ok().map(Self::Uuid),
            Kind::Text { .. } => Some(Self::Text(text.to_owned())),
            Kind::Int | Kind::BigInt => text.parse().ok().map(Self::Int),
            Kind::Float => text.parse().ok().map(Self::Float),
            Kind::Real => text.parse().ok().map(Self::Real),
            Kind::Numeric(_) => Some(Self::Numeric(decimal::spelling(text))),
            Kind::Bool => text.parse().ok().map(Self::Bool),
            Kind::Bytes => Some(Self::Bytes(text.to_owned())),
            Kind::Timestamp => text.parse().ok().map(Self::Millis),
            Kind::Date => text.parse().ok().map(Self::Days),
            Kind::Json => serde_json::from_str(text).ok().map(Self::Json),
        };
        read.unwrap_or_else(|| Self::Unreadable(text.to_owned()))
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(a), Self::Text(b))
            | (Self::Numeric(a), Self::Numeric(b))
            | (Self::Bytes(a), Self::Bytes(b))
            | (Self::Given(a), Self::Given(b)) => a == b,
            (Self::Int(a), Self::Int(b))
            | (Self::Millis(a), Self::Millis(b))
            | (Self::Days(a), Self::Days(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => {
                a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
            }
            (Self::Real(a), Self::Real(b)) => {
                a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
            }
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Json(a), Self::Json(b)) => same_json(a, b),
            (Self::Array(a), Self::Array(b)) => a == b,
            _ => false,
        }
    }
}

/// Objects in any order; numbers by value. `jsonb` writes 1e20 with all its zeros, and reading
/// the longer form may end one bit beside the shorter.
fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y
                || match (x.as_f64(), y.as_f64()) {
                    (Some(x), Some(y)) => (x - y).abs() <= x.abs() * f64::EPSILON,
                    _ => false,
                }
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_json(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(name, x)| y.get(name).is_some_and(|y| same_json(x, y)))
        }
        _ => a == b,
    }
}

impl Cell {
    /// Where two JSON values differ, for a person: the values there. The cells themselves, where
    /// they are no JSON.
    pub fn difference(&self, should_be: &Self) -> String {
        let (Self::Json(have), Self::Json(want)) = (self, should_be) else {
            return format!("is {self}, should be {should_be}");
        };
        let (mut have, mut want, mut path) = (have, want, String::new());
        loop {
            let deeper = match (have, want) {
                (Value::Object(x), Value::Object(y)) if x.len() == y.len() => x
                    .iter()
                    .find(|(name, x)| y.get(*name).is_some_and(|y| !same_json(x, y)))
                    .map(|(name, x)| (name.clone(), x, &y[name])),
                (Value::Array(x), Value::Array(y)) if x.len() == y.len() => (0..)
                    .zip(x.iter().zip(y))
                    .find(|(_, (x, y))| !same_json(x, y))
                    .map(|(index, (x, y))| (index.to_string(), x, y)),
                _ => None,
            };
            let Some((name, x, y)) = deeper else { break };
            path = format!("{path}.{name}");
            (have, want) = (x, y);
        }
        let (have, want) = (Self::Json(have.clone()), Self::Json(want.clone()));
        let at = path.trim_start_matches('.');
        if at.is_empty() {
            format!("is {have}, should be {want}")
        } else {
            format!("has {have} at {at}, should have {want}")
        }
    }
}

/// Long values are cut: this is for a person.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Null => "null".to_owned(),
            Self::Text(text) => format!("{text:?}"),
            Self::Numeric(text) | Self::Bytes(text) | Self::Unreadable(text) => text.clone(),
            Self::Given(name) => format!("number of {name}"),
            Self::Int(n) => n.to_string(),
            Self::Float(n) => n.to_string(),
            Self::Real(n) => n.to_string(),
            Self::Bool(b) => b.to_string(),
            Self::Uuid(uuid) => uuid.to_string(),
            Self::Millis(millis) => format!("{millis} ms since 1970"),
            Self::Days(days) => format!("{days} days since 1970"),
            Self::Json(value) => value.to_string(),
            Self::Array(cells) => {
                let cells: Vec<_> = cells.iter().map(ToString::to_string).collect();
                format!("{{{}}}", cells.join(", "))
            }
        };
        match text.char_indices().nth(60) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}
