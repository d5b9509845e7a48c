//! A PostgreSQL of the test's own, which speaks TLS.

use leafcutter_sink::session;
use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The server, which goes with it.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
    user: Option<(u32, u32)>,
}

/// Debian's newest binaries, or those on PATH.
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
fn user() -> Option<(u32, u32)> {
    let own = Command::new("id").arg("-u").output().unwrap();
    if own.stdout.trim_ascii() != b"0" {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.unwrap().split(':').skip(2);
    let mut number = || fields.next().unwrap().parse().unwrap();
    Some((number(), number()))
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").stdin(Stdio::null())
}

impl Server {
    /// A server with the certificate `server.crt` of this folder, its key `server.key`, and the authority of
    /// its clients, `clients.crt`. `make` writes them.
    pub(crate) async fn start(make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in("/var/tmp")
            .unwrap();
        make(folder.path());
        let user = user();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        if let Some((uid, gid)) = user {
            chown(&data, Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = Command::new(binary("initdb"));
        initdb.arg("-D").arg(&data);
        initdb.args([
            "-U",
            "app",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale",
            "C",
        ]);
        let made = as_user(&mut initdb, user).stdout(Stdio::null()).status();
        assert!(made.unwrap().success(), "initdb fails");
        let server = folder.path().join("server.key");
        fs::set_permissions(&server, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = user {
            chown(&server, Some(uid), Some(gid)).unwrap();
        }
        // `app` without more, `known` with a certificate, over TLS alone; `plain` without TLS alone.
        let access = "hostssl all app all trust\nhostssl all known all cert\nhostnossl all plain all trust\n";
        fs::write(data.join("pg_hba.conf"), access).unwrap();
        // Free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = Self::run(folder.path(), port, user);
        let server = Self {
            child,
            port,
            folder,
            user,
        };
        server.until_it_answers().await;
        let config = server.config("app", "sslmode=require").unwrap();
        let client = session::connect(&config, "test");
        let make = "create role known login; create role plain login";
        client.await.unwrap().batch_execute(make).await.unwrap();
        server
    }

    fn run(folder: &Path, port: u16, user: Option<(u32, u32)>) -> Child {
        let mut postgres = Command::new(binary("postgres"));
        postgres.arg("-D").arg(folder.join("data"));
        let of = |name: &str| folder.join(name).display().to_string();
        for setting in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", of("server.crt")),
            format!("ssl_key_file={}", of("server.key")),
            format!("ssl_ca_file={}", of("clients.crt")),
        ] {
            postgres.arg("-c").arg(setting);
        }
        let said = fs::File::create(folder.join("log")).unwrap();
        as_user(&mut postgres, user)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap()
    }

    async fn until_it_answers(&self) {
        let begun = Instant::now();
        let config = self.config("app", "sslmode=require").unwrap();
        while let Err(error) = session::connect(&config, "test").await {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
            let late = begun.elapsed() > Duration::from_secs(60);
            assert!(!late, "{error:?}\n{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A file of the folder.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// How to connect as this user with these settings.
    pub(crate) fn config(
        &self,
        user: &str,
        settings: &str,
    ) -> Result<session::Config, session::ConnectError> {
        self.config_of("127.0.0.1", user, settings)
    }

    /// The same under another name of the host.
    pub(crate) fn config_of(
        &self,
        host: &str,
        user: &str,
        settings: &str,
    ) -> Result<session::Config, session::ConnectError> {
        let uri = format!("postgres://{user}@{host}:{}/postgres?{settings}", self.port);
        session::config(&leafcutter_runtime::secret::Secret::new(uri))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT leaves no shared memory behind.
        let pid = self.child.id().to_string();
        let mut kill = Command::new("kill");
        kill.args(["-QUIT", &pid]);
        drop(as_user(&mut kill, self.user).status());
        drop(self.child.wait());
    }
}
