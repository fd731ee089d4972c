//! Writes a snapshot file: state, archive, and the disk's word that both are there.
//!
//! A disk without room for it is no failure of the replica: the log goes on, and the snapshot waits.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::applier::View;
use crate::disk::{Disk, Limit, Tree, space};
use crate::error::StoreError;
use crate::snapshot::{Current, Snapshots, format, remove};
use crate::types::SnapshotMeta;

/// Archive records read at once while a snapshot is written.
const PAGE: Limit = Limit { count: 64, bytes: 4 << 20 };
/// How often a full disk is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often it is complained of.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);
/// A snapshot leaves at least this much of the disk to the log.
const LEAVE_BYTES: u64 = 16 << 20;

/// Builds one snapshot and makes it the current one. Blocks.
pub fn build(view: View, snapshots: &Snapshots, disk: &Disk) -> Result<Current, StoreError> {
    wait_for_room(snapshots, disk)?;
    let meta = SnapshotMeta {
        last_log_id: view.last_applied,
        last_membership: view.membership.clone(),
        snapshot_id: snapshots.new_id(view.last_applied.map_or(0, |id| id.index)),
    };
    let (path, file) = snapshots.create()?;
    let published = write(view, &meta, Patient { file, disk: disk.clone() }, snapshots, disk)
        .map_err(|error| StoreError::io(path.display().to_string(), error))
        .and_then(|(size, digest)| snapshots.written(&path, size, digest))
        // What was archived up to here must not hang on entries that this snapshot allows to be purged.
        .and_then(|file| disk.write(Vec::new(), true).wait_blocking().map(|()| file))
        .and_then(|file| snapshots.publish(&meta, &file));
    if published.is_err() && path.exists() {
        remove(&path);
    }
    published
}

/// Returns when there is room for a snapshot like the present one.
fn wait_for_room(snapshots: &Snapshots, disk: &Disk) -> Result<(), StoreError> {
    let directory = snapshots.directory();
    let mut complained: Option<Instant> = None;
    loop {
        let needed = snapshots.size_bytes().saturating_add(LEAVE_BYTES);
        // Where the operating system does not tell, trying will.
        let free = space::free_bytes(directory).unwrap_or(u64::MAX);
        if free >= needed {
            return Ok(());
        }
        if disk.is_closing() {
            return Err(StoreError::NoSpace { directory: directory.to_owned() });
        }
        if complained.is_none_or(|since| since.elapsed() > COMPLAIN_AGAIN) {
            tracing::warn!(directory = %directory.display(), free, needed, "no room for a snapshot: it waits");
            complained = Some(Instant::now());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A file whose writes wait for room.
struct Patient {
    file: File,
    disk: Disk,
}

impl io::Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if is_full(&error) && !self.disk.is_closing() => std::thread::sleep(LOOK_AGAIN),
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl format::Durable for Patient {
    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn write(
    view: View,
    meta: &SnapshotMeta,
    file: Patient,
    snapshots: &Snapshots,
    disk: &Disk,
) -> io::Result<(u64, [u8; 32])> {
    let mut writer = format::Writer::begin(file, &snapshots.describe(meta.clone()))?;
    let mut state = writer.state();
    view.state.write(&mut state)?;
    state.end()?;
    // The archive may be read a little ahead of the state; replaying what follows the state leads to the same end.
    let mut after: Option<Vec<u8>> = None;
    loop {
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = disk.scan(Tree::Archive, (from, Bound::Unbounded), false, PAGE);
        let page = page.map_err(io::Error::other)?;
        for (key, value) in &page {
            writer.archive(key, value)?;
        }
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return writer.finish(),
        }
    }
}
