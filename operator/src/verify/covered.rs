//! How far the target is known to be: the cluster time up to which everything of a topic is applied.
//!
//! A heartbeat says that all changes up to its time are in Kafka below its offsets, and stays true for
//! ever (`docs/protocol.md`, Heartbeats). So once the consumers have passed these offsets, the rows show
//! at least that time. Nobody's clock is trusted.

use crate::status::facts::ControlFollower;
use leafcutter_runtime::report::Fault;
use leafcutter_schemas::version::Version;
use leafcutter_sink::{
    orphan::{Progress, has_applied},
    session::Session,
    state::offsets,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Heartbeats of a topic that are not passed yet, at most: a quarter of an hour of them.
const PENDING_MAX: usize = 900;

/// Follows how far the target is.
#[derive(Debug)]
pub struct Covered {
    follower: Option<ControlFollower>,
    group: String,
    /// Per topic, claims that are not passed yet, the oldest first.
    pending: BTreeMap<String, VecDeque<(Version, Vec<i64>)>>,
    until: BTreeMap<String, Version>,
    positions: Progress,
    /// When anything moved last.
    moved: Instant,
}

impl Covered {
    /// Nothing is known yet.
    pub fn new(follower: ControlFollower, group: &str) -> Self {
        Self {
            follower: Some(follower),
            group: group.to_owned(),
            pending: BTreeMap::new(),
            until: BTreeMap::new(),
            positions: Progress::new(),
            moved: Instant::now(),
        }
    }

    /// Looks again.
    ///
    /// # Errors
    /// When Kafka cannot be read; what is known stays.
    pub async fn look(&mut self, session: &mut Session) -> Result<(), Trouble> {
        let Some(mut follower) = self.follower.take() else {
            return Ok(());
        };
        let asked = tokio::task::spawn_blocking(move || {
            let view = follower.refresh();
            (follower, view)
        });
        let (follower, view) = asked.await.map_err(|_| Trouble::Gone)?;
        self.follower = Some(follower);
        for heartbeat in view.map_err(Trouble::Kafka)?.claims.values() {
            for (topic, ends) in &heartbeat.offsets {
                self.claim(topic, heartbeat.time, ends);
            }
        }
        let positions = offsets::progress(session, &self.group)
            .await
            .map_err(Trouble::PostgreSql)?;
        self.pass(positions);
        Ok(())
    }

    fn claim(&mut self, topic: &str, time: Version, ends: &[i64]) {
        let known = self.until.get(topic).copied().unwrap_or(Version::ZERO);
        let pending = self.pending.entry(topic.to_owned()).or_default();
        let newest = pending.back().map_or(known, |(time, _)| *time);
        if time <= newest {
            return;
        }
        // One that says more of the same offsets takes the place of the one before.
        if pending.back().is_some_and(|(_, known)| known == ends) || pending.len() >= PENDING_MAX {
            pending.pop_back();
        }
        pending.push_back((time, ends.to_vec()));
    }

    fn pass(&mut self, positions: Progress) {
        if positions != self.positions {
            self.moved = Instant::now();
            self.positions = positions;
        }
        for (topic, pending) in &mut self.pending {
            while let Some((time, ends)) = pending.front() {
                if !has_applied(&self.positions, topic, ends) {
                    break;
                }
                self.until.insert(topic.clone(), *time);
                // Not when it is claimed: producers claim on while no consumer gets on.
                self.moved = Instant::now();
                pending.pop_front();
            }
        }
    }

    /// Everything of the topic up to this time is applied.
    pub fn until(&self, topic: &str) -> Version {
        self.until.get(topic).copied().unwrap_or(Version::ZERO)
    }

    /// How long nothing has moved.
    pub fn still_for(&self) -> Duration {
        self.moved.elapsed()
    }
}

/// Why it cannot be told how far the target is.
#[derive(Debug)]
pub enum Trouble {
    /// The control topic cannot be read.
    Kafka(Fault),
    /// The positions cannot be read.
    PostgreSql(tokio_postgres::Error),
    /// The reader is gone.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use leafcutter_runtime::kafka::KafkaSettings;

    fn covered() -> Covered {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            kafka: KafkaSettings,
        }
        let flags = <Flags as clap::Parser>::parse_from(["x", "--kafka-brokers", "k:1"]);
        Covered::new(ControlFollower::new(flags.kafka, "t".to_owned()), "g")
    }

    fn at(number: i64) -> Version {
        Version::from_i64(number).unwrap()
    }

    fn positions(next: i64) -> Progress {
        Progress::from([("t".to_owned(), BTreeMap::from([(0, next)]))])
    }

    #[test]
    fn only_what_consumers_do_counts_as_movement() {
        let mut covered = covered();
        let long = Duration::from_secs(60);
        let before = Instant::now().checked_sub(long).unwrap();
        let moves = |covered: &mut Covered, step: &dyn Fn(&mut Covered)| {
            covered.moved = before;
            step(covered);
            covered.still_for() < long
        };
        assert!(!moves(&mut covered, &|c| c.claim("t", at(10), &[5])));
        assert!(moves(&mut covered, &|c| c.pass(positions(4))));
        assert!(!moves(&mut covered, &|c| c.pass(positions(4))));
        assert!(moves(&mut covered, &|c| c.pass(positions(5))));
        // Nothing new is in Kafka, and that is seen.
        assert!(!moves(&mut covered, &|c| c.claim("t", at(20), &[5])));
        assert!(moves(&mut covered, &|c| c.pass(positions(5))));
    }

    #[test]
    fn a_time_is_covered_once_its_offsets_are_passed() {
        let mut covered = covered();
        covered.claim("t", at(10), &[5]);
        covered.pass(positions(4));
        assert_eq!(covered.until("t"), Version::ZERO);
        covered.claim("t", at(20), &[9]);
        covered.pass(positions(5));
        assert_eq!(covered.until("t"), at(10));
        // Nothing new is in Kafka at a later time.
        covered.claim("t", at(30), &[9]);
        covered.pass(positions(9));
        assert_eq!(covered.until("t"), at(30));
        assert_eq!(covered.until("other"), Version::ZERO);
    }
}
