//! A file that a flag names: read, parsed, and all its faults told in the same words by every
//! program.
//!
//! What is in the file, its parser knows. It gives a fault as three texts: where it is, what is
//! wrong, and what to do next. So this room needs to know no language of files, and a language needs
//! to know nothing of programs.

use crate::report::{Fault, Faults};
use std::path::Path;

/// Reads the file of the flag `--{name}`.
///
/// # Errors
/// When it cannot be read.
pub fn read(name: &str, file: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(file).map_err(|error| {
        Fault::new(
            format!("could not read the {name}"),
            format!("`{}`", file.display()),
            error.to_string(),
            format!(
                "Check the path in `--{name}` or `LEAFCUTTER_{}`.",
                name.to_uppercase()
            ),
        )
    })
}

/// Reads the file of the flag `--{name}` and parses it. `parse` gets the text and the file's name.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load<T, E>(
    name: &str,
    file: &Path,
    parse: impl FnOnce(&str, &str) -> Result<T, E>,
) -> Result<T, Faults>
where
    E: IntoIterator<Item: Into<[String; 3]>>,
{
    let text = read(name, file)?;
    let fault = |told: E::Item| {
        let [place, why, next] = told.into();
        Fault::new(format!("could not accept the {name}"), place, why, next)
    };
    parse(&text, &file.display().to_string())
        .map_err(|found| Faults(found.into_iter().map(fault).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_with_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mapping.yaml");
        let missing = load("mapping", &file, |_, _| Ok::<(), [[String; 3]; 0]>(()));
        let missing = missing.unwrap_err().to_string();
        assert!(missing.contains("`LEAFCUTTER_MAPPING`"), "{missing}");
        std::fs::write(&file, "two words").unwrap();
        let parse = |text: &str, file: &str| {
            let fault = |word| ["1:1", word, "Do."].map(|told| format!("{told} in {file}"));
            Err::<(), Vec<[String; 3]>>(text.split(' ').map(fault).collect())
        };
        let faults = load("mapping", &file, parse).unwrap_err();
        assert_eq!(faults.0.len(), 2);
        assert_eq!(faults.0[1].what, "could not accept the mapping");
        assert!(faults.0[1].why.starts_with("words in "), "{faults}");
    }
}
