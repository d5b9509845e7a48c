//! Names in SQL: the only place that quotes an identifier. Values never stand in a statement's text; they
//! come by COPY or as parameters.

use leafcutter_schemas::mapping::TableName;

/// Quotes an identifier (PostgreSQL manual, 4.1.1).
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Quotes a text as a literal; used for names of tables only.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table's name with its schema, quoted.
pub fn qualified(name: &TableName) -> String {
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

/// Names, or conditions, with commas between them.
pub(crate) fn list(columns: impl IntoIterator<Item = String>) -> String {
    columns.into_iter().collect::<Vec<_>>().join(", ")
}
