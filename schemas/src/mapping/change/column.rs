//! What differs in a column, and what that means for the values that are there.

use super::{
    super::{
        Column, Conversion, PgType, Policies, Policy, Reference, ReferenceBy, Values,
        pg_type::facts::Kind,
    },
    Effect,
};

/// What differs in a column beside its source; an effect on rows stands for those of its table.
pub(super) fn of_column(old: &Column, new: &Column) -> Vec<(&'static str, Effect)> {
    let Column {
        name: _,
        pg_type,
        source: _,
        conversion,
        required,
        default,
        values,
        invalid,
        reference: _,
        generated,
    } = new;
    let mut all = Vec::new();
    let mut note = |differs: bool, what: &'static str, takes_more: bool| {
        if differs {
            let effect = if takes_more {
                Effect::DeadLetters
            } else {
                Effect::Roots
            };
            all.push((what, effect));
        }
    };
    note(
        old.pg_type != *pg_type,
        "the type",
        is_longer(old.pg_type, *pg_type),
    );
    note(
        old.conversion != *conversion,
        "the conversion",
        converts_more(old, new),
    );
    note(old.required != *required, "`required`", old.required);
    note(old.default != *default, "the default", false);
    note(
        old.values != *values,
        "the values",
        lists_more(old.values.as_ref(), values.as_ref()),
    );
    note(
        old.invalid != *invalid,
        "`invalid`",
        refuses_less(old.invalid, *invalid),
    );
    note(
        old.generated.is_some() != generated.is_some(),
        "`generated`",
        false,
    );
    let pointed = |column: &Column| {
        column.reference.as_ref().map(|reference| {
            let Reference {
                table,
                column,
                by,
                on_missing,
                on_delete: _,
            } = reference;
            (table.clone(), column.clone(), *by, *on_missing)
        })
    };
    let by_id = [old, new].iter().any(|column| {
        let reference = column.reference.as_ref();
        reference.is_some_and(|reference| reference.by == ReferenceBy::Id)
    });
    match (pointed(old), pointed(new)) {
        (before, after) if before == after => {
            let goes = |column: &Column| column.reference.as_ref().map(|r| r.on_delete);
            if goes(old) != goes(new) {
                all.push(("`on_delete`", Effect::Nothing));
            }
        }
        // By its key it only says where the value is found, too.
        (None, Some(_)) if !by_id => all.push(("the reference", Effect::Nothing)),
        (Some(_), None) if !by_id => all.push(("the reference", Effect::DeadLetters)),
        _ => all.push(("the reference", Effect::Roots)),
    }
    all
}

/// Whether it takes all text that it took before, and more.
fn is_longer(old: PgType, new: PgType) -> bool {
    let text = [old, new].iter().all(|of| of.kind() == Kind::Text);
    text && match (old.length(), new.length()) {
        (Some(before), Some(after)) => before < after,
        (before, None) => before.is_some(),
        (None, Some(_)) => false,
    }
}

/// Whether what was converted before is converted as before, and more is. Text of text is the same text.
fn converts_more(old: &Column, new: &Column) -> bool {
    let is_text = |column: &Column| column.pg_type.kind() == Kind::Text;
    (old.conversion, new.conversion) == (Conversion::Auto, Conversion::Text)
        && is_text(old)
        && is_text(new)
}

fn lists_more(old: Option<&Values>, new: Option<&Values>) -> bool {
    match (old, new) {
        (Some(Values::Listed(_)), None) => true,
        (Some(Values::Listed(before)), Some(Values::Listed(after))) => {
            before.iter().all(|value| after.contains(value))
        }
        _ => false,
    }
}

/// Whether nothing differs but what was rejected before.
fn refuses_less(old: Policies, new: Policies) -> bool {
    let each = |policies: Policies| {
        let Policies {
            wrong_type,
            too_long,
            nul,
            out_of_range,
            unlisted,
        } = policies;
        [wrong_type, too_long, nul, out_of_range, unlisted]
    };
    let mut pairs = each(old).into_iter().zip(each(new));
    pairs.all(|(before, after)| before == after || before == Policy::Reject)
}
