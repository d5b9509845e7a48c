//! What `replay` is told.

use crate::settings::Installation;
use clap::{ArgGroup, Args};
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_runtime::kafka::KafkaSettings;

/// What stands below the help.
pub(crate) const HELP: &str = "\
Sets the group's position in these topics back, to the start or to a time or an
offset. Running consumers notice, start there, and apply what is newer or,
under a changed mapping, different. What is the same is not written again.

With --into, nothing in use is touched: the topics are applied from their start
to new tables in a schema of their own, under the mapping given here, while the
consumers go on with theirs. --swap exchanges the tables in one transaction:
readers see the old ones or the new ones. A changed mapping is in force from
then on; consumers with another one stop (exit code 7) and start again with it.
The old tables stay, in the other schema. Stopped in between, the same command
goes on; --discard gives the new tables up. It reads as the consumer group
GROUP-into-SCHEMA, which Kafka has to allow where it asks for permissions.

Examples:
  leafcutter replay learners --dry-run
  leafcutter replay learners quiz_attempts
  leafcutter replay learners --since 2h
  leafcutter replay learners --offset 0:1200 --offset 1:1180
  leafcutter replay --all --yes --no-wait
  leafcutter replay --into next --mapping new.yaml
  leafcutter replay --into next --mapping new.yaml --swap
  leafcutter replay --into next --discard

Exit codes: 0; 1 when it was interrupted; 2 when nobody can confirm and --yes
is missing; 3; 4; 5 when Kafka no longer has what is to be applied; 6 when
something hangs on the tables in use that the new ones lack; 7 when new tables
in that schema were begun with another mapping.";

/// The settings of `replay`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["collections", "all", "into"]))]
pub struct ReplaySettings {
    /// These collections
    #[arg(value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// All collections
    #[arg(long)]
    pub all: bool,
    /// Only records that came to Kafka since: a time such as
    /// 2026-01-31T12:00:00Z, or so long ago: 2h
    #[arg(long, value_name = "TIME", value_parser = crate::dead_letters::settings::moment,
        conflicts_with_all = ["into", "offset"])]
    pub since: Option<f64>,
    /// Only records of this partition from this offset on; say it for each
    /// partition that is meant, of one collection
    #[arg(long, value_name = "PARTITION:OFFSET", value_parser = place,
        conflicts_with_all = ["into", "all"])]
    pub offset: Vec<(i32, i64)>,
    /// Fill new tables in this schema, beside those in use: all collections of
    /// the mapping
    #[arg(long, value_name = "SCHEMA", conflicts_with = "no_wait")]
    pub into: Option<String>,
    /// Then exchange the tables in use with the new ones
    #[arg(long, requires = "into")]
    pub swap: bool,
    /// Drop the new tables and forget what is known of them
    #[arg(long, requires = "into", conflicts_with = "swap")]
    pub discard: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Do not wait until everything is applied again
    #[arg(long)]
    pub no_wait: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where Kafka is.
    #[command(flatten, next_help_heading = "Servers")]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}

/// `PARTITION:OFFSET`.
fn place(text: &str) -> Result<(i32, i64), String> {
    let parts = text.split_once(':');
    let read = parts.and_then(|(partition, offset)| {
        let place: (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
        (place.0 >= 0 && place.1 >= 0).then_some(place)
    });
    read.ok_or_else(|| "expected PARTITION:OFFSET, such as 0:1200".to_owned())
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn an_offset_is_one_of_a_partition() {
        assert_eq!(place("3:1200"), Ok((3, 1200)));
        for wrong in ["", "3", "3:", ":1", "-1:0", "0:-1", "a:b"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
