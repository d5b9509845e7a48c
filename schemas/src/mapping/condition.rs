//! Conditions: which documents, or which elements, a table takes.

use super::Path;
use crate::number::Number;

/// Which documents, or which elements, have a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Those for which all of these hold; without any, all.
    Block(Vec<Condition>),
    /// Those for which a CEL expression (see [`crate::expression`]) gives true.
    Expression(String),
}

impl Default for Filter {
    fn default() -> Self {
        Self::Block(Vec::new())
    }
}

/// What a value must be for its document or element to have a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Where the value is, relative to the document or element.
    pub path: Path,
    /// What it must be.
    pub is: Is,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Is {
    /// There, and not null.
    Exists,
    /// Not there, or null.
    Missing,
    /// One of these. An array is, if one of its elements is, as for MongoDB's own queries.
    OneOf(Vec<Literal>),
}

/// A constant that a value is compared with, by its meaning and not by its BSON type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A string or symbol, or an ObjectId with these 24 hex digits.
    Text(String),
    /// A number of any type with this value.
    Number(Number),
    /// A boolean.
    Boolean(bool),
}

impl Literal {
    /// What a scalar of the file means; `plain` where it stands without quotes.
    pub(super) fn of(text: &str, plain: bool) -> Self {
        let number = |text: &str| {
            let begins = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
            let value = begins
                .then(|| text.parse::<bson::Decimal128>().ok())
                .flatten();
            value.map(|value| Number::from_decimal128(&value))
        };
        match (text, plain) {
            ("true", true) => Self::Boolean(true),
            ("false", true) => Self::Boolean(false),
            (text, true) => number(text).map_or_else(|| Self::Text(text.to_owned()), Self::Number),
            (text, false) => Self::Text(text.to_owned()),
        }
    }
}
