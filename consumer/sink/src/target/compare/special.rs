//! Tables that are more than plain ones: what of that keeps rows from being written as they should.

use super::disagreement::{Disagreement, Kind, alter};
use crate::{
    names::{qualified, quote},
    target::special::{Secured, Special},
};
use leafcutter_schemas::mapping::TableName;

pub(super) fn judge(name: &TableName, special: &Special, all: &mut Vec<Disagreement>) {
    all.extend(rules(name, &special.rules));
    all.extend(heirs(name, &special.heirs));
    all.extend(
        special
            .secured_from
            .as_ref()
            .map(|secured| row_security(name, secured)),
    );
    if special.unlogged {
        let means = "a crash of the server empties it, and its records are not read again";
        let unlogged = Disagreement::new(Kind::Unlogged, name, &[], means);
        let unlogged = unlogged.says("a table that stays", "unlogged");
        all.push(unlogged.mended_by(alter(name, "set logged")));
    }
}

fn named(kind: &str, names: &[String]) -> String {
    let plural = if names.len() > 1 { "s" } else { "" };
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{kind}{plural} {}", names.join(", "))
}

fn rules(name: &TableName, rules: &[String]) -> Option<Disagreement> {
    let means = "PostgreSQL refuses `on conflict` there, so that no changed row can be written";
    let told = Disagreement::new(Kind::Rules, name, &[], means).says(
        "rows that are inserted or updated",
        named("rule", rules) + " on insert or update",
    );
    let drop = |rule: &String| format!("drop rule {} on {}", quote(rule), qualified(name));
    let mended = rules.iter().map(drop);
    let told = mended.fold(told, Disagreement::mended_by);
    (!rules.is_empty()).then(|| told.or("a trigger that does the same"))
}

fn heirs(name: &TableName, heirs: &[String]) -> Option<Disagreement> {
    let means = "their rows count as its rows, but no key is unique over both: a row there is written again";
    let told = Disagreement::new(Kind::Inherited, name, &[], means)
        .says("a table", named("a table with the heir", heirs))
        .or("`partition by`; a view over tables that do not inherit; or another table in the mapping");
    (!heirs.is_empty()).then_some(told)
}

fn row_security(name: &TableName, secured: &Secured) -> Disagreement {
    let means = "rows that it may not see are neither compared nor deleted, without an error";
    let user = quote(&secured.user);
    let bypass = format!("`alter role {user} bypassrls`");
    let told = Disagreement::new(Kind::RowSecurity, name, &[], means).says(
        "every row",
        format!(
            "row security, by which {user} {}",
            if secured.restricted {
                "is restricted"
            } else {
                "may not see and write every row"
            }
        ),
    );
    if secured.restricted {
        return told.or(format!("{bypass}, or no restrictive policy for it"));
    }
    told.mended_by(format!(
        "create policy leafcutter on {} to {user} using (true) with check (true)",
        qualified(name)
    ))
    .or(bypass)
}
