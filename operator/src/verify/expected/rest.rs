//! `rest: true`: everything of a document or an element that no other column and no child table takes.

use super::{
    cell::Reason,
    find::Source,
    json::{DEPTH_MAX, Form, Json},
    text::form,
};
use bson::{RawBsonRef, RawDocument};
use leafcutter_schemas::mapping::{Column, ColumnSource, Path, RowSource, Table};

/// The rest, as a column of the table has it.
///
/// # Errors
/// Why the column cannot hold it.
pub fn rest(table: &Table, column: &Column, source: &Source<'_>) -> Result<Json, Reason> {
    let mut taken: Vec<&Path> = Vec::new();
    for column in &table.columns {
        match &column.source {
            ColumnSource::Path(path) => taken.push(path),
            ColumnSource::FirstOf(paths) => {
                // Those behind the first with a value take nothing.
                let chosen = source
                    .first_of(paths)?
                    .map_or(paths.len(), |(index, _)| index + 1);
                taken.extend(&paths[..chosen]);
            }
            _ => {}
        }
    }
    let mut whole = false;
    for child in &table.children {
        let RowSource::Elements(sources) = &child.rows else {
            continue;
        };
        whole |= sources.iter().any(|elements| elements.path.is_self());
        taken.extend(sources.iter().map(|elements| &elements.path));
    }
    // A document of which a column has the whole is not taken by that; a single value is.
    let single = !matches!(source.whole, RawBsonRef::Document(_) | RawBsonRef::Array(_));
    if whole || (single && taken.iter().any(|path| path.is_self())) {
        return Ok(Json::Object(Vec::new()));
    }
    let taken: Vec<&[String]> = taken
        .iter()
        .map(|path| path.steps())
        .filter(|s| !s.is_empty())
        .collect();
    let left = left(form(column), source.whole, &taken, 0)?;
    Ok(left.0)
}

/// What is left of a value, and whether everything in it was taken.
fn left(
    form: Form,
    value: RawBsonRef<'_>,
    taken: &[&[String]],
    depth: usize,
) -> Result<(Json, bool), Reason> {
    if depth > DEPTH_MAX {
        return Err("too-deep");
    }
    match value {
        RawBsonRef::Document(document) if depth == 0 || !taken.is_empty() => {
            let mut fields = Vec::new();
            let (mut any, mut seen) = (false, Vec::new());
            for element in document {
                let (name, value) = element.map_err(|_| "malformed")?;
                let name = name.as_str();
                any = true;
                let first = !seen.contains(&name);
                seen.push(name);
                match below(taken, name, first) {
                    None => {}
                    Some(below) => {
                        let (json, all) = left(form, value, &below, depth + 1)?;
                        if !all {
                            fields.push((name, json));
                        }
                    }
                }
            }
            let all = any && fields.is_empty();
            Ok((form.object(fields)?, all))
        }
        RawBsonRef::Array(array) if !taken.is_empty() => {
            let inner = RawDocument::from_bytes(array.as_bytes()).map_err(|_| "malformed")?;
            let mut items = Vec::new();
            for (index, element) in inner.iter().enumerate() {
                let (_, value) = element.map_err(|_| "malformed")?;
                items.push(match below(taken, &index.to_string(), true) {
                    None => Json::Null,
                    Some(below) => match left(form, value, &below, depth + 1)? {
                        (_, true) => Json::Null,
                        (json, false) => json,
                    },
                });
            }
            Ok((Json::List(items), false))
        }
        value => Ok((form.value(value, depth)?, false)),
    }
}

/// What is taken below a field; `None` where the field itself is.
fn below<'t>(taken: &[&'t [String]], name: &str, first: bool) -> Option<Vec<&'t [String]>> {
    let mut inner = Vec::new();
    // What is not the first of its name is taken by nothing.
    for steps in taken.iter().filter(|steps| first && steps[0] == name) {
        if steps.len() == 1 {
            return None;
        }
        inner.push(&steps[1..]);
    }
    Some(inner)
}
