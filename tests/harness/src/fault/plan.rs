//! Who is killed, after which pause, and how long it stays away: all of it from a seed.

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

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blow {
    /// Who.
    pub victim: Victim,
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

/// Each part once, in a random order, at random moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// The kills, one after the other.
    pub blows: Vec<Blow>,
}

impl Plan {
    /// The plan of this seed for a migration with so many consumers.
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
                pause: pace.pause.mul_f64(dice.fraction()),
                outage: pace.outage.mul_f64(dice.fraction()),
            });
        }
        Self { seed, blows }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, Plan, Victim};
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
}
