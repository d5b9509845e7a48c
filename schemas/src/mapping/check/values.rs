//! The values that a column may have: constants of its type.

use super::{built::Built, constant};
use crate::mapping::{
    Conversion, PgType, Values,
    fault::{Faults, Spotted},
    pg_type::facts::Kind,
    raw::{RawColumn, RawValues},
};

/// Judges the values of a column and gives them to it.
pub(super) fn judge(raw: &RawColumn, position: usize, built: &mut Built, faults: &mut Faults) {
    let Some(Spotted { value: values, at }) = raw.values.get() else {
        return;
    };
    let column = &mut built.table.columns[position];
    if !column.source.is_converted() {
        return;
    }
    let Some(pg_type) = built.known[position].pg_type.map(PgType::scalar) else {
        return;
    };
    if pg_type.kind() == Kind::Json {
        faults.add(at, format!("a `{pg_type}` cannot be one of several values"));
        return;
    }
    match values {
        RawValues::Listed(texts) => {
            for (index, text) in texts.iter().enumerate() {
                fits(text, pg_type, faults);
                if texts[..index]
                    .iter()
                    .any(|before| before.value == text.value)
                {
                    faults.add(&text.at, format!("`{}` stands twice", text.value));
                }
            }
            let default = raw.default.get().filter(|default| {
                !column.pg_type.is_array() && !texts.iter().any(|text| text.value == default.value)
            });
            if let Some(default) = default {
                let message = format!("`{}` is none of the column's values", default.value);
                faults.add(&default.at, message);
            }
            let texts = texts.iter().map(|text| text.value.clone());
            column.values = Some(Values::Listed(texts.collect()));
        }
        RawValues::Mapped(pairs) => {
            if let Some(convert) = raw.convert.get().filter(|c| c.value != Conversion::Auto) {
                let message = "`convert` says nothing where `values` say what stands for each";
                faults.add(&convert.at, message);
            }
            for (from, to) in pairs {
                match to {
                    Some(to) => fits(to, pg_type, faults),
                    None if column.required && !column.pg_type.is_array() => {
                        faults.add(&from.at, "a required column cannot become null");
                    }
                    None => {}
                }
            }
            let pairs = pairs.iter().map(|(from, to)| {
                let to = to.as_ref().map(|to| to.value.clone());
                (from.value.clone(), to)
            });
            column.values = Some(Values::Mapped(pairs.collect()));
        }
    }
}

fn fits(text: &Spotted<String>, pg_type: PgType, faults: &mut Faults) {
    if let Err(why) = constant::fits(&text.value, pg_type) {
        faults.add(&text.at, why);
    }
}
