//! The pages of a producer: whether it lives, and whether it is ready.

use std::time::Duration;

use leafcutter_harness::probe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::World;

/// Where the pages are.
pub(crate) struct Pages(String);

impl Pages {
    /// Has the producers of this world serve their pages at an address that is free now.
    pub(crate) async fn of(world: &mut World) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = free.local_addr().expect("an address").to_string();
        world.flag("admin", &address);
        Self(address)
    }

    /// Status and text of a page.
    async fn get(&self, page: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.0).await.ok()?;
        let request = format!("GET {page} HTTP/1.0\r\nHost: {}\r\n\r\n", self.0);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, text) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, text.to_owned()))
    }

    /// Waits until the producer is ready.
    pub(crate) async fn until_ready(&self) {
        self.until("the producer to be ready", 200, "ready").await;
    }

    /// Waits until the producer is not ready, and says that it is for this server; it is alive.
    pub(crate) async fn until_without(&self, server: &str) {
        let what = format!("the producer to miss {server}");
        self.until(&what, 503, &format!("{server}: ")).await;
        let (status, text) = self.get("/healthz").await.expect("a page");
        assert_eq!(status, 200, "{text}");
    }

    /// A gauge, or a counter without labels; nothing before the page is there.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await?;
        let values = text.lines().filter_map(|line| line.split_once(' '));
        let mut found = values.filter(|(found, _)| *found == name);
        found.next()?.1.parse().ok()
    }

    async fn until(&self, what: &str, status: u16, words: &str) {
        let told = probe::until(Duration::from_secs(60), what, async || {
            let page = self.get("/readyz").await;
            let told = page.filter(|(found, text)| *found == status && text.contains(words));
            Ok(told.map(|_| ()))
        });
        told.await.unwrap();
    }
}
