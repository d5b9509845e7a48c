//! What a value loses on its way into its column, although the column takes it: text that is cut, digits
//! that are rounded, a date of which only the day is kept, a value that becomes null by policy.
//!
//! It looks at a value beside the field that was made of it, and only where somebody wants to be told
//! ([`Watch`]): the consumers do not, and for them nothing of this is compiled.

use super::{
    bad::Bad, bson_type::is_null, numbers, parse, rows::value_of, target::Target, text, time,
    value::Rule,
};
use bson::RawBsonRef;
use leafcutter_schemas::{
    mapping::{
        Conversion, Policy,
        pg_type::facts::{Keeps, Kind},
    },
    number::Number,
};
use uuid::Uuid;

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// What a value loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Text is longer than its column, and its end is cut off.
    Cut,
    /// NUL characters are taken out of text.
    Nul,
    /// Digits that the column has no place for are rounded.
    Rounded,
    /// Of a point in time only the day, or only the time of day, is kept.
    Part,
    /// It does not fit, and becomes null.
    Null,
}

impl Loss {
    /// Its short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Nul => "nul-removed",
            Self::Rounded => "rounded",
            Self::Part => "part-of-date",
            Self::Null => "null",
        }
    }
}

/// Who is told of losses.
pub trait Watch {
    /// Whether anything is to be told at all.
    const TOLD: bool;

    /// A value lost something on its way into a column: the positions of the table in its plan, and of the
    /// column in the table.
    fn lost(&mut self, table: usize, column: usize, loss: Loss);
}

/// Nobody.
impl Watch for () {
    const TOLD: bool = false;

    fn lost(&mut self, _: usize, _: usize, _: Loss) {}
}

impl Target {
    /// What `value` lost when it became `field`; of an array, what the first element lost that did.
    pub(super) fn loss(
        &self,
        value: RawBsonRef<'_>,
        field: Option<&[u8]>,
        namespace: &Uuid,
    ) -> Option<Loss> {
        if is_null(&value) || self.by_id {
            return None;
        }
        let RawBsonRef::Array(elements) = value else {
            return self.of_one(value, field, namespace);
        };
        if self.array.is_none() || field.is_none() {
            return self.of_one(value, field, namespace);
        }
        let mut elements = elements.into_iter().flatten();
        elements.find_map(|element| {
            if is_null(&element) {
                return None;
            }
            let mut out = Vec::new();
            self.encode_element(element, namespace, &mut out).ok()?;
            self.of_one(element, value_of(&out), namespace)
        })
    }

    fn of_one(
        &self,
        value: RawBsonRef<'_>,
        field: Option<&[u8]>,
        namespace: &Uuid,
    ) -> Option<Loss> {
        // What a list of values makes of a value is what a person wants of it, null as well.
        let wanted = self.values.as_ref().is_some_and(|values| {
            let mut out = Vec::new();
            values
                .encode(&self.rule, value, namespace, &mut out)
                .is_ok()
        });
        match field {
            _ if wanted => None,
            None => Some(Loss::Null),
            Some(field) => self.rule.loss(value, field).ok().flatten(),
        }
    }
}

impl Rule {
    fn loss(&self, value: RawBsonRef<'_>, field: &[u8]) -> Result<Option<Loss>, Bad> {
        let facts = self.pg_type.facts();
        match (facts.kind, facts.keeps) {
            (Kind::Text, _) => self.of_text(value, field),
            (Kind::Json, _) => {
                let removed = self.invalid.nul == Policy::Truncate && has_nul(value);
                Ok(removed.then_some(Loss::Nul))
            }
            (_, Keeps::All) => Ok(None),
            (_, Keeps::Digits(scale)) => Ok(longer(&self.number(value)?, scale)),
            (_, Keeps::Real) => Ok(field.try_into().ok().and_then(|bytes| {
                let kept = Number::parse(&f32::from_be_bytes(bytes).to_string());
                self.rounded(value, kept)
            })),
            (_, Keeps::Double) => Ok(field.try_into().ok().and_then(|bytes| {
                let kept = Number::shortest_of_f64(f64::from_be_bytes(bytes));
                self.rounded(value, Some(kept))
            })),
            (_, Keeps::Day) if self.conversion == Conversion::ObjectIdTime => Ok(None),
            (_, Keeps::Day) => {
                let micros = self.micros(value)?;
                let part = micros.filter(|micros| micros.rem_euclid(DAY_MICROS) != 0);
                Ok(part.map(|_| Loss::Part))
            }
            (_, Keeps::TimeOfDay) => {
                Ok(matches!(value, RawBsonRef::DateTime(_)).then_some(Loss::Part))
            }
            (_, Keeps::Micros) => match self.conversion {
                Conversion::EpochSeconds => Ok(longer(&numbers::number(value)?, 6)),
                Conversion::EpochMillis => Ok(longer(&numbers::number(value)?, 3)),
                Conversion::Auto
                | Conversion::Text
                | Conversion::UuidV5
                | Conversion::ObjectIdTime
                | Conversion::Parse
                | Conversion::ObjectId => Ok(None),
            },
        }
    }

    fn of_text(&self, value: RawBsonRef<'_>, field: &[u8]) -> Result<Option<Loss>, Bad> {
        let whole = text::text(self.conversion, value)?;
        Ok(if whole.as_bytes() == field {
            None
        } else if whole.replace('\0', "").as_bytes() == field {
            Some(Loss::Nul)
        } else {
            Some(Loss::Cut)
        })
    }

    fn number(&self, value: RawBsonRef<'_>) -> Result<Number, Bad> {
        match (self.conversion, value) {
            (Conversion::Parse, RawBsonRef::String(text) | RawBsonRef::Symbol(text)) => {
                parse::number(text.trim_matches(|c: char| c.is_ascii_whitespace()))
            }
            (_, value) => numbers::number(value),
        }
    }

    /// What is kept of a number is not the number.
    fn rounded(&self, value: RawBsonRef<'_>, kept: Option<Number>) -> Option<Loss> {
        let number = self.number(value).ok()?;
        (kept? != number).then_some(Loss::Rounded)
    }

    /// The microseconds of a point in time.
    fn micros(&self, value: RawBsonRef<'_>) -> Result<Option<i64>, Bad> {
        let moment = match (self.conversion, value) {
            (Conversion::Parse, RawBsonRef::String(text) | RawBsonRef::Symbol(text)) => {
                time::parse(text.trim_matches(|c: char| c.is_ascii_whitespace()))
            }
            (conversion, value) => Some(time::moment(conversion, value)?),
        };
        let Some(moment) = moment else {
            return Ok(None);
        };
        let mut out = Vec::new();
        moment.write_timestamp(&mut out)?;
        let bytes = value_of(&out).and_then(|field| field.try_into().ok());
        Ok(bytes.map(i64::from_be_bytes))
    }
}

/// What is lost of a number with more digits behind the point than are kept.
fn longer(number: &Number, kept: u16) -> Option<Loss> {
    let digits = match number {
        Number::Finite(decimal) => decimal.exponent.saturating_neg().max(0),
        Number::NaN | Number::Infinity { .. } => 0,
    };
    (digits > i32::from(kept)).then_some(Loss::Rounded)
}

/// Whether a text, a symbol or a field's name anywhere in it has a NUL character. What is looked at became
/// JSON before, so it is not nested too deep.
fn has_nul(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => text.contains('\0'),
        RawBsonRef::Document(document) => {
            let mut elements = document.into_iter().flatten();
            elements.any(|(_, value)| has_nul(value))
        }
        RawBsonRef::Array(array) => array.into_iter().flatten().any(has_nul),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
    use leafcutter_schemas::mapping::parse;

    /// What a value loses in a column that is written so; an error where the column refuses it.
    fn loss(column: &str, value: impl Into<Bson>) -> Result<Option<Loss>, &'static str> {
        let text = format!(
            "version: 1\ndatabase: d\ncollections:\n  c:\n    table: t\n    key: id\n    columns:\n      \
             id: {{ path: _id, type: bigint }}\n      v: {column}\n"
        );
        let mapping = parse::load(&text, "test").unwrap();
        let column = &mapping.collections[0].tables[0].columns[1];
        let target = Target::compile(column, &mapping.uuid_namespace).unwrap();
        let document = RawDocumentBuf::try_from(&doc! { "v": value.into() }).unwrap();
        let value = document.get("v").unwrap().unwrap();
        let mut out = Vec::new();
        let encoded = target.encode(value, &mapping.uuid_namespace, &mut out);
        encoded.map_err(|bad| bad.code())?;
        Ok(target.loss(value, value_of(&out), &mapping.uuid_namespace))
    }

    #[test]
    fn what_is_kept_whole_loses_nothing() {
        for (column, value) in [
            ("{ type: text }", Bson::from("a")),
            ("{ type: varchar(3), invalid: truncate }", Bson::from("äöü")),
            ("{ type: text, convert: text }", Bson::from(1.5)),
            ("{ type: \"numeric(4,2)\" }", Bson::from(1.25)),
            (
                "{ type: \"numeric(4,2)\", convert: parse }",
                Bson::from(" 1.50 "),
            ),
            ("{ type: numeric }", Bson::from(1.123_456_789)),
            ("{ type: real }", Bson::from(0.1)),
            ("{ type: double precision }", Bson::from(1_i64 << 52)),
            ("{ type: double precision }", Bson::from(f64::NAN)),
            (
                "{ type: date }",
                Bson::DateTime(bson::DateTime::from_millis(86_400_000)),
            ),
            (
                "{ type: date, convert: object-id-time }",
                Bson::ObjectId(ObjectId::from_bytes([7; 12])),
            ),
            (
                "{ type: timestamp, convert: epoch-seconds }",
                Bson::from(1.5),
            ),
            (
                "{ type: text, values: { a: b, c: null }, invalid: null }",
                Bson::from("c"),
            ),
            ("{ type: jsonb, invalid: truncate }", Bson::from("a")),
            ("{ type: text, invalid: null }", Bson::Null),
            ("{ type: integer array }", Bson::from(vec![1, 2])),
        ] {
            assert_eq!(loss(column, value.clone()), Ok(None), "{column} {value}");
        }
    }

    #[test]
    fn what_is_lost_is_told() {
        let noon = bson::DateTime::from_millis(43_200_000);
        let lost = |doc: Bson| doc;
        for (column, value, expected) in [
            (
                "{ type: varchar(2), invalid: truncate }",
                lost("äöü".into()),
                Loss::Cut,
            ),
            (
                "{ type: varchar(2), convert: text, invalid: truncate }",
                lost(123.into()),
                Loss::Cut,
            ),
            (
                "{ type: varchar(2), invalid: truncate }",
                lost("a\0bc".into()),
                Loss::Cut,
            ),
            (
                "{ type: text, invalid: truncate }",
                lost("a\0b".into()),
                Loss::Nul,
            ),
            (
                "{ type: jsonb, invalid: { nul: truncate } }",
                lost(doc! { "a": ["b\0"] }.into()),
                Loss::Nul,
            ),
            (
                "{ type: \"numeric(4,2)\" }",
                lost(1.255.into()),
                Loss::Rounded,
            ),
            (
                "{ type: \"numeric(4,2)\", convert: parse }",
                lost("1.255".into()),
                Loss::Rounded,
            ),
            ("{ type: real }", lost(0.123_456_789.into()), Loss::Rounded),
            (
                "{ type: double precision }",
                lost(((1_i64 << 53) + 1).into()),
                Loss::Rounded,
            ),
            ("{ type: date }", lost(noon.into()), Loss::Part),
            (
                "{ type: date, convert: parse }",
                lost("1970-01-01T12:00:00Z".into()),
                Loss::Part,
            ),
            ("{ type: time }", lost(noon.into()), Loss::Part),
            (
                "{ type: timestamp, convert: epoch-millis }",
                lost(1.0001.into()),
                Loss::Rounded,
            ),
            (
                "{ type: integer, invalid: null }",
                lost("a".into()),
                Loss::Null,
            ),
            (
                "{ type: text, values: { a: b }, invalid: null }",
                lost("c".into()),
                Loss::Null,
            ),
            (
                "{ type: integer array, invalid: { wrong_type: null } }",
                lost(vec![Bson::from(1), Bson::from("a")].into()),
                Loss::Null,
            ),
        ] {
            assert_eq!(
                loss(column, value.clone()),
                Ok(Some(expected)),
                "{column} {value}"
            );
        }
        assert_eq!(loss("{ type: varchar(2) }", "abc"), Err("too-long"));
    }
}
