//! Everything that can be known to be wrong before any document moves, told at once.
//!
//! It takes the settings and gives what the run needs to know of both servers, or every fault of
//! both together. It also creates the topics: Kafka never creates one by being asked.

mod broker;
mod findings;
mod polled;
mod source;
mod topic;

use findings::Findings;

use crate::{checkpoint::Cluster, publish::Address, settings::Settings};
use leafcutter_runtime::{exit::Exit, report::Failure};
use mongodb::Client;
use std::sync::Arc;

/// What the preflight found out.
pub struct Prepared {
    /// The connected client.
    pub client: Client,
    /// The source's identity.
    pub cluster: Cluster,
    /// A mongos answers, not a replica set.
    pub sharded: bool,
    /// A mapped collection keeps post-images.
    pub post_images: bool,
    /// The mapped collections that are time series, by name.
    pub time_series: Vec<String>,
    /// Per collection, where its changes go.
    pub addresses: Arc<Vec<Address>>,
    /// The compacted topics.
    pub control_topic: String,
    /// See `control_topic`.
    pub checkpoints_topic: String,
}

/// What the source's part found out.
struct Source {
    client: Client,
    cluster: Cluster,
    sharded: bool,
    post_images: bool,
    time_series: Vec<String>,
}

/// What the broker's part found out.
struct Broker {
    addresses: Vec<Address>,
    control_topic: String,
    checkpoints_topic: String,
}

/// Checks both servers and creates missing topics.
///
/// # Errors
/// Every fault of both.
pub async fn check(settings: &Settings) -> Result<Prepared, Failure> {
    let (mut on_source, mut on_broker) = (Findings::default(), Findings::default());
    let (source, broker) = tokio::join!(
        source::check(settings, &mut on_source),
        broker::check(settings, &mut on_broker)
    );
    let mut faults = on_source.faults;
    faults.0.extend(on_broker.faults.0);
    let only_mismatch =
        (on_source.mismatch || on_broker.mismatch) && !(on_source.other || on_broker.other);
    let exit = if only_mismatch {
        Exit::StateMismatch
    } else {
        Exit::Preflight
    };
    match (source, broker) {
        (Some(source), Some(broker)) if faults.is_empty() => Ok(Prepared {
            client: source.client,
            cluster: source.cluster,
            sharded: source.sharded,
            post_images: source.post_images,
            time_series: source.time_series,
            addresses: Arc::new(broker.addresses),
            control_topic: broker.control_topic,
            checkpoints_topic: broker.checkpoints_topic,
        }),
        _ => Err(Failure { exit, faults }),
    }
}
