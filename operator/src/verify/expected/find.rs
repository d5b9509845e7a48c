//! What stands at a path of a document or an element, and which of them have a row.
//!
//! Of several fields of one name the first counts. Numbers in a path are positions in arrays.

use super::{cell::Reason, decimal::Decimal, number::number, value};
use bson::{RawBsonRef, RawDocument, raw::RawElement};
use leafcutter_schemas::mapping::{
    Path,
    condition::{Condition, Is, Literal},
};

/// A document or an element, whose own fields are looked through once.
pub struct Source<'a> {
    /// The whole.
    pub whole: RawBsonRef<'a>,
    fields: Vec<RawElement<'a>>,
    /// What stands behind the last field cannot be read.
    broken: bool,
}

/// The fields of a document, or the elements of an array under their positions.
fn fields(value: RawBsonRef<'_>) -> Option<&RawDocument> {
    match value {
        RawBsonRef::Document(document) => Some(document),
        RawBsonRef::Array(array) => RawDocument::from_bytes(array.as_bytes()).ok(),
        _ => None,
    }
}

impl<'a> Source<'a> {
    /// A document or an element.
    pub fn of(whole: RawBsonRef<'a>) -> Self {
        let mut source = Self {
            whole,
            fields: Vec::new(),
            broken: false,
        };
        if let Some(document) = fields(whole) {
            for element in document.iter_elements() {
                match element {
                    Ok(element) => source.fields.push(element),
                    Err(_) => source.broken = true,
                }
            }
        }
        source
    }

    /// What is at a path; `None` where nothing is.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn at(&self, path: &Path) -> Result<Option<RawBsonRef<'a>>, Reason> {
        let mut steps = path.steps().iter();
        let Some(first) = steps.next() else {
            return Ok(Some(self.whole));
        };
        if self.broken {
            return Err("malformed");
        }
        let found = self
            .fields
            .iter()
            .find(|element| element.key().as_str() == first);
        let Some(found) = found else {
            return Ok(None);
        };
        let mut value = found.value().map_err(|_| "malformed")?;
        for step in steps {
            let Some(inner) = fields(value) else {
                return Ok(None);
            };
            let mut found = None;
            for element in inner.iter_elements() {
                let element = element.map_err(|_| "malformed")?;
                if found.is_none() && element.key().as_str() == step {
                    found = Some(element.value().map_err(|_| "malformed")?);
                }
            }
            let Some(next) = found else {
                return Ok(None);
            };
            value = next;
        }
        Ok(Some(value))
    }

    /// The first of several paths at which there is a value, else the first with a null.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn first_of(&self, paths: &[Path]) -> Result<Option<(usize, RawBsonRef<'a>)>, Reason> {
        let mut null = None;
        for (index, path) in paths.iter().enumerate() {
            match self.at(path)? {
                Some(value) if !value::is_null(value) => return Ok(Some((index, value))),
                Some(value) => {
                    null.get_or_insert((index, value));
                }
                None => {}
            }
        }
        Ok(null)
    }

    /// Whether all of these hold.
    ///
    /// # Errors
    /// Where a value cannot be read.
    pub fn meets(&self, conditions: &[Condition]) -> Result<bool, Reason> {
        for condition in conditions {
            let value = self
                .at(&condition.path)?
                .filter(|value| !value::is_null(*value));
            let holds = match (&condition.is, value) {
                (Is::Exists, value) => value.is_some(),
                (Is::Missing, value) => value.is_none(),
                (Is::OneOf(_), None) => false,
                (Is::OneOf(literals), Some(RawBsonRef::Array(array))) => {
                    let mut items = array.into_iter().filter_map(Result::ok);
                    items.any(|item| literals.iter().any(|literal| equals(literal, item)))
                }
                (Is::OneOf(literals), Some(value)) => {
                    literals.iter().any(|literal| equals(literal, value))
                }
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A constant is compared by its meaning.
fn equals(literal: &Literal, value: RawBsonRef<'_>) -> bool {
    match (literal, value) {
        (Literal::Text(text), RawBsonRef::String(value) | RawBsonRef::Symbol(value)) => {
            text == value
        }
        (Literal::Text(text), RawBsonRef::ObjectId(id)) => *text == id.to_hex(),
        (Literal::Boolean(wanted), RawBsonRef::Boolean(value)) => *wanted == value,
        (Literal::Number(wanted), value) => {
            let wanted = Decimal::read(&wanted.to_string());
            number(value)
                .ok()
                .is_some_and(|number| Some(number) == wanted)
        }
        _ => false,
    }
}
