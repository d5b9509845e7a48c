//! From where partitions are read, and what is done where nothing comes.
//!
//! Kafka may not have what is to be read: librdkafka then gives the partition up with one error that does not
//! name it, and seeks no more in it. It may also give nothing without any error: a partition that has brought
//! nothing for a while is compared with its end, and begun anew where there is more. And it may refuse to seek:
//! where that lasts, the partition is begun anew, too. All begin it where it stands, so that nothing is read twice
//! or left out.

use super::{
    event::{Event, Expired},
    poll::Poll,
};
use crate::metrics;
use leafcutter_sink::ids::Partition;
use rdkafka::{
    Offset,
    consumer::Consumer,
    error::{KafkaError, KafkaResult},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long the brokers may take to say where a partition begins and ends.
const ANSWER: Duration = Duration::from_secs(5);
/// When it is asked again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A partition that has brought nothing for so long is compared with its end.
const QUIET: Duration = Duration::from_secs(30);
/// Where beginning anew brings nothing either, it is done less and less often, and as often as this at least.
const QUIET_MAX: Duration = Duration::from_secs(600);

/// A partition is to be read from here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seek {
    pub(super) partition: Partition,
    pub(super) offset: i64,
    pub(super) and_before: bool,
    pub(super) generation: u64,
    /// When it was asked for, or last told that it cannot be read.
    pub(super) since: Instant,
}

/// Where the partitions stand that are ours.
#[derive(Debug)]
pub(super) struct Positions {
    assigned: BTreeMap<Partition, Assigned>,
    /// How long a partition may bring nothing before it is compared with its end.
    quiet: Duration,
    /// When to look which partition it is of which Kafka has no longer what is to be read.
    look_for_expired: Option<Instant>,
    /// When the next quiet partition is looked at.
    look_for_quiet: Option<Instant>,
}

#[derive(Debug, Default)]
struct Assigned {
    /// None while it is paused.
    reading: Option<Reading>,
    /// librdkafka may have given it up: it has to be begun anew.
    given_up: bool,
}

#[derive(Debug)]
struct Reading {
    /// The record that comes next.
    next: i64,
    /// When the last one came, or it was last seen that there is none.
    heard: Instant,
    /// How long it may be quiet.
    quiet: Duration,
}

impl Default for Positions {
    fn default() -> Self {
        Self::new(QUIET)
    }
}

impl Positions {
    /// None yet. Each may bring nothing for so long.
    pub(super) fn new(quiet: Duration) -> Self {
        Self {
            assigned: BTreeMap::new(),
            quiet,
            look_for_expired: None,
            look_for_quiet: None,
        }
    }

    /// These are ours.
    pub(super) fn assign(&mut self, partitions: &[Partition]) {
        let new = partitions.iter().map(|&p| (p, Assigned::default()));
        self.assigned.extend(new);
    }

    /// These are not any more.
    pub(super) fn revoke(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.assigned.remove(partition);
        }
    }

    /// Whether it is ours.
    pub(super) fn is_assigned(&self, partition: Partition) -> bool {
        self.assigned.contains_key(&partition)
    }

    /// Those that are being read.
    pub(super) fn reading(&self) -> impl Iterator<Item = &Partition> {
        let reading = self.assigned.iter().filter(|(_, a)| a.reading.is_some());
        reading.map(|(partition, _)| partition)
    }

    /// A record has come; the next one follows.
    pub(super) fn heard(&mut self, partition: Partition, next: i64) {
        let assigned = self.assigned.get_mut(&partition);
        if let Some(reading) = assigned.and_then(|assigned| assigned.reading.as_mut()) {
            *reading = Reading::from(next, self.quiet);
        }
    }

    /// Nothing could come of any of them.
    pub(super) fn heard_of_all(&mut self) {
        for reading in self.assigned.values_mut().flat_map(|a| &mut a.reading) {
            reading.heard = Instant::now();
        }
    }

    fn next_of(&self, partition: Partition) -> Option<i64> {
        Some(self.assigned.get(&partition)?.reading.as_ref()?.next)
    }

    fn read(&mut self, partition: Partition, next: i64) {
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.reading = Some(Reading::from(next, self.quiet));
        }
    }

    /// It is read no more; whether it was.
    fn stop(&mut self, partition: Partition) -> bool {
        let assigned = self.assigned.get_mut(&partition);
        assigned.is_some_and(|assigned| assigned.reading.take().is_some())
    }

    fn set_given_up(&mut self, partition: Partition, given_up: bool) {
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.given_up = given_up;
        }
    }

    /// One that has brought nothing for too long.
    fn quiet_one(&self) -> Option<Partition> {
        let is_quiet = |reading: &Reading| reading.heard.elapsed() >= reading.quiet;
        let mut assigned = self.assigned.iter();
        assigned
            .find(|(_, assigned)| assigned.reading.as_ref().is_some_and(is_quiet))
            .map(|(&partition, _)| partition)
    }

    /// It is looked at again after so long.
    fn set_quiet(&mut self, partition: Partition, again: impl Fn(Duration) -> Duration) {
        let assigned = self.assigned.get_mut(&partition);
        if let Some(reading) = assigned.and_then(|assigned| assigned.reading.as_mut()) {
            reading.heard = Instant::now();
            reading.quiet = again(reading.quiet);
        }
    }
}

impl Reading {
    fn from(next: i64, quiet: Duration) -> Self {
        Self {
            next,
            heard: Instant::now(),
            quiet,
        }
    }
}

impl Poll {
    /// Begins to read where the assembler has asked for it; false when the assembler is gone.
    pub(super) fn seek_all(&mut self) -> bool {
        let mut seeks = std::mem::take(&mut self.seeks).into_iter();
        while let Some(seek) = seeks.next() {
            let Seek {
                partition, offset, ..
            } = seek;
            if !self.positions.is_assigned(partition) {
                continue;
            }
            // Looked for beforehand: an error would not say which partition it is, and comes once.
            let from = match self.bounds(partition) {
                Err(error) => {
                    // The others would wait for an answer as long; a poll is due before.
                    self.seeks.extend(seeks);
                    self.cannot_begin(seek, &error);
                    break;
                }
                Ok((first, _)) if offset < first => {
                    let expired = Expired {
                        partition,
                        next: offset,
                        first,
                    };
                    if !self.send(Event::Expired(expired)) {
                        return false;
                    }
                    continue;
                }
                // Read from the record before, it would seem to be all there.
                Ok((_, end)) if offset > end => {
                    return self.send(self.beyond_the_end(partition, offset, end));
                }
                Ok((first, _)) if seek.and_before && first < offset => offset - 1,
                Ok(_) => offset,
            };
            match self.seek(partition, from) {
                Ok(()) => {
                    self.positions.read(partition, from);
                    if !self.send(Event::Ready(partition, seek.generation)) {
                        return false;
                    }
                }
                // Right after the assignment the partition may not be ready for it.
                Err(error) => self.cannot_begin(seek, &error),
            }
        }
        true
    }

    /// A partition cannot be read yet: it is tried again, and begun anew where that stays so.
    fn cannot_begin(&mut self, mut seek: Seek, error: &KafkaError) {
        let partition = seek.partition;
        let (topic, number) = (self.name(partition), partition.number);
        if seek.since.elapsed() < self.positions.quiet {
            tracing::debug!(error = %error, topic, partition = number, "a partition cannot be read yet");
        } else {
            tracing::warn!(error = %error, topic, partition = number, "a partition cannot be read, beginning it anew");
            metrics::partition_begun_anew();
            seek.since = Instant::now();
            self.positions.set_given_up(partition, true);
        }
        self.seeks.push(seek);
    }

    /// What comes of it all the same is dropped by the assembler.
    pub(super) fn hold(&mut self, partition: Partition) {
        self.seeks.retain(|seek| seek.partition != partition);
        if self.positions.stop(partition) {
            self.pause(partition);
        }
    }

    fn pause(&self, partition: Partition) {
        if let Err(error) = self.consumer.pause(&self.list(partition)) {
            tracing::warn!(error = %error, "could not pause a partition");
        }
    }

    /// The first record that is there, and the one that will come at the end.
    fn bounds(&self, partition: Partition) -> KafkaResult<(i64, i64)> {
        self.consumer
            .fetch_watermarks(self.name(partition), partition.number, ANSWER)
    }

    /// Everything is in doubt.
    fn beyond_the_end(&self, partition: Partition, next: i64, end: i64) -> Event {
        let (name, number) = (self.name(partition), partition.number);
        Event::Lost(format!(
            "topic `{name}` partition {number} ends at {end}, and {next} is to be read"
        ))
    }

    fn seek(&mut self, partition: Partition, offset: i64) -> KafkaResult<()> {
        let mut list = self.list(partition);
        list.set_all_offsets(Offset::Offset(offset))?;
        let assigned = self.positions.assigned.get(&partition);
        if assigned.is_some_and(|assigned| assigned.given_up) {
            // Where librdkafka does not have it, there is nothing to take away, and that is what is wrong.
            if let Err(error) = self.consumer.incremental_unassign(&self.list(partition)) {
                tracing::debug!(error = %error, "could not give a partition up before it is begun anew");
            }
            self.consumer.incremental_assign(&list)?;
            self.positions.set_given_up(partition, false);
            return self.consumer.resume(&self.list(partition));
        }
        let sought = self.consumer.seek_partitions(list, ANSWER)?;
        for element in sought.elements() {
            element.error()?;
        }
        self.consumer.resume(&self.list(partition))
    }

    /// Looks at partitions of which something is in doubt, where it is time; false when the assembler is gone.
    pub(super) fn look_at_positions(&mut self) -> bool {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if is_due(self.positions.look_for_expired) && !self.find_expired() {
            return false;
        }
        let rests = self.positions.look_for_quiet;
        // One at a time: a poll is due before the next.
        if !self.paused
            && (rests.is_none() || is_due(rests))
            && let Some(partition) = self.positions.quiet_one()
        {
            self.look_at_quiet(partition);
        }
        true
    }

    /// A partition has brought nothing for a while: where there is something, it is begun anew.
    fn look_at_quiet(&mut self, partition: Partition) {
        self.positions.look_for_quiet = None;
        let Some(next) = self.positions.next_of(partition) else {
            return;
        };
        match self.bounds(partition) {
            Err(error) => {
                tracing::debug!(error = %error, "cannot look where a partition ends, trying again");
                self.positions.look_for_quiet = Some(Instant::now() + self.positions.quiet);
            }
            // Kafka has less than was read: it says so itself to whom it is asked for.
            Ok((_, end)) if end <= next => {
                let quiet = self.positions.quiet;
                self.positions.set_quiet(partition, |_| quiet);
            }
            Ok((_, end)) => {
                let (topic, number) = (self.name(partition), partition.number);
                tracing::warn!(
                    topic,
                    partition = number,
                    next,
                    end,
                    "Kafka has records and brings none, reading the partition anew"
                );
                metrics::partition_begun_anew();
                let longer = |quiet: Duration| (quiet * 2).min(QUIET_MAX);
                self.positions.set_quiet(partition, longer);
                self.begin_anew(partition, next);
            }
        }
    }

    /// From where it stands.
    fn begin_anew(&mut self, partition: Partition, next: i64) {
        self.positions.set_given_up(partition, true);
        if let Err(error) = self.seek(partition, next) {
            tracing::debug!(error = %error, "cannot begin a partition anew, trying again");
            self.positions.look_for_expired = Some(Instant::now() + LOOK_AGAIN);
        }
    }

    /// Tells of the partitions whose next records were removed, and leaves them alone; of one that ends
    /// before what is to be read, that everything is in doubt. Where the brokers do not answer it looks again.
    /// False when the assembler is gone.
    pub(super) fn find_expired(&mut self) -> bool {
        self.positions.look_for_expired = None;
        // Any of those that are not read yet may be the one.
        for assigned in self.positions.assigned.values_mut() {
            assigned.given_up |= assigned.reading.is_none();
        }
        let reading: Vec<Partition> = self.positions.reading().copied().collect();
        for partition in reading {
            let Some(next) = self.positions.next_of(partition) else {
                continue;
            };
            let event = match self.bounds(partition) {
                Err(error) => {
                    tracing::debug!(error = %error, "cannot look where partitions begin, trying again");
                    self.positions.look_for_expired = Some(Instant::now() + LOOK_AGAIN);
                    break;
                }
                Ok((first, _)) if next < first => Event::Expired(Expired {
                    partition,
                    next,
                    first,
                }),
                Ok((_, end)) if next > end => self.beyond_the_end(partition, next, end),
                // Given up before its seek, if it is the one; begun anew it goes on where it stands.
                Ok(_) => {
                    self.begin_anew(partition, next);
                    continue;
                }
            };
            // Nothing comes of it, and the group keeps it.
            self.positions.stop(partition);
            self.positions.set_given_up(partition, true);
            self.pause(partition);
            if !self.send(event) {
                return false;
            }
        }
        true
    }
}
