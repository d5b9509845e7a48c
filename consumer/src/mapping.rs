//! The mapping file → the compiled model, or everything that is wrong with it; and what is said where it is not
//! the one in force.

use leafcutter_runtime::{
    exit::Exit,
    file,
    report::{Failure, Fault},
};
use leafcutter_schemas::mapping::{Change, Mapping, parse};
use leafcutter_sink::model::Model;
use leafcutter_sink::state::mappings::OtherMapping;
use std::path::Path;

/// Loads and compiles the mapping.
///
/// # Errors
/// Every fault of the file.
pub fn load(path: &Path, prefix: &str) -> Result<Model, Failure> {
    let mapping = file::load("mapping", path, parse::load).map_err(|faults| Failure {
        exit: Exit::Settings,
        faults,
    })?;
    compile(mapping, path, prefix)
}

/// Compiles a mapping that was read from `path`.
///
/// # Errors
/// When it is sound by itself and cannot be used, with this prefix or at all.
pub fn compile(mapping: Mapping, path: &Path, prefix: &str) -> Result<Model, Failure> {
    Model::compile(mapping, prefix).map_err(|error| {
        let fault = Fault::new(
            "could not use the mapping",
            format!("`{}`", path.display()),
            error.to_string(),
            "Correct the mapping, or choose another --prefix.",
        );
        Failure::one(Exit::Settings, fault)
    })
}

/// Collections that are named of those that differ, and what differs of each.
const COLLECTIONS_SHOWN: usize = 5;
const WORDS_SHOWN: usize = 3;

/// Another mapping is in force in the group: why that does not go, and what does. All programs say the same.
pub fn not_in_force(
    what: &str,
    (path, group): (Option<&Path>, &str),
    other: &OtherMapping,
) -> Failure {
    let row = &other.in_force;
    let why = format!(
        "generation {}, mapping {}, is in force since {}; it differs in {}",
        row.generation,
        row.hash,
        row.since,
        difference(&other.changes)
    );
    let place = match path {
        Some(path) => format!("`{}`, group `{group}`", path.display()),
        None => format!("group `{group}`"),
    };
    let next = "See what it changes: leafcutter plan --postgres. Put it in force: leafcutter plan --apply. Or \
                give the file that is in force: leafcutter plan --in-force prints it. Nothing was changed.";
    Failure::one(Exit::StateMismatch, Fault::new(what, place, why, next))
}

/// The collections that differ, in words.
pub fn difference(changes: &[Change]) -> String {
    let shown = changes.iter().take(COLLECTIONS_SHOWN);
    let mut words: Vec<String> = shown
        .map(|change| {
            let what: Vec<&str> = change.what.iter().map(String::as_str).collect();
            let first = what[..what.len().min(WORDS_SHOWN)].join(", ");
            let more = what.len().saturating_sub(WORDS_SHOWN);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("{}.{} ({first}{more})", change.database, change.collection)
        })
        .collect();
    let more = changes.len().saturating_sub(COLLECTIONS_SHOWN);
    if more > 0 {
        words.push(format!("{more} more collections"));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use leafcutter_schemas::mapping::Effect;

    #[test]
    fn what_differs_is_named_and_not_without_an_end() {
        let change = |name: usize, words: usize| Change {
            database: "d".to_owned(),
            collection: format!("c{name}"),
            what: (0..words).map(|n| format!("w{n}")).collect(),
            effect: Effect::Roots,
        };
        assert_eq!(difference(&[change(1, 2)]), "d.c1 (w0, w1)");
        let many: Vec<Change> = (0..8).map(|n| change(n, 5)).collect();
        let words = difference(&many);
        assert!(
            words.starts_with("d.c0 (w0, w1, w2 and 2 more), d.c1"),
            "{words}"
        );
        assert!(words.ends_with(", 3 more collections"), "{words}");
    }
}
