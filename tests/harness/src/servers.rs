//! Servers that can be killed and started again, by `deploy/local/stack`.
//!
//! [`Servers`] are those of a stack that somebody else started; [`OwnServers`] are started here, in
//! a folder of their own, for whoever must not disturb others. They are stopped and removed when
//! they are dropped, and also when this process dies without doing so: a small process waits for
//! that.

use crate::{
    failure::{Attempt, Failure, Result},
    stack::Stack,
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Ends the stack when its standard input does. Signals meant for the tests are not meant for it.
const GUARD: &str =
    "trap '' INT TERM HUP; cat > /dev/null; exec \"$0\" down --wipe --dir \"$1\" > /dev/null";

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The source.
    MongoDb,
    /// What lies between.
    Kafka,
    /// The target.
    Postgres,
}

impl Server {
    /// What `deploy/local/stack` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MongoDb => "mongodb",
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }
}

/// A stack that is up.
#[derive(Debug, Clone)]
pub struct Servers {
    folder: PathBuf,
}

impl Servers {
    /// The stack named in the environment.
    ///
    /// # Errors
    /// When none is named there.
    pub fn from_env() -> Result<Self> {
        let folder = std::env::var("LEAFCUTTER_STACK_DIR").map_err(|_| {
            Failure::new(
                "LEAFCUTTER_STACK_DIR is not set: servers that are to be killed have to be \
                 started by deploy/local/stack",
            )
        })?;
        Ok(Self {
            folder: folder.into(),
        })
    }

    /// Ends a server as a power cut would (SIGKILL).
    ///
    /// # Errors
    /// When it is not up.
    pub async fn kill(&self, server: Server) -> Result<()> {
        self.run(vec!["kill", server.name()]).await.map(|_| ())
    }

    /// Lets it do nothing any more (SIGSTOP).
    ///
    /// # Errors
    /// When it is not up.
    pub async fn freeze(&self, server: Server) -> Result<()> {
        let words = vec!["kill", server.name(), "--signal", "STOP"];
        self.run(words).await.map(|_| ())
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it is not up.
    pub async fn thaw(&self, server: Server) -> Result<()> {
        let words = vec!["kill", server.name(), "--signal", "CONT"];
        self.run(words).await.map(|_| ())
    }

    /// Starts it again, on its port and data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn start(&self, server: Server) -> Result<()> {
        self.run(vec!["start", server.name()]).await.map(|_| ())
    }

    async fn run(&self, arguments: Vec<&'static str>) -> Result<String> {
        let folder = self.folder.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut command = Command::new(script());
            let done = command.args(&arguments).arg("--dir").arg(folder);
            let done = done.stdin(Stdio::null()).output();
            let done = done.attempt("start deploy/local/stack")?;
            if done.status.success() {
                return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
            }
            let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            Err(Failure::new(format!(
                "stack {}: {why}",
                arguments.join(" ")
            )))
        });
        work.await.attempt("run deploy/local/stack")?
    }
}

/// A stack of one's own.
#[derive(Debug)]
pub struct OwnServers {
    /// Its servers.
    pub servers: Servers,
    /// Their addresses.
    pub stack: Stack,
    // Goes before the folder does.
    _guard: Guard,
    _folder: TempDir,
}

impl OwnServers {
    /// Starts the three servers.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub async fn up() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lc_servers_").tempdir()?;
        let servers = Servers {
            folder: folder.path().to_owned(),
        };
        // Before there is anything to be left behind.
        let guard = Guard(guard(folder.path())?);
        servers.run(vec!["up"]).await?;
        let told = servers.run(vec!["env", "--json"]).await?;
        let told: Value = serde_json::from_str(&told).attempt("read the stack's addresses")?;
        let read = |name: &str| {
            let address = told.get(name).and_then(Value::as_str).map(str::to_owned);
            address.ok_or_else(|| Failure::new(format!("the stack does not tell {name}")))
        };
        let stack = Stack {
            mongodb_uri: read("LEAFCUTTER_MONGODB_URI")?,
            kafka_brokers: read("LEAFCUTTER_KAFKA_BROKERS")?,
            postgres_uri: read("LEAFCUTTER_POSTGRES_URI")?,
        };
        Ok(Self {
            servers,
            stack,
            _guard: guard,
            _folder: folder,
        })
    }
}

/// Closes the guard's input, and waits until the servers are gone.
#[derive(Debug)]
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing can be done about a failure here.
        drop(self.0.wait());
    }
}

fn guard(folder: &Path) -> Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD]).arg(script()).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().attempt("start a guard of the servers")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local/stack")
}
