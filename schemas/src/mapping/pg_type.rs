//! The PostgreSQL types a column can have, and what is true of each.
//!
//! What the mapping's check, the SQL and the comparison with tables that exist have to know of a type
//! stands here, in its [`Facts`] and beside them, so that they ask and name no type themselves. Two other
//! files know types one by one: the sink's `transform/value.rs`, which makes a value's bytes, and the
//! operator's `verify/column_type.rs`, which judges them by code of its own.

pub mod facts;
mod element;
mod shape;
mod names;
mod constant;

pub use element::Element;

use constant::Fits;
use facts::{Facts, Keeps, Kind, NUMBER, PLAIN, Parameters, TEXT, TIME, whole};

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

/// Every scalar type once, those with parameters last and without them.
pub static SCALARS: [PgType; 17] = [
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
                keeps: Keeps::Real,
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
                keeps: Keeps::Double,
                changing: &["int2", "int4", "int8", "float4", "numeric"],
                ..NUMBER
            },
            Self::Numeric(limits) => Facts {
                names: &["numeric", "decimal"],
                catalogue: "numeric",
                oid: 1700,
                send: "numeric_send",
                keeps: limits.map_or(Keeps::All, |(_, scale)| Keeps::Digits(scale)),
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
                keeps: Keeps::Day,
                one_text: true,
                wider: &["timestamp", "timestamptz"],
                ..TIME
            },
            Self::Time => Facts {
                names: &["time", "time without time zone"],
                catalogue: "time",
                oid: 1083,
                send: "time_send",
                keeps: Keeps::TimeOfDay,
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

    /// What stands in brackets behind its name, or its element's.
    pub fn parameters(self) -> Parameters {
        match self.scalar() {
            Self::Varchar(length) => Parameters::Length(length),
            Self::Numeric(limits) => Parameters::Limits(limits),
            _ => Parameters::None,
        }
    }

    /// The same scalar type with other parameters of its kind.
    pub(super) fn with(self, parameters: Parameters) -> Self {
        match (self, parameters) {
            (Self::Varchar(_), Parameters::Length(length)) => Self::Varchar(length),
            (Self::Numeric(_), Parameters::Limits(limits)) => Self::Numeric(limits),
            (other, _) => other,
        }
    }

    /// Whether a text without NUL characters is a constant of this type.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn takes(self, text: &str) -> Fits {
        match self {
            Self::Bool => constant::boolean(text),
            Self::Int2 => constant::integer(text, i16::MIN.into(), i16::MAX.into()),
            Self::Int4 => constant::integer(text, i32::MIN.into(), i32::MAX.into()),
            Self::Int8 => constant::integer(text, i64::MIN, i64::MAX),
            Self::Float4 => constant::float(text, text.parse::<f32>().ok().map(f64::from)),
            Self::Float8 => constant::float(text, text.parse().ok()),
            Self::Numeric(limits) => constant::numeric(text, limits),
            Self::Text => Ok(()),
            Self::Varchar(length) => constant::short(text, length),
            Self::Uuid => constant::uuid(text),
            Self::Bytea => constant::bytes(text),
            Self::Date => constant::date(text),
            Self::Time => constant::time(text),
            Self::Timestamp => constant::timestamp(text, true),
            Self::Timestamptz => constant::timestamp(text, false),
            Self::Json => constant::json(text),
            Self::Jsonb => constant::jsonb(text),
            Self::Array(_) => constant::array(text),
        }
    }
}
