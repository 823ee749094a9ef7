//! Moves a result's rows to the socket as they come.
//!
//! # Semantics
//! Rows are written into the socket's buffer. It is flushed when it is full and whenever the result has
//! nothing ready, so a row is never held back by one that does not exist yet. A client that does not
//! read stops the result: nothing is asked of the stream while the buffer is full.

use arrow::array::RecordBatch;
use bytes::BytesMut;
use futures::stream::Fuse;
use futures::{SinkExt, StreamExt};
use tokio::time::Instant;

use crate::engine::outcome::{RowStream, Rows};
use crate::error::SqlState;
use crate::wire::connection::Connection;
use crate::wire::encode::{Batch, Layout};
use crate::wire::error::{Error, Result};

/// Bytes after which the buffer is flushed although more rows are ready: a few dozen packets per call.
const BUFFER_MAX: usize = 64 * 1024;

/// The tag of results that may never end; `statement_timeout` is not for them.
const LIVE: &str = "SUBSCRIBE";

/// A result on its way to the client.
pub(super) struct Feed {
    /// What the client was told of it.
    pub(super) layout: Layout,
    /// The command tag, without the number of rows.
    tag: &'static str,
    /// Fused: a portal may be asked for more after its end.
    stream: Fuse<RowStream>,
    /// The batch being sent and its first unsent row.
    batch: Option<(Batch, usize)>,
    deadline: Option<Instant>,
}

impl Feed {
    /// Starts to feed `rows` in the formats of `codes`; they are due at `deadline` unless they are live.
    pub(super) fn new(rows: Rows, codes: &[i16], deadline: Option<Instant>) -> Feed {
        Feed {
            layout: Layout::new(&rows.schema, codes),
            tag: rows.tag,
            stream: rows.stream.fuse(),
            batch: None,
            deadline: deadline.filter(|_| rows.tag != LIVE),
        }
    }

    /// Returns the command tag after `count` rows; like Postgres, some commands do not count.
    pub(super) fn tag(&self, count: u64) -> String {
        match self.tag {
            "SHOW" | "EXPLAIN" => self.tag.to_owned(),
            tag => format!("{tag} {count}"),
        }
    }
}

/// How far a feed came.
pub(super) enum Progress {
    /// The result ended after so many rows.
    Ended(u64),
    /// As many rows as were asked for are sent; there may be more.
    Suspended,
}

impl Connection {
    /// Sends rows as DataRow messages, at most `limit`.
    pub(super) async fn send_rows(
        &mut self,
        feed: &mut Feed,
        limit: Option<u64>,
        text: &str,
    ) -> Result<Progress> {
        self.feed_rows(feed, limit, text, Batch::write_row).await
    }

    /// Sends rows as `write` writes them.
    pub(super) async fn feed_rows(
        &mut self,
        feed: &mut Feed,
        limit: Option<u64>,
        text: &str,
        mut write: impl FnMut(&Batch, usize, &mut BytesMut),
    ) -> Result<Progress> {
        let mut sent = 0;
        loop {
            let Some((batch, next)) = &mut feed.batch else {
                let Some(rows) = self.next_batch(feed, text).await? else {
                    return Ok(Progress::Ended(sent));
                };
                let batch = feed.layout.batch(&rows, self.style).map_err(|error| {
                    Error::new(SqlState::INTERNAL_ERROR, format!("result not sendable: {error}"))
                })?;
                feed.batch = Some((batch, 0));
                continue;
            };
            while *next < batch.rows() {
                if limit == Some(sent) {
                    return Ok(Progress::Suspended);
                }
                write(batch, *next, self.socket.write_buffer_mut());
                *next += 1;
                sent += 1;
                if self.socket.write_buffer().len() >= BUFFER_MAX {
                    tokio::select! {
                        biased;
                        interrupt = self.signals.interrupted(feed.deadline) => {
                            return Err(interrupt.into());
                        }
                        flushed = self.socket.flush() => flushed?,
                    }
                }
            }
            feed.batch = None;
            if limit == Some(sent) {
                return Ok(Progress::Suspended);
            }
        }
    }

    /// Waits for the next batch, while the socket takes what was written before.
    async fn next_batch(&mut self, feed: &mut Feed, text: &str) -> Result<Option<RecordBatch>> {
        let mut flushed = false;
        loop {
            tokio::select! {
                biased;
                interrupt = self.signals.interrupted(feed.deadline) => return Err(interrupt.into()),
                rows = feed.stream.next() => {
                    return rows.transpose().map_err(|error| Error::engine(&error, text));
                }
                result = self.socket.flush(), if !flushed => {
                    result?;
                    flushed = true;
                }
            }
        }
    }
}
