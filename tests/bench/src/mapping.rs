//! FinLit's mapping with nothing in it but the learners.

use leafcutter_finlit::MAPPING;
use leafcutter_harness::failure::{Failure, Result};

/// The mapping of `learners` alone.
///
/// # Errors
/// When FinLit's mapping no longer has the form in which the learners come first.
pub fn learners() -> Result<&'static str> {
    let unknown = || Failure::new("FinLit's mapping no longer begins with its learners");
    let start = MAPPING.find("\n  learners:\n").ok_or_else(unknown)?;
    let next = MAPPING[start + 1..].find("\n\n").ok_or_else(unknown)?;
    Ok(&MAPPING[..=start + 1 + next])
}

#[cfg(test)]
mod tests {
    use leafcutter_schemas::mapping::parse;

    #[test]
    fn only_the_learners_are_left_with_their_19_columns() {
        let mapping = parse::load(super::learners().unwrap(), "mapping").unwrap();
        let tables: Vec<_> = mapping.tables().collect();
        assert_eq!(tables.len(), 1);
        let (collection, table) = tables[0];
        assert_eq!(
            (collection.name.as_str(), table.columns.len()),
            ("learners", 19)
        );
        assert_eq!(mapping.databases(), ["finlit"]);
    }
}
