//! `from`: the arrays or maps that a child table's rows come from.

use super::{item::Item, path::path, yaml::Value};
use crate::mapping::{
    fault::{Faults, Spotted},
    raw::{Given, RawElements},
};

/// Reads the sources of a child table: a path, a block, or a list of both.
pub(super) fn read(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<Vec<RawElements>>> {
    let items = match &item.node.value {
        Value::List(_) => item.list("a list of arrays", faults)?,
        Value::Scalar { .. } | Value::Map(_) => vec![item.clone()],
    };
    let count = items.len();
    if count == 0 {
        faults.add(&item.at(), "the list names no array");
    }
    let value: Vec<_> = items.iter().filter_map(|item| one(item, faults)).collect();
    (count > 0 && value.len() == count).then(|| Spotted {
        value,
        at: item.at(),
    })
}

fn one(item: &Item<'_>, faults: &mut Faults) -> Option<RawElements> {
    if let Value::Scalar { .. } = &item.node.value {
        return Some(RawElements {
            at: item.at(),
            path: path(item, faults)?.value,
            map: false,
            set: Vec::new(),
        });
    }
    let mut fields = item.fields("the path of an array, or `path` or `map` and `set`", faults)?;
    let array = fields.given("path", |item| path(item, faults));
    let map = fields.given("map", |item| path(item, faults));
    let mut set = Vec::new();
    if let Some(item) = fields.take("set") {
        for (name, item) in item
            .entries("a block of columns with constants", faults)
            .unwrap_or_default()
        {
            let value = item.text("a constant", faults);
            set.push((name, value.map_or(Given::Faulty, Given::Value)));
        }
    }
    fields.finish(faults);
    let (path, map) = match (&array, &map) {
        (Given::Value(path), Given::Absent) => (path.value.clone(), false),
        (Given::Absent, Given::Value(path)) => (path.value.clone(), true),
        (Given::Value(_), Given::Value(map)) => {
            faults.add(
                &map.at,
                "rows come from an array, `path`, or from a `map`, not from both",
            );
            return None;
        }
        (Given::Absent, Given::Absent) => {
            faults.add(
                &item.at(),
                "`path`, an array, or `map`, a document with free keys, is missing",
            );
            return None;
        }
        (Given::Faulty, _) | (_, Given::Faulty) => return None,
    };
    Some(RawElements {
        at: item.at(),
        path,
        map,
        set,
    })
}
