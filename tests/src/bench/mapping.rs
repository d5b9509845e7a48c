//! FinLit's mapping with nothing in it but the learners.

use crate::failure::{Failure, Result};

const WHOLE: &str = include_str!("../../../schemas/examples/finlit/mapping.yaml");
/// The database in it.
const MAPPED_DATABASE: &str = "\ndatabase: finlit\n";

/// The mapping of `learners` in a database.
///
/// # Errors
/// When FinLit's mapping no longer has the form in which the learners come first.
pub fn learners(database: &str) -> Result<String> {
    let unknown = || Failure::new("FinLit's mapping no longer begins with its learners");
    let start = WHOLE.find("\n  learners:\n").ok_or_else(unknown)?;
    let next = WHOLE[start + 1..].find("\n\n").ok_or_else(unknown)?;
    let text = &WHOLE[..=start + 1 + next];
    let own = format!("\ndatabase: {database}\n");
    if !text.contains(MAPPED_DATABASE) {
        return Err(unknown());
    }
    Ok(text.replace(MAPPED_DATABASE, &own))
}

#[cfg(test)]
mod tests {
    use leafcutter_schemas::mapping::parse;

    #[test]
    fn only_the_learners_are_left_with_their_19_columns() {
        let mapping = parse::load(&super::learners("b").unwrap(), "mapping").unwrap();
        let tables: Vec<_> = mapping.tables().collect();
        assert_eq!(tables.len(), 1);
        let (collection, table) = tables[0];
        assert_eq!(
            (collection.name.as_str(), table.columns.len()),
            ("learners", 19)
        );
        assert_eq!(mapping.databases(), ["b"]);
    }
}
