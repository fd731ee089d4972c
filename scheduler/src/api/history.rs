//! Ended runs that left the working state: read back from the archive on disk, whole, and kept in a small cache while
//! somebody looks at them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use meson_engine::archive::{self, NodeRecord, RunRecord};
use meson_engine::record::Run;
use meson_raft::Archive;
use prost::Message as _;
use tonic::Status;

/// Archived runs kept in memory.
const CACHED_MAX: usize = 8;

/// Records read from disk at once.
const CHUNK: usize = 1_000;

/// The archive, with a cache. Cheap to clone.
#[derive(Clone)]
pub struct History {
    archive: Archive,
    cache: Arc<Mutex<VecDeque<Arc<Run>>>>,
}

impl History {
    /// Over the replica's archive.
    pub fn new(archive: Archive) -> Self {
        History { archive, cache: Arc::default() }
    }

    /// The archived run of this id.
    ///
    /// # Errors
    /// INTERNAL when the disk cannot be read.
    pub async fn run(&self, run_id: &str) -> Result<Option<Arc<Run>>, Status> {
        if let Some(run) = self.cached(run_id) {
            return Ok(Some(run));
        }
        let (archive, id) = (self.archive.clone(), run_id.to_owned());
        let run = blocking(move || read_run(&archive, &id)).await?.map(Arc::new);
        if let Some(run) = &run {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.push_front(run.clone());
            cache.truncate(CACHED_MAX);
        }
        Ok(run)
    }

    fn cached(&self, run_id: &str) -> Option<Arc<Run>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.iter().find(|run| run.info.run_id == run_id).cloned()
    }

    /// Heads of archived runs with ids below `before`, newest first, at most `limit`. They have no nodes.
    ///
    /// # Errors
    /// INTERNAL when the disk cannot be read.
    pub async fn heads(&self, before: &str, limit: usize) -> Result<Vec<Run>, Status> {
        let (archive, before) = (self.archive.clone(), before.to_owned());
        blocking(move || {
            let before = (!before.is_empty()).then(|| archive::head_key(&before));
            let records = archive
                .scan_prefix_reverse(archive::HEAD_PREFIX, before.as_deref(), limit)
                .map_err(|error| internal(&error))?;
            records.into_iter().map(|(_, value)| decode_head(&value)).collect()
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(read).await.map_err(|error| internal(&error))?
}

fn internal(error: &dyn std::fmt::Display) -> Status {
    Status::internal(format!("the archive cannot be read: {error}"))
}

fn decode_head(value: &[u8]) -> Result<Run, Status> {
    RunRecord::decode(value).map(archive::open).map_err(|error| internal(&error))
}

fn read_run(archive: &Archive, run_id: &str) -> Result<Option<Run>, Status> {
    let head = archive.get(&archive::head_key(run_id)).map_err(|error| internal(&error))?;
    let Some(head) = head else { return Ok(None) };
    let mut run = decode_head(&head)?;
    let prefix = archive::nodes_prefix(run_id);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let records =
            archive.scan_prefix(&prefix, after.as_deref(), CHUNK).map_err(|error| internal(&error))?;
        let Some((last, _)) = records.last() else { return Ok(Some(run)) };
        after = Some(last.clone());
        for (_, value) in &records {
            let record = NodeRecord::decode(value.as_ref()).map_err(|error| internal(&error))?;
            archive::add(&mut run, record);
        }
    }
}
