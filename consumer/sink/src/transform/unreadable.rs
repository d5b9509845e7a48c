//! Which field of a document cannot be read, for the reason of its dead letter.
//!
//! It is asked only after a document was refused, so it may look at all of it. It goes by the lengths
//! of elements alone, as far as the structure holds, and not deeper than MongoDB nests anything.

use bson::RawDocument;
use leafcutter_schemas::{
    dead_letter::Reason,
    id::{self, Element},
};

/// Deeper than MongoDB nests anything, and harmless for the stack.
const DEPTH_MAX: usize = 250;
/// Of a longer path, which a map's key may make, only the beginning is told.
const PATH_CHARACTERS_MAX: usize = 200;

/// The reason with the place and the kind of what cannot be read in `document`, if that is why.
pub(super) fn named(mut reason: Reason, document: &RawDocument) -> Reason {
    if reason.code != "malformed" {
        return reason;
    }
    let wanted = reason.path.as_deref().unwrap_or_default();
    let within = first(document, Some(wanted)).or_else(|| first(document, None));
    if let Some((path, what)) = within {
        reason.message = format!("{what} in the field `{path}`");
        reason.path = Some(path);
    }
    reason
}

/// The first field, at `under` or below where that is given, that cannot be read.
fn first(document: &RawDocument, under: Option<&str>) -> Option<(String, &'static str)> {
    let (path, what) = look(document, &mut Vec::new(), under)?;
    Some((path.chars().take(PATH_CHARACTERS_MAX).collect(), what))
}

fn look<'a>(
    document: &'a RawDocument,
    above: &mut Vec<&'a [u8]>,
    under: Option<&str>,
) -> Option<(String, &'static str)> {
    let mut elements = id::elements(document);
    for element in elements.by_ref() {
        above.push(element.name);
        let found = match wrong(&element) {
            Some(what) => Some((path(above), what)).filter(|(path, _)| is_under(path, under)),
            None if above.len() < DEPTH_MAX => {
                inner(&element).and_then(|inner| look(inner, above, under))
            }
            None => None,
        };
        if found.is_some() {
            return found;
        }
        above.pop();
    }
    above.push(elements.broken()?);
    let broken = path(above);
    above.pop();
    is_under(&broken, under).then_some((broken, NOT_BSON))
}

/// A document, an array, or the scope of code, behind its two lengths and its text.
fn inner<'a>(element: &Element<'a>) -> Option<&'a RawDocument> {
    let bytes = match element.kind {
        3 | 4 => element.value,
        15 => {
            let text = element.value.get(4..)?;
            let length = i32::from_le_bytes(*text.first_chunk()?);
            text.get(4 + usize::try_from(length).ok()?..)?
        }
        _ => return None,
    };
    RawDocument::from_bytes(bytes).ok()
}

const NOT_BSON: &str = "a value that is not as BSON has it";

/// What is wrong with an element, without what is nested in it.
fn wrong(element: &Element<'_>) -> Option<&'static str> {
    if std::str::from_utf8(element.name).is_err() {
        return Some("a field name that is not UTF-8");
    }
    match element.value() {
        Some(value) if value.get("v").is_ok() => None,
        // String, symbol, code.
        _ if matches!(element.kind, 2 | 13 | 14) => Some("text that is not UTF-8"),
        _ => Some(NOT_BSON),
    }
}

fn path(names: &[&[u8]]) -> String {
    let names: Vec<_> = names.iter().map(|n| String::from_utf8_lossy(n)).collect();
    names.join(".")
}

fn is_under(path: &str, under: Option<&str>) -> bool {
    let rest = under.map_or(Some(""), |under| path.strip_prefix(under));
    rest.is_some_and(|rest| under.is_none() || rest.is_empty() || rest.starts_with('.'))
}
