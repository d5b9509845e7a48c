//! Limits on memory and on time.

use clap::Args;
use leafcutter_runtime::{
    report::{Fault, Faults},
    units,
};
use std::time::Duration;

/// The flags.
#[derive(Debug, Args)]
pub(super) struct LimitOptions {
    /// Bytes of documents in hand at most, from the read to Kafka's acknowledgement
    #[arg(long, env = "LEAFCUTTER_MEMORY_BUDGET", default_value = "48MiB", value_name = "BYTES",
          value_parser = units::bytes::<usize>)]
    pub(super) memory_budget: usize,
    /// How often the position is stored; at most 10s
    #[arg(long, env = "LEAFCUTTER_CHECKPOINT_INTERVAL", default_value = "2s", value_name = "TIME",
          value_parser = units::duration)]
    pub(super) checkpoint_interval: Duration,
    /// How often consumers are told how far the source is
    #[arg(long, env = "LEAFCUTTER_HEARTBEAT_INTERVAL", default_value = "1s", value_name = "TIME",
          value_parser = units::duration)]
    pub(super) heartbeat_interval: Duration,
    /// How long a stop may take before the program leaves
    #[arg(long, env = "LEAFCUTTER_DRAIN", default_value = "20s", value_name = "TIME",
          value_parser = units::duration)]
    pub(super) drain: Duration,
}

impl LimitOptions {
    /// Tells every limit that would do harm.
    pub(super) fn check(&self, faults: &mut Faults) {
        const BUDGET_MIN: usize = 8 << 20;
        if self.memory_budget < BUDGET_MIN {
            faults.push(Fault::new(
                "refused a memory budget",
                "`--memory-budget`",
                "less than 8 MiB leaves no room for a reply and its records",
                "Give at least 8MiB; 48MiB is the default.",
            ));
        }
        let checkpoint = self.checkpoint_interval;
        if checkpoint.is_zero() || checkpoint > Duration::from_secs(10) {
            faults.push(Fault::new(
                "refused a checkpoint interval",
                "`--checkpoint-interval`",
                "it has to be above 0 and at most 10 s: an old position costs the source a long \
                 scan",
                "Give a time between 100ms and 10s.",
            ));
        }
        if self.heartbeat_interval < Duration::from_millis(50) {
            faults.push(Fault::new(
                "refused a heartbeat interval",
                "`--heartbeat-interval`",
                "each heartbeat asks the broker for every partition's end",
                "Give at least 50ms; 1s is the default.",
            ));
        }
    }
}
