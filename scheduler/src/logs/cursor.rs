//! Reading an attempt's file from where one stopped. All here blocks and belongs on a thread for blocking work.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

use meson_proto::v1::LogRecord;

use super::frame::Frames;

/// A place in an attempt's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Where to go on in the file.
    pub offset: u64,
    /// Records before this one are passed over.
    pub sequence: u64,
    /// The last record was read.
    pub has_ended: bool,
}

impl Cursor {
    /// From this sequence number on.
    pub fn at(sequence: u64) -> Self {
        Cursor { offset: 0, sequence: sequence.max(1), has_ended: false }
    }

    /// At the last `count` records. Reads the file twice instead of remembering where each record begins.
    pub fn at_tail(path: &Path, count: u32) -> io::Result<Self> {
        let mut cursor = Cursor::at(1);
        let Some(mut frames) = open(path, 0)? else { return Ok(cursor) };
        let mut total: u64 = 0;
        while frames.next::<LogRecord>()?.is_some() {
            total += 1;
        }
        let Some(mut frames) = open(path, 0)? else { return Ok(cursor) };
        for _ in 0..total.saturating_sub(u64::from(count)) {
            let Some(passed) = frames.next::<LogRecord>()? else { break };
            cursor.sequence = passed.sequence.saturating_add(1);
            cursor.has_ended = passed.end;
        }
        cursor.offset = frames.position();
        Ok(cursor)
    }

    /// The records from here on, until they have `bytes_max` of data; at least one where there is one. None when all
    /// that is whole was read.
    pub fn read(&mut self, path: &Path, bytes_max: usize) -> io::Result<Vec<LogRecord>> {
        let mut records = Vec::new();
        let Some(mut frames) = open(path, self.offset)? else { return Ok(records) };
        let mut bytes = 0;
        while let Some(record) = frames.next::<LogRecord>()? {
            // A record costs more than its data: many empty ones must not make a huge answer.
            bytes += record.data.len() + 64;
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            self.offset = frames.position();
            self.has_ended |= record.end;
            if record.sequence >= self.sequence {
                self.sequence = record.sequence.saturating_add(1);
                records.push(record);
            } else {
                bytes = 0;
            }
        }
        Ok(records)
    }
}

fn open(path: &Path, offset: u64) -> io::Result<Option<Frames<BufReader<File>>>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    file.seek(SeekFrom::Start(offset))?;
    Ok(Some(Frames::new(BufReader::with_capacity(1 << 16, file), offset)))
}
