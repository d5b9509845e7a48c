//! The producer: MongoDB → Kafka, one source database per process.
//!
//! ```text
//!                preflight: both servers as they have to be, topics created
//!                    │
//!   MongoDB ─► source/snapshot ──────────┐
//!   MongoDB ─► source/change_stream      ├─► Change ─► encode ─► publish ─► Kafka
//!                ─► source/stream ───────┘                          │ acknowledgement
//!                   (hold, merge, lookup)                           ▼
//!                                           progress ─► checkpoint, control ─► Kafka
//! ```
//!
//! Snapshot and stream run at the same time; every record carries the source version that decides
//! which of two states wins (PROTOCOL §1–§3), so the producer may repeat itself and never has to
//! wait for itself. Only what Kafka has acknowledged moves a checkpoint or a heartbeat.
//!
//! The modules stand in the order a document meets them.

pub mod settings;
pub mod preflight;
pub mod pipeline;
pub mod source;
pub mod encode;
pub mod publish;
pub mod acknowledge;
pub mod progress;
pub mod checkpoint;
pub mod control;
mod metrics;
pub mod liveness;
pub mod again;
pub mod error;

use leafcutter_runtime::{
    admin::{AdminServer, Health},
    exit::Exit,
    report::Failure,
    shutdown::Shutdown,
};
use settings::Settings;
use std::{sync::Arc, time::Duration};

/// A component that has not beaten for this long is stuck: longer than any single call may take.
const STUCK: Duration = Duration::from_secs(60);

/// Runs the producer until `shutdown`, or until its work is done.
///
/// # Errors
/// Every fault found before the start, or the one that ended it.
pub async fn run(settings: Settings, shutdown: Shutdown) -> Result<Exit, Failure> {
    let settings = Arc::new(settings);
    let health = Health::new(STUCK);
    let ready = health.condition("source");
    AdminServer::start(&settings.admin, health.clone(), shutdown.clone())
        .await
        .map_err(|fault| Failure::one(Exit::Settings, fault))?;
    let prepared = Arc::new(Box::pin(preflight::check(&settings)).await?);
    let drain = settings.drain;
    let work = pipeline::run(settings, prepared, health, ready, shutdown.clone());
    shutdown.bound(drain, Box::pin(work)).await
}
