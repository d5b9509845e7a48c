//! Between a program and a server: a connection that takes and gives nothing, is cut, or is slow; and an
//! address that leads to another server.
//!
//! It knows nothing of what passes, so it suits MongoDB with `directConnection`, and PostgreSQL. Kafka's
//! clients connect to the address that a broker tells them, not to this one.

use crate::failure::{Attempt, Result};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};

/// Between two pieces of what is slow.
const TICK: Duration = Duration::from_millis(10);

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It passes.
    Free,
    /// So many bytes pass each hundredth of a second, in each direction of each connection.
    Slow(usize),
    /// Nothing passes in either direction, and nothing is closed. Whoever connects is taken.
    Held,
}

/// The proxy, which goes with it, and all connections with it.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    flow: watch::Sender<Flow>,
    server: Arc<Mutex<String>>,
    /// What has been held back, in pieces as they were sent.
    held: Arc<AtomicU64>,
    listener: AbortHandle,
}

impl Proxy {
    /// A proxy before the server of this address, `host:port`.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn before(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.attempt("listen")?;
        let port = listener.local_addr()?.port();
        let (flow, flows) = watch::channel(Flow::Free);
        let server = Arc::new(Mutex::new(server.to_owned()));
        let held = Arc::new(AtomicU64::new(0));
        let (leads_to, count) = (Arc::clone(&server), Arc::clone(&held));
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = leads_to.lock().unwrap_or_else(PoisonError::into_inner);
                let server = server.clone();
                drop(tokio::spawn(serve(
                    client,
                    server,
                    flows.clone(),
                    Arc::clone(&count),
                )));
            }
        });
        Ok(Self {
            port,
            flow,
            server,
            held,
            listener: listening.abort_handle(),
        })
    }

    /// Lets everything flow so from now on, in connections that there are too.
    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// Leads whoever connects from now on to another server.
    pub fn lead_to(&self, server: &str) {
        let mut leads_to = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.clone_into(&mut leads_to);
    }

    /// How often something was sent that was held back.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::SeqCst)
    }

    /// The same address with this proxy in place of its host and port.
    #[must_use]
    pub fn instead(&self, uri: &str) -> String {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        uri.replace(&*server, &format!("127.0.0.1:{}", self.port))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(
    client: TcpStream,
    server: String,
    flow: watch::Receiver<Flow>,
    held: Arc<AtomicU64>,
) {
    // As a network that drops everything: nobody is told that there is no server.
    let Some(mut ready) = passes(flow.clone()).await else {
        return;
    };
    let Ok(server) = TcpStream::connect(&server).await else {
        return;
    };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = forward(from_client, to_server, flow.clone(), Some(held));
    let down = forward(from_server, to_client, flow, None);
    let gone = async { while ready.changed().await.is_ok() {} };
    tokio::select! { () = up => {} () = down => {} () = gone => {} }
}

/// Waits until something may pass; nothing when the proxy is gone.
async fn passes(mut flow: watch::Receiver<Flow>) -> Option<watch::Receiver<Flow>> {
    let free = flow.wait_for(|flow| *flow != Flow::Held).await.is_ok();
    free.then_some(flow)
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
    held: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let most = match *flow.borrow() {
            Flow::Slow(bytes) => bytes.clamp(1, buffer.len()),
            Flow::Free | Flow::Held => buffer.len(),
        };
        // No more than one piece is read while it is held back, so that whoever sends has to wait at last.
        let Ok(count @ 1..) = from.read(&mut buffer[..most]).await else {
            return;
        };
        if *flow.borrow() == Flow::Held
            && let Some(held) = &held
        {
            held.fetch_add(1, Ordering::SeqCst);
        }
        if flow.wait_for(|flow| *flow != Flow::Held).await.is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
        if matches!(*flow.borrow(), Flow::Slow(_)) {
            tokio::time::sleep(TICK).await;
        }
    }
}
