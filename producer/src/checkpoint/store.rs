//! The durable home of checkpoints: reading all of them at the start, writing what has moved.

use super::{
    Checkpoint, Cluster, Fingerprint, SnapshotCheckpoint, Stored, StreamCheckpoint, snapshot_key,
    token_to_json,
};
use crate::{
    error::Error, metrics, progress::Progress, publish::Publisher, source::hold::Position,
};
use leafcutter_runtime::{
    exit::Exit,
    kafka::{CompactedReader, KafkaSettings, ReadError},
    report::Fault,
};
use leafcutter_schemas::{
    control::{Control, Heartbeat},
    name,
    version::Version,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// The stream's position is written this often at least, also when nothing happens: an old token
/// costs the server a long scan, and may have left the oplog.
const IDLE: Duration = Duration::from_secs(10);

/// Reads everything that this producer left behind. Blocks.
///
/// # Errors
/// When the topic cannot be read, or holds what no version of ours wrote.
pub fn load(settings: &KafkaSettings, topic: &str, producer: &str) -> Result<Stored, Error> {
    const STALL: Duration = Duration::from_secs(30);
    let fault = |fault| Error::Unavailable(Box::new(fault));
    let mut reader = match CompactedReader::open(settings, topic) {
        Ok(reader) => reader,
        Err(ReadError::Missing(_)) => return Ok(Stored::default()),
        Err(error) => return Err(fault(error.into())),
    };
    let mut stored = Stored::default();
    let mut damaged = BTreeMap::new();
    let mut moved = Instant::now();
    while !reader.caught_up() {
        if let Some((key, value)) = reader.poll(Duration::from_millis(100)) {
            moved = Instant::now();
            match stored.take(producer, &key, value.as_deref()) {
                // Whatever was written over it counts, though Kafka still has it.
                Ok(()) => drop(damaged.remove(&key)),
                Err(error) => drop(damaged.insert(key, error.to_string())),
            }
        } else if moved.elapsed() > STALL {
            return Err(fault(Fault::new(
                "could not read the checkpoints",
                format!("topic `{topic}`"),
                "the broker sent nothing for 30 s",
                "Check that the brokers are up and that this user may read the topic.",
            )));
        }
    }
    if let Some((key, why)) = damaged.pop_first() {
        return Err(unreadable(topic, &String::from_utf8_lossy(&key), why));
    }
    Ok(stored)
}

/// Has checkpoints forgotten: of the named collections, so that the next start takes their
/// snapshots again; or, where none is named, everything, so that the next start begins anew. The
/// last heartbeat goes with them, since it speaks of topics that may have been made anew. The
/// producer must not be running.
///
/// # Errors
/// When a record could not be delivered.
pub async fn forget(
    settings: &KafkaSettings,
    prefix: &str,
    producer: &str,
    collections: &[String],
) -> Result<(), Error> {
    let topic = name::checkpoints_topic(prefix);
    let (kafka, owner, from) = (settings.clone(), producer.to_owned(), topic.clone());
    let stored = tokio::task::spawn_blocking(move || load(&kafka, &from, &owner)).await;
    let stored =
        stored.unwrap_or_else(|error| Err(Error::internal("the reader of checkpoints", error)))?;
    let publisher = Publisher::open(settings, "leafcutter-forget")?;
    let all = collections.is_empty();
    for name in stored
        .snapshots
        .keys()
        .filter(|name| all || collections.contains(name))
    {
        let key = snapshot_key(producer, name);
        publisher
            .send_and_wait(&topic, key.as_bytes(), None)
            .await?;
    }
    for (key, mut stream) in stored.streams {
        let kept = |name: &String| !collections.contains(name);
        if !all && stream.fingerprint.collections.iter().all(kept) {
            continue;
        }
        if !all {
            // As if the collections had not been in the mapping: they count as added.
            stream.fingerprint.collections.retain(kept);
            let rest = Checkpoint::Stream(stream);
            let value = rest.value().unwrap_or_default();
            publisher
                .send_and_wait(&topic, rest.key().as_bytes(), Some(&value))
                .await?;
        }
        publisher
            .send_and_wait(&topic, key.as_bytes(), None)
            .await?;
    }
    let control = name::control_topic(prefix);
    publisher
        .send_and_wait(&control, heartbeat_key(producer).as_bytes(), None)
        .await
}

/// The key of a producer's heartbeats.
fn heartbeat_key(producer: &str) -> String {
    Control::Heartbeat(Heartbeat {
        producer: producer.to_owned(),
        run: String::new(),
        time: Version::ZERO,
        low_water: Version::ZERO,
        sent_at: 0,
        offsets: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        polled: false,
    })
    .key()
}

/// A checkpoint that no version of ours wrote.
pub(crate) fn unreadable(topic: &str, key: &str, why: String) -> Error {
    let fault = Fault::new(
        "could not read a checkpoint",
        format!("topic `{topic}`, key `{key}`"),
        why,
        "It was written by another version of Leafcutter, or by something else. Run that \
         version, or begin again under another `--prefix`.",
    );
    Error::fault(Exit::StateMismatch, fault)
}

/// Writes checkpoints of one run.
pub struct Writer {
    /// The client for control records, with a queue of its own.
    pub publisher: Arc<Publisher>,
    /// The checkpoints topic.
    pub topic: String,
    /// The producer's name.
    pub producer: String,
    /// The run.
    pub run: String,
    /// Goes into the stream's checkpoint.
    pub cluster: Cluster,
    /// Goes into the stream's checkpoint.
    pub fingerprint: Fingerprint,
    /// What is acknowledged.
    pub progress: Arc<Progress>,
    written: Written,
}

/// What was written last, and when.
#[derive(Debug, Default)]
struct Written {
    stream: Option<(Position, Instant)>,
    snapshots: BTreeMap<String, (usize, bool)>,
}

impl Writer {
    /// A writer that has written nothing yet.
    pub fn new(
        publisher: Arc<Publisher>,
        topic: String,
        (producer, run): (&str, &str),
        (cluster, fingerprint): (Cluster, Fingerprint),
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            publisher,
            topic,
            producer: producer.to_owned(),
            run: run.to_owned(),
            cluster,
            fingerprint,
            progress,
            written: Written::default(),
        }
    }

    /// Writes what has moved since the last call, and waits until the broker has it.
    ///
    /// # Errors
    /// When a record could not be delivered.
    pub async fn write(&mut self) -> Result<(), Error> {
        self.write_stream().await?;
        self.write_snapshots().await
    }

    async fn write_stream(&mut self) -> Result<(), Error> {
        let Some(position) = self.progress.stream_position() else {
            return Ok(());
        };
        if let Some((written, at)) = &self.written.stream
            && *written == position
            && at.elapsed() < IDLE
        {
            return Ok(());
        }
        let time = position.complete;
        self.put(&Checkpoint::Stream(StreamCheckpoint {
            producer: self.producer.clone(),
            run: self.run.clone(),
            cluster: self.cluster.clone(),
            fingerprint: self.fingerprint.clone(),
            token: token_to_json(&position.token),
            time,
            event: self.progress.last_event(),
        }))
        .await?;
        self.progress.stream_checkpointed(time);
        self.written.stream = Some((position, Instant::now()));
        Ok(())
    }

    async fn write_snapshots(&mut self) -> Result<(), Error> {
        for (name, snapshot) in self.progress.snapshots() {
            let checkpoint = SnapshotCheckpoint::of(&self.producer, &self.run, &name, &snapshot);
            let state = (checkpoint.done.len(), checkpoint.complete);
            if self.written.snapshots.get(&name) == Some(&state) {
                continue;
            }
            let splits = snapshot
                .splits
                .iter()
                .enumerate()
                .filter(|(_, split)| split.done);
            let done: Vec<usize> = splits.map(|(number, _)| number).collect();
            self.put(&Checkpoint::Snapshot(checkpoint)).await?;
            self.progress.splits_checkpointed(&name, &done);
            self.written.snapshots.insert(name, state);
        }
        Ok(())
    }

    async fn put(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let value = checkpoint.value().unwrap_or_default();
        let key = checkpoint.key();
        self.publisher
            .send_and_wait(&self.topic, key.as_bytes(), Some(&value))
            .await?;
        metrics::checkpoint_written();
        Ok(())
    }
}
