//! What is wrong in a mapping file, where, and what was probably meant.
//!
//! Faults are collected while the file is walked and never stop the walk: a person sees all of them
//! at once, in the order of the file. A fault is reported where the text stands that has to change.

use std::{fmt, rc::Rc};

/// One thing wrong in a mapping file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingFault {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// The keys that lead there: `collections.learners.columns.email.type`. Empty for the file.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// The nearest valid word.
    pub suggestion: Option<String>,
}

impl fmt::Display for MappingFault {
    /// On one line, as compilers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            place,
            message,
            suggestion,
        } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        f.write_str(message)?;
        match suggestion {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

impl From<MappingFault> for [String; 3] {
    /// Where it is, what is wrong, and what to do next.
    fn from(fault: MappingFault) -> Self {
        let next = match &fault.suggestion {
            Some(word) => format!("Did you mean `{word}`?"),
            None => "`leafcutter check` looks at the mapping and changes nothing.".to_owned(),
        };
        let why = if fault.place.is_empty() {
            fault.message
        } else {
            format!("{}: {}", fault.place, fault.message)
        };
        let place = format!("{}:{}:{}", fault.file, fault.line, fault.column);
        [place, why, next]
    }
}

/// Everything wrong in a mapping file, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingFaults(pub Vec<MappingFault>);

impl fmt::Display for MappingFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for MappingFaults {}

impl IntoIterator for MappingFaults {
    type Item = MappingFault;
    type IntoIter = std::vec::IntoIter<MappingFault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A place in the file.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) place: Rc<str>,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Spotted<T> {
    pub(super) value: T,
    pub(super) at: At,
}

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<MappingFault>);

impl Faults {
    /// Notes a fault.
    pub(super) fn add(&mut self, at: &At, message: impl Into<String>) {
        self.suggest(at, message, None);
    }

    /// Notes a fault with the word that was probably meant.
    pub(super) fn suggest(&mut self, at: &At, message: impl Into<String>, word: Option<String>) {
        self.0.push(MappingFault {
            file: String::new(),
            line: at.line,
            column: at.column,
            place: on_one_line(&at.place),
            message: on_one_line(&message.into()),
            suggestion: word.map(|word| on_one_line(&word)),
        });
    }

    /// The value if there are no faults, otherwise the faults of that file.
    pub(super) fn or<T>(mut self, file: &str, value: Option<T>) -> Result<T, MappingFaults> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => {
                for fault in &mut self.0 {
                    file.clone_into(&mut fault.file);
                }
                self.0.sort_by_key(|fault| (fault.line, fault.column));
                Err(MappingFaults(self.0))
            }
        }
    }
}

/// Keys and values may contain anything, a fault is one line.
fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// The word among `known` that is near enough to have been meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = word.to_lowercase();
    // A third of the word may be wrong, and two letters of a short one swapped.
    let length = word.chars().count();
    let most = (length / 3).max(1).min(length.saturating_sub(1));
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::osa_distance(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= most && *candidate != word)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}
