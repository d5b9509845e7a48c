//! What the benchmark can be told.

use super::workload::Choice;
use clap::Parser;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  make bench                                  all workloads, about 6 minutes
  deploy/local/bench --workload orders        one of them
  deploy/local/bench --workload learners --updates 1000000
                                              with a backlog of a million
  deploy/local/bench --workload learners --large 300
                                              and 300 documents of 1 MB
  deploy/local/bench --documents 50000 --updates 0 --seconds 0
                                              short snapshots, a tenth of each
  deploy/local/bench --producer '--kafka linger.ms=1' --json > figures.json

The servers come from LEAFCUTTER_MONGODB_URI, LEAFCUTTER_KAFKA_BROKERS and
LEAFCUTTER_POSTGRES_URI, and what they use from their processes below
LEAFCUTTER_STACK_DIR; deploy/local/bench starts some. Each run makes
databases and topics of its own and removes them.
Exit codes: 0 every row was right; 1 one was not, or the run failed; 2 usage.
A slow run is no failure.";

/// Measures migrations on servers that run already; `make bench` starts some.
#[derive(Debug, Parser)]
#[command(name = "leafcutter-bench", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Settings {
    /// Which data, with commas between
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',', default_values_t = Choice::ALL)]
    pub workload: Vec<Choice>,
    /// Documents that the snapshot of the first workload carries; those of the others keep their
    /// proportion to it [default: learners 500,000; finlit 60,000; orders 40,000; wide 6,000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1_000..=50_000_000))]
    pub documents: Option<u32>,
    /// Updates in the backlog that the stream drains, with the others in proportion; a quarter as many
    /// deletes follow, and with learners as many inserts; 0: none [default: learners 200,000;
    /// finlit 12,000; orders 16,000; wide 3,000]
    #[arg(long, value_name = "COUNT")]
    pub updates: Option<u32>,
    /// Seconds for which the latency of single writes is measured at each rate; 0: not at all
    #[arg(long, default_value_t = 10, value_name = "SECS")]
    pub seconds: u32,
    /// Writes a second in that time, one rate after the other, with learners
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [500, 2_000, 5_000],
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rates: Vec<u32>,
    /// The one rate of all workloads [default: --rates; finlit and orders 500; wide 200]
    #[arg(long, value_name = "COUNT", conflicts_with = "rates",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: Option<u32>,
    /// Also carry so many learners of 1 MB, and an update of each; 300 when no number is given
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
    use super::{Choice, Settings};
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_is_sound() {
        Settings::command().debug_assert();
        let parse = |line: &str| Settings::try_parse_from(line.split(' '));
        assert_eq!(parse("b --large").unwrap().large, 300);
        assert_eq!(parse("b --large 7 --json").unwrap().large, 7);
        assert!(parse("b --documents 10").is_err(), "too few to measure");
        assert!(parse("b --rate 5 --rates 5,6").is_err(), "one or several");
        assert_eq!(parse("b").unwrap().workload, Choice::ALL);
        let chosen = parse("b --workload wide,orders").unwrap().workload;
        assert_eq!(chosen, [Choice::Wide, Choice::Orders]);
        assert!(parse("b --workload lerners").is_err());
    }
}
