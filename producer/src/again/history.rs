//! History that the source has lost, and the checkpoint from which a producer goes on.

use super::Reader;
use crate::{
    checkpoint::{Checkpoint, Fingerprint, StreamCheckpoint},
    error::{Error, told},
    pipeline::FORMAT,
    source::change_stream::reaches_back,
};
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::version::Version;

impl Reader {
    /// Whether the source still has what happened after the collection's checkpoint. Of what is polled there
    /// is no history.
    ///
    /// # Errors
    /// When the source cannot be asked.
    pub async fn reaches_back(&self) -> Result<bool, Failure> {
        if self.is_polled() {
            return Ok(true);
        }
        let (client, database) = (&self.prepared.client, &self.settings.database);
        let reaches = reaches_back(client, database, self.followed.time).await;
        reaches.map_err(|error| {
            let what = format!("look for the history of `{}`", self.name());
            tracing::debug!(error = told(&error), "no change stream");
            Error::Source {
                what,
                source: error,
            }
            .into_failure()
        })
    }

    /// Lets a producer follow the collection from this time on, whatever happened before it: all of that is
    /// in a read that begins later. Whoever calls this has to see to it that the read is done.
    ///
    /// # Errors
    /// When Kafka refuses the checkpoint.
    pub async fn cover(&self, time: Version) -> Result<(), Failure> {
        let checkpoint = Checkpoint::Stream(StreamCheckpoint {
            producer: self.followed.producer.clone(),
            run: self.run.clone(),
            cluster: self.prepared.cluster.clone(),
            fingerprint: Fingerprint {
                database: self.settings.database.clone(),
                collections: vec![self.name().to_owned()],
                post_images: self.prepared.post_images,
                format: FORMAT.to_owned(),
                capture: self.settings.capture.tag().to_owned(),
            },
            // By time alone.
            token: serde_json::Value::Null,
            time,
            event: Version::ZERO,
        });
        let value = checkpoint.value().unwrap_or_default();
        let sent = self
            .data
            .send_and_wait(
                &self.prepared.checkpoints_topic,
                checkpoint.key().as_bytes(),
                Some(&value),
            )
            .await;
        sent.map_err(Error::into_failure)
    }
}
