//! What a table is called.

/// A table's name, with its schema where the mapping gives one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema; `public` unless the mapping says otherwise.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl std::fmt::Display for TableName {
    /// As people write it: without the schema where it is `public`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.schema == "public" {
            f.write_str(&self.name)
        } else {
            write!(f, "{}.{}", self.schema, self.name)
        }
    }
}
