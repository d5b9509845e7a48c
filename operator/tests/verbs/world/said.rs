//! `leafcutter` as a person starts it, and what it says.

use super::World;
use leafcutter_harness::program;
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Every line of JSON.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.out.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The one JSON value.
    pub(crate) fn whole(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        // One JSON value is laid out for programs; its strings are as long as they are.
        let is_json = serde_json::from_str::<serde_json::Value>(&self.out).is_ok();
        let out = self.out.lines().filter(|_| !is_json);
        for line in out.chain(self.err.lines()) {
            let whole = line.starts_with('{') || line.contains('/') || line.contains("\".\"");
            let fits = line.chars().count() <= 80 || whole;
            assert!(fits, "longer than 80 columns: {line}");
        }
        self
    }

    /// Says this on either channel, wherever its lines are broken.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let all = format!("{} {}", self.out, self.err);
        let words = all.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            all.contains(text) || words.contains(text),
            "no {text:?} in {all}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn says_nothing_of(self, text: &str) -> Self {
        assert!(
            !self.out.contains(text) && !self.err.contains(text),
            "{text:?} in {self:#?}"
        );
        self
    }
}

/// As a person does who presses Ctrl-C.
pub(crate) fn interrupt(running: &Child) {
    let interrupt = format!("kill -INT {}", running.id());
    let sent = Command::new("sh").args(["-c", &interrupt]).status();
    assert!(sent.unwrap().success());
}

impl World {
    /// Runs `leafcutter` with the strict mapping, or another one if the words name it.
    pub(crate) fn leafcutter(&self, words: &[&str]) -> Said {
        let strict = self.file("strict.yaml");
        self.leafcutter_with(&strict, words)
    }

    /// Puts a mapping in force.
    #[track_caller]
    pub(crate) fn apply(&self, mapping: &str) -> Said {
        let words = ["plan", "--apply", "--yes"];
        self.leafcutter_with(&self.file(mapping), &words)
            .ends_with(0)
    }

    /// Runs `leafcutter` with this mapping.
    pub(crate) fn leafcutter_with(&self, mapping: &Path, words: &[&str]) -> Said {
        Said::of(self.command(mapping, words).output().unwrap())
    }

    fn command(&self, mapping: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program::find("leafcutter").unwrap());
        command
            .args(words)
            .env("LEAFCUTTER_POSTGRES_URI", self.uri())
            .env("LEAFCUTTER_KAFKA_BROKERS", self.brokers())
            .env("LEAFCUTTER_PREFIX", &self.prefix)
            .env("LEAFCUTTER_GROUP", "g")
            .env("LEAFCUTTER_MAPPING", mapping);
        command
    }

    /// Starts `leafcutter` with the strict mapping; what it says can be read.
    pub(crate) fn leafcutter_started(&self, words: &[&str]) -> Child {
        let mut command = self.command(&self.file("strict.yaml"), words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// What `status --watch` shows up to a line with this text, if it comes within a minute.
    pub(crate) fn watch_until(&self, text: &str) -> String {
        let mut child = self.leafcutter_started(&["status", "--watch", "1s"]);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (show, shown) = mpsc::channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| show.send(line))
        });
        let mut all = String::new();
        while !all.contains(text)
            && let Ok(line) = shown.recv_timeout(Duration::from_secs(60))
        {
            all += &format!("{line}\n");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        all
    }
}
