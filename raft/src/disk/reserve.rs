//! Space that the store's file already owns beyond its end, so that a full disk never meets the store in the middle
//! of a write.
//!
//! The embedded store gives up for good at its first failed write. So before a write its file gets the blocks that
//! the write may need; a disk that has none refuses here, where nothing has happened yet, and the write waits.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::space;
use crate::error::StoreError;
use crate::sabotage;

/// Reserved ahead of the end of the file, when there is room.
pub const AHEAD_BYTES: u64 = 32 << 20;
/// A reserve is made larger again when it has shrunk to this.
const RENEW_BYTES: u64 = 24 << 20;
/// Without room for a new reserve, writes may use up the old one down to this: two of the store's segments.
const FLOOR_BYTES: u64 = 8 << 20;
/// The file may have a hole near its end where the store has not written yet.
const BEHIND_BYTES: u64 = 16 << 20;
/// The store writes a change several times: in its log, and when it gathers or moves the page.
const AMPLIFICATION: u64 = 8;

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Plenty.
    Enough,
    /// This write, out of the old reserve; a new one is not to be had.
    Low,
    /// Not even this write.
    None,
}

/// The reserve of one store.
pub struct Reserve {
    directory: PathBuf,
    file: File,
    /// The file owns its blocks up to here.
    end: u64,
    /// How long the file was when last seen: a file that shrinks loses its reserve.
    length: u64,
    /// Whether the file system can reserve at all.
    supported: bool,
}

impl Reserve {
    /// None yet, for the store's file in a directory.
    pub fn new(directory: &Path, file: File) -> Self {
        Self { directory: directory.to_owned(), file, end: 0, length: 0, supported: true }
    }

    /// Makes room for a write of so many bytes, if it can be had.
    pub fn make_room(&mut self, bytes: u64) -> Result<Room, StoreError> {
        if sabotage::without("reserve") {
            return Ok(Room::Enough);
        }
        let length = self.file.metadata().map_err(|error| self.failed(error))?.len();
        if length < self.length {
            self.end = 0;
        }
        self.length = length;
        let needed = bytes.saturating_mul(AMPLIFICATION);
        if self.end >= length.saturating_add(needed).saturating_add(RENEW_BYTES) {
            return Ok(Room::Enough);
        }
        if !self.supported {
            return self.estimate(needed);
        }
        let from = length.saturating_sub(BEHIND_BYTES);
        let to = length.saturating_add(needed).saturating_add(AHEAD_BYTES);
        match fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from as i64, (to - from) as i64) {
            Ok(()) => {
                self.end = to;
                Ok(Room::Enough)
            }
            Err(Errno::ENOSPC | Errno::EDQUOT) => {
                let enough = self.end >= length.saturating_add(needed).saturating_add(FLOOR_BYTES);
                Ok(if enough { Room::Low } else { Room::None })
            }
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                tracing::info!(directory = %self.directory.display(), "the file system cannot reserve space");
                self.supported = false;
                self.estimate(needed)
            }
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// Somebody else may take the space between the look and the write; without reserving there is no better way.
    fn estimate(&self, needed: u64) -> Result<Room, StoreError> {
        let free = space::free_bytes(&self.directory).map_err(|error| self.failed(error))?;
        Ok(match free.saturating_sub(needed) {
            AHEAD_BYTES.. => Room::Enough,
            FLOOR_BYTES.. => Room::Low,
            _ => Room::None,
        })
    }

    fn failed(&self, error: std::io::Error) -> StoreError {
        StoreError::io(self.directory.display().to_string(), error)
    }
}
