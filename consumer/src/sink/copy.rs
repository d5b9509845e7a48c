//! Rows into a temporary table by binary COPY (PostgreSQL manual, `COPY`, "Binary Format").
//!
//! The rows are encoded already; here each gets its field count in front and its version and
//! ordinals behind. Blocks are large, since every block is a message and a wake-up.

use super::{ApplyError, session::Session};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt as _;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
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

    /// Adds a tuple of `columns` encoded fields, followed by its version and ordinals.
    pub fn tuple(&mut self, columns: usize, fields: &[u8], version: i64, ordinals: &[usize]) {
        let count = columns + 1 + ordinals.len();
        self.open.put_i16(i16::try_from(count).unwrap_or(i16::MAX));
        self.open.put_slice(fields);
        self.open.put_i32(8);
        self.open.put_i64(version);
        for &ordinal in ordinals {
            self.open.put_i32(4);
            self.open
                .put_i32(i32::try_from(ordinal).unwrap_or(i32::MAX));
        }
        self.finish_tuple();
    }

    /// Adds a tuple of `columns` encoded fields as the target has them, with its version if the
    /// table has one.
    pub fn plain(&mut self, columns: usize, fields: &[u8], version: Option<i64>) {
        let count = columns + usize::from(version.is_some());
        self.open.put_i16(i16::try_from(count).unwrap_or(i16::MAX));
        self.open.put_slice(fields);
        if let Some(version) = version {
            self.open.put_i32(8);
            self.open.put_i64(version);
        }
        self.finish_tuple();
    }

    fn finish_tuple(&mut self) {
        self.count += 1;
        if self.open.len() >= BLOCK_BYTES {
            let full =
                std::mem::replace(&mut self.open, BytesMut::with_capacity(BLOCK_BYTES + 4096));
            self.blocks.push(full.freeze());
        }
    }

    /// Sends everything to the table of the COPY statement.
    ///
    /// # Errors
    /// When the server refuses it or is lost.
    pub async fn send(mut self, session: &mut Session, sql: &str) -> Result<(), ApplyError> {
        self.open.put_i16(-1);
        self.blocks.push(self.open.freeze());
        let statement = session.prepared(sql).await?;
        let sink = session.client().copy_in(&statement).await?;
        let mut sink = std::pin::pin!(sink);
        for block in self.blocks {
            sink.as_mut().feed(block).await?;
        }
        sink.as_mut().finish().await?;
        Ok(())
    }
}

impl Default for CopyBuffer {
    fn default() -> Self {
        Self::new()
    }
}
