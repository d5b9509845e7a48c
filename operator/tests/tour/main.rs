//! `docs/tour.md` is what the programs say: every command of it is run, in order, on real servers.
//!
//! A line that begins with `$` in a block `console` is a command, what follows is what it says, on standard
//! output and error. Figures, times and identifiers may differ from run to run; words may not. With
//! `TOUR=write` the page gets what was said.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says where it failed by panicking"
)]

mod page;

use leafcutter_finlit::{FinLit, load};
use leafcutter_harness::{probe, program, stack::Stack, target::Target, topic};
use page::{Block, Page};
use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The page is about this database of MongoDB, with the prefix and the group that stand by themselves.
const DATABASE: &str = "finlit";
const TOUR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tour.md");

/// How long the move may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where a person sits: a folder, and addresses in the environment.
struct Shell {
    folder: tempfile::TempDir,
    stack: Stack,
    path: String,
    /// Started with `&`.
    jobs: Vec<Child>,
}

impl Shell {
    fn new(stack: Stack) -> Self {
        let programs = program::find("leafcutter").unwrap();
        program::find("leafcutter-producer").unwrap();
        program::find("leafcutter-consumer").unwrap();
        let before = std::env::var("PATH").unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            path: format!("{}:{before}", programs.parent().unwrap().display()),
            stack,
            jobs: Vec::new(),
        }
    }

    fn bash(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("LEAFCUTTER_MONGODB_URI", &self.stack.mongodb_uri)
            .env("LEAFCUTTER_KAFKA_BROKERS", &self.stack.kafka_brokers)
            .env("LEAFCUTTER_POSTGRES_URI", &self.stack.postgres_uri)
            .env("LEAFCUTTER_MAPPING", "mapping.yaml")
            .env("LEAFCUTTER_ADMIN", "127.0.0.1:0")
            .env("LEAFCUTTER_HEARTBEAT_INTERVAL", "500ms")
            .stdin(Stdio::null());
        command
    }

    /// What a command says.
    fn run(&mut self, line: &str) -> String {
        if let Some(line) = line.strip_suffix('&') {
            let mut command = self.bash(&format!("exec {line}"));
            let log = File::create(self.folder.path().join(format!("{}.log", self.jobs.len())));
            let log = log.unwrap();
            command.stdout(log.try_clone().unwrap()).stderr(log);
            self.jobs.push(command.spawn().unwrap());
            return String::new();
        }
        if line == "kill %1 %2" {
            for mut job in std::mem::take(&mut self.jobs) {
                let kill = Command::new("kill").arg(job.id().to_string()).status();
                assert!(kill.unwrap().success());
                let ended = job.wait().unwrap();
                assert!(ended.success(), "{ended}\n{}", self.logs());
            }
            return String::new();
        }
        // How far it is goes to standard error, and so does why it could not.
        let said = self.bash(line).output().unwrap();
        let said = if said.stdout.is_empty() {
            said.stderr
        } else {
            said.stdout
        };
        String::from_utf8(said).unwrap()
    }

    /// Waits until only dead letters are in the way: whoever reads the page takes longer.
    async fn applied(&mut self) {
        let applied = probe::until(PATIENCE, "everything to be applied", async || {
            let status = self.bash("leafcutter status --json").output()?;
            let status: serde_json::Value =
                serde_json::from_slice(&status.stdout).unwrap_or_default();
            let reasons = status["not_ready_because"].as_array();
            let only = reasons.filter(|reasons| reasons.len() == 1);
            let only = only.and_then(|reasons| reasons[0].as_str());
            let is_so = only.is_some_and(|only| only.contains("dead letters open"));
            Ok(is_so.then_some(()))
        });
        if let Err(failure) = applied.await {
            panic!("{failure}\n{}", self.logs());
        }
    }

    /// The last that the programs said.
    fn logs(&self) -> String {
        let logs = self.bash("tail -n 20 *.log").output().unwrap();
        String::from_utf8_lossy(&logs.stdout).into_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for job in &mut self.jobs {
            job.kill().unwrap_or_default();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_what_the_page_says() {
    let servers = Stack::from_env().unwrap();
    let target = Target::create(servers, "lc_tour").await.unwrap();
    let database = target.stack.mongodb().await.unwrap().database(DATABASE);
    database.drop().await.unwrap();
    let kafka = target.stack.kafka();
    topic::delete_all(&kafka, "leafcutter").await.unwrap();
    let finlit = FinLit::new(7, 0.01);
    load::load(&finlit, &database, |_| {}).await.unwrap();

    let text = std::fs::read_to_string(TOUR).unwrap();
    let mut page = Page::read(&text);
    let mut shell = Shell::new(target.stack.clone());
    let (mut differ, mut too_long) = (Vec::new(), Vec::new());
    for Block { command, said } in page.blocks() {
        let now = shell.run(command);
        if command.ends_with('&') && shell.jobs.len() == 2 {
            shell.applied().await;
        }
        let is_own = command.starts_with("leafcutter");
        let long = |line: &&str| is_own && line.chars().count() > 80;
        too_long.extend(now.lines().filter(long).map(str::to_owned));
        if page::words(said) != page::words(&now) {
            differ.push(format!("$ {command}\n{now}"));
        }
        *said = now;
    }
    drop(shell);
    database.drop().await.unwrap();
    topic::delete_all(&kafka, "leafcutter").await.unwrap();
    if std::env::var("TOUR").is_ok_and(|tour| tour == "write") {
        std::fs::write(Path::new(TOUR), page.write()).unwrap();
    } else {
        let differ = differ.join("\n");
        assert!(
            differ.is_empty(),
            "docs/tour.md is out of date (TOUR=write):\n{differ}"
        );
    }
    assert!(too_long.is_empty(), "longer than 80 columns: {too_long:#?}");
}
