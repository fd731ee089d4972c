//! The bounds on what a store may take: time, entries, the length of names.

use std::future::Future;
use std::time::Duration;

use crate::{Error, Uri};

/// Longest URI, in bytes. HDFS itself takes paths of up to 8,000 characters.
pub const URI_BYTES_MAX: usize = 8_000;

/// Longest name in a path, in bytes, as of most file systems and of HDFS by default.
pub const NAME_BYTES_MAX: usize = 255;

/// Entries of one listing, and of one tree that is copied.
pub const ENTRIES_MAX: usize = 1_000_000;

/// How much is read and written at once.
pub const CHUNK_BYTES: usize = 1 << 20;

/// How long a store may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one question or order: does it exist, make a directory, rename, remove.
    pub call: Duration,
    /// Without any progress of a copy.
    pub idle: Duration,
    /// For what may take long and shows no progress: to remove a tree of files, to have a large file on the disk.
    pub silent: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            call: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            silent: Duration::from_secs(600),
        }
    }
}

/// The result of a future that ends in time; a store that takes longer is away.
pub async fn within<T>(
    limit: Duration,
    uri: &Uri,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result,
        Err(_) => Err(Error::away(uri, format!("no answer within {} ms", limit.as_millis()))),
    }
}
