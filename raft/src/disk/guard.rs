//! The guard file: what was promised to be durable, written after every durable commit and before its acknowledgement.
//!
//! The embedded store drops a damaged tail when it opens, as it must do with one that a crash tore. The difference is
//! in what was promised, and that is here, in a file of its own: two slots that are written in turn, each with a
//! counter and a checksum, so that a torn write leaves the other one. It is written only once the store's own file is
//! synced, so it never promises more than there is.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::summary::{BYTES as SUMMARY_BYTES, Summary};
use super::{TREES, Tree, sync_directory};
use crate::error::StoreError;

/// The name of the file.
pub const NAME: &str = "guard";
const MAGIC: &[u8; 8] = b"MSNGUARD";
const VERSION: u32 = 1;
/// Slots lie so far apart that no disk writes them together.
const SLOT_DISTANCE: u64 = 4096;
const SLOT_BYTES: usize = 512;
/// Magic, version and counter.
const HEAD_BYTES: usize = 20;
const CHECKSUM_AT: usize = SLOT_BYTES - 4;

/// What was promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// One summary a tree, in the order of [`TREES`].
    pub summaries: [Summary; TREES.len()],
    /// The index of the last entry of the log. It only makes messages better: the summaries are what counts.
    pub log_end: Option<u64>,
}

impl Promise {
    /// What was promised of a tree.
    pub fn of(&self, tree: Tree) -> Summary {
        self.summaries[tree as usize]
    }

    /// Whether anything was ever promised.
    pub fn is_empty(&self) -> bool {
        self.summaries.iter().all(|summary| summary.change == 0)
    }
}

/// The open file.
pub struct Guard {
    path: PathBuf,
    file: File,
    /// Of the newest slot.
    counter: u64,
    /// What stands in the newest slot.
    promise: Promise,
}

impl Guard {
    /// Opens the file, unless there is none.
    pub fn open(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(NAME);
        let file = match options().open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io(path.display().to_string(), error)),
        };
        let (counter, promise) = read(&file, &path)?;
        Ok(Some(Self { path, file, counter, promise }))
    }

    /// Makes a file that promises nothing, durably.
    pub fn create(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(NAME);
        let unfinished = directory.join(format!("{NAME}.tmp"));
        let io = |error| StoreError::io(path.display().to_string(), error);
        let promise = Promise::default();
        // All bytes at once, so that later writes need no new space.
        let mut bytes = vec![0; SLOT_DISTANCE as usize * 2];
        bytes[..SLOT_BYTES].copy_from_slice(&encode(0, &promise));
        std::fs::write(&unfinished, &bytes).map_err(io)?;
        File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
        std::fs::rename(&unfinished, &path).map_err(io)?;
        sync_directory(directory)?;
        let file = options().open(&path).map_err(io)?;
        Ok(Self { path, file, counter: 0, promise })
    }

    /// What was promised last.
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Promises, durably: one small write in place, and the disk's own flush.
    pub fn write(&mut self, promise: Promise) -> Result<(), StoreError> {
        let counter = self.counter + 1;
        let slot = encode(counter, &promise);
        let written = self.file.write_all_at(&slot, counter % 2 * SLOT_DISTANCE);
        written.map_err(|error| StoreError::io(self.path.display().to_string(), error))?;
        (self.counter, self.promise) = (counter, promise);
        Ok(())
    }
}

/// What the guard of a directory promises, without opening it for writing.
pub fn peek(directory: &Path) -> Result<Option<Promise>, StoreError> {
    let path = directory.join(NAME);
    match File::open(&path) {
        Ok(file) => read(&file, &path).map(|(_, promise)| Some(promise)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(path.display().to_string(), error)),
    }
}

/// A write returns when it is on the disk.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlag::O_DSYNC.bits());
    options
}

/// The newest slot that is whole. A crash may have torn the one it was writing; both cannot be torn by crashes.
fn read(file: &File, path: &Path) -> Result<(u64, Promise), StoreError> {
    let mut newest = None;
    for number in 0..2_u64 {
        let mut bytes = [0; SLOT_BYTES];
        // A file that is too short has no whole slot there.
        if file.read_exact_at(&mut bytes, number * SLOT_DISTANCE).is_ok()
            && let Some((counter, promise)) = decode(&bytes)
            && counter % 2 == number
            && newest.is_none_or(|(before, _)| before < counter)
        {
            newest = Some((counter, promise));
        }
    }
    newest.ok_or_else(|| {
        let reason = "neither of its two slots is whole, so nobody knows what was promised";
        StoreError::corrupt(path.display().to_string(), reason)
    })
}

fn encode(counter: u64, promise: &Promise) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..HEAD_BYTES].copy_from_slice(&counter.to_le_bytes());
    let mut at = HEAD_BYTES;
    for summary in &promise.summaries {
        bytes[at..at + SUMMARY_BYTES].copy_from_slice(&summary.encode());
        at += SUMMARY_BYTES;
    }
    // One more than the index, so that zero can stand for no entry at all.
    let log_end = promise.log_end.map_or(0, |index| index.saturating_add(1));
    bytes[at..at + 8].copy_from_slice(&log_end.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
    bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<(u64, Promise)> {
    let number =
        |at: usize| bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map(u64::from_le_bytes);
    let whole = crc32fast::hash(&bytes[..CHECKSUM_AT]).to_le_bytes() == bytes[CHECKSUM_AT..];
    if !whole || &bytes[..8] != MAGIC || bytes[8..12] != VERSION.to_le_bytes() {
        return None;
    }
    let mut promise = Promise::default();
    let mut at = HEAD_BYTES;
    for summary in &mut promise.summaries {
        *summary = Summary::decode(&bytes[at..at + SUMMARY_BYTES])?;
        at += SUMMARY_BYTES;
    }
    promise.log_end = number(at)?.checked_sub(1);
    Some((number(12)?, promise))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(number: u64) -> Promise {
        let summary = Summary { change: number, count: number * 2, sum: number * 3 };
        Promise { summaries: [summary; TREES.len()], log_end: Some(number) }
    }

    #[test]
    fn the_last_promise_is_read_and_a_torn_one_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Guard::open(dir.path()).unwrap().is_none());
        let mut guard = Guard::create(dir.path()).unwrap();
        assert!(Guard::open(dir.path()).unwrap().unwrap().promise().is_empty());
        for number in 1..=5 {
            guard.write(promise(number)).unwrap();
            assert_eq!(peek(dir.path()).unwrap(), Some(promise(number)));
        }
        let path = dir.path().join(NAME);
        let intact = std::fs::read(&path).unwrap();
        for place in [0, 9, 13, 30, 60, 100, 300, SLOT_BYTES - 1] {
            let mut damaged = intact.clone();
            damaged[SLOT_DISTANCE as usize + place] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(peek(dir.path()).unwrap(), Some(promise(4)), "byte {place}");
            damaged[place] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            assert!(matches!(peek(dir.path()), Err(StoreError::Corrupt { .. })), "byte {place}");
        }
    }
}
