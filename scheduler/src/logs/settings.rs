//! Settings and fixed bounds of the log store and its service.

use std::path::PathBuf;
use std::time::Duration;

/// Most data of one record, by contract.
pub(super) const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Most records of one message.
pub(super) const RECORDS_MAX: usize = 8_192;

/// Settings of a [`super::LogStore`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store's own directory.
    pub root: PathBuf,
    /// Most bytes of one attempt's log; the rest of its output is dropped.
    pub attempt_bytes_max: u64,
    /// Most bytes of all logs; the oldest are removed.
    pub total_bytes_max: u64,
    /// Logs that were not written for this long are removed.
    pub age_max: Duration,
    /// Logs written within this time are never removed, whatever the total: their attempts may be running.
    pub spared_age: Duration,
    /// Time between two searches for logs to remove.
    pub sweep_interval: Duration,
    /// Size at which a journal is replaced by the next.
    pub journal_bytes: u64,
    /// Most bytes of records that wait to be written.
    pub waiting_bytes_max: usize,
    /// Attempts whose state is kept in memory. No files are kept open.
    pub attempts_cached: usize,
    /// Most reads of the disk at a time.
    pub reads_max: usize,
}

impl Settings {
    /// The defaults, for a directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Settings {
            root: root.into(),
            attempt_bytes_max: 64 << 20,
            total_bytes_max: 10 << 30,
            age_max: Duration::from_secs(30 * 24 * 3_600),
            spared_age: Duration::from_secs(600),
            sweep_interval: Duration::from_secs(60),
            journal_bytes: 16 << 20,
            waiting_bytes_max: 64 << 20,
            attempts_cached: 16_384,
            reads_max: 16,
        }
    }
}

/// Settings of a [`super::Service`].
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// Largest message that is taken or sent.
    pub message_bytes_max: usize,
    /// Data in one message to a reader.
    pub chunk_bytes: usize,
    /// Most executors that append at a time.
    pub appenders_max: usize,
    /// Most clients that read at a time.
    pub readers_max: usize,
    /// Messages of one executor that may wait for their sync.
    pub appends_in_flight: usize,
    /// Longest time to write what an executor sent.
    pub append_timeout: Duration,
    /// Longest time for a peer to answer a question.
    pub peer_timeout: Duration,
    /// Longest silence of a peer that sends its records.
    pub peer_idle_timeout: Duration,
    /// How long a follower waits for records from the executor before it asks the peers.
    pub patience: Duration,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        ServiceSettings {
            message_bytes_max: 2 << 20,
            chunk_bytes: 256 << 10,
            appenders_max: 1_024,
            readers_max: 1_024,
            appends_in_flight: 32,
            append_timeout: Duration::from_secs(30),
            peer_timeout: Duration::from_secs(2),
            peer_idle_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(2),
        }
    }
}
