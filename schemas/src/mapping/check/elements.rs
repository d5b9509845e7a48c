//! Where the rows of a child table come from, and what its columns take from there.

use super::{built::Built, constant};
use crate::mapping::{
    ColumnSource, Elements, PgType, RowSource,
    fault::{At, Faults, Spotted, nearest},
    pg_type::facts::Kind,
    raw::{RawColumn, RawElements, RawTable},
};

/// The sources of a table's rows; those of a child table are judged later, by [`judge`].
pub(super) fn rows(raw: &RawTable, above: Option<&Built>, faults: &mut Faults) -> RowSource {
    let (Some(above), Some(from)) = (above, raw.from.get()) else {
        return RowSource::Document;
    };
    let mut elements = Vec::new();
    for source in &from.value {
        if source.path.is_self() && above.table.rows == RowSource::Document {
            let message = "`.` is the element of the table above, which a collection's own table does not have";
            faults.add(&source.at, message);
        }
        let twice = |other: &Elements| other.path == source.path;
        if elements.iter().any(twice) {
            faults.add(&source.at, format!("`{}` stands twice", source.path));
        }
        elements.push(Elements {
            path: source.path.clone(),
            map: source.map,
            set: Vec::new(),
        });
    }
    RowSource::Elements(elements)
}

/// Judges what columns take from the sources, and gives the sources the constants they set.
pub(super) fn judge(raw: &RawTable, built: &mut Built, faults: &mut Faults) {
    let Some(from) = raw.from.get() else { return };
    for (position, column) in raw.columns.iter().enumerate() {
        fits_sources(column, position, &from.value, built, faults);
    }
    several(raw, &from.value, built, faults);
    let mut sets = Vec::new();
    for source in &from.value {
        sets.push(constants(source, raw, built, faults));
    }
    if let RowSource::Elements(elements) = &mut built.table.rows {
        for (element, set) in elements.iter_mut().zip(sets) {
            element.set = set;
        }
    }
}

fn fits_sources(
    raw: &RawColumn,
    position: usize,
    sources: &[RawElements],
    built: &Built,
    faults: &mut Faults,
) {
    let maps = sources.iter().filter(|source| source.map).count();
    match built.table.columns[position].source {
        ColumnSource::MapKey => {
            if let Some(flag) = raw.map_key.get()
                && maps < sources.len()
            {
                faults.add(&flag.at, "an array's elements have positions, not names");
            }
            let text = |t: &PgType| t.kind() == Kind::Text || *t == PgType::Uuid;
            if let Some(own) = raw.pg_type.get().filter(|own| !text(&own.value)) {
                let message = format!("a name is text or a UUID, not `{}`", own.value);
                faults.suggest(&own.at, message, Some("text".to_owned()));
            }
        }
        ColumnSource::Position if maps > 0 => {
            if let Some(flag) = raw.position.get() {
                let message = "a map's fields have names, not positions";
                faults.suggest(&flag.at, message, Some("map_key: true".to_owned()));
            }
        }
        ColumnSource::Path(_)
        | ColumnSource::FirstOf(_)
        | ColumnSource::Rest
        | ColumnSource::Expression { .. }
        | ColumnSource::Parent(_)
        | ColumnSource::Position
        | ColumnSource::Constant(_)
        | ColumnSource::Set
        | ColumnSource::Deleted
        | ColumnSource::Derived(_) => {}
    }
}

/// Positions tell the elements of one array apart, not those of several.
fn several(raw: &RawTable, sources: &[RawElements], built: &Built, faults: &mut Faults) {
    let Some(key) = raw.key.get().filter(|_| sources.len() > 1) else {
        return;
    };
    let own = |source: &ColumnSource| match source {
        ColumnSource::Path(_)
        | ColumnSource::FirstOf(_)
        | ColumnSource::Expression { .. }
        | ColumnSource::Set => true,
        ColumnSource::Derived(of) => of.iter().any(|&c| {
            let of = &built.table.columns[c].source;
            of.is_converted() || *of == ColumnSource::Set
        }),
        ColumnSource::Rest
        | ColumnSource::Parent(_)
        | ColumnSource::Position
        | ColumnSource::MapKey
        | ColumnSource::Deleted
        | ColumnSource::Constant(_) => false,
    };
    let known = built.table.key.iter().all(|&p| built.known[p].source);
    let mut sources = built
        .table
        .key
        .iter()
        .map(|&p| &built.table.columns[p].source);
    if known && !built.table.key.is_empty() && !sources.any(own) {
        faults.add(
            &key.at,
            "nothing tells the elements of several arrays apart: add a column with `set: true` to the key",
        );
    }
}

fn constants(
    source: &RawElements,
    raw: &RawTable,
    built: &Built,
    faults: &mut Faults,
) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut given = Vec::new();
    for (Spotted { value: name, at }, text) in &source.set {
        let Some(position) = built.table.column(name) else {
            if built.complete {
                let near = nearest(name, built.table.columns.iter().map(|c| c.name.as_str()));
                faults.suggest(at, format!("the table has no column `{name}`"), near);
            }
            continue;
        };
        given.push(position);
        if built.table.columns[position].source != ColumnSource::Set {
            if built.known[position].source {
                faults.add(at, format!("`{name}` is not declared with `set: true`"));
            }
            continue;
        }
        if let Some(text) = text.get() {
            if let Some(pg_type) = built.known[position].pg_type
                && let Err(why) = constant::fits(&text.value, pg_type)
            {
                faults.add(&text.at, why);
            }
            found.push((position, text.value.clone()));
        }
    }
    for (position, column) in raw.columns.iter().enumerate() {
        let set = built.table.columns[position].source == ColumnSource::Set;
        if set && !given.contains(&position) {
            lacks(
                &source.at,
                &column.name.value,
                &source.path.to_string(),
                faults,
            );
        }
    }
    found
}

fn lacks(at: &At, column: &str, path: &str, faults: &mut Faults) {
    faults.add(at, format!("`set` lacks `{column}` for `{path}`"));
}
