//! How changes are found, and in which collections: flags → a checked choice.

use super::collections::list;
use bson::DateTime;
use clap::{Args, ValueEnum};
use leafcutter_runtime::{
    report::{Fault, Faults},
    units,
};
use leafcutter_schemas::{
    mapping::{Collection, Mapping},
    name,
};
use std::time::Duration;

/// The way changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Way {
    /// The change stream of a replica set
    #[default]
    Stream,
    /// Reading again what has newer dates; DELETES ARE NOT SEEN, their rows stay
    Poll,
}

/// The flags.
#[derive(Debug, Args)]
pub(super) struct CaptureOptions {
    /// How changes are found. `poll` is for what has no change stream: a standalone server, a
    /// time series. The mapping names the dates to find them by (`poll_by`)
    #[arg(
        long,
        env = "LEAFCUTTER_CAPTURE",
        default_value = "stream",
        value_name = "WAY"
    )]
    capture: Way,
    /// With `--capture poll`: the pause between two polls
    #[arg(long, env = "LEAFCUTTER_POLL_INTERVAL", default_value = "10s", value_name = "TIME",
          value_parser = units::duration)]
    poll_interval: Duration,
    /// With `--capture poll`: how far each poll goes back behind the beginning of the one before.
    /// More than a write takes, from its date to its end, and than the application's clocks differ
    #[arg(long, env = "LEAFCUTTER_POLL_OVERLAP", default_value = "1m", value_name = "TIME",
          value_parser = units::duration)]
    poll_overlap: Duration,
    /// With `--capture poll`: the first poll goes back to this date, where that is earlier, as
    /// 2024-01-01 or 2024-01-01T12:00:00Z. For documents that were changed without their dates
    #[arg(long, env = "LEAFCUTTER_POLL_SINCE", value_name = "DATE", value_parser = parse_date)]
    poll_since: Option<DateTime>,
    /// Only these collections of the mapping; a second producer with the same `--capture` needs a
    /// `--name` of its own
    #[arg(
        long,
        env = "LEAFCUTTER_ONLY",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    only: Vec<String>,
    /// All collections of the mapping but these
    #[arg(
        long,
        env = "LEAFCUTTER_EXCEPT",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    except: Vec<String>,
}

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// By the change stream.
    Stream,
    /// By polling.
    Poll(Polling),
}

impl Capture {
    /// How to poll, where it is polled.
    pub fn polling(self) -> Option<Polling> {
        match self {
            Self::Stream => None,
            Self::Poll(polling) => Some(polling),
        }
    }

    /// Its name in checkpoints; none for the stream, which was there first.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Stream => "",
            Self::Poll(_) => "poll",
        }
    }
}

/// How to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polling {
    /// The pause between two polls.
    pub interval: Duration,
    /// How far a poll goes back behind the beginning of the one before.
    pub overlap: Duration,
    /// The millisecond since 1970 that the first poll goes back to.
    pub since: Option<i64>,
}

/// What was chosen.
#[derive(Debug)]
pub(super) struct Choice {
    /// How changes are found.
    pub(super) capture: Capture,
    only: Vec<String>,
    except: Vec<String>,
}

impl CaptureOptions {
    /// Checks what does not need the mapping.
    pub(super) fn check(self, faults: &mut Faults) -> Choice {
        const INTERVAL_MIN: Duration = Duration::from_millis(100);
        if self.poll_interval < INTERVAL_MIN {
            faults.push(Fault::new(
                "refused an interval between polls",
                "`--poll-interval`",
                "each poll asks the source for every collection",
                "Give at least 100ms; 10s is the default.",
            ));
        }
        if self.capture == Way::Stream && self.poll_since.is_some() {
            faults.push(Fault::new(
                "could not go back to a date",
                "`--poll-since`",
                "a change stream has no dates to go by",
                "Add `--capture poll`, or leave the flag out.",
            ));
        }
        let capture = match self.capture {
            Way::Stream => Capture::Stream,
            Way::Poll => Capture::Poll(Polling {
                interval: self.poll_interval,
                overlap: self.poll_overlap,
                since: self.poll_since.map(DateTime::timestamp_millis),
            }),
        };
        Choice {
            capture,
            only: self.only,
            except: self.except,
        }
    }
}

impl Choice {
    /// One collection alone, of which it is known how it is followed.
    pub(super) fn alone(capture: Capture, collection: &str) -> Self {
        Self {
            capture,
            only: vec![collection.to_owned()],
            except: Vec::new(),
        }
    }

    /// Whether a collection was chosen.
    pub(super) fn takes(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|other| other == name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.except)
    }

    /// The producer's name, where none is given. Two producers of one database, of which one polls
    /// what the other cannot follow, have a name each.
    pub(super) fn producer_name(&self, prefix: &str, database: &str) -> String {
        let name = name::producer_name(prefix, database);
        match self.capture {
            Capture::Stream => name,
            Capture::Poll(_) => format!("{name}.poll"),
        }
    }

    /// Checks the collections of a database: what is named is there, something is left, and what is
    /// polled has dates.
    pub(super) fn check(&self, mapping: &Mapping, file: &str, database: &str, faults: &mut Faults) {
        let known = mapping.collections.iter();
        let known: Vec<&Collection> = known.filter(|c| c.database == database).collect();
        let names: Vec<&str> = known.iter().map(|c| c.name.as_str()).collect();
        for (flag, named) in [("--only", &self.only), ("--except", &self.except)] {
            for name in named.iter().filter(|name| !names.contains(&name.as_str())) {
                faults.push(Fault::new(
                    "could not find a collection in the mapping",
                    format!("`{flag} {name}`"),
                    format!("of `{database}` it names {}", list(&names)),
                    "Choose from these; several are separated by commas.",
                ));
            }
        }
        let chosen: Vec<&Collection> = known.into_iter().filter(|c| self.takes(&c.name)).collect();
        if chosen.is_empty() && !names.is_empty() {
            faults.push(Fault::new(
                "could not begin without a collection",
                "`--only` and `--except`",
                "nothing of the mapping is left",
                "Name fewer of them.",
            ));
        }
        if self.capture == Capture::Stream {
            return;
        }
        for collection in chosen.into_iter().filter(|c| c.poll_by.is_empty()) {
            let (line, column) = collection.at;
            faults.push(Fault::new(
                "could not poll a collection",
                format!("{file}:{line}:{column}"),
                format!(
                    "collections.{}: it names no dates, and nothing else tells what has changed",
                    collection.name
                ),
                "Add `poll_by: [created_at, updated_at]`, the paths of its dates; or leave the \
                 collection out with `--except`.",
            ));
        }
    }
}

/// `2024-01-01`, `2024-01-01T12:00:00Z`.
pub(super) fn parse_date(text: &str) -> Result<DateTime, String> {
    let text = text.trim();
    let midnight = format!("{text}T00:00:00Z");
    DateTime::parse_rfc3339_str(text)
        .or_else(|_| DateTime::parse_rfc3339_str(&midnight))
        .map_err(|_| "expected a date as 2024-01-01 or 2024-01-01T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_or_times() {
        let millis = |text| parse_date(text).map(DateTime::timestamp_millis);
        assert_eq!(millis("2024-01-01"), Ok(1_704_067_200_000));
        assert_eq!(millis("2024-01-01T01:00:00+01:00"), Ok(1_704_067_200_000));
        assert!(millis("yesterday").is_err());
    }
}
