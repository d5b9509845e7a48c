//! What the servers use in a phase: CPU time of each, bytes in Kafka, write-ahead log of PostgreSQL.
//!
//! Their processes and files are found below the folder in which `deploy/local/stack` keeps them
//! (`LEAFCUTTER_STACK_DIR`). Where it is not said, as with servers of others, only the log of PostgreSQL is
//! known. The servers have to be nobody else's meanwhile.

use super::{figures::ServerUsed, process};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    world::World,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The servers, by what `deploy/local/stack` calls them.
const SERVERS: [&str; 3] = ["mongodb", "kafka", "postgres"];

/// What had been used at one moment.
#[derive(Debug)]
pub struct Meter {
    processes: Vec<(&'static str, u32, Duration)>,
    folder: Option<PathBuf>,
    kafka_bytes: Option<u64>,
    wal_bytes: u64,
}

/// What was used since then.
#[derive(Debug, Clone, Default)]
pub struct Spent {
    /// CPU time of each server; none where its process is not known.
    pub servers: Vec<ServerUsed>,
    /// By how much the topics' log grew, where the files are known.
    pub kafka_bytes: Option<u64>,
    /// Write-ahead log of PostgreSQL.
    pub wal_bytes: u64,
}

impl Meter {
    /// Begins to count for the topics of a world.
    ///
    /// # Errors
    /// When PostgreSQL fails, or the stack's folder has no processes.
    pub async fn start(world: &World) -> Result<Self> {
        let folder = std::env::var_os("LEAFCUTTER_STACK_DIR").map(PathBuf::from);
        let mut processes = Vec::new();
        for server in SERVERS {
            if let Some(folder) = &folder {
                let pid = pid(folder, server)?;
                processes.push((server, pid, process::cpu_of_family(pid)?));
            }
        }
        Ok(Self {
            processes,
            kafka_bytes: kafka_bytes(folder.as_deref(), world)?,
            folder,
            wal_bytes: wal_bytes(world).await?,
        })
    }

    /// What was used since [`Self::start`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn spent(&self, world: &World) -> Result<Spent> {
        let servers = self.processes.iter().map(|&(server, pid, before)| {
            let used = process::cpu_of_family(pid)?.saturating_sub(before);
            Ok(ServerUsed {
                server,
                cpu_seconds: used.as_secs_f64(),
            })
        });
        let servers: Result<_> = servers.collect();
        let grown = kafka_bytes(self.folder.as_deref(), world)?.zip(self.kafka_bytes);
        Ok(Spent {
            servers: servers?,
            kafka_bytes: grown.map(|(now, before)| now.saturating_sub(before)),
            wal_bytes: wal_bytes(world).await?.saturating_sub(self.wal_bytes),
        })
    }
}

fn pid(folder: &Path, server: &str) -> Result<u32> {
    let file = folder.join("run").join(format!("{server}.pid"));
    let text = fs::read_to_string(&file).attempt(&format!("read {}", file.display()))?;
    let pid = text.trim().parse().attempt("read the number of a process");
    pid.map_err(|failure| Failure::new(format!("{failure} of {server}")))
}

/// Bytes of the data topics' log.
fn kafka_bytes(folder: Option<&Path>, world: &World) -> Result<Option<u64>> {
    let Some(folder) = folder else {
        return Ok(None);
    };
    let logs = folder.join("kafka").join("log");
    let prefix = format!("{}.", world.place.prefix);
    let control = world.place.control_topic();
    let mut bytes = 0;
    for partition in logs.read_dir().attempt("list Kafka's partitions")? {
        let partition = partition?;
        let name = partition.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&prefix) || name.starts_with(&control) {
            continue;
        }
        for file in partition.path().read_dir()? {
            let file = file?.path();
            if file.extension().is_some_and(|is| is == "log") {
                bytes += file.metadata()?.len();
            }
        }
    }
    Ok(Some(bytes))
}

/// Where the write-ahead log ends.
async fn wal_bytes(world: &World) -> Result<u64> {
    let sql = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
    let row = world.target.query_one(sql, &[]).await;
    let bytes: i64 = row.attempt("ask for the write-ahead log")?.get(0);
    Ok(u64::try_from(bytes)?)
}
