//! What every program of ours says of itself: its name, its verbs, completions and man pages, and how it
//! refuses wrong usage. None of it needs a server.

use std::{
    path::Path,
    process::{Command, Output},
};

/// A program, by its path.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Where it is: `env!("CARGO_BIN_EXE_…")`.
    pub path: &'a str,
    /// What it calls itself.
    pub name: &'a str,
    /// One of its verbs, which takes `--kafka-brokers`.
    pub verb: &'a str,
}

impl Program<'_> {
    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Output {
        self.run_with(words, &[])
    }

    /// The same, with variables of the environment.
    ///
    /// # Panics
    /// As [`Program::run`].
    #[must_use]
    pub fn run_with(&self, words: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(self.path);
        command.args(words).envs(environment.iter().copied());
        command.output().expect("cargo has built the program")
    }

    /// What it prints, when all is well.
    ///
    /// # Panics
    /// When it refuses.
    #[must_use]
    pub fn says(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The code with which it refuses.
    #[must_use]
    pub fn refuses(&self, words: &[&str]) -> Option<i32> {
        self.run(words).status.code()
    }

    /// It says its name and what its verb takes, and refuses a flag that it does not know.
    ///
    /// # Panics
    /// When it does not.
    pub fn tells_its_name_and_what_it_can_do(&self) {
        let version = self.says(&["--version"]);
        assert!(version.starts_with(&format!("{} ", self.name)), "{version}");
        let help = self.says(&[self.verb, "--help"]);
        assert!(help.contains("--kafka-brokers"), "{help}");
        assert_eq!(self.refuses(&[self.verb, "--no-such-flag"]), Some(2));
    }

    /// It can be completed by a shell.
    ///
    /// # Panics
    /// When it cannot.
    pub fn completes(&self) {
        for shell in ["bash", "zsh", "fish"] {
            let script = self.says(&["completions", shell]);
            assert!(script.contains(self.verb), "{shell}: {script}");
        }
        assert_eq!(self.refuses(&["completions", "cmd.exe"]), Some(2));
    }

    /// It has man pages, printed or written into a folder; `folder` is one that may be written to.
    ///
    /// # Panics
    /// When it has not.
    pub fn has_man_pages(&self, folder: &Path) {
        let page = self.says(&["man"]);
        assert!(page.starts_with(".ie"), "{page}");
        assert!(page.contains(&format!(".TH {} 1", self.name)), "{page}");
        let pages = folder.join("man1");
        let written = self.says(&["man", &pages.display().to_string()]);
        let page = |verb: &str| pages.join(format!("{}{verb}.1", self.name));
        assert!(page(&format!("-{}", self.verb)).exists(), "{written}");
        // A file is no folder.
        let file = page("").display().to_string();
        assert_eq!(self.refuses(&["man", &file]), Some(3));
    }
}
