//! The real programs as child processes.
//!
//! They are the binaries that cargo built, beside the one that runs now; one that is older than its
//! sources is refused ([`sources`]). What they say goes to a file, and comes back in the failure
//! when they do not do what they should. A program whose handle is dropped is killed: nothing is
//! left running.

mod metrics;
mod sources;

use crate::{
    failure::{Attempt, Failure, Result},
    probe,
    stack::Stack,
};
use serde_json::Value;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// Lines of a log that a failure shows.
const TAIL: usize = 30;

/// Where this binary is: in the folder of `LEAFCUTTER_BIN_DIR`, or in that of this program.
///
/// # Errors
/// When it is not there, or is older than its sources.
pub fn find(binary: &str) -> Result<PathBuf> {
    let path = match std::env::var("LEAFCUTTER_BIN_DIR") {
        Ok(folder) => Path::new(&folder).join(binary),
        Err(_) => folder()?.join(binary),
    };
    let build = "run `cargo build --workspace --bins`, or `make test T=…`, which builds it";
    let name = path.display();
    if !path.exists() {
        return Err(Failure::new(format!("{name} is not there: {build}")));
    }
    // Whoever names a folder has chosen what is in it.
    if std::env::var_os("LEAFCUTTER_BIN_DIR").is_none()
        && let Some(newer) = sources::newer_than(&path, binary)
    {
        let newer = newer.display();
        return Err(Failure::new(format!(
            "{name} is older than {newer}: {build}"
        )));
    }
    Ok(path)
}

/// The folder of this program.
fn folder() -> Result<PathBuf> {
    let own = std::env::current_exe().attempt("find this program's own path")?;
    let mut folder = own.parent().map(Path::to_path_buf).unwrap_or_default();
    // Tests are built into a folder below.
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder)
}

/// One running program.
#[derive(Debug)]
pub struct Program {
    /// What it is called in messages.
    pub name: String,
    /// Where its words go.
    pub log: PathBuf,
    child: Child,
    peak_kib: u64,
    /// Where its own words begin in the log.
    log_start: usize,
}

impl Program {
    /// Starts `binary` on these servers, with its words in a file, as many as `level` says. A log
    /// that is there already is continued.
    ///
    /// # Errors
    /// When the binary is not there, is older than its sources, or cannot be started.
    pub fn start(
        name: &str,
        binary: &str,
        arguments: &[&str],
        stack: &Stack,
        (log, level): (PathBuf, &str),
    ) -> Result<Self> {
        let path = find(binary)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .attempt(&format!("open {}", log.display()))?;
        let log_start = usize::try_from(file.metadata()?.len())?;
        let child = Command::new(&path)
            .args(arguments)
            .env("LEAFCUTTER_LOG", level)
            .env("LEAFCUTTER_LOG_FORMAT", "json")
            .env("LEAFCUTTER_MONGODB_URI", &stack.mongodb_uri)
            .env("LEAFCUTTER_KAFKA_BROKERS", &stack.kafka_brokers)
            .env("LEAFCUTTER_POSTGRES_URI", &stack.postgres_uri)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .attempt(&format!("start {}", path.display()))?;
        Ok(Self {
            name: name.to_owned(),
            log,
            child,
            peak_kib: 0,
            log_start,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has had, in KiB, as far as was seen.
    pub fn peak_kib(&mut self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let peak = status.ok().and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches("kB").trim().parse().ok()
        });
        self.peak_kib = self.peak_kib.max(peak.unwrap_or(0));
        self.peak_kib
    }

    /// Makes sure that it still runs.
    ///
    /// # Errors
    /// When it ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        self.peak_kib();
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("ended by itself ({status})"))),
        }
    }

    /// Asks it to finish (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it takes too long or does not end with 0.
    pub async fn stop(mut self, deadline: Duration) -> Result<()> {
        self.peak_kib();
        self.signal("TERM")?;
        self.until_done("after SIGTERM", deadline).await
    }

    /// Asks it to finish (SIGTERM), and gives its exit code; none where a signal has ended it.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn end(mut self, deadline: Duration) -> Result<Option<i32>> {
        self.signal("TERM")?;
        self.until_ended(deadline).await.map(|status| status.code())
    }

    /// Asks it to finish, and again when it has begun to; gives its exit code as [`Self::end`] does.
    ///
    /// # Errors
    /// When it does not begin, ends before it is asked again, or takes too long.
    pub async fn force(mut self, deadline: Duration) -> Result<Option<i32>> {
        self.signal("TERM")?;
        probe::until(deadline, "a program to drain", async || {
            self.check()?;
            let is_it =
                |event: &Value| event["message"].as_str().unwrap_or("").contains("draining");
            Ok(self.events().iter().any(is_it).then_some(()))
        })
        .await?;
        self.check()?;
        self.signal("TERM")?;
        self.until_ended(deadline).await.map(|status| status.code())
    }

    /// Waits until it has done what it was started for.
    ///
    /// # Errors
    /// When it takes too long or does not end with 0.
    pub async fn finish(self, deadline: Duration) -> Result<()> {
        self.until_done("by itself", deadline).await
    }

    async fn until_done(mut self, how: &str, deadline: Duration) -> Result<()> {
        let status = self.until_ended(deadline).await?;
        if status.success() {
            return Ok(());
        }
        Err(self.failure(&format!("ended badly {how} ({status})")))
    }

    async fn until_ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let name = format!("the end of {}", self.name);
        let status = probe::until(deadline, &name, async || Ok(self.child.try_wait()?)).await;
        status.map_err(|late| self.failure(&late.to_string()))
    }

    /// Ends it at once (SIGKILL), as a crash would.
    ///
    /// # Errors
    /// When it had ended before, or cannot be waited for.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.check()?;
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Sends a signal by its name, `TERM` for one.
    ///
    /// # Errors
    /// When no shell can be started to send it.
    pub fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        // The shell's own `kill`: the standard library sends no signal but SIGKILL.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid])
            .status()?;
        if sent.success() {
            Ok(())
        } else {
            Err(Failure::new(format!(
                "could not send SIG{name} to {}",
                self.name
            )))
        }
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// How often a text occurs in its log.
    pub fn says(&self, text: &str) -> usize {
        std::fs::read_to_string(&self.log)
            .unwrap_or_default()
            .matches(text)
            .count()
    }

    /// What it has logged since it was started, event by event.
    pub fn events(&self) -> Vec<Value> {
        let log = std::fs::read(&self.log).unwrap_or_default();
        events(log.get(self.log_start..).unwrap_or_default())
    }

    /// A counter of its page of metrics, summed over its labels; nothing while the page cannot be
    /// read, as that of a program that is frozen or not yet so far.
    pub fn counter(&self, name: &str) -> Option<u64> {
        Some(metrics::counter(
            &metrics::page(&self.address()?).ok()?,
            name,
        ))
    }

    /// Status and text of `/readyz`, or of `/healthz`; nothing while it cannot be read.
    pub fn page(&self, path: &str) -> Option<(u16, String)> {
        metrics::get(&self.address()?, path).ok()
    }

    /// Where its pages are, once it has said so.
    fn address(&self) -> Option<String> {
        let events = self.events();
        let mut said = events.iter();
        let address = said.find_map(|event| {
            let is_it = event.get("message")?.as_str()? == "health and metrics";
            is_it.then(|| event.get("address")?.as_str()).flatten()
        })?;
        Some(address.to_owned())
    }

    fn failure(&self, what: &str) -> Failure {
        let (name, log, tail) = (&self.name, self.log.display(), self.tail());
        Failure::new(format!("{name} {what}; its log {log} ends so:\n{tail}"))
    }
}

/// The events of a log. What is no event, such as the first half of one whose program was killed,
/// is left out.
fn events(log: &[u8]) -> Vec<Value> {
    let lines = log.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing can be done about a failure here.
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            use std::io::Write as _;
            let text = format!("--- {} said at the end:\n{}\n", self.name, self.tail());
            drop(std::io::stderr().write_all(text.as_bytes()));
        }
    }
}
