//! BSON values to fields of binary COPY: which BSON types a column takes, and what each becomes.
//!
//! [`Target::encode`] is total: every BSON type meets every column type here, and the outcome is a
//! field, a null where the policy says so, or the reason why not. Nothing is rounded or guessed: an
//! integer column takes a double only if it has no fraction.

use super::{Bad, array, constant, extjson, numbers, numeric, parse, text, time, values::Values};
use bson::{RawBsonRef, oid::ObjectId, spec::BinarySubtype};
use leafcutter_schemas::{
    key::{DocumentKey, uuid_v5},
    mapping::{Column, Conversion, PgType, Policies, Policy},
};
use uuid::Uuid;

/// A value's BSON type, in the words of MongoDB's `$type`.
pub fn type_name(value: &RawBsonRef<'_>) -> &'static str {
    match value {
        RawBsonRef::Double(_) => "double",
        RawBsonRef::String(_) => "string",
        RawBsonRef::Array(_) => "array",
        RawBsonRef::Document(_) => "object",
        RawBsonRef::Boolean(_) => "bool",
        RawBsonRef::Null => "null",
        RawBsonRef::RegularExpression(_) => "regex",
        RawBsonRef::JavaScriptCode(_) => "javascript",
        RawBsonRef::JavaScriptCodeWithScope(_) => "javascriptWithScope",
        RawBsonRef::Int32(_) => "int",
        RawBsonRef::Int64(_) => "long",
        RawBsonRef::Timestamp(_) => "timestamp",
        RawBsonRef::Binary(_) => "binData",
        RawBsonRef::ObjectId(_) => "objectId",
        RawBsonRef::DateTime(_) => "date",
        RawBsonRef::Symbol(_) => "symbol",
        RawBsonRef::Decimal128(_) => "decimal",
        RawBsonRef::Undefined => "undefined",
        RawBsonRef::MaxKey => "maxKey",
        RawBsonRef::MinKey => "minKey",
        RawBsonRef::DbPointer(_) => "dbPointer",
    }
}

/// What one value has to become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) pg_type: PgType,
    pub(super) conversion: Conversion,
    pub(super) invalid: Policies,
}

/// A column as values meet it, compiled once.
#[derive(Debug)]
pub struct Target {
    /// The rule for a value, or for one element where the column is an array.
    rule: Rule,
    array: bool,
    required: bool,
    values: Option<Box<Values>>,
    /// A reference by `_id`: what is written now is the document's key.
    by_id: bool,
}

impl Target {
    /// Compiles a column.
    ///
    /// # Errors
    /// When one of its values does not fit its type, which a checked mapping rules out.
    pub fn compile(column: &Column, namespace: &Uuid) -> Result<Self, Bad> {
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
            array: matches!(column.pg_type, PgType::Array(_)),
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
    pub fn encode(
        &self,
        value: RawBsonRef<'_>,
        namespace: &Uuid,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        if is_null(&value) {
            return self.encode_null(out);
        }
        let start = out.len();
        let encoded = if self.array {
            array::encode(self, value, namespace, out)
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

    /// The type of one value.
    pub(super) fn scalar(&self) -> PgType {
        self.rule.pg_type
    }

    /// What becomes of a value that does not fit.
    pub(super) fn policy(&self, bad: &Bad) -> Policy {
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

    /// Appends one value, or one element, before any policy but those that cut.
    #[inline]
    pub(super) fn encode_one(
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
    pub fn encode_null(&self, out: &mut Vec<u8>) -> Result<(), Bad> {
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
    pub fn constant(&self, column: &Column, text: &str, namespace: &Uuid) -> Result<Vec<u8>, Bad> {
        let whole = Rule {
            pg_type: column.pg_type,
            ..self.rule
        };
        constant::encode(&whole, text, namespace)
    }
}

/// The key of the document that a value tells, in the place of its row's, which is looked up when the
/// row is written ([`crate::sink::keys::lookup`]).
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

/// The field of a null: a length of -1 and nothing.
pub(super) const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// Whether a value is there, but is none.
#[inline]
pub(super) fn is_null(value: &RawBsonRef<'_>) -> bool {
    matches!(value, RawBsonRef::Null | RawBsonRef::Undefined)
}

/// Appends the field for one value that is no null, by its rule alone.
#[inline]
pub(super) fn encode_value(
    rule: &Rule,
    value: RawBsonRef<'_>,
    namespace: &Uuid,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    if rule.conversion == Conversion::Parse
        && let RawBsonRef::String(text) | RawBsonRef::Symbol(text) = value
    {
        return parse::write(rule.pg_type, text, out);
    }
    match rule.pg_type {
        PgType::Bool => match value {
            RawBsonRef::Boolean(b) => field(out, &[u8::from(b)]),
            other => return wrong(&other),
        },
        PgType::Int2 | PgType::Int4 | PgType::Int8 => {
            write_integer(rule.pg_type, numbers::integer(value)?, out)?;
        }
        PgType::Float4 => field(
            out,
            &numbers::single(numbers::double(value)?)?.to_be_bytes(),
        ),
        PgType::Float8 => field(out, &numbers::double(value)?.to_be_bytes()),
        PgType::Numeric(limits) => numeric::encode(&numbers::number(value)?, limits, out)?,
        PgType::Text => text::write(rule, value, None, out)?,
        PgType::Varchar(length) => text::write(rule, value, Some(length), out)?,
        PgType::Uuid => field(out, uuid(rule.conversion, value, namespace)?.as_bytes()),
        PgType::Bytea => match value {
            RawBsonRef::Binary(binary) => field(out, binary.bytes),
            RawBsonRef::ObjectId(id) => field(out, &id.bytes()),
            other => return wrong(&other),
        },
        PgType::Date | PgType::Timestamp | PgType::Timestamptz => {
            time::moment(rule.conversion, value)?.write(rule.pg_type, out)?;
        }
        PgType::Json | PgType::Jsonb => {
            let form = extjson::Form::of(rule.pg_type, rule.invalid.nul);
            json_field(rule.pg_type, out, |out| extjson::write(out, value, form))?;
        }
        // An array's rule is its element's, and elements are no arrays.
        PgType::Array(_) => return wrong(&value),
    }
    Ok(())
}

/// Appends an integer of a type's size.
#[inline]
pub(super) fn write_integer(pg_type: PgType, value: i64, out: &mut Vec<u8>) -> Result<(), Bad> {
    match pg_type {
        PgType::Int2 => {
            let small = i16::try_from(value).map_err(out_of_range)?;
            field(out, &small.to_be_bytes());
        }
        PgType::Int4 => {
            let small = i32::try_from(value).map_err(out_of_range)?;
            field(out, &small.to_be_bytes());
        }
        _ => field(out, &value.to_be_bytes()),
    }
    Ok(())
}

pub(super) fn wrong<T>(value: &RawBsonRef<'_>) -> Result<T, Bad> {
    Err(Bad::of_type(value))
}

pub(super) fn out_of_range(_: std::num::TryFromIntError) -> Bad {
    Bad::OutOfRange
}

/// Appends a field: its length and its bytes. No field of a 16 MB document reaches 2 GiB.
#[inline]
pub(super) fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a field of `json` or `jsonb` whose text is written by `write`.
pub(super) fn json_field(
    pg_type: PgType,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    if pg_type == PgType::Jsonb {
        // The version of jsonb's binary form (`jsonb_recv`).
        out.push(1);
    }
    write(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(out_of_range)?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The subtypes of UUIDs: 4, and 3, which drivers wrote before it. How they ordered the bytes of
/// a 3 is not told by the value: they are taken as they stand.
pub(super) fn is_uuid(subtype: BinarySubtype) -> bool {
    matches!(subtype, BinarySubtype::Uuid | BinarySubtype::UuidOld)
}

fn uuid(conversion: Conversion, value: RawBsonRef<'_>, namespace: &Uuid) -> Result<Uuid, Bad> {
    if conversion == Conversion::UuidV5 {
        return Ok(uuid_v5(namespace, value));
    }
    match value {
        RawBsonRef::Binary(binary) if is_uuid(binary.subtype) => {
            Uuid::from_slice(binary.bytes).map_err(|_| Bad::of_type(&value))
        }
        RawBsonRef::String(text) => Uuid::parse_str(text).map_err(|_| Bad::of_type(&value)),
        other => wrong(&other),
    }
}
