//! Policies: what becomes of values that do not fit, where it means something.

use super::built::Built;
use crate::mapping::{
    ColumnSource, Conversion, PgType, Policies, Policy,
    fault::{At, Faults, Spotted},
    pg_type::facts::Kind,
    raw::{Given, RawColumn, RawPolicies},
};

/// What can be wrong with a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Type,
    Long,
    Nul,
    Range,
    Unlisted,
}

/// Judges the policies of a column and gives them to it.
pub(super) fn judge(raw: &RawColumn, position: usize, built: &mut Built, faults: &mut Faults) {
    let Some(Spotted { value, at }) = raw.invalid.get() else {
        return;
    };
    let Some(pg_type) = built.known[position].pg_type else {
        return;
    };
    let column = &mut built.table.columns[position];
    if !column.source.is_converted() && column.source != ColumnSource::Rest {
        return;
    }
    // The rest of a document is never null by itself.
    let required = column.required && column.source.is_converted();
    let listed = !raw.values.is_absent();
    column.invalid = match value {
        RawPolicies::All(policy) => all(*policy, (pg_type, listed), required, at, faults),
        RawPolicies::Each {
            wrong_type,
            too_long,
            nul,
            out_of_range,
            unlisted,
        } => {
            let mut each = |given: &Given<Policy>, key, wrong| {
                let Some(Spotted { value: policy, at }) = given.get() else {
                    return Policy::Reject;
                };
                one(
                    *policy,
                    (key, wrong),
                    (pg_type, column.conversion, listed),
                    required,
                    at,
                    faults,
                );
                *policy
            };
            Policies {
                wrong_type: each(wrong_type, "wrong_type", Wrong::Type),
                too_long: each(too_long, "too_long", Wrong::Long),
                nul: each(nul, "nul", Wrong::Nul),
                out_of_range: each(out_of_range, "out_of_range", Wrong::Range),
                unlisted: each(unlisted, "unlisted", Wrong::Unlisted),
            }
        }
    };
}

/// One word for everything: it counts where it can.
fn all(
    policy: Policy,
    (pg_type, listed): (PgType, bool),
    required: bool,
    at: &At,
    faults: &mut Faults,
) -> Policies {
    let cut = |wrong| {
        if happens(wrong, pg_type, Conversion::Auto, listed) {
            Policy::Truncate
        } else {
            Policy::Reject
        }
    };
    match policy {
        Policy::Reject => Policies::default(),
        Policy::Null => {
            not_null(required, at, faults);
            Policies {
                wrong_type: policy,
                too_long: policy,
                nul: policy,
                out_of_range: policy,
                unlisted: policy,
            }
        }
        Policy::Truncate => {
            if cut(Wrong::Nul) == Policy::Reject {
                faults.add(at, format!("there is nothing to truncate in `{pg_type}`"));
            }
            Policies {
                too_long: cut(Wrong::Long),
                nul: cut(Wrong::Nul),
                ..Policies::default()
            }
        }
    }
}

fn one(
    policy: Policy,
    (key, wrong): (&str, Wrong),
    (pg_type, conversion, listed): (PgType, Conversion, bool),
    required: bool,
    at: &At,
    faults: &mut Faults,
) {
    if !happens(wrong, pg_type, conversion, listed) {
        let to = match wrong {
            Wrong::Unlisted => "a column without `values`".to_owned(),
            Wrong::Type | Wrong::Long | Wrong::Nul | Wrong::Range => format!("`{pg_type}`"),
        };
        faults.add(at, format!("`{key}` cannot happen to {to}"));
    } else if policy == Policy::Truncate
        && matches!(wrong, Wrong::Type | Wrong::Range | Wrong::Unlisted)
    {
        faults.add(
            at,
            format!("`{key}` cannot be mended by truncating: `reject` or `null`"),
        );
    } else if policy == Policy::Null {
        not_null(required, at, faults);
    }
}

fn not_null(required: bool, at: &At, faults: &mut Faults) {
    if required {
        faults.add(at, "a required column cannot become null");
    }
}

/// Whether that can be wrong with a value for such a column at all.
fn happens(wrong: Wrong, pg_type: PgType, conversion: Conversion, listed: bool) -> bool {
    // What is no array is of the wrong type for one; the rest can be wrong with each element.
    let kind = pg_type.scalar().kind();
    match wrong {
        Wrong::Unlisted => listed,
        Wrong::Type => {
            pg_type.is_array() || (kind != Kind::Json && conversion != Conversion::UuidV5)
        }
        Wrong::Long => pg_type.length().is_some(),
        Wrong::Nul => matches!(kind, Kind::Json | Kind::Text),
        Wrong::Range => matches!(kind, Kind::Whole { .. } | Kind::Number | Kind::Time),
    }
}
