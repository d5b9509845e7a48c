//! What is done to whom, after which pause, and for how long: all of it from a seed.

use crate::{dice::Dice, fleet, servers::Server};
use std::{fmt, time::Duration};

/// What can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The producer.
    Producer,
    /// The consumer of that number.
    Consumer(u32),
    /// A server.
    Server(Server),
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Producer => f.write_str(fleet::PRODUCER),
            Self::Consumer(number) => f.write_str(&fleet::consumer_name(*number)),
            Self::Server(Server::MongoDb) => f.write_str("MongoDB"),
            Self::Server(Server::Kafka) => f.write_str("Kafka"),
            Self::Server(Server::Postgres) => f.write_str("PostgreSQL"),
        }
    }
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// SIGKILL, and it is started again.
    Kill,
    /// SIGTERM, and it is started again.
    Stop,
    /// SIGSTOP, and SIGCONT.
    Freeze,
    /// Every session that Leafcutter has in PostgreSQL is ended.
    Cut,
}

impl How {
    /// What was done, before the name of whom.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Stop => "stopped",
            Self::Freeze => "froze",
            Self::Cut => "cut the sessions of",
        }
    }
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blow {
    /// Who.
    pub victim: Victim,
    /// What is done to it.
    pub how: How,
    /// How long after records are applied, at the start or since the one before is back.
    pub pause: Duration,
    /// How long it is left dead before it is started again.
    pub outage: Duration,
}

/// How long pauses and outages may be.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The longest pause.
    pub pause: Duration,
    /// The longest outage.
    pub outage: Duration,
}

/// Faults at random moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// The faults, one after the other.
    pub blows: Vec<Blow>,
}

impl Plan {
    /// Kills each part of a migration with so many consumers once, in the order of this seed.
    pub fn new(seed: u64, consumers: u32, pace: Pace) -> Self {
        let mut dice = Dice::new(&[seed, u64::from_be_bytes(*b"kill -9 ")]);
        let mut left = vec![
            Victim::Producer,
            Victim::Consumer(1 + dice.below_u32(consumers)),
            Victim::Server(Server::MongoDb),
            Victim::Server(Server::Kafka),
            Victim::Server(Server::Postgres),
        ];
        let mut blows = Vec::new();
        while !left.is_empty() {
            let victim = left.remove(dice.below(left.len()));
            blows.push(Blow {
                victim,
                how: How::Kill,
                pause: pace.pause.mul_f64(dice.fraction()),
                outage: pace.outage.mul_f64(dice.fraction()),
            });
        }
        Self { seed, blows }
    }

    /// So many faults of every kind, to anybody, in the order of this seed.
    #[must_use]
    pub fn of_faults(seed: u64, consumers: u32, pace: Pace, faults: usize) -> Self {
        let mut dice = Dice::new(&[seed, u64::from_be_bytes(*b"anything")]);
        let mut blow = || {
            let consumer = Victim::Consumer(1 + dice.below_u32(consumers));
            // Whoever holds the state that Leafcutter writes is hit more often.
            let victims = [
                Victim::Producer,
                consumer,
                consumer,
                Victim::Server(Server::MongoDb),
                Victim::Server(Server::Kafka),
                Victim::Server(Server::Postgres),
            ];
            let victim = victims[dice.below(victims.len())];
            let hows: &[How] = match victim {
                Victim::Producer | Victim::Consumer(_) => &[How::Kill, How::Stop, How::Freeze],
                Victim::Server(Server::Postgres) => &[How::Kill, How::Freeze, How::Cut],
                Victim::Server(_) => &[How::Kill, How::Freeze],
            };
            Blow {
                victim,
                how: hows[dice.below(hows.len())],
                pause: pace.pause.mul_f64(dice.fraction()),
                outage: pace.outage.mul_f64(dice.fraction()),
            }
        };
        let blows = (0..faults).map(|_| blow()).collect();
        Self { seed, blows }
    }
}

#[cfg(test)]
mod tests {
    use super::{How, Pace, Plan, Victim};
    use std::{collections::BTreeSet, time::Duration};

    #[test]
    fn a_seed_kills_everybody_once_and_always_the_same_way() {
        let pace = Pace {
            pause: Duration::from_secs(4),
            outage: Duration::from_secs(2),
        };
        let mut orders = BTreeSet::new();
        let mut consumers = BTreeSet::new();
        for seed in 0..50 {
            let plan = Plan::new(seed, 2, pace);
            assert_eq!(plan, Plan::new(seed, 2, pace));
            let victims: Vec<_> = plan.blows.iter().map(|b| b.victim.to_string()).collect();
            let different: BTreeSet<_> = victims.iter().cloned().collect();
            assert_eq!((victims.len(), different.len()), (5, 5));
            for blow in &plan.blows {
                assert!(blow.pause <= pace.pause && blow.outage <= pace.outage);
                if let Victim::Consumer(number) = blow.victim {
                    consumers.insert(number);
                }
            }
            orders.insert(victims);
        }
        assert!(orders.len() > 25, "{} orders", orders.len());
        assert_eq!(consumers, BTreeSet::from([1, 2]));
    }

    #[test]
    fn a_seed_does_everything_to_everybody_and_always_the_same_way() {
        let pace = Pace {
            pause: Duration::from_secs(4),
            outage: Duration::from_secs(2),
        };
        let plan = Plan::of_faults(7, 2, pace, 300);
        assert_eq!(plan, Plan::of_faults(7, 2, pace, 300));
        assert_ne!(plan, Plan::of_faults(8, 2, pace, 300));
        let done = plan.blows.iter().map(|b| (b.how, b.victim.to_string()));
        let done: BTreeSet<(How, String)> = done.collect();
        // Three programs in three ways, PostgreSQL in three, two servers in two.
        assert_eq!(done.len(), 16, "{done:?}");
    }
}
