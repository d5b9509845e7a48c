//! What the benchmark can be told.

use clap::Parser;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  make bench                                  the standard run, about 2 minutes
  deploy/local/bench --updates 1000000        with a backlog of a million
  deploy/local/bench --large 300              and 300 documents of 1 MB
  deploy/local/bench --documents 50000 --updates 0 --seconds 0
                                              a short snapshot, nothing else
  deploy/local/bench --producer '--kafka linger.ms=1' --json > figures.json

The servers come from LEAFCUTTER_MONGODB_URI, LEAFCUTTER_KAFKA_BROKERS and
LEAFCUTTER_POSTGRES_URI; deploy/local/bench starts some. Each run makes
databases and topics of its own and removes them.
Exit codes: 0 every row was right; 1 one was not, or the run failed; 2 usage.
A slow run is no failure.";

/// Measures a migration of learners on servers that run already; `make bench` starts some.
#[derive(Debug, Parser)]
#[command(name = "leafcutter-bench", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Settings {
    /// Documents of 540 bytes that the snapshot carries
    #[arg(long, default_value_t = 500_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(10_000..=50_000_000))]
    pub documents: u32,
    /// Updates in the backlog that the stream drains; a quarter as many inserts and as many
    /// deletes follow; 0: none
    #[arg(long, default_value_t = 200_000, value_name = "COUNT")]
    pub updates: u32,
    /// Seconds for which the latency of single writes is measured; 0: not at all
    #[arg(long, default_value_t = 20, value_name = "SECS")]
    pub seconds: u32,
    /// Writes a second in that time
    #[arg(long, default_value_t = 2_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Also carry so many documents of 1 MB, and an update of each; 300 when no number is given
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_value_t = 0, default_missing_value = "300",
          value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub large: u32,
    /// How many consumers share the work
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub consumers: u8,
    /// Which data: the same seed gives the same documents
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// More flags for the producer, as one text
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub producer: String,
    /// More flags for each consumer, as one text
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub consumer: String,
    /// Seconds after which a phase is given up
    #[arg(long, default_value = "900", value_name = "SECS", value_parser = seconds)]
    pub deadline: Duration,
    /// Print the figures as JSON; progress goes to the standard error
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number of seconds")?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_is_sound() {
        Settings::command().debug_assert();
        let parse = |line: &str| Settings::try_parse_from(line.split(' '));
        assert_eq!(parse("b --large").unwrap().large, 300);
        assert_eq!(parse("b --large 7 --json").unwrap().large, 7);
        assert!(parse("b --documents 10").is_err(), "too few to measure");
    }
}
