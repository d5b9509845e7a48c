//! Whether a column of one type takes what the mapping writes as another. Pure.
//!
//! Rows go through a temporary table that has the mapping's types, so two things have to be there: an
//! assignment from one type to the other, and a comparison of both, by which a row is found and an
//! unchanged one known. In the key a value has to stay what it was. The rules stand here as a table;
//! a test asks PostgreSQL of every pair.

use crate::sink::ddl::type_name;
use leafcutter_schemas::mapping::PgType;

/// A column's type as PostgreSQL's catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundType {
    /// Its name in `pg_type`; of a domain, that of the type below it.
    pub name: String,
    /// For an array, the name of its elements' type.
    pub element: Option<String>,
    /// Its length, precision or scale, as `pg_attribute.atttypmod`; -1 for none.
    pub modifier: i32,
    /// As PostgreSQL writes it.
    pub shown: String,
}

/// How a column of one type takes what is written as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is the same.
    Same,
    /// It takes every value as it is.
    Wider,
    /// It refuses some values, which are errors of the data then.
    Refuses,
    /// It keeps some values as others.
    Changes,
    /// Nothing can be written, or no row be found again.
    Not,
}

/// What a found type is, as far as Leafcutter knows it.
enum Known {
    /// One that a mapping can name.
    Type(PgType),
    /// A time of whole seconds, or of fewer digits than microseconds.
    Coarse(PgType),
    /// `char(n)`, which fills up with blanks, and `name`, which cuts what is long.
    Shaped,
    /// `citext`, which is text; equal values may look different.
    NoCase,
    Other,
}

impl FoundType {
    fn known(&self) -> Known {
        let name = self.element.as_deref().unwrap_or(&self.name);
        let known = Known::of(name, self.modifier);
        match (&self.element, known) {
            (None, known) => known,
            (Some(_), Known::Type(scalar)) => {
                let element = leafcutter_schemas::mapping::Element::of(scalar);
                element.map_or(Known::Other, |element| Known::Type(PgType::Array(element)))
            }
            (Some(_), _) => Known::Other,
        }
    }
}

impl Known {
    fn of(name: &str, modifier: i32) -> Self {
        // Lengths, precisions and scales have the bytes of a header added to them.
        let below = u32::try_from(modifier - 4).ok();
        let coarse = |pg_type| match modifier {
            0..6 => Self::Coarse(pg_type),
            _ => Self::Type(pg_type),
        };
        Self::Type(match name {
            "bool" => PgType::Bool,
            "int2" => PgType::Int2,
            "int4" => PgType::Int4,
            "int8" => PgType::Int8,
            "float4" => PgType::Float4,
            "float8" => PgType::Float8,
            "numeric" => PgType::Numeric(below.map(|limits| {
                let half = |bits: u32| u16::try_from(bits & 0x7ff).unwrap_or(0);
                (half(limits >> 16), half(limits))
            })),
            "text" => PgType::Text,
            "varchar" => below.map_or(PgType::Text, PgType::Varchar),
            "uuid" => PgType::Uuid,
            "bytea" => PgType::Bytea,
            "date" => PgType::Date,
            "timestamp" => return coarse(PgType::Timestamp),
            "timestamptz" => return coarse(PgType::Timestamptz),
            "json" => PgType::Json,
            "jsonb" => PgType::Jsonb,
            "bpchar" | "name" => return Self::Shaped,
            "citext" => return Self::NoCase,
            _ => return Self::Other,
        })
    }
}

/// Judges a column, which is in the key or not.
pub fn fit(wanted: PgType, found: &FoundType, key: bool) -> Fit {
    let text = matches!(wanted, PgType::Text | PgType::Varchar(_));
    let fit = match found.known() {
        Known::Type(known) => between(wanted, known, found),
        // Microseconds are kept in neither.
        Known::Coarse(known) => match between(wanted, known, found) {
            Fit::Not => Fit::Not,
            Fit::Same | Fit::Wider | Fit::Refuses | Fit::Changes => Fit::Changes,
        },
        Known::Shaped if text || wanted == PgType::Json => Fit::Changes,
        // Values that differ are one key.
        Known::NoCase if text && key => Fit::Not,
        Known::NoCase if text => Fit::Wider,
        Known::Shaped | Known::NoCase | Known::Other => Fit::Not,
    };
    match fit {
        Fit::Changes if key => Fit::Not,
        Fit::Same | Fit::Wider | Fit::Refuses | Fit::Changes | Fit::Not => fit,
    }
}

/// The digits of a whole number.
fn is_whole(pg_type: PgType) -> Option<u16> {
    match pg_type {
        PgType::Int2 => Some(5),
        PgType::Int4 => Some(10),
        PgType::Int8 => Some(19),
        _ => None,
    }
}

fn between(wanted: PgType, found: PgType, shown: &FoundType) -> Fit {
    if let (PgType::Array(_), PgType::Array(_)) = (wanted, found) {
        // PostgreSQL compares arrays of one type only.
        let name = shown.element.as_deref().unwrap_or_default();
        return if name == type_name(wanted.scalar()) {
            between(wanted.scalar(), found.scalar(), shown)
        } else {
            Fit::Not
        };
    }
    if wanted == found {
        return Fit::Same;
    }
    if let (Some(own), Some(theirs)) = (is_whole(wanted), is_whole(found)) {
        return if own < theirs {
            Fit::Wider
        } else {
            Fit::Refuses
        };
    }
    match (wanted, found) {
        (PgType::Text | PgType::Json, PgType::Varchar(_)) => Fit::Refuses,
        (PgType::Json | PgType::Varchar(_), PgType::Text) => Fit::Wider,
        (PgType::Varchar(own), PgType::Varchar(theirs)) if own < theirs => Fit::Wider,
        (PgType::Varchar(_), PgType::Varchar(_)) => Fit::Refuses,
        // It orders the fields, and keeps one of two with the same name.
        (PgType::Json, PgType::Jsonb) => Fit::Changes,
        (PgType::Date, PgType::Timestamp | PgType::Timestamptz)
        | (PgType::Timestamp, PgType::Timestamptz)
        | (PgType::Timestamptz, PgType::Timestamp) => Fit::Wider,
        (PgType::Timestamp | PgType::Timestamptz, PgType::Date) => Fit::Changes,
        _ => number(wanted, found),
    }
}

fn number(wanted: PgType, found: PgType) -> Fit {
    let is = |t: PgType| {
        is_whole(t).is_some() || matches!(t, PgType::Float4 | PgType::Float8 | PgType::Numeric(_))
    };
    if !is(wanted) || !is(found) {
        return Fit::Not;
    }
    match (wanted, found) {
        (PgType::Float4 | PgType::Int2 | PgType::Int4, PgType::Float8)
        | (PgType::Int2, PgType::Float4)
        | (
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Numeric(_),
            PgType::Numeric(None),
        ) => Fit::Wider,
        (whole, PgType::Numeric(Some((precision, scale)))) if is_whole(whole).is_some() => {
            let digits = is_whole(whole).unwrap_or_default();
            if precision.saturating_sub(scale) >= digits {
                Fit::Wider
            } else {
                Fit::Refuses
            }
        }
        (PgType::Numeric(Some((own, behind))), PgType::Numeric(Some((theirs, scale)))) => {
            let before = |precision: u16, scale: u16| precision.saturating_sub(scale);
            if scale < behind {
                Fit::Changes
            } else if before(theirs, scale) < before(own, behind) {
                Fit::Refuses
            } else {
                Fit::Wider
            }
        }
        _ => Fit::Changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, modifier: i32) -> FoundType {
        FoundType {
            name: name.to_owned(),
            element: None,
            modifier,
            shown: name.to_owned(),
        }
    }

    #[test]
    fn lengths_and_scales_are_compared() {
        let numeric = |precision: i32, scale: i32| found("numeric", (precision << 16 | scale) + 4);
        for (wanted, found, expected) in [
            (PgType::Varchar(20), found("varchar", 24), Fit::Same),
            (PgType::Varchar(20), found("varchar", 23), Fit::Refuses),
            (PgType::Varchar(20), found("varchar", 25), Fit::Wider),
            (PgType::Text, found("varchar", -1), Fit::Same),
            (PgType::Numeric(Some((8, 2))), numeric(8, 2), Fit::Same),
            (PgType::Numeric(Some((8, 2))), numeric(8, 3), Fit::Refuses),
            (PgType::Numeric(Some((8, 2))), numeric(9, 3), Fit::Wider),
            (PgType::Numeric(Some((8, 2))), numeric(9, 1), Fit::Changes),
            (PgType::Numeric(None), numeric(8, 2), Fit::Changes),
            (PgType::Int4, numeric(10, 0), Fit::Wider),
            (PgType::Int4, numeric(10, 1), Fit::Refuses),
            (PgType::Timestamptz, found("timestamptz", 3), Fit::Changes),
            (PgType::Timestamptz, found("timestamptz", 6), Fit::Same),
        ] {
            assert_eq!(fit(wanted, &found, false), expected, "{wanted} {found:?}");
        }
    }

    #[test]
    fn keys_stay_what_they_are() {
        for (wanted, name, modifier, expected) in [
            (PgType::Int8, "int8", -1, Fit::Same),
            (PgType::Int8, "int4", -1, Fit::Refuses),
            (PgType::Int4, "int8", -1, Fit::Wider),
            (PgType::Int8, "float8", -1, Fit::Not),
            (PgType::Text, "varchar", 9, Fit::Refuses),
            (PgType::Varchar(9), "text", -1, Fit::Wider),
            (PgType::Text, "citext", -1, Fit::Not),
            (PgType::Text, "bpchar", 9, Fit::Not),
            (PgType::Timestamptz, "timestamptz", 0, Fit::Not),
            (PgType::Date, "timestamp", -1, Fit::Wider),
            (PgType::Timestamp, "date", -1, Fit::Not),
        ] {
            let found = found(name, modifier);
            assert_eq!(fit(wanted, &found, true), expected, "{wanted} {name}");
        }
    }
}
