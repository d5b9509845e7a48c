//! Whether a document or an element has a row: the conditions of its table (`where:`).

use super::{bad::Bad, expression};
use bson::RawBsonRef;
use leafcutter_schemas::{
    mapping::condition::{self, Condition, Is, Literal},
    number::Number,
};

/// Which documents or elements have a row.
#[derive(Debug)]
pub(super) enum Filter {
    /// Those for which all of these hold.
    Block(Vec<Condition>),
    /// Those for which this gives true.
    Expression(Box<expression::Program>),
}

impl Filter {
    /// Compiles what a mapping says.
    pub(super) fn compile(filter: &condition::Filter) -> Result<Self, String> {
        Ok(match filter {
            condition::Filter::Block(conditions) => Self::Block(conditions.clone()),
            condition::Filter::Expression(text) => {
                Self::Expression(Box::new(expression::compile(text)?))
            }
        })
    }

    /// The conditions whose values a walk has to find.
    pub(super) fn conditions(&self) -> &[Condition] {
        match self {
            Self::Block(conditions) => conditions,
            Self::Expression(_) => &[],
        }
    }

    /// Whether every document or element has one.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Block(conditions) if conditions.is_empty())
    }

    /// Whether a document or element has a row, given the values found at the conditions' paths.
    ///
    /// # Errors
    /// Where the expression fails or gives no boolean.
    pub(super) fn takes(
        &self,
        source: RawBsonRef<'_>,
        found: &[Option<RawBsonRef<'_>>],
    ) -> Result<bool, Bad> {
        match self {
            Self::Block(conditions) => {
                let mut all = conditions.iter().zip(found);
                Ok(all.all(|(condition, value)| is(&condition.is, *value)))
            }
            Self::Expression(program) => program.condition(source),
        }
    }
}

fn is(wanted: &Is, value: Option<RawBsonRef<'_>>) -> bool {
    let value = value.filter(|v| !matches!(v, RawBsonRef::Null | RawBsonRef::Undefined));
    match (wanted, value) {
        (Is::Exists, value) => value.is_some(),
        (Is::Missing, value) => value.is_none(),
        (Is::OneOf(_), None) => false,
        (Is::OneOf(literals), Some(RawBsonRef::Array(array))) => array
            .into_iter()
            .filter_map(Result::ok)
            .any(|item| literals.iter().any(|literal| equals(literal, item))),
        (Is::OneOf(literals), Some(value)) => literals.iter().any(|literal| equals(literal, value)),
    }
}

fn equals(literal: &Literal, value: RawBsonRef<'_>) -> bool {
    match (literal, value) {
        (Literal::Text(text), RawBsonRef::String(value) | RawBsonRef::Symbol(value)) => {
            text == value
        }
        (Literal::Text(text), RawBsonRef::ObjectId(id)) => text.len() == 24 && *text == id.to_hex(),
        (Literal::Boolean(wanted), RawBsonRef::Boolean(value)) => *wanted == value,
        (Literal::Number(wanted), RawBsonRef::Int32(n)) => *wanted == Number::from_i64(n.into()),
        (Literal::Number(wanted), RawBsonRef::Int64(n)) => *wanted == Number::from_i64(n),
        // What people write as 0.1 is the double that prints as 0.1.
        (Literal::Number(wanted), RawBsonRef::Double(n)) => *wanted == Number::shortest_of_f64(n),
        (Literal::Number(wanted), RawBsonRef::Decimal128(n)) => {
            *wanted == Number::from_decimal128(&n)
        }
        (Literal::Text(_) | Literal::Number(_) | Literal::Boolean(_), _) => false,
    }
}
