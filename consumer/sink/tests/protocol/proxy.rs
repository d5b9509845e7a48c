//! A proxy before PostgreSQL that cuts the connection around a commit.

use leafcutter_sink::session::Config;
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};
use tokio_postgres::config::Host;

/// When the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    Never = 0,
    /// The server never hears of the commit.
    BeforeCommit = 1,
    /// The server commits; nobody hears of it.
    AfterCommit = 2,
    /// The next answer is the one to be lost.
    Answer = 3,
}

/// A proxy that runs until the test ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    cut: Arc<AtomicU8>,
}

impl Proxy {
    /// Stands before the server of `config`.
    pub(crate) fn new(config: &Config) -> Self {
        let Some(Host::Tcp(host)) = config.get_hosts().first() else {
            panic!("PostgreSQL is not reached by TCP");
        };
        let server = (
            host.clone(),
            config.get_ports().first().copied().unwrap_or(5432),
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(AtomicU8::new(Cut::Never as u8));
        let cuts = Arc::clone(&cut);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let cut = Arc::clone(&cuts);
                thread::spawn(move || forward(from, to, |bytes| ask(&cut, bytes)));
                let cut = Arc::clone(&cuts);
                thread::spawn(move || forward(server, client, |_| answer(&cut)));
            }
        });
        Self { address, cut }
    }

    /// The same database, through the proxy.
    pub(crate) fn config(&self, config: &Config) -> Config {
        let mut own = tokio_postgres::Config::new();
        own.host(self.address.ip().to_string())
            .port(self.address.port())
            .user(config.get_user().unwrap_or_default())
            .dbname(config.get_dbname().unwrap_or_default())
            .options(config.get_options().unwrap_or_default());
        if let Some(password) = config.get_password() {
            own.password(password);
        }
        own.into()
    }

    /// Cuts at the next commit.
    pub(crate) fn cut(&self, when: Cut) {
        self.cut.store(when as u8, Ordering::SeqCst);
    }
}

/// Whether the client's bytes may pass.
fn ask(cut: &AtomicU8, bytes: &[u8]) -> bool {
    if !bytes.windows(7).any(|window| window == b"commit\0") {
        return true;
    }
    let swap = |from: Cut, to: Cut| {
        let (from, to) = (from as u8, to as u8);
        cut.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    };
    swap(Cut::AfterCommit, Cut::Answer);
    !swap(Cut::BeforeCommit, Cut::Never)
}

/// Whether the server's bytes may pass.
fn answer(cut: &AtomicU8) -> bool {
    cut.compare_exchange(
        Cut::Answer as u8,
        Cut::Never as u8,
        Ordering::SeqCst,
        Ordering::SeqCst,
    )
    .is_err()
}

fn forward(mut from: TcpStream, mut to: TcpStream, pass: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        let bytes = &buffer[..count];
        if count == 0 || !pass(bytes) || to.write_all(bytes).is_err() {
            break;
        }
    }
    // Either may be gone already.
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
