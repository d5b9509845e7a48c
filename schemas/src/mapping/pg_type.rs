//! The PostgreSQL types a column can have, and what is true of each.
//!
//! What the mapping's check, the SQL and the comparison with tables that exist have to know of a type
//! stands in its [`Facts`] here, so that they ask and name no type themselves. Beside them only two places
//! know types one by one: the check of constants, and the sink's `transform/value.rs`, which makes a
//! value's bytes.

use super::type_facts::{Facts, Kind, NUMBER, PLAIN, TEXT, TIME, whole};

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
    /// `time without time zone`: a time of day
    Time,
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
    /// `time`
    Time,
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
            PgType::Time => Self::Time,
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
            Self::Time => PgType::Time,
            Self::Timestamp => PgType::Timestamp,
            Self::Timestamptz => PgType::Timestamptz,
        }
    }
}

/// Every scalar type once, those with parameters last and without them.
pub const SCALARS: [PgType; 17] = [
    PgType::Bool,
    PgType::Int2,
    PgType::Int4,
    PgType::Int8,
    PgType::Float4,
    PgType::Float8,
    PgType::Text,
    PgType::Uuid,
    PgType::Bytea,
    PgType::Date,
    PgType::Time,
    PgType::Timestamp,
    PgType::Timestamptz,
    PgType::Json,
    PgType::Jsonb,
    PgType::Varchar(0),
    PgType::Numeric(None),
];

impl PgType {
    /// What is true of one value: of an array's element, otherwise of the type itself.
    pub fn facts(self) -> Facts {
        match self {
            Self::Bool => Facts {
                names: &["boolean", "bool"],
                catalogue: "bool",
                oid: 16,
                ids_apart: true,
                send: "boolsend",
                parsed: true,
                one_text: true,
                ..PLAIN
            },
            Self::Int2 => Facts {
                names: &["smallint", "int2"],
                catalogue: "int2",
                oid: 21,
                placeholder: Some("-(1 + floor(random() * 32e3))"),
                send: "int2send",
                wider: &["int4", "int8", "float4", "float8", "numeric"],
                ..whole(i16::MAX as i64)
            },
            Self::Int4 => Facts {
                names: &["integer", "int", "int4"],
                catalogue: "int4",
                oid: 23,
                placeholder: Some("-(1 + floor(random() * 2e9))"),
                send: "int4send",
                wider: &["int8", "float8", "numeric"],
                refusing: &["int2"],
                changing: &["float4"],
                ..whole(i32::MAX as i64)
            },
            Self::Int8 => Facts {
                names: &["bigint", "int8"],
                catalogue: "int8",
                oid: 20,
                placeholder: Some("-(1 + floor(random() * 9e15))"),
                send: "int8send",
                wider: &["numeric"],
                refusing: &["int2", "int4"],
                changing: &["float4", "float8"],
                ..whole(i64::MAX)
            },
            Self::Float4 => Facts {
                names: &["real", "float4"],
                catalogue: "float4",
                oid: 700,
                placeholder: Some("-random()"),
                send: "float4send",
                wider: &["float8"],
                changing: &["int2", "int4", "int8", "numeric"],
                ..NUMBER
            },
            Self::Float8 => Facts {
                names: &["double precision", "float8"],
                catalogue: "float8",
                oid: 701,
                placeholder: Some("-random()"),
                send: "float8send",
                changing: &["int2", "int4", "int8", "float4", "numeric"],
                ..NUMBER
            },
            Self::Numeric(_) => Facts {
                names: &["numeric", "decimal"],
                catalogue: "numeric",
                oid: 1700,
                send: "numeric_send",
                changing: &["int2", "int4", "int8", "float4", "float8"],
                ..NUMBER
            },
            Self::Text => Facts {
                names: &["text"],
                catalogue: "text",
                oid: 25,
                send: "textsend",
                wider: &["citext"],
                refusing: &["varchar"],
                changing: &["bpchar", "name"],
                ..TEXT
            },
            Self::Varchar(_) => Facts {
                names: &["varchar", "character varying"],
                catalogue: "varchar",
                oid: 1043,
                send: "varcharsend",
                wider: &["text", "citext"],
                changing: &["bpchar", "name"],
                ..TEXT
            },
            Self::Uuid => Facts {
                names: &["uuid"],
                catalogue: "uuid",
                oid: 2950,
                placeholder: Some("gen_random_uuid()"),
                send: "uuid_send",
                one_text: true,
                ..PLAIN
            },
            Self::Bytea => Facts {
                names: &["bytea"],
                catalogue: "bytea",
                oid: 17,
                placeholder: Some("decode(md5(random()::text), 'hex')"),
                send: "byteasend",
                ..PLAIN
            },
            Self::Date => Facts {
                names: &["date"],
                catalogue: "date",
                oid: 1082,
                placeholder: Some("date '0001-01-01' + (random() * 3e5)::int"),
                send: "date_send",
                one_text: true,
                wider: &["timestamp", "timestamptz"],
                ..TIME
            },
            Self::Time => Facts {
                names: &["time", "time without time zone"],
                catalogue: "time",
                oid: 1083,
                send: "time_send",
                parsed: true,
                wider: &["interval", "timetz"],
                ..PLAIN
            },
            Self::Timestamp => Facts {
                names: &["timestamp", "timestamp without time zone"],
                catalogue: "timestamp",
                oid: 1114,
                ids_apart: true,
                placeholder: Some("timestamp '0001-01-01' + random() * interval '300000 days'"),
                send: "timestamp_send",
                wider: &["timestamptz"],
                changing: &["date"],
                ..TIME
            },
            Self::Timestamptz => Facts {
                names: &["timestamptz", "timestamp with time zone"],
                catalogue: "timestamptz",
                oid: 1184,
                ids_apart: true,
                placeholder: Some("timestamp '0001-01-01' + random() * interval '300000 days'"),
                send: "timestamptz_send",
                wider: &["timestamp"],
                changing: &["date"],
                ..TIME
            },
            Self::Json => Facts {
                names: &["json"],
                catalogue: "json",
                oid: 114,
                send: "json_send",
                kind: Kind::Json,
                compared: false,
                // `jsonb` orders the fields, and keeps one of two with the same name.
                wider: &["text"],
                refusing: &["varchar"],
                changing: &["bpchar", "name", "jsonb"],
                ..PLAIN
            },
            Self::Jsonb => Facts {
                names: &["jsonb"],
                catalogue: "jsonb",
                oid: 3802,
                send: "jsonb_send",
                kind: Kind::Json,
                one_form: false,
                ..PLAIN
            },
            Self::Array(element) => element.pg_type().facts(),
        }
    }

    /// What its values are.
    pub fn kind(self) -> Kind {
        if self.is_array() {
            Kind::Array
        } else {
            self.facts().kind
        }
    }

    /// It holds whole numbers.
    pub fn is_whole(self) -> bool {
        matches!(self.kind(), Kind::Whole { .. })
    }

    /// It is an array.
    pub fn is_array(self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// The type that one value has: an array's element, otherwise the type itself.
    pub fn scalar(self) -> Self {
        match self {
            Self::Array(element) => element.pg_type(),
            other => other,
        }
    }

    /// The most characters of one value.
    pub fn length(self) -> Option<u32> {
        match self.scalar() {
            Self::Varchar(length) => Some(length),
            _ => None,
        }
    }

    /// Precision and scale of one value.
    pub fn limits(self) -> Option<(u16, u16)> {
        match self.scalar() {
            Self::Numeric(limits) => limits,
            _ => None,
        }
    }

    /// It is written with parameters, or can be.
    pub fn has_parameters(self) -> bool {
        matches!(self, Self::Varchar(_) | Self::Numeric(_))
    }
}
