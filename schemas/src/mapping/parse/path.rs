//! Paths: where in a document or an element a value is.

use super::{item::Item, yaml::Value};
use crate::mapping::{
    Path,
    fault::{Faults, Spotted},
};

/// Reads a path.
pub(super) fn path(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<Path>> {
    let text = item.text("a path", faults)?;
    let Some(value) = Path::parse(&text.value) else {
        let message = format!(
            "`{}` is not a path: steps are separated by single dots, a dot in a name is written `\\.`",
            text.value
        );
        faults.add(&text.at, message);
        return None;
    };
    Some(Spotted { value, at: text.at })
}

/// Reads one path or a list of them.
pub(super) fn paths(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<Vec<Spotted<Path>>>> {
    if !matches!(item.node.value, Value::List(_)) {
        let path = path(item, faults)?;
        return Some(Spotted {
            at: path.at.clone(),
            value: vec![path],
        });
    }
    let items = item.list("a path or a list of paths", faults)?;
    let count = items.len();
    let value: Vec<_> = items.iter().filter_map(|item| path(item, faults)).collect();
    if count == 0 {
        faults.add(&item.at(), "the list names no path");
    }
    (count > 0 && value.len() == count).then(|| Spotted {
        value,
        at: item.at(),
    })
}
