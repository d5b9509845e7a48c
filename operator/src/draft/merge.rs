//! `--into`: a mapping that a person has edited gets the collections that it lacks, and stays as it is
//! otherwise, byte for byte.
//!
//! The new collections are put at the end of the file, which is inside `collections` when that block is the
//! last; whether the whole is then sound, and has everything it had, is looked at before the file is
//! touched. A file is replaced in one step, so that it is the old one or the new one whatever happens.

use leafcutter_runtime::{
    exit::Exit,
    file,
    report::{Failure, Fault},
};
use leafcutter_schemas::mapping::{Mapping, parse};
use leafcutter_sink::model::Model;
use std::path::{Path, PathBuf};

/// A mapping that is there.
#[derive(Debug)]
pub struct Into {
    file: PathBuf,
    text: String,
    mapping: Mapping,
}

impl Into {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read, or has faults.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let mapping = file::load("mapping", file, parse::load).map_err(|faults| Failure {
            exit: Exit::Settings,
            faults,
        })?;
        let text = std::fs::read_to_string(file).map_err(|error| unwritten(file, &error))?;
        Ok(Self {
            file: file.to_owned(),
            text,
            mapping,
        })
    }

    /// Whether it has that collection.
    pub fn has(&self, database: &str, name: &str) -> bool {
        let mut collections = self.mapping.collections.iter();
        collections.any(|one| one.database == database && one.name == name)
    }

    /// The names of its tables.
    pub fn tables(&self) -> impl Iterator<Item = String> {
        self.mapping.tables().flat_map(|(_, table)| {
            let all = table.with_descendants();
            all.into_iter()
                .map(|t| t.name.name.clone())
                .collect::<Vec<_>>()
        })
    }

    /// The file's text with these collections at its end.
    ///
    /// # Errors
    /// When the whole is no sound mapping with all of it.
    pub fn with(&self, collections: &[String], prefix: &str) -> Result<String, Failure> {
        let mut text = self.text.clone();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.extend(collections.iter().map(String::as_str));
        let loaded = parse::load(&text, &self.file.display().to_string());
        let loaded = loaded.map_err(|faults| self.unfit(&faults.to_string()))?;
        let wanted = self.mapping.collections.len() + collections.len();
        let old = self.mapping.collections.iter().zip(&loaded.collections);
        let kept = old
            .into_iter()
            .all(|(old, new)| format!("{old:?}") == format!("{new:?}"));
        if loaded.collections.len() != wanted || !kept {
            return Err(self.unfit("the collections at its end would be read as something else"));
        }
        Model::compile(loaded, prefix).map_err(|error| self.unfit(&error.to_string()))?;
        Ok(text)
    }

    fn unfit(&self, why: &str) -> Failure {
        let fault = Fault::new(
            "could not add the new collections; the file is as it was",
            format!("`{}`", self.file.display()),
            why,
            "Let `collections:` be the last block of the file, its collections indented by two blanks, \
             and `database` stand at the top; or draft to another file with `--out`.",
        );
        Failure::one(Exit::Settings, fault)
    }
}

/// What is new, as a difference.
pub fn difference(collections: &[String]) -> String {
    let lines = collections.iter().flat_map(|text| text.lines());
    lines
        .map(|line| format!("+ {line}\n"))
        .chain(["\n".to_owned()])
        .collect()
}

/// Writes a file in one step.
///
/// # Errors
/// When it cannot be written.
pub fn put(file: &Path, text: &str) -> Result<(), Failure> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, file));
    written.map_err(|error| unwritten(file, &error))
}

fn unwritten(file: &Path, error: &std::io::Error) -> Failure {
    let fault = Fault::new(
        "could not read or write the mapping",
        format!("`{}`", file.display()),
        error.to_string(),
        "Check the path, and that you may write there.",
    );
    Failure::one(Exit::Settings, fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDITED: &str = "\
version: 1 # mine
database: shop
collections:
  a:
    table: letters # renamed
    key: id
    columns: { id: { path: _id, type: bigint } }";
    const NEW: &str = "  b:\n    table: b\n    key: id\n    columns: { id: { path: _id, type: uuid, convert: uuid-v5 } }\n";

    fn into(text: &str) -> Into {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.yaml");
        std::fs::write(&file, text).unwrap();
        Into::read(&file).unwrap()
    }

    #[test]
    fn what_a_person_wrote_stays_byte_for_byte() {
        let into = into(EDITED);
        assert!(into.has("shop", "a") && !into.has("shop", "b"));
        let text = into.with(&[NEW.to_owned()], "p").unwrap();
        assert_eq!(text, format!("{EDITED}\n{NEW}"));
    }

    #[test]
    fn a_file_that_goes_on_behind_its_collections_is_left_alone() {
        let moved = "version: 1\ncollections:\n  a:\n    table: a\n    key: id\n    \
            columns: { id: { path: _id, type: bigint } }\ndatabase: shop\n";
        let failure = into(moved).with(&[NEW.to_owned()], "p").unwrap_err();
        assert!(
            failure.to_string().contains("the file is as it was"),
            "{failure}"
        );
    }
}
