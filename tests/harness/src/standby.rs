//! A standby of a PostgreSQL server of a test's own, which falls behind and is promoted.

use crate::{
    failure::{Attempt, Failure, Result},
    probe,
};
use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

/// The standby, which goes with it.
#[derive(Debug)]
pub struct Standby {
    child: Child,
    /// Where it is.
    pub uri: String,
    _folder: TempDir,
}

impl Standby {
    /// Copies the server of this address, and follows it from then on.
    ///
    /// # Errors
    /// When it cannot be copied, or the copy does not answer.
    pub async fn of(primary: &str) -> Result<Self> {
        // Where the user `postgres` can get at it.
        let folder = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in("/var/tmp")?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
        let user = user()?;
        if let Some((uid, gid)) = user {
            chown(&data, Some(uid), Some(gid))?;
        }
        let mut copy = Command::new(binary("pg_basebackup"));
        copy.args(["-d", primary, "-R", "-X", "stream", "-c", "fast"]);
        copy.arg("--no-sync").arg("-D").arg(&data);
        let copied = as_user(&mut copy, user).output().attempt("copy a server")?;
        if !copied.status.success() {
            return Err(Failure::new(String::from_utf8_lossy(&copied.stderr)));
        }
        // The server finds it free a moment later, or the test fails and says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut postgres = Command::new(binary("postgres"));
        postgres.arg("-D").arg(&data);
        for setting in [
            &format!("port={port}"),
            "unix_socket_directories=",
            "shared_buffers=64MB",
        ] {
            postgres.args(["-c", setting]);
        }
        let child = as_user(&mut postgres, user)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .attempt("start a standby")?;
        let (_, database) = primary.rsplit_once('/').unwrap_or_default();
        let standby = Self {
            child,
            uri: format!("postgres://leafcutter@127.0.0.1:{port}/{database}"),
            _folder: folder,
        };
        let answers = async || Ok(standby.ask().await.ok());
        probe::until(PATIENCE, "the standby to answer", answers).await?;
        Ok(standby)
    }

    /// Where it is, `host:port`.
    pub fn address(&self) -> String {
        let host = self.uri.split(['@', '/']).nth(3).unwrap_or_default();
        host.to_owned()
    }

    async fn ask(&self) -> Result<Client> {
        connect(&self.uri).await
    }

    /// A session on another database of it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of_database(&self, name: &str) -> Result<Client> {
        let (place, _) = self.uri.rsplit_once('/').unwrap_or_default();
        connect(&format!("{place}/{name}")).await
    }

    /// Follows nobody any more: what is committed from now on it lacks.
    ///
    /// # Errors
    /// When it goes on.
    pub async fn fall_behind(&self) -> Result<()> {
        let client = self.ask().await?;
        client
            .execute("alter system set primary_conninfo = ''", &[])
            .await?;
        client.execute("select pg_reload_conf()", &[]).await?;
        probe::until(PATIENCE, "the standby to follow nobody", async || {
            let receivers = "select count(*) from pg_stat_wal_receiver";
            let receivers: i64 = client.query_one(receivers, &[]).await?.get(0);
            Ok((receivers == 0).then_some(()))
        })
        .await
    }

    /// Makes it a server that is written to.
    ///
    /// # Errors
    /// When it does not become one.
    pub async fn promote(&self) -> Result<()> {
        let client = self.ask().await?;
        let promoted = client.query_one("select pg_promote(true, 60)", &[]).await?;
        if promoted.get(0) {
            return Ok(());
        }
        Err(Failure::new("the standby was not promoted within a minute"))
    }
}

pub(crate) async fn connect(uri: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(uri, NoTls).await?;
    // Owned by the client: it ends with it.
    drop(tokio::spawn(connection));
    Ok(client)
}

impl Drop for Standby {
    fn drop(&mut self) {
        // SIGQUIT: unlike SIGKILL it leaves no process behind. Nothing can be done about a failure here.
        let pid = self.child.id().to_string();
        drop(
            Command::new("sh")
                .args(["-c", "kill -s QUIT \"$0\"", &pid])
                .status(),
        );
        drop(self.child.wait());
    }
}

/// Debian's newest binary, or the one on PATH.
fn binary(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

/// The user `postgres`, where this is root, as which PostgreSQL refuses to run.
pub(crate) fn user() -> Result<Option<(u32, u32)>> {
    let own = Command::new("id").arg("-u").output()?;
    if own.stdout.trim_ascii() != b"0" {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users
        .lines()
        .find_map(|line| line.strip_prefix("postgres:"));
    let mut fields = line.unwrap_or_default().split(':').skip(1);
    let mut number = || Ok::<u32, Failure>(fields.next().unwrap_or_default().parse()?);
    Ok(Some((number()?, number()?)))
}

/// As this user, in a folder that everybody may read.
pub(crate) fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").stdin(Stdio::null())
}
