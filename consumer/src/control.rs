//! The control topic, read by every consumer outside the group, from its beginning and on.

use leafcutter_runtime::{
    kafka::{CompactedReader, KafkaSettings},
    shutdown::Shutdown,
};
use leafcutter_schemas::control::Control;
use leafcutter_sink::orphan::ControlState;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Producers say something every second. After so long without a word the topic is read from its beginning,
/// which is short.
const SILENT: Duration = Duration::from_secs(60);

/// What the control topic says, shared with those who ask.
#[derive(Debug, Clone, Default)]
pub struct SharedControl(Arc<Mutex<ControlState>>);

impl SharedControl {
    /// What it says now.
    pub fn snapshot(&self) -> ControlState {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes a record in.
    pub fn take(&self, control: Control) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(control);
    }
}

/// Reads the control topic into `shared` until the shutdown; the body of a thread. What cannot be
/// read is told once and left out: a newer producer may say more than this consumer knows.
pub fn follow(kafka: &KafkaSettings, topic: &str, shared: &SharedControl, shutdown: &Shutdown) {
    while !shutdown.is_triggered() {
        let mut reader = match CompactedReader::open(kafka, topic) {
            Ok(reader) => reader,
            Err(error) => {
                tracing::warn!(error = %error, topic, "cannot read the control topic, trying again");
                std::thread::park_timeout(Duration::from_secs(1));
                continue;
            }
        };
        let mut heard = Instant::now();
        while !shutdown.is_triggered() {
            let Some((key, Some(value))) = reader.poll(Duration::from_millis(200)) else {
                // Nobody writes, or the client has lost its brokers for good: then a new one reads.
                if heard.elapsed() > SILENT {
                    break;
                }
                continue;
            };
            heard = Instant::now();
            match Control::read(&key, &value) {
                Ok(control) => shared.take(control),
                Err(error) => tracing::warn!(error = %error, "left out a control record"),
            }
        }
    }
}
