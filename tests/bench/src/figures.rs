//! What was measured.

use serde::Serialize;

/// Memory and CPU of a program in a phase.
#[derive(Debug, Clone, Serialize)]
pub struct Used {
    /// Which one.
    pub program: String,
    /// The most memory it held.
    pub peak_kib: u64,
    /// CPU time.
    pub cpu_seconds: f64,
}

/// CPU of a server in a phase, with that of its child processes.
#[derive(Debug, Clone, Serialize)]
pub struct ServerUsed {
    /// Which one.
    pub server: &'static str,
    /// CPU time.
    pub cpu_seconds: f64,
}

/// A phase in which so many things become rows.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// What was counted.
    pub unit: &'static str,
    /// How many.
    pub count: u64,
    /// From the start of the producer, or of the replay, to the first commit.
    pub first_seconds: f64,
    /// From that start to the last commit.
    pub seconds: f64,
    /// From that start until nothing waited any more and no index or foreign key was to come.
    pub settled_seconds: f64,
    /// Per second of the time to the last commit.
    pub per_second: f64,
    /// The machine's load average when it began.
    pub load: Option<f64>,
    /// What the programs used until the last commit.
    pub used: Vec<Used>,
    /// What the servers used until then, where their processes are known.
    pub servers: Vec<ServerUsed>,
    /// Bytes of Kafka's log for each of what was counted; not in a replay, or where the files are not known.
    pub kafka_bytes_each: Option<f64>,
    /// Bytes of PostgreSQL's write-ahead log for each.
    pub wal_bytes_each: f64,
    /// Records that a replay found unchanged.
    pub unchanged: Option<u64>,
}

/// Latencies of single writes, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// Writes that were timed.
    pub writes: u64,
    /// How many a second were asked for.
    pub rate: u32,
    /// How many a second were acknowledged.
    pub rate_reached: f64,
    /// From the acknowledgement to the commit in PostgreSQL.
    pub whole: Spread,
    /// From the acknowledgement until the producer handed the record to its Kafka client.
    pub to_kafka: Spread,
    /// From there to the commit.
    pub from_kafka: Spread,
    /// How long a write waited for its own acknowledgement.
    pub acknowledge: Spread,
    /// The time between two looks at the positions, by which the commit may be seen late.
    pub looks: Spread,
    /// The machine's load average when it began.
    pub load: Option<f64>,
    /// What the programs used.
    pub used: Vec<Used>,
    /// What the servers used.
    pub servers: Vec<ServerUsed>,
}

/// A distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// Half are below.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of microseconds.
    pub fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let millis = |micros: u64| micros as f64 / 1000.0;
        Self {
            p50: millis(histogram.value_at_quantile(0.5)),
            p99: millis(histogram.value_at_quantile(0.99)),
            max: millis(histogram.max()),
        }
    }
}

/// What the servers need for the same documents and rows alone.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Limit {
    /// Documents that were scanned, and whose rows were copied.
    pub documents: u64,
    /// Bytes of MongoDB's replies.
    pub scan_bytes: u64,
    /// Time of the raw scan.
    pub scan_seconds: f64,
    /// Documents a second of it.
    pub scan_per_second: f64,
    /// Rows that were copied.
    pub rows: u64,
    /// Bytes of them.
    pub row_bytes: u64,
    /// Time of copying, into tables with their primary keys.
    pub copy_seconds: f64,
    /// Time of the other indexes and the foreign keys after it.
    pub constraints_seconds: f64,
    /// Documents a second of both together.
    pub copy_per_second: f64,
    /// The snapshot's documents a second by those of the scan.
    pub snapshot_to_scan: f64,
    /// The snapshot's documents a second by those of copying.
    pub snapshot_to_copy: f64,
}

impl Limit {
    /// Works out what follows from what was measured, and from the snapshot's documents a second.
    pub fn against(&mut self, snapshot: f64) {
        let rate = |seconds: f64| self.documents as f64 / seconds.max(0.001);
        let (scan, copy) = (
            rate(self.scan_seconds),
            rate(self.copy_seconds + self.constraints_seconds),
        );
        (self.scan_per_second, self.copy_per_second) = (scan, copy);
        (self.snapshot_to_scan, self.snapshot_to_copy) = (snapshot / scan, snapshot / copy);
    }
}

/// What was measured of one kind of data.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Run {
    /// Its name.
    pub workload: &'static str,
    /// Documents of the snapshot.
    pub documents: u64,
    /// Bytes of one, on average.
    pub document_bytes: u64,
    /// Phases, in order.
    pub phases: Vec<Phase>,
    /// The limit, measured after the snapshot.
    pub limit: Option<Limit>,
    /// The latency at each rate.
    pub latencies: Vec<Latency>,
    /// How often all rows were compared.
    pub verified: usize,
    /// What was wrong; the run ended with it.
    pub wrong: Option<String>,
}

impl Run {
    /// The most memory of each program.
    pub fn peaks(&self) -> Vec<(String, u64)> {
        let phases = self.phases.iter().flat_map(|phase| &phase.used);
        let latencies = self.latencies.iter().flat_map(|latency| &latency.used);
        let mut peaks: Vec<(String, u64)> = Vec::new();
        for used in phases.chain(latencies) {
            match peaks.iter_mut().find(|(name, _)| *name == used.program) {
                Some((_, peak)) => *peak = used.peak_kib.max(*peak),
                None => peaks.push((used.program.clone(), used.peak_kib)),
            }
        }
        peaks
    }
}

/// Everything.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Processors of the machine.
    pub processors: usize,
    /// Consumers that shared the work.
    pub consumers: u8,
    /// The workloads, in order.
    pub workloads: Vec<Run>,
}

impl Figures {
    /// Whether every row was right in every phase.
    pub fn is_right(&self) -> bool {
        self.workloads.iter().all(|run| run.wrong.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::Limit;

    #[test]
    fn a_snapshot_is_held_against_the_scan_and_against_copying_with_its_indexes() {
        let mut limit = Limit {
            documents: 1_000,
            scan_seconds: 1.0,
            copy_seconds: 1.5,
            constraints_seconds: 0.5,
            ..Limit::default()
        };
        limit.against(250.0);
        assert_eq!(
            (limit.scan_per_second, limit.copy_per_second),
            (1_000.0, 500.0)
        );
        assert_eq!(
            (limit.snapshot_to_scan, limit.snapshot_to_copy),
            (0.25, 0.5)
        );
    }
}
