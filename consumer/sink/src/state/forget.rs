//! What the state knows of some collections, forgotten as a whole: afterwards they are as new.
//!
//! Positions, gates and counters stand there by topic, what is known of documents by table, so no table has to
//! be read for it. What is kept of the application's rows, and how tables were found, is not forgotten here:
//! both outlive a collection.

use crate::session::Session;
use tokio_postgres::Error;

/// By what a table of the state knows a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Topic,
    Table,
    /// By nothing, or it stays.
    Nothing,
}

const KNOWN: [(&str, By); 21] = [
    ("meta", By::Nothing),
    ("offsets", By::Topic),
    ("gates", By::Topic),
    ("tombstones", By::Table),
    ("parked", By::Table),
    ("held", By::Table),
    ("dead_letters", By::Topic),
    ("cascaded_rows", By::Table),
    ("key_map", By::Table),
    ("retained_records", By::Table),
    ("consumers", By::Nothing),
    ("breakers", By::Topic),
    ("resnapshots", By::Topic),
    ("pauses", By::Topic),
    ("unmapped_fields", By::Topic),
    ("mappings", By::Nothing),
    ("older_rows", By::Topic),
    ("origins", By::Nothing),
    ("undo", By::Nothing),
    ("stagings", By::Nothing),
    ("deferred_constraints", By::Nothing),
];

/// Forgets collections: their topics, and their tables by their names in the state.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn forget(session: &mut Session, topics: &[&str], tables: &[&str]) -> Result<(), Error> {
    for (table, by) in KNOWN {
        let (column, names) = match by {
            By::Topic => ("topic", topics),
            By::Table => ("table_name", tables),
            By::Nothing => continue,
        };
        let sql = format!("delete from leafcutter.{table} where {column} = any($1)");
        session.execute(&sql, &[&names]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::TABLES;

    #[test]
    fn no_table_of_the_state_is_forgotten_here() {
        assert_eq!(KNOWN.map(|(table, _)| table), TABLES);
    }
}
