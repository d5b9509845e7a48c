//! The only builder of a Kafka client.
//!
//! It takes brokers and librdkafka properties and gives checked configurations for the four kinds
//! of client we use. It promises that what the programs rest on is set: a producer that keeps
//! order and loses nothing it was not told of, a consumer that never moves an offset by itself.
//! Properties from the user pass through, except those promises; setting one of these is a fault
//! that explains itself, never a silent override.
//!
//! - `properties`: what the user gave, which names mean the same, which are ours.
//! - [`context`]: librdkafka's log lines as ours.
//! - [`unreached`]: why brokers are not reached.
//! - [`acknowledged`]: whether Kafka has written what it acknowledges.
//! - [`clients`]: clients that have lost their brokers for good.
//! - [`compacted`]: reading a small compacted topic whole (checkpoints, control).

pub mod acknowledged;
pub mod clients;
pub mod compacted;
pub mod context;
mod properties;
mod settings;
pub mod unreached;

pub use acknowledged::AcknowledgedOffsets;
pub use clients::{ClientLost, ClientsWatch, GivenUp, Reach};
pub use compacted::{CompactedReader, ReadError, read_compacted};
pub use context::{LogContext, log_error, log_event};
pub use settings::KafkaSettings;
pub use unreached::{explain, is_of_connection, metadata, unreachable};
