//! Rows into a temporary table by binary COPY (PostgreSQL manual, `COPY`, "Binary Format").
//!
//! The rows are encoded already; here each gets its field count in front and its version and
//! positions behind. Blocks are large, since every block is a message and a wake-up.

use crate::{
    ids::{DocumentId, RowIndex},
    session::Session,
    transform::rows::field_length,
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt as _, future::join};
use leafcutter_schemas::version::Version;
use tokio_postgres::{Client, CopyInSink, Error, Row};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The length of a field that is null.
const NULL: i32 = -1;
const BLOCK_BYTES: usize = 256 * 1024;

/// A stream of encoded tuples on its way to the server, block by block.
#[derive(Debug)]
pub struct CopyBuffer {
    blocks: Vec<Bytes>,
    open: BytesMut,
    /// Tuples written.
    pub count: u64,
}

impl CopyBuffer {
    /// An empty one.
    pub fn new() -> Self {
        let mut open = BytesMut::with_capacity(BLOCK_BYTES + 4096);
        open.put_slice(SIGNATURE);
        Self {
            blocks: Vec::new(),
            open,
            count: 0,
        }
    }

    /// Adds a row of `columns` encoded fields, followed by its version, its document and itself, and by
    /// whose it is if the table has that.
    pub fn row(
        &mut self,
        (columns, fields): (usize, &[u8]),
        version: Version,
        document: DocumentId,
        row: RowIndex,
        owner: Option<&[u8]>,
    ) {
        self.begin_tuple(columns + 3 + usize::from(owner.is_some()), fields);
        self.number(version);
        self.position(document.as_i32());
        self.position(row.as_i32());
        self.bytes(owner);
        self.finish_tuple();
    }

    /// Adds the key of a row that is to be deleted, of `columns` columns, with its version and document,
    /// and with whose it is, or null, if the table has that.
    pub fn key(
        &mut self,
        (columns, key): (usize, &[u8]),
        version: Version,
        document: DocumentId,
        owner: Option<Option<&[u8]>>,
    ) {
        let all = columns + 2 + usize::from(owner.is_some());
        if columns > 1 {
            self.begin_tuple(all, key);
        } else {
            self.begin_tuple(all, &[]);
            self.bytes(Some(key));
        }
        self.number(version);
        self.position(document.as_i32());
        match owner {
            Some(None) => self.open.put_i32(NULL),
            Some(owner) => self.bytes(owner),
            None => {}
        }
        self.finish_tuple();
    }

    /// Adds a row of `columns` encoded fields as the target has them, with its version if the table has
    /// one, and with whose it is if it has that.
    pub fn plain(
        &mut self,
        (columns, fields): (usize, &[u8]),
        version: Option<Version>,
        owner: Option<&[u8]>,
    ) {
        let own = usize::from(version.is_some()) + usize::from(owner.is_some());
        self.begin_tuple(columns + own, fields);
        if let Some(version) = version {
            self.number(version);
        }
        self.bytes(owner);
        self.finish_tuple();
    }

    /// Adds a number and a key.
    pub fn keyed(&mut self, number: i32, key: &[u8]) {
        self.begin_tuple(2, &[]);
        self.position(number);
        self.bytes(Some(key));
        self.finish_tuple();
    }

    fn bytes(&mut self, field: Option<&[u8]>) {
        if let Some(field) = field {
            self.open.put_i32(field_length(field.len()));
            self.open.put_slice(field);
        }
    }

    fn begin_tuple(&mut self, columns: usize, fields: &[u8]) {
        let columns =
            i16::try_from(columns).expect("PostgreSQL's tables have 1,600 columns at most");
        self.open.put_i16(columns);
        self.open.put_slice(fields);
    }

    fn number(&mut self, version: Version) {
        self.open.put_i32(8);
        self.open.put_i64(version.as_i64());
    }

    fn position(&mut self, position: i32) {
        self.open.put_i32(4);
        self.open.put_i32(position);
    }

    fn finish_tuple(&mut self) {
        self.count += 1;
        if self.open.len() >= BLOCK_BYTES {
            let full =
                std::mem::replace(&mut self.open, BytesMut::with_capacity(BLOCK_BYTES + 4096));
            self.blocks.push(full.freeze());
        }
    }

    /// Sends everything to the table of the COPY statement; gives how many rows it wrote.
    ///
    /// # Errors
    /// When the server refuses it or is lost; so for all of these.
    pub async fn send(self, session: &mut Session, sql: &str) -> Result<u64, Error> {
        let sink = session.copy_in(sql).await?;
        self.feed(sink).await
    }

    /// Makes everything what the session's temporary table of the COPY statement holds.
    ///
    /// # Errors
    /// As [`CopyBuffer::send`].
    pub async fn stage(
        self,
        session: &mut Session,
        temporary: &str,
        sql: &str,
    ) -> Result<(), Error> {
        if self.count == 0 {
            return session.empty(temporary).await;
        }
        let sink = session.stage(temporary, self.count, sql).await?;
        self.feed(sink).await.map(drop)
    }

    /// The same, and looks at it with a statement that is sent together with the rows. Gives what that gives.
    ///
    /// # Errors
    /// As [`CopyBuffer::send`].
    pub async fn stage_and_look(
        self,
        session: &mut Session,
        place: (&str, &str),
        look: &str,
    ) -> Result<Vec<Row>, Error> {
        let look = session.prepared(look).await?;
        let then = async |client: &Client| client.query(&look, &[]).await;
        self.stage_and(session, place, then).await
    }

    /// The same, and writes with a statement that is sent together with the rows. Gives how many rows that wrote.
    ///
    /// # Errors
    /// As [`CopyBuffer::send`].
    pub async fn stage_and_write(
        self,
        session: &mut Session,
        place: (&str, &str),
        write: &str,
    ) -> Result<u64, Error> {
        let write = session.prepared(write).await?;
        let then = async |client: &Client| client.execute(&write, &[]).await;
        self.stage_and(session, place, then).await
    }

    /// Stages everything and executes what is prepared already: nothing but its rows may follow a COPY.
    async fn stage_and<T>(
        self,
        session: &mut Session,
        (temporary, sql): (&str, &str),
        then: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.count == 0 {
            session.empty(temporary).await?;
            return then(session.client()).await;
        }
        let sink = session.stage(temporary, self.count, sql).await?;
        // Sent in this order: what is polled first is first in the queue, whole.
        let (rows, done) = join(self.feed(sink), then(session.client())).await;
        rows?;
        done
    }

    async fn feed(mut self, sink: CopyInSink<Bytes>) -> Result<u64, Error> {
        self.open.put_i16(-1);
        self.blocks.push(self.open.freeze());
        let mut sink = std::pin::pin!(sink);
        for block in self.blocks {
            sink.as_mut().feed(block).await?;
        }
        sink.as_mut().finish().await
    }
}

impl Default for CopyBuffer {
    fn default() -> Self {
        Self::new()
    }
}
