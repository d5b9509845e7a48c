//! Names in SQL: the only place that quotes an identifier. Values never stand in a statement's text; they
//! come by COPY or as parameters.

use leafcutter_schemas::mapping::TableName;

/// Quotes an identifier (PostgreSQL manual, 4.1.1).
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Quotes a text as a literal that means the same whatever `standard_conforming_strings` is (PostgreSQL manual, 4.1.2.2).
pub fn literal(text: &str) -> String {
    let text = text.replace('\'', "''");
    if text.contains('\\') {
        return format!("E'{}'", text.replace('\\', "\\\\"));
    }
    format!("'{text}'")
}

/// A table's name with its schema, quoted.
pub fn qualified(name: &TableName) -> String {
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

/// Names, or conditions, with commas between them.
pub(crate) fn list(columns: impl IntoIterator<Item = String>) -> String {
    columns.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_doubled() {
        assert_eq!(literal("o'neil"), "'o''neil'");
        assert_eq!(literal(r"o'n\eil"), r"E'o''n\\eil'");
        assert_eq!(quote(r#"o"n\eil"#), r#""o""n\eil""#);
    }
}
