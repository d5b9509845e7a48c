//! What a round can be told.

use crate::{accounts::Accounts, smartdiet::SmartDiet, workload::Workload};
use clap::{Parser, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  make soak                                 rounds of every workload
  leafcutter-soak --workload smartdiet --seed 7
                                            one round, on servers that run already

The servers come from LEAFCUTTER_MONGODB_URI, LEAFCUTTER_KAFKA_BROKERS,
LEAFCUTTER_POSTGRES_URI and LEAFCUTTER_STACK_DIR.
Exit codes: 0 every row was right; 1 anything else; 2 usage.";

/// Migrates a system under random writes and random faults, and compares every row.
#[derive(Debug, Parser)]
#[command(name = "leafcutter-soak", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Settings {
    /// Which system
    #[arg(long, value_name = "NAME", value_enum)]
    pub workload: Choice,
    /// Which writes and which faults
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many faults
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub faults: u16,
    /// Steps of the application a second, each of one or several writes
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// How many consumers share the work
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=8))]
    pub consumers: u8,
}

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// Thirty tables in six tiers, links in arrays, the newest of several documents
    Smartdiet,
    /// One flat table with a unique column
    Accounts,
}

impl Choice {
    /// The workload.
    #[must_use]
    pub fn workload(self) -> Box<dyn Workload> {
        match self {
            Self::Smartdiet => Box::new(SmartDiet::default()),
            Self::Accounts => Box::new(Accounts::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Settings::command().debug_assert();
    }
}
