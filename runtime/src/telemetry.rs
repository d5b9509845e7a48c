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
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, ParseError, Targets},
    fmt::{MakeWriter, format::Writer, time::FormatTime, writer::MakeWriterExt as _},
    layer::SubscriberExt as _,
    registry::LookupSpan,
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
    let (level, file) = match file {
        None => (format!("{level},{RUN_LOG}=off"), None),
        Some((path, kept)) => {
            let opened = File::options().create(true).append(true).open(path);
            let opened = opened.map_err(|error| {
                let place = format!("`{}`", path.display());
                let next = "Name a file in a folder that is there and that this user may write to.";
                let what = "could not open the log file";
                Fault::new(what, place, error.to_string(), next)
            })?;
            let most = more(level, kept);
            (format!("{most},{RUN_LOG}=info"), Some((opened, level)))
        }
    };
    let filter = filter(&level).map_err(fault)?;
    let registry = tracing_subscriber::registry().with(filter);
    let installed = match file {
        None => registry
            .with(layer(std::io::stderr, json, terminal))
            .try_init(),
        Some((file, level)) => {
            let shown = shown(level).map_err(fault)?;
            let stderr = std::io::stderr.with_filter(shown);
            registry
                .with(layer(stderr, json, terminal))
                .with(layer(Arc::new(file), json, false))
                .try_init()
        }
    };
    installed.map_err(|error| fault(error.to_string()))?;
    log_panics();
    let version = env!("CARGO_PKG_VERSION");
    tracing::debug!(program, version, "log ready");
    let command = redact_words(std::env::args().skip(1));
    tracing::info!(target: RUN_LOG, program, version, command, "run");
    Ok(())
}

/// What lets through all that either does. Of two levels in one filter the later one prevails.
fn more(one: &str, other: &str) -> String {
    match (one.parse::<LevelFilter>(), other.parse::<LevelFilter>()) {
        (Ok(one), Ok(other)) => one.max(other).to_string(),
        _ => format!("{one},{other}"),
    }
}

/// What is shown beside a file that takes more. It is left to the writer: a filter of each layer would lose the
/// event that follows a question whether some other one is wanted (tracing issue 2519), which librdkafka's
/// clients ask when they are made.
fn shown(level: &str) -> Result<impl Fn(&Metadata<'_>) -> bool + use<>, String> {
    let targets: Targets = format!("{QUIET},{level},{RUN_LOG}=off")
        .parse()
        .map_err(|error: ParseError| error.to_string())?;
    Ok(move |event: &Metadata<'_>| targets.would_enable(event.target(), event.level()))
}

fn layer<S, W>(writer: W, json: bool, ansi: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
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

    use super::{RUN_LOG, filter, layer, more, shown as shown_beside};
    use tracing_subscriber::{fmt::writer::MakeWriterExt as _, layer::SubscriberExt as _};

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

    /// Also the line after a question whether a line would be wanted, which is how clients of Kafka begin.
    #[test]
    fn a_log_file_takes_more_than_the_terminal_and_neither_loses_a_line() {
        let (terminal, file) = (Lines::default(), Lines::default());
        let writer = |lines: &Lines| {
            let lines = lines.clone();
            move || lines.clone()
        };
        let shown = writer(&terminal).with_filter(shown_beside("warn").unwrap());
        let subscriber = tracing_subscriber::registry()
            .with(filter(&format!("info,{RUN_LOG}=info")).unwrap())
            .with(layer(shown, true, false))
            .with(layer(writer(&file), true, false));
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG));
            tracing::warn!("first");
            tracing::info!("second");
            tracing::info!(target: RUN_LOG, "third");
        });
        let lines = |lines: &Lines| String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let (terminal, file) = (lines(&terminal), lines(&file));
        assert!(terminal.contains("first"), "{terminal}");
        assert!(
            !terminal.contains("second") && !terminal.contains("third"),
            "{terminal}"
        );
        for line in ["first", "second", "third"] {
            assert!(file.contains(line), "{file}");
        }
    }

    #[test]
    fn of_two_levels_the_one_that_lets_more_through_counts() {
        assert_eq!(more("warn", "info"), "info");
        assert_eq!(more("debug", "info"), "debug");
        let both = filter(&more("warn,leafcutter_sink=debug", "info")).unwrap();
        assert!(both.to_string().ends_with("info"), "{both}");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(filter("leafcutter=shout").is_err());
    }
}
