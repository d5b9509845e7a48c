//! A process's line in `leafcutter.consumers`, by which `leafcutter status` finds it.

use crate::{dead_letter::PROGRAM, sink::session::Session};
use leafcutter_runtime::shutdown::Shutdown;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio_postgres::Config;

/// Tells that this process is here.
#[derive(Debug)]
pub struct Presence {
    /// The target.
    pub config: Config,
    /// The process.
    pub id: String,
    /// Its group.
    pub group: String,
    /// Its mapping's hash.
    pub mapping: String,
    /// Where its health and metrics are served.
    pub admin: SocketAddr,
    /// How many partitions it holds.
    pub held: Arc<AtomicUsize>,
    /// When it ends.
    pub shutdown: Shutdown,
}

impl Presence {
    const EVERY: Duration = Duration::from_secs(5);
    const END: Duration = Duration::from_secs(5);

    /// Shows it every few seconds, until the shutdown.
    pub async fn run(self) {
        let mut session: Option<Session> = None;
        while !self.shutdown.is_triggered() {
            if session.is_none() {
                session = Session::open(&self.config, "leafcutter presence")
                    .await
                    .ok();
            }
            if let Some(open) = &session
                && self.show(open).await.is_err()
            {
                session = None;
            }
            self.shutdown.sleep(Self::EVERY).await;
        }
    }

    /// Says that this process is gone. The last thing it does, and the one commit that waits for the
    /// disk: everything before it is there then, too.
    pub async fn end(config: &Config, id: &str) {
        let ended = async {
            let session = Session::open(config, "leafcutter presence").await.ok()?;
            let gone = "delete from leafcutter.consumers where id = $1";
            session.client().execute(gone, &[&id]).await.ok()
        };
        // Others find out by themselves that it is gone.
        if !matches!(tokio::time::timeout(Self::END, ended).await, Ok(Some(_))) {
            tracing::debug!("could not say that this process is gone");
        }
    }

    async fn show(&self, session: &Session) -> Result<(), tokio_postgres::Error> {
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let host = host.trim();
        // Of all addresses of a container, the one that others can use is its name.
        let admin = if self.admin.ip().is_unspecified() {
            format!("{host}:{}", self.admin.port())
        } else {
            self.admin.to_string()
        };
        let partitions = i32::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
        session
            .client()
            .execute(
                "insert into leafcutter.consumers (id, consumer_group, host, program, mapping, partitions, admin, started_at, seen_at) \
                 values ($1, $2, $3, $4, $5, $6, $7, now(), now()) \
                 on conflict (id) do update set partitions = excluded.partitions, seen_at = now()",
                &[&self.id, &self.group, &host, &PROGRAM, &self.mapping, &partitions, &admin],
            )
            .await?;
        Ok(())
    }
}
