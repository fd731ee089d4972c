//! Reading one attempt's log of this replica, chunk by chunk, as slowly as the one who asks.

use futures::Stream;
use meson_proto::v1::LogRecord;
use tokio::sync::watch;

use super::attempt::AttemptName;
use super::cursor::Cursor;
use super::{Error, LogStore};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// From this sequence number on; 0 and 1 are the beginning.
    Sequence(u64),
    /// At the last so many records.
    Tail(u32),
}

/// A place in an attempt's log.
#[derive(Debug)]
pub struct LogReader {
    store: LogStore,
    attempt: AttemptName,
    cursor: Cursor,
    changes: watch::Receiver<u64>,
}

impl LogReader {
    pub(super) fn new(
        store: LogStore,
        attempt: AttemptName,
        cursor: Cursor,
        changes: watch::Receiver<u64>,
    ) -> Self {
        LogReader { store, attempt, cursor, changes }
    }

    /// What is there from here on, as much as has `bytes_max` of data; empty when all was read.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn next_chunk(&mut self, bytes_max: usize) -> Result<Vec<LogRecord>, Error> {
        // Before the read: what comes during the read counts as new.
        self.changes.mark_unchanged();
        let (records, cursor) = self.store.read_at(&self.attempt, self.cursor, bytes_max).await?;
        self.cursor = cursor;
        Ok(records)
    }

    /// Waits until the log has grown since the last read began.
    ///
    /// # Errors
    /// When the store was closed.
    pub async fn grown(&mut self) -> Result<(), Error> {
        self.changes.changed().await.map_err(|_| Error::Closed)
    }

    /// Whether the attempt's last record was read.
    pub fn has_ended(&self) -> bool {
        self.cursor.has_ended
    }

    /// The next sequence number that this reader gives.
    pub fn next_sequence(&self) -> u64 {
        self.cursor.sequence
    }

    /// Passes over what comes before.
    pub fn skip_to(&mut self, sequence: u64) {
        self.cursor.sequence = self.cursor.sequence.max(sequence);
    }

    /// All chunks; with `follow` those that come too, until the attempt's last record.
    pub fn chunks(
        self,
        bytes_max: usize,
        follow: bool,
    ) -> impl Stream<Item = Result<Vec<LogRecord>, Error>> + Send {
        futures::stream::try_unfold(self, move |mut reader| async move {
            loop {
                let records = reader.next_chunk(bytes_max).await?;
                if !records.is_empty() {
                    return Ok(Some((records, reader)));
                }
                if reader.has_ended() || !follow {
                    return Ok(None);
                }
                reader.grown().await?;
            }
        })
    }
}
