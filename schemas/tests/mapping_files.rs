//! Mapping files, wrong and right, kept as files.
//!
//! `mapping_faults/<topic>/<name>.yaml` is a mapping that is refused, and `<name>.txt` beside it is
//! all that `leafcutter check` says about it, line by line. So a case shows the message, its place,
//! and that nothing else is reported: a person who mends what is said has mended all of it.
//! `mapping_accepted/<topic>/<name>.yaml` is a mapping about which nothing is said.
//!
//! To add a case, write the `.yaml`; to write or renew the `.txt` beside it, run
//! `UPDATE=1 cargo test -p leafcutter-schemas --test mapping_files` and read what changed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use leafcutter_schemas::mapping::parse::load;
use std::{
    fs,
    path::{Path, PathBuf},
};

const HOW_TO_ACCEPT: &str =
    "to accept what is said now: UPDATE=1 cargo test -p leafcutter-schemas --test mapping_files";

/// The files below a folder of `schemas/tests` whose names end so, in order.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(folder),
    ];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What is said about a mapping file, one fault a line; empty if it is accepted.
fn said_about(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    match load(&fs::read_to_string(file).unwrap(), name) {
        Ok(_) => String::new(),
        Err(faults) => format!("{faults}\n"),
    }
}

/// The lines of both texts, those of only one of them marked; nothing if they are equal.
fn difference(expected: &str, found: &str) -> Option<String> {
    let mark = |mark: &str, text: &str, other: &str| -> String {
        let other: Vec<&str> = other.lines().collect();
        let only = |line: &&str| !other.contains(line);
        let lines = text.lines().filter(only);
        lines.map(|line| format!("  {mark} {line}\n")).collect()
    };
    let missing = mark("-", expected, found);
    let new = mark("+", found, expected);
    let moved = if missing.is_empty() && new.is_empty() {
        "  the same lines in another order or number\n"
    } else {
        ""
    };
    (expected != found).then(|| format!("{missing}{new}{moved}"))
}

#[test]
fn a_wrong_mapping_is_refused_with_these_words() {
    let update = std::env::var_os("UPDATE").is_some();
    let cases = files("mapping_faults", "yaml");
    let mut differences = String::new();
    for case in &cases {
        let said = said_about(case);
        assert!(!said.is_empty(), "{}: nothing is said", case.display());
        let beside = case.with_extension("txt");
        if update {
            fs::write(&beside, &said).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if let Some(difference) = difference(&expected, &said) {
            differences += &format!("{}\n{difference}", case.display());
        }
    }
    assert!(
        differences.is_empty(),
        "- expected, + said now:\n{differences}{HOW_TO_ACCEPT}"
    );
    // Nothing is expected of a file that is not there, and the folder was found at all.
    for expected in files("mapping_faults", "txt") {
        let case = expected.with_extension("yaml");
        assert!(case.exists(), "{}: no such case", case.display());
    }
    assert!(cases.len() > 150, "only {} cases", cases.len());
}

#[test]
fn a_right_mapping_is_accepted() {
    let cases = files("mapping_accepted", "yaml");
    assert!(!cases.is_empty());
    for case in cases {
        assert_eq!(said_about(&case), "", "{}", case.display());
    }
}
