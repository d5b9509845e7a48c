//! Servers that can be killed and started again, by `deploy/local/stack`.
//!
//! [`Servers`] are those of a stack that somebody else started; [`OwnServers`] are started here, in
//! a folder of their own, for whoever must not disturb others. They are stopped and removed when
//! they are dropped, and also when this process dies without doing so: a small process waits for
//! that.

use crate::{
    failure::{Attempt, Failure, Result},
    stack::Stack,
    standby,
};
use serde_json::Value;
use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
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
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        run(&self.folder, arguments).await
    }
}

async fn run(folder: &Path, arguments: Vec<String>) -> Result<String> {
    let folder = folder.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(script());
        let done = command.args(&arguments).arg("--dir").arg(folder);
        let done = done.stdin(Stdio::null()).output();
        let name = format!("stack {}", arguments.join(" "));
        said(&name, done.attempt("start deploy/local/stack")?)
    });
    work.await.attempt("run deploy/local/stack")?
}

/// What a program has said, if it has ended well.
fn said(name: &str, done: Output) -> Result<String> {
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Failure::new(format!("{name}: {why}")))
}

fn address(told: &Value, name: &str) -> Result<String> {
    let address = told.get(name).and_then(Value::as_str).map(str::to_owned);
    address.ok_or_else(|| Failure::new(format!("the stack does not tell {name}")))
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
        let stack = Stack {
            mongodb_uri: address(&told, "LEAFCUTTER_MONGODB_URI")?,
            kafka_brokers: address(&told, "LEAFCUTTER_KAFKA_BROKERS")?,
            postgres_uri: address(&told, "LEAFCUTTER_POSTGRES_URI")?,
        };
        Ok(Self {
            servers,
            stack,
            _guard: guard,
            _folder: folder,
        })
    }
}

/// A PostgreSQL of one's own.
#[derive(Debug)]
pub struct OwnPostgres {
    /// The server, which may be killed.
    pub servers: Servers,
    /// Where it is.
    pub uri: String,
    // Goes before the folder does.
    _guard: Guard,
    _folder: TempDir,
}

impl OwnPostgres {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn up() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lc_servers_").tempdir()?;
        let servers = Servers {
            folder: folder.path().to_owned(),
        };
        let guard = Guard(guard(folder.path())?);
        servers.run(vec!["up", "--only", "postgres"]).await?;
        let told = servers.run(vec!["env", "--json"]).await?;
        let told: Value = serde_json::from_str(&told).attempt("read the stack's addresses")?;
        Ok(Self {
            servers,
            uri: address(&told, "LEAFCUTTER_POSTGRES_URI")?,
            _guard: guard,
            _folder: folder,
        })
    }

    /// Lets no file of the server become larger than this, in sessions that are there and in those to come.
    ///
    /// # Errors
    /// When the server, or its user, cannot be asked.
    pub async fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let user = standby::user()?;
        let set = |process: &str| {
            let mut command = Command::new("prlimit");
            command.args(["--pid", process, &format!("--fsize={limit}:")]);
            let set = standby::as_user(&mut command, user).output();
            set.attempt("run prlimit")
        };
        let client = standby::connect(&self.uri).await?;
        let asked = "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
        let server: String = client.query_one(asked, &[]).await?.get(0);
        // Sessions that begin from now on have what the server has.
        let done = set(&server)?;
        if !done.status.success() {
            return Err(Failure::new(String::from_utf8_lossy(&done.stderr)));
        }
        let children = format!("/proc/{server}/task/{server}/children");
        for session in std::fs::read_to_string(children)?.split_whitespace() {
            // It may have ended meanwhile.
            set(session)?;
        }
        Ok(())
    }
}

/// A Kafka of one's own with users and ACLs. Who has no name may do everything; a user, what was granted.
#[derive(Debug)]
pub struct KafkaOfUsers {
    /// Where it takes those who have no name.
    pub brokers: String,
    /// Where it takes users, over SASL, PLAIN or SCRAM-SHA-512.
    pub brokers_of_users: String,
    // Goes before the folder does.
    _guard: Guard,
    folder: TempDir,
}

impl KafkaOfUsers {
    /// Starts it with these users, all with one password.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn up(users: &[&str], password: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lc_servers_").tempdir()?;
        let guard = Guard(guard(folder.path())?);
        let users = users.iter().map(|user| format!("{user}:{password}"));
        let users = users.collect::<Vec<_>>().join(",");
        let up = ["up", "--only", "kafka", "--kafka-users", &users];
        run(folder.path(), up.map(str::to_owned).to_vec()).await?;
        let told = run(folder.path(), vec!["env".to_owned(), "--json".to_owned()]).await?;
        let told: Value = serde_json::from_str(&told).attempt("read the stack's addresses")?;
        Ok(Self {
            brokers: address(&told, "LEAFCUTTER_KAFKA_BROKERS")?,
            brokers_of_users: address(&told, "LEAFCUTTER_STACK_KAFKA_OF_USERS")?,
            _guard: guard,
            folder,
        })
    }

    /// Runs a shell script that calls `kafka-acls`, as who may do everything.
    ///
    /// # Errors
    /// When the script fails.
    pub async fn grant(&self, text: &str) -> Result<()> {
        let tool = self.folder.path().join("kafka-acls");
        let stack = script().canonicalize()?;
        let call = format!(
            "#!/bin/sh\nexec '{}' kafka-tool acls \"$@\"\n",
            stack.display()
        );
        std::fs::write(&tool, call)?;
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let (text, brokers) = (text.to_owned(), self.brokers.clone());
        let path = format!("{}:{path}", self.folder.path().display());
        let work = tokio::task::spawn_blocking(move || {
            let mut command = Command::new("sh");
            command.args(["-c", &text]).stdin(Stdio::null());
            command.env("PATH", path).env("BOOTSTRAP", brokers);
            said("kafka-acls", command.output().attempt("start a shell")?)
        });
        work.await.attempt("run kafka-acls")?.map(drop)
    }
}

/// A MongoDB and a Kafka of one's own that speak TLS, and beside it without.
#[derive(Debug)]
pub struct TlsServers {
    /// MongoDB, with nothing said of TLS.
    pub mongodb_uri: String,
    /// Where Kafka speaks TLS.
    pub kafka_brokers: String,
    // Goes before the folder does.
    _guard: Guard,
    _folder: TempDir,
}

impl TlsServers {
    /// Starts them with the certificate `server.pem`, with its key, and the authority `ca.crt` of a folder.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub async fn up(certificates: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lc_servers_").tempdir()?;
        let guard = Guard(guard(folder.path())?);
        let certificates = certificates.display().to_string();
        let up = ["up", "--only", "mongodb,kafka", "--tls", &certificates];
        run(folder.path(), up.map(str::to_owned).to_vec()).await?;
        let told = run(folder.path(), vec!["env".to_owned(), "--json".to_owned()]).await?;
        let told: Value = serde_json::from_str(&told).attempt("read the stack's addresses")?;
        Ok(Self {
            mongodb_uri: address(&told, "LEAFCUTTER_MONGODB_URI")?,
            kafka_brokers: address(&told, "LEAFCUTTER_STACK_KAFKA_TLS")?,
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
