//! A MongoDB server of a test's own: a standalone one, or whatever its settings say.

use crate::{
    failure::{Attempt, Result},
    stack::Stack,
};
use bson::{Document, doc};
use mongodb::{
    Client,
    options::{ClientOptions, Credential, ServerAddress},
};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// The server, which goes with it.
#[derive(Debug)]
pub struct Mongod {
    child: Child,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl Mongod {
    /// Starts it and waits until it answers. In its folder there is a file `key`, for `--keyFile`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(settings: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let key_file = folder.path().join("key");
        fs::write(&key_file, "bGVhZmN1dHRlcg==")?;
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;
        // The server finds it free a moment later, or the test fails and says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let child = run(port, &settings, folder.path())?;
        let server = Self {
            child,
            port,
            settings,
            folder,
        };
        server.ask(None, "admin", doc! { "hello": 1 }).await?;
        Ok(server)
    }

    /// Ends it as a power cut would (SIGKILL).
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts one that was killed again, on its port and data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn start_again(&mut self) -> Result<()> {
        self.child = run(self.port, &self.settings, self.folder.path())?;
        let hello = self.ask(None, "admin", doc! { "hello": 1 });
        hello.await.map(drop)
    }

    /// Where its data are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The stack with this server as its source.
    #[must_use]
    pub fn instead_of(&self, stack: Stack) -> Stack {
        Stack {
            mongodb_uri: format!("mongodb://127.0.0.1:{}/", self.port),
            ..stack
        }
    }

    /// Runs a command, as a user of `admin` with a password, or as nobody.
    ///
    /// # Errors
    /// When the server refuses it, or does not answer.
    pub async fn ask(
        &self,
        user: Option<(&str, &str)>,
        database: &str,
        what: Document,
    ) -> Result<Document> {
        let address = ServerAddress::Tcp {
            host: "127.0.0.1".to_owned(),
            port: Some(self.port),
        };
        let mut options = ClientOptions::builder()
            .hosts(vec![address])
            .direct_connection(true)
            .build();
        options.credential = user.map(|(user, password)| {
            Credential::builder()
                .username(user.to_owned())
                .password(password.to_owned())
                .source("admin".to_owned())
                .build()
        });
        let client = Client::with_options(options)?;
        let asked = client.database(database).run_command(what).await;
        asked.attempt("ask the test's own MongoDB")
    }
}

fn run(port: u16, settings: &[String], folder: &Path) -> Result<Child> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local/stack");
    let told = Command::new(script).arg("mongod").output()?;
    let mongod = PathBuf::from(String::from_utf8(told.stdout)?.trim());
    Command::new(mongod)
        .args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet"])
        .args(["--port", &port.to_string(), "--dbpath", "."])
        .args(settings)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .attempt("start mongod")
}

impl Drop for Mongod {
    fn drop(&mut self) {
        // Nothing can be done about a failure here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
