//! The report's two files: one for people, one for programs.

use super::{markdown, report::Report};
use crate::catalog::usage;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use std::path::{Path, PathBuf};

/// Where the report goes.
pub(super) struct Files {
    pub(super) markdown: PathBuf,
    pub(super) json: PathBuf,
}

impl Files {
    /// Beside each other.
    ///
    /// # Errors
    /// When the name is that of no Markdown file.
    pub(super) fn of(report: &Path) -> Result<Self, Failure> {
        let json = report.with_extension("json");
        if json == report || report.file_name().is_none() {
            return Err(usage(
                "could not write the report",
                "`--report`",
                "the name is that of the Markdown file; the JSON file stands beside it, with the ending .json",
                "Give a name such as leafcutter-report.md.",
            ));
        }
        Ok(Self {
            markdown: report.to_owned(),
            json,
        })
    }

    /// Writes both.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn write(&self, report: &Report) -> Result<(), Failure> {
        // Texts and numbers only, which always have a JSON.
        let json = serde_json::to_string_pretty(report).unwrap_or_default();
        self.put(&self.json, &format!("{json}\n"))?;
        self.put(&self.markdown, &markdown::render(report))
    }

    /// Found out before it is worked for an hour; leaves nothing behind.
    pub(super) fn try_out(&self) -> Result<(), Failure> {
        for file in [&self.markdown, &self.json] {
            let was_there = file.exists();
            let mut options = std::fs::File::options();
            let opened = options.create(true).append(true).open(file);
            opened.map_err(|error| unwritten(file, &error))?;
            if !was_there {
                std::fs::remove_file(file).map_err(|error| unwritten(file, &error))?;
            }
        }
        Ok(())
    }

    fn put(&self, file: &Path, text: &str) -> Result<(), Failure> {
        std::fs::write(file, text).map_err(|error| unwritten(file, &error))
    }
}

fn unwritten(file: &Path, error: &std::io::Error) -> Failure {
    let fault = Fault::new(
        "could not write the report",
        format!("`{}`", file.display()),
        error.to_string(),
        "Check the path in `--report`.",
    );
    Failure::one(Exit::Settings, fault)
}
