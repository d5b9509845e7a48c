//! What is done, in a file, so that an interrupted verification goes on where it was.
//!
//! The file holds the ranges of each collection, which of them are done, what was counted, and the
//! documents that were in doubt. It is written anew with each range that is done, beside the old one, and
//! then put in its place. It fits one mapping only.

use super::{board::Counts, source::Range};
use bson::{Bson, Document, RawDocumentBuf, doc};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One collection in the file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Part {
    /// The bounds between its ranges, each `{ _id: … }` as BSON in hex.
    bounds: Vec<String>,
    /// The ranges that are done, and what was counted in them at the first look.
    done: BTreeMap<usize, Counts>,
    /// Their documents that were in doubt, as the bounds: they are looked at again.
    again: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Stored {
    mapping: String,
    collections: BTreeMap<String, Part>,
}

/// What is done.
#[derive(Debug, Default)]
pub struct Progress {
    file: Option<PathBuf>,
    stored: Mutex<Stored>,
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn bound(text: &str) -> Option<Bson> {
    Document::from_reader(from_hex(text)?.as_slice())
        .ok()?
        .remove("_id")
}

fn wrong(file: &Path, why: impl Into<String>, next: &str) -> Failure {
    let place = format!("`{}`", file.display());
    Failure::one(
        Exit::Settings,
        Fault::new("could not go on from a file", place, why, next),
    )
}

impl Progress {
    /// What a file says; nothing where there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read, or is of another mapping.
    pub fn open(file: Option<&Path>, mapping: &str) -> Result<Self, Failure> {
        let mut stored = Stored {
            mapping: mapping.to_owned(),
            ..Stored::default()
        };
        if let Some(file) = file.filter(|file| file.exists()) {
            let text = std::fs::read_to_string(file)
                .map_err(|error| wrong(file, error.to_string(), "Check the path in --resume."))?;
            stored = serde_json::from_str(&text).map_err(|error| {
                wrong(
                    file,
                    error.to_string(),
                    "It is none of this command's: name another file.",
                )
            })?;
            if stored.mapping != mapping {
                let why = format!("it is of mapping {}, this one is {mapping}", stored.mapping);
                return Err(wrong(file, why, "Begin anew, with another file."));
            }
        }
        Ok(Self {
            file: file.map(Path::to_owned),
            stored: Mutex::new(stored),
        })
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ranges of a collection as they were, and the documents of those that are done that were in doubt.
    pub fn of(&self, name: &str) -> Option<(Vec<Range>, Vec<RawDocumentBuf>)> {
        let stored = self.stored();
        let part = stored.collections.get(name)?;
        let bounds: Option<Vec<Bson>> = part.bounds.iter().map(|text| bound(text)).collect();
        let read = |text: &String| RawDocumentBuf::from_bytes(from_hex(text)?).ok();
        Some((
            Range::between(bounds?),
            part.again.iter().filter_map(read).collect(),
        ))
    }

    /// A collection is cut at these bounds.
    pub fn begin(&self, name: &str, bounds: &[Bson]) {
        let hex = |id: &Bson| {
            doc! { "_id": id.clone() }
                .to_vec()
                .map(|bytes| to_hex(&bytes))
        };
        let part = Part {
            bounds: bounds.iter().filter_map(|id| hex(id).ok()).collect(),
            ..Part::default()
        };
        self.stored().collections.insert(name.to_owned(), part);
    }

    /// What an earlier run counted in a range, if it came to its end.
    pub fn counted(&self, name: &str, range: usize) -> Option<Counts> {
        self.stored()
            .collections
            .get(name)?
            .done
            .get(&range)
            .cloned()
    }

    /// A range is done: what was counted in it, and which of its documents are in doubt.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn done(
        &self,
        name: &str,
        range: usize,
        counts: Counts,
        again: &[RawDocumentBuf],
    ) -> Result<(), Failure> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut stored = self.stored();
        let part = stored.collections.entry(name.to_owned()).or_default();
        part.done.insert(range, counts);
        part.again
            .extend(again.iter().map(|id| to_hex(id.as_bytes())));
        // Texts and numbers only, which cannot fail.
        let text = serde_json::to_string(&*stored).unwrap_or_default();
        let beside = file.with_extension("new");
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, file));
        written.map_err(|error| wrong(file, error.to_string(), "Check the room on its disk."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_verification_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        let progress = Progress::open(Some(&file), "m").unwrap();
        let bounds = [Bson::from(5), Bson::from("a")];
        progress.begin("shop.people", &bounds);
        let counts = Counts {
            documents: 7,
            ..Counts::default()
        };
        let doubt = bson::rawdoc! { "_id": 3 };
        progress
            .done(
                "shop.people",
                1,
                counts.clone(),
                std::slice::from_ref(&doubt),
            )
            .unwrap();

        let again = Progress::open(Some(&file), "m").unwrap();
        let (ranges, doubts) = again.of("shop.people").unwrap();
        assert_eq!(ranges, Range::between(bounds.to_vec()));
        assert_eq!(doubts, [doubt]);
        assert_eq!(again.counted("shop.people", 1), Some(counts));
        assert_eq!(again.counted("shop.people", 0), None);
        assert!(again.of("other").is_none());
        let other = Progress::open(Some(&file), "n").unwrap_err();
        assert!(other.to_string().contains("mapping m"), "{other}");
        std::fs::write(&file, "{").unwrap();
        assert!(Progress::open(Some(&file), "m").is_err());
    }
}
