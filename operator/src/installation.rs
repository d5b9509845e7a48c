//! Which installation a verb is about.

use clap::Args;
use std::path::PathBuf;

/// Which installation is meant.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Installation")]
pub struct Installation {
    /// What every topic's name begins with
    #[arg(long, env = "LEAFCUTTER_PREFIX", default_value = "leafcutter")]
    pub prefix: String,
    /// The consumer group
    #[arg(long, env = "LEAFCUTTER_GROUP", default_value = "leafcutter")]
    pub group: String,
    /// The mapping file
    #[arg(long, env = "LEAFCUTTER_MAPPING", value_name = "FILE")]
    pub mapping: Option<PathBuf>,
}
