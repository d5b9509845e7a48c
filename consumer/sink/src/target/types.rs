//! Whether a column of one type takes what the mapping writes as another. Pure.
//!
//! Rows go through a temporary table that has the mapping's types, so two things have to be there: an
//! assignment from one type to the other, and a comparison of both, by which a row is found and an
//! unchanged one known. In the key a value has to stay what it was. Which types take which stands with
//! the types ([`Facts`](leafcutter_schemas::mapping::pg_type::facts::Facts)), lengths and scales are compared
//! here; a test asks PostgreSQL of every pair.

use leafcutter_schemas::mapping::{PgType, pg_type::facts::Kind};

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

/// Judges a column, which is in the key or not.
pub fn fit(wanted: PgType, found: &FoundType, key: bool) -> Fit {
    let fit = match &found.element {
        None if !wanted.is_array() => takes(wanted, &found.name, found.modifier),
        // PostgreSQL compares arrays of one type only.
        Some(element) if wanted.catalogue_name() == format!("_{element}") => {
            match takes(wanted.scalar(), element, found.modifier) {
                _ if is_coarse(element, found.modifier) => Fit::Not,
                fit => fit,
            }
        }
        None | Some(_) => Fit::Not,
    };
    match fit {
        Fit::Changes if key => Fit::Not,
        // Values that differ are one key.
        Fit::Wider if key && found.name == "citext" => Fit::Not,
        Fit::Same | Fit::Wider | Fit::Refuses | Fit::Changes | Fit::Not => fit,
    }
}

/// A time of whole seconds, or of fewer digits than microseconds.
fn is_coarse(name: &str, modifier: i32) -> bool {
    let known = PgType::of_catalogue(name, modifier);
    (0..6).contains(&modifier) && known.is_some_and(|known| !known.has_parameters())
}

/// How a scalar type of this name and modifier takes another.
fn takes(wanted: PgType, name: &str, modifier: i32) -> Fit {
    let facts = wanted.facts();
    let found = PgType::of_catalogue(name, modifier);
    let name = found.map_or(name, |found| found.facts().catalogue);
    let fit = if found == Some(wanted) {
        Fit::Same
    } else if facts.catalogue == name || facts.wider.contains(&name) {
        Fit::Wider
    } else if facts.refusing.contains(&name) {
        Fit::Refuses
    } else if facts.changing.contains(&name) {
        Fit::Changes
    } else {
        return Fit::Not;
    };
    let parameters = found.and_then(|found| length(wanted, found).or_else(|| scale(wanted, found)));
    match parameters {
        // Microseconds are kept in neither.
        _ if is_coarse(name, modifier) => Fit::Changes,
        Some(other) if fit != Fit::Same => other,
        _ => fit,
    }
}

/// How a text of some length takes another.
fn length(wanted: PgType, found: PgType) -> Option<Fit> {
    let (own, theirs) = (wanted.length()?, found.length()?);
    Some(if own < theirs {
        Fit::Wider
    } else {
        Fit::Refuses
    })
}

/// How a numeric with a precision and a scale takes another number.
fn scale(wanted: PgType, found: PgType) -> Option<Fit> {
    let (precision, scale) = found.limits()?;
    let (before, behind) = match (wanted.kind(), wanted.limits()) {
        (Kind::Whole { most }, _) => (most.to_string().len(), 0),
        (_, Some((own, behind))) => (own.saturating_sub(behind).into(), behind),
        _ => return Some(Fit::Changes),
    };
    Some(if scale < behind {
        Fit::Changes
    } else if usize::from(precision.saturating_sub(scale)) < before {
        Fit::Refuses
    } else {
        Fit::Wider
    })
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
