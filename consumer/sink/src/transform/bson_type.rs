//! What a BSON value is, before any column is asked whether it takes it.

use bson::{RawBsonRef, spec::BinarySubtype};

/// A value's BSON type, in the words of MongoDB's `$type`.
pub(super) fn type_name(value: &RawBsonRef<'_>) -> &'static str {
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

/// Whether a value is there, but is none.
#[inline]
pub(super) fn is_null(value: &RawBsonRef<'_>) -> bool {
    matches!(value, RawBsonRef::Null | RawBsonRef::Undefined)
}

/// The subtypes of UUIDs: 4, and 3, which drivers wrote before it. How they ordered the bytes of
/// a 3 is not told by the value: they are taken as they stand.
pub(super) fn is_uuid(subtype: BinarySubtype) -> bool {
    matches!(subtype, BinarySubtype::Uuid | BinarySubtype::UuidOld)
}
