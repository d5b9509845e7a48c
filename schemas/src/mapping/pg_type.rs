//! The PostgreSQL types a column can have.

/// A column's type (PostgreSQL manual, chapter 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PgType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, or `numeric(precision, scale)`
    Numeric(Option<(u16, u16)>),
    /// `text`
    Text,
    /// `varchar(n)`: at most n characters
    Varchar(u32),
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `timestamp without time zone`: BSON dates as their UTC clock reading
    Timestamp,
    /// `timestamp with time zone`
    Timestamptz,
    /// `json`: text as it is written
    Json,
    /// `jsonb`
    Jsonb,
    /// `…[]`: a one-dimensional array
    Array(Element),
}

/// The type of an array's elements: every scalar type but those that hold arrays themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, or `numeric(precision, scale)`
    Numeric(Option<(u16, u16)>),
    /// `text`
    Text,
    /// `varchar(n)`
    Varchar(u32),
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    Timestamptz,
}

impl Element {
    /// The element of an array of this type; `None` for `json`, `jsonb` and arrays.
    pub fn of(pg_type: PgType) -> Option<Self> {
        Some(match pg_type {
            PgType::Bool => Self::Bool,
            PgType::Int2 => Self::Int2,
            PgType::Int4 => Self::Int4,
            PgType::Int8 => Self::Int8,
            PgType::Float4 => Self::Float4,
            PgType::Float8 => Self::Float8,
            PgType::Numeric(limits) => Self::Numeric(limits),
            PgType::Text => Self::Text,
            PgType::Varchar(length) => Self::Varchar(length),
            PgType::Uuid => Self::Uuid,
            PgType::Bytea => Self::Bytea,
            PgType::Date => Self::Date,
            PgType::Timestamp => Self::Timestamp,
            PgType::Timestamptz => Self::Timestamptz,
            PgType::Json | PgType::Jsonb | PgType::Array(_) => return None,
        })
    }

    /// The type of a column that holds one element.
    pub fn pg_type(self) -> PgType {
        match self {
            Self::Bool => PgType::Bool,
            Self::Int2 => PgType::Int2,
            Self::Int4 => PgType::Int4,
            Self::Int8 => PgType::Int8,
            Self::Float4 => PgType::Float4,
            Self::Float8 => PgType::Float8,
            Self::Numeric(limits) => PgType::Numeric(limits),
            Self::Text => PgType::Text,
            Self::Varchar(length) => PgType::Varchar(length),
            Self::Uuid => PgType::Uuid,
            Self::Bytea => PgType::Bytea,
            Self::Date => PgType::Date,
            Self::Timestamp => PgType::Timestamp,
            Self::Timestamptz => PgType::Timestamptz,
        }
    }
}

impl PgType {
    /// The type that one value has: an array's element, otherwise the type itself.
    pub fn scalar(self) -> PgType {
        match self {
            Self::Array(element) => element.pg_type(),
            other => other,
        }
    }
}

impl std::fmt::Display for PgType {
    /// As DDL has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric(None) => "numeric",
            Self::Numeric(Some((precision, scale))) => {
                return write!(f, "numeric({precision},{scale})");
            }
            Self::Text => "text",
            Self::Varchar(length) => return write!(f, "varchar({length})"),
            Self::Uuid => "uuid",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Array(element) => return write!(f, "{}[]", element.pg_type()),
        })
    }
}
