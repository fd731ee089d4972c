//! The index of an attempt's log: one fixed-size entry a record, so a record's sequence number is its position.
//!
//! Supervisor and executor both append to it (`O_APPEND`; one small write each, which the kernel does not interleave):
//! the data is written to the stream's own file first, then the entry that makes it part of the log.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use meson_proto::v1::LogStream;

/// Bytes of an entry.
const ENTRY_BYTES: usize = 24;
/// Longest data of a record.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Where a record's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which stream, thereby which file.
    pub stream: LogStream,
    /// The last record of the attempt.
    pub end: bool,
    /// Bytes of data.
    pub length: u32,
    /// Wall-clock milliseconds.
    pub time_ms: u64,
    /// Where the data begins in the stream's file.
    pub offset: u64,
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0] = u8::try_from(i32::from(self.stream)).unwrap_or(0);
        bytes[1] = u8::from(self.end);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        Self {
            stream: LogStream::try_from(i32::from(bytes[0])).unwrap_or_default(),
            end: bytes[1] != 0,
            length: u32::from_le_bytes(std::array::from_fn(|byte| bytes[4 + byte])),
            time_ms: word(8),
            offset: word(16),
        }
    }
}

/// Opens the index to append and read.
///
/// # Errors
/// When the disk refuses.
pub fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).read(true).open(path)
}

/// Appends one entry.
///
/// # Errors
/// When the disk refuses.
pub fn append(mut index: &File, entry: &Entry) -> io::Result<()> {
    index.write_all(&entry.encode())
}

/// Takes a torn entry at the end away, so that others may follow.
///
/// # Errors
/// When the disk refuses.
pub fn mend(index: &File) -> io::Result<()> {
    let bytes = index.metadata()?.len();
    match bytes % ENTRY_BYTES as u64 {
        0 => Ok(()),
        torn => index.set_len(bytes - torn),
    }
}

/// How many records there are; a torn entry at the end does not count.
///
/// # Errors
/// When the disk refuses.
pub fn count(index: &File) -> io::Result<u64> {
    Ok(index.metadata()?.len() / ENTRY_BYTES as u64)
}

/// Reads up to `limit` entries from sequence number `from` (counted from 1) on.
///
/// # Errors
/// When the disk refuses.
pub fn read(index: &File, from: u64, limit: usize) -> io::Result<Vec<Entry>> {
    let here = count(index)?.saturating_sub(from - 1);
    let wanted = usize::try_from(here).unwrap_or(usize::MAX).min(limit);
    let mut bytes = vec![0; wanted * ENTRY_BYTES];
    index.read_exact_at(&mut bytes, (from - 1) * ENTRY_BYTES as u64)?;
    Ok(bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(Entry::decode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_sequence_number() {
        let dir = tempfile::tempdir().unwrap();
        let index = open(&dir.path().join("log.index")).unwrap();
        let entry =
            |offset, end| Entry { stream: LogStream::Stderr, end, length: 7, time_ms: 1 << 41, offset };
        append(&index, &entry(0, false)).unwrap();
        append(&index, &entry(7, true)).unwrap();
        assert_eq!(count(&index).unwrap(), 2);
        assert_eq!(read(&index, 2, 10).unwrap(), vec![entry(7, true)]);
        assert_eq!(read(&index, 1, 1).unwrap(), vec![entry(0, false)]);
        assert_eq!(read(&index, 3, 10).unwrap(), vec![]);
        (&index).write_all(&[1; 7]).unwrap();
        mend(&index).unwrap();
        append(&index, &entry(9, false)).unwrap();
        assert_eq!(read(&index, 2, 10).unwrap(), vec![entry(7, true), entry(9, false)]);
    }
}
