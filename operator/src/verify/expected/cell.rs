//! A value of a column, whichever side it comes from, and its text as PostgreSQL writes it.
//!
//! Expected and found values meet here. [`Cell::same`] decides: values that a column of this type holds
//! as one are one, however each side spells them.

use super::{decimal::Decimal, json::Json, moment};
use leafcutter_schemas::mapping::PgType;
use uuid::Uuid;

/// Why a column cannot hold a value, as the dead letter says it.
pub type Reason = &'static str;

/// A value. Of a type whose values none of these is, it is the text that PostgreSQL writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A `real`.
    Real(f32),
    /// A `double precision`.
    Double(f64),
    /// A `numeric`.
    Numeric(Decimal),
    /// Text.
    Text(String),
    /// A UUID.
    Uuid(Uuid),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Days since 1970.
    Date(i64),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970.
    Moment(i128),
    /// JSON.
    Json(Json),
    /// An array.
    List(Vec<Cell>),
    /// A reference by `_id`: the key of the parent's document, whose number is looked up.
    Parent(String),
    /// A key that PostgreSQL numbers: which number the document has is looked up.
    Numbered,
}

impl Cell {
    /// Whether a column of this type holds both as one value.
    pub fn same(&self, other: &Self, pg_type: PgType) -> bool {
        match (self, other) {
            (Self::Real(a), Self::Real(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::Double(a), Self::Double(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::Real(a), Self::Double(b)) | (Self::Double(b), Self::Real(a)) => {
                f64::from(*a) == *b || (a.is_nan() && b.is_nan())
            }
            (Self::Int(n), Self::Numeric(d)) | (Self::Numeric(d), Self::Int(n)) => {
                Decimal::of_i64(*n) == *d
            }
            (Self::Int(n), Self::Double(f)) | (Self::Double(f), Self::Int(n)) => {
                Decimal::of_i64(*n).to_f64() == *f
            }
            (Self::Numeric(d), Self::Double(f)) | (Self::Double(f), Self::Numeric(d)) => {
                let d = d.to_f64();
                d == *f || (d.is_nan() && f.is_nan())
            }
            (Self::Date(days), Self::Moment(micros)) | (Self::Moment(micros), Self::Date(days)) => {
                micros.div_euclid(moment::DAY_MICROS) == i128::from(*days)
            }
            (Self::List(a), Self::List(b)) => {
                let scalar = pg_type.scalar();
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b, scalar))
            }
            // A `json` column keeps the text, another one the value.
            (Self::Json(a), Self::Json(b)) if pg_type == PgType::Json => a == b,
            (Self::Json(a), Self::Json(b)) => a == b || a.clone().settled() == b.clone().settled(),
            (Self::Json(json), Self::Text(text)) | (Self::Text(text), Self::Json(json)) => {
                Json::read(text).is_some_and(|read| read.settled() == json.clone().settled())
            }
            (a, b) => a == b,
        }
    }

    /// What tells the rows of a key apart: equal for values that PostgreSQL takes for one key.
    pub fn write_key(&self, out: &mut Vec<u8>) {
        let text;
        let bytes: &[u8] = match self {
            Self::Text(text) | Self::Parent(text) => text.as_bytes(),
            Self::Uuid(uuid) => uuid.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Numeric(number) => {
                text = number.canonical();
                text.as_bytes()
            }
            Self::Int(number) => {
                text = Decimal::of_i64(*number).canonical();
                text.as_bytes()
            }
            Self::Real(number) => {
                text = Decimal::of_f64(f64::from(*number)).canonical();
                text.as_bytes()
            }
            Self::Double(number) => {
                text = Decimal::of_f64(*number).canonical();
                text.as_bytes()
            }
            Self::Json(json) => {
                text = json.clone().settled().to_string();
                text.as_bytes()
            }
            other => {
                text = other.text(None).unwrap_or_default();
                text.as_bytes()
            }
        };
        out.extend_from_slice(&bytes.len().to_be_bytes());
        out.extend_from_slice(bytes);
    }

    /// The text that PostgreSQL's `::text` gives; `None` for null. The type says how many digits a
    /// `numeric` shows, and whether a point in time has a zone.
    pub fn text(&self, pg_type: Option<PgType>) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Real(number) => float_text(&format!("{number:e}"), 6),
            Self::Double(number) => float_text(&format!("{number:e}"), 15),
            Self::Numeric(number) => {
                let limits = pg_type.and_then(PgType::limits);
                number.plain(limits.map(|(_, scale)| scale))
            }
            Self::Text(text) => text.clone(),
            Self::Uuid(uuid) => uuid.to_string(),
            Self::Bytes(bytes) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\x{digits}")
            }
            Self::Date(days) => moment::date_text(*days),
            Self::Time(micros) => moment::time_text(*micros),
            Self::Moment(micros) => {
                let zone = pg_type.map(PgType::scalar) == Some(PgType::Timestamptz);
                moment::text(*micros, zone)
            }
            Self::Json(json) => json.to_string(),
            Self::List(items) => {
                let scalar = pg_type.map(PgType::scalar);
                let items: Vec<String> = items
                    .iter()
                    .map(|item| item.text(scalar).map_or("NULL".to_owned(), |t| element(&t)))
                    .collect();
                format!("{{{}}}", items.join(","))
            }
            Self::Parent(key) => format!("the row of {key}"),
            Self::Numbered => "a number".to_owned(),
        })
    }

    /// Whether it has to be looked up before it can be compared.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Parent(_) | Self::Numbered)
    }
}

/// An element as it stands in an array's text (PostgreSQL manual, 8.15.6).
fn element(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text
            .contains(|c: char| "{}\",\\".contains(c) || c.is_ascii_whitespace() || c == '\u{b}');
    if plain {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A float as PostgreSQL writes it, from Rust's `d.ddde±x`: with an exponent below -4 and from `most` on.
fn float_text(scientific: &str, most: i32) -> String {
    let (mantissa, exponent) = match scientific.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None if scientific.contains("inf") => {
            return if scientific.starts_with('-') {
                "-Infinity"
            } else {
                "Infinity"
            }
            .to_owned();
        }
        None => return "NaN".to_owned(),
    };
    if (-4..most).contains(&exponent) {
        let negative_zero = mantissa == "-0";
        let plain = Decimal::read(scientific).map_or_else(String::new, |n| n.plain(None));
        return if negative_zero {
            "-0".to_owned()
        } else {
            plain
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_postgresql() {
        for (cell, text) in [
            (
                Cell::Double(9_007_199_254_740_992.0),
                "9.007199254740992e+15",
            ),
            (Cell::Double(100_000_000_000_000.0), "100000000000000"),
            (Cell::Double(1e-5), "1e-05"),
            (Cell::Double(-0.0), "-0"),
            (Cell::Double(f64::NEG_INFINITY), "-Infinity"),
            (Cell::Real(1e6), "1e+06"),
            (Cell::Real(0.1), "0.1"),
            (Cell::Bytes(vec![0, 255]), "\\x00ff"),
            (Cell::Moment(1_736_937_000_500_000), "2025-01-15 10:30:00.5"),
            (
                Cell::List(vec![
                    Cell::Text("a".into()),
                    Cell::Null,
                    Cell::Text("b c".into()),
                ]),
                "{a,NULL,\"b c\"}",
            ),
        ] {
            assert_eq!(cell.text(None).as_deref(), Some(text));
        }
        let limited = Cell::Numeric(Decimal::read("12.5").unwrap());
        let pg_type = PgType::Numeric(Some((8, 2)));
        assert_eq!(limited.text(Some(pg_type)).as_deref(), Some("12.50"));
    }

    #[test]
    fn values_are_one_whatever_the_column_is() {
        let seven = Cell::Int(7);
        assert!(seven.same(&Cell::Numeric(Decimal::of_i64(7)), PgType::Int8));
        assert!(seven.same(&Cell::Double(7.0), PgType::Int8));
        assert!(!seven.same(&Cell::Int(8), PgType::Int8));
        assert!(!seven.same(&Cell::Null, PgType::Int8));
        assert!(Cell::Double(f64::NAN).same(&Cell::Double(f64::NAN), PgType::Float8));
        let json = |text: &str| Cell::Json(Json::read(text).unwrap());
        let (a, b) = (json(r#"{"a": 1.0, "b": 2}"#), json(r#"{"b": 2, "a": 1}"#));
        assert!(a.same(&b, PgType::Jsonb));
        assert!(!a.same(&b, PgType::Json));
    }
}
