//! Whether there is room on the disk for new commands: below a reserve they are refused, and soon taken again.
//!
//! The reserve is for what must go on all the same: entries under way, votes, snapshots, and the log's own upkeep.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::Disk;
use crate::snapshot::Snapshots;

/// A look at the disk is good for this long.
const FRESH: Duration = Duration::from_millis(50);

/// Knows the room on one disk; clones share it.
#[derive(Clone)]
pub struct Space {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    reserve_bytes: u64,
    disk: Disk,
    snapshots: Snapshots,
    looked: Mutex<Option<(Instant, Option<u64>)>>,
}

/// Too little room for new commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The data directory on the disk.
    pub path: PathBuf,
    /// Bytes free.
    pub free: u64,
    /// Bytes that have to be free.
    pub needed: u64,
}

impl Space {
    /// Watches the disk of a data directory.
    pub fn new(directory: PathBuf, reserve_bytes: u64, disk: Disk, snapshots: Snapshots) -> Self {
        Self {
            inner: Arc::new(Inner { directory, reserve_bytes, disk, snapshots, looked: Mutex::new(None) }),
        }
    }

    /// Bytes free, if the operating system tells.
    pub fn free_bytes(&self) -> Option<u64> {
        let mut looked = self.inner.looked.lock().unwrap_or_else(PoisonError::into_inner);
        match *looked {
            Some((at, free)) if at.elapsed() < FRESH => free,
            _ => {
                let free = self.inner.disk.free_bytes(&self.inner.directory);
                *looked = Some((Instant::now(), free));
                free
            }
        }
    }

    /// What lacks, if there is too little room. Urgent commands may use half of the reserve. The next snapshot is written beside the present one, so there has to
    /// be room for it as well.
    pub fn shortage(&self, urgent: bool) -> Option<Shortage> {
        if self.inner.reserve_bytes == 0 {
            return None;
        }
        let reserve = if urgent { self.inner.reserve_bytes / 2 } else { self.inner.reserve_bytes };
        let needed = reserve.saturating_add(self.inner.snapshots.size_bytes());
        let free = self.free_bytes()?;
        let short = free < needed || self.inner.disk.is_low();
        short.then(|| Shortage { path: self.inner.directory.clone(), free, needed })
    }
}
