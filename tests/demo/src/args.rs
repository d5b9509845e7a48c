//! What the demo can be told.

use super::apart::{CompareSettings, LoadSettings, TrialSettings};
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, time::Duration};

/// Shows a whole migration on servers that run already; `make demo` starts some.
#[derive(Debug, Parser)]
#[command(name = "leafcutter-demo", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fill MongoDB, migrate it while an application writes to it, and compare everything
    #[command(after_help = "\
The servers come from LEAFCUTTER_MONGODB_URI, LEAFCUTTER_KAFKA_BROKERS and
LEAFCUTTER_POSTGRES_URI; the databases have to be empty.
Exit codes: 0 nothing is missing, extra or different; 1 anything else; 2 usage.")]
    Run(Box<Settings>),
    /// Fill MongoDB, and no more
    Load(LoadSettings),
    /// Wait until everything is applied, and compare every document with every row
    Compare(CompareSettings),
    /// Write to a MongoDB that was just loaded until Ctrl-C; then wait, and compare everything
    Trial(TrialSettings),
}

/// The settings of `run`.
#[derive(Debug, Args)]
pub struct Settings {
    /// Which data: the same seed gives the same documents
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// How much data: 1 is about 200,000 documents
    #[arg(long, env = "SCALE", default_value_t = 1.0, value_parser = scale)]
    pub scale: f64,
    /// Writes a second while the migration runs
    #[arg(long, env = "RATE", default_value_t = 300, value_name = "N")]
    pub rate: u32,
    /// How many consumers share the work
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub consumers: u8,
    /// Seconds for which the writes go on after the snapshot
    #[arg(long, default_value = "5", value_name = "SECS", value_parser = seconds)]
    pub after: Duration,
    /// Kill the producer, a consumer and each server once meanwhile, and bring them back
    #[arg(long)]
    pub kill: bool,
    /// Whom to kill when: the same seed gives the same order and pauses; random by default
    #[arg(long, env = "KILL_SEED", value_name = "N", requires = "kill")]
    pub kill_seed: Option<u64>,
    /// Make so many random faults in place of these five kills: kill, stop or freeze programs, kill or
    /// freeze servers, end PostgreSQL's sessions
    #[arg(long, value_name = "N", requires = "kill", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub faults: Option<u16>,
    /// Seconds after which the demo gives up
    #[arg(long, default_value = "600", value_name = "SECS", value_parser = seconds)]
    pub deadline: Duration,
    /// The database of MongoDB
    #[arg(long, default_value = "finlit", value_name = "NAME")]
    pub database: String,
    /// What every topic's name begins with
    #[arg(long, env = "LEAFCUTTER_PREFIX", default_value = "leafcutter")]
    pub prefix: String,
    /// The consumer group
    #[arg(long, env = "LEAFCUTTER_GROUP", default_value = "leafcutter")]
    pub group: String,
    /// Where the mapping and the programs' logs go; a folder for temporary files by default
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

impl Settings {
    /// Where the mapping and the logs go.
    pub fn folder(&self) -> PathBuf {
        self.folder
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join("leafcutter-demo"))
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number of seconds")?;
    Ok(Duration::from_secs(seconds))
}

pub(super) fn scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.001..=100.0).contains(&scale) {
        Ok(scale)
    } else {
        Err("from 0.001 to 100".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
