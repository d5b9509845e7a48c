//! Whose time is the source's time.
//!
//! Behind a change stream it is cluster time. A standalone server has none, and where a source is
//! polled the versions are the dates that its application writes: there the server's own clock
//! counts, which `hello` tells. It is told in whole seconds, since the dates are milliseconds and
//! cluster times are counters within a second, and neither can be compared with the other below
//! one: what is past is the beginning of the second, what is the latest possible is the next one.

use super::reply::{read_bound_of, server_time};
use bson::{Timestamp, doc};
use leafcutter_schemas::version::Version;
use mongodb::{
    Client, ClientSession,
    options::{ReadPreference, SelectionCriteria},
};

/// Which clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The cluster's logical one.
    Cluster,
    /// The server's own.
    Wall,
}

/// What a clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Everything before it has happened.
    pub past: Version,
    /// At least as late as anything that was read so far.
    pub bound: Version,
    /// The last operation of a replica set, for which a read can wait.
    pub operation: Version,
}

impl Clock {
    /// Asks the primary.
    ///
    /// # Errors
    /// What the driver says.
    pub async fn now(self, client: &Client) -> mongodb::error::Result<Time> {
        match self {
            Self::Cluster => {
                let time = server_time(client).await?;
                Ok(Time {
                    past: time.operation,
                    bound: time.bound,
                    operation: time.operation,
                })
            }
            Self::Wall => {
                let reply = client
                    .database("admin")
                    .run_command(doc! { "hello": 1 })
                    .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
                    .await?;
                let local = reply.get_datetime("localTime").map_err(|error| {
                    mongodb::error::Error::custom(format!("`hello` without `localTime`: {error}"))
                })?;
                let second = local.timestamp_millis().div_euclid(1_000);
                let operation = reply.get_timestamp("operationTime").ok();
                Ok(Time {
                    past: second_at(second),
                    bound: second_at(second + 1).max(read_bound_of(&reply)),
                    operation: operation.map_or(Version::ZERO, Version::from_cluster_time),
                })
            }
        }
    }

    /// The time, and a session that reads nothing older than it, whichever member it reads from.
    ///
    /// # Errors
    /// What the driver says.
    pub(crate) async fn session(
        self,
        client: &Client,
    ) -> mongodb::error::Result<(Time, ClientSession)> {
        let time = self.now(client).await?;
        // A standalone server has nothing to wait for.
        let causal = time.operation > Version::ZERO;
        let mut session = client.start_session().causal_consistency(causal).await?;
        if causal {
            session.advance_operation_time(time.operation.cluster_time());
        }
        Ok((time, session))
    }
}

/// The beginning of a second.
fn second_at(second: i64) -> Version {
    Version::from_cluster_time(Timestamp {
        time: u32::try_from(second.max(0)).unwrap_or(u32::MAX),
        increment: 0,
    })
}
