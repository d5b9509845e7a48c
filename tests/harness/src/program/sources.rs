//! Whether a program was built from the sources as they are now.
//!
//! `cargo test` builds the programs of the packages that it tests, and no others: who tests one
//! suite by hand would start those of yesterday. Cargo itself goes by the times of files, so this
//! does, too: every source that a program is made of is older than the program.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The folders whose crates a program is made of.
fn folders(binary: &str) -> &'static [&'static str] {
    match binary {
        "leafcutter-producer" => &["schemas", "runtime", "producer"],
        "leafcutter-consumer" => &["schemas", "runtime", "consumer"],
        _ => &["schemas", "runtime", "producer", "consumer", "operator"],
    }
}

/// Folders and files of which no program is made.
const NOT_IN_PROGRAMS: [&str; 4] = ["tests", "tests.rs", "benches", "examples"];

/// A source of this program that was changed after it was built. Where there are no sources,
/// nothing was.
pub(super) fn newer_than(program: &Path, binary: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = program.metadata().and_then(|file| file.modified()).ok()?;
    let mut folders = folders(binary).iter();
    folders.find_map(|folder| newer_in(&root.join(folder), built))
}

fn newer_in(folder: &Path, built: SystemTime) -> Option<PathBuf> {
    let entries = folder.read_dir().ok()?;
    entries.filter_map(Result::ok).find_map(|entry| {
        let path = entry.path();
        let is_apart = path
            .file_name()
            .and_then(OsStr::to_str)
            .is_none_or(|name| NOT_IN_PROGRAMS.contains(&name));
        if is_apart {
            return None;
        }
        let file = entry.metadata().ok()?;
        if file.is_dir() {
            return newer_in(&path, built);
        }
        let is_source = path.extension().is_some_and(|is| is == "rs" || is == "sql");
        (is_source && file.modified().ok()? > built).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::newer_in;
    use std::{fs, time::SystemTime};

    #[test]
    fn sources_count_and_tests_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["src/sink", "tests/real"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["tests/real/main.rs", "src/sink/tests.rs", "src/README.md"] {
            fs::write(root.join(name), "").unwrap();
        }
        assert_eq!(newer_in(root, SystemTime::UNIX_EPOCH), None);
        let source = root.join("src/sink/apply.rs");
        fs::write(&source, "").unwrap();
        assert_eq!(newer_in(root, SystemTime::UNIX_EPOCH), Some(source));
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        assert_eq!(newer_in(root, later), None);
    }
}
