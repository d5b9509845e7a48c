//! One column: where its value comes from, its type, its constants.

use super::{
    built::{Built, Known},
    constant, expression, name,
};
use crate::mapping::{
    Column, ColumnSource, Conversion, Path, PgType, Policies, RowSource,
    fault::{At, Faults, Spotted, nearest},
    pg_type::facts::Kind,
    raw::{Given, RawColumn},
};

/// Judges a column and builds it, and says what is known of it.
pub(super) fn build(
    raw: &RawColumn,
    above: Option<&Built>,
    before: &Built,
    faults: &mut Faults,
) -> (Column, Known) {
    name::column(&raw.name, faults);
    let found = source(raw, above, before, faults);
    let known_source = found.is_some();
    let source = found.unwrap_or_else(|| ColumnSource::Path(Path::name(&raw.name.value)));
    let pg_type = pg_type(raw, &source, above, faults);
    meaningless(raw, faults);
    if let Some(pg_type) = pg_type {
        for text in [&raw.default, &raw.constant]
            .into_iter()
            .filter_map(Given::get)
        {
            if let Err(why) = constant::fits(&text.value, pg_type) {
                faults.add(&text.at, why);
            }
        }
        converts(raw, pg_type, faults);
        whole_document(pg_type, above.is_none(), raw, faults);
        if let (ColumnSource::Rest, Some(flag)) = (&source, raw.rest.get())
            && pg_type != PgType::Jsonb
        {
            let message = format!("the rest of a document is `jsonb`, not `{pg_type}`");
            faults.suggest(&flag.at, message, Some("jsonb".to_owned()));
        }
    }
    let required = match &source {
        ColumnSource::Path(_) | ColumnSource::FirstOf(_) | ColumnSource::Expression { .. } => {
            raw.required.value().copied().unwrap_or(false)
        }
        ColumnSource::Parent(position) => {
            above.is_some_and(|above| above.table.columns[*position].required)
        }
        ColumnSource::Position
        | ColumnSource::MapKey
        | ColumnSource::Set
        | ColumnSource::Derived(_)
        | ColumnSource::Constant(_)
        | ColumnSource::Rest => true,
        ColumnSource::Deleted => false,
    };
    let column = Column {
        name: raw.name.value.clone(),
        pg_type: pg_type.unwrap_or(PgType::Text),
        source,
        conversion: raw.convert.value().copied().unwrap_or(Conversion::Auto),
        required,
        default: raw.default.value().cloned(),
        values: None,
        invalid: Policies::default(),
        reference: None,
        generated: None,
    };
    (
        column,
        Known {
            pg_type,
            source: known_source,
        },
    )
}

/// The field that says where a value comes from, and its place.
fn sources(raw: &RawColumn) -> Vec<(&'static str, &At)> {
    let rest = raw.rest.get().filter(|flag| flag.value);
    [
        ("path", raw.path.get().map(|s| &s.at)),
        ("parent", raw.parent.get().map(|s| &s.at)),
        (
            "position",
            raw.position.get().filter(|flag| flag.value).map(|s| &s.at),
        ),
        (
            "map_key",
            raw.map_key.get().filter(|flag| flag.value).map(|s| &s.at),
        ),
        (
            "set",
            raw.set.get().filter(|flag| flag.value).map(|s| &s.at),
        ),
        ("derive", raw.derive.get().map(|s| &s.at)),
        ("constant", raw.constant.get().map(|s| &s.at)),
        ("rest", rest.map(|s| &s.at)),
        ("expression", raw.expression.get().map(|s| &s.at)),
    ]
    .into_iter()
    .filter_map(|(name, at)| Some((name, at?)))
    .collect()
}

/// Where the value comes from; `None` where that is faulty.
fn source(
    raw: &RawColumn,
    above: Option<&Built>,
    before: &Built,
    faults: &mut Faults,
) -> Option<ColumnSource> {
    let faulty = [
        matches!(raw.parent, Given::Faulty),
        matches!(raw.position, Given::Faulty),
        matches!(raw.map_key, Given::Faulty),
        matches!(raw.set, Given::Faulty),
        matches!(raw.derive, Given::Faulty),
        matches!(raw.constant, Given::Faulty),
        matches!(raw.rest, Given::Faulty),
        matches!(raw.expression, Given::Faulty),
    ];
    let sources = sources(raw);
    if let [(first, _), (second, at), ..] = sources[..] {
        faults.add(
            at,
            format!("a column has one source, not both `{first}` and `{second}`"),
        );
        return None;
    }
    if faulty.contains(&true) {
        return None;
    }
    match (sources.first(), above) {
        (Some((kind @ ("parent" | "position" | "map_key" | "set"), at)), None) => {
            let message = format!(
                "`{kind}` is for child tables, whose rows are elements of an array or a map"
            );
            faults.add(at, message);
            None
        }
        (Some(("parent", _)), Some(above)) => parent(raw, above, faults),
        (Some(("position", _)), Some(_)) => Some(ColumnSource::Position),
        (Some(("map_key", _)), Some(_)) => Some(ColumnSource::MapKey),
        (Some(("set", _)), Some(_)) => Some(ColumnSource::Set),
        (Some(("derive", _)), _) => derived(raw, before, faults),
        (Some(("constant", _)), _) => raw.constant.value().cloned().map(ColumnSource::Constant),
        (Some(("rest", _)), _) => Some(ColumnSource::Rest),
        (Some(("expression", _)), _) => computed(raw.expression.get()?, faults),
        _ => Some(match raw.path.value().map(Vec::as_slice) {
            None => ColumnSource::Path(Path::name(&raw.name.value)),
            Some([path]) => ColumnSource::Path(path.value.clone()),
            Some(paths) => first_of(paths, faults),
        }),
    }
}

fn computed(text: &Spotted<String>, faults: &mut Faults) -> Option<ColumnSource> {
    let read = expression::read(text, faults)?;
    Some(ColumnSource::Expression {
        text: text.value.clone(),
        of_id: read.is_of_id(),
    })
}

/// The element itself is always there, so only the last of several paths can be it.
fn first_of(paths: &[Spotted<Path>], faults: &mut Faults) -> ColumnSource {
    for (index, path) in paths.iter().enumerate() {
        if paths[..index]
            .iter()
            .any(|before| before.value == path.value)
        {
            faults.add(&path.at, format!("the path `{}` stands twice", path.value));
        } else if index > 0 && paths[index - 1].value.is_self() {
            faults.add(
                &path.at,
                "what stands behind `.`, which is always there, is never looked at",
            );
        }
    }
    ColumnSource::FirstOf(paths.iter().map(|path| path.value.clone()).collect())
}

fn parent(raw: &RawColumn, above: &Built, faults: &mut Faults) -> Option<ColumnSource> {
    let Spotted { value: name, at } = raw.parent.get()?;
    let position = above.table.column(name);
    if position.is_none() && above.complete {
        let near = nearest(name, above.table.columns.iter().map(|c| c.name.as_str()));
        faults.suggest(at, format!("the parent table has no column `{name}`"), near);
    }
    position.map(ColumnSource::Parent)
}

fn derived(raw: &RawColumn, before: &Built, faults: &mut Faults) -> Option<ColumnSource> {
    let names = raw.derive.get()?;
    let columns = &before.table.columns;
    let mut found = Vec::new();
    for Spotted { value: name, at } in &names.value {
        let Some(position) = before.table.column(name) else {
            if before.complete {
                let near = nearest(name, columns.iter().map(|c| c.name.as_str()));
                let message = format!("no column `{name}` stands above this one");
                faults.suggest(at, message, near);
            }
            return None;
        };
        let known = before.known[position];
        let root = before.table.rows == RowSource::Document;
        let there = columns[position].required || (root && before.table.follows_from_id(position));
        if known.source && !there {
            let message = format!(
                "`{name}` may be missing, so nothing can be derived from it: make it `required: true`"
            );
            faults.add(at, message);
        }
        if let Some(pg_type) = known
            .pg_type
            .filter(|t| t.is_array() || !t.facts().one_text)
        {
            let message = format!("nothing can be derived from `{name}`, which is `{pg_type}`");
            faults.add(at, message);
        }
        found.push(position);
    }
    if let Some(own) = raw.pg_type.get().filter(|own| own.value != PgType::Uuid) {
        let message = format!("what is derived is a UUID, not `{}`", own.value);
        faults.suggest(&own.at, message, Some("uuid".to_owned()));
    }
    Some(ColumnSource::Derived(found))
}

fn pg_type(
    raw: &RawColumn,
    source: &ColumnSource,
    above: Option<&Built>,
    faults: &mut Faults,
) -> Option<PgType> {
    let own = raw.pg_type.get();
    match source {
        ColumnSource::Parent(position) => {
            let theirs = above.and_then(|above| above.known[*position].pg_type);
            if let (Some(own), Some(theirs)) = (own, theirs)
                && own.value != theirs
            {
                let message = format!(
                    "the parent's column is `{theirs}`, this one `{}`",
                    own.value
                );
                faults.suggest(&own.at, message, Some(theirs.to_string()));
            }
            return theirs;
        }
        ColumnSource::Position => {
            if let Some(own) = own.filter(|own| !own.value.is_whole()) {
                let message = format!("a position is a whole number, not `{}`", own.value);
                faults.suggest(&own.at, message, Some("integer".to_owned()));
                return None;
            }
        }
        ColumnSource::Path(_)
        | ColumnSource::FirstOf(_)
        | ColumnSource::MapKey
        | ColumnSource::Set
        | ColumnSource::Derived(_)
        | ColumnSource::Deleted
        | ColumnSource::Constant(_)
        | ColumnSource::Rest
        | ColumnSource::Expression { .. } => {}
    }
    if raw.pg_type.is_absent() && raw.parent.is_absent() {
        faults.add(
            &raw.name.at,
            format!("column `{}` needs a `type`", raw.name.value),
        );
    }
    own.map(|own| own.value)
}

/// What says nothing for a column that takes nothing from the document.
fn meaningless(raw: &RawColumn, faults: &mut Faults) {
    let Some((kind, _)) = sources(raw).into_iter().find(|(kind, _)| *kind != "path") else {
        return;
    };
    let given = [
        ("convert", raw.convert.get().map(|s| &s.at)),
        ("default", raw.default.get().map(|s| &s.at)),
        ("invalid", raw.invalid.get().map(|s| &s.at)),
        ("required", raw.required.get().map(|s| &s.at)),
        ("values", raw.values.get().map(|s| &s.at)),
    ];
    for (key, at) in given {
        // A NUL character may be anywhere, and what an expression gives is nothing but missing.
        let says =
            (kind == "rest" && key == "invalid") || (kind == "expression" && key != "default");
        if let (Some(at), false) = (at, says) {
            faults.add(
                at,
                format!("`{key}` says nothing for a column with `{kind}`"),
            );
        }
    }
}

fn converts(raw: &RawColumn, pg_type: PgType, faults: &mut Faults) {
    let Some(Spotted {
        value: conversion,
        at,
    }) = raw.convert.get()
    else {
        return;
    };
    let scalar = pg_type.scalar();
    let time = scalar.kind() == Kind::Time;
    let (word, gives) = match conversion {
        Conversion::Auto => return,
        Conversion::Text => ("text", scalar.kind() == Kind::Text),
        Conversion::UuidV5 => ("uuid-v5", scalar == PgType::Uuid),
        Conversion::ObjectIdTime => ("object-id-time", time),
        Conversion::EpochSeconds => ("epoch-seconds", time),
        Conversion::EpochMillis => ("epoch-millis", time),
        Conversion::Parse => ("parse", scalar.facts().parsed),
        // Whose values never become the column's: see `reference`.
        Conversion::ObjectId => return,
    };
    if !gives {
        faults.add(at, format!("`convert: {word}` does not give `{pg_type}`"));
    }
}

fn whole_document(pg_type: PgType, root: bool, raw: &RawColumn, faults: &mut Faults) {
    let mut paths = raw.path.value().into_iter().flatten();
    let whole = paths.find(|path| path.value.is_self());
    let json = pg_type.kind() == Kind::Json;
    if let Some(path) = whole.filter(|_| root && !json) {
        let message = format!("the whole document, `.`, is `json` or `jsonb`, not `{pg_type}`");
        faults.suggest(&path.at, message, Some("jsonb".to_owned()));
    }
}
