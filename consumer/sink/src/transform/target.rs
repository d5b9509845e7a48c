//! A column as values meet it: what its mapping says of types, policies and values, compiled once.
//!
//! [`Target::encode`] is total: every BSON type meets every column type here, and the outcome is a
//! field, a null where the policy says so, or the reason why not.

use super::{
    array,
    bad::{Bad, wrong},
    bson_type::is_null,
    field::{NULL, field},
    value::{Rule, encode_constant, encode_value},
    values::Values,
};
use bson::{RawBsonRef, oid::ObjectId};
use leafcutter_schemas::{
    key::DocumentKey,
    mapping::{Column, Conversion, Policy},
};
use uuid::Uuid;

/// A column as values meet it, compiled once.
#[derive(Debug)]
pub(super) struct Target {
    /// The rule for a value, or for one element where the column is an array.
    pub(super) rule: Rule,
    /// The OID of its elements' type, where it is an array.
    pub(super) array: Option<u32>,
    required: bool,
    pub(super) values: Option<Box<Values>>,
    /// A reference by `_id`: what is written now is the document's key.
    pub(super) by_id: bool,
}

impl Target {
    /// Compiles a column.
    ///
    /// # Errors
    /// When one of its values does not fit its type, which a checked mapping rules out.
    pub(super) fn compile(column: &Column, namespace: &Uuid) -> Result<Self, Bad> {
        let rule = Rule {
            pg_type: column.pg_type.scalar(),
            conversion: column.conversion,
            invalid: column.invalid,
        };
        let values = column
            .values
            .as_ref()
            .map(|values| Values::compile(values, &rule, namespace));
        Ok(Self {
            rule,
            array: column.pg_type.is_array().then(|| rule.pg_type.facts().oid),
            // What a document lacks is generated.
            required: column.required && column.generated.is_none(),
            values: values.transpose()?.map(Box::new),
            by_id: column.looked_up().is_some(),
        })
    }

    /// Appends the field for `value`, after the column's policies.
    ///
    /// # Errors
    /// Why the column cannot hold the value. `out` may then hold a part of it.
    #[inline]
    pub(super) fn encode(
        &self,
        value: RawBsonRef<'_>,
        namespace: &Uuid,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        if is_null(&value) {
            return self.encode_null(out);
        }
        let start = out.len();
        let encoded = if let Some(oid) = self.array {
            array::encode(oid, value, out, |element, out| {
                self.encode_element(element, namespace, out)
            })
        } else {
            self.encode_one(value, namespace, out)
        };
        self.settle(encoded, start, out)
    }

    /// Applies the column's policies to what was written behind `start`.
    #[inline]
    pub(super) fn settle(
        &self,
        written: Result<(), Bad>,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        let Err(bad) = written else {
            return Ok(());
        };
        match self.policy(&bad) {
            Policy::Null => {
                out.truncate(start);
                self.encode_null(out)
            }
            // What can be cut was cut on the way; what is left cannot be.
            Policy::Reject | Policy::Truncate => Err(bad),
        }
    }

    /// What becomes of a value that does not fit.
    fn policy(&self, bad: &Bad) -> Policy {
        match bad {
            Bad::WrongType(_) => self.rule.invalid.wrong_type,
            Bad::TooLong(_) => self.rule.invalid.too_long,
            Bad::Nul => self.rule.invalid.nul,
            Bad::OutOfRange => self.rule.invalid.out_of_range,
            Bad::Unlisted => self.rule.invalid.unlisted,
            Bad::Missing
            | Bad::Malformed
            | Bad::DuplicateName
            | Bad::TooDeep
            | Bad::Expression(_) => Policy::Reject,
        }
    }

    /// Appends one element of an array. One that does not fit is null under the policy `null`.
    pub(super) fn encode_element(
        &self,
        element: RawBsonRef<'_>,
        namespace: &Uuid,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        let start = out.len();
        match self.encode_one(element, namespace, out) {
            Err(bad) if self.policy(&bad) == Policy::Null => {
                out.truncate(start);
                out.extend_from_slice(&NULL);
                Ok(())
            }
            encoded => encoded,
        }
    }

    /// Appends one value, or one element, before any policy but those that cut.
    #[inline]
    fn encode_one(
        &self,
        value: RawBsonRef<'_>,
        namespace: &Uuid,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        if self.by_id {
            return document_key(self.rule.conversion, value, out);
        }
        match &self.values {
            None => encode_value(&self.rule, value, namespace, out),
            Some(values) => values.encode(&self.rule, value, namespace, out),
        }
    }

    /// Appends a null field.
    ///
    /// # Errors
    /// Where the column is required.
    #[inline]
    pub(super) fn encode_null(&self, out: &mut Vec<u8>) -> Result<(), Bad> {
        if self.required {
            return Err(Bad::Missing);
        }
        out.extend_from_slice(&NULL);
        Ok(())
    }

    /// The field for a constant that the mapping gives as text.
    ///
    /// # Errors
    /// Where the text is none of the column's type.
    pub(super) fn constant(
        &self,
        column: &Column,
        text: &str,
        namespace: &Uuid,
    ) -> Result<Vec<u8>, Bad> {
        let whole = Rule {
            pg_type: column.pg_type,
            ..self.rule
        };
        encode_constant(&whole, text, namespace)
    }
}

/// The key of the document that a value tells, in the place of its row's, which is looked up when the
/// row is written ([`crate::write::parent_keys`]).
fn document_key(
    conversion: Conversion,
    value: RawBsonRef<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let key = match (conversion, value) {
        (_, RawBsonRef::ObjectId(_)) => DocumentKey::of(value),
        (Conversion::ObjectId, RawBsonRef::String(text)) => {
            let id = ObjectId::parse_str(text).map_err(|_| Bad::of_type(&value))?;
            DocumentKey::of(RawBsonRef::ObjectId(id))
        }
        (Conversion::ObjectId, other) => return wrong(&other),
        // No `_id` is one of these (manual, "The _id Field").
        (_, other @ (RawBsonRef::Array(_) | RawBsonRef::RegularExpression(_))) => {
            return wrong(&other);
        }
        (_, other) => DocumentKey::of(other),
    };
    field(out, key.as_str().as_bytes());
    Ok(())
}
