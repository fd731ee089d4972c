//! The guard file: what was promised to be durable, and the last commit once more.
//!
//! The embedded store drops a damaged tail when it opens, as it must do with one that a crash tore. The difference is
//! in what was promised, and that is here, in a file of its own: two slots that are written in turn, each with a
//! counter and checksums, so that a torn write leaves the other one.
//!
//! A slot is written while the store's own file is synced, and a commit is acknowledged when both are done. So a slot
//! promises what the commit before left durable, and carries the changes of its own commit: should a crash come in
//! between, or the store lose just its newest changes, they are made again from here. A commit that does not fit is
//! synced first and then promised, without its changes.

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
/// A slot's room, for its head and for the changes of a commit.
const SLOT_DISTANCE: u64 = 256 << 10;
/// What changes may take of it.
pub const REDO_BYTES_MAX: usize = SLOT_DISTANCE as usize - HEAD_SECTOR;
/// The head of a slot, one sector.
const HEAD_SECTOR: usize = 512;
/// Magic, version and counter.
const HEAD_BYTES: usize = 20;
const CHECKSUM_AT: usize = HEAD_SECTOR - 4;

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

/// Changes of a commit that may not be in the store yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redo {
    /// The summaries with these changes made.
    pub after: [Summary; TREES.len()],
    /// The changes (see `redo`).
    pub changes: Vec<u8>,
}

/// The open file.
pub struct Guard {
    path: PathBuf,
    file: File,
    /// Of the newest slot.
    counter: u64,
    /// What the newest slot promises.
    promise: Promise,
    /// What the newest slot carried when the file was opened.
    redo: Redo,
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
        let Slot { counter, promise, redo } = read(&file, &path)?;
        Ok(Some(Self { path, file, counter, promise, redo }))
    }

    /// Makes a file that promises nothing, durably.
    pub fn create(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(NAME);
        let unfinished = directory.join(format!("{NAME}.tmp"));
        let io = |error| StoreError::io(path.display().to_string(), error);
        let promise = Promise::default();
        // All bytes at once, so that later writes need no new space.
        let mut bytes = vec![0; SLOT_DISTANCE as usize * 2];
        let redo = Redo::default();
        bytes[..HEAD_SECTOR].copy_from_slice(&encode(0, &promise, &redo));
        std::fs::write(&unfinished, &bytes).map_err(io)?;
        File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
        std::fs::rename(&unfinished, &path).map_err(io)?;
        sync_directory(directory)?;
        let file = options().open(&path).map_err(io)?;
        Ok(Self { path, file, counter: 0, promise, redo })
    }

    /// What was promised last.
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// What the last commit changed, if there is a need to do it again.
    pub fn redo(&self) -> &Redo {
        &self.redo
    }

    /// Promises, durably: one write in place, and the disk's own flush. Also carries the changes of a commit that is
    /// not yet durable; those of [`Redo::changes`] have to be at most [`REDO_BYTES_MAX`].
    pub fn write(&mut self, promise: Promise, redo: &Redo) -> Result<(), StoreError> {
        let counter = self.counter + 1;
        let slot = encode(counter, &promise, redo);
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
        Ok(file) => read(&file, &path).map(|slot| Some(slot.promise)),
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

/// What a slot says.
struct Slot {
    counter: u64,
    promise: Promise,
    redo: Redo,
}

/// The newest slot that is whole. A crash may have torn the one it was writing; both cannot be torn by crashes.
fn read(file: &File, path: &Path) -> Result<Slot, StoreError> {
    let slots = (0..2).filter_map(|number| read_slot(file, number));
    slots.max_by_key(|slot| slot.counter).ok_or_else(|| {
        let reason = "neither of its two slots is whole, so nobody knows what was promised";
        StoreError::corrupt(path.display().to_string(), reason)
    })
}

/// A slot, if it is whole.
fn read_slot(file: &File, number: u64) -> Option<Slot> {
    let offset = number * SLOT_DISTANCE;
    let mut head = [0; HEAD_SECTOR];
    file.read_exact_at(&mut head, offset).ok()?;
    let (mut slot, length, checksum) = decode(&head)?;
    let mut changes = vec![0; usize::try_from(length).ok().filter(|length| *length <= REDO_BYTES_MAX)?];
    file.read_exact_at(&mut changes, offset + HEAD_SECTOR as u64).ok()?;
    let whole = crc32fast::hash(&changes) == checksum && slot.counter % 2 == number;
    slot.redo.changes = changes;
    whole.then_some(slot)
}

fn encode(counter: u64, promise: &Promise, redo: &Redo) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_SECTOR + redo.changes.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&counter.to_le_bytes());
    for summary in promise.summaries.iter().chain(&redo.after) {
        bytes.extend_from_slice(&summary.encode());
    }
    // One more than the index, so that zero can stand for no entry at all.
    let log_end = promise.log_end.map_or(0, |index| index.saturating_add(1));
    bytes.extend_from_slice(&log_end.to_le_bytes());
    bytes.extend_from_slice(&(redo.changes.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&redo.changes).to_le_bytes());
    bytes.resize(CHECKSUM_AT, 0);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&redo.changes);
    bytes
}

/// A head's content, and the length and checksum of the changes behind it.
fn decode(head: &[u8; HEAD_SECTOR]) -> Option<(Slot, u32, u32)> {
    let whole = crc32fast::hash(&head[..CHECKSUM_AT]).to_le_bytes() == head[CHECKSUM_AT..];
    if !whole || &head[..8] != MAGIC || head[8..12] != VERSION.to_le_bytes() {
        return None;
    }
    let long = |at: usize| head.get(at..at + 8).and_then(|part| part.try_into().ok()).map(u64::from_le_bytes);
    let short =
        |at: usize| head.get(at..at + 4).and_then(|part| part.try_into().ok()).map(u32::from_le_bytes);
    let (mut promise, mut redo) = (Promise::default(), Redo::default());
    let mut at = HEAD_BYTES;
    for summary in promise.summaries.iter_mut().chain(&mut redo.after) {
        *summary = Summary::decode(&head[at..at + SUMMARY_BYTES])?;
        at += SUMMARY_BYTES;
    }
    promise.log_end = long(at)?.checked_sub(1);
    Some((Slot { counter: long(12)?, promise, redo }, short(at + 8)?, short(at + 12)?))
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
            let redo = Redo { changes: vec![number as u8; 1000], ..Redo::default() };
            guard.write(promise(number), &redo).unwrap();
            assert_eq!(*Guard::open(dir.path()).unwrap().unwrap().redo(), redo);
            assert_eq!(peek(dir.path()).unwrap(), Some(promise(number)));
        }
        let path = dir.path().join(NAME);
        let intact = std::fs::read(&path).unwrap();
        for place in [0, 9, 13, 30, 60, 100, 300, HEAD_SECTOR - 1, HEAD_SECTOR + 500] {
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
