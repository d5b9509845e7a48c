//! A consumer that runs in this process, and what it says of itself.

use super::World;
use clap::Parser as _;
use leafcutter_consumer::{
    pipeline,
    settings::{Cli, Verb},
};
use leafcutter_harness::{failure::Attempt as _, probe};
use leafcutter_runtime::{exit::Exit, report::Failure, shutdown::Shutdown};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

pub(crate) struct Running {
    shutdown: Shutdown,
    thread: JoinHandle<Result<Exit, Failure>>,
    admin: SocketAddr,
}

impl Running {
    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) {
        self.shutdown.trigger();
    }

    /// How it ends.
    pub(crate) fn end(self) -> Result<Exit, Failure> {
        self.thread.join().unwrap()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// What a page says: its status and its text. Nothing before it is served.
    pub(crate) fn page(&self, path: &str) -> Option<(u16, String)> {
        let mut socket = TcpStream::connect(self.admin).ok()?;
        let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(asked.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// Waits until `/readyz` has this status and says this; alive meanwhile.
    pub(crate) async fn until_ready_says(&self, status: u16, words: &str) {
        let mut last = None;
        let seen = probe::until(Duration::from_secs(60), words, async || {
            last = self.page("/readyz");
            if let Some((live, text)) = self.page("/healthz") {
                assert_eq!(live, 200, "{text}");
            }
            let fits = |(found, text): &(u16, String)| *found == status && text.contains(words);
            Ok(last.as_ref().is_some_and(fits).then_some(()))
        });
        seen.await
            .attempt(&format!("the last was {last:?},"))
            .unwrap();
    }

    /// A counter or gauge of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.page("/metrics").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or_default()
    }

    /// Waits until a counter or gauge has this value. The consumers of all tests of this process share their
    /// metrics, so another test's shows too, until this one's consumer looks again.
    pub(crate) async fn until_metric(&self, name: &str, value: f64) {
        let mut last = 0.0;
        let seen = probe::until(Duration::from_secs(60), name, async || {
            last = self.metric(name);
            Ok((last == value).then_some(()))
        });
        seen.await
            .attempt(&format!("the last was {last}, not {value},"))
            .unwrap();
    }

    /// Stops it and waits for its end.
    pub(crate) fn stop(self) {
        self.shutdown.trigger();
        assert_eq!(self.thread.join().unwrap(), Ok(Exit::Done));
    }
}

impl World {
    /// Starts a consumer with this mapping.
    pub(crate) fn start(&mut self, mapping: &str) {
        self.consumer = Some(self.run(mapping));
    }

    /// Starts a consumer with this mapping and these flags.
    pub(crate) fn start_with(&mut self, mapping: &str, flags: &[&str]) {
        self.consumer = Some(self.run_with(mapping, flags));
    }

    /// Starts a consumer beside the world's own.
    pub(crate) fn run(&self, mapping: &str) -> Running {
        self.run_with(mapping, &[])
    }

    /// Starts a consumer with these flags beside the world's own.
    pub(crate) fn run_with(&self, mapping: &str, flags: &[&str]) -> Running {
        self.run_at(self.uri(), mapping, flags)
    }

    /// Starts one that connects to PostgreSQL as this role, beside the world's own.
    pub(crate) fn run_as(&self, role: &str, mapping: &str) -> Running {
        let (scheme, rest) = self.uri().split_once("://").unwrap();
        let (_, place) = rest.split_once('@').unwrap();
        self.run_at(&format!("{scheme}://{role}:owner@{place}"), mapping, &[])
    }

    fn run_at(&self, uri: &str, mapping: &str, flags: &[&str]) -> Running {
        let shutdown = Shutdown::new();
        // Free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = free.local_addr().unwrap();
        drop(free);
        let admin_flag = admin.to_string();
        let file = self.file(mapping);
        let words: Vec<String> = [
            "leafcutter-consumer",
            "run",
            "--prefix",
            &self.prefix,
            "--group",
            "g",
            "--kafka-brokers",
            self.brokers(),
            "--postgres-uri",
            uri,
            "--admin",
            &admin_flag,
            "--mapping",
        ]
        .map(str::to_owned)
        .into();
        let words = words.into_iter().chain([file.display().to_string()]);
        let flags = flags.iter().map(|&flag| flag.to_owned());
        let cli = Cli::parse_from(words.chain(flags));
        let Verb::Run(settings) = cli.verb;
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(Box::pin(pipeline::run(*settings, stop)))
        });
        Running {
            shutdown,
            thread,
            admin,
        }
    }
}
