//! The BSON types as a draft tells them apart, and their names as MongoDB's shell gives them.

use bson::RawBsonRef;

/// A BSON type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 64-bit floating point.
    Double,
    /// Text, also the old symbols.
    Text,
    /// A nested document.
    Object,
    /// An array.
    Array,
    /// Bytes, UUIDs among them.
    Binary,
    /// An ObjectId.
    ObjectId,
    /// A boolean.
    Boolean,
    /// A date.
    Date,
    /// Null or undefined.
    Null,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// Decimal128.
    Decimal,
    /// Regular expressions, code, timestamps and the like, which only JSON takes.
    Other,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 13;

    /// All of them, in the order of the enum.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Double,
        Self::Text,
        Self::Object,
        Self::Array,
        Self::Binary,
        Self::ObjectId,
        Self::Boolean,
        Self::Date,
        Self::Null,
        Self::Int,
        Self::Long,
        Self::Decimal,
        Self::Other,
    ];

    /// The type of a value.
    pub fn of(value: RawBsonRef<'_>) -> Self {
        match value {
            RawBsonRef::Double(_) => Self::Double,
            RawBsonRef::String(_) | RawBsonRef::Symbol(_) => Self::Text,
            RawBsonRef::Document(_) => Self::Object,
            RawBsonRef::Array(_) => Self::Array,
            RawBsonRef::Binary(_) => Self::Binary,
            RawBsonRef::ObjectId(_) => Self::ObjectId,
            RawBsonRef::Boolean(_) => Self::Boolean,
            RawBsonRef::DateTime(_) => Self::Date,
            RawBsonRef::Null | RawBsonRef::Undefined => Self::Null,
            RawBsonRef::Int32(_) => Self::Int,
            RawBsonRef::Int64(_) => Self::Long,
            RawBsonRef::Decimal128(_) => Self::Decimal,
            _ => Self::Other,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Text => "text",
            Self::Object => "object",
            Self::Array => "array",
            Self::Binary => "binary",
            Self::ObjectId => "ObjectId",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Null => "null",
            Self::Int => "int",
            Self::Long => "long",
            Self::Decimal => "decimal",
            Self::Other => "other",
        }
    }

    /// Whether it is a number.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Double | Self::Int | Self::Long | Self::Decimal)
    }
}
