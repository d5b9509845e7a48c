//! Records handed over to the assembler. While there is no room the group is still served: after a while the
//! partitions are paused, and polling brings callbacks only.

use super::{event::Event, poll::Poll};
use leafcutter_sink::change::Delivery;
use rdkafka::{
    Message, Offset, TopicPartitionList, consumer::Consumer, error::KafkaResult,
    message::BorrowedMessage,
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a full channel is waited for before the partitions are paused.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

impl Poll {
    /// Hands records over; false when the assembler is gone.
    pub(super) fn deliver(&mut self, chunk: Vec<Delivery>, bytes: usize) -> bool {
        let started = Instant::now();
        let permit = loop {
            if let Some(permit) = self.budget.try_acquire(bytes) {
                break permit;
            }
            if !self.serve_while_full(started) {
                return false;
            }
        };
        let mut event = Event::Deliveries(chunk, permit);
        loop {
            match self.events.try_send(event) {
                Ok(()) => break,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(back)) => event = back,
            }
            if !self.serve_while_full(started) {
                return false;
            }
        }
        if std::mem::take(&mut self.paused) {
            self.pause_all(false);
        }
        true
    }

    /// Serves the group while there is no room; false when the assembler is gone.
    pub(super) fn serve_while_full(&mut self, started: Instant) -> bool {
        if started.elapsed() < PATIENCE {
            std::thread::park_timeout(Duration::from_millis(2));
            return !self.events.is_closed();
        }
        if !self.paused {
            self.paused = true;
            self.pause_all(true);
        }
        // Paused partitions bring nothing; what librdkafka had handed over before is read again.
        match self.consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(message)) => {
                let back = self.step_back(&message);
                if let Err(error) = back {
                    tracing::warn!(error = %error, "could not step back before a paused record");
                }
            }
            Some(Err(error)) => return self.report(&error),
        }
        self.tell() && !self.events.is_closed()
    }

    fn step_back(&self, message: &BorrowedMessage<'_>) -> KafkaResult<()> {
        let (topic, partition) = (message.topic(), message.partition());
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(message.offset()))?;
        let sought = self
            .consumer
            .seek_partitions(list, Duration::from_secs(5))?;
        sought
            .elements()
            .iter()
            .try_for_each(|element| element.error())
    }

    /// Pauses or resumes what is being read.
    fn pause_all(&mut self, pause: bool) {
        let mut list = TopicPartitionList::new();
        for &partition in self.positions.reading() {
            list.add_partition(self.name(partition), partition.number);
        }
        let done = if pause {
            self.consumer.pause(&list)
        } else {
            self.positions.heard_of_all();
            self.consumer.resume(&list)
        };
        if let Err(error) = done {
            tracing::warn!(error = %error, "could not pause or resume partitions");
        }
    }
}
