//! A pooler before PostgreSQL that gives each transaction another session, as PgBouncer does with
//! `pool_mode = transaction`: and what the sink makes of it.

use crate::world::{Table, World, at, parent};
use bytes::{Buf as _, BytesMut};
use leafcutter_sink::{
    ApplyError,
    session::{Config, Session},
};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_postgres::config::Host;

/// One side of a conversation, message by message (PostgreSQL manual, 55.7).
struct Side {
    stream: TcpStream,
    read: BytesMut,
}

impl Side {
    fn new(stream: TcpStream) -> Self {
        let read = BytesMut::new();
        Self { stream, read }
    }

    /// The next message as a whole, whose length stands behind so many bytes. Nothing is lost where this is dropped.
    async fn message(&mut self, before: usize) -> io::Result<BytesMut> {
        loop {
            if let Some(mut length) = self.read.get(before..before + 4) {
                let whole = before + usize::try_from(length.get_u32()).unwrap();
                if self.read.len() >= whole {
                    return Ok(self.read.split_to(whole));
                }
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// A session of the server, with what it said when it began.
async fn session(server: &(String, u16), startup: &[u8]) -> io::Result<(Side, BytesMut)> {
    let mut side = Side::new(TcpStream::connect(server).await?);
    side.stream.write_all(startup).await?;
    let mut said = BytesMut::new();
    while said.last() != Some(&b'I') || said.len() < 6 || said[said.len() - 6] != b'Z' {
        said.extend(side.message(1).await?);
    }
    Ok((side, said))
}

/// Serves one client until it goes. The session that was given back last is given first.
async fn serve(
    client: TcpStream,
    server: (String, u16),
    idle: Arc<Mutex<Vec<Side>>>,
) -> io::Result<()> {
    let mut client = Side::new(client);
    let startup = client.message(0).await?;
    let (begun, said) = session(&server, &startup).await?;
    client.stream.write_all(&said).await?;
    idle.lock().unwrap().push(begun);
    loop {
        let mut next = Some(client.message(1).await?);
        let given = idle.lock().unwrap().pop();
        let mut given = match given {
            Some(given) => given,
            None => session(&server, &startup).await?.0,
        };
        // What the client has asked for and the server has not ended yet.
        let mut open = 0;
        loop {
            let asked = match next.take() {
                Some(first) => first,
                None => tokio::select! {
                    asked = client.message(1) => asked?,
                    answer = given.message(1) => {
                        let answer = answer?;
                        client.stream.write_all(&answer).await?;
                        match answer[0] {
                            // What was asked to end the statement is overheard while rows are copied.
                            b'G' => open -= 1,
                            b'Z' => open -= 1,
                            _ => continue,
                        }
                        if answer[0] == b'Z' && answer[5] == b'I' && open <= 0 {
                            break;
                        }
                        continue;
                    }
                },
            };
            open += i32::from(matches!(asked[0], b'Q' | b'S'));
            given.stream.write_all(&asked).await?;
        }
        idle.lock().unwrap().push(given);
    }
}

/// The same database through a pooler, which runs until the test ends.
async fn pooled(config: &Config) -> Config {
    let Some(Host::Tcp(host)) = config.get_hosts().first() else {
        panic!("PostgreSQL is not reached by TCP");
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let server = (host.clone(), port);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let idle = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, server.clone(), Arc::clone(&idle)));
        }
    });
    let mut own = tokio_postgres::Config::new();
    own.host(address.ip().to_string())
        .port(address.port())
        .user(config.get_user().unwrap_or_default())
        .dbname(config.get_dbname().unwrap_or_default())
        .ssl_mode(tokio_postgres::config::SslMode::Disable);
    own.into()
}

#[tokio::test]
async fn whoever_starts_sees_that_no_session_lasts() {
    let world = World::new().await;
    let mut direct = Session::open(&world.config, "test").await.unwrap();
    assert!(direct.lasts(&world.config).await.unwrap());
    let config = pooled(&world.config).await;
    let mut given = Session::open(&config, "test").await.unwrap();
    assert!(!given.lasts(&config).await.unwrap());
}

/// Two consumers whose transactions meet in one session, and with it in its temporary tables.
#[tokio::test]
async fn nothing_is_written_in_a_session_of_somebody_else() {
    let world = World::new().await;
    let config = pooled(&world.config).await;
    let mut consumers = Vec::new();
    for (partition, name) in (0..).zip(["one", "other"]) {
        let mut consumer = world.consumer_through(config.clone(), name);
        consumer.take_over(Table::Parents, partition).await;
        consumers.push(consumer);
    }
    // The session is the other's now.
    let refused = consumers[0].apply(&at(0, [parent(1, 1)])).await;
    let Err(ApplyError::Transient { .. }) = &refused else {
        panic!("{refused:?}");
    };
    let told = refused.unwrap_err();
    let why = std::error::Error::source(&told).unwrap().to_string();
    assert!(why.contains("pooler"), "{why}");
    assert_eq!(world.text("select count(*) from parents").await, "0");
    // Marked anew, it is its own until somebody else's transaction comes in between.
    consumers[0].apply(&at(0, [parent(1, 1)])).await.unwrap();
    assert_eq!(world.text("select count(*) from parents").await, "1");
}
