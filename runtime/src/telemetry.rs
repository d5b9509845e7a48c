//! Log lines and the panic hook.
//!
//! It takes a level and a format and gives one subscriber for the whole process, writing to
//! stderr: stdout belongs to the results of a verb. Libraries that talk much are held at `warn`
//! unless the filter names them. A panic becomes one log line with its thread and place; the
//! process goes on until the task set sees the panic and ends it in order.
//!
//! Where a log file is named, the same goes there as well, behind what is there; also what was run, without its
//! secrets, and how it ended, which a person at the terminal sees anyway.

use crate::{
    exit::Exit,
    report::{Failure, Fault},
    secret::redact_words,
};
use clap::{Args, ValueEnum};
use std::{
    fmt,
    fs::File,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
};
use time::OffsetDateTime;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{MakeWriter, format::Writer, time::FormatTime},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Libraries held at `warn`. What stands later in a filter wins, so a user's own words prevail.
const QUIET: &str = "rdkafka=warn,librdkafka=warn,mongodb=warn,hyper=warn,tokio_postgres=warn,\
                     hickory_resolver=warn,hickory_proto=warn";
/// The target of what only the log file says.
pub const RUN_LOG: &str = "run_log";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Plain on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One line for people.
    Plain,
    /// One JSON object per line, for collectors.
    Json,
}

/// Flags of the log, to be flattened into a program's own.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    /// Level, or a filter such as `info,leafcutter_consumer=debug`
    #[arg(
        long = "log",
        env = "LEAFCUTTER_LOG",
        default_value = "info",
        value_name = "LEVEL"
    )]
    pub level: String,
    /// How log lines look
    #[arg(
        long = "log-format",
        env = "LEAFCUTTER_LOG_FORMAT",
        default_value = "auto"
    )]
    pub format: LogFormat,
    /// Log into this file as well, behind what is there
    #[arg(long = "log-file", env = "LEAFCUTTER_LOG_FILE", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

impl LogSettings {
    /// [`init`] with these settings.
    pub fn init(&self, program: &str) -> Result<(), Fault> {
        let file = self.file.as_deref().map(|file| (file, self.level.as_str()));
        init(program, self.format, &self.level, file)
    }
}

/// Installs the subscriber and the panic hook. Called once, first thing in `main`. A log file has a level of
/// its own.
pub fn init(
    program: &str,
    format: LogFormat,
    level: &str,
    file: Option<(&Path, &str)>,
) -> Result<(), Fault> {
    let fault = |why: String| {
        Fault::new(
            "could not set up the log",
            "`--log` or `LEAFCUTTER_LOG`",
            why,
            "Use a level (error, warn, info, debug, trace) or a filter such as \
             `info,leafcutter_consumer=debug`.",
        )
    };
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Plain => false,
        LogFormat::Json => true,
    };
    let shown = filter(&format!("{level},{RUN_LOG}=off")).map_err(fault)?;
    let mut layers = vec![
        layer(std::io::stderr, json, terminal)
            .with_filter(shown)
            .boxed(),
    ];
    if let Some((path, level)) = file {
        let opened = File::options().create(true).append(true).open(path);
        let opened = opened.map_err(|error| {
            let place = format!("`{}`", path.display());
            let next = "Name a file in a folder that is there and that this user may write to.";
            Fault::new(
                "could not open the log file",
                place,
                error.to_string(),
                next,
            )
        })?;
        let kept = filter(&format!("{level},{RUN_LOG}=info")).map_err(fault)?;
        layers.push(
            layer(Arc::new(opened), json, false)
                .with_filter(kept)
                .boxed(),
        );
    }
    let installed = tracing_subscriber::registry().with(layers).try_init();
    installed.map_err(|error| fault(error.to_string()))?;
    log_panics();
    let version = env!("CARGO_PKG_VERSION");
    tracing::debug!(program, version, "log ready");
    let command = redact_words(std::env::args().skip(1));
    tracing::info!(target: RUN_LOG, program, version, command, "run");
    Ok(())
}

fn layer<W>(writer: W, json: bool, ansi: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(ansi)
        .with_timer(Clock)
        .with_target(false);
    if json {
        layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed()
    } else {
        layer.compact().boxed()
    }
}

/// Tells the log file how the program has ended.
pub fn ended(result: &Result<Exit, Failure>) {
    match result {
        Ok(exit) => tracing::info!(target: RUN_LOG, exit_code = exit.code(), "ended"),
        Err(failure) => {
            for fault in &failure.faults.0 {
                let Fault {
                    what,
                    place,
                    why,
                    next,
                } = fault;
                tracing::error!(target: RUN_LOG, place, error = why, next, "{what}");
            }
            tracing::info!(target: RUN_LOG, exit_code = failure.exit.code(), "ended");
        }
    }
}

/// UTC to the millisecond: enough to order what a person reads.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        let now = OffsetDateTime::now_utc();
        let (date, hour, minute, second, millis) = (
            now.date(),
            now.hour(),
            now.minute(),
            now.second(),
            now.millisecond(),
        );
        write!(out, "{date}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{level}"))
        .map_err(|error| error.to_string())
}

/// One line per panic, in the log's own format, in place of the default text on stderr.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("a panic without a text");
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(thread, place, error = message, "panicked; this is a bug");
    }));
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::filter;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `level` lets through of one line of ours and one of a talkative library.
    fn shown(level: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(level).unwrap())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "leafcutter_consumer", "ours");
            tracing::info!(target: "rdkafka::client", "theirs");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn talkative_libraries_are_quiet_until_they_are_named() {
        let calm = shown("info");
        assert!(calm.contains("ours") && !calm.contains("theirs"), "{calm}");
        let asked = shown("info,rdkafka=debug");
        assert!(
            asked.contains("ours") && asked.contains("theirs"),
            "{asked}"
        );
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(filter("leafcutter=shout").is_err());
    }
}
