//! One column of the file, in its long form (a block of keys) or its short one (its type).

use super::yaml::Value;
use super::{
    item::Item,
    name::{names, table_name},
    path::paths,
    word,
};
use crate::mapping::{
    PgType,
    fault::{Faults, Spotted},
    raw::{Given, RawColumn, RawPolicies, RawReference, RawValues},
};

/// Reads a column. `None` where it is neither a type nor a block.
pub(super) fn read(
    name: Spotted<String>,
    item: &Item<'_>,
    faults: &mut Faults,
) -> Option<RawColumn> {
    if let Value::Scalar { .. } = &item.node.value {
        return Some(RawColumn {
            pg_type: pg_type(item, faults).map_or(Given::Faulty, Given::Value),
            ..empty(name)
        });
    }
    let mut fields = item.fields("a column's type or its keys", faults)?;
    let column = RawColumn {
        pg_type: fields.given("type", |item| pg_type(item, faults)),
        path: fields.given("path", |item| paths(item, faults)),
        parent: fields.given("parent", |item| {
            item.text("the name of a parent's column", faults)
        }),
        position: fields.given("position", |item| item.flag(faults)),
        map_key: fields.given("map_key", |item| item.flag(faults)),
        set: fields.given("set", |item| item.flag(faults)),
        derive: fields.given("derive", |item| names(item, faults)),
        constant: fields.given("constant", |item| item.text("a constant", faults)),
        rest: fields.given("rest", |item| item.flag(faults)),
        expression: fields.given("expression", |item| item.text("a CEL expression", faults)),
        generated: fields.given("generated", |item| item.flag(faults)),
        start: fields.given("start", |item| item.text("a whole number", faults)),
        convert: fields.given("convert", |item| item.word(&word::CONVERSIONS, faults)),
        required: fields.given("required", |item| item.flag(faults)),
        default: fields.given("default", |item| item.text("a constant", faults)),
        unique: fields.given("unique", |item| item.flag(faults)),
        index: fields.given("index", |item| item.flag(faults)),
        values: fields.given("values", |item| values(item, faults)),
        invalid: fields.given("invalid", |item| policies(item, faults)),
        references: fields.given("references", |item| reference(item, faults)),
        name,
    };
    // `numeric(8,4)` without quotes inside `{ }` is `numeric(8` and a key `4)`: one fault, not two.
    if matches!(column.pg_type, Given::Faulty) {
        fields.overlook(|key| key.ends_with(')'));
    }
    fields.finish(faults);
    Some(column)
}

fn empty(name: Spotted<String>) -> RawColumn {
    RawColumn {
        name,
        pg_type: Given::Absent,
        path: Given::Absent,
        parent: Given::Absent,
        position: Given::Absent,
        map_key: Given::Absent,
        set: Given::Absent,
        derive: Given::Absent,
        constant: Given::Absent,
        rest: Given::Absent,
        expression: Given::Absent,
        generated: Given::Absent,
        start: Given::Absent,
        convert: Given::Absent,
        required: Given::Absent,
        default: Given::Absent,
        unique: Given::Absent,
        index: Given::Absent,
        values: Given::Absent,
        invalid: Given::Absent,
        references: Given::Absent,
    }
}

fn pg_type(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<PgType>> {
    let text = item.text("a PostgreSQL type", faults)?;
    match word::pg_type(&text.value) {
        Ok(value) => Some(Spotted { value, at: text.at }),
        Err((message, near)) => {
            faults.suggest(&text.at, message, near);
            None
        }
    }
}

/// Reads a list of values, or a block that says what stands for each.
fn values(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<RawValues>> {
    let value = if let Value::Map(_) = &item.node.value {
        let entries = item.entries("a block of values", faults)?;
        let mut pairs = Vec::new();
        let mut whole = true;
        for (from, item) in entries {
            if item.node.is_null() {
                pairs.push((from, None));
                continue;
            }
            match item.text("a constant or null", faults) {
                Some(to) => pairs.push((from, Some(to))),
                None => whole = false,
            }
        }
        whole.then_some(RawValues::Mapped(pairs))?
    } else {
        let items = item.list("a list or a block of values", faults)?;
        let count = items.len();
        let read = items
            .iter()
            .filter_map(|item| item.text("a constant", faults));
        let texts: Vec<_> = read.collect();
        (texts.len() == count).then_some(RawValues::Listed(texts))?
    };
    let empty = match &value {
        RawValues::Listed(texts) => texts.is_empty(),
        RawValues::Mapped(pairs) => pairs.is_empty(),
    };
    if empty {
        faults.add(&item.at(), "there are no values");
        return None;
    }
    Some(Spotted {
        value,
        at: item.at(),
    })
}

fn policies(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<RawPolicies>> {
    if let Value::Scalar { .. } = &item.node.value {
        let policy = item.word(&word::POLICIES, faults)?;
        return Some(Spotted {
            value: RawPolicies::All(policy.value),
            at: policy.at,
        });
    }
    let mut fields = item.fields(
        "`reject`, `null`, `truncate` or a block of policies",
        faults,
    )?;
    let mut policy = |name| fields.given(name, |item| item.word(&word::POLICIES, faults));
    let value = RawPolicies::Each {
        wrong_type: policy("wrong_type"),
        too_long: policy("too_long"),
        nul: policy("nul"),
        out_of_range: policy("out_of_range"),
        unlisted: policy("unlisted"),
    };
    fields.finish(faults);
    Some(Spotted {
        value,
        at: item.at(),
    })
}

fn reference(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<RawReference>> {
    if let Value::Scalar { text, .. } = &item.node.value {
        let meant = (!item.node.is_null()).then(|| format!("{{ table: {text} }}"));
        faults.suggest(&item.at(), "a reference is a block of keys", meant);
        return None;
    }
    let mut fields = item.fields("a reference's keys", faults)?;
    let value = RawReference {
        table: fields.given("table", |item| table_name(item, faults)),
        by: fields.given("by", |item| item.word(&word::REFERENCE_BY, faults)),
        on_missing: fields.given("on_missing", |item| item.word(&word::ON_MISSING, faults)),
        on_delete: fields.given("on_delete", |item| item.word(&word::ON_DELETE, faults)),
    };
    fields.finish(faults);
    if value.table.is_absent() {
        faults.add(&item.at(), "a reference needs a `table`");
    }
    Some(Spotted {
        value,
        at: item.at(),
    })
}
