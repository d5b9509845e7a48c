//! The words of the mapping language: types, conversions, policies. A type's names are its own.

use crate::mapping::{
    Conversion, Element, OnDelete, OnMissing, PgType, Policy, ReferenceBy, SameKey,
    fault::nearest,
    pg_type::{SCALARS, facts::Parameters},
};

/// `convert`.
pub(in crate::mapping) const CONVERSIONS: [(&str, Conversion); 8] = [
    ("auto", Conversion::Auto),
    ("text", Conversion::Text),
    ("uuid-v5", Conversion::UuidV5),
    ("object-id-time", Conversion::ObjectIdTime),
    ("epoch-seconds", Conversion::EpochSeconds),
    ("epoch-millis", Conversion::EpochMillis),
    ("parse", Conversion::Parse),
    ("object-id", Conversion::ObjectId),
];

/// `invalid`.
pub(in crate::mapping) const POLICIES: [(&str, Policy); 3] = [
    ("reject", Policy::Reject),
    ("null", Policy::Null),
    ("truncate", Policy::Truncate),
];

/// `by`.
pub(in crate::mapping) const REFERENCE_BY: [(&str, ReferenceBy); 1] = [("_id", ReferenceBy::Id)];

/// `on_missing`.
pub(in crate::mapping) const ON_MISSING: [(&str, OnMissing); 3] = [
    ("dead-letter", OnMissing::DeadLetter),
    ("null", OnMissing::Null),
    ("keep", OnMissing::Keep),
];

/// `on_delete`.
pub(in crate::mapping) const ON_DELETE: [(&str, OnDelete); 3] = [
    ("hold", OnDelete::Hold),
    ("cascade", OnDelete::Cascade),
    ("set-null", OnDelete::SetNull),
];

/// `on_same_key`.
pub(in crate::mapping) const SAME_KEY: [(&str, SameKey); 2] = [
    ("first-stays", SameKey::FirstStays),
    ("newest-wins", SameKey::NewestWins { by: None }),
];

/// Words for types that other systems use, and PostgreSQL's word.
const FOREIGN: [(&str, &str); 14] = [
    ("string", "text"),
    ("char", "varchar(1)"),
    ("double", "double precision"),
    ("float", "double precision"),
    ("datetime", "timestamptz"),
    ("int32", "integer"),
    ("int64", "bigint"),
    ("long", "bigint"),
    ("number", "numeric"),
    ("decimal128", "numeric"),
    ("binary", "bytea"),
    ("blob", "bytea"),
    ("object", "jsonb"),
    ("array", "jsonb"),
];

/// The types with these names, as PostgreSQL has them: those without parameters, or those with.
fn names(parameters: bool) -> impl Iterator<Item = &'static str> {
    let scalars = SCALARS.into_iter();
    let scalars = scalars.filter(move |scalar| scalar.has_parameters() == parameters);
    scalars.flat_map(|scalar| scalar.facts().names).copied()
}

/// PostgreSQL's limits: `MaxAttrSize` and `NUMERIC_MAX_PRECISION`.
const LENGTH_MAX: u32 = 10_485_760;
const PRECISION_MAX: u16 = 1000;

/// Why a type cannot be read, and what was probably meant.
pub(super) type Refused = (String, Option<String>);

/// What makes an array of a type, as PostgreSQL and as the SQL standard write it. The second needs
/// no quotes inside `{ }`.
pub(in crate::mapping) const ARRAY_ENDINGS: [&str; 2] = ["[]", " array"];

/// Reads a type as PostgreSQL writes it, in any case and with any spaces.
pub(super) fn pg_type(text: &str) -> Result<PgType, Refused> {
    let lower = text.to_lowercase();
    let whole = lower.trim_end();
    match ARRAY_ENDINGS.iter().find_map(|end| whole.strip_suffix(end)) {
        Some(of) => array(text, of),
        None => scalar(text, &lower),
    }
}

fn array(text: &str, of: &str) -> Result<PgType, Refused> {
    let of =
        pg_type(of).map_err(|(message, near)| (message, near.map(|near| format!("{near}[]"))))?;
    match Element::of(of) {
        Some(element) => Ok(PgType::Array(element)),
        None => Err((
            format!("there are no arrays of `{of}`: `{text}` is a `jsonb`"),
            Some("jsonb".to_owned()),
        )),
    }
}

fn scalar(text: &str, lower: &str) -> Result<PgType, Refused> {
    let (name, parameters) = match lower.split_once('(') {
        None => (lower, None),
        Some((name, rest)) => match rest.trim_end().strip_suffix(')') {
            Some(inner) => (name, Some(inner)),
            None => {
                let message = format!(
                    "`{text}` lacks its closing bracket: inside `{{ }}`, a type with a comma needs quotes"
                );
                return Err((message, None));
            }
        },
    };
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let numbers = match parameters {
        None => Vec::new(),
        Some(inner) => {
            let numbers: Result<Vec<u32>, _> = inner.split(',').map(|n| n.trim().parse()).collect();
            let refuse = |_| {
                (
                    format!("the parameters of `{text}` are not whole numbers"),
                    None,
                )
            };
            numbers.map_err(refuse)?
        }
    };
    let mut scalars = SCALARS.into_iter();
    let Some(found) = scalars.find(|scalar| scalar.facts().names.contains(&name.as_str())) else {
        return Err(unknown(text, &name));
    };
    let parameters = match found.parameters() {
        Parameters::None if numbers.is_empty() => Parameters::None,
        Parameters::None => {
            return Err((format!("`{name}` takes no parameters"), Some(name)));
        }
        Parameters::Length(_) => Parameters::Length(length(found.facts().names[0], &numbers)?),
        Parameters::Limits(_) => Parameters::Limits(limits(found.facts().names[0], &numbers)?),
    };
    Ok(found.with(parameters))
}

fn unknown(text: &str, name: &str) -> Refused {
    let near =
        nearest(name, names(false).chain(names(true))).map(|near| match text.split_once('(') {
            Some((_, parameters)) if names(true).any(|name| name == near) => {
                format!("{near}({parameters}")
            }
            _ => near,
        });
    let foreign = FOREIGN.iter().find(|(word, _)| *word == name);
    let near = foreign.map(|(_, ours)| (*ours).to_owned()).or(near);
    (format!("unknown type `{text}`"), near)
}

fn length(name: &str, numbers: &[u32]) -> Result<u32, Refused> {
    match *numbers {
        [length @ 1..=LENGTH_MAX] => Ok(length),
        [0] => Err((format!("a `{name}(0)` holds nothing"), None)),
        [_] => Err((
            format!("a {name} has at most {LENGTH_MAX} characters"),
            Some("text".to_owned()),
        )),
        _ => Err((
            format!("a {name} has one parameter, its length; without a limit it is `text`"),
            None,
        )),
    }
}

fn limits(name: &str, numbers: &[u32]) -> Result<Option<(u16, u16)>, Refused> {
    let (precision, scale) = match *numbers {
        [] => return Ok(None),
        [precision] => (precision, 0),
        [precision, scale] => (precision, scale),
        _ => return Err((format!("a {name} has at most two parameters"), None)),
    };
    match (u16::try_from(precision), u16::try_from(scale)) {
        (Ok(precision @ 1..=PRECISION_MAX), Ok(scale)) if scale <= precision => {
            Ok(Some((precision, scale)))
        }
        (Ok(1..=PRECISION_MAX), _) => Err((
            format!("the scale {scale} is over the precision {precision}"),
            None,
        )),
        _ => Err((
            format!("the precision {precision} is not between 1 and {PRECISION_MAX}"),
            None,
        )),
    }
}
