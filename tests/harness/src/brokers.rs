//! Three Kafka brokers of a test's own, and a process that leads them.
//!
//! The controller is a process of its own that nobody kills, so that of the brokers any number can be away.

use crate::{
    failure::{Attempt, Failure, Result},
    probe,
    stack::Stack,
    topic,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(180);
const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";
const CONTROLLER: usize = 0;
/// What all of them are told. A broker that was killed may register again when its session is over.
const SETTINGS: &str = "\
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
auto.create.topics.enable=false
message.max.bytes=26214400
replica.fetch.max.bytes=26214400
replica.lag.time.max.ms=3000
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=3
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=3
transaction.state.log.num.partitions=3
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
";

/// The brokers, numbered from 1, which go with it.
#[derive(Debug)]
pub struct Brokers {
    /// The controller, and the brokers.
    members: Vec<Member>,
    _folder: TempDir,
}

#[derive(Debug)]
struct Member {
    settings: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Brokers {
    /// Starts them, with further settings; comes back when all of them are there.
    ///
    /// # Errors
    /// When one cannot be started, or they do not find each other.
    pub async fn up(further: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // All are taken at once, so that no two are the same.
        let free: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
        let mut ports = Vec::new();
        for listener in free {
            ports.push(listener?.local_addr()?.port());
        }
        let mut brokers = Self {
            members: Vec::new(),
            _folder: folder,
        };
        let mut formats = Vec::new();
        for (id, port) in ports.iter().enumerate() {
            let role = match id {
                CONTROLLER => ("controller", "CONTROLLER", ""),
                _ => ("broker", "PLAINTEXT", "advertised."),
            };
            let (roles, listener, advertised) = role;
            let own = brokers._folder.path().join(id.to_string());
            fs::create_dir(&own)?;
            let mut text = format!(
                "process.roles={roles}\nnode.id={id}\nlisteners={listener}://127.0.0.1:{port}\n\
                 controller.quorum.voters={CONTROLLER}@127.0.0.1:{}\nlog.dirs={}\n{SETTINGS}{further}\n",
                ports[CONTROLLER],
                own.join("log").display()
            );
            if !advertised.is_empty() {
                text += &format!("{advertised}listeners={listener}://127.0.0.1:{port}\n");
            }
            let settings = own.join("server.properties");
            fs::write(&settings, text)?;
            formats.push(run(&settings, &["--format", CLUSTER])?);
            brokers.members.push(Member {
                settings,
                port: *port,
                child: None,
            });
        }
        for mut format in formats {
            if !format.wait()?.success() {
                return Err(Failure::new("could not format a broker's folder"));
            }
        }
        for member in &mut brokers.members {
            member.child = Some(run(&member.settings, &[])?);
        }
        brokers.until_there(3).await?;
        Ok(brokers)
    }

    /// The stack with these in place of its Kafka.
    #[must_use]
    pub fn instead_of(&self, stack: Stack) -> Stack {
        Stack {
            kafka_brokers: self.addresses(),
            ..stack
        }
    }

    fn addresses(&self) -> String {
        let brokers = self.members.iter().skip(1);
        let brokers: Vec<_> = brokers.map(|b| format!("127.0.0.1:{}", b.port)).collect();
        brokers.join(",")
    }

    fn reader(&self) -> Result<BaseConsumer> {
        topic::reader(&leafcutter_runtime::kafka::KafkaSettings::new(
            self.addresses(),
        ))
    }

    /// Waits until so many brokers are there.
    async fn until_there(&self, count: usize) -> Result<()> {
        let reader = self.reader()?;
        let what = format!("{count} brokers to be there");
        probe::until(PATIENCE, &what, async || {
            let seen = reader.fetch_metadata(None, Duration::from_secs(1));
            Ok(seen
                .is_ok_and(|seen| seen.brokers().len() == count)
                .then_some(()))
        })
        .await
    }

    /// Waits until every partition of every topic has all its replicas in sync.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn until_in_sync(&self) -> Result<()> {
        let reader = self.reader()?;
        probe::until(PATIENCE, "all replicas to be in sync", async || {
            let Ok(seen) = reader.fetch_metadata(None, Duration::from_secs(1)) else {
                return Ok(None);
            };
            let mut partitions = seen.topics().iter().flat_map(|topic| topic.partitions());
            let in_sync = partitions.all(|p| p.isr().len() == p.replicas().len());
            Ok((in_sync && seen.brokers().len() == 3).then_some(()))
        })
        .await
    }

    fn member(&mut self, broker: usize) -> Result<&mut Member> {
        let found = self.members.get_mut(broker);
        found.ok_or_else(|| Failure::new(format!("there is no broker {broker}")))
    }

    /// Ends a broker as a power cut would (SIGKILL).
    ///
    /// # Errors
    /// When it is away.
    pub fn kill(&mut self, broker: usize) -> Result<()> {
        let child = self.member(broker)?.child.take();
        let mut child = child.ok_or_else(|| Failure::new(format!("broker {broker} is away")))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts one that was killed again, on its port and data.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self, broker: usize) -> Result<()> {
        let member = self.member(broker)?;
        member.child = Some(run(&member.settings, &[])?);
        Ok(())
    }
}

fn run(settings: &Path, further: &[&str]) -> Result<Child> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local/stack");
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(settings.with_extension("log"))?;
    Command::new(script)
        .arg("broker")
        .args(further)
        .arg(settings)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .attempt("start a broker")
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|m| m.child.as_mut()) {
            // Nothing can be done about a failure here.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
