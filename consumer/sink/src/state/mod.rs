//! Schema `leafcutter`: Leafcutter's own state, one file for each table.
//!
//! A file holds its table's row type and all SQL that names the table, for the sink and for the
//! operator. Everything that a batch writes here is written in the transaction that applies the batch.
//! Tables and topics stand here by name, since the operator looks at them without a mapping. A
//! document's root row stands as (`table_name`, `row_key`): the table's name in the state and the bytes
//! of the row's key, or of the document's own key where the row's does not follow from `_id`.

pub mod schema;
pub mod offsets;
pub mod gates;
pub mod tombstones;
pub mod parked;
pub mod held;
pub mod dead_letters;
pub mod cascaded_rows;
pub mod key_map;
pub mod retained_records;
pub mod consumers;
pub mod breakers;
pub mod pauses;
pub mod resnapshots;
pub mod mappings;
pub mod older_rows;
pub mod unmapped_fields;
pub mod origins;
pub mod undo;
pub mod stagings;
pub mod deferred_constraints;
pub mod forget;
pub mod exchange;
pub mod finished;
pub mod removal;
pub(crate) mod swept;
mod flags;

pub use flags::StateFlags;

use leafcutter_schemas::version::Version;

/// Leafcutter's tables.
pub const TABLES: [&str; 21] = [
    "meta",
    "offsets",
    "gates",
    "tombstones",
    "parked",
    "held",
    "dead_letters",
    "cascaded_rows",
    "key_map",
    "retained_records",
    "consumers",
    "breakers",
    "resnapshots",
    "pauses",
    "unmapped_fields",
    "mappings",
    "older_rows",
    "origins",
    "undo",
    "stagings",
    "deferred_constraints",
];
/// Its functions.
pub const FUNCTIONS: [&str; 2] = ["index_key", "keep_for_undo"];

/// A document's key in the state, with a version.
pub type KeyVersion<'a> = (&'a [u8], Version);

/// What the indexes of the state hold in place of a key of any length, as an expression (layout 8).
fn index_key(key: &str) -> String {
    format!("leafcutter.index_key({key})")
}

/// Whether a stored key is this one, as a condition: found by its index, then compared as a whole, since
/// the index holds hashes of long keys.
fn is_key(stored: &str, key: &str) -> String {
    format!(
        "{} = {} and {stored} = {key}",
        index_key(stored),
        index_key(key)
    )
}

/// The keys in `$2`, each once, as `k.k`.
const KEYS: &str = "(select distinct k from unnest($2::bytea[]) as k(k)) k";

/// Keys and versions as two parameters of a statement.
fn columns<'a>(list: &[KeyVersion<'a>]) -> (Vec<&'a [u8]>, Vec<i64>) {
    list.iter()
        .map(|(key, version)| (*key, version.as_i64()))
        .unzip()
}

/// Records by where they were read, as three parameters of a statement.
#[derive(Debug, Default)]
pub struct Origins<'a> {
    topics: Vec<&'a str>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
}

impl<'a> Origins<'a> {
    /// Adds a record.
    pub fn push(&mut self, topic: &'a str, partition: i32, offset: i64) {
        self.topics.push(topic);
        self.partitions.push(partition);
        self.offsets.push(offset);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::TABLES;
    use std::{fs, path::Path};

    fn each_line(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                each_line(&path, look);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim().starts_with("//"));
                code.for_each(|line| look(&path, line));
            }
        }
    }

    #[test]
    fn all_sql_on_a_table_stands_in_its_file() {
        let sink = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut elsewhere = Vec::new();
        let mut found = 0;
        for folder in ["src", "../src", "../../operator/src", "../../producer/src"] {
            each_line(&sink.join(folder), &mut |path, line| {
                for table in TABLES {
                    if line.contains(&format!("leafcutter.{table}")) {
                        let own = if table == "meta" { "schema" } else { table };
                        let own = sink.join("src/state").join(own);
                        let is_own = path.starts_with(&own) || path.with_extension("") == own;
                        elsewhere.extend((!is_own).then(|| format!("{}: {line}", path.display())));
                        found += 1;
                    }
                }
            });
        }
        assert!(elsewhere.is_empty(), "{elsewhere:#?}");
        assert!(found > 30, "{found} lines name a table");
    }
}
