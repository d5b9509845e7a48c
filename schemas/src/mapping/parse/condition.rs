//! `where`: a block of paths, each with what its value must be, or a CEL expression.

use super::{item::Item, yaml::Value};
use crate::mapping::{
    Path,
    condition::{Condition, Filter, Is, Literal},
    fault::{Faults, Spotted},
};

/// Reads which documents or elements a table takes.
pub(super) fn read(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<Filter>> {
    let expected = "a block of conditions such as `{ kind: basic }`, or a CEL expression,";
    let value = match &item.node.value {
        Value::Scalar { .. } => Filter::Expression(item.text(expected, faults)?.value),
        Value::List(_) | Value::Map(_) => Filter::Block(block(item, expected, faults)?),
    };
    Some(Spotted {
        value,
        at: item.at(),
    })
}

fn block(item: &Item<'_>, expected: &str, faults: &mut Faults) -> Option<Vec<Condition>> {
    let entries = item.entries(expected, faults)?;
    if entries.is_empty() {
        faults.add(&item.at(), "the block names no condition");
        return None;
    }
    let count = entries.len();
    let mut value = Vec::with_capacity(count);
    for (key, item) in entries {
        let path = Path::parse(&key.value);
        if path.is_none() {
            let message = format!(
                "`{}` is not a path: steps are separated by single dots, a dot in a name is written `\\.`",
                key.value
            );
            faults.add(&key.at, message);
        }
        let is = condition(&item, faults);
        if let (Some(path), Some(is)) = (path, is) {
            value.push(Condition { path, is });
        }
    }
    (value.len() == count).then_some(value)
}

fn condition(item: &Item<'_>, faults: &mut Faults) -> Option<Is> {
    match &item.node.value {
        Value::Scalar { text, plain: true } if text == "exists" => Some(Is::Exists),
        Value::Scalar { text, plain: true } if text == "missing" => Some(Is::Missing),
        Value::Scalar { .. } => Some(Is::OneOf(vec![literal(item, faults)?])),
        Value::List(_) | Value::Map(_) => {
            let expected = "`exists`, `missing`, a constant or a list of constants";
            let items = item.list(expected, faults)?;
            if items.is_empty() {
                faults.add(&item.at(), "the list names no constant");
                return None;
            }
            let literals: Vec<_> = items.iter().map(|item| literal(item, faults)).collect();
            literals.into_iter().collect::<Option<_>>().map(Is::OneOf)
        }
    }
}

fn literal(item: &Item<'_>, faults: &mut Faults) -> Option<Literal> {
    match &item.node.value {
        Value::Scalar { text, plain } if !item.node.is_null() => Some(Literal::of(text, *plain)),
        Value::Scalar { text, .. } if !text.is_empty() => {
            let message = "null is no constant here: `missing` means not there, or null";
            faults.suggest(&item.at(), message, Some("missing".to_owned()));
            None
        }
        _ => {
            item.wrong("a constant", faults);
            None
        }
    }
}
