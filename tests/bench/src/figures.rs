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

/// A phase in which so many things become rows.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// What was counted.
    pub unit: &'static str,
    /// How many.
    pub count: u64,
    /// From the start of the producer to the first commit.
    pub first_seconds: f64,
    /// From the start of the producer to the last commit.
    pub seconds: f64,
    /// Per second of that whole time.
    pub per_second: f64,
    /// The machine's load average when it began.
    pub load: Option<f64>,
    /// What the programs used.
    pub used: Vec<Used>,
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

/// Everything.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Processors of the machine.
    pub processors: usize,
    /// Consumers that shared the work.
    pub consumers: u8,
    /// Phases, in order.
    pub phases: Vec<Phase>,
    /// The latency, when it was measured.
    pub latency: Option<Latency>,
    /// How often all rows were compared.
    pub verified: usize,
    /// What was wrong; the run ended with it.
    pub wrong: Option<String>,
}

impl Figures {
    /// The most memory of each program in the phases that carry documents of this size.
    pub fn peaks(&self, large: bool) -> Vec<(String, u64)> {
        let phases = self
            .phases
            .iter()
            .filter(|p| p.name.starts_with("large") == large);
        let latency = self.latency.iter().filter(|_| !large);
        let used = phases
            .flat_map(|p| &p.used)
            .chain(latency.flat_map(|l| &l.used));
        let mut peaks: Vec<(String, u64)> = Vec::new();
        for used in used {
            match peaks.iter_mut().find(|(name, _)| *name == used.program) {
                Some((_, peak)) => *peak = used.peak_kib.max(*peak),
                None => peaks.push((used.program.clone(), used.peak_kib)),
            }
        }
        peaks
    }
}
